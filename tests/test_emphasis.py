"""Tests of emotion-based training: what counts more, how often it is shown, what it is for."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mien.card import ModelCard
from mien.config import TrainConfig
from mien.data.dataset import Dataset
from mien.metrics import negative_log_likelihood
from mien.training.emphasis import Emphasis, undecided
from mien.training.runs import open_run
from mien.training.train import train

NAMES = ("neutral", "happiness", "fear")
LABELS = torch.tensor([0] * 700 + [1] * 280 + [2] * 20)


def _emphasis(emotion_limit: float = 8.0) -> Emphasis:
    config = TrainConfig(emotion_based=True, epochs=10, emotion_limit=emotion_limit)
    return Emphasis(config, LABELS, NAMES)


def _judge(
    emphasis: Emphasis, epoch: int, fear: float, number_of_fears: int = 12, neutral: float = 0.9
) -> None:
    """Tell of a validation where so many of neutral, happiness and fear were answered rightly."""
    logits, labels = [], []
    of_each = ((200, neutral), (100, 0.95), (number_of_fears, fear))
    for label, (number, recall) in enumerate(of_each):
        answers = torch.full((number,), label)
        answers[round(number * recall) :] = (label + 1) % 3
        logits.append(2.0 * functional.one_hot(answers, 3))
        labels += [label] * number
    emphasis.after_epoch(epoch, torch.cat(logits), np.array(labels))


def test_at_first_every_image_is_shown_once() -> None:
    torch.manual_seed(0)
    drawn = _emphasis().draw()
    assert sorted(drawn.tolist()) == list(range(len(LABELS)))
    torch.testing.assert_close(_emphasis().weights(), torch.ones(3))


def test_what_does_badly_counts_more_and_never_beyond_the_limit() -> None:
    emphasis = _emphasis(emotion_limit=4.0)
    before = 1.0
    for epoch in range(1, 7):
        _judge(emphasis, epoch, 0.1)
        neutral, happiness, fear = emphasis.factors.tolist()
        assert 1 <= happiness <= neutral < fear <= 4.0
        assert fear > before
        before = fear
    for epoch in range(7, 8):
        _judge(emphasis, epoch, 0.99)
    assert emphasis.factors[2] < before


def test_what_is_answered_with_less_confidence_counts_more() -> None:
    """Of emotions that are found equally often."""
    emphasis = _emphasis()
    labels = np.arange(90) % 3
    sure = torch.tensor([4.0, 1.0, 0.5])[labels]
    emphasis.after_epoch(1, sure[:, None] * functional.one_hot(torch.from_numpy(labels), 3), labels)
    neutral, happiness, fear = emphasis.factors.tolist()
    assert neutral < happiness < fear


def test_the_recall_of_few_images_is_doubted() -> None:
    """So that one image that was missed does not make its emotion the worst of all."""
    few, many = _emphasis(), _emphasis()
    _judge(few, 1, 0.0, number_of_fears=1, neutral=0.2)
    _judge(many, 1, 0.0, number_of_fears=200, neutral=0.2)
    assert few.factors[2] < 0.98 * many.factors[2]


def test_an_epochs_images_weigh_one_on_average() -> None:
    torch.manual_seed(0)
    emphasis = _emphasis()
    for epoch in range(1, 4):
        _judge(emphasis, epoch, 0.1)
    assert emphasis.weights()[LABELS[emphasis.draw()]].mean() == pytest.approx(1, rel=0.01)


def test_an_epoch_has_as_many_images_and_the_shares_that_are_due() -> None:
    torch.manual_seed(0)
    emphasis = _emphasis(emotion_limit=9.0)
    emphasis.load_state_dict({"neutral": 1.0, "happiness": 1.0, "fear": 9.0})
    shown = Counter(LABELS[emphasis.draw()].tolist())
    assert sum(shown.values()) == len(LABELS)
    assert shown[2] == pytest.approx(60 / 1040 * 1000, abs=2)
    assert shown[0] == pytest.approx(700 / 1040 * 1000, abs=2)
    times = Counter(emphasis.draw().tolist())
    assert max(times.values()) - min(times[i] for i in range(980, 1000)) <= 1
    weights = emphasis.weights()
    assert weights[2] / weights[0] == pytest.approx(3.0)


def test_the_last_epochs_go_half_way_and_again_to_balance_within_the_limit() -> None:
    emphasis = _emphasis(emotion_limit=8.0)
    balanced = [1000 / 3 / 700, 1000 / 3 / 280, 8.0]
    _judge(emphasis, 8, 0.5)
    assert emphasis.factors.tolist() == pytest.approx([value**0.5 for value in balanced])
    _judge(emphasis, 9, 0.5)
    assert emphasis.factors.tolist() == pytest.approx([value**0.75 for value in balanced])


def test_an_emotion_without_validation_images_keeps_its_place() -> None:
    emphasis = _emphasis()
    _judge(emphasis, 1, 0.5, number_of_fears=0)
    assert emphasis.factors[0] != 1
    assert emphasis.factors[2] == 1


def test_emotions_that_do_equally_well_count_alike() -> None:
    emphasis = _emphasis()
    emphasis.after_epoch(1, torch.eye(3), np.arange(3))
    assert emphasis.factors.tolist() == [1, 1, 1]


def _faces(tilt: Tensor, number: int = 40_000) -> tuple[Tensor, NDArray[np.int64]]:
    """Logits that tell each face's true distribution, tilted and at a temperature, and labels.

    In all faces together the emotions have the shares of LABELS.
    """
    seeds = torch.Generator().manual_seed(3)
    shares = torch.bincount(LABELS) / len(LABELS)
    labels = torch.multinomial(shares, number, replacement=True, generator=seeds)
    looks = torch.randn(number, 3, generator=seeds) + 1.5 * functional.one_hot(labels, 3)
    # The log-likelihood of such looks under an emotion is 1.5 times its look, but for a constant.
    true = 1.5 * looks + shares.log()
    return 0.7 * (true + tilt), labels.numpy()


def _gain(answers: Tensor, labels: NDArray[np.int64], worth: float) -> float:
    right = answers.argmax(dim=1).numpy() == labels
    recalls = [right[labels == emotion].mean() for emotion in range(3)]
    return float(np.mean(recalls) + worth * right.mean())


@pytest.mark.parametrize(
    ("worth", "left"), [(0.0, 0.0), (0.0, 1.0), (2.0, 0.5), (50.0, 0.0), (50.0, 1.0)]
)
def test_answers_are_decided_by_what_they_are_worth(worth: float, left: float) -> None:
    config = TrainConfig(emotion_based=True, emotion_worth=worth)
    margin = torch.tensor([0.0, 0.0, 0.4])
    emphasis = Emphasis(config, LABELS, NAMES, margin)
    emphasis.load_state_dict({"neutral": 1.0, "happiness": 2.0, "fear": 6.0})
    tilt = torch.tensor([1.0, 2.0, 6.0]).log() + margin
    logits, labels = _faces(left * tilt)
    temperature, offsets = emphasis.decide(logits.numpy(), labels)
    assert temperature == pytest.approx(0.7, rel=0.05)
    assert max(offsets) == 0
    shares = torch.bincount(LABELS) / len(LABELS)
    best = (worth + 1 / (3 * shares)).log() - left * tilt
    assert np.array(offsets) == pytest.approx((best - best.max()).numpy(), abs=0.3)
    decided = _gain(logits / temperature + torch.tensor(offsets), labels, worth)
    for emotion in range(3):
        for shift in (-0.7, 0.7):
            other = torch.tensor(offsets)
            other[emotion] += shift
            assert decided >= _gain(logits / temperature + other, labels, worth) - 1e-3


CARD = ModelCard(
    name="a",
    network="mini",
    labels=NAMES,
    size=48,
    channels=1,
    parameters=1,
    training={"images": {"neutral": 700, "happiness": 280, "fear": 20}},
)


def test_what_decides_answers_can_be_taken_out_of_them() -> None:
    """What is left tells the probabilities that the faces have."""
    tilt = torch.tensor([1.0, 2.0, 6.0]).log()
    emphasis = Emphasis(TrainConfig(emotion_based=True, emotion_worth=2.0), LABELS, NAMES)
    emphasis.load_state_dict({"neutral": 1.0, "happiness": 2.0, "fear": 6.0})
    logits, labels = _faces(tilt)
    temperature, offsets = emphasis.decide(logits.numpy(), labels)
    card = CARD.model_copy(update={"worth": 2.0, "offsets": offsets})
    _, left = undecided(card)
    told = (logits / temperature + torch.from_numpy(left)).softmax(dim=1)
    found = told.double().mean(dim=0)
    assert found.numpy() == pytest.approx(np.bincount(labels) / len(labels), rel=0.1)
    for changes, expected in (
        ({}, (1.5, [0, 0, 0])),
        ({"tilt": (0.5, 0, -1)}, (1.5, [-0.5, 0, 1])),  # as older versions wrote it
        ({"tilt": (0.5, 0, -1), "untilted_temperature": 0.8}, (0.8, [-0.5, 0, 1])),
    ):
        divisor, left = undecided(CARD.model_copy(update={"temperature": 1.5, **changes}))
        assert (divisor, left.tolist()) == expected


def test_an_emotion_that_nothing_was_learnt_of_is_not_worth_more() -> None:
    emphasis = Emphasis(TrainConfig(emotion_worth=0.0), LABELS, (*NAMES, "contempt"))
    assert emphasis.worth.tolist() == pytest.approx([1 / 2.1, 1 / 0.84, 1 / 0.06, 1.0])


@pytest.mark.usefixtures("drawn_curves")
def test_a_run_records_every_emotions_way(drawn_dataset: Dataset, tmp_path: Path) -> None:
    config = TrainConfig(
        network="mini", epochs=4, batch_size=32, emotion_based=True, emotion_balanced=0.25, ema=0.9
    )
    result = train(drawn_dataset, config, tmp_path / "run", device="cpu")
    history = result.history
    assert set(history[0]["emphasis"].values()) == {1.0}
    assert max(history[2]["emphasis"].values()) > 1.2
    run = open_run(tmp_path / "run")
    best = history[result.best_epoch - 1]
    assert list(run.card.offsets) == best["offsets"]
    assert run.card.worth == config.emotion_worth
    assert best["valid_loss"] == min(entry["valid_loss"] for entry in history)
    rows = drawn_dataset.usable("valid")
    labels = drawn_dataset.labels(rows, run.card.labels)
    found = run.probabilities(list(drawn_dataset.images(rows)))
    assert np.mean(found.argmax(axis=1) == labels) == pytest.approx(best["valid_accuracy"])
    own = np.array([best["valid_loss_of"][emotion] for emotion in run.card.labels])[labels]
    assert negative_log_likelihood(found, labels) == pytest.approx(own.mean(), rel=1e-4)
    assert (tmp_path / "run" / "emotions.png").stat().st_size > 10_000
