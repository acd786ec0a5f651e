"""What an audit found, as records: kinds, findings, counts, distributions. Knows no images."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

__all__ = ["KINDS", "Audit", "Finding", "Kind", "Likeness", "ValueFigures"]


class Kind(NamedTuple):
    """A kind of finding: what it means, and what its reader may want to do."""

    title: str
    says: str
    advice: str


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "missing": Kind(
            "Missing files",
            "the table names a file that is not there",
            "fetch the files again, or drop the rows",
        ),
        "unreadable": Kind(
            "Unreadable files",
            "the file is there but holds no image that can be decoded",
            "fetch the files again, or drop the rows",
        ),
        "unlisted": Kind(
            "Files outside the table",
            "a file that no row of the table names",
            "take its folder's emotion as its label, or drop it",
        ),
        "bad_label": Kind(
            "Unknown labels",
            "an unknown label, or an invalid split, weight, votes or box",
            "correct the table, import with --codes, or drop the rows",
        ),
        "folder_label_disagree": Kind(
            "Folder and label disagree",
            "the folder names one emotion, the table another",
            "look at some, then choose whose word counts",
        ),
        "duplicate": Kind(
            "Exact copies",
            "the same pixels under several names",
            "keep one of each group",
        ),
        "near_duplicate": Kind(
            "Near copies",
            "one picture again: re-encoded, resized, mirrored, slightly cropped or brightened",
            "look at large groups, and say on review.html what is only alike; keep one of each",
        ),
        "leak": Kind(
            "Leaks between splits",
            "a picture, a copy or another face of it, or a person in more than one split",
            "drop it from the split that learns, or split anew",
        ),
        "label_conflict": Kind(
            "Copies with different labels",
            "copies of one picture with different labels",
            "look at them; at most one label is right",
        ),
        "flat": Kind(
            "Flat images", "nearly one colour: there is next to nothing to see", "drop them"
        ),
        "dark": Kind(
            "Dark images",
            "hardly any light",
            "drop those in which no face can be seen",
        ),
        "bright": Kind(
            "Bright images",
            "washed out",
            "drop those in which no face can be seen",
        ),
        "blurred": Kind(
            "Blurred images", "no fine detail", "drop those whose expression cannot be told"
        ),
        "tiny": Kind(
            "Tiny faces", "the face has few pixels", "drop those whose expression cannot be told"
        ),
        "no_face": Kind(
            "No face", "nothing in it looks like a face", "look at them, then drop them"
        ),
        "label_suspect": Kind(
            "Suspect labels",
            "models trained on the other images read another emotion with confidence",
            "look at them, the most suspect first",
        ),
    }
)
"""Every kind of finding, in the order of reports."""


class Likeness(NamedTuple):
    """Another picture that one is like, as a row of the manifest, and how much (-1..1)."""

    row: int
    similarity: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and how that is known.

    Attributes:
        kind: a name in `KINDS`.
        rows: the rows of the manifest that it concerns.
        paths: their paths, in the same order.
        evidence: what shows it, as JSON values; every finding of a kind has the same names.
    """

    kind: str
    rows: tuple[int, ...]
    paths: tuple[str, ...]
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return kind, paths and evidence in one object."""
        return {"kind": self.kind, "paths": list(self.paths), **self.evidence}


@dataclass(frozen=True, slots=True)
class ValueFigures:
    """How a number that every image has is spread, for each emotion.

    Attributes:
        name: the column or measure.
        says: what it is, and which end is which.
        edges: the borders of the bins, rising; one more than there are bins.
        counts: for each emotion, how many images fall into each bin; the last bin holds its
            upper border too.
    """

    name: str
    says: str
    edges: tuple[float, ...]
    counts: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Audit:
    """Everything that an audit of one dataset came to.

    Attributes:
        dataset: the content of its ``dataset.json``.
        rows: how many rows its manifest has.
        findings: in the order of `KINDS`, the worst of a kind first.
        checked: the kinds that were looked for; a kind that is absent here was not.
        balance: for each split, how many usable images each emotion has.
        folders: for each folder's emotion, how many rows the table gives each label; empty
            where the source has no folders named after emotions beside a table.
        values: the spread of the source's own numbers and of the audit's measures.
        networks: how far the networks that suspect labels are to be trusted; empty: none was asked.
        likest: for each row that has near copies, the one that is most like it, of those with
            another label if there are any.
    """

    dataset: Mapping[str, Any]
    rows: int
    findings: tuple[Finding, ...]
    checked: tuple[str, ...]
    balance: Mapping[str, Mapping[str, int]]
    folders: Mapping[str, Mapping[str, int]]
    values: tuple[ValueFigures, ...]
    networks: str = ""
    likest: Mapping[int, Likeness] = field(default_factory=dict)

    @property
    def summary(self) -> dict[str, int]:
        """How many findings there are of each kind that was looked for."""
        found = Counter(finding.kind for finding in self.findings)
        return {kind: found[kind] for kind in KINDS if kind in self.checked}

    def of_kind(self, kind: str) -> tuple[Finding, ...]:
        """Return the findings of one kind."""
        return tuple(finding for finding in self.findings if finding.kind == kind)

    def to_json(self) -> dict[str, Any]:
        """Return the audit as ``mien data audit --json`` writes it."""
        return {
            "dataset": dict(self.dataset),
            "rows": self.rows,
            "summary": self.summary,
            "networks": self.networks,
            "balance": {split: dict(counts) for split, counts in self.balance.items()},
            "folders": {folder: dict(counts) for folder, counts in self.folders.items()},
            "values": {
                figures.name: {
                    "says": figures.says,
                    "edges": list(figures.edges),
                    "counts": {label: list(counts) for label, counts in figures.counts.items()},
                }
                for figures in self.values
            },
            "findings": [finding.to_json() for finding in self.findings],
        }
