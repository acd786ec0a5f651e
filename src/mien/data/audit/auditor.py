"""Looking for everything that is wrong with a dataset."""

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.data.audit.faceless import FEWEST, find_faceless
from mien.data.audit.findings import KINDS, Audit, Finding, Likeness, ValueFigures
from mien.data.audit.measures import MEASURES, measure
from mien.data.audit.suspects import SUSPECT, OutOfFold
from mien.data.audit.twins import SIDE, Twins, find_twins
from mien.data.clips import clip_of
from mien.data.dataset import PART, Dataset, with_parts
from mien.data.splits import FLATTEST, join_groups, version_of
from mien.preprocess import InputSpec, fit
from mien.progress import Progress, silent
from mien.records import SPLITS

__all__ = ["audit_dataset", "keep_together"]

FLAT_CONTRAST: Final = 10.0
FLAT_COMPONENT: Final = 0.9
DARK: Final = 60.0
BRIGHT: Final = 195.0
BLURRED: Final = 0.06
TINY: Final = 32.0

_BINS: Final = 24
_BATCH: Final = 1024


def audit_dataset(
    dataset: Dataset,
    *,
    predictions: OutOfFold | None = None,
    suspicion: float = SUSPECT,
    apart: Collection[str] = (),
    progress: Progress = silent,
) -> Audit:
    """Look for every kind of defect.

    Rows that the import left out are looked at too: a leak that is already closed is still worth
    knowing; its evidence has ``excluded_already`` true.

    Args:
        dataset: an open dataset.
        predictions: what networks said of its images that were not trained on them; without them
            nothing is said of suspect labels.
        suspicion: how probable it must be that a label is wrong, 0..1, for it to be suspect.
        apart: ids of pictures that are no near copies of any other, however alike, besides those
            of which the dataset knows it (`Dataset.apart`).
        progress: shows how far it is.
    """
    return _Auditor(dataset, predictions, suspicion, apart, progress).audit()


def keep_together(dataset: Dataset, findings: Iterable[Finding]) -> list[int]:
    """Number the rows so that all of one picture, its augmented copies too, or person share one.

    Pictures that show nothing (`FLATTEST`) are alike without being of one person.
    """
    found = list(findings)
    flat = {f.rows[0] for f in found if f.kind == "flat" and f.evidence["contrast"] < FLATTEST}
    hashes = [None if row in flat else value for row, value in enumerate(dataset.column("sha256"))]
    pictures = [f.rows for f in found if f.kind in {"duplicate", "near_duplicate"}]
    pairs = ((rows[0], other) for rows in pictures if flat.isdisjoint(rows) for other in rows[1:])
    versions = map(version_of, dataset.column("path"))
    return join_groups(len(dataset), hashes, dataset.column("subject"), versions, pairs=pairs)


class _Auditor:
    """One audit: the manifest's columns, the grey pictures, and what came of comparing them."""

    def __init__(
        self,
        dataset: Dataset,
        predictions: OutOfFold | None,
        suspicion: float,
        apart: Collection[str],
        progress: Progress,
    ) -> None:
        self.dataset = dataset
        self.predictions = predictions
        self.suspicion = suspicion
        known = dataset.apart.union(apart)
        self.apart = {row for row, name in enumerate(dataset.column("id")) if name in known}
        self.progress = progress
        self.paths: list[str] = dataset.column("path")
        self.splits: list[str] = dataset.column("split")
        self._people = _people(dataset)
        self.labels: list[str | None] = dataset.column("label")
        self.excluded: list[str | None] = dataset.column("excluded")
        with_image = [i for i, s in enumerate(dataset.column("shard")) if s is not None]
        self.pictured = np.array(with_image, dtype=np.int64)

    def audit(self) -> Audit:
        grey = self._grey()
        measures = measure(grey)
        copies = self._copies()
        twins = self._twins(grey, copies)
        findings = [
            *self._problems(),
            *self._disagreements(),
            *self._groups("duplicate", copies),
            *self._near_duplicates(copies, twins),
            *self._leaks(copies, twins),
            *self._conflicts(copies, twins),
            *self._poor(measures),
            *self._faceless(grey, measures),
            *self._suspects(),
        ]
        order = {kind: number for number, kind in enumerate(KINDS)}
        skipped = set()
        if self.predictions is None or not self.predictions.learnt:
            skipped.add("label_suspect")
        if len(grey) < FEWEST:
            skipped.add("no_face")
        if not any(info.get("looked_beyond_table") for info in with_parts(self.dataset.info)):
            skipped.add("unlisted")
        skipped.difference_update(finding.kind for finding in findings)
        return Audit(
            dataset=self.dataset.info,
            rows=len(self.dataset),
            findings=tuple(sorted(findings, key=lambda finding: order[finding.kind])),
            checked=tuple(kind for kind in KINDS if kind not in skipped),
            balance=self.dataset.info["counts"],
            folders=self._folders(),
            values=tuple(self._values(measures)),
            networks=self.predictions.says if self.predictions else "",
            likest=_likest(twins, self.labels),
        )

    # --- what the manifest says -----------------------------------------------------------------

    def _problems(self) -> Iterator[Finding]:
        given = self.dataset.column("given")
        for row, problem in enumerate(self.dataset.column("problem")):
            if problem is not None:
                yield self._finding(problem, [row], given=given[row], reason=self.excluded[row])

    def _disagreements(self) -> Iterator[Finding]:
        for row, folder in enumerate(self.dataset.column("folder_label")):
            if folder and self.labels[row] and folder != self.labels[row]:
                yield self._finding(
                    "folder_label_disagree", [row], folder=folder, table=self.labels[row]
                )

    def _folders(self) -> dict[str, dict[str, int]]:
        matrix: dict[str, Counter[str]] = defaultdict(Counter)
        for folder, label in zip(self.dataset.column("folder_label"), self.labels, strict=True):
            if folder and label:
                matrix[folder][label] += 1
        return {folder: dict(counts) for folder, counts in matrix.items()}

    # --- copies ---------------------------------------------------------------------------------

    def _copies(self) -> list[list[int]]:
        """Return the groups of rows with the same pixels in the same box."""
        boxes, hashes = self.dataset.column("box"), self.dataset.column("sha256")
        keys = (
            None if hashes[row] is None else (hashes[row], tuple(boxes[row] or ()))
            for row in range(len(self.dataset))
        )
        return [group for group in _gather(keys) if not self._of_one_video(*group)]

    def _of_one_video(self, first: int, *others: int) -> bool:
        """Whether rows are moments of one video, which are alike, as they were meant to be."""
        paths = [self.paths[row] for row in (first, *others)]
        video = clip_of(paths[0])
        return video is not None and {*map(clip_of, paths)} == {video} and len({*paths}) > 1

    def _twins(self, grey: NDArray[np.uint8], copies: list[list[int]]) -> list[Twins]:
        """Return near duplicates as pairs of rows; of each group of copies only one is compared."""
        passed = self.apart.union(*(group[1:] for group in copies))
        # What is apart has copies of its own pixels, and these are apart, too.
        passed.update(group[0] for group in copies if not self.apart.isdisjoint(group))
        kept = [i for i, row in enumerate(self.pictured.tolist()) if row not in passed]
        rows = self.pictured[kept]

        # Of copies whoever is named counts for all.
        shown = {
            group[0]: next(filter(None, (self._people[row] for row in group)), None)
            for group in copies
        }

        def differ(first: int, second: int) -> bool:
            """Studio pictures of two people may be as alike as copies: the names know better."""
            if self._of_one_video(int(rows[first]), int(rows[second])):
                return True
            one, other = (shown.get(row, self._people[row]) for row in (rows[first], rows[second]))
            # A person of one joined part may be one of another by another name.
            return bool(one and other and one != other and one[0] == other[0])

        pairs = find_twins(grey[kept], differ=differ, progress=self.progress)
        return [
            pair._replace(first=int(rows[pair.first]), second=int(rows[pair.second]))
            for pair in pairs
        ]

    def _near_duplicates(self, copies: list[list[int]], twins: list[Twins]) -> Iterator[Finding]:
        alike = self._alike(copies, twins)
        pairs: dict[int, list[Twins]] = defaultdict(list)
        for pair in twins:
            pairs[alike[pair.first]].append(pair)
        for group in self._pictures(copies, twins):
            if members := pairs[alike[group[0]]]:
                yield self._finding(
                    "near_duplicate",
                    group,
                    similarity=min(pair.similarity for pair in members),
                    mirrored=any(pair.mirrored for pair in members),
                )

    def _alike(self, copies: list[list[int]], twins: list[Twins]) -> list[int]:
        """Number the rows by the picture that they show."""
        copy_of: list[int | None] = [None] * len(self.dataset)
        for number, group in enumerate(copies):
            for row in group:
                copy_of[row] = number
        pairs = [(pair.first, pair.second) for pair in twins]
        return join_groups(len(self.dataset), copy_of, pairs=pairs)

    def _pictures(self, copies: list[list[int]], twins: list[Twins]) -> list[list[int]]:
        alike = self._alike(copies, twins)
        sizes = Counter(alike)
        return _gather(root if sizes[root] > 1 else None for root in alike)

    def _leaks(self, copies: list[list[int]], twins: list[Twins]) -> Iterator[Finding]:
        exact = {tuple(group) for group in copies}
        for group in self._pictures(copies, twins):
            by = "same pixels" if tuple(group) in exact else "near duplicate"
            yield from self._leak(group, by)
        for group in _gather(self.dataset.column("sha256")):
            if tuple(group) not in exact:
                yield from self._leak(group, "other faces of the picture")
        for group in _gather(self.dataset.column("subject")):
            yield from self._leak(group, "same subject")

    def _leak(self, rows: list[int], by: str) -> Iterator[Finding]:
        splits = {self.splits[row] for row in rows}
        if len(splits) > 1:
            still = {self.splits[row] for row in rows if self.excluded[row] is None}
            yield self._finding(
                "leak",
                rows,
                by=by,
                splits=[split for split in SPLITS if split in splits],
                excluded_already=len(still) < 2,
            )

    def _conflicts(self, copies: list[list[int]], twins: list[Twins]) -> Iterator[Finding]:
        for group in self._pictures(copies, twins):
            labels = Counter(label for row in group if (label := self.labels[row]))
            if len(labels) > 1:
                yield self._finding("label_conflict", group, labels=dict(labels))

    def _groups(self, kind: str, groups: Iterable[Sequence[int]]) -> Iterator[Finding]:
        for group in groups:
            yield self._finding(kind, group)

    # --- pictures -------------------------------------------------------------------------------

    def _grey(self) -> NDArray[np.uint8]:
        spec = InputSpec(size=SIDE, channels=1)
        grey = np.empty((len(self.pictured), SIDE, SIDE), dtype=np.uint8)
        starts = range(0, len(grey), _BATCH)
        for start in self.progress(starts, total=len(starts), doing="looking"):
            batch = self.dataset.images(self.pictured[start : start + _BATCH])
            for i, image in enumerate(batch, start=start):
                grey[i] = fit(image, spec)[..., 0]
            self.dataset.release()
        return grey

    def _poor(self, measures: Mapping[str, NDArray[np.float64]]) -> Iterator[Finding]:
        contrast, component = measures["contrast"], measures["first_component"]
        flat = (contrast < FLAT_CONTRAST) | (component >= FLAT_COMPONENT)
        yield from self._below("flat", flat, contrast=contrast, first_component=component)
        lightest, darkest = measures["lightest"], measures["darkest"]
        yield from self._below("dark", lightest < DARK, lightest=lightest)
        yield from self._below("bright", darkest > BRIGHT, darkest=-darkest)
        sharpness = measures["sharpness"]
        # A flat picture has no detail to be blurred.
        yield from self._below("blurred", (sharpness < BLURRED) & ~flat, sharpness=sharpness)
        side = self._face_sides()
        yield from self._below("tiny", side < TINY, pixels=side)

    def _below(
        self, kind: str, chosen: NDArray[np.bool_], **evidence: NDArray[np.float64]
    ) -> Iterator[Finding]:
        """Give the chosen pictures, those with the lowest first evidence first."""
        found = np.flatnonzero(chosen)
        first = next(iter(evidence.values()))
        for i in found[np.argsort(first[found], kind="stable")]:
            shown = {name: round(abs(float(values[i])), 4) for name, values in evidence.items()}
            yield self._finding(kind, [int(self.pictured[i])], **shown)

    def _face_sides(self) -> NDArray[np.float64]:
        widths, heights = self.dataset.column("width"), self.dataset.column("height")
        boxes = self.dataset.column("box")
        sides = [
            min(boxes[row][2:]) if boxes[row] else min(widths[row], heights[row])
            for row in self.pictured.tolist()
        ]
        return np.array(sides, dtype=np.float64)

    def _faceless(
        self, grey: NDArray[np.uint8], measures: Mapping[str, NDArray[np.float64]]
    ) -> Iterator[Finding]:
        for i, resemblance in find_faceless(grey):
            if measures["contrast"][i] >= FLAT_CONTRAST:
                row = int(self.pictured[i])
                yield self._finding("no_face", [row], resemblance=round(resemblance, 3))

    def _suspects(self) -> Iterator[Finding]:
        if self.predictions is not None:
            ids = self.dataset.column("id")
            for suspect in self.predictions.suspects(ids, self.labels, least=self.suspicion):
                yield self._finding(
                    "label_suspect",
                    [suspect.row],
                    label=self.labels[suspect.row],
                    rather=suspect.rather,
                    suspicion=round(suspect.suspicion, 4),
                )

    # --- figures --------------------------------------------------------------------------------

    def _values(self, measures: Mapping[str, NDArray[np.float64]]) -> Iterator[ValueFigures]:
        for name in self.dataset.values:
            column = np.array(self.dataset.column(name), dtype=np.float64)
            says = f"{name}, as the source gives it"
            if name == "relFCs":
                says += ": the share of the first component; a high value means a flat picture"
            own = f"{name} of the source" if name in measures else name
            yield from self._spread(own, says, np.arange(len(column)), column)
        for name, values in measures.items():
            yield from self._spread(name, MEASURES[name], self.pictured, values)

    def _spread(
        self, name: str, says: str, rows: NDArray[np.int64], values: NDArray[np.float64]
    ) -> Iterator[ValueFigures]:
        used = np.array([self.excluded[row] is None for row in rows], dtype=bool)
        used &= np.isfinite(values)
        if used.any():
            edges = _bin_edges(values[used])
            labels = np.array([self.labels[row] for row in rows[used]])
            counts = {
                emotion: tuple(np.histogram(values[used][labels == emotion], edges)[0].tolist())
                for emotion in self.dataset.emotions
            }
            yield ValueFigures(name, says, tuple(edges.tolist()), counts)

    def _finding(self, kind: str, rows: Sequence[int], **evidence: Any) -> Finding:
        paths = tuple(self.paths[row] for row in rows)
        return Finding(kind, tuple(rows), paths, evidence)


def _people(dataset: Dataset) -> list[tuple[str, str] | None]:
    """Return who is shown in each row, where anybody is named: the part and the name."""
    parts = dataset.column(PART.name) if dataset.parts else [""] * len(dataset)
    subjects = dataset.column("subject")
    return [
        None if subject is None else (part, subject)
        for part, subject in zip(parts, subjects, strict=True)
    ]


def _likest(twins: Iterable[Twins], labels: Sequence[str | None]) -> dict[int, Likeness]:
    """Return for each row that has near copies the one that is most like it.

    One with another label goes first: which of the two is right has to be seen side by side.
    """
    found: dict[int, Likeness] = {}

    def worth(pair: Twins) -> tuple[bool, float]:
        return labels[pair.first] != labels[pair.second], pair.similarity

    for pair in sorted(twins, key=worth):
        found[pair.first] = Likeness(pair.second, pair.similarity)
        found[pair.second] = Likeness(pair.first, pair.similarity)
    return found


def _bin_edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    try:
        with np.errstate(over="raise"):
            edges: NDArray[np.float64] = np.histogram_bin_edges(values, bins=_BINS)
    except (ValueError, FloatingPointError):
        # Numbers such as those of accounts lie too close together, or too far apart, for floats.
        edges = np.array([values.min(), values.max()])
    return edges


def _gather(keys: Iterable[Hashable | None]) -> list[list[int]]:
    """Return the groups of two or more positions with equal keys; None belongs to no group."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for position, key in enumerate(keys):
        if key is not None:
            groups[key].append(position)
    return [group for group in groups.values() if len(group) > 1]
