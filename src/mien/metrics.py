"""Figures of merit as pure functions: arrays in, numbers out.

``probabilities`` is float (n, k), each row summing to 1; ``labels`` is int (n,), 0..k-1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import DatasetError

__all__ = [
    "Evaluation",
    "accuracy",
    "confusion_matrix",
    "evaluate_probabilities",
    "macro_recall",
    "negative_log_likelihood",
    "recall_per_class",
]

SMALLEST_PROBABILITY = 1e-7
"""The loss of one image is bounded at 16.1, so that one file's rounding cannot make it infinite."""

Probabilities = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]


def accuracy(probabilities: Probabilities, labels: Labels) -> float:
    """Share of images whose most probable class is the label, 0..1."""
    return float((probabilities.argmax(axis=1) == labels).mean())


def confusion_matrix(probabilities: Probabilities, labels: Labels) -> NDArray[np.int64]:
    """Counts (k, k): row the label, column the answer."""
    k = probabilities.shape[1]
    cells = labels * k + probabilities.argmax(axis=1)
    return np.bincount(cells, minlength=k * k).reshape(k, k).astype(np.int64)


def recall_per_class(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of each class's images that were found, 0..1; NaN where a class has none."""
    support = confusion.sum(axis=1)
    found = np.diag(confusion).astype(np.float64)
    recall = np.full(len(support), np.nan)
    np.divide(found, support, out=recall, where=support > 0)
    return recall


def macro_recall(confusion: NDArray[np.int64]) -> float:
    """Mean recall over the classes that have images (balanced accuracy), 0..1."""
    return float(np.nanmean(recall_per_class(confusion)))


def negative_log_likelihood(probabilities: Probabilities, labels: Labels) -> float:
    """Mean of -ln p(label), in nats; ln k is what a blind guess gets."""
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.clip(chosen, SMALLEST_PROBABILITY, 1.0)).mean())


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The figures of one model on one set of images.

    Attributes:
        labels: the emotions, in the order of the matrix.
        confusion: counts (k, k): row the label, column the answer.
        accuracy: 0..1.
        macro_recall: mean recall over the emotions that have images, 0..1.
        nll: mean negative log-likelihood of the label, nats.
    """

    labels: tuple[str, ...]
    confusion: NDArray[np.int64]
    accuracy: float
    macro_recall: float
    nll: float

    @property
    def count(self) -> int:
        """Number of images."""
        return int(self.confusion.sum())

    @property
    def recall(self) -> dict[str, float | None]:
        """Recall of each emotion, 0..1; None where it has no image."""
        values = recall_per_class(self.confusion)
        return {
            label: None if np.isnan(value) else float(value)
            for label, value in zip(self.labels, values, strict=True)
        }

    @property
    def support(self) -> dict[str, int]:
        """Number of images of each emotion."""
        return {
            label: int(row.sum()) for label, row in zip(self.labels, self.confusion, strict=True)
        }

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "n": self.count,
            "accuracy": self.accuracy,
            "macro_recall": self.macro_recall,
            "nll": self.nll,
            "recall": self.recall,
            "support": self.support,
            "labels": list(self.labels),
            "confusion": self.confusion.tolist(),
        }


def evaluate_probabilities(
    probabilities: Probabilities, labels: Labels, emotions: Sequence[str]
) -> Evaluation:
    """Compute every figure of an `Evaluation`.

    Args:
        probabilities: (n, k), rows summing to 1.
        labels: (n,), indices into ``emotions``.
        emotions: the k names.

    Raises:
        DatasetError: there is no image.
    """
    if len(labels) == 0:
        raise DatasetError("no image to evaluate: the split is empty; choose another with --split")
    confusion = confusion_matrix(probabilities, labels)
    return Evaluation(
        labels=tuple(emotions),
        confusion=confusion,
        accuracy=accuracy(probabilities, labels),
        macro_recall=macro_recall(confusion),
        nll=negative_log_likelihood(probabilities, labels),
    )
