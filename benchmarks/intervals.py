"""Do intervals hold the truth? python -m benchmarks.intervals.

First macro recall of independent images, where recalls are high or rare emotions have few images.
Then all figures where people are shown often: everyone has a skill of their own, by which a made-up
model knows their faces: what it gives the right one of three emotions is higher by it. So many
people with so many images each are drawn again and again; counted is how often a 95 % interval
holds the figure that very many people come to, once with images taken as independent, once by
people.
"""

import numpy as np
from numpy.typing import NDArray

from mien.metrics import (
    accuracy,
    confidence_intervals,
    confusion_matrix,
    macro_recall,
    negative_log_likelihood,
)

SIZES: tuple[tuple[int, int | tuple[int, ...]], ...] = (
    *((10, 20), (30, 20), (120, 8), (300, 3)),
    *((26, (15,) * 3 + (1,) * 23), (23, (50,) * 3 + (1,) * 20)),
)
"""People, and images of each; in the end a few have most of the images."""

RECALLS: tuple[tuple[int, "Count", "Share"], ...] = (
    *((8, 5, 0.7), (8, 5, 0.9), (7, 6, 0.95), (8, 30, 0.95), (7, 30, 0.98), (8, 100, 0.7)),
    (8, (1000,) * 7 + (2,), (0.97,) * 7 + (0.5,)),
    (8, (1090, 893, 384, 396, 83, 18, 273, 16), (0.91, 0.95, 0.77, 0.91, 0.57, 0.39, 0.88, 0.38)),
)
"""Emotions, images of each, and how often each is found; in the end as many as FER+ has."""

DRAWS = 300
RESAMPLES = 400
CROWD = 200_000
"""Images from which the truth is known."""

Count = int | tuple[int, ...]
Share = float | tuple[float, ...]
Answers = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]


def _drawn(random: np.random.Generator, people: int, each: int | tuple[int, ...]) -> Answers:
    """Return probabilities, labels and who is shown."""
    shown = np.repeat(np.arange(people), each)
    labels = random.integers(0, 3, len(shown))
    logits = random.normal(size=(len(shown), 3))
    logits[np.arange(len(shown)), labels] += random.normal(1.2, 1.2, people)[shown]
    found = np.exp(logits)
    return found / found.sum(axis=1, keepdims=True), labels, shown


def _held(random: np.random.Generator, emotions: int, each: Count, recall: Share) -> float:
    """Return how often the interval of macro recall holds the truth, where nobody is named."""
    labels = np.repeat(np.arange(emotions), each)
    truth = np.broadcast_to(recall, emotions)
    held = 0
    for _ in range(DRAWS):
        right = random.random(len(labels)) < truth[labels]
        answers = np.where(right, labels, (labels + 1) % emotions)
        ends = confidence_intervals(np.eye(emotions)[answers], labels, resamples=1)
        held += ends["macro_recall"][0] <= truth.mean() <= ends["macro_recall"][1]
    return held / DRAWS


def main() -> None:
    random = np.random.default_rng(1)
    for emotions, each, recall in RECALLS:
        share = _held(random, emotions, each, recall)
        print(f"{emotions} emotions of {each} images, recall {recall}: {share:.0%}", flush=True)
    for people, each in SIZES:
        alike = each if isinstance(each, int) else 1
        found, labels, _ = _drawn(random, CROWD // alike, alike)
        truth = {
            "accuracy": accuracy(found, labels),
            "macro_recall": macro_recall(confusion_matrix(found, labels)),
            "nll": negative_log_likelihood(found, labels),
        }
        held = np.zeros((len(truth), 2))
        for _ in range(DRAWS):
            found, labels, shown = _drawn(random, people, each)
            for way, who in enumerate((None, shown)):
                ends = confidence_intervals(found, labels, who, resamples=RESAMPLES)
                held[:, way] += [
                    ends[name][0] <= value <= ends[name][1] for name, value in truth.items()
                ]
        told = ", ".join(
            f"{name} {apart:.0%} and {together:.0%}"
            for name, (apart, together) in zip(truth, held / DRAWS, strict=True)
        )
        images = each if isinstance(each, int) else f"{min(each)} to {max(each)}"
        print(f"{people} people of {images} images, by images and by people: {told}", flush=True)


if __name__ == "__main__":
    main()
