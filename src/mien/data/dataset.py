"""A dataset folder: what it holds, and how it is opened.

    dataset.json            what it is, where it came from, counts (readable JSON)
    manifest.parquet        one row a sample (`MANIFEST_SCHEMA`)
    images/shard-00000.npy  uint8 (n, size, size, channels): images that need no decoding,
    images/shard-00001.npy  memory-mapped by whoever reads them

A dataset never changes once it is written (`mien.data.writer`). Knows nothing of the formats that
people bring.
"""

import errno
import json
import math
import mmap
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tokenize import TokenError
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mien.data.clips import clip_of
from mien.errors import ConfigError, DatasetError, UsageError
from mien.labels import EMOTIONS
from mien.people import Who
from mien.preprocess import InputSpec
from mien.records import SPLITS, Split

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST_SCHEMA",
    "PART",
    "Dataset",
    "origins",
    "replace_column",
    "shard_name",
    "with_parts",
]

FORMAT_VERSION: Final = 2
_REQUIRED: Final = (
    "source_format",
    "labels",
    "image_size",
    "image_channels",
    "shards",
    "fingerprint",
    "values",
)


def _column(name: str, kind: pa.DataType, says: str) -> pa.Field:
    return pa.field(name, kind, metadata={"description": says})


MANIFEST_SCHEMA: Final = pa.schema(
    [
        _column("id", pa.string(), "stable: 16 hex digits of the SHA-256 of 'format/path'"),
        _column("path", pa.string(), "where the image lay, relative to the imported source"),
        _column("split", pa.string(), "train, valid or test"),
        _column("label", pa.string(), "one of the eight emotions; null: none"),
        _column(
            "votes",
            pa.list_(pa.float32()),
            "share of the votes for each emotion, in the order of 'emotions' in dataset.json, "
            "summing to 1; null: nobody voted",
        ),
        _column("given", pa.string(), "the label as the source writes it; null: it writes none"),
        _column(
            "folder_label",
            pa.string(),
            "the emotion that its folder names, where a table labels it too; else null",
        ),
        _column("subject", pa.string(), "who is shown, as the source names people; null: unknown"),
        _column(
            "weight", pa.float32(), "how much it counts in training; null: as much as any other"
        ),
        _column(
            "problem",
            pa.string(),
            "what was wrong with its row or file: missing, unreadable, unlisted, bad_label; "
            "null: nothing",
        ),
        _column(
            "located",
            pa.string(),
            "how a table's row found its file: path, or name where only a unique file name led "
            "to it; null: no table names files",
        ),
        _column("excluded", pa.string(), "why neither training nor evaluation uses it; null: used"),
        _column("sha256", pa.string(), "of the decoded pixels and their shape; null: unreadable"),
        _column("width", pa.int32(), "of the source image, pixels; null: unreadable"),
        _column("height", pa.int32(), "of the source image, pixels; null: unreadable"),
        _column("box", pa.list_(pa.float32()), "x, y, w, h of the face, pixels; null: whole image"),
        _column(
            "landmarks",
            pa.list_(pa.float32()),
            "x and y of each landmark in turn, pixels of the source image; null: none given",
        ),
        _column("shard", pa.int32(), "number of the shard with the image; null: unreadable"),
        _column("row", pa.int32(), "row within the shard; null: unreadable"),
    ]
)
"""The columns that every ``manifest.parquet`` has, each with its description in the file.

After them come `PART` in a joined dataset, then the source's own numbers as float64 columns
and its words as strings; ``dataset.json`` lists them as ``values`` and ``words``.
"""

PART: Final = _column(
    "part", pa.string(), "name of the dataset that it comes from; of one joined itself BOTH/MINE"
)
"""The column that the manifest of a joined dataset has besides."""


BATCH: Final = 256
"""Images of a batch of `Dataset.batches`."""

_IDENTITY = ("fingerprint", "source_format")


@dataclass(frozen=True, slots=True, eq=False)
class Batches:
    """Images of a dataset that are read as they are asked for, see `Dataset.batches`."""

    dataset: "Dataset"
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return math.ceil(len(self.rows) / BATCH)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        for start in range(0, len(self.rows), BATCH):
            yield self.dataset.images(self.rows[start : start + BATCH])


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """An open dataset folder.

    Attributes:
        path: the folder.
        info: the content of ``dataset.json``.
        manifest: one row a sample, as `MANIFEST_SCHEMA` says.
        spec: size and channels of the packed images.
    """

    path: Path
    info: Mapping[str, Any]
    manifest: pa.Table
    spec: InputSpec
    _shards: tuple[NDArray[np.uint8], ...]

    @property
    def name(self) -> str:
        """What its folder is called."""
        return self.path.resolve().name

    @property
    def identity(self) -> dict[str, str]:
        """What it is called and which it is: ``name``, ``fingerprint``, ``source_format``."""
        return {"name": self.name} | {key: self.info[key] for key in _IDENTITY}

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Dataset":
        """Open a dataset folder without reading its images.

        Raises:
            DatasetError: it is no dataset folder, or its parts do not fit together.
        """
        folder = Path(path)
        info = _read_info(folder)
        try:
            _allow_open_files(int(info["shards"]))
            manifest = pq.read_table(folder / "manifest.parquet")
            shards = tuple(
                np.load(folder / "images" / shard_name(i), mmap_mode="r", allow_pickle=False)
                for i in range(int(info["shards"]))
            )
            spec = InputSpec(size=info["image_size"], channels=info["image_channels"])
        except (
            OSError,
            EOFError,
            ValueError,
            TypeError,
            # What NumPy raises where the head of an array file is damaged: it reads it as Python.
            SyntaxError,
            OverflowError,
            MemoryError,
            TokenError,
            ConfigError,
            pa.ArrowException,
        ) as error:
            if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
                raise DatasetError(
                    f"{folder}: its {info['shards']} shards need an open file each, more than this "
                    "process may have: raise the limit (ulimit -n), or import it with a smaller "
                    "--size"
                ) from None
            raise DatasetError(
                f"{folder}: damaged dataset ({error}); import or clean it again"
            ) from None
        expected = [*MANIFEST_SCHEMA, *([PART] if "parts" in info else [])]
        missing = {field.name for field in expected} - set(manifest.column_names)
        if missing:
            raise DatasetError(
                f"{folder}: the manifest lacks {', '.join(sorted(missing))}; import or join it "
                "again"
            )
        for field in expected:
            kind = manifest.schema.field(field.name).type
            if kind != field.type:
                raise DatasetError(
                    f"{folder}: column {field.name!r} of the manifest is {kind}, "
                    f"expected {field.type}"
                )
        dataset = cls(folder, info, manifest, spec, shards)
        dataset._check_places()
        return dataset

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotions that its labels use, in the order of `EMOTIONS`."""
        return tuple(self.info["labels"])

    @property
    def values(self) -> tuple[str, ...]:
        """The manifest's columns that hold the source's own numbers."""
        return tuple(self.info["values"])

    @property
    def words(self) -> tuple[str, ...]:
        """The manifest's columns that hold the source's own words, such as who is shown."""
        return tuple(self.info.get("words", ()))  # older versions kept none

    @property
    def apart(self) -> frozenset[str]:
        """Ids of pictures that, as people decided, are no near copies of any other."""
        return frozenset(self.info.get("apart", ()))

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the datasets that it was joined of, and of those that they were joined of.

        These follow the name of theirs, ``both/mine``. Empty where it was not joined.
        """
        return tuple(_part_names(self.info))

    def __len__(self) -> int:
        return int(self.manifest.num_rows)

    def __repr__(self) -> str:
        counts = ", ".join(f"{split} {len(self.usable(split)):,}" for split in SPLITS)
        return f"<Dataset {self.name}: {counts} usable of {len(self):,}, {self.spec}>"

    def column(self, name: str, rows: NDArray[np.int64] | None = None) -> list[Any]:
        """Return a manifest column as Python values; of some rows, int (n,), or of all."""
        column = self.manifest.column(name)
        values: list[Any] = (column if rows is None else column.take(pa.array(rows))).to_pylist()
        return values

    def videos(self, rows: NDArray[np.int64]) -> list[str | None]:
        """Return which video some rows are pictures of; None: of none."""
        return list(map(clip_of, self.column("path", rows)))

    def shown(self, rows: NDArray[np.int64]) -> tuple[list[str | None], Who]:
        """Return who is shown in some rows, or which video they are of, and which of the two.

        None is someone else every time. Where some are named, videos of others count as persons.
        """
        subjects = self.column("subject", rows)
        shown = [who or video for who, video in zip(subjects, self.videos(rows), strict=True)]
        return shown, "person" if any(subjects) or not any(shown) else "video"

    def with_column(self, name: str, values: Sequence[Any]) -> "Dataset":
        """Return the same images with other values in one column of the manifest."""
        return replace(self, manifest=replace_column(self.manifest, name, values))

    def usable(self, split: Split) -> NDArray[np.int64]:
        """Return the row numbers of a split that are not excluded.

        Raises:
            UsageError: there is no such split.
        """
        if split not in SPLITS:
            raise UsageError(f"split {split!r}: expected one of {', '.join(SPLITS)}")
        of_split = pc.equal(self.manifest.column("split"), split)
        chosen = pc.and_(of_split, pc.is_null(self.manifest.column("excluded")))
        return np.flatnonzero(chosen.to_numpy(zero_copy_only=False)).astype(np.int64)

    def labels(self, rows: NDArray[np.int64], emotions: Sequence[str]) -> NDArray[np.int64]:
        """Return the index in ``emotions`` of each row's label.

        Raises:
            DatasetError: a label is not among ``emotions``.
        """
        index = {emotion: i for i, emotion in enumerate(emotions)}
        labels = self.manifest.column("label").take(rows).to_pylist()
        unknown = Counter(label for label in labels if label not in index)
        if unknown:
            counts = ", ".join(f"{n} {label}" for label, n in unknown.items())
            raise DatasetError(
                f"{self.path}: labels outside {', '.join(emotions)} came up: {counts}"
            )
        return np.array([index[label] for label in labels], dtype=np.int64)

    def targets(self, rows: NDArray[np.int64], emotions: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 (n, k) of probabilities to learn: the votes, or 1 for the label.

        Votes for emotions outside ``emotions`` are left out and the rest scaled to sum to 1.
        """
        columns = [EMOTIONS.index(emotion) for emotion in emotions]
        targets = np.eye(len(emotions), dtype=np.float32)[self.labels(rows, emotions)]
        for i, votes in enumerate(self.manifest.column("votes").take(rows).to_pylist()):
            if votes is not None:
                kept = np.asarray(votes, dtype=np.float32)[columns]
                if kept.sum() > 0:
                    targets[i] = kept / kept.sum()
        return targets

    def images(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the packed images of some rows: uint8 (n, size, size, channels).

        Raises:
            DatasetError: the image of a row was unreadable and is not held.
        """
        shards, places = self._places
        if (shards[rows] < 0).any():
            raise DatasetError(f"{self.path}: a row without an image was asked for")
        size, channels = self.spec.size, self.spec.channels
        out = np.empty((len(rows), size, size, channels), dtype=np.uint8)
        for shard in np.unique(shards[rows]):
            here = shards[rows] == shard
            out[here] = self._shards[shard][places[rows[here]]]
        return out

    def batches(self, rows: NDArray[np.int64]) -> "Batches":
        """Return the images of some rows, a few hundred at a time, as `images` does."""
        return Batches(self, rows)

    def release(self) -> None:
        """Let the system take back the memory of images that were read; they stay readable."""
        for shard in self._shards:
            held: Any = shard.base
            if isinstance(held, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                held.madvise(mmap.MADV_DONTNEED)

    @cached_property
    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        shard, row = (
            pc.fill_null(self.manifest.column(name), -1).to_numpy().astype(np.int64)
            for name in ("shard", "row")
        )
        return shard, row

    def _check_places(self) -> None:
        expected = (self.spec.size, self.spec.size, self.spec.channels)
        for number, shard in enumerate(self._shards):
            if shard.shape[1:] != expected or shard.dtype != np.uint8:
                raise DatasetError(
                    f"{self.path}: {shard_name(number)} holds {shard.dtype} {shard.shape}, "
                    f"expected uint8 (n, {', '.join(map(str, expected))}); import it again"
                )
        shards, rows = self._places
        lengths = np.array([len(shard) for shard in self._shards], dtype=np.int64)
        present = shards >= 0
        used = pc.is_null(self.manifest.column("excluded")).to_numpy(zero_copy_only=False)
        lost = (used & ~present).any() or (shards >= len(lengths)).any()
        if lost or (rows[present] < 0).any() or (rows[present] >= lengths[shards[present]]).any():
            raise DatasetError(
                f"{self.path}: the manifest names images that its shards do not hold; "
                "import it again"
            )


def _allow_open_files(count: int) -> None:
    """Raise how many files this process may have open, where some more would come near it.

    A memory-mapped file stays open. Windows has no such limit.
    """
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or count <= soft // 2:
        return
    wanted = soft + count if hard == resource.RLIM_INFINITY else min(soft + count, hard)
    # What the system refuses, opening the files will tell.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def shard_name(number: int) -> str:
    """Return the file name of a shard."""
    return f"shard-{number:05d}.npy"


def with_parts(info: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Give what ``dataset.json`` says of a dataset, and of each that it was joined of."""
    yield info
    for part in info.get("parts", ()):
        yield from with_parts(part)


def origins(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a dataset came from, as far as its ``dataset.json`` or a model's card says.

    ``parts`` has format and fingerprint of what it was joined of, ``cleaned_from`` the fingerprints
    of what it, or a part of it, was before it was cleaned, ``cleaned`` by what rules it was; each
    where there is any.
    """
    described = list(with_parts(info))
    joined = (part for part in described[1:] if "parts" not in part)
    before = {
        fingerprint
        for each in described
        for fingerprint in (
            *(step["from"] for step in each.get("cleaned", ())),
            *each.get("cleaned_from", ()),
        )
    }
    found = {
        "parts": [{key: part[key] for key in _IDENTITY} for part in joined],
        "cleaned_from": sorted(before),
        "cleaned": list(info.get("cleaned", ())),
    }
    return {key: value for key, value in found.items() if value}


def _part_names(info: Mapping[str, Any]) -> Iterator[str]:
    for part in info.get("parts", ()):
        yield part["name"]
        yield from (f"{part['name']}/{name}" for name in _part_names(part))


def replace_column(manifest: pa.Table, name: str, values: Sequence[Any]) -> pa.Table:
    """Return a manifest with other values in one of its columns."""
    place = manifest.schema.get_field_index(name)
    field = manifest.schema.field(place)
    return manifest.set_column(place, field, pa.array(values, type=field.type))


def _read_info(folder: Path) -> dict[str, Any]:
    try:
        info = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    except NotADirectoryError:
        raise DatasetError(
            f"{folder}: a file; expected a dataset folder: 'mien data import auto "
            f"{folder} --out DATASET' makes one of it"
        ) from None
    except FileNotFoundError:
        raise DatasetError(
            f"{folder}: no dataset.json here; expected a dataset folder made by "
            "'mien data import FORMAT SRC --out DATASET'"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{folder}: dataset.json cannot be read ({error})") from None
    version = info.get("format_version") if isinstance(info, dict) else None
    if version != FORMAT_VERSION:
        raise DatasetError(
            f"{folder}: dataset format {version!r}, this mien reads {FORMAT_VERSION}; "
            "import it again"
        )
    missing = [key for key in _REQUIRED if key not in info]
    if missing:
        raise DatasetError(f"{folder}: dataset.json lacks {', '.join(missing)}; import it again")
    if not isinstance(info["labels"], list) or any(e not in EMOTIONS for e in info["labels"]):
        raise DatasetError(
            f"{folder}: dataset.json names the labels {str(info['labels'])[:80]}, expected some of "
            f"{', '.join(EMOTIONS)}; import it again"
        )
    return dict(info)
