"""Figures where several images show one person."""

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from mien.metrics import confidence_intervals
from mien.people import (
    number_people,
    several_of_some,
    sign_flips,
    sums_over_people,
    widened,
)

NAMES = ("accuracy", "macro_recall", "nll")


def test_who_is_not_named_is_someone_else_every_time() -> None:
    assert number_people(["a", None, "b", None, "a"]).tolist() == [0, 1, 2, 3, 0]
    assert number_people([]).tolist() == []


@pytest.mark.parametrize(
    ("people", "several"), [([0, 1, 2], False), ([0, 0, 0], False), ([0, 1, 0], True)]
)
def test_one_image_of_each_and_one_person_alone_leave_intervals_as_they_are(
    people: list[int], several: bool
) -> None:
    assert several_of_some(np.array(people)) == several
    labels = np.array([0, 1, 0])
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2]])
    alike = confidence_intervals(probabilities, labels, np.array(people)) == confidence_intervals(
        probabilities, labels
    )
    assert alike != several


def test_people_drawn_spread_as_far_as_the_mean_of_people_does() -> None:
    values = np.array([0.0, 1, 5, 2])
    sums = sums_over_people(
        np.stack([np.repeat(values, 3), np.ones(12)], axis=1),
        np.repeat(np.arange(4), 3),
        resamples=20_000,
    )
    assert (sums[:, 1] == 9).all()
    means = sums[:, 0] / sums[:, 1]
    assert means.mean() == pytest.approx(values.mean(), abs=0.03)
    assert means.var() == pytest.approx(values.var(ddof=1) / 4, rel=0.03)


def test_the_same_image_again_and_again_says_no_more_of_a_model() -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, 3, 60)
    probabilities = random.dirichlet(np.ones(3), 60) * 0.8 + 0.2 * np.eye(3)[labels]
    once = confidence_intervals(probabilities, labels)
    many = np.repeat(probabilities, 9, axis=0), np.repeat(labels, 9)
    apart = confidence_intervals(*many)
    together = confidence_intervals(*many, np.repeat(np.arange(60), 9))
    for name in NAMES:
        width, narrow, wide = (
            high - low for low, high in (x[name] for x in (once, apart, together))
        )
        assert narrow == pytest.approx(width / 3, rel=0.2), name
        assert wide == pytest.approx(width, rel=0.25), name


@pytest.mark.parametrize(("people", "quantile"), [(5, 2.7764), (10, 2.2622), (120, 1.9801)])
def test_ends_lie_as_far_out_as_those_of_student(people: int, quantile: float) -> None:
    drawn = np.random.default_rng(0).normal(size=400_000)
    low, high = widened((0.0, 0.0), drawn, np.arange(people))
    assert (-low, high) == pytest.approx((quantile, quantile), rel=0.01)
    assert widened((-9.0, 9.0), drawn, np.arange(people)) == (-9.0, 9.0)


def test_all_right_has_a_width_by_people_too() -> None:
    labels = np.arange(24) % 4
    low, high = confidence_intervals(np.eye(4)[labels], labels, np.arange(24) // 4)["accuracy"]
    assert low == pytest.approx(0.862, abs=0.001)
    assert high == 1.0


def test_an_emotion_that_people_who_were_drawn_do_not_show_does_not_count() -> None:
    """One of three people alone shows the second emotion; whoever is drawn, all is right."""
    labels = np.array([0, 0, 0, 0, 1, 1])
    found = confidence_intervals(np.eye(2)[labels], labels, np.array([0, 0, 1, 1, 2, 2]))
    assert found["macro_recall"] == confidence_intervals(np.eye(2)[labels], labels)["macro_recall"]


@pytest.mark.parametrize(
    ("better", "worse", "equal"),
    [
        (0, 0, 3),
        (1, 0, 0),
        (7, 3, 20),
        (60, 45, 200),
        (380, 320, 2453),
        (900, 100, 0),
        (2000, 1000, 9),
    ],
)
def test_one_image_of_each_makes_the_test_that_of_mcnemar(
    better: int, worse: int, equal: int
) -> None:
    """Down to the tiniest p, which is not what rounding leaves."""
    expected = binomtest(better, better + worse).pvalue if better + worse else 1.0
    differences = np.repeat([1, -1, 0], [better, worse, equal])
    p = sign_flips(differences, np.arange(len(differences)))
    assert p == pytest.approx(expected, rel=1e-6, abs=0)


@pytest.mark.parametrize("seed", range(4))
def test_p_is_the_share_of_signs_that_lead_as_far(seed: int) -> None:
    random = np.random.default_rng(seed)
    people, differences = random.integers(0, 8, 40), random.integers(-1, 2, 40)
    sums = [int(differences[people == person].sum()) for person in range(8)]
    flipped = [np.dot(sums, signs) for signs in itertools.product((-1, 1), repeat=8)]
    expected = np.mean(np.abs(flipped) >= abs(sum(sums)))
    assert sign_flips(differences, people) == pytest.approx(expected)


def test_many_people_take_no_time() -> None:
    random = np.random.default_rng(0)
    differences = random.integers(-1, 2, 300_000)
    people = random.integers(0, 100_000, 300_000)
    assert 0.0 < sign_flips(differences, people) <= 1.0


@pytest.mark.parametrize("count", [10, 60, 900])
def test_a_difference_that_all_people_share_has_the_least_p(count: int) -> None:
    p = sign_flips(np.ones(3 * count, dtype=np.int64), np.repeat(np.arange(count), 3))
    assert p == pytest.approx(2.0 ** (1 - count), rel=1e-6, abs=0)


def test_one_person_decides_nothing() -> None:
    assert sign_flips(np.ones(50, dtype=np.int64), np.zeros(50, dtype=np.int64)) == 1.0
    assert sign_flips(np.zeros(5, dtype=np.int64), np.arange(5)) == 1.0


def test_a_few_people_with_most_images_are_few_people() -> None:
    """However many others have one image each."""
    drawn = np.linspace(0, 1, 1001)
    people = np.arange(26)
    low, high = widened((0.5, 0.5), drawn, np.repeat(people, 2))
    lower, higher = widened((0.5, 0.5), drawn, np.repeat(people, [15] * 3 + [1] * 23))
    assert (low, high) == pytest.approx((0.0251, 0.9749), abs=0.006)
    assert lower < low / 2 and higher > (1 + high) / 2
    lowest, highest = widened((0.5, 0.5), drawn, np.repeat(people, [900] + [1] * 25))
    assert 0 <= lowest < 0.001 and 0.999 < highest <= 1
