"""Tests of the figures: by hand, and against scikit-learn."""

import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from mien.errors import DatasetError
from mien.labels import EMOTIONS
from mien.metrics import (
    SMALLEST_PROBABILITY,
    accuracy,
    confidence_intervals,
    confusion_matrix,
    evaluate_probabilities,
    macro_recall,
    macro_recall_of_right,
    negative_log_likelihood,
    recall_per_class,
    reliability,
    risk_over_coverage,
)


def _random(
    n: int, k: int, seed: int, classes: list[int] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    draw = np.random.default_rng(seed)
    labels = draw.choice(classes or list(range(k)), n).astype(np.int64)
    scores = draw.normal(size=(n, k))
    scores[np.arange(n), labels] += draw.normal(1.0, size=n)
    shares = np.exp(scores)
    return shares / shares.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize(
    ("n", "k", "classes"),
    [
        pytest.param(1, 8, None, id="one-image"),
        pytest.param(50, 2, None, id="two-classes"),
        pytest.param(500, 7, None, id="fer2013"),
        pytest.param(2000, 8, None, id="eight"),
        pytest.param(300, 8, [0, 3, 6], id="classes-without-images"),
        pytest.param(40, 8, [5], id="one-class-only"),
    ],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_agrees_with_scikit_learn(n: int, k: int, classes: list[int] | None, seed: int) -> None:
    probabilities, labels = _random(n, k, seed, classes)
    found = evaluate_probabilities(probabilities, labels, EMOTIONS[:k])
    answers, every = probabilities.argmax(axis=1), list(range(k))
    present = sorted(set(labels.tolist()))
    assert found.accuracy == pytest.approx(reference.accuracy_score(labels, answers), abs=1e-6)
    assert found.macro_recall == pytest.approx(
        reference.recall_score(labels, answers, labels=present, average="macro"), abs=1e-6
    )
    assert found.nll == pytest.approx(
        reference.log_loss(labels, probabilities, labels=every), abs=1e-6
    )
    np.testing.assert_array_equal(
        found.confusion, reference.confusion_matrix(labels, answers, labels=every)
    )
    recalls = reference.recall_score(labels, answers, labels=present, average=None)
    for number, recall in zip(present, recalls, strict=True):
        assert found.recall[EMOTIONS[number]] == pytest.approx(recall, abs=1e-6)
    options = {"labels": present, "average": None, "zero_division": np.nan}
    precisions = reference.precision_score(labels, answers, **options)
    for number, precision in zip(present, precisions, strict=True):
        ours = found.precision[EMOTIONS[number]]
        assert (ours is None) == np.isnan(precision)
        assert ours is None or ours == pytest.approx(precision, abs=1e-6)
    f1 = reference.f1_score(labels, answers, labels=present, average=None, zero_division=0.0)
    for number, expected in zip(present, f1, strict=True):
        assert found.f1[EMOTIONS[number]] == pytest.approx(expected, abs=1e-6)
    assert found.macro_f1 == pytest.approx(np.mean(f1), abs=1e-6)
    expected = reference.brier_score_loss(labels, probabilities, labels=every, scale_by_half=False)
    assert found.brier == pytest.approx(expected, abs=1e-6)
    absent = set(every) - set(present)
    assert all(found.recall[EMOTIONS[number]] is None for number in absent)
    assert (found.count, sum(found.support.values())) == (n, n)


@pytest.mark.parametrize("bins", [5, 15])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_calibration_error_agrees_with_scikit_learn(bins: int, seed: int) -> None:
    probabilities, labels = _random(3000, 8, seed)
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    shares, means = calibration_curve(right, sure, n_bins=bins)
    counts, _ = np.histogram(sure, bins=bins, range=(0, 1))
    expected = np.average(np.abs(shares - means), weights=counts[counts > 0])
    found = reliability(probabilities, labels, bins=bins)
    assert found.error == pytest.approx(float(expected), abs=1e-6)
    assert found.counts.sum() == 3000


def test_calibration_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]])
    found = reliability(probabilities, np.array([0, 1, 1, 1]), bins=2)
    assert found.counts.tolist() == [0, 4]
    assert found.error == pytest.approx(abs(0.75 - (0.9 + 0.8 + 0.7 + 0.6) / 4))


def test_risk_over_coverage_by_hand() -> None:
    probabilities = np.array([[0.6, 0.4], [0.1, 0.9], [0.8, 0.2]])
    risk = risk_over_coverage(probabilities, np.array([0, 1, 1]))
    np.testing.assert_allclose(risk, [0, 1 / 2, 1 / 3])


def test_intervals_are_those_of_the_binomial_for_an_accuracy() -> None:
    probabilities, labels = _random(2000, 8, 5)
    found = confidence_intervals(probabilities, labels, resamples=2000)
    share = accuracy(probabilities, labels)
    half = 1.96 * math.sqrt(share * (1 - share) / 2000)
    assert found["accuracy"] == pytest.approx((share - half, share + half), abs=0.004)
    for name, value in (
        ("macro_recall", macro_recall(confusion_matrix(probabilities, labels))),
        ("nll", negative_log_likelihood(probabilities, labels)),
    ):
        assert found[name][0] < value < found[name][1]
    again = confidence_intervals(probabilities, labels, resamples=2000)
    assert again == found


def test_all_right_is_not_known_to_be_always_right() -> None:
    """Wilson's interval of 24 right answers of 24 begins at 86.2 %."""
    labels = np.arange(24) % 4
    found = confidence_intervals(np.eye(4)[labels], labels)
    assert found["accuracy"] == pytest.approx((0.862, 1.0), abs=0.001)
    assert found["macro_recall"] == pytest.approx((0.87, 1.0), abs=0.01)
    wrong = confidence_intervals(np.eye(4)[(labels + 1) % 4], labels)
    assert wrong["accuracy"] == pytest.approx((0.0, 0.138), abs=0.001)


@pytest.mark.parametrize(
    ("images", "recalls"),
    [
        ((30,) * 2, (0.98,) * 2),
        ((6,) * 7, (0.95,) * 7),
        ((30,) * 7, (0.98,) * 7),
        ((5,) * 8, (0.9,) * 8),
        ((1000,) * 7 + (2,), (0.97,) * 7 + (0.5,)),
    ],
)
def test_recalls_of_many_classes_and_of_rare_ones_are_held(
    images: tuple[int, ...], recalls: tuple[float, ...]
) -> None:
    """As strong priors for each as one alone hold high ones in 66 %, as weak ones rare in 65 %."""
    classes, truth = len(images), np.array(recalls)
    labels = np.repeat(np.arange(classes), images)
    random = np.random.default_rng(1)
    held = 0
    for _ in range(150):
        right = random.random(len(labels)) < truth[labels]
        answers = np.where(right, labels, (labels + 1) % classes)
        low, high = confidence_intervals(np.eye(classes)[answers], labels, resamples=1)[
            "macro_recall"
        ]
        held += low <= truth.mean() <= high
    assert held >= 0.88 * 150


def test_one_image_of_a_class_says_little_of_its_recall() -> None:
    """99 of one class right and the one of another wrong: the other half is hardly known."""
    labels = np.array(99 * [0] + [1])
    low, high = confidence_intervals(np.tile([0.9, 0.1], (100, 1)), labels)["macro_recall"]
    assert low == pytest.approx(0.5, abs=0.01)
    assert 0.8 < high < 0.95


def test_the_figure_lies_within_its_interval() -> None:
    labels = np.arange(40) % 8
    probabilities = np.where(np.eye(8)[labels] == 1, 0.86, 0.02)
    found = confidence_intervals(probabilities, labels)
    for name, figure in (("accuracy", 1.0), ("macro_recall", 1.0), ("nll", -math.log(0.86))):
        low, high = found[name]
        assert low <= figure + 1e-12 and high >= figure - 1e-12, name


def test_an_emotion_without_images_has_no_part_in_the_interval() -> None:
    labels = np.arange(60) % 3
    eight = np.eye(8)[labels]
    assert confidence_intervals(eight, labels) == confidence_intervals(eight[:, :3], labels)


def test_float32_probabilities_agree_with_float64() -> None:
    probabilities, labels = _random(400, 8, 9)
    single = evaluate_probabilities(probabilities.astype(np.float32), labels, EMOTIONS)
    double = evaluate_probabilities(probabilities, labels, EMOTIONS)
    assert single.nll == pytest.approx(double.nll, abs=1e-6)
    assert single.accuracy == double.accuracy


ONE_HOT = np.eye(3)
THREE = np.arange(3, dtype=np.int64)


@pytest.mark.parametrize(
    ("probabilities", "labels", "right", "loss"),
    [
        pytest.param(ONE_HOT, THREE, 1.0, 0.0, id="all-right-and-sure"),
        pytest.param(
            ONE_HOT, (THREE + 1) % 3, 0.0, -math.log(SMALLEST_PROBABILITY), id="sure-and-wrong"
        ),
        pytest.param(np.full((3, 3), 1 / 3), THREE, 1 / 3, math.log(3), id="blind-guess"),
        pytest.param(ONE_HOT[[0, 0, 2]], THREE, 2 / 3, -math.log(1e-7) / 3, id="one-wrong"),
    ],
)
def test_by_hand(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], right: float, loss: float
) -> None:
    assert accuracy(probabilities, labels) == pytest.approx(right)
    assert negative_log_likelihood(probabilities, labels) == pytest.approx(loss, abs=1e-9)


def test_confusion_has_labels_in_rows() -> None:
    labels = np.array([0, 0, 1], dtype=np.int64)
    confusion = confusion_matrix(ONE_HOT[[0, 2, 1]], labels)
    assert confusion.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    np.testing.assert_array_equal(recall_per_class(confusion), [0.5, 1.0, np.nan])
    assert macro_recall(confusion) == 0.75
    assert macro_recall_of_right(np.array([True, False, True]), labels) == 0.75


def test_json_is_plain_and_complete() -> None:
    probabilities, labels = _random(60, 8, 4, [0, 1, 2])
    found = evaluate_probabilities(probabilities, labels, EMOTIONS)
    written = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert written["n"] == 60
    assert written["labels"] == list(EMOTIONS)
    assert written["recall"]["contempt"] is None
    assert written["support"]["contempt"] == 0
    assert np.array(written["confusion"]).sum() == 60
    assert {"accuracy", "macro_recall", "nll"} < written.keys()


def test_no_image_is_an_error() -> None:
    with pytest.raises(DatasetError, match="the split is empty"):
        evaluate_probabilities(np.empty((0, 8)), np.empty(0, dtype=np.int64), EMOTIONS)
