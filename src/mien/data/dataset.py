"""A dataset folder: what it holds, how it is opened, how it is written.

    dataset.json            what it is, where it came from, counts (readable JSON)
    manifest.parquet        one row a sample (`MANIFEST_SCHEMA`)
    images/shard-00000.npy  uint8 (n, size, size, channels): images that need no decoding,
    images/shard-00001.npy  memory-mapped by whoever reads them

A dataset is written once, beside its place, and moved there whole: a half dataset never bears the
name of a whole one. Knows nothing of the formats that people bring.
"""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mien.errors import ConfigError, DatasetError, UsageError
from mien.labels import EMOTIONS
from mien.preprocess import InputSpec
from mien.records import SPLITS, Sample, Split

__all__ = ["MANIFEST_SCHEMA", "Dataset", "DatasetWriter", "content_hash", "new_folder", "sample_id"]

FORMAT_VERSION: Final = 1
_SHARD_BYTES: Final = 64 << 20
_REQUIRED: Final = (
    "source_format",
    "labels",
    "image_size",
    "image_channels",
    "shards",
    "fingerprint",
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
        _column("excluded", pa.string(), "why neither training nor evaluation uses it; null: used"),
        _column("sha256", pa.string(), "of the decoded pixels and their shape; null: unreadable"),
        _column("width", pa.int32(), "of the source image, pixels; null: unreadable"),
        _column("height", pa.int32(), "of the source image, pixels; null: unreadable"),
        _column("box", pa.list_(pa.float32()), "x, y, w, h of the face, pixels; null: whole image"),
        _column("shard", pa.int32(), "number of the shard with the image; null: unreadable"),
        _column("row", pa.int32(), "row within the shard; null: unreadable"),
    ]
)
"""The columns of ``manifest.parquet``; each carries its description in the file."""


def sample_id(source_format: str, path: str) -> str:
    """Return the stable id of a sample: the same file in the same format always gets the same."""
    name = f"{source_format}/{path}".encode("utf-8", "surrogateescape")
    return hashlib.sha256(name).hexdigest()[:16]


def content_hash(image: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of an image's pixels and shape.

    A grey image has the same hash whether its file stores one channel or three equal ones.
    """
    if image.ndim == 3 and (image == image[..., :1]).all():
        image = image[..., 0]
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
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

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Dataset":
        """Open a dataset folder without reading its images.

        Raises:
            DatasetError: it is no dataset folder, or its parts do not fit together.
        """
        folder = Path(path)
        info = _read_info(folder)
        try:
            manifest = pq.read_table(folder / "manifest.parquet")
            shards = tuple(
                np.load(folder / "images" / _shard_name(i), mmap_mode="r", allow_pickle=False)
                for i in range(int(info["shards"]))
            )
            spec = InputSpec(size=info["image_size"], channels=info["image_channels"])
        except (
            OSError,
            EOFError,
            ValueError,
            TypeError,
            ConfigError,
            pa.ArrowException,
        ) as error:
            raise DatasetError(
                f"{folder}: damaged dataset ({error}); import or clean it again"
            ) from None
        missing = set(MANIFEST_SCHEMA.names) - set(manifest.column_names)
        if missing:
            raise DatasetError(f"{folder}: the manifest lacks {', '.join(sorted(missing))}")
        for field in MANIFEST_SCHEMA:
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

    def __len__(self) -> int:
        return int(self.manifest.num_rows)

    def column(self, name: str) -> list[Any]:
        """Return a manifest column as Python values."""
        values: list[Any] = self.manifest.column(name).to_pylist()
        return values

    def usable(self, split: Split) -> NDArray[np.int64]:
        """Return the row numbers of a split that are not excluded."""
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
                    f"{self.path}: {_shard_name(number)} holds {shard.dtype} {shard.shape}, "
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


class DatasetWriter:
    """Collects samples and images and writes them as a dataset folder.

    Use through `new_folder`, which moves the finished folder to its place.
    """

    def __init__(self, folder: Path, *, source_format: str, spec: InputSpec) -> None:
        self._folder = folder
        self._format = source_format
        self._spec = spec
        self._rows: list[dict[str, Any]] = []
        self._pending: list[NDArray[np.uint8]] = []
        self._shards = 0
        image_bytes = spec.size * spec.size * spec.channels
        self._per_shard = max(1, _SHARD_BYTES // image_bytes)
        (folder / "images").mkdir()

    def add(
        self,
        sample: Sample,
        packed: NDArray[np.uint8] | None,
        *,
        sha256: str | None = None,
        width: int | None = None,
        height: int | None = None,
    ) -> None:
        """Add one sample, with its fitted image where there is one."""
        row = {
            "id": sample_id(self._format, sample.path),
            "path": sample.path.encode("utf-8", "replace").decode(),
            "split": sample.split,
            "label": sample.label,
            "votes": list(sample.votes) or None,
            "excluded": sample.excluded,
            "sha256": sha256,
            "width": width,
            "height": height,
            "box": None if sample.box is None else list(sample.box),
            "shard": None if packed is None else self._shards,
            "row": None if packed is None else len(self._pending),
        }
        self._rows.append(row)
        if packed is not None:
            self._pending.append(packed)
            if len(self._pending) == self._per_shard:
                self._flush()

    def exclude_leaks(self) -> None:
        """Keep the splits apart: exclude copies of test images, then of validation images.

        A copy has the same pixels. Copies of a test image leave train and valid, copies of a
        validation image leave train; it does not matter whether the original is itself excluded.
        """
        seen: dict[str, str] = {}
        for split in reversed(SPLITS):
            rows = [row for row in self._rows if row["split"] == split and row["sha256"]]
            for row in rows:
                kept_in = seen.get(row["sha256"])
                if kept_in and row["excluded"] is None:
                    row["excluded"] = f"same pixels as a {kept_in} image"
            for row in rows:
                seen.setdefault(row["sha256"], split)

    def finish(self, *, source: str, notes: Sequence[str] = ()) -> dict[str, Any]:
        """Write the manifest and ``dataset.json`` and return the latter.

        Raises:
            DatasetError: no sample is usable.
        """
        self._flush()
        info = self._describe(source, notes)
        if not any(sum(split.values()) for split in info["counts"].values()):
            raise DatasetError(
                f"{source}: none of {len(self._rows)} rows is usable "
                f"({_most_common(info['excluded'])}); expected readable, labelled images"
            )
        table = pa.Table.from_pylist(self._rows, schema=MANIFEST_SCHEMA)
        pq.write_table(table, self._folder / "manifest.parquet", compression="zstd")
        text = json.dumps(info, indent=2, ensure_ascii=False) + "\n"
        (self._folder / "dataset.json").write_text(text, encoding="utf-8")
        return info

    def _flush(self) -> None:
        if self._pending:
            np.save(self._folder / "images" / _shard_name(self._shards), np.stack(self._pending))
            self._pending = []
            self._shards += 1

    def _describe(self, source: str, notes: Sequence[str]) -> dict[str, Any]:
        used = Counter((r["split"], r["label"]) for r in self._rows if r["excluded"] is None)
        reasons = Counter(
            (r["split"], r["excluded"]) for r in self._rows if r["excluded"] is not None
        )
        excluded: dict[str, dict[str, int]] = {split: {} for split in SPLITS}
        for (split, reason), count in sorted(reasons.items()):
            excluded[split][reason] = count
        return {
            "format_version": FORMAT_VERSION,
            "source_format": self._format,
            "source": source.encode("utf-8", "replace").decode(),
            "emotions": list(EMOTIONS),
            "labels": [e for e in EMOTIONS if any(label == e for _, label in used)],
            "image_size": self._spec.size,
            "image_channels": self._spec.channels,
            "shards": self._shards,
            "rows": len(self._rows),
            "counts": {s: {e: used[s, e] for e in EMOTIONS if used[s, e]} for s in SPLITS},
            "excluded": excluded,
            "fingerprint": self._fingerprint(),
            "notes": list(notes),
        }

    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for row in sorted(self._rows, key=lambda row: str(row["id"])):
            digest.update(repr((row["id"], row["split"], row["label"], row["votes"])).encode())
            digest.update(repr((row["excluded"], row["sha256"])).encode())
        return digest.hexdigest()[:16]


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes ``path`` when the block ends well, and goes if not.

    Raises:
        UsageError: ``path`` exists and is not an empty folder.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} exists already: choose another --out, or remove it first")
    path.parent.mkdir(parents=True, exist_ok=True)
    path = path.resolve()  # '.' has no name of its own, and a link cannot be replaced by a folder
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        if path.is_dir():
            path.rmdir()
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _shard_name(number: int) -> str:
    return f"shard-{number:05d}.npy"


def _read_info(folder: Path) -> dict[str, Any]:
    try:
        info = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DatasetError(
            f"{folder}: no dataset.json here; expected a dataset folder made by "
            "'mien data import FORMAT SRC --out DATASET'"
        ) from None
    except (OSError, ValueError) as error:
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
    return dict(info)


def _most_common(excluded: Mapping[str, Mapping[str, int]]) -> str:
    reasons: Counter[str] = Counter()
    for split in excluded.values():
        reasons.update(split)
    return "; ".join(f"{n} {reason}" for reason, n in reasons.most_common(3)) or "no rows"
