"""What the people in the images do to figures: images of one person are not independent."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Who",
    "chosen_by",
    "images_of_people",
    "number_people",
    "several_of_some",
    "sign_flips",
    "steady_resamples",
    "sums_over_people",
    "who_is_shown",
    "widened",
]

People = NDArray[np.int64]
Who = Literal["person", "video"]
"""What images of one are not independent: of a video in which nobody is named, too."""


def number_people(names: Sequence[str | None]) -> People:
    """Number who is shown, int (n,), from 0; whoever is not named is someone else every time."""
    numbers: dict[str | int, int] = {}
    keys = (place if name is None else name for place, name in enumerate(names))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def who_is_shown(subjects: Sequence[str], nameless: int) -> str | int | None:
    """Return whom all images show if they show one person, else how many are named; None: nobody.

    Args:
        subjects: whoever is named, each once.
        nameless: how many images name nobody.
    """
    return subjects[0] if len(subjects) == 1 and not nameless else len(subjects) or None


def images_of_people(images: int, who: str | int | None, nameless: int) -> str:
    """Say in words how many images there are, and of whom.

    Args:
        images: how many there are.
        who: as `who_is_shown` tells.
        nameless: how many of the images name nobody.
    """
    told = f"{images:,} image{'' if images == 1 else 's'}"
    if who is None:
        return told
    if nameless:
        told += f", {images - nameless:,} of them"
    if isinstance(who, int):
        who = f"{who:,} {'person' if who == 1 else 'people'}"
    return f"{told} of {who}"


def several_of_some(people: People) -> bool:
    """Tell whether there are two people or more, and several images of one of them."""
    return 1 < len(np.unique(people)) < len(people)


def chosen_by(people: People, who: Who = "person") -> str:
    """Say by whose choice figures may move: ``people``, ``images``, ``images of one person``.

    The last say nothing of how others would fare.

    Args:
        people: (n,), who is shown.
        who: whether persons are told apart, or only videos.
    """
    if several_of_some(people):
        return {"person": "people", "video": "videos"}[who]
    return f"images of one {who}" if len(people) > 1 and people.max() == 0 else "images"


def steady_resamples(count: int) -> int:
    """Return how often to draw so many images or people for ends that hardly depend on the seed.

    Of 1,000 draws the ends of an interval move by a fiftieth of its width, of 10,000 by a third of
    that; the more images there are, the less that is, and the longer it takes.
    """
    return min(10_000, max(1_000, 30_000_000 // count))


def sums_over_people(
    values: NDArray[np.floating[Any]],
    people: People,
    *,
    resamples: int | None = None,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Sum values of images over all images of people who are drawn with replacement.

    One fewer is drawn than there are, without which few people would seem to differ less than they
    do (Rao and Wu 1988, Resampling inference with complex survey data, JASA 83).

    Args:
        values: (n, c), of each image.
        people: (n,), who is shown, from 0; two or more.
        resamples: how often to draw, R; None: `steady_resamples`.
        seed: of the draws.

    Returns:
        (R, c).
    """
    count = int(people.max()) + 1
    of_each = np.stack([np.bincount(people, column, count) for column in values.T], axis=1)
    random = np.random.default_rng(seed)
    times = resamples or steady_resamples(count)
    drawn = (random.integers(0, count, count - 1) for _ in range(times))
    return np.stack([np.bincount(some, minlength=count) @ of_each for some in drawn])


def widened(
    ends: tuple[float, float], drawn: NDArray[np.float64], people: People
) -> tuple[float, float]:
    """Return an interval that is wide enough for 95 % of what people drawn by chance come to, too.

    A normal distribution is too narrow for the means of few people, and so are percentiles; these
    lie as far out as Student's does (expanded percentiles: Hesterberg 2015, What teachers should
    know about the bootstrap, The American Statistician 69). Where some have many more images than
    others, these decide, so people count as if they were as many as of equal shares would be (Kish
    1965, Survey sampling: the square of the sum over the sum of the squares).

    Args:
        ends: of the interval as it is where images are independent.
        drawn: (R,), the figure, computed of `sums_over_people`.
        people: (n,), who is shown, from 0; two or more.
    """
    images = np.bincount(people).astype(np.float64)
    alike = float(images.sum() ** 2 / np.square(images).sum())
    below = NormalDist().cdf(_student(0.025, max(1.0, alike - 1)))
    low, high = np.percentile(drawn, (100 * below, 100 * (1 - below)))
    return min(ends[0], float(low)), max(ends[1], float(high))


def _student(below: float, freedom: float) -> float:
    """Return the quantile of Student's distribution (Abramowitz and Stegun 1964, 26.7.5)."""
    z = NormalDist().inv_cdf(below)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, start=1))


def sign_flips(differences: NDArray[np.int64], people: People) -> float:
    """Return the two-sided p of paired differences, if each person's sum could have either sign.

    It is exact: the share of all ways to give the sums a sign that lead at least as far from 0.
    Where everyone is shown once, it is the exact test of McNemar (1947).

    Args:
        differences: (n,), -1, 0 or 1.
        people: (n,), who is shown, from 0.
    """
    sums = np.bincount(people, differences).astype(np.int64)
    steps, times = np.unique(np.abs(sums[sums != 0]), return_counts=True)
    # Of each way to give signs, the sum of all that are positive.
    chances = np.ones(1)
    for step, often in zip(steps.tolist(), times.tolist(), strict=True):
        positive = np.zeros(step * often + 1)
        positive[::step] = _halves(often)
        chances = np.convolve(chances, positive)
    distances = np.abs(2 * np.arange(len(chances)) - (len(chances) - 1))
    return min(1.0, float(chances[distances >= abs(int(sums.sum()))].sum()))


def _halves(count: int) -> NDArray[np.float64]:
    """Return the chances of 0 to ``count`` heads of so many coins, float (count + 1,)."""
    logarithms = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])
    heads: NDArray[np.float64] = np.exp(
        logarithms[-1] - logarithms - logarithms[::-1] - count * np.log(2)
    )
    return heads
