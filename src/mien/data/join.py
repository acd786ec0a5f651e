"""Several datasets become one: what each row says stays, leaks between them are closed.

Every part keeps its splits, so figures on the joined validation and test images are of all parts;
a part may be for training only instead. Nothing is decoded again: packed images are copied, or
fitted from as they are packed where the parts differ in that. The parts are never touched.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from mien.data.dataset import (
    MANIFEST_SCHEMA,
    PART,
    Dataset,
    replace_column,
    shard_name,
    with_parts,
)
from mien.data.writer import (
    exclude_copies,
    new_folder,
    of_now,
    sample_id,
    write_description,
)
from mien.errors import UsageError
from mien.labels import EMOTIONS
from mien.preprocess import InputSpec, fit
from mien.progress import Progress, silent
from mien.records import show_path

__all__ = ["join_datasets"]

_FORMAT: Final = "join"
_BATCH: Final = 128


def join_datasets(
    datasets: Sequence[Dataset],
    out: Path,
    *,
    train_only: Collection[Path] = (),
    size: int | None = None,
    channels: int | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Write one dataset folder of several.

    Paths and subjects begin with the name of their part, which the column `PART` has, and ids
    follow from that name and the old id. A part is called as its folder is; parts of one name have
    their fingerprints behind it. The order in which they are given does not matter. Rows that their
    part leaves out stay left out. A copy of a test image leaves train and valid of every part, and
    a copy of a validation image leaves train; a copy has the same pixels.

    Args:
        datasets: the parts, two or more.
        out: the dataset folder to make.
        train_only: folders of parts all of whose rows go to train, whatever split they are in.
        size: side of the packed images, pixels; the smallest of the parts where None.
        channels: 1 grey, 3 RGB; where None, RGB if all parts are.
        progress: shows how far it is, in files of images.

    Returns:
        The content of its ``dataset.json``; its ``parts`` say where they came from.

    Raises:
        UsageError: fewer than two parts, one of them given twice or joined of another, one named
            for training only that is no part, or no other is left, or one has numbers or words
            of its own in the column `PART`, or words where another has numbers; ``out`` exists.
        ConfigError: ``size`` or ``channels`` is out of range.
    """
    parts = _parts(datasets, train_only)
    spec = InputSpec(
        size=min(part.dataset.spec.size for part in parts) if size is None else size,
        channels=min(part.dataset.spec.channels for part in parts)
        if channels is None
        else channels,
    )
    files: list[Path] = []
    tables: list[pa.Table] = []
    for part in parts:
        tables.append(part.rows(first_shard=len(files)))
        files += part.files()
    before = pa.concat_tables(tables, promote_options="default")
    manifest = exclude_copies(before)
    to_train = list(_notes_to_train(parts))
    apart = sorted(part.id_of(old) for part in parts for old in part.dataset.apart)
    with new_folder(out) as folder:
        (folder / "images").mkdir()
        for number, file in enumerate(progress(files, total=len(files), doing="joining")):
            _pack(file, folder / "images" / shard_name(number), spec)
        return write_description(
            folder,
            manifest,
            {
                "source_format": _FORMAT,
                "source": " + ".join(part.origin for part in parts),
                "parts": [part.to_json() for part in parts],
                "image_size": spec.size,
                "image_channels": spec.channels,
                "shards": len(files),
                "values": list(dict.fromkeys(v for part in parts for v in part.dataset.values)),
                "words": list(dict.fromkeys(w for part in parts for w in part.dataset.words)),
                **({"apart": apart} if apart else {}),
                "notes": [
                    *_notes_of_parts(parts, "notes"),
                    *to_train,
                    *_notes_of_packing(parts, spec),
                    *_notes_of_emotions(parts),
                    *_notes_of_people(parts),
                    *_notes_of_copies(before, manifest, parts),
                ],
                "notes_of_splits": [*_notes_of_parts(parts, "notes_of_splits"), *to_train],
            },
        )


@dataclass(frozen=True)
class _Part:
    """One of the datasets, and what it is called in the joined one."""

    name: str
    dataset: Dataset
    train_only: bool

    @property
    def origin(self) -> str:
        """What is said of it in a few words."""
        info = self.dataset.info
        return f"{self.name} ({info['source_format']} {info['fingerprint']})"

    def files(self) -> list[Path]:
        """Return the files of its packed images."""
        shards = range(self.dataset.info["shards"])
        return [self.dataset.path / "images" / shard_name(number) for number in shards]

    def id_of(self, old: str) -> str:
        """Return the id that one of its pictures has in the joined dataset."""
        return sample_id(_FORMAT, f"{self.name}/{old}")

    def rows(self, first_shard: int) -> pa.Table:
        """Return its rows as the joined manifest has them; its shards count from one on."""

        def within(value: str | None) -> str | None:
            return None if value is None else f"{self.name}/{value}"

        column = self.dataset.column
        changed: dict[str, list[Any]] = {
            "id": [self.id_of(old) for old in column("id")],
            "path": [within(path) for path in column("path")],
            "subject": [within(subject) for subject in column("subject")],
            "shard": [None if shard is None else shard + first_shard for shard in column("shard")],
        }
        if self.train_only:
            # Those left out, too: else a copy of one of them would count as one of a test image.
            changed["split"] = ["train"] * len(self.dataset)
        manifest = self.dataset.manifest
        for name, values in changed.items():
            manifest = replace_column(manifest, name, values)
        if self.dataset.parts:
            of_part = [within(part) for part in column(PART.name)]
            return replace_column(manifest, PART.name, of_part)
        of_part = pa.array([self.name] * len(manifest), type=PART.type)
        return manifest.add_column(len(MANIFEST_SCHEMA), PART, of_part)

    def to_json(self) -> dict[str, Any]:
        """Return where it came from, as far as its ``dataset.json`` says."""
        told = (
            "fingerprint", "rows", "source_format", "source", "looked_beyond_table", "cleaned",
            "parts",
        )  # fmt: skip
        info = self.dataset.info
        return {
            "name": self.name,
            "train_only": self.train_only,
            **{key: info[key] for key in told if key in info},
        }


def _parts(datasets: Sequence[Dataset], train_only: Collection[Path]) -> list[_Part]:
    if len(datasets) < 2:
        raise UsageError(f"{len(datasets)} dataset: expected two or more to join")
    seen: dict[str, Path] = {}
    for dataset in datasets:
        for described in with_parts(dataset.info):
            fingerprint = described["fingerprint"]
            if fingerprint in seen:
                raise UsageError(
                    f"{dataset.path}: holds the dataset {fingerprint}, as {seen[fingerprint]} "
                    "does; expected each once"
                )
            seen[fingerprint] = dataset.path
    for dataset in datasets:
        if PART.name in (*dataset.values, *dataset.words):
            raise UsageError(
                f"{dataset.path}: its source has a column {PART.name}, as joined datasets name the "
                "one of what they were joined of: rename it there and import it again"
            )
    numbers = {name: dataset for dataset in datasets for name in dataset.values}
    for dataset in datasets:
        for name in numbers.keys() & set(dataset.words):
            raise UsageError(
                f"{dataset.path}: {name} is words, and numbers in {numbers[name].path}: rename one "
                "in its source and import it again"
            )
    places = [dataset.path.resolve() for dataset in datasets]
    for path in train_only:
        if path.resolve() not in places:
            given = ", ".join(str(dataset.path) for dataset in datasets)
            raise UsageError(f"--train-only {path}: expected one of those to join: {given}")
    learn = {path.resolve() for path in train_only}
    if learn.issuperset(places):
        raise UsageError("--train-only: names all parts; expected one to validate and test on")
    names = [show_path(place.name) for place in places]
    shared = {name for name, count in Counter(names).items() if count > 1}
    parts = [
        _Part(
            f"{name}-{dataset.info['fingerprint']}" if name in shared else name,
            dataset,
            place in learn,
        )
        for name, dataset, place in zip(names, datasets, places, strict=True)
    ]
    return sorted(parts, key=lambda part: part.name)


def _pack(source: Path, target: Path, spec: InputSpec) -> None:
    """Write a file of packed images as others are packed, a few of them in memory at a time."""
    images = np.load(source, mmap_mode="r", allow_pickle=False)
    head = {
        "descr": np.lib.format.dtype_to_descr(images.dtype),
        "fortran_order": False,
        "shape": (len(images), spec.size, spec.size, spec.channels),
    }
    with target.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, head)
        for start in range(0, len(images), _BATCH):
            batch = np.asarray(images[start : start + _BATCH])
            file.write(np.stack([fit(image, spec) for image in batch]).data)


def _notes_of_parts(parts: Sequence[_Part], key: str) -> Iterator[str]:
    told: dict[str, list[str]] = defaultdict(list)
    for part in parts:
        for note in part.dataset.info.get(key, ()):
            if not of_now(note):
                told[note].append(part.name)
    yield from (f"{', '.join(names)}: {note}" for note, names in told.items())


def _notes_to_train(parts: Sequence[_Part]) -> Iterator[str]:
    for part in parts:
        if part.train_only:
            valid, test = (len(part.dataset.usable(split)) for split in ("valid", "test"))
            yield (
                f"{part.name} is for training only: its {valid:,} validation and {test:,} test "
                "images went to train."
            )


def _notes_of_packing(parts: Sequence[_Part], spec: InputSpec) -> Iterator[str]:
    for part in parts:
        before = part.dataset.spec
        if before == spec:
            continue
        note = f"{part.name} was packed as {before}, and is {spec} here"
        if before.size < spec.size:
            note += ", enlarged without new detail"
        if before.channels < spec.channels:
            note += ", in three equal channels"
        yield f"{note}."


def _notes_of_emotions(parts: Sequence[_Part]) -> Iterator[str]:
    known = {e: [part.name for part in parts if e in part.dataset.emotions] for e in EMOTIONS}
    partly = [f"{e} ({', '.join(of)})" for e, of in known.items() if 0 < len(of) < len(parts)]
    if partly:
        yield f"Not all parts had these emotions when they were joined: {', '.join(partly)}."


def _notes_of_people(parts: Sequence[_Part]) -> Iterator[str]:
    people = (name for part in parts for name in {*part.dataset.column("subject")} - {None})
    if several := sum(count > 1 for count in Counter(people).values()):
        yield (
            f"Names of people that several parts have: {several:,}. They count as different people "
            "in each; where they are the same, import both parts from one csv instead, so that "
            "nobody is in several splits."
        )


def _notes_of_copies(before: pa.Table, after: pa.Table, parts: Sequence[_Part]) -> Iterator[str]:
    used = (table.column("excluded").null_count for table in (before, after))
    if left := next(used) - next(used):
        yield (
            "Left out when they were joined, as copies of held-out images of another part: "
            f"{left:,}."
        )
    owners = (number for number, part in enumerate(parts) for _ in range(len(part.dataset)))
    parts_of: dict[tuple[Any, ...], set[int]] = defaultdict(set)
    rows = after.select(["sha256", "box", "excluded"]).to_pylist()
    for owner, row in zip(owners, rows, strict=True):
        if row["excluded"] is None and row["sha256"]:
            parts_of[row["sha256"], *(row["box"] or ())].add(owner)
    if several := sum(len(of) > 1 for of in parts_of.values()):
        yield (
            f"Pictures that several parts had in use when they were joined: {several:,}; 'mien "
            "data clean --drop duplicate' keeps one of each."
        )
