"""Repairing a dataset: a new one, and a record of every change.

The source is never touched. Rules apply in a fixed order: labels are chosen, values filter, kinds
of findings are dropped, splits are drawn anew. Cleaning the result by the same rules changes
nothing more.
"""

import json
import operator
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import pyarrow as pa

from mien.data.audit.auditor import CHECKED, audit_dataset
from mien.data.audit.findings import Finding
from mien.data.dataset import Dataset
from mien.data.splits import draw_splits, join_groups
from mien.data.writer import new_folder, write_description
from mien.errors import DatasetError, UsageError
from mien.labels import EMOTIONS
from mien.progress import Progress, silent
from mien.records import SPLITS, Split

__all__ = ["Rules", "clean_dataset"]

_KEEP_ONE = frozenset({"duplicate", "near_duplicate"})
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
)
_COPY_OF = "same pixels as a "

Row = dict[str, Any]


@dataclass(frozen=True)
class Rules:
    """What to repair.

    Attributes:
        drop: kinds of findings. Of duplicates and near duplicates one is kept, in the split that
            tests rather than in the one that learns; of a leak, what lies in that split stays; of
            all other kinds everything goes.
        label_from: whose label counts where there is another than the table's: the ``folder`` or
            the largest of the ``votes``; None: the table's.
        where: conditions that every row must meet, ``relFCs<0.9``; rows without the value stay.
        split: the shares of train, valid and test to draw anew; None: splits stay.
        seed: another seed, another draw.

    Raises:
        UsageError: a kind or a condition is none.
    """

    drop: tuple[str, ...] = ()
    label_from: Literal["folder", "votes"] | None = None
    where: tuple[str, ...] = ()
    split: tuple[float, float, float] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.drop if kind not in CHECKED]
        if unknown:
            raise UsageError(f"drop {', '.join(unknown)}: expected any of {', '.join(CHECKED)}")
        for condition in self.where:
            _parse(condition)
        if self.split and (min(self.split) < 0 or sum(self.split) <= 0):
            raise UsageError(f"split {self.split}: expected three shares of 0 or more")


def clean_dataset(
    dataset: Dataset, out: Path, rules: Rules, *, progress: Progress = silent
) -> tuple[dict[str, Any], dict[str, int]]:
    """Write a repaired dataset folder, with ``changes.jsonl`` beside its manifest.

    Returns:
        The content of its ``dataset.json``, and how many changes of each sort there were.

    Raises:
        UsageError: ``out`` exists, or a condition names a column that is no number.
        DatasetError: no usable row is left.
    """
    with new_folder(out) as folder:
        cleaning = _Cleaning(dataset, rules, progress)
        cleaning.apply()
        manifest = pa.Table.from_pylist(cleaning.rows, schema=dataset.manifest.schema)
        shutil.copytree(dataset.path / "images", folder / "images")
        kept = ("source_format", "source", "image_size", "image_channels", "shards", "values")
        about = {key: dataset.info[key] for key in kept}
        about["notes"] = [*dataset.info.get("notes", ())]
        about["cleaned"] = {**asdict(rules), "from": dataset.info["fingerprint"]}
        info = write_description(folder, manifest, about)
        if not info["labels"]:
            raise DatasetError(f"{dataset.path}: these rules leave no usable row; drop fewer kinds")
        with (folder / "changes.jsonl").open("w", encoding="utf-8") as file:
            for change in cleaning.changes:
                file.write(json.dumps(change, ensure_ascii=False) + "\n")
    return info, dict(Counter(change["change"] for change in cleaning.changes))


class _Cleaning:
    """The rows as they stand, and what was done to them."""

    def __init__(self, dataset: Dataset, rules: Rules, progress: Progress) -> None:
        self.dataset = dataset
        self.rules = rules
        self.progress = progress
        self.rows: list[Row] = dataset.manifest.to_pylist()
        self.changes: list[dict[str, Any]] = []

    def apply(self) -> None:
        if self.rules.label_from:
            self._choose_labels(self.rules.label_from)
        self._filter()
        if self.rules.drop:
            self._drop_kinds()
        if self.rules.split:
            self._draw_splits(self.rules.split)

    def _choose_labels(self, source: Literal["folder", "votes"]) -> None:
        for row in self.rows:
            label = row["folder_label"] if source == "folder" else _voted(row)
            if label is None or label == row["label"]:
                continue
            self._change(row, "relabel", row["label"], label, f"the {source} says so")
            row["label"] = label
            # A file without a row, or with a label that nobody knows, has one now.
            if row["problem"] in {"unlisted", "bad_label"} and row["shard"] is not None:
                row["problem"] = row["excluded"] = None

    def _filter(self) -> None:
        for condition in self.rules.where:
            name, compare, bound = _parse(condition)
            if name not in self.dataset.values:
                known = ", ".join(self.dataset.values) or "none"
                raise UsageError(f"{condition}: the dataset's own numbers are {known}")
            failing = [
                row for row in self.rows if row[name] is not None and not compare(row[name], bound)
            ]
            for row in failing:
                self._change(row, "drop", row, None, f"{name} is {row[name]:.4g}, not {condition}")
            self._remove(failing)

    def _drop_kinds(self) -> None:
        reasons: dict[int, str] = {}
        for finding in self._audit():
            if finding.kind in self.rules.drop:
                for row, why in self._doomed(finding):
                    reasons.setdefault(row, why)
        doomed = [self.rows[i] for i in sorted(reasons)]
        for i in sorted(reasons):
            self._change(self.rows[i], "drop", self.rows[i], None, reasons[i])
        self._remove(doomed)

    def _audit(self) -> tuple[Finding, ...]:
        manifest = pa.Table.from_pylist(self.rows, schema=self.dataset.manifest.schema)
        as_it_stands = replace(self.dataset, manifest=manifest)
        return audit_dataset(as_it_stands, progress=self.progress).findings

    def _doomed(self, finding: Finding) -> Iterator[tuple[int, str]]:
        kept = min(finding.rows, key=self._worth)
        for i in finding.rows:
            if finding.kind in _KEEP_ONE:
                if i != kept:
                    yield i, f"{finding.kind} of {self.rows[kept]['path']}"
            elif finding.kind == "leak":
                if self.rows[i]["split"] != self.rows[kept]["split"]:
                    yield i, f"leak ({finding.evidence['by']}) with {self.rows[kept]['path']}"
            else:
                evidence = ", ".join(f"{k} {v}" for k, v in finding.evidence.items())
                yield i, f"{finding.kind}: {evidence}" if evidence else finding.kind

    def _worth(self, i: int) -> tuple[int, bool, str]:
        """Order rows of one picture: the held-out split first, then what is used, then by name."""
        row = self.rows[i]
        return -SPLITS.index(row["split"]), row["excluded"] is not None, row["path"]

    def _draw_splits(self, shares: tuple[float, float, float]) -> None:
        groups = [f.rows for f in self._audit() if f.kind in _KEEP_ONE]
        joined = join_groups(
            len(self.rows),
            [row["subject"] for row in self.rows],
            pairs=[(rows[0], other) for rows in groups for other in rows[1:]],
        )
        drawn = draw_splits(
            [row["id"] for row in self.rows],
            [row["label"] for row in self.rows],
            joined,
            shares=dict(zip(SPLITS, shares, strict=True)),
            seed=self.rules.seed,
        )
        for row, split in zip(self.rows, drawn, strict=True):
            self._move(row, split)

    def _move(self, row: Row, split: Split) -> None:
        if row["split"] != split:
            self._change(row, "split", row["split"], split, "drawn anew")
            row["split"] = split
        # Copies lie in one split now, so none need be left out.
        if (row["excluded"] or "").startswith(_COPY_OF):
            self._change(row, "include", row["excluded"], None, "its copies lie in the same split")
            row["excluded"] = None

    def _change(self, row: Row, change: str, old: Any, new: Any, why: str) -> None:
        old = dict(old) if isinstance(old, dict) else old
        self.changes.append(
            {
                "id": row["id"],
                "path": row["path"],
                "change": change,
                "from": old,
                "to": new,
                "reason": why,
            }
        )

    def _remove(self, rows: list[Row]) -> None:
        gone = {id(row) for row in rows}
        self.rows = [row for row in self.rows if id(row) not in gone]


def _voted(row: Row) -> str | None:
    votes = row["votes"]
    return EMOTIONS[votes.index(max(votes))] if votes else None


def _parse(condition: str) -> tuple[str, Callable[[float, float], bool], float]:
    match = re.fullmatch(r"\s*(.+?)\s*(<=|>=|<|>)\s*(-?[\d.]+(?:e-?\d+)?)\s*", condition)
    try:
        if match:
            return match[1], _COMPARISONS[match[2]], float(match[3])
    except ValueError:
        pass
    raise UsageError(f"condition {condition!r}: expected COLUMN<NUMBER, or <=, >, >=")
