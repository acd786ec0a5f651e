"""Figures of merit as pure functions: arrays in, numbers out.

``probabilities`` is float (n, k), each row summing to 1; ``labels`` is int (n,), 0..k-1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import DatasetError
from mien.people import several_of_some, steady_resamples, sums_over_people, widened

__all__ = [
    "BINS",
    "Evaluation",
    "Reliability",
    "accuracy",
    "accuracy_interval",
    "brier_score",
    "confidence_intervals",
    "confusion_matrix",
    "evaluate_probabilities",
    "macro_recall",
    "macro_recall_of_right",
    "negative_log_likelihood",
    "precision_per_class",
    "recall_per_class",
    "reliability",
    "risk_over_coverage",
]

BINS = 15
"""Bins of confidence of equal width, as most papers have them."""

_RECALLS = 100_000
"""Draws of macro recall."""

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


def precision_per_class(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of each class's answers that are right, 0..1; NaN where it was never the answer."""
    return recall_per_class(confusion.T)


def macro_recall(confusion: NDArray[np.int64]) -> float:
    """Mean recall over the classes that have images (balanced accuracy), 0..1."""
    return float(np.nanmean(recall_per_class(confusion)))


def macro_recall_of_right(right: NDArray[np.bool_], labels: Labels) -> float:
    """The same of answers of which it is known whether they are right, (n,)."""
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def negative_log_likelihood(probabilities: Probabilities, labels: Labels) -> float:
    """Mean of -ln p(label), in nats; ln k is what a blind guess gets."""
    return float(_losses(probabilities, labels).mean())


def _losses(probabilities: Probabilities, labels: Labels) -> NDArray[np.float64]:
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    losses: NDArray[np.float64] = -np.log(np.clip(chosen, SMALLEST_PROBABILITY, 1.0))
    return losses


def brier_score(probabilities: Probabilities, labels: Labels) -> float:
    """Mean over images of the sum over classes of (p - y)^2, y 1 for the label (Brier 1950).

    0 is perfect, 2 the worst; (k - 1) / k is what a blind guess gets.
    """
    missed = probabilities.astype(np.float64)
    missed[np.arange(len(labels)), labels] -= 1
    return float((missed**2).sum(axis=1).mean())


@dataclass(frozen=True, slots=True)
class Reliability:
    """How often a model is right, by how sure it is.

    Attributes:
        counts: int (bins,), images whose highest probability lies in each bin from 0 to 1; a bin
            holds its upper border.
        confidence: float (bins,), their mean highest probability; NaN where there is none.
        accuracy: float (bins,), the share that is right; NaN likewise.
    """

    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def error(self) -> float:
        """The expected calibration error (Guo et al. 2017, arXiv:1706.04599, eq. 3), 0..1."""
        gaps = np.nan_to_num(np.abs(self.accuracy - self.confidence))
        return float((self.counts * gaps).sum() / self.counts.sum())


def reliability(probabilities: Probabilities, labels: Labels, *, bins: int = BINS) -> Reliability:
    """Sort images by their highest probability into bins of equal width."""
    sure = probabilities.max(axis=1).astype(np.float64)
    right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    place = np.ceil(sure * bins).astype(np.int64).clip(1, bins) - 1
    counts = np.bincount(place, minlength=bins)
    means = []
    for values in (sure, right):
        mean = np.full(bins, np.nan)
        np.divide(np.bincount(place, values, bins), counts, out=mean, where=counts > 0)
        means.append(mean)
    return Reliability(counts.astype(np.int64), *means)


def risk_over_coverage(probabilities: Probabilities, labels: Labels) -> NDArray[np.float64]:
    """Share of wrong answers among the surest 1, 2, ... n images: float (n,), 0..1.

    Its mean is the area under the risk-coverage curve (Geifman, Uziel and El-Yaniv 2018,
    arXiv:1805.08206): how well confidence tells right answers from wrong ones.
    """
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    wrong = (probabilities.argmax(axis=1) != labels)[order]
    found: NDArray[np.float64] = np.cumsum(wrong) / np.arange(1, len(labels) + 1)
    return found


def confidence_intervals(
    probabilities: Probabilities,
    labels: Labels,
    people: NDArray[np.int64] | None = None,
    *,
    resamples: int | None = None,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Return 95 % intervals of accuracy, macro recall and nll.

    Accuracy: Wilson's (1927). Macro recall: the mean of recalls drawn from what each class's images
    leave possible (Beta). The priors of all classes together weigh as much as one uniform one,
    shared out by how few images a class has, none above Jeffreys': as strong ones for each would
    pull the mean of high recalls down. That is a choice by simulation (``benchmarks.intervals``).
    Both have a width where all answers are right. Loss: percentiles over images drawn with
    replacement (Efron 1979).

    All these take images as independent, which those of one person are not. Where ``people`` says
    who is shown, int (n,), an interval also holds the percentiles over people, see
    `mien.people.sums_over_people` and `mien.people.widened`.

    Args:
        probabilities: float (n, k), rows sum to 1.
        labels: int (n,), the index of the right class.
        people: who is shown; None: someone else every time.
        resamples: how often images or people are drawn; None: so often that the ends hardly depend
            on the seed, of very many images less often.
        seed: of the draws.
    """
    count = len(labels)
    losses = _losses(probabilities, labels)
    confusion = confusion_matrix(probabilities, labels)
    support, found = confusion.sum(axis=1), np.diag(confusion)
    support, found = support[support > 0], found[support > 0]
    random = np.random.default_rng(seed)
    prior = np.minimum(0.5, 1 / support / (1 / support).sum())
    recalls = random.beta(found + prior, support - found + prior, (_RECALLS, len(support)))
    drawn = [
        losses[random.integers(0, count, count)].mean()
        for _ in range(resamples or steady_resamples(count))
    ]
    intervals = {
        "accuracy": accuracy_interval(
            probabilities.argmax(axis=1) == labels, people, resamples=resamples, seed=seed
        ),
        "macro_recall": _around(macro_recall(confusion), recalls.mean(axis=1)),
        "nll": _around(float(losses.mean()), drawn),
    }
    if people is None or not several_of_some(people):
        return intervals
    by_people = _over_people(probabilities, labels, people, resamples=resamples, seed=seed)
    return intervals | {
        name: widened(intervals[name], drawn_by_people, people)
        for name, drawn_by_people in by_people.items()
    }


def accuracy_interval(
    right: NDArray[np.bool_],
    people: NDArray[np.int64] | None,
    *,
    resamples: int | None = None,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95 % interval of a share of right answers, as `confidence_intervals` does.

    Args:
        right: (n,), whether each answer is.
        people: int (n,), who is shown; None: someone else every time.
        resamples: how often people are drawn; None: as there.
        seed: of the draws.
    """
    ends = _wilson(int(right.sum()), len(right))
    if people is None or not several_of_some(people):
        return ends
    _, numbers = np.unique(people, return_inverse=True)
    values = np.stack([np.ones(len(right)), right], axis=1)
    count, found = sums_over_people(values, numbers, resamples=resamples, seed=seed).T
    return widened(ends, found / count, numbers)


def _over_people(
    probabilities: Probabilities,
    labels: Labels,
    people: NDArray[np.int64],
    *,
    resamples: int | None,
    seed: int,
) -> dict[str, NDArray[np.float64]]:
    """Return macro recall and nll of people drawn by chance, each (resamples,)."""
    of_class = np.eye(probabilities.shape[1])[labels]
    right = probabilities.argmax(axis=1) == labels
    values = np.hstack(
        [
            np.ones((len(labels), 1)),
            _losses(probabilities, labels)[:, None],
            of_class,
            of_class * right[:, None],
        ]
    )
    sums = sums_over_people(values, people, resamples=resamples, seed=seed)
    count, loss = sums[:, 0], sums[:, 1]
    support, found = np.split(sums[:, 2:], 2, axis=1)
    recalls = np.divide(found, support, out=np.zeros_like(found), where=support > 0)
    return {
        "macro_recall": recalls.sum(axis=1) / (support > 0).sum(axis=1),
        "nll": loss / count,
    }


def _around(figure: float, drawn: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
    """Return what holds 95 % of what was drawn, and the figure itself."""
    low, high = np.percentile(drawn, (2.5, 97.5))
    return min(float(low), figure), max(float(high), figure)


def _wilson(found: int, count: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share."""
    z, share = 1.959964, found / count
    middle = share + z**2 / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    low, high = ((middle + side) / (1 + z**2 / count) for side in (-half, half))
    # Rounding must not put the share itself outside.
    return min(max(low, 0.0), share), max(min(high, 1.0), share)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The figures of one model on one set of images.

    Attributes:
        labels: the emotions, in the order of the matrix.
        confusion: counts (k, k): row the label, column the answer.
        accuracy: 0..1.
        macro_recall: mean recall over the emotions that have images, 0..1.
        nll: mean negative log-likelihood of the label, nats.
        brier: the Brier score, 0..2.
        reliability: how often it is right, by how sure it is.
        risk: share of wrong answers among the surest 1, 2, ... n images, 0..1.
    """

    labels: tuple[str, ...]
    confusion: NDArray[np.int64]
    accuracy: float
    macro_recall: float
    nll: float
    brier: float
    reliability: Reliability
    risk: NDArray[np.float64]

    @property
    def count(self) -> int:
        """Number of images."""
        return int(self.confusion.sum())

    @property
    def recall(self) -> dict[str, float | None]:
        """Recall of each emotion, 0..1; None where it has no image."""
        return self._by_emotion(recall_per_class(self.confusion))

    @property
    def precision(self) -> dict[str, float | None]:
        """Precision of each emotion, 0..1; None where it was never the answer."""
        return self._by_emotion(precision_per_class(self.confusion))

    @property
    def f1(self) -> dict[str, float | None]:
        """Harmonic mean of precision and recall; None where an emotion has no image."""
        found = 2 * np.diag(self.confusion).astype(np.float64)
        both = self.confusion.sum(axis=0) + self.confusion.sum(axis=1)
        values = np.full(len(self.labels), np.nan)
        has_images = self.confusion.sum(axis=1) > 0
        np.divide(found, both, out=values, where=has_images)
        return self._by_emotion(values)

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the emotions that have images, 0..1."""
        return float(np.mean([value for value in self.f1.values() if value is not None]))

    @property
    def calibration_error(self) -> float:
        """The expected calibration error over 15 bins, 0..1."""
        return self.reliability.error

    def _by_emotion(self, values: NDArray[np.float64]) -> dict[str, float | None]:
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
            "macro_f1": self.macro_f1,
            "brier": self.brier,
            "calibration_error": self.calibration_error,
            "risk_coverage_area": float(self.risk.mean()),
            "recall": self.recall,
            "precision": self.precision,
            "f1": self.f1,
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
        brier=brier_score(probabilities, labels),
        reliability=reliability(probabilities, labels),
        risk=risk_over_coverage(probabilities, labels),
    )
