"""Tests of the speed figures: that they are figures, and of what; never how fast."""

import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
import torch
from torch import nn

from mien.bench import (
    Machine,
    Work,
    bench_recognition,
    bench_training,
    count_work,
    measure_machine,
    race,
)
from mien.bench.race import _finish
from mien.bench.speed import _in_turns
from mien.data.dataset import Dataset
from mien.errors import UsageError
from mien.model import shipped_models
from mien.training.history import read_history

T = TypeVar("T")

MACHINE = Machine(
    processor="a made one",
    threads=2,
    operations={(p, n): 1e11 * n for p in ("float32", "bfloat16") for n in (1, 2)},
    bytes=1e10,
)


def test_recognition_is_held_against_peers_batches_and_the_machine(
    tmp_path: Path, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = {"tiny": tiny_onnx, "nano": shipped_models()["nano"]}
    monkeypatch.setattr("mien.bench.speed.shipped_models", lambda: models)
    peer = tmp_path / "peer.py"
    peer.write_text(
        "import json, sys\n"
        "for path in sys.stdin:\n"
        "    face = {'box': [0, 0, 48, 48], 'probabilities': {'happy': 1.0}}\n"
        "    print(json.dumps({'source': path.strip(), 'faces': [face], 'ms': 2.0}))\n"
    )
    figures = {
        (figure.name, figure.against): figure
        for figure in bench_recognition(MACHINE, {"slow": f"{sys.executable} {peer}"}, turns=1)
    }
    assert figures["slow, one face on one thread", None].value == pytest.approx(2.0)
    for model in models:
        ours = figures[f"{model}, one face on one thread", "slow"]
        assert ours.ratio == pytest.approx(2.0 / ours.value)
        one = figures[f"{model}, one face at a time", None]
        many = figures[f"{model}, in batches of 256", one.name]
        assert many.ratio == pytest.approx(many.value / one.value)
        # What 8 bits could do at best is not measured.
        assert (ours.limit is None) == (model == "nano")


def test_training_is_compared_with_the_forerunners_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.bench.speed._STEPS", 1)
    monkeypatch.setattr("mien.bench.speed._FORERUNNER_BATCH", 16)
    small = "batch_size=16"
    before, ours, half = bench_training(
        MACHINE, {"fast": (small,), "fast, bfloat16": (small, "precision=bfloat16")}, turns=1
    )
    assert (before.ratio, before.unit) == (None, "images/s")
    for figure in (ours, half):
        assert figure.against == "the forerunner's loop"
        assert figure.ratio == pytest.approx(figure.value / before.value)
        assert figure.limit is not None
        assert figure.share_of_limit == pytest.approx(figure.value / figure.limit)


def test_work_of_layers_is_counted_as_by_hand() -> None:
    layers = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten())
    images = torch.zeros(2, 1, 8, 8)
    with torch.no_grad():
        fused = count_work(lambda: layers(images), 2, fused=True)
        apart = count_work(lambda: layers(images), 2)
    assert fused.operations == 2 * 4 * 9 * 64
    # 40 weights once for both images, one map in and four out, of four bytes a value.
    assert fused.bytes == 4 * (40 / 2 + 64 + 4 * 64)
    # The rectifier reads four maps and writes them; flattening is a view.
    assert apart.bytes == fused.bytes + 4 * 2 * 4 * 64


@pytest.mark.parametrize(
    ("work", "seconds", "bound"),
    [
        pytest.param(Work(1e11, 1e9), 1.0, "operations", id="a product"),
        pytest.param(Work(1e9, 1e10), 1.0, "bytes", id="a copy"),
    ],
)
def test_work_takes_as_long_as_its_slower_half(work: Work, seconds: float, bound: str) -> None:
    limit = MACHINE.limit(work, "float32", 1)
    assert limit.seconds == pytest.approx(seconds)
    assert limit.bound == bound


def test_the_first_time_does_not_count() -> None:
    seconds = {"a": iter([99.0, 3.0, 1.0, 2.0]), "b": iter([0.0, 5.0, 5.0, 7.0])}
    timed = {name: partial(next, values) for name, values in seconds.items()}
    told: list[object] = []

    def progress(items: Iterable[T], *, total: int, doing: str) -> Iterator[T]:
        told.extend((total, doing))
        yield from items

    assert _in_turns(timed, 3, progress, doing="timing") == {"a": 2.0, "b": 5.0}
    assert told == [8, "timing"]


def test_a_machine_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"_SIDE": 256, "_IMAGES": (2, 32, 24, 24), "_FILTERS": (32, 32, 3, 3), "_COPIED": 4096}
    for name, size in small.items():
        monkeypatch.setattr(f"mien.bench.machine.{name}", size)
    told: list[str] = []

    def progress(items: Iterable[T], *, total: int, doing: str) -> Iterator[T]:
        told.append(doing)
        yield from items

    machine = measure_machine(progress=progress)
    assert told == ["measuring the machine"]
    assert machine.processor
    assert machine.bytes > 0
    assert set(machine.operations) >= {("float32", 1), ("bfloat16", machine.threads)}
    assert all(rate > 0 for rate in machine.operations.values())


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
    best = max(history, key=lambda entry: entry["valid_accuracy"])
    assert found.accuracy.goal == best["valid_accuracy"]
    assert found.loss.goal == min(entry["valid_loss"] for entry in history)
    until = sum(entry["seconds"] for entry in history[: best["epoch"]])
    assert found.accuracy.their_seconds == pytest.approx(until)


@pytest.mark.parametrize(
    ("goal", "expected"), [(0.5, (3.0, 6.0)), (0.7, (7.0, 6.0)), (0.95, (12.0, None))]
)
def test_each_is_timed_to_the_first_epoch_that_is_there(
    goal: float, expected: tuple[float, float | None]
) -> None:
    theirs = [
        {"seconds": seconds, "valid_accuracy": min(accuracy, goal)}
        for seconds, accuracy in ((3.0, 0.5), (4.0, 0.8), (5.0, 0.99))
    ]
    ours = [{"seconds": 6.0, "valid_accuracy": 0.9}]
    found = _finish(theirs, ours, lambda entry: float(entry["valid_accuracy"]))
    assert (found.their_seconds, found.our_seconds) == expected
    slower = None if expected[1] is None else expected[0] / expected[1]
    assert found.to_json()["ratio"] == slower


def test_a_race_takes_a_file_and_leaves_its_folder_alone(
    drawn_dataset: Dataset, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipes" / "mine.toml"
    recipe.parent.mkdir()
    recipe.write_text('network = "mini"\n')
    settings = ("network=mini", "epochs=1", "size=24", "batch_size=32")
    found = race(
        drawn_dataset,
        tmp_path / "runs",
        theirs="fast",
        ours=str(recipe),
        settings=settings,
        device="cpu",
    )
    assert (found.theirs, found.ours) == ("fast", "mine")
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"fast", "mine"}
    assert list(recipe.parent.iterdir()) == [recipe]


def test_a_race_of_a_recipe_with_itself_is_refused(drawn_dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two recipes with different names"):
        race(drawn_dataset, tmp_path, theirs="fast", ours="fast")
