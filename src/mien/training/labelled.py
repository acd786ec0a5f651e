"""The usable samples of one split, as a network takes them: pixels, labels, what to learn."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mien.data.conditions import Condition
from mien.data.dataset import Dataset
from mien.data.stream import Stream
from mien.errors import DatasetError
from mien.preprocess import InputSpec, fit
from mien.records import Split

__all__ = ["Batch", "Labelled"]

_BATCH = 1024


@dataclass(frozen=True)
class Batch:
    """Samples on the device that trains.

    Attributes:
        pixels: float32 (n, C, H, W), 0..1.
        targets: float32 (n, k), the probabilities to learn.
        weights: float32 (n,), how much each counts.
        positions: int (n,), which of a `Labelled` they are; None where they come from a stream.
    """

    pixels: Tensor
    targets: Tensor
    weights: Tensor
    positions: Tensor | None = None


@dataclass(frozen=True)
class Labelled:
    """Samples whose packed pixels lie on the device that trains.

    Attributes:
        rows: their numbers in the manifest, or in the split of a stream.
        labels: int (n,), indices into the emotions.
        targets: float32 (n, k), the probabilities to learn.
        weights: float32 (n,), how much each counts.
        packed: uint8 (n, C, H, W), on the device.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    targets: Tensor
    weights: Tensor
    packed: Tensor

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        split: Split,
        spec: InputSpec,
        emotions: tuple[str, ...],
        *,
        where: Sequence[str] = (),
        soft: bool = True,
        device: torch.device | str = "cpu",
    ) -> "Labelled":
        """Take the usable samples of a split.

        Args:
            dataset: holds them.
            split: train, valid or test.
            spec: what the network sees.
            emotions: the k emotions, in the order of the outputs.
            where: conditions on the source's own numbers and words, ``relFCs<0.9``, or its part,
                ``part=mine``; a sample without the number meets them.
            soft: learn the votes where there are any, not the one label.
            device: where the pixels go.

        Raises:
            DatasetError: there is none, or a label is not among ``emotions``.
            UsageError: a condition is none, or names a number that the dataset lacks.
        """
        rows = _meeting(dataset, dataset.usable(split), where)
        if len(rows) == 0:
            meeting = f" that meets {', '.join(where)}" if where else ""
            raise DatasetError(f"{dataset.path}: no usable image in split {split!r}{meeting}")
        labels = dataset.labels(rows, emotions)
        targets = dataset.targets(rows, emotions) if soft else _certain(labels, len(emotions))
        return cls(
            rows=rows,
            labels=labels,
            targets=torch.from_numpy(targets).to(device),
            weights=torch.from_numpy(_weights(dataset, rows)).to(device),
            packed=_packed(dataset, rows, spec).to(device),
        )

    @classmethod
    def of_stream(
        cls, stream: Stream, split: Split, spec: InputSpec, *, device: torch.device | str = "cpu"
    ) -> "Labelled":
        """Take a whole split of a stream into memory.

        Raises:
            DatasetError: there is no image, or a file is missing or damaged.
        """
        samples = [each for shard in stream.shards(split) for each in stream.read(shard)]
        if not samples:
            raise DatasetError(f"{stream.place}: no image in split {split!r}")
        index = {emotion: i for i, emotion in enumerate(stream.emotions)}
        packed = np.stack([fit(sample.image, spec).transpose(2, 0, 1) for sample in samples])
        return cls(
            rows=np.arange(len(samples)),
            labels=np.array([index[sample.label] for sample in samples], dtype=np.int64),
            targets=torch.tensor([sample.targets for sample in samples]).to(device),
            weights=torch.tensor([sample.weight for sample in samples]).to(device),
            packed=torch.from_numpy(packed).to(device),
        )

    @classmethod
    def of_validation(
        cls,
        data: Dataset | Stream,
        spec: InputSpec,
        emotions: tuple[str, ...],
        *,
        device: torch.device | str = "cpu",
    ) -> "Labelled":
        """Take what to judge by, of a dataset or of a stream.

        Raises:
            DatasetError: there is nothing usable, or it cannot be read.
        """
        if isinstance(data, Dataset):
            return cls.of(data, "valid", spec, emotions, device=device)
        return cls.of_stream(data, "valid", spec, device=device)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def counts(self) -> Tensor:
        """Float (k,), how many samples each emotion has."""
        labels = torch.from_numpy(self.labels)
        return torch.bincount(labels, minlength=self.targets.shape[1]).float()

    def batch(self, positions: Tensor) -> Batch:
        """Return the samples at some positions, int (n,)."""
        positions = positions.to(self.packed.device)
        return Batch(
            self.pixels(positions), self.targets[positions], self.weights[positions], positions
        )

    def pixels(self, positions: Tensor) -> Tensor:
        """Return float32 (n, C, H, W), 0..1, of the samples at some positions."""
        return self.packed[positions].float() / 255


def _meeting(dataset: Dataset, rows: NDArray[np.int64], where: Sequence[str]) -> NDArray[np.int64]:
    for text in where:
        meets = Condition.parse(text)
        meets.check(dataset)
        values = dataset.column(meets.name)
        rows = rows[[values[row] is None or meets(values[row]) for row in rows]]
    return rows


def _certain(labels: NDArray[np.int64], emotions: int) -> NDArray[np.float32]:
    return np.eye(emotions, dtype=np.float32)[labels]


def _weights(dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    given = dataset.column("weight")
    return np.array([1.0 if given[row] is None else given[row] for row in rows], np.float32)


def _packed(dataset: Dataset, rows: NDArray[np.int64], spec: InputSpec) -> Tensor:
    packed = np.empty((len(rows), spec.channels, spec.size, spec.size), dtype=np.uint8)
    for start in range(0, len(rows), _BATCH):
        for i, image in enumerate(dataset.images(rows[start : start + _BATCH]), start=start):
            packed[i] = fit(image, spec).transpose(2, 0, 1)
    dataset.release()
    return torch.from_numpy(packed)
