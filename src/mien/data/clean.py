"""Repairing a dataset: a new one, and a record of every change.

The source is never touched. What people decided comes first, and no rule judges those pictures
again. Then rules apply in the order of `Rules`: labels are chosen and merged,
emotions, values and parts filter, kinds of findings are dropped, splits are drawn anew. What came
into use by that and has the pixels of a held-out image is left out again. Cleaning the result by
the same rules changes nothing more.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import reduce
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from mien.data.audit.auditor import audit_dataset, keep_together
from mien.data.audit.findings import Finding
from mien.data.audit.suspects import OutOfFold
from mien.data.conditions import Condition
from mien.data.dataset import Dataset, replace_column
from mien.data.decisions import APART, DROP, KEEP, Decisions
from mien.data.rules import Rules
from mien.data.splits import draw_splits, drawn_by
from mien.data.writer import (
    COPY_OF,
    exclude_copies,
    new_folder,
    note_of_draw,
    write_description,
)
from mien.errors import DatasetError, UsageError
from mien.labels import EMOTIONS
from mien.progress import Progress, silent
from mien.records import SPLITS

__all__ = ["clean_dataset"]

_OF_COPIES = frozenset({"duplicate", "near_duplicate", "leak"})
"""Kinds of findings that are about other pictures, too, so that nothing decides them by eye."""

_DECIDED = "decided by eye"

Row = dict[str, Any]


def clean_dataset(
    dataset: Dataset,
    out: Path,
    rules: Rules,
    *,
    predictions: OutOfFold | None = None,
    decisions: Decisions | None = None,
    progress: Progress = silent,
) -> tuple[dict[str, Any], dict[str, int]]:
    """Write a repaired dataset folder, with ``changes.jsonl`` beside its manifest.

    Args:
        dataset: the source, which is not touched.
        out: the dataset folder to make.
        rules: what to repair.
        predictions: what networks said of images that they were not trained on, for the rules
            that ask them.
        decisions: what people decided about some pictures.
        progress: shows how far it is.

    Returns:
        The content of its ``dataset.json``, and how many changes of each sort there were.

    Raises:
        UsageError: ``out`` exists, a condition names no number, word or part that there is, rules
            ask networks and there are no predictions, or these are of other images.
        DatasetError: no usable row is left, or all that trained were leaks.
    """
    if rules.ask_networks and predictions is None:
        raise UsageError(
            "these rules ask networks: expected --predictions FILE, which 'mien data audit "
            "--suspects' writes"
        )
    if predictions is not None:
        predictions = _as_merged_since(dataset, predictions).merged(rules.merge)
    with new_folder(out) as folder:
        cleaning = _Cleaning(dataset, rules, predictions, decisions, progress)
        cleaning.apply()
        manifest = cleaning.as_it_stands().manifest
        shutil.copytree(dataset.path / "images", folder / "images")
        packing = ("image_size", "image_channels", "shards", "values", "words")
        kept = ("source_format", "source", "looked_beyond_table", "parts", *packing)
        about: dict[str, Any] = {key: dataset.info[key] for key in kept if key in dataset.info}
        notes, of_splits = dataset.info.get("notes", []), dataset.info.get("notes_of_splits", [])
        if rules.split:
            drawn = note_of_draw(rules.split)
            notes = [*(note for note in notes if note not in of_splits), drawn]
            of_splits = [drawn]
        about |= {"notes": notes, "notes_of_splits": of_splits}
        if apart := cleaning.apart.intersection(manifest.column("id").to_pylist()):
            about["apart"] = sorted(apart)
        step = {**asdict(rules), "from": dataset.info["fingerprint"]}
        if decisions is not None:
            step["decisions"] = decisions.counts
        about["cleaned"] = [*dataset.info.get("cleaned", ()), step]
        info = write_description(folder, manifest, about)
        with (folder / "changes.jsonl").open("w", encoding="utf-8") as file:
            for change in cleaning.changes:
                file.write(json.dumps(change, ensure_ascii=False) + "\n")
    return info, dict(Counter(change["change"] for change in cleaning.changes))


def _as_merged_since(dataset: Dataset, predictions: OutOfFold) -> OutOfFold:
    """Return predictions with the merges that were made of their dataset until it became this one.

    Raises:
        UsageError: they are of other images; two sources can have the same ids, which follow from
            paths.
    """
    steps = dataset.info.get("cleaned", ())
    asked = predictions.about.get("fingerprint")
    history = [*(step["from"] for step in steps), dataset.info["fingerprint"]]
    if asked not in history:
        raise UsageError(
            f"--predictions: of dataset {asked}; expected those of {dataset.path} "
            f"({history[-1]}), or of what it was cleaned from: run "
            "'mien data audit --suspects' on it"
        )
    since = (step["merge"] for step in steps[history.index(asked) :])
    return reduce(OutOfFold.merged, since, predictions)


class _Cleaning:
    """The rows as they stand, and what was done to them."""

    def __init__(
        self,
        dataset: Dataset,
        rules: Rules,
        predictions: OutOfFold | None,
        decisions: Decisions | None,
        progress: Progress,
    ) -> None:
        self.dataset = dataset
        self.rules = rules
        self.predictions = predictions
        self.decided = {} if decisions is None else decisions.of
        told_apart = (name for name, what in self.decided.items() if what == APART)
        self.apart = dataset.apart.union(told_apart)
        self.progress = progress
        self.rows: list[Row] = dataset.manifest.to_pylist()
        self.changes: list[dict[str, Any]] = []

    def apply(self) -> None:
        self._decide()
        if self.rules.label_from:
            self._choose_labels(self.rules.label_from)
        if self.rules.merge:
            self._merge()
        self._filter()
        if self.rules.drop:
            self._drop_kinds()
        if self.rules.split:
            self._draw_splits(self.rules.split)
        self._leave_out_copies()
        self._expect_rows()

    def as_it_stands(self) -> Dataset:
        """Return the dataset as the rules that were applied by now leave it."""
        manifest = pa.Table.from_pylist(self.rows, schema=self.dataset.manifest.schema)
        return replace(self.dataset, manifest=manifest)

    def _expect_rows(self) -> None:
        if all(row["excluded"] for row in self.rows):
            raise DatasetError(
                f"{self.dataset.path}: these rules leave no usable row; drop fewer kinds, or "
                "keep more values, parts and emotions"
            )

    def _decide(self) -> None:
        gone = [row for row in self.rows if self.decided.get(row["id"]) == DROP]
        for row in gone:
            self._change(row, "drop", row, None, _DECIDED)
        self._remove(gone)
        for row in self.rows:
            what = self.decided.get(row["id"])
            if what not in {None, KEEP, APART}:
                self._label(row, what, _DECIDED)
            if what and row["folder_label"]:
                row["folder_label"] = row["label"]  # else the folder would undo it the next time

    def _choose_labels(self, source: Literal["folder", "votes", "model"]) -> None:
        read = {}
        if source == "model" and self.predictions:
            read = self.predictions.sure(self.rules.confidence)
        for row in self.rows:
            if row["id"] in self.decided:
                continue
            match source:
                case "folder":
                    label = row["folder_label"]
                case "votes":
                    label = self._voted(row["votes"])
                case "model":
                    label = read.get(row["id"])
            if label is not None:
                self._label(row, label, f"the {source} says so")

    def _label(self, row: Row, label: str, why: str) -> None:
        """Give a row a label; votes that are against it go, since they would be learnt instead."""
        if row["votes"] and self._voted(row["votes"]) != self.rules.merge.get(label, label):
            self._change(row, "votes", row["votes"], None, f"{why}: {label}")
            row["votes"] = None
        if label == row["label"]:
            return
        old, row["label"] = row["label"], label
        self._change(row, "relabel", old, label, why)
        # A file without a row, or with a label that nobody knows, has one now. What had one was
        # left out for its box or its weight.
        bare = old is None and row["shard"] is not None
        if bare and row["problem"] in {"unlisted", "bad_label"}:
            self._change(row, "include", row["excluded"], None, why)
            row["problem"] = row["excluded"] = None

    def _voted(self, votes: list[float] | None) -> str | None:
        """Return the emotion with the most votes, those of merged ones taken together."""
        if not votes:
            return None
        merged = _merged(votes, self.rules.merge)
        return EMOTIONS[merged.index(max(merged))]

    def _merge(self) -> None:
        for row in self.rows:
            if (label := row["label"]) in self.rules.merge:
                row["label"] = self.rules.merge[label]
                self._change(row, "relabel", label, row["label"], "merged")
            # Else the folder would undo it the next time.
            row["folder_label"] = self.rules.merge.get(row["folder_label"], row["folder_label"])
            if row["votes"] and (votes := _merged(row["votes"], self.rules.merge)) != row["votes"]:
                self._change(row, "votes", row["votes"], votes, "merged")
                row["votes"] = votes

    def _filter(self) -> None:
        gone = [row for row in self.rows if row["label"] in self.rules.without]
        for row in gone:
            self._change(row, "drop", row, None, f"{row['label']} is left out")
        self._remove(gone)
        for text in self.rules.where:
            meets = Condition.parse(text)
            meets.check(self.dataset)
            name = meets.name
            failing = [row for row in self.rows if row[name] is not None and not meets(row[name])]
            for row in failing:
                value = row[name] if isinstance(row[name], str) else f"{row[name]:.4g}"
                self._change(row, "drop", row, None, f"{name} is {value}, not {meets.text}")
            self._remove(failing)

    def _drop_kinds(self) -> None:
        reasons: dict[int, str] = {}
        # Whether a picture looks like a face is judged beside the others: with the least face-like
        # gone, the next would come to look strange.
        judged = {kind for step in self.dataset.info.get("cleaned", ()) for kind in step["drop"]}
        kinds = set(self.rules.drop) - (judged & {"no_face"})
        for finding in self._audit():
            if finding.kind in kinds:
                for row, why in self._doomed(finding):
                    if finding.kind in _OF_COPIES or self.rows[row]["id"] not in self.decided:
                        reasons.setdefault(row, why)
        doomed = [self.rows[i] for i in sorted(reasons)]
        self._expect_training(self.rows[i] for i, why in reasons.items() if why.startswith("leak"))
        for i in sorted(reasons):
            self._change(self.rows[i], "drop", self.rows[i], None, reasons[i])
        self._remove(doomed)

    def _expect_training(self, leaking: Iterable[Row]) -> None:
        """Refuse to drop all that trains: where everybody is in every split, all of it leaks."""
        learns = {row["id"] for row in self.rows if row["split"] == "train" and not row["excluded"]}
        if learns and learns <= {row["id"] for row in leaking}:
            raise DatasetError(
                f"{self.dataset.path}: every training image shares its picture or person with "
                "another split; expected --split 80/10/10, which draws splits anew without leaks, "
                "instead of --drop leak"
            )

    def _audit(self) -> tuple[Finding, ...]:
        self._expect_rows()
        return audit_dataset(
            self.as_it_stands(),
            predictions=self.predictions,
            suspicion=self.rules.suspicion,
            apart=self.apart,
            progress=self.progress,
        ).findings

    def _doomed(self, finding: Finding) -> Iterator[tuple[int, str]]:
        if finding.kind == "near_duplicate":
            yield from self._doomed_twins(finding)
            return
        kept = min(finding.rows, key=self._worth)
        for i in finding.rows:
            if finding.kind == "duplicate":
                if i != kept:
                    yield i, f"{finding.kind} of {self.rows[kept]['path']}"
            elif finding.kind == "leak":
                if self.rows[i]["split"] != self.rows[kept]["split"]:
                    yield i, f"leak ({finding.evidence['by']}) with {self.rows[kept]['path']}"
            else:
                evidence = ", ".join(f"{k} {v}" for k, v in finding.evidence.items())
                yield i, f"{finding.kind}: {evidence}" if evidence else finding.kind

    def _doomed_twins(self, finding: Finding) -> Iterator[tuple[int, str]]:
        """Give all but one of each label, where an eye has told these apart, else all but one."""
        first, *others = sorted(finding.rows, key=self._worth)
        kept = {self.rows[first]["label"]: first}
        for i in others:
            label = self.rows[i]["label"]
            if label not in kept and self.rows[i]["id"] in self.decided:
                kept[label] = i
            else:
                yield i, f"{finding.kind} of {self.rows[kept.get(label, first)]['path']}"

    def _worth(self, i: int) -> tuple[bool, int, bool, str]:
        """Order rows of one picture: what is used first, held-out splits, what was looked at.

        What nobody is judged by is no leak, and what is learnt need not go for it.
        """
        row = self.rows[i]
        unused, unseen = row["excluded"] is not None, row["id"] not in self.decided
        return unused, -SPLITS.index(row["split"]), unseen, row["path"]

    def _draw_splits(self, shares: tuple[float, float, float]) -> None:
        drawn = draw_splits(
            drawn_by((row["id"] for row in self.rows), (row["path"] for row in self.rows)),
            [row["label"] for row in self.rows],
            keep_together(self.as_it_stands(), self._audit()),
            shares=dict(zip(SPLITS, shares, strict=True)),
            seed=self.rules.seed,
        )
        for row, split in zip(self.rows, drawn, strict=True):
            if row["split"] != split:
                self._change(row, "split", row["split"], split, "drawn anew")
                row["split"] = split

    def _leave_out_copies(self) -> None:
        """Leave out copies of what is held out; where splits were drawn anew, take others in.

        Those that show nothing may still lie in several splits.
        """
        given = [
            None
            if self.rules.split and (row["excluded"] or "").startswith(COPY_OF)
            else row["excluded"]
            for row in self.rows
        ]
        manifest = replace_column(self.as_it_stands().manifest, "excluded", given)
        reasons = exclude_copies(manifest).column("excluded").to_pylist()
        for row, reason in zip(self.rows, reasons, strict=True):
            if reason == row["excluded"]:
                continue
            change, why = "exclude", "what tests may not teach"
            if reason is None:
                change, why = "include", "its copies lie in the same split"
            self._change(row, change, row["excluded"], reason, why)
            row["excluded"] = reason

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


def _merged(votes: list[float], merge: Mapping[str, str]) -> list[float]:
    merged = [0.0] * len(EMOTIONS)
    for emotion, share in zip(EMOTIONS, votes, strict=True):
        merged[EMOTIONS.index(merge.get(emotion, emotion))] += share
    return merged
