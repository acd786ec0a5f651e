"""Writing dataset folders: beside their place, and moved there whole.

A half dataset never bears the name of a whole one.
"""

import errno
import glob
import hashlib
import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mien.atomic import beside
from mien.data.clips import clip_of
from mien.data.dataset import FORMAT_VERSION, MANIFEST_SCHEMA, replace_column, shard_name
from mien.data.splits import (
    DEFAULT_SHARES,
    FLATTEST,
    draw_splits,
    drawn_by,
    join_groups,
    version_of,
)
from mien.errors import DatasetError, UsageError
from mien.labels import EMOTIONS
from mien.preprocess import InputSpec
from mien.records import SPLITS, Sample, Split, printable, show_path

__all__ = [
    "COPY_OF",
    "NO_IMAGE",
    "DatasetWriter",
    "content_hash",
    "exclude_copies",
    "new_folder",
    "note_of_draw",
    "of_now",
    "sample_id",
    "write_description",
]

COPY_OF: Final = "same pixels as a "
"""How the reason of whatever is left out as a copy of a held-out image begins."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})
_TO_FILL: Final = (
    "'mien data join' adds those of another dataset, 'mien data clean --split 70/15/15' draws all "
    "splits anew."
)
NO_IMAGE: Final[Mapping[Split, str]] = MappingProxyType(
    {
        "train": f"No usable image is in train, which 'mien train' learns from: {_TO_FILL}",
        "valid": f"No usable image is in valid, which 'mien train' chooses by: {_TO_FILL}",
        "test": "No usable image is in test, which 'mien eval' judges by unless '--split valid' is "
        f"given: {_TO_FILL}",
    }
)
"""What notes say where a split is empty."""

_IN_ANY_VIDEO: Final = 3
_SHARED: Final = "People who are shown in several splits: "
_AGAINST: Final = "Images whose label is not what most of their votes say: "

_SHARD_BYTES: Final = 64 << 20
_BATCH_ROWS: Final = 10_000


def sample_id(source_format: str, path: str) -> str:
    """Return the stable id of a sample: the same file in the same format always gets the same."""
    name = f"{source_format}/{path}".encode("utf-8", "surrogateescape")
    return hashlib.sha256(name).hexdigest()[:16]


def content_hash(image: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of an image's pixels and shape.

    A grey image has the same hash whether its file stores one channel or three equal ones.
    """
    if image.ndim == 3:
        first, *others = np.moveaxis(image, -1, 0)
        if all(np.array_equal(first, other) for other in others):
            image = first
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


class DatasetWriter:
    """Collects samples and images and writes them as a dataset folder.

    Use through `new_folder`, which moves the finished folder to its place.

    Args:
        folder: an empty folder.
        source_format: the format that the samples come from.
        spec: size and channels of the packed images.
        values: the names of the source's own numbers.
        words: the names of the source's own words.
    """

    def __init__(
        self,
        folder: Path,
        *,
        source_format: str,
        spec: InputSpec,
        values: Sequence[str] = (),
        words: Sequence[str] = (),
    ) -> None:
        self._folder = folder
        self._format = source_format
        self._spec = spec
        self._values = tuple(values)
        self._words = tuple(words)
        self._schema = _with_own(values, words)
        self._rows: list[dict[str, Any]] = []
        self._batches: list[pa.RecordBatch] = []
        self._named: Counter[str] = Counter()
        # What each row shows, as far as that joins rows: one picture in several is kept together.
        self._pictures: list[str | None] = []
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
        self._named[sample.path] += 1
        again = self._named[sample.path]
        row = {
            **{name: sample.values.get(name) for name in self._values},
            **{name: sample.words.get(name) for name in self._words},
            **{k: v for k, v in asdict(sample).items() if k in MANIFEST_SCHEMA.names},
            # A table may name one file in two rows: each keeps an id of its own.
            "id": sample_id(self._format, sample.path + (f"//{again}" if again > 1 else "")),
            "path": show_path(sample.path),
            "votes": sample.votes or None,
            "landmarks": sample.landmarks or None,
            "sha256": sha256,
            "width": width,
            "height": height,
            "shard": None if packed is None else self._shards,
            "row": None if packed is None else len(self._pending),
        }
        self._rows.append(row)
        # Faces of one image are not torn apart by one that shows nothing.
        nothing = packed is None or (sample.box is None and _is_flat(packed))
        self._pictures.append(None if nothing else sha256)
        if len(self._rows) == _BATCH_ROWS:
            self._batch()
        if packed is not None:
            self._pending.append(packed)
            if len(self._pending) == self._per_shard:
                self._flush()

    def finish(
        self, *, source: str, notes: Sequence[str] = (), looked_beyond_table: bool = False
    ) -> dict[str, Any]:
        """Draw the splits that are open, keep them apart, write, and return ``dataset.json``.

        Where the source names no validation split, one is drawn: a tenth of all, or a ninth of
        train where the source names splits at all. It names those of which some image is usable.
        What shows a person or a picture of a split that the source names goes there, too. A copy
        of a test image leaves train and valid, and a copy of a validation image leaves train; a
        copy has the same pixels.

        Raises:
            DatasetError: no sample is usable.
        """
        self._flush()
        self._batch()
        manifest = pa.Table.from_batches(self._batches, schema=self._schema)
        of_splits = _notes_of_splits(manifest)
        manifest = exclude_copies(_draw_open_splits(manifest, self._pictures))
        info = write_description(
            self._folder,
            manifest,
            {
                "source_format": self._format,
                "source": show_path(source),
                "image_size": self._spec.size,
                "image_channels": self._spec.channels,
                "shards": self._shards,
                "values": list(self._values),
                "words": list(self._words),
                "looked_beyond_table": looked_beyond_table,
                "notes": [*notes, *of_splits],
                "notes_of_splits": of_splits,
            },
        )
        if not info["labels"]:
            paths = manifest.column("path").to_pylist()
            first = f"; the first is {printable(paths[0])}" if paths else ""
            raise DatasetError(
                f"{source}: none of {manifest.num_rows} rows is usable "
                f"({_most_common(info['excluded'])}{first}); expected readable, labelled images"
            )
        return info

    def _batch(self) -> None:
        self._batches.append(pa.RecordBatch.from_pylist(self._rows, schema=self._schema))
        self._rows = []

    def _flush(self) -> None:
        if self._pending:
            _save(self._folder / "images" / shard_name(self._shards), np.stack(self._pending))
            self._pending = []
            self._shards += 1


def _save(path: Path, images: NDArray[np.uint8]) -> None:
    """Write an array as `numpy.save` does, which hides why it failed on a full disk."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(images))
        file.write(images.data)


def of_now(note: str) -> bool:
    """Whether a note says how the dataset is, not how it came to be."""
    return note in NO_IMAGE.values() or note.startswith((_SHARED, _AGAINST))


def _notes_of_now(manifest: pa.Table) -> Iterator[str]:
    splits_of: dict[str, set[str]] = defaultdict(set)
    filled, against = set(), 0
    columns = ["split", "subject", "excluded", "label", "votes"]
    for row in manifest.select(columns).to_pylist():
        if row["excluded"] is None:
            filled.add(row["split"])
            if votes := row["votes"]:
                against += votes[EMOTIONS.index(row["label"])] < max(votes)
            if row["subject"] is not None:
                splits_of[row["subject"]].add(row["split"])
    yield from (NO_IMAGE[split] for split in SPLITS if split not in filled)
    if several := sum(len(splits) > 1 for splits in splits_of.values()):
        yield (
            f"{_SHARED}{several:,} of {len(splits_of):,}. What is measured is then how well people "
            "are read who were learnt from; 'mien data clean --split 80/10/10' draws splits by "
            "people."
        )
    if against:
        yield (
            f"{_AGAINST}{against:,}. Training learns what the votes say (or the label, by --set "
            "soft_labels=false), figures go by the label; 'mien data clean --label-from votes' "
            "makes the two agree."
        )


def note_of_draw(shares: Sequence[float]) -> str:
    """Say that the splits of all images were drawn by these shares."""
    return f"Splits {'/'.join(f'{share:g}' for share in shares)} of each emotion were drawn."


def write_description(folder: Path, manifest: pa.Table, about: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``manifest.parquet``, and ``dataset.json`` with counts, fingerprint and notes.

    Args:
        folder: where the packed images already are.
        manifest: every row.
        about: where the dataset comes from and how its images are packed, with ``notes``, and
            ``notes_of_splits``, those of them that are true until splits are drawn anew.

    Returns:
        The content of ``dataset.json``.
    """
    rows = manifest.select(["split", "label", "excluded"]).to_pylist()
    used = Counter((r["split"], r["label"]) for r in rows if r["excluded"] is None)
    reasons = Counter((r["split"], r["excluded"]) for r in rows if r["excluded"] is not None)
    excluded: dict[str, dict[str, int]] = {split: {} for split in SPLITS}
    for (split, reason), count in sorted(reasons.items()):
        excluded[split][reason] = count
    info = {
        "format_version": FORMAT_VERSION,
        "emotions": list(EMOTIONS),
        "labels": [e for e in EMOTIONS if any(label == e for _, label in used)],
        "rows": manifest.num_rows,
        "counts": {s: {e: used[s, e] for e in EMOTIONS if used[s, e]} for s in SPLITS},
        "excluded": excluded,
        "fingerprint": _fingerprint(manifest, about["image_size"], about["image_channels"]),
        **about,
        "notes": [
            *_notes_of_now(manifest),
            *(note for note in about["notes"] if not of_now(note)),
        ],
    }
    pq.write_table(manifest, folder / "manifest.parquet", compression="zstd")
    text = json.dumps(info, indent=2, ensure_ascii=False) + "\n"
    (folder / "dataset.json").write_text(text, encoding="utf-8")
    return info


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes ``path`` when the block ends well, and goes if not.

    Raises:
        UsageError: ``path`` exists and is not an empty folder.
        DatasetError: meanwhile another command began to write the same.
        OSError: it cannot be written; ``filename`` is ``path``.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} exists already: choose another --out, or remove it first")
    path.parent.mkdir(parents=True, exist_ok=True)
    path = path.resolve()  # '.' has no name of its own, and a link cannot be replaced by a folder
    # One that was killed left its own behind. One that still writes stops for want of it, rather
    # than have its files mixed with these.
    for left in path.parent.glob(f".{glob.escape(path.name)}.????????.partial"):
        shutil.rmtree(left, ignore_errors=True)
    partial = beside(path)
    try:
        partial.mkdir()
    except OSError as error:
        error.filename = str(path)  # the name that its user gave
        raise
    try:
        yield partial
        if path.is_dir():
            path.rmdir()
        partial.rename(path)
    except OSError as error:
        if not partial.exists():
            raise DatasetError(
                f"{path}: another command began to write there, and goes on alone"
            ) from None
        # A full disk names nothing.
        if error.errno in _FULL or str(error.filename).startswith(str(partial)):
            error.filename = str(path)
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _with_own(values: Sequence[str], words: Sequence[str]) -> pa.Schema:
    taken = [name for name in (*values, *words) if name in MANIFEST_SCHEMA.names]
    if taken:
        raise DatasetError(f"columns {', '.join(taken)}: the manifest uses these names itself")
    own = [
        pa.field(name, kind, metadata={"description": "from the source"})
        for names, kind in ((values, pa.float64()), (words, pa.string()))
        for name in names
    ]
    return pa.schema([*MANIFEST_SCHEMA, *own])


def _is_flat(image: NDArray[np.uint8]) -> bool:
    return bool(image.std(axis=(0, 1)).max() < FLATTEST)


def _draw_open_splits(manifest: pa.Table, pictures: Sequence[str | None]) -> pa.Table:
    splits = manifest.column("split").to_pylist()
    named = set(_usable_by_split(manifest)) - {None}
    people = manifest.column("subject").to_pylist()
    versions = map(version_of, manifest.column("path").to_pylist())
    groups = join_groups(manifest.num_rows, pictures, people, versions)
    splits = _join_named(splits, groups)
    shares = {split: DEFAULT_SHARES[split] for split in SPLITS if split not in named - {"train"}}
    if "valid" not in named:
        # Train gives what valid needs. A test split that the source lacks is not drawn from it:
        # who named a training set did not mean it to be tested on.
        if "train" in named:
            shares.pop("test", None)
        splits = [None if split == "train" else split for split in splits]
    used = [reason is None for reason in manifest.column("excluded").to_pylist()]
    open_rows = [i for i, split in enumerate(splits) if split is None]
    drawn: dict[int, Split] = {}
    # What is left out does not take the place of what is used, and goes where its like is.
    for now in (True, False):
        rows = [i for i in open_rows if used[i] == now and groups[i] not in drawn]
        if rows:
            part = manifest.take(rows)
            ids, paths, labels = (part.column(n).to_pylist() for n in ("id", "path", "label"))
            names = drawn_by(ids, paths)
            of_rows = [groups[i] for i in rows]
            drawn |= zip(of_rows, draw_splits(names, labels, of_rows, shares=shares), strict=True)
    for i in open_rows:
        splits[i] = drawn[groups[i]]
    return replace_column(manifest, "split", splits)


def _usable_by_split(manifest: pa.Table) -> Counter[Split | None]:
    """Count the usable images of each split that the source names, and those in none (None)."""
    rows = manifest.select(["split", "excluded"]).to_pylist()
    return Counter(row["split"] for row in rows if row["excluded"] is None)


def _notes_of_splits(manifest: pa.Table) -> list[str]:
    used, named = _usable_by_split(manifest), Counter(manifest.column("split").to_pylist())
    notes = [
        f"The source has a {split} split, but of its {named[split]} images none is usable: "
        "splits are as if it were not there."
        for split in SPLITS
        if named[split] and not used[split]
    ]
    if used[None] == used.total():
        shares = (100 * DEFAULT_SHARES[split] for split in SPLITS)
        notes.append(f"The images are in no split that mien knows. {note_of_draw([*shares])}")
    elif used[None]:
        notes.append(
            f"{used[None]} of {used.total()} images are in no split that mien knows, where the "
            f"others are: theirs was drawn."
        )
    if used["train"] and not used["valid"]:
        notes.append("The source has no usable validation image: a ninth of train was drawn.")
    return notes


def _join_named(splits: Sequence[Split | None], groups: Sequence[int]) -> list[Split | None]:
    """Put open rows beside their like in the splits that the source names, in test first."""
    of_group: dict[int, Split] = {}
    for split in SPLITS:
        of_group |= {groups[i]: split for i, given in enumerate(splits) if given == split}
    return [given or of_group.get(group) for given, group in zip(splits, groups, strict=True)]


def exclude_copies(manifest: pa.Table) -> pa.Table:
    """Leave out what has the pixels of a held-out image, of test before valid, where it learns.

    Of a video that shares a picture with a held-out one all pictures are left out. A picture that
    is in three videos or more, a black one, says nothing of them.
    """
    splits, hashes, excluded, paths = (
        manifest.column(name).to_pylist() for name in ("split", "sha256", "excluded", "path")
    )
    videos = list(map(clip_of, paths))
    videos_of: dict[str, set[str | None]] = defaultdict(set)
    for value, video in zip(hashes, videos, strict=True):
        if video:
            videos_of[value].add(video)
    seen: dict[str, str] = {}
    # It does not matter whether the original is itself excluded: its pixels are known.
    for split in reversed(SPLITS):
        rows = [i for i, s in enumerate(splits) if s == split and hashes[i]]
        copied: dict[str, str] = {}
        for i in rows:
            if kept_in := seen.get(hashes[i]):
                excluded[i] = excluded[i] or f"{COPY_OF}{kept_in} image"
                if (video := videos[i]) and len(videos_of[hashes[i]]) < _IN_ANY_VIDEO:
                    copied.setdefault(video, kept_in)
        for i in rows:
            if kept_in := copied.get(videos[i] or ""):
                excluded[i] = excluded[i] or f"{COPY_OF}{kept_in} image elsewhere in its video"
            seen.setdefault(hashes[i], split)
    return replace_column(manifest, "excluded", excluded)


def _fingerprint(manifest: pa.Table, size: int, channels: int) -> str:
    digest = hashlib.sha256(repr((size, channels)).encode())
    columns = ["id", "split", "label", "votes", "weight", "excluded", "sha256"]
    # What the packed pixels and `where` follow from besides, where there is any.
    own = [name for name in manifest.column_names if name not in MANIFEST_SCHEMA.names]
    filled = (name for name in ("box", *own) if manifest.column(name).null_count < len(manifest))
    columns.extend(filled)
    rows = zip(*(manifest.column(name).to_pylist() for name in columns), strict=True)
    for row in sorted(rows, key=lambda row: str(row[0])):
        digest.update(repr(row).encode())
    return digest.hexdigest()[:16]


def _most_common(excluded: Mapping[str, Mapping[str, int]]) -> str:
    reasons: Counter[str] = Counter()
    for split in excluded.values():
        reasons.update(split)
    return "; ".join(f"{n} {reason}" for reason, n in reasons.most_common(3)) or "no rows"
