"""Tables inside a source: csv and lists, read row by row and as often as needed."""

import codecs
import csv
import io
import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import IO, Any

from mien.data.source import FileTree
from mien.errors import DatasetError
from mien.records import Box, show_path

__all__ = [
    "Table",
    "are_shares",
    "box_between",
    "box_by",
    "box_of",
    "encoding",
    "find_table",
    "header",
    "lines",
    "number",
    "numbers",
    "seconds",
]

_FAR = 1e6  # No image is that wide.
_SHARE = 1.5
_MOST = 0.9
_LONGEST_LINE = 1 << 24
"""The pixels of a face as numbers are some ten thousand characters."""
_SEPARATOR = re.compile(r'"?sep=(?P<sign>.)"?', re.IGNORECASE)
"""A first line by which Excel is told what separates cells."""
_END = "\x03"
"""Put after a csv's last line, so that a quote that is left open there spans two lines, too."""


class Table:
    """A csv, or a file of JSON lines (``.jsonl``) whose keys are the columns.

    Surrounding blanks of names and cells do not matter; blank lines are skipped. Where a csv's
    first line has no comma, semicolons or else tabs delimit its cells. What is no text in an object
    is a cell as JSON writes it, null an empty one.

    Attributes:
        path: where it is among the files.
        where: its place as messages name it.
        columns: the names of its columns.

    Args:
        tree: the files that it is one of.
        path: its path among them.
        needs: the columns that it must have.
        unheaded: the names of its columns where its first line gives none.

    Raises:
        DatasetError: it cannot be read, or lacks columns. Reading on may raise it, too.
    """

    def __init__(
        self, tree: FileTree, path: str, needs: Iterable[str], *, unheaded: Sequence[str] = ()
    ) -> None:
        self._tree, self.path = tree, path
        self.where = tree.where(path)
        first = next((tuple(cell.strip() for cell in row) for _, row in self._read()), ())
        self._headed = len(first) != len(unheaded) or not set(first).isdisjoint(unheaded)
        self.columns = first if self._headed else tuple(unheaded)
        lacking = [column for column in needs if column not in self.columns]
        if lacking:
            found = ", ".join(self.columns[:20]) or "an empty file"
            raise DatasetError(
                f"{self.where}: column {', '.join(map(repr, lacking))} is missing; found "
                f"{found if len(found) < 300 else found[:297] + '...'}"
            )

    @cached_property
    def count(self) -> int:
        """How many rows it has."""
        return sum(1 for _ in self._read()) - self._headed

    def rows(self, *columns: str) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Give each row's line and its cells of some columns; a cell that is lacking is empty."""
        lacking = len(self.columns)
        named = set(self.columns) - {""}
        places = [self.columns.index(c) if c in named else lacking for c in columns]
        read = self._read()
        if self._headed:
            next(read, None)
        for line, row in read:
            cells = [*row, *[""] * (lacking - len(row))][:lacking] + [""]
            yield line, tuple(cells[place].strip() for place in places)

    def _read(self) -> Iterator[tuple[int, list[str]]]:
        return iter(self._objects) if self.path.lower().endswith(".jsonl") else self._rows()

    @cached_property
    def _objects(self) -> list[tuple[int, list[str]]]:
        """All rows, behind one of the columns: each object may have others."""
        objects: list[tuple[int, dict[str, Any]]] = []
        with self._tree.open(self.path) as file, io.TextIOWrapper(file, "utf-8-sig") as text:
            try:
                for line, written in enumerate(_short_lines(text, self.where), start=1):
                    if not written.strip():
                        continue
                    found = _object(written)
                    if found is None:
                        raise DatasetError(
                            f"{self.where} line {line}: no JSON object, expected one a line, such "
                            'as {"file_name": "a.png", "label": "happy"}'
                        )
                    objects.append((line, found))
            except UnicodeDecodeError as error:
                raise _no_text(self.where, error) from None
        columns = list(dict.fromkeys(_json_cell(name) for _, found in objects for name in found))
        rows = ((n, [_json_cell(found.get(name)) for name in columns]) for n, found in objects)
        return [(1, columns), *rows] if columns else []

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        with (
            self._tree.open(self.path) as file,
            io.TextIOWrapper(file, _encoding_of(file), newline="") as whole,
        ):
            text = _short_lines(whole, self.where)
            read: list[str] = []  # the lines of the row in hand
            begins, before = 1, 0
            try:
                first = list(_to_first_words(text))
                delimiter = _delimiter("".join(first))
                if first and (told := _SEPARATOR.fullmatch(first[-1].strip("\r\n "))):
                    before, delimiter = len(first), told["sign"]
                    first = list(_to_first_words(text))
                rest = chain(first, text, (_END,))
                reader = csv.reader(_noted(rest, read), delimiter=delimiter)
                for row in reader:
                    if len(read) > 1:
                        _expect_closed_quotes(read, delimiter)
                    if any(map(str.strip, row)) and row != [_END]:
                        yield before + reader.line_num, row
                    begins = before + reader.line_num + 1
                    read.clear()
            except UnicodeDecodeError as error:
                raise _no_text(self.where, error) from None
            except csv.Error as error:
                raise DatasetError(
                    f"{self.where}: broken csv in the row that begins at line {begins} ({error}): "
                    "check its quotes"
                ) from None


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _json_cell(value: Any) -> str:
    cell = value if isinstance(value, str) else "" if value is None else json.dumps(value)
    return show_path(cell)  # JSON may hold halves of letters, which no other text can.


def _short_lines(text: IO[str], where: str) -> Iterator[str]:
    """Give the lines of a text: a small archive may hold one of gigabytes."""
    while line := text.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise DatasetError(f"{where}: a line of over {_LONGEST_LINE:,} characters: no table")
        yield line


def encoding(begins: bytes) -> str:
    """Return UTF-16 where a text begins as Excel's "Unicode text" does, else UTF-8."""
    wide = begins.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return "utf-16" if wide else "utf-8-sig"


def _encoding_of(file: IO[bytes]) -> str:
    begins = file.read(2)
    file.seek(0)
    return encoding(begins)


def _to_first_words(text: Iterable[str]) -> Iterator[str]:
    """Give lines up to the first that is not blank."""
    for line in text:
        yield line
        if line.strip():
            return


def _delimiter(line: str) -> str:
    return next((sign for sign in ",;\t" if sign in line), ",")


def _noted(text: Iterable[str], read: list[str]) -> Iterator[str]:
    for line in text:
        read.append(line)
        yield line


def _expect_closed_quotes(row: Sequence[str], delimiter: str) -> None:
    """Raise `csv.Error` where a stray quote has swallowed the rows up to another, or to the end."""
    for _ in csv.reader(row, delimiter=delimiter, strict=True):
        pass


def lines(tree: FileTree, path: str) -> Iterator[tuple[int, list[str]]]:
    """Give the number and the words of each line of a text file that is not blank.

    Raises:
        DatasetError: the file cannot be read as UTF-8 text.
    """
    with tree.open(path) as file, io.TextIOWrapper(file, "utf-8-sig") as text:
        try:
            for number_, line in enumerate(_short_lines(text, tree.where(path)), start=1):
                if words := line.split():
                    yield number_, words
        except UnicodeDecodeError as error:
            raise _no_text(tree.where(path), error) from None


def header(tree: FileTree, path: str) -> tuple[str, ...]:
    """Return the cells of a csv's first line, or nothing where there is no such text."""
    try:
        return Table(tree, path, ()).columns
    except DatasetError:
        return ()


def find_table(tree: FileTree, names: Collection[str], columns: Collection[str] = ()) -> str | None:
    """Return the table of one of some names (lower case), the least deep, or None.

    Where no name fits, the only csv that has all of some columns will do.

    Raises:
        DatasetError: several are equally near.
    """
    found = [path for path in tree.others if path.rpartition("/")[2].lower() in names]
    if not found and columns:
        tables = [path for path in tree.others if path.lower().endswith(".csv")]
        found = [path for path in tables if set(columns) <= set(header(tree, path))]
    depth = min((path.count("/") for path in found), default=0)
    nearest = [path for path in found if path.count("/") == depth]
    if len(nearest) > 1:
        raise DatasetError(
            f"{tree.root}: {' and '.join(nearest[:5])} are all such tables; give the folder "
            "around one of them"
        )
    return nearest[0] if nearest else None


def number(cell: str) -> float | None:
    """Return a finite number, or None where the cell holds none."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def numbers(cells: Iterable[str]) -> list[float] | None:
    """Return finite numbers, or None where one of the cells holds none."""
    values = []
    for cell in cells:
        value = number(cell)
        if value is None:
            return None
        values.append(value)
    return values


def box_of(values: Sequence[float] | None) -> Box | None:
    """Return the box that x, y, width and height make, or None where they make none."""
    if values is None or len(values) != 4 or min(values[2:]) <= 0:
        return None
    return Box(*values) if max(map(abs, values)) < _FAR else None


def box_between(edges: Sequence[float] | None) -> Box | None:
    """Return the box that left, top, right and bottom edge make, or None where they make none."""
    if edges is None or len(edges) != 4:
        return None
    x, y, x_end, y_end = edges
    return box_of((x, y, x_end - x, y_end - y))


def are_shares(boxes: Iterable[Sequence[float]]) -> bool:
    """Whether boxes are shares of an image's sides: as pixels, each face would be a single one.

    A few slips make no pixels of them.
    """
    near = [all(-_SHARE < edge < _SHARE for edge in box) for box in boxes if any(box)]
    return bool(near) and sum(near) >= _MOST * len(near)


def seconds(cell: str) -> float | None:
    """Return the seconds of ``12.5``, ``1:02.5`` or ``0:01:02``; None where it is neither."""
    if not re.fullmatch(r"(\d+:){0,2}\d+([.,]\d+)?", cell):
        return None
    found = 0.0
    for part in cell.split(":"):
        found = 60 * found + float(part.replace(",", "."))
    return found


def box_by(form: str, values: Sequence[float] | None) -> Box | None:
    """Return the box of four numbers: of two ``corners``, from its ``edges``, round its ``middle``.

    None where they make none.
    """
    if form == "corners":
        return box_between(values)
    if values and len(values) == 4 and form == "middle":
        x, y, width, height = values
        return box_of((x - width / 2, y - height / 2, width, height))
    return box_of(values)


def _no_text(where: str, error: UnicodeDecodeError) -> DatasetError:
    return DatasetError(
        f"{where}: cannot be read as UTF-8 text ({error}): save it as 'CSV UTF-8', as spreadsheets "
        "call that"
    )
