"""Commands that judge: eval, compare, cross-validate."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.errors import UsageError
from mien.records import SPLITS
from mien.training.history import read_history

if TYPE_CHECKING:
    from mien.model import EmotionModel

from mien.cli.printing import print_comparison, print_epoch, print_fold, print_report
from mien.cli.terminal import (
    FiguresFile,
    complain,
    err_console,
    hand_out,
    pair,
    show_progress,
    shown,
)

__all__ = ["compare", "cross_validate", "evaluate"]


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A shipped model, file or run.")],
    data: Annotated[Path, typer.Option(help="A dataset folder.", metavar="DATASET")],
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the report; RUN/eval-SPLIT if a run (-FINGERPRINT for other data).",
            metavar="DIR",
        ),
    ] = None,
    json_file: FiguresFile = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="Figures for each value of a manifest column too; again for more.",
            metavar="COLUMN",
        ),
    ] = None,
    environments: Annotated[
        bool,
        typer.Option("--environments", help="Also in strange light, with a mask, blurred ..."),
    ] = False,
    onto_card: Annotated[
        bool, typer.Option("--onto-card", help="Note the figures on the card in an ONNX file.")
    ] = False,
) -> None:
    """Measure a model on a split of a dataset."""
    from mien.data.dataset import Dataset
    from mien.judging.asking import answers_of
    from mien.judging.evaluate import evaluate as run_evaluation
    from mien.judging.evaluate import known_rows
    from mien.model import is_run, shipped_models

    if environments:  # First, since it needs torch, and what follows takes long.
        from mien.judging.robustness import judge_environments
    if split not in SPLITS:
        raise UsageError(f"split {split!r}: expected {', '.join(SPLITS)}")
    dataset = Dataset.open(data)
    opened = _open_model(model)
    rows, _ = known_rows(dataset, split, opened.card.labels)
    run = Path(model) if is_run(model) else None
    if onto_card and (run or model in shipped_models()):
        raise UsageError(
            f"--onto-card {model!r}: expected an ONNX file of your own; the figures of a run go "
            "onto the card at its export"
        )
    folder = out
    if run and not out:
        of_training = opened.card.training.get("dataset", {}).get("fingerprint")
        told = dataset.info["fingerprint"]
        # The figures of the run's own data go onto its card at its export: others lie beside.
        folder = run / (f"eval-{split}" if told == of_training else f"eval-{split}-{told}")
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    with show_progress() as show:
        report = run_evaluation(opened, dataset, split, by=by or (), progress=show)
        if environments:
            found = judge_environments(
                answers_of(opened), dataset, rows, opened.card.labels, progress=show
            )
            report = replace(report, environments=found)
    # What is printed may go into a pipe that ends: first all is saved.
    history = read_history(run) if run else ()
    written = report.save(folder, dataset, history=history) if folder else ()
    if onto_card:
        from mien.training.export import note_figures

        note_figures(Path(model), split, report.to_json())
    hand_out(json_file, json.dumps(report.to_json(), indent=2) + "\n")
    if json_file != "-":
        print_report(report)
    if onto_card:
        err_console.print(f"noted on the card in {shown(model)}", soft_wrap=True)
    for path in written:
        err_console.print(f"wrote {shown(path)}", soft_wrap=True)


def _open_model(name_or_path: str) -> "EmotionModel":
    from mien.model import is_run, load_model

    if is_run(name_or_path):
        from mien.training.runs import open_run

        return open_run(Path(name_or_path))
    return load_model(name_or_path)


def compare(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="Shipped models, files, runs.")
    ],
    data: Annotated[Path, typer.Option(help="A dataset folder.", metavar="DATASET")],
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    peer: Annotated[
        list[str] | None,
        typer.Option(help="A command that answers for another package.", metavar="NAME=COMMAND"),
    ] = None,
    environments: Annotated[
        int,
        typer.Option(
            help="Put so many of the images also in dim light, masks, blur and the like.",
            min=0,
            metavar="N",
        ),
    ] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the figures and a page.", metavar="DIR")
    ] = None,
    json_file: FiguresFile = None,
) -> None:
    """Judge several models, other packages among them, on the same images."""
    from mien.data.dataset import Dataset
    from mien.judging.compare import compare as run_comparison
    from mien.judging.compare import save_comparison

    if split not in SPLITS:
        raise UsageError(f"split {split!r}: expected {', '.join(SPLITS)}")
    named = [pair(text, "peer: expected NAME=COMMAND") for text in peer or ()]
    for name, count in Counter([*models, *(name for name, _ in named)]).items():
        if count > 1:
            raise UsageError(f"{name} is named {count} times; expected models, each once")
    if out:
        out.mkdir(parents=True, exist_ok=True)
    opened = {name: _open_single_threaded(name) for name in models}
    with show_progress() as show:
        found = run_comparison(
            opened,
            dict(named),
            Dataset.open(data),
            split,
            environments=environments,
            progress=show,
        )
    written = save_comparison(found, out) if out else ()
    hand_out(json_file, json.dumps(found, indent=2) + "\n")
    if json_file != "-":
        print_comparison(found)
    for path in written:
        err_console.print(f"wrote {shown(path)}", soft_wrap=True)
    for reason in found["failed"].values():
        complain(reason)
    if found["failed"]:
        raise typer.Exit(1)


def cross_validate(
    data: Annotated[Path, typer.Option(help="A dataset folder.", metavar="DATASET")],
    out: Annotated[Path, typer.Option(help="Folder for the runs and the report.", metavar="DIR")],
    recipe: Annotated[str, typer.Option(help="A shipped recipe, a TOML file or a run.")] = "base",
    folds: Annotated[
        str,
        typer.Option(help="How many folds; people: each is left out once.", metavar="N|people"),
    ] = "10",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the recipe, key=value.", metavar="KEY=VALUE"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    json_file: FiguresFile = None,
) -> None:
    """Judge a recipe by folds of people; the same command goes on where it was stopped."""
    from mien.config import load_recipe
    from mien.data.dataset import Dataset
    from mien.training.crossval import cross_validate as run_cross_validation

    if folds != "people" and not (folds.isascii() and folds.isdigit() and int(folds) >= 2):
        raise UsageError(f"--folds {folds!r}: expected 2 or more, or people")
    config = load_recipe(recipe, settings or ())
    with show_progress() as show:
        report = run_cross_validation(
            Dataset.open(data),
            config,
            out,
            name=Path(recipe).stem,
            folds=None if folds == "people" else int(folds),
            device=device,
            progress=show,
            on_epoch=print_epoch,
            on_fold=print_fold,
        )
    hand_out(json_file, json.dumps(report.to_json(), indent=2) + "\n")
    if json_file != "-":
        print_report(report)
    err_console.print(f"page: {shown(out / 'evaluation.html')}", soft_wrap=True)


def _open_single_threaded(name: str) -> "tuple[EmotionModel, int | None]":
    from mien.model import is_run, load_model

    if is_run(name):
        import torch

        torch.set_num_threads(1)
        return _open_model(name), None
    model = load_model(name, threads=1)
    return model, model.path.stat().st_size
