"""Saying it in one line where memory runs out, and what would need less."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mien.config import TrainConfig
from mien.data.dataset import Dataset
from mien.data.stream import Stream
from mien.errors import DataError
from mien.preprocess import InputSpec

__all__ = ["is_of_memory", "telling_of_memory", "telling_of_size"]


def is_of_memory(error: Exception) -> bool:
    """Tell whether memory ran out: a GPU's, Python's, or on the CPU torch's, without a name."""
    named = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return named or "DefaultCPUAllocator" in str(error)


@contextmanager
def telling_of_size(dataset: Dataset | Stream, spec: InputSpec) -> Iterator[None]:
    """Say it in one line where the images that a run holds in memory do not fit there."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_of_memory(error):
            raise
        if isinstance(dataset, Dataset):
            held, count = "training", len(dataset.usable("train"))
            advice = "a smaller size, or 'mien data stream', of which training holds a part"
        else:
            held, count = "validation", sum(shard.images for shard in dataset.shards("valid"))
            advice = "a smaller size"
        gigabytes = count * spec.size**2 * spec.channels / 1e9
        raise DataError(
            f"not enough memory for the images: those of {held} alone take {gigabytes:.1f} GB: "
            f"try {advice}"
        ) from None


@contextmanager
def telling_of_memory(config: TrainConfig) -> Iterator[None]:
    """Say it in one line where what a run computes does not fit there."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_of_memory(error):
            raise
        raise DataError(
            f"not enough memory for {config.network} with batch_size "
            f"{config.batch_size} and pictures of {config.size} pixels: try a smaller batch_size"
        ) from None
