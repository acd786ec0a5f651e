"""Training images that are read while they are trained on, from more than memory or disk hold.

The order of an epoch follows from a seed and from the numbers in ``stream.json`` alone: the files
are shuffled, and the images of a few files at a time among each other. So training resumes in the
middle of an epoch without reading what came before, and every process knows which images are its
own.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
import torch
from torch import Tensor

from mien.data.stream import Shard, Stream, Streamed
from mien.errors import DatasetError
from mien.preprocess import InputSpec, fit
from mien.training.labelled import Batch

__all__ = ["StreamedSplit"]

_WINDOW_BYTES: Final = 256 << 20
"""How much of the pixels is shuffled at a time; as much again is being read meanwhile."""

_READERS: Final = 4

_Window = list[tuple[Shard, dict[int, int]]]
"""Files, each with the places that are wanted in it and their positions in the epoch."""


@dataclass(frozen=True)
class StreamedSplit:
    """The training images of a stream, as a network takes them.

    Attributes:
        stream: where they come from.
        spec: what the network sees.
        soft: learn the votes where there are any, not the one label.
        device: where the batches go.
    """

    stream: Stream
    spec: InputSpec
    soft: bool
    device: torch.device

    def __post_init__(self) -> None:
        if not self._shards:
            raise DatasetError(f"{self.stream.place}: holds no training image")

    def __len__(self) -> int:
        return sum(shard.images for shard in self._shards)

    @property
    def counts(self) -> Tensor:
        """Float (k,), how many images each emotion has."""
        return torch.tensor(self.stream.counts("train"), dtype=torch.float32)

    def batches(
        self, size: int, steps: int, *, seed: int, first: int = 0, part: int = 0, parts: int = 1
    ) -> Iterator[Batch]:
        """Yield the batches of an epoch, or one process's part of each.

        Args:
            size: images of a batch, of all processes together; a multiple of ``parts``. Where
                there are fewer, they are the batch.
            steps: how many batches the epoch has.
            seed: another one gives another order.
            first: the batch to begin with; what comes before is not read.
            part: this process's number.
            parts: how many processes there are; at most as many as images.

        Raises:
            DatasetError: a file is missing or damaged.
        """
        size = min(size, len(self) // parts * parts)
        windows = self._windows(seed, range(first * size, steps * size), part, parts)
        share = size // parts
        held: list[tuple[int, Streamed]] = []
        with ThreadPoolExecutor(_READERS) as readers:

            def begin(window: _Window) -> list[Future[list[tuple[int, Streamed]]]]:
                return [readers.submit(self._read, shard, places) for shard, places in window]

            reading = begin(next(windows))
            # While one window is trained on, the next is read; after the last comes nothing.
            for window in chain(windows, [[]]):
                coming = begin(window)
                # Positions differ, so samples are never compared.
                held += sorted(chain.from_iterable(read.result() for read in reading))
                full = len(held) // share * share
                for start in range(0, full, share):
                    yield self._batch([sample for _, sample in held[start : start + share]])
                held, reading = held[full:], coming

    def _windows(self, seed: int, positions: range, part: int, parts: int) -> Iterator[_Window]:
        """Yield what to read of which files, in order, of the given positions in the epoch."""
        chance = np.random.default_rng(seed)
        image = self.stream.spec.size**2 * self.stream.spec.channels
        largest = max(shard.images for shard in self._shards)
        together = max(1, _WINDOW_BYTES // (largest * image))
        shuffled = chance.permutation(len(self._shards))
        begins = 0
        for start in range(0, len(shuffled), together):
            shards = [self._shards[i] for i in shuffled[start : start + together]]
            ends = np.cumsum([shard.images for shard in shards])
            places = np.split(begins + chance.permutation(int(ends[-1])), ends[:-1])
            begins += int(ends[-1])
            yield [
                (shard, {int(place): int(of_shard[place]) for place in np.flatnonzero(own)})
                for shard, of_shard in zip(shards, places, strict=True)
                for own in [
                    (of_shard >= positions.start)
                    & (of_shard < positions.stop)
                    & (of_shard % parts == part)
                ]
            ]

    def _read(self, shard: Shard, places: Mapping[int, int]) -> list[tuple[int, Streamed]]:
        if not places:
            return []
        return [(places[sample.place], sample) for sample in self.stream.read(shard, places)]

    def _batch(self, samples: Sequence[Streamed]) -> Batch:
        emotions = self.stream.emotions
        images = np.stack([fit(sample.image, self.spec).transpose(2, 0, 1) for sample in samples])
        targets = [
            sample.targets if self.soft else [float(name == sample.label) for name in emotions]
            for sample in samples
        ]
        return Batch(
            pixels=torch.from_numpy(images).to(self.device).float() / 255,
            targets=torch.tensor(targets, dtype=torch.float32, device=self.device),
            weights=torch.tensor([sample.weight for sample in samples], device=self.device),
        )

    @property
    def _shards(self) -> Sequence[Shard]:
        return self.stream.shards("train")
