"""What someone who looked at pictures decided about them, read from a csv."""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mien.data.dataset import Dataset
from mien.errors import UsageError
from mien.labels import EMOTIONS, find_alias
from mien.records import show_path

__all__ = ["APART", "DROP", "KEEP", "Decisions", "read_decisions"]

KEEP: Final = "keep"
"""The picture and its label are right."""

DROP: Final = "drop"
"""The picture is of no use."""

APART: Final = "apart"
"""Picture and label are right, and it is no near copy of another picture, however alike."""

_WORDS: Final = (KEEP, DROP, APART)
_EXPECTED: Final = f"{', '.join(_WORDS)} or one of {', '.join(EMOTIONS)}"
_TOLD: Final = 3


@dataclass(frozen=True, slots=True)
class Decisions:
    """What was decided about rows of a dataset.

    Attributes:
        of: for the ids of rows, `KEEP`, `DROP`, `APART`, or the emotion that is shown.
        elsewhere: how many more decisions the file has, about pictures that the dataset has not.
    """

    of: Mapping[str, str]
    elsewhere: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """How many pictures keep their label, go, are no copies, or get another emotion."""
        found = Counter(what if what in _WORDS else "relabel" for what in self.of.values())
        return {kind: found[kind] for kind in (*_WORDS, "relabel")}


def read_decisions(path: Path, dataset: Dataset) -> Decisions:
    """Read decisions from a csv with a column ``decision`` and a column ``id`` or ``path``.

    The page that ``mien data audit --out`` writes makes such a file; a spreadsheet does, too. Rows
    that decide nothing are passed over, and so are other columns. The label that a picture has is
    one that is right. An id that the dataset has not is looked for by the path beside it.

    Args:
        path: the file; columns apart by commas, semicolons or tabs.
        dataset: whose pictures were looked at, or what was cleaned from it since.

    Raises:
        UsageError: the file cannot be read or lacks a column, a decision is none, two about one
            picture differ, a path is that of several rows, or none is about this dataset.
    """
    header, rows = _read(path)
    if "decision" not in header or {"id", "path"}.isdisjoint(header):
        raise UsageError(
            f"--decisions {path}: its columns are {show_path(', '.join(header)) or 'none'}; "
            "expected 'decision', and 'id' or 'path'"
        )
    labels = dict(zip(dataset.column("id"), dataset.column("label"), strict=True))
    of_path: dict[str, list[str]] = defaultdict(list)
    for name, row in zip(dataset.column("path"), dataset.column("id"), strict=True):
        of_path[name].append(row)
    decided: dict[str, str] = {}
    elsewhere = set()
    for number, row in rows:
        if not (said := (row.get("decision") or "").strip()):
            continue
        place = f"--decisions {path}: line {number}"
        what = said.lower() if said.lower() in _WORDS else find_alias(said)
        if what is None:
            raise UsageError(f"{place}: decision {said[:40]!r}; expected {_EXPECTED}")
        named, file = (row.get("id") or "").strip(), row.get("path") or ""
        name = named or file.strip()
        # A spreadsheet may have made a number of an id.
        ids = [named] if named in labels else of_path.get(file) or of_path.get(file.strip(), [])
        if len(ids) > 1 and not named:
            raise UsageError(
                f"{place}: {len(ids)} rows have the path {show_path(name)}; expected a column 'id'"
            )
        if len(ids) != 1:
            elsewhere.add((named, file))
            continue
        if what == labels[ids[0]]:
            what = KEEP
        if decided.setdefault(ids[0], what) != what:
            raise UsageError(
                f"{place}: {show_path(name)} is decided twice, as {decided[ids[0]]} and as {what}"
            )
    if elsewhere and not decided:
        some = ", ".join(show_path(file or named) for named, file in sorted(elsewhere)[:_TOLD])
        raise UsageError(
            f"--decisions {path}: none of its {len(elsewhere):,} pictures ({some}) is in "
            f"{dataset.path}: they are of another dataset"
        )
    return Decisions(decided, len(elsewhere))


def _read(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str | None]]]]:
    """Return the columns' names, and each row behind the number of its last line."""
    try:
        # Spreadsheets put a mark before the first column.
        text = path.read_text(encoding="utf-8-sig")
        first = text.partition("\n")[0]
        apart = max(",;\t", key=first.count)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=apart, strict=True)
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
        return list(reader.fieldnames), [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise UsageError(f"--decisions {path}: not readable ({error.strerror or error})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"--decisions {path}: not readable as a csv ({error}); expected one in UTF-8"
        ) from None
