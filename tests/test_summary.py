"""Runs are put side by side: finished, unfinished and broken ones."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mien.cli import app
from mien.cli.printing import print_runs
from mien.config import TrainConfig
from mien.data.dataset import Dataset
from mien.errors import ModelError
from mien.judging.evaluate import evaluate
from mien.training.checkpoint import BEST_NAME
from mien.training.history import read_history, write_history
from mien.training.runs import open_run
from mien.training.summary import RunSummary, find_runs, summarise
from mien.training.train import train


@pytest.fixture
def folder(tmp_path: Path, tiny_run: Path) -> Path:
    """A finished run, one that was stopped after two epochs, and a folder that is none."""
    runs = tmp_path / "runs"
    for name in ("whole", "stopped"):
        shutil.copytree(tiny_run, runs / name)
    write_history(runs / "stopped", read_history(tiny_run)[:2])
    (runs / "notes").mkdir()
    return runs


def test_a_summary_tells_size_time_and_best(tiny_run: Path, tiny_config: TrainConfig) -> None:
    history = read_history(tiny_run)
    found = summarise(tiny_run)
    assert (found.network, found.planned, len(found.losses)) == ("mini", tiny_config.epochs, 3)
    assert found.bytes == (tiny_run / BEST_NAME).stat().st_size > 4 * found.weights
    assert found.minutes[-1] == pytest.approx(sum(entry["seconds"] for entry in history) / 60)
    told = found.to_json()
    assert told["best_loss"] == min(entry["valid_loss"] for entry in history)
    assert told["best_accuracy"] == max(entry["valid_accuracy"] for entry in history)
    assert told["seconds_an_epoch"] == sorted(entry["seconds"] for entry in history)[1]


def test_losses_of_emotion_based_runs_are_marked(
    tiny_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = summarise(tiny_run)
    print_runs([run])
    assert "*" not in capsys.readouterr().out
    print_runs([run, replace(run, emotion_based=True)])
    assert f"{run.best_loss:.4f}*" in (shown := capsys.readouterr().out)
    assert "not to be compared with others" in shown


def test_runs_that_differ_by_their_seed_are_told_together(
    tiny_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = replace(
        summarise(tiny_run),
        losses=(0.9, 0.5, 0.7),
        accuracies=(0.1, 0.6, 0.9),
        macro_recalls=(0.1, 0.4, 0.8),
    )

    def of_seed(seed: int, **others: Any) -> RunSummary:
        asked: dict[str, Any] = {"name": f"s{seed}", "seed": seed}
        return replace(run, **asked | {"recipe": {**run.recipe, "seed": seed}} | others)

    print_runs([run])
    assert "differ by their seed" not in capsys.readouterr().out
    other = of_seed(4, recipe={**run.recipe, "seed": 4, "learning_rate": 1.0})
    elsewhere = of_seed(5, dataset={**run.dataset, "fingerprint": "other"})
    unfinished = of_seed(6, losses=(0.9, 0.5))
    third = of_seed(2, losses=(0.3, 0.5, 0.7))
    print_runs([third, of_seed(1), of_seed(1), other, elsewhere, unfinished])
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("differ by their seed") == 1
    assert (
        "s1, s2 differ by their seed (1, 2). Above, each figure is of its best epoch; of the "
        "epochs of the lowest loss, mean ± standard deviation: accuracy 35.00% ± 35.36%, "
        "macro recall 25.00% ± 21.21%, loss 0.4000 ± 0.1414" in said
    )
    assert "s4: seed=4 learning_rate=1 s6: seed=6" in said.replace(" learning_rate=0.004", "")
    assert "s5:" not in said  # alone on its data
    told = third.to_json()
    assert told["recipe"]["seed"] == 2
    assert (told["seed"], told["best_epoch"]) == (2, 1)
    assert told["chosen"] == {"accuracy": 0.1, "macro_recall": 0.1, "loss": 0.3}


def test_folds_of_one_dataset_are_one_table(
    tiny_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = summarise(tiny_run)
    for third in ("d1", "d2"):
        data = [
            {**run.dataset, "fingerprint": f"{whole} fold {fold}/3 {fold}"}
            for fold, whole in enumerate(("d1", "d1", third), 1)
        ]
        print_runs([replace(run, dataset=each) for each in data])
        assert capsys.readouterr().out.count("3 folds that each judge other images (data") == len(
            {"d1", third}
        )


def test_layers_are_those_with_a_kernel_or_a_matrix(tiny_run: Path) -> None:
    from torch import nn

    from mien.training.runs import open_run

    modules = open_run(tiny_run).network.modules()
    layers = sum(isinstance(module, nn.Conv2d | nn.Linear) for module in modules)
    assert summarise(tiny_run).layers == layers


def test_runs_are_found_in_folders_and_by_themselves(folder: Path) -> None:
    whole, stopped = folder / "whole", folder / "stopped"
    assert find_runs([folder]) == [stopped, whole]
    assert find_runs([whole, folder]) == [whole, stopped]
    for nowhere, says in (("notes", "no run of 'mien train'"), ("missing", "no such folder")):
        with pytest.raises(ModelError, match=says):
            find_runs([folder / nowhere])


def test_the_command_goes_on_after_a_broken_run(folder: Path, tmp_path: Path) -> None:
    (folder / "cut").mkdir()
    shutil.copy(folder / "whole" / BEST_NAME, folder / "cut")
    (folder / "cut" / "history.jsonl").write_text('{"epoch": 1, "valid_lo')
    (folder / "killed").mkdir()
    shutil.copy(folder / "whole" / BEST_NAME, folder / "killed")
    curves, lines = tmp_path / "runs.png", tmp_path / "runs.jsonl"
    call = CliRunner().invoke(
        app, ["runs", str(folder), "--out", str(curves), "--json", str(lines)]
    )
    assert call.exit_code == 1
    assert "cut/history.jsonl: damaged" in call.output
    assert "killed: no finished epoch yet" in call.output
    assert "2/3" in call.output
    assert curves.read_bytes().startswith(b"\x89PNG")
    told = [json.loads(line) for line in lines.read_text().splitlines()]
    assert {entry["name"]: entry["epochs"] for entry in told} == {"whole": 3, "stopped": 2}
    losses = [entry["best_loss"] for entry in told]
    assert losses == sorted(losses)


def test_an_unfinished_run_says_so_wherever_it_is_judged(
    folder: Path, drawn_dataset: Dataset
) -> None:
    assert "epochs_done" not in open_run(folder / "whole").card.training
    (folder / "stopped" / "history.jsonl").write_text('{"epoch": 1')
    assert "epochs_done" not in open_run(folder / "stopped").card.training, "nothing is known"
    write_history(folder / "stopped", read_history(folder / "whole")[:2])
    stopped = open_run(folder / "stopped")
    assert stopped.card.training["epochs_done"] == 2
    said = evaluate(stopped, drawn_dataset, "test").caveat
    assert said.startswith("Its training is not finished: 2 of 3 epochs.")


def test_the_lowest_loss_comes_first_and_other_data_stand_apart(
    folder: Path, drawn_dataset: Dataset, tiny_config: TrainConfig
) -> None:
    history = read_history(folder / "whole")  # By name it would come last.
    write_history(folder / "whole", [entry | {"valid_loss": 1e-3} for entry in history])
    rows = drawn_dataset.usable("train")
    excluded = drawn_dataset.column("excluded")
    for row in rows[:32]:
        excluded[row] = "left out"
    fewer = drawn_dataset.with_column("excluded", excluded)
    train(fewer, tiny_config.model_copy(update={"epochs": 1}), folder / "fewer", device="cpu")
    shown = CliRunner().invoke(app, ["runs", str(folder)]).output
    assert "112 images to train" in shown
    assert "80 images to train" in shown
    of_all = shown[shown.index("112 images") :].partition("80 images")[0]
    assert of_all.index("whole") < of_all.index("stopped")
    assert "fewer" not in of_all
