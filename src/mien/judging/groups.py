"""Figures of groups of images, by a column of the manifest, and of whole videos."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.metrics import accuracy_interval, confidence_intervals, evaluate_probabilities
from mien.people import People, number_people

__all__ = ["Groups", "figures_of_videos", "groups_by"]

_FEW = 12
"""Numbers with more different values than this are put into quarters."""
_NONE = "(no value)"
Groups = dict[str, dict[str, Any]]
"""Figures by the name of a group: n, accuracy and its 95 % interval, macro_recall and nll."""


def groups_by(
    values: Sequence[Any],
    found: NDArray[np.float32],
    truth: NDArray[np.int64],
    labels: tuple[str, ...],
    people: People,
) -> Groups:
    """Figures of images by a value that each has: numbers rising, else the largest group first.

    What has no value comes last.

    Args:
        values: n, of a column of the manifest.
        found: (n, k), the probability of each emotion, rows summing to 1.
        truth: int (n,), the index of each image's emotion.
        labels: the k emotions.
        people: int (n,), who is shown.
    """
    named = _named(values)
    counts = Counter(named)
    one_of = dict(zip(named, values, strict=True))
    names = np.array(named)
    groups: Groups = {}
    for name in sorted(
        counts, key=lambda name: (name == _NONE, *_place(one_of[name], counts[name]))
    ):
        of = names == name
        figures = evaluate_probabilities(found[of], truth[of], labels)
        right = found[of].argmax(axis=1) == truth[of]
        groups[name] = {
            "n": figures.count,
            "accuracy": figures.accuracy,
            "accuracy_interval": accuracy_interval(right, people[of]),
            "macro_recall": figures.macro_recall,
            "nll": figures.nll,
        }
    return groups


def figures_of_videos(
    found: NDArray[np.float32],
    truth: NDArray[np.int64],
    labels: tuple[str, ...],
    videos: Sequence[str | None],
    subjects: Sequence[str | None],
) -> dict[str, Any] | None:
    """Figures where each video has one answer: the mean of its pictures' probabilities.

    Its label is the one that most of its pictures have; some may have been corrected.

    Args:
        found: (n, k), the probability of each emotion, rows summing to 1.
        truth: int (n,), the index of each image's emotion.
        labels: the k emotions.
        videos: n, the video of each image; None where it is of none, and left out here.
        subjects: n, who is shown.

    Returns:
        n, accuracy, macro_recall, nll, and their 95 % ``intervals``; None without videos.
    """
    rows_of: dict[str, list[int]] = {}
    for row, video in enumerate(videos):
        if video is not None:
            rows_of.setdefault(video, []).append(row)
    if not rows_of:
        return None
    mean = np.stack([found[rows].mean(axis=0) for rows in rows_of.values()])
    of_video = np.array([np.bincount(truth[rows]).argmax() for rows in rows_of.values()])
    people = number_people([subjects[rows[0]] for rows in rows_of.values()])
    figures = evaluate_probabilities(mean, of_video, labels)
    intervals = confidence_intervals(mean, of_video, people)
    return {
        "n": figures.count,
        "accuracy": figures.accuracy,
        "macro_recall": figures.macro_recall,
        "nll": figures.nll,
        "intervals": {name: list(ends) for name, ends in intervals.items()},
    }


def _place(value: Any, count: int) -> tuple[float, float]:
    """Where a group with such a value, and so many images, comes among others."""
    return (value, 0.0) if _is_number(value) else (math.inf, -count)


def _named(values: Sequence[Any]) -> list[str]:
    """A name for each value; many different numbers become their quarters."""
    known = sorted({value for value in values if _is_number(value)})
    if len(known) <= _FEW:
        return [
            _NONE if value is None else f"{value:.17g}" if _is_whole(value) else str(value)
            for value in values
        ]
    ends = np.quantile([value for value in values if _is_number(value)], [0, 0.25, 0.5, 0.75, 1])
    # Numbers of frames or times of one day agree in their first digits.
    digits = next(n for n in range(4, 18) if len({f"{end:.{n}g}" for end in ends}) == len({*ends}))
    names = [f"{low:.{digits}g} to {high:.{digits}g}" for low, high in pairwise(ends)]
    return [
        names[int(np.searchsorted(ends[1:-1], value))] if _is_number(value) else _NONE
        for value in values
    ]


def _is_whole(value: Any) -> bool:
    return _is_number(value) and float(value).is_integer()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
