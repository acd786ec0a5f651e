"""The mean of runs' weights: what is taken, what is refused, what the folder is good for."""

import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from mien.card import METADATA_KEY, ModelCard
from mien.cli import app
from mien.config import TrainConfig
from mien.data.dataset import Dataset, replace_column
from mien.data.stream import write_stream
from mien.errors import DataError, ModelError, UsageError
from mien.judging.asking import ask_for_rows
from mien.judging.evaluate import evaluate
from mien.metrics import negative_log_likelihood
from mien.training.checkpoint import AVERAGE_NAME, BEST_NAME, read_weights, write_tensors
from mien.training.export import export_run
from mien.training.runs import open_run
from mien.training.soup import average_runs
from mien.training.summary import find_runs
from mien.training.train import train


@pytest.fixture(scope="module")
def known_dataset(drawn_dataset: Dataset) -> Dataset:
    """Drawn faces whose validation images are those to train on: what is learnt shows there."""
    learnt = drawn_dataset.manifest.take(drawn_dataset.usable("train"))
    known = replace_column(learnt, "split", ["valid"] * len(learnt))
    return replace(drawn_dataset, manifest=pa.concat_tables([learnt, known]))


@pytest.fixture(scope="module")
def learnt_run(tmp_path_factory: pytest.TempPathFactory, known_dataset: Dataset) -> Path:
    """A run that knows its validation images."""
    still = dict.fromkeys(("rotation", "shift", "scale", "erasing"), 0.0)
    settings = {"network": "mini", "epochs": 12, "batch_size": 16, "ema": 0.9}
    config = TrainConfig.model_validate(settings | still)
    run = tmp_path_factory.mktemp("runs") / "learnt"
    assert train(known_dataset, config, run, device="cpu").history[-1]["valid_loss"] < 1.0
    return run


def _changed(run: Path, out: Path, amount: float, seed: int) -> Path:
    """Copy a run, its weights moved by chance: by so much of their size."""
    tensors, card = read_weights(run / BEST_NAME)
    random = torch.Generator().manual_seed(seed)
    moved = {
        name: value + amount * value.std() * torch.randn(value.shape, generator=random)
        if value.ndim > 1
        else value
        # As they are read, their order is another one every time.
        for name, value in sorted(tensors.items())
    }
    return _written(out, moved, card)


def _written(out: Path, tensors: dict[str, Tensor], card: ModelCard) -> Path:
    card = card.model_copy(update={"name": out.name})
    out.mkdir(parents=True)
    write_tensors(out / BEST_NAME, tensors, {METADATA_KEY: card.model_dump_json()})
    return out


def _loss(run: Path, dataset: Dataset) -> float:
    """The loss on validation of a run, as anybody who opens it finds it."""
    model = open_run(run)
    rows = dataset.usable("valid")
    found = ask_for_rows(model, dataset, rows)
    return negative_log_likelihood(found, dataset.labels(rows, model.card.labels))


def test_runs_around_one_place_are_averaged_to_something_better(
    tmp_path: Path, known_dataset: Dataset, learnt_run: Path
) -> None:
    runs = [_changed(learnt_run, tmp_path / f"moved-{i}", 0.3, seed=i) for i in range(4)]
    card, tried = average_runs(runs, known_dataset, tmp_path / "average", device="cpu")
    losses = [each.alone for each in tried]
    assert losses == sorted(losses)
    assert tried[0].averaged == pytest.approx(losses[0], abs=1e-6)
    assert tried[0].taken
    taken = [each for each in tried if each.taken]
    assert len(taken) > 1
    assert all(after.averaged < before.averaged for before, after in pairwise(taken))
    assert card.figures["valid"]["nll"] == pytest.approx(taken[-1].averaged, abs=1e-6)
    assert card.figures["valid"]["nll"] < min(losses) - 0.001
    tensors, kept = read_weights(tmp_path / "average" / BEST_NAME)
    assert kept == card
    of = [read_weights(Path(each.run) / BEST_NAME)[0] for each in taken]
    for name, value in tensors.items():
        expected = sum(each[name].double() for each in of) / len(of)
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)
    assert _loss(tmp_path / "average", known_dataset) == pytest.approx(
        card.figures["valid"]["nll"], abs=1e-5
    )


def test_the_command_tells_what_the_average_came_to(
    tmp_path: Path,
    known_dataset: Dataset,
    learnt_run: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mien.data.stream.open_data", lambda _: known_dataset)
    runs = [str(_changed(learnt_run, tmp_path / f"moved-{i}", 0.3, seed=i)) for i in range(4)]
    place = ["--data", "faces", "--out", str(tmp_path / "average")]
    ran = CliRunner().invoke(app, ["average", *runs, *place, "--device", "cpu"])
    assert ran.exit_code == 0, ran.output
    _, card = read_weights(tmp_path / "average" / BEST_NAME)
    told = f"of 4 runs: validation loss {card.figures['valid']['nll']:.4f}, accuracy "
    assert told in ran.stdout


def test_a_run_that_does_not_help_is_left_out(
    tmp_path: Path, known_dataset: Dataset, learnt_run: Path
) -> None:
    far = _changed(learnt_run, tmp_path / "far", 5.0, seed=0)
    out = tmp_path / "average"
    card, tried = average_runs([far, learnt_run], known_dataset, out, device="cpu")
    assert [each.run for each in tried] == [str(learnt_run), str(far)]
    assert [each.taken for each in tried] == [True, False]
    assert tried[1].averaged > tried[0].alone
    before, after = (read_weights(run / BEST_NAME)[0] for run in (learnt_run, out))
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [each["model"] for each in card.training["averaged"]] == ["learnt"]


def test_the_folder_tells_what_it_is_of_and_serves_as_a_run(
    tmp_path: Path, known_dataset: Dataset, learnt_run: Path, tiny_config: TrainConfig
) -> None:
    runs = [_changed(learnt_run, tmp_path / f"moved-{i}", 0.3, seed=i) for i in range(3)]
    out = tmp_path / "average"
    card, tried = average_runs(runs, known_dataset, out, device="cpu")
    told = json.loads((out / AVERAGE_NAME).read_text())
    assert told["dataset"] == known_dataset.info["fingerprint"]
    assert [each["run"] for each in told["runs"]] == [each.run for each in tried]
    names = [Path(each.run).name for each in tried if each.taken]
    assert len(names) > 1
    assert card.training["averaged"] == [
        {
            "model": name,
            "dataset": card.training["dataset"],
            "learnt_from": [known_dataset.info["fingerprint"]],
        }
        for name in names
    ]
    report = evaluate(open_run(out), known_dataset, "valid")
    report.save(out / "eval-valid", known_dataset)
    page = (out / "eval-valid/model_card.md").read_text(encoding="utf-8")
    assert "the mean of the weights of" in page
    assert all(f"`{name}`" in page for name in names)
    assert "Nobody has checked" not in page
    exported, _ = export_run(out, tmp_path / "average.onnx")
    assert exported.figures["valid"]["accuracy"] == report.evaluation.accuracy
    changes = {"start_from": str(out), "teachers": [str(out)], "epochs": 1}
    config = TrainConfig(**(tiny_config.model_dump() | changes))
    train(known_dataset, config, tmp_path / "on", device="cpu")
    _, after = read_weights(tmp_path / "on" / BEST_NAME)
    assert after.training["started_from"] == [card.lineage()]
    assert after.lineage()["started_from"] == [card.name]
    assert card.lineage()["averaged"] == names


@pytest.mark.parametrize("elsewhere", [False, True], ids=["of-the-same-data", "of-other-data"])
def test_an_average_of_what_went_on_from_others_says_so(
    elsewhere: bool, tmp_path: Path, drawn_dataset: Dataset, tiny_run: Path
) -> None:
    tensors, card = read_weights(tiny_run / BEST_NAME)
    # As a version of mien left it that did not count the images of each emotion.
    training = {key: value for key, value in card.training.items() if key != "images"}
    before = card.lineage()
    if elsewhere:
        before["learnt_from"] = ["other"]
    training["started_from"] = [before]
    runs = [
        _written(tmp_path / name, tensors, card.model_copy(update={"training": training}))
        for name in ("one", "other")
    ]
    average, _ = average_runs(runs, drawn_dataset, tmp_path / "average", device="cpu")
    (part,) = average.training["averaged"]
    assert part["model"] == "one"
    assert part["started_from"] == [before["model"]]
    assert ("other" in part["learnt_from"]) == elsewhere
    report = evaluate(open_run(tmp_path / "average"), drawn_dataset, "test")
    report.save(tmp_path / "report", drawn_dataset)
    page = (tmp_path / "report/model_card.md").read_text(encoding="utf-8")
    assert (
        "weights are those of one run, which no other helped: `one` (which goes on from `" in page
    )
    assert ("nobody has checked" in page) == elsewhere


def test_runs_of_a_stream_are_judged_by_its_validation(
    tmp_path: Path, drawn_dataset: Dataset, tiny_run: Path
) -> None:
    stream = write_stream(drawn_dataset, str(tmp_path / "stream"))
    runs = [_changed(tiny_run, tmp_path / f"moved-{i}", 0.3, seed=i) for i in range(2)]
    (whole, _), (streamed, _) = (
        average_runs(runs, data, tmp_path / name, device="cpu")
        for name, data in (("whole", drawn_dataset), ("streamed", stream))
    )
    assert streamed.figures["valid"]["nll"] == pytest.approx(whole.figures["valid"]["nll"], 1e-5)


def test_what_margins_added_is_averaged_too(
    tmp_path: Path, drawn_dataset: Dataset, tiny_run: Path
) -> None:
    tensors, card = read_weights(tiny_run / BEST_NAME)
    told: list[dict[str, Any]] = [
        {"temperature": 1.5, "tilt": (0.0,) * 7 + (1.0,), "untilted_temperature": 1.2},
        {"temperature": 1.5},
    ]
    runs = [
        _written(tmp_path / f"{number}", tensors, card.model_copy(update=each))
        for number, each in enumerate(told)
    ]
    averaged, tried = average_runs(runs, drawn_dataset, tmp_path / "average", device="cpu")
    taken = sum(each.taken for each in tried)
    assert averaged.tilt[-1] == pytest.approx(1 / taken)
    warmth = (1.2 / 1.5 + taken - 1) / taken
    assert averaged.untilted_temperature == pytest.approx(averaged.temperature * warmth)


def test_an_average_that_was_killed_before_its_weights_is_made_anew(
    tmp_path: Path, drawn_dataset: Dataset, tiny_run: Path
) -> None:
    out = tmp_path / "average"
    out.mkdir()
    for name in (AVERAGE_NAME, f".{BEST_NAME}.partial"):
        (out / name).touch()
    average_runs([tiny_run, _changed(tiny_run, tmp_path / "m", 0.3, seed=1)], drawn_dataset, out)
    assert json.loads((out / AVERAGE_NAME).read_text())["runs"]
    again = (tiny_run, tmp_path / "m")
    with pytest.raises(UsageError, match="average is not empty"):
        average_runs(again, drawn_dataset, out)


def test_averages_are_not_put_beside_runs(
    tmp_path: Path, drawn_dataset: Dataset, tiny_run: Path
) -> None:
    shutil.copytree(tiny_run, tmp_path / "runs/tiny")
    moved = _changed(tiny_run, tmp_path / "moved", 0.3, seed=1)
    average_runs([tiny_run, moved], drawn_dataset, tmp_path / "runs/average", device="cpu")
    assert find_runs([tmp_path / "runs"]) == [tmp_path / "runs/tiny"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"network": "residual"}, "other: residual that sees .*expected as the first, mini"),
        ({"worth": 2.0, "offsets": (0.0,) * 8}, "other is emotion-based"),
        (
            {"training": {"dataset": {"fingerprint": "0123"}}},
            r"other was trained on other data \(fingerprint 0123",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused(
    tmp_path: Path,
    drawn_dataset: Dataset,
    tiny_run: Path,
    changes: dict[str, object],
    says: str,
) -> None:
    tensors, card = read_weights(tiny_run / BEST_NAME)
    other = tmp_path / "other"
    if changes.get("network"):
        config = TrainConfig(network="residual", epochs=1, batch_size=32)
        train(drawn_dataset, config, other, device="cpu")
    else:
        _written(other, tensors, card.model_copy(update=changes))
    with pytest.raises(UsageError, match=says):
        average_runs([tiny_run, other], drawn_dataset, tmp_path / "average", device="cpu")
    assert not (tmp_path / "average").exists()


def test_what_cannot_be_averaged_is_refused(
    tmp_path: Path, drawn_dataset: Dataset, tiny_run: Path
) -> None:
    tensors, card = read_weights(tiny_run / BEST_NAME)
    name = next(name for name, value in tensors.items() if value.ndim > 1)
    broken = _written(
        tmp_path / "broken", tensors | {name: torch.full_like(tensors[name], np.nan)}, card
    )
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/note").touch()
    for runs, out, error, says in (
        ([tiny_run, tiny_run / ".." / tiny_run.name], "average", UsageError, "one run is its own"),
        (
            [tiny_run, tmp_path / "no"],
            "average",
            ModelError,
            "no: not there; expected a run folder",
        ),
        ([tiny_run, broken], "average", DataError, "broken: its weights or answers are not finite"),
        ([tiny_run, broken], "taken", UsageError, "taken is not empty"),
    ):
        with pytest.raises(error, match=says):
            average_runs(runs, drawn_dataset, tmp_path / out, device="cpu")
    assert not (tmp_path / "average").exists()
