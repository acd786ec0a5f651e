"""Tests of emotion-based training: what counts more, how often it is shown, what it is for."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from mien.config import TrainConfig
from mien.data.dataset import Dataset
from mien.emphasis import Emphasis
from mien.train import train

NAMES = ("neutral", "happiness", "fear")
LABELS = torch.tensor([0] * 700 + [1] * 280 + [2] * 20)
SUPPORT = {"neutral": 200, "happiness": 100, "fear": 12}


def _emphasis(emotion_limit: float = 8.0) -> Emphasis:
    config = TrainConfig(emotion_based=True, epochs=10, emotion_limit=emotion_limit)
    return Emphasis(config, LABELS, NAMES)


def _judge(emphasis: Emphasis, epoch: int, fear: float | None) -> None:
    loss = {"neutral": 0.4, "happiness": 0.3, "fear": None if fear is None else 2.0 * (1 - fear)}
    emphasis.after_epoch(
        epoch,
        recall={"neutral": 0.9, "happiness": 0.95, "fear": fear},
        loss=loss,
        support=SUPPORT,
    )


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
    _judge(emphasis, 1, None)
    assert emphasis.factors[2] == 1


def test_emotions_that_do_equally_well_count_alike() -> None:
    emphasis = _emphasis()
    alike = dict.fromkeys(NAMES, 0.5)
    emphasis.after_epoch(1, recall=alike, loss=alike, support=SUPPORT)
    assert emphasis.factors.tolist() == [1, 1, 1]


def test_a_run_records_every_emotions_way(drawn_dataset: Dataset, tmp_path: Path) -> None:
    config = TrainConfig(
        network="mini", epochs=4, batch_size=32, emotion_based=True, emotion_balanced=0.25, ema=0.9
    )
    history = train(drawn_dataset, config, tmp_path / "run", device="cpu").history
    assert set(history[0]["emphasis"].values()) == {1.0}
    assert max(history[2]["emphasis"].values()) > 1.2
    assert (tmp_path / "run" / "emotions.png").stat().st_size > 10_000
