"""Tests of the speed figures: that they are figures, and of what; never how fast."""

from pathlib import Path

import pytest

from mien.bench import _seconds_to, bench_recognition, bench_training, race
from mien.data.dataset import Dataset
from mien.history import read_history


def test_recognition_has_three_figures_a_model() -> None:
    figures = bench_recognition()
    assert {figure.unit for figure in figures} == {"ms", "faces/s"}
    assert len(figures) % 3 == 0
    assert all(figure.value > 0 for figure in figures)


def test_training_is_compared_with_the_forerunners_loop() -> None:
    before, ours = bench_training(("fast",))
    assert (before.ratio, before.unit) == (None, "images/s")
    assert ours.ratio == pytest.approx(ours.value / before.value)


def test_a_race_goes_by_turns_and_its_seconds_are_those_of_the_runs(
    drawn_dataset: Dataset, tmp_path: Path
) -> None:
    told: list[int] = []
    settings = ("network=mini", "epochs=2", "size=24", "batch_size=32")
    found = race(
        drawn_dataset,
        tmp_path,
        theirs="first",
        ours="fast",
        settings=settings,
        device="cpu",
        on_epoch=lambda entry: told.append(entry["epoch"]),
    )
    assert told == [1, 1, 2, 2]
    assert found.epochs == {"first": 2, "fast": 2}
    history = read_history(tmp_path / "first")
    assert found.goal == max(entry["valid_accuracy"] for entry in history)
    assert found.their_seconds == _seconds_to(history, found.goal)


@pytest.mark.parametrize(("goal", "expected"), [(0.5, 3.0), (0.7, 7.0), (0.9, None)])
def test_seconds_to_a_goal(goal: float, expected: float | None) -> None:
    history = [
        {"seconds": 3.0, "valid_accuracy": 0.5},
        {"seconds": 4.0, "valid_accuracy": 0.8},
        {"seconds": 5.0, "valid_accuracy": 0.7},
    ]
    assert _seconds_to(history, goal) == expected
