"""Putting a dataset's images to a model. No torch of its own."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.data.dataset import Dataset
from mien.model import EmotionModel
from mien.preprocess import fit
from mien.progress import Progress, silent

__all__ = ["Ask", "answers_of", "ask_for_rows"]

Ask = Callable[[Iterable[NDArray[np.uint8]]], NDArray[np.floating[Any]]]
"""Maps batches of images, each uint8 (n, H, W, C), to probabilities of all of them."""


def answers_of(model: EmotionModel) -> Ask:
    """Return what asks a model for batches of images, each uint8 (n, H, W, C)."""

    def ask(batches: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        spec = model.card.spec
        parts = [model.probabilities([fit(image, spec) for image in batch]) for batch in batches]
        return np.concatenate(parts)

    return ask


def ask_for_rows(
    model: EmotionModel,
    dataset: Dataset,
    rows: NDArray[np.int64],
    *,
    progress: Progress = silent,
) -> NDArray[np.floating[Any]]:
    """Put some rows of a dataset to a model, batch by batch.

    Args:
        model: knows some emotions.
        dataset: holds the images.
        rows: numbers of rows in the manifest; at least one.
        progress: wraps the batches to show how far it is.

    Returns:
        Float (n, labels), in the order of ``rows``.
    """
    batches = dataset.batches(rows)
    return answers_of(model)(progress(batches, total=len(batches), doing="asking the model"))
