"""A dataset as tar files that training reads one after another, from wherever they lie.

The layout is WebDataset's (github.com/webdataset/webdataset): plain tar files in which each sample
is a PNG and a JSON of the same name, so that other programs read them, too. ``stream.json`` says
what they hold and is written last: a stream without it is not whole. Test images are left out: what
never travels with the training images cannot be trained on.
"""

import io
import json
import re
import tarfile
from collections.abc import Collection, Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pyarrow import fs
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from webdataset import TarWriter
from webdataset.tariterators import group_by_keys, tar_file_iterator

from mien.data.dataset import Dataset, origins
from mien.errors import DatasetError, ImageError, UsageError, first_problem
from mien.images import read_image
from mien.places import left_by_writing, locate, whole_file
from mien.preprocess import InputSpec
from mien.progress import Progress, silent
from mien.records import Split

__all__ = [
    "STREAMED_SPLITS",
    "STREAM_NAME",
    "Shard",
    "Stream",
    "Streamed",
    "open_data",
    "write_stream",
]

STREAM_NAME: Final = "stream.json"
STREAMED_SPLITS: Final[tuple[Split, ...]] = ("train", "valid")

_SEED: Final = 20_130_722
"""Of the one order in which samples are written, so that every file holds of everything."""

_SHARD: Final = r"(?:train|valid)-\d{6}\.tar"
_BEGUN: Final = "_begun"
"""Says that the files beside it are of `write_stream`, until all are there."""

_WRITTEN: Final = rf"{_SHARD}|stream\.json|{_BEGUN}"


class Shard(BaseModel):
    """One tar file of a stream, and how many images it holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z]+-\d+\.tar$")]
    images: Annotated[int, Field(gt=0)]


class _Description(BaseModel):
    """What ``stream.json`` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    fingerprint: str
    source_format: str
    emotions: Annotated[tuple[str, ...], Field(min_length=2)]
    image_size: int
    image_channels: int
    counts: dict[Split, dict[str, int]]
    shards: dict[Split, tuple[Shard, ...]]
    parts: tuple[dict[str, str], ...] = ()
    cleaned_from: tuple[str, ...] = ()
    cleaned: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Streamed:
    """One sample of a stream.

    Attributes:
        place: its number in the tar file.
        image: uint8 (size, size, channels).
        label: the emotion.
        targets: the probability of each of the stream's emotions, from the votes.
        weight: how much it counts.
    """

    place: int
    image: NDArray[np.uint8]
    label: str
    targets: tuple[float, ...]
    weight: float


class Stream:
    """An open stream.

    Args:
        place: the folder, or its address on an object store.

    Raises:
        DatasetError: there is no whole stream.
        UsageError: no such kind of address.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self._files, self._root = locate(place)
        try:
            with self._files.open_input_stream(f"{self._root}/{STREAM_NAME}") as file:
                self._is = _Description.model_validate_json(file.read())
            self.spec = InputSpec(size=self._is.image_size, channels=self._is.image_channels)
        except OSError as error:
            reason = " ".join(str(error).split())
            raise DatasetError(
                f"{place}: no {STREAM_NAME} to be read there ({reason}); expected what "
                "'mien data stream' writes"
            ) from None
        except ValidationError as error:
            where, says = first_problem(error)
            raise DatasetError(
                f"{place}/{STREAM_NAME}: damaged at {where!r} ({says}); write it again"
            ) from None

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotions that its labels use."""
        return self._is.emotions

    @property
    def info(self) -> dict[str, Any]:
        """Where it comes from: the dataset's ``fingerprint``, ``source_format`` and `origins`."""
        told = self._is.model_dump(mode="json")
        own = {key: told[key] for key in ("fingerprint", "source_format")}
        return own | origins(told)

    def counts(self, split: Split) -> list[int]:
        """Return how many images of a split each emotion has, in the order of `emotions`."""
        counts = self._is.counts.get(split, {})
        return [counts.get(emotion, 0) for emotion in self.emotions]

    def shards(self, split: Split) -> tuple[Shard, ...]:
        """Return the files of a split."""
        return self._is.shards.get(split, ())

    def read(self, shard: Shard, wanted: Collection[int] | None = None) -> Iterator[Streamed]:
        """Yield a file's samples, or those at the wanted places only.

        Raises:
            DatasetError: the file is missing, damaged, or holds another number of images.
        """
        name = f"{self.place}/{shard.name}"
        place = -1
        try:
            with self._files.open_input_stream(f"{self._root}/{shard.name}") as file:
                for place, sample in enumerate(_samples(file, name)):
                    if wanted is None or place in wanted:
                        yield self._decode(place, sample)
        except FileNotFoundError:
            raise DatasetError(f"{name}: missing; write the stream again") from None
        except OSError as error:
            reason = " ".join(str(error).split())
            raise DatasetError(
                f"{name}: cannot be read now ({reason}); nothing is lost, go on once it can"
            ) from None
        except (tarfile.TarError, KeyError, TypeError, ValueError, ImageError) as error:
            reason = " ".join(str(error).split())
            raise DatasetError(f"{name}: damaged ({reason}); write the stream again") from None
        if place + 1 != shard.images:
            raise DatasetError(f"{name}: holds {place + 1} images, expected {shard.images}")

    def _decode(self, place: int, sample: dict[str, bytes]) -> Streamed:
        image = read_image(sample["png"])
        image = image.reshape(*image.shape[:2], -1)
        told = json.loads(sample["json"])
        expected = self.spec.size, self.spec.size, self.spec.channels
        targets = tuple(float(share) for share in told["targets"])
        if image.shape != expected or len(targets) != len(self.emotions):
            raise ValueError(f"sample {place} is {image.shape} with {len(targets)} targets")
        if told["label"] not in self.emotions:
            raise ValueError(f"sample {place} is labelled {told['label']!r}")
        return Streamed(place, image, told["label"], targets, float(told["weight"]))


def open_data(place: str) -> Dataset | Stream:
    """Open what can be trained on: a stream where there is one, else a dataset folder.

    Raises:
        DatasetError: there is neither, or it is damaged.
        UsageError: no such kind of address.
    """
    if "://" in place or (Path(place) / STREAM_NAME).is_file():
        return Stream(place)
    return Dataset.open(place)


def write_stream(
    dataset: Dataset, place: str, *, images_per_shard: int = 4096, progress: Progress = silent
) -> Stream:
    """Write the usable training and validation images of a dataset as a stream.

    Args:
        dataset: where they come from.
        place: a new folder, or an address on an object store where nothing is yet, but for what
            a broken-off writing left.
        images_per_shard: how many images a file holds; the last of a split may hold fewer.
        progress: shows how far it is.

    Raises:
        UsageError: something is there already.
        DatasetError: no image is usable.
    """
    files, root = locate(place)
    there = files.get_file_info(fs.FileSelector(root, allow_not_found=True))
    if not _broken_off({info.base_name for info in there}):
        raise UsageError(f"{place} is not empty: choose another --out, or remove it first")
    chance = np.random.default_rng(_SEED)
    rows = {split: chance.permutation(dataset.usable(split)) for split in STREAMED_SPLITS}
    if not all(len(of) for of in rows.values()):
        raise DatasetError(f"{dataset.path}: train and valid need usable images to make a stream")
    if len(dataset.emotions) < 2:
        raise DatasetError(
            f"{dataset.path}: all its images are of {dataset.emotions[0]}; expected two or more "
            "emotions"
        )
    files.create_dir(root)
    begun = f"{root}/{_BEGUN}"
    with whole_file(files, begun) as file:
        file.write(b"'mien data stream' is writing here, or was broken off.\n")
    for info in there:
        if info.base_name != _BEGUN:
            files.delete_file(info.path)
    parts = [
        (split, number, of[start : start + images_per_shard])
        for split, of in rows.items()
        for number, start in enumerate(range(0, len(of), images_per_shard))
    ]
    shards: dict[Split, list[Shard]] = {split: [] for split in rows}
    for split, number, part in progress(parts, total=len(parts), doing="writing the stream"):
        shard = Shard(name=f"{split}-{number:06d}.tar", images=len(part))
        with whole_file(files, f"{root}/{shard.name}") as file:
            file.write(_packed(dataset, part))
        shards[split].append(shard)
        dataset.release()
    description = _Description(
        fingerprint=dataset.info["fingerprint"],
        source_format=dataset.info["source_format"],
        emotions=dataset.emotions,
        image_size=dataset.spec.size,
        image_channels=dataset.spec.channels,
        counts={split: dataset.info["counts"][split] for split in rows},
        shards={split: tuple(of) for split, of in shards.items()},
        **origins(dataset.info),
    )
    with whole_file(files, f"{root}/{STREAM_NAME}") as file:
        file.write(description.model_dump_json(indent=1).encode() + b"\n")
    files.delete_file(begun)
    return Stream(place)


def _broken_off(names: Set[str]) -> bool:
    """Tell whether all files of a folder are what a broken-off writing left there."""
    whole = {name for name in names if not left_by_writing(name, _WRITTEN)}
    if not whole:
        return True
    return _BEGUN in whole and all(re.fullmatch(_SHARD, name) for name in whole - {_BEGUN})


def _packed(dataset: Dataset, rows: NDArray[np.int64]) -> bytes:
    """Return a tar file of some rows."""
    emotions = dataset.emotions
    labels, targets = dataset.labels(rows, emotions), dataset.targets(rows, emotions)
    of_rows = dataset.manifest.select(["id", "weight"]).take(rows)
    ids, weights = (column.to_pylist() for column in of_rows.columns)
    held = io.BytesIO()
    # No time of writing: always the same bytes. Not 0.0, which would cost a second header each.
    with TarWriter(held, encoder=False, mtime=0) as tar:
        for i, image in enumerate(dataset.images(rows)):
            told = {
                "label": emotions[labels[i]],
                "targets": [float(share) for share in targets[i]],
                "weight": 1.0 if weights[i] is None else weights[i],
            }
            colours = image if image.shape[-1] == 1 else image[..., ::-1]
            _, png = cv2.imencode(".png", colours)
            sample = {"png": png.tobytes(), "json": json.dumps(told).encode()}
            tar.write({"__key__": ids[i], **sample})
    return held.getvalue()


def _samples(file: Any, name: str) -> Iterator[dict[str, bytes]]:
    entries = ({**entry, "__url__": name} for entry in tar_file_iterator(file))
    yield from group_by_keys(entries)
