"""The formats that people have, each read into samples; `import_dataset` turns them into a dataset.

A reader knows one layout and its own table of codes. It yields samples without opening an image;
decoding, hashing, packing and keeping the splits apart happen once, for all formats, in
`import_dataset`. An emotion is never guessed from a bare number.
"""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mien.data.dataset import DatasetWriter, content_hash, new_folder
from mien.data.source import FileTree
from mien.errors import DatasetError, ImageError, UsageError
from mien.images import read_image
from mien.labels import EMOTIONS, FER2013_CODES, FERPLUS_VOTE_COLUMNS, find_alias
from mien.preprocess import InputSpec, face_crop
from mien.records import Sample, Split

__all__ = ["FORMATS", "Format", "import_dataset"]

Load = Callable[[], NDArray[np.uint8]]
Item = tuple[Sample, Load]

_USAGE: Mapping[str, Split] = MappingProxyType(
    {"Training": "train", "PublicTest": "valid", "PrivateTest": "test"}
)
_SPLIT_FOLDERS: Mapping[str, Split] = MappingProxyType(
    {
        **dict.fromkeys(("train", "training", "train_set"), "train"),
        **dict.fromkeys(("valid", "val", "validation", "val_set", "publictest"), "valid"),
        **dict.fromkeys(("test", "testing", "test_set", "privatetest"), "test"),
    }
)


class Progress(Protocol):
    """Wraps an iterable to show how far it is; ``total`` is how many items will come."""

    def __call__(self, items: Iterable[Item], *, total: int) -> Iterable[Item]: ...


@dataclass(frozen=True)
class Format:
    """One format that can be imported.

    Attributes:
        says: its layout in a line.
        spec: how its images are packed unless the user asks otherwise.
        read: a function of the source that opens it and gives (number of items, items).
        notes: what a user of the dataset should know.
    """

    says: str
    spec: InputSpec
    read: Callable[[Path], AbstractContextManager["Reading"]]
    notes: tuple[str, ...] = ()


@dataclass
class Reading:
    """An opened source: how many items it has, and the items."""

    total: int
    items: Iterable[Item]
    tree: FileTree | None = None

    def __enter__(self) -> "Reading":
        return self

    def __exit__(self, *_: object) -> None:
        if self.tree is not None:
            self.tree.__exit__()


def import_dataset(
    format_name: str,
    source: Path,
    out: Path,
    *,
    size: int | None = None,
    channels: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Import labelled images into a new dataset folder.

    Images that cannot be read stay in the manifest, excluded, with the reason. Images with the
    same pixels as a test image never stay in training or validation.

    Args:
        format_name: one of `FORMATS`.
        source: the folder, archive or table.
        out: the dataset folder to make.
        size: side of the packed images, pixels; the format's own where None.
        channels: 1 grey, 3 RGB; the format's own where None.
        progress: shows how far the import is.

    Returns:
        The content of ``dataset.json``.

    Raises:
        UsageError: unknown format, or ``out`` exists.
        DatasetError: the source does not have the format's layout, or nothing is usable.
    """
    chosen = FORMATS.get(format_name)
    if chosen is None:
        raise UsageError(f"unknown format {format_name!r}: expected one of {', '.join(FORMATS)}")
    spec = replace(
        chosen.spec,
        size=chosen.spec.size if size is None else size,
        channels=chosen.spec.channels if channels is None else channels,
    )
    with chosen.read(source) as reading, new_folder(out) as folder:
        writer = DatasetWriter(folder, source_format=format_name, spec=spec)
        items = reading.items
        for sample, load in progress(items, total=reading.total) if progress else items:
            _add(writer, sample, load, spec)
        writer.exclude_leaks()
        return writer.finish(source=str(source), notes=chosen.notes)


def _add(writer: DatasetWriter, sample: Sample, load: Load, spec: InputSpec) -> None:
    try:
        image = load()
    except ImageError as error:
        reason = sample.excluded or f"unreadable: {error}"
        writer.add(replace(sample, excluded=reason), None)
        return
    height, width = image.shape[:2]
    packed = face_crop(image, sample.box, spec)
    writer.add(sample, packed, sha256=content_hash(image), width=width, height=height)


def _read_table(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    """Read a csv that must have some columns; surrounding blanks of names do not matter."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such table") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    reader = csv.DictReader(io.StringIO(text), restval="")
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = names
        missing = [column for column in columns if column not in names]
        if missing:
            raise DatasetError(
                f"{path}: column {', '.join(map(repr, missing))} is missing; "
                f"found {', '.join(names) or 'an empty file'}"
            )
        return list(reader)
    except csv.Error as error:
        raise DatasetError(f"{path}: broken csv at line {reader.line_num} ({error})") from None


# --- ferplus ------------------------------------------------------------------------------------

_FERPLUS_TABLE = "fer2013new.csv"
_FERPLUS_FOLDERS: Mapping[str, str] = MappingProxyType(
    {"Training": "FER2013Train", "PublicTest": "FER2013Valid", "PrivateTest": "FER2013Test"}
)


def _read_ferplus(source: Path) -> Reading:
    table = source / _FERPLUS_TABLE
    if not source.is_dir() or not table.exists():
        raise DatasetError(
            f"{source}: no {_FERPLUS_TABLE} here; expected a folder with that vote table and the "
            f"images in {', '.join(_FERPLUS_FOLDERS.values())}, or a zip of them"
        )
    columns = (*FERPLUS_VOTE_COLUMNS, "unknown", "NF")
    rows = _read_table(table, ("Usage", "Image name", *columns))
    tree = FileTree(source)

    def items() -> Iterator[Item]:
        for line, row in enumerate(rows, start=2):
            where = f"{table} line {line}"
            usage, name = row["Usage"], row["Image name"]
            if usage not in _USAGE:
                raise DatasetError(f"{where}: Usage {usage!r}, expected {', '.join(_USAGE)}")
            if not name:
                path = f"(row {line} names no image)"
                excluded = Sample(path, _USAGE[usage], None, excluded="no image in the vote table")
                yield excluded, _no_image(path)
                continue
            votes = _votes([row[column] for column in columns], where)
            path = f"{_FERPLUS_FOLDERS[usage]}/{name}"
            yield _ferplus_sample(path, _USAGE[usage], votes), _loader(tree, path)

    return Reading(len(rows), items(), tree)


def _votes(cells: list[str], where: str) -> NDArray[np.float64]:
    try:
        votes = np.array([float(cell) for cell in cells])
    except (TypeError, ValueError):
        raise DatasetError(f"{where}: votes {cells}, expected ten numbers") from None
    if not np.isfinite(votes).all() or (votes < 0).any():
        raise DatasetError(f"{where}: votes {cells}, expected numbers of 0 or more")
    return votes


def _ferplus_sample(path: str, split: Split, counted: NDArray[np.float64]) -> Sample:
    """Apply the FER+ protocol of Barsoum et al. 2016 (arXiv:1608.01041) to one row of ten votes.

    Single votes count as noise. Evaluation needs an emotion with more than half of the votes
    left; training learns from the votes, so there it is enough that an emotion has more of them
    than unknown and than no face.
    """
    votes = np.where(counted <= 1, 0.0, counted)
    of_emotions = dict(zip(FERPLUS_VOTE_COLUMNS, votes, strict=False))
    ordered = np.array([of_emotions[emotion] for emotion in EMOTIONS])
    best, rest = ordered.max(), votes[len(FERPLUS_VOTE_COLUMNS) :].max()
    if votes.sum() == 0:
        return Sample(path, split, None, excluded="no choice has two votes")
    if best <= rest:
        return Sample(path, split, None, excluded="voted unknown or no face")
    label = EMOTIONS[int(ordered.argmax())]
    shares = tuple(float(share) for share in ordered / ordered.sum())
    majority = best > votes.sum() / 2
    excluded = None if majority or split == "train" else "no emotion has a majority of the votes"
    return Sample(path, split, label, votes=shares, excluded=excluded)


# --- fer2013 ------------------------------------------------------------------------------------

_FER2013_SIDE = 48


def _read_fer2013(source: Path) -> Reading:
    table = source / "fer2013.csv" if source.is_dir() else source
    rows = _read_table(table, ("emotion", "pixels", "Usage"))

    def items() -> Iterator[Item]:
        for line, row in enumerate(rows, start=2):
            code, usage = row["emotion"], row["Usage"]
            if usage not in _USAGE:
                raise DatasetError(
                    f"{table} line {line}: Usage {usage!r}, expected {', '.join(_USAGE)}"
                )
            known = code.isdecimal() and int(code) < len(FER2013_CODES)
            label = FER2013_CODES[int(code)] if known else None
            excluded = None if known else f"emotion {code!r} is none of FER2013's 0 to 6"
            path = f"fer2013.csv/{line:05d}"
            yield Sample(path, _USAGE[usage], label, excluded=excluded), _pixels(row["pixels"])

    return Reading(len(rows), items())


def _pixels(cell: str) -> Load:
    def load() -> NDArray[np.uint8]:
        try:
            values = np.array(cell.split(), dtype=np.int64)
        except (ValueError, OverflowError):
            raise ImageError("pixels are not numbers of 0 to 255") from None
        expected = _FER2013_SIDE * _FER2013_SIDE
        if len(values) != expected or values.min() < 0 or values.max() > 255:
            raise ImageError(f"{len(values)} pixels, expected {expected} of 0 to 255")
        return values.astype(np.uint8).reshape(_FER2013_SIDE, _FER2013_SIDE)

    return load


# --- folder -------------------------------------------------------------------------------------


def _read_folder(source: Path) -> Reading:
    tree = FileTree(source)
    placed = [(path, _split_of(path), _emotion_of(path)) for path in tree.images]
    labelled = [emotion for _, _, emotion in placed if emotion]
    if not labelled:
        raise DatasetError(
            f"{source}: {len(placed)} images, none in a folder named after an emotion; expected "
            "EMOTION/x.jpg or SPLIT/EMOTION/x.jpg (emotions: happy, sad, ...; splits: train, "
            "valid, test)"
        )
    samples = [_folder_sample(path, split, emotion) for path, split, emotion in placed]
    present = {split for _, split, _ in placed if split}
    if "valid" not in present:
        # Without any split folder a test split is drawn too; a test split that exists stays alone.
        samples = _split_off(samples, frozenset({"valid"} if present else {"valid", "test"}))
    return Reading(len(samples), ((s, _loader(tree, s.path)) for s in samples), tree)


def _split_of(path: str) -> Split | None:
    for part in PurePosixPath(path).parts[:-1]:
        if split := _SPLIT_FOLDERS.get(part.lower()):
            return split
    return None


def _emotion_of(path: str) -> str | None:
    for part in reversed(PurePosixPath(path).parts[:-1]):
        if emotion := find_alias(part):
            return emotion
    return None


def _folder_sample(path: str, split: Split | None, emotion: str | None) -> Sample:
    if emotion is None:
        return Sample(path, split or "train", None, excluded="not in an emotion's folder")
    return Sample(path, split or "train", emotion)


def _split_off(samples: list[Sample], wanted: frozenset[Split]) -> list[Sample]:
    """Give a tenth of each emotion's training images to each wanted split, by a fixed draw."""
    # Not the first two: an emotion of one or two images had better be learnt.
    tenths: dict[int, Split] = {2: "valid", 5: "test"}
    taken: Counter[str | None] = Counter()
    split = list(samples)
    for i in np.random.default_rng(0).permutation(len(samples)):
        sample = samples[i]
        if sample.split == "train":
            chosen = tenths.get(taken[sample.label] % 10, "train")
            taken[sample.label] += 1
            split[i] = replace(sample, split=chosen if chosen in wanted else "train")
    return split


def _loader(tree: FileTree, path: str) -> Load:
    return lambda: read_image(tree.read(path))


def _no_image(path: str) -> Load:
    def load() -> NDArray[np.uint8]:
        raise ImageError(path)

    return load


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "ferplus": Format(
            "FER+: fer2013new.csv beside FER2013Train/, FER2013Valid/, FER2013Test/ or their zip",
            InputSpec(size=48, channels=1),
            _read_ferplus,
            notes=(
                "Barsoum et al. 2016: single votes set to 0; valid and test keep images whose "
                "label has more than half of the votes left; train keeps every image whose "
                "largest vote is an emotion, with the votes as soft label.",
            ),
        ),
        "fer2013": Format(
            "FER2013: fer2013.csv with emotion, pixels, Usage",
            InputSpec(size=48, channels=1),
            _read_fer2013,
            notes=("Seven emotions, no contempt. PublicTest is valid, PrivateTest is test.",),
        ),
        "folder": Format(
            "one folder an emotion, with or without train/, valid/, test/ around them",
            InputSpec(size=96, channels=3),
            _read_folder,
            notes=(
                "Without split folders, each emotion is split 80/10/10 by a fixed draw; with some "
                "but no validation folder, a tenth of each emotion's training images validates.",
            ),
        ),
    }
)
"""Every format by name."""
