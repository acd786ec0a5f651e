"""Commands that train, and what comes of it: train, average, export, bench, demo."""

import json
import time
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.atomic import write_text
from mien.cli.printing import (
    print_epoch,
    print_prediction,
    print_race,
    print_report,
    print_runs,
    print_speeds,
    print_trial,
    print_tried,
    values_of,
)
from mien.cli.terminal import (
    FiguresFile,
    LinesFile,
    complain,
    err_console,
    hand_out,
    out_console,
    pair,
    show_progress,
    shown,
)
from mien.errors import ModelError, UsageError
from mien.records import Prediction
from mien.version import __version__

if TYPE_CHECKING:
    from mien.config import TrainConfig
    from mien.data.dataset import Dataset
    from mien.data.stream import Stream

__all__ = ["average", "bench", "demo", "export", "runs", "search", "train"]

_FEW_STEPS = 2
"""So many times the steps over which weights are averaged: in fewer they hardly leave the start."""


def train(
    data: Annotated[
        str,
        typer.Option(
            help="A dataset folder; or a stream, by path or address (s3://…).", metavar="DATASET"
        ),
    ],
    recipe: Annotated[str, typer.Option(help="A shipped recipe, a TOML file or a run.")] = "base",
    out: Annotated[
        Path | None, typer.Option(help="The run folder; runs/RECIPE if not given.", metavar="RUN")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on after the last checkpoint.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the recipe, key=value.", metavar="KEY=VALUE"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    devices: Annotated[
        int, typer.Option(min=1, help="Processes that share each batch, one a device.")
    ] = 1,
    nodes: Annotated[
        int,
        typer.Option(
            min=1, help="Machines; each needs MASTER_ADDR, MASTER_PORT and its NODE_RANK."
        ),
    ] = 1,
) -> None:
    """Train a network, from scratch or from a model that there is."""
    from mien.config import load_recipe
    from mien.data.stream import open_data
    from mien.training.train import train as run_training

    config = load_recipe(recipe, settings or ())
    dataset = open_data(data)
    run = out or Path("runs") / _named_after(recipe)

    def tell(entry: dict[str, Any]) -> None:
        print_epoch(entry)
        if entry["epoch"] == 1 and (note := _of_few_steps(recipe, config, dataset)):
            err_console.print(f"note: {note}", soft_wrap=True)

    with show_progress() as show:
        result = run_training(
            dataset,
            config,
            run,
            resume=resume,
            device=device,
            devices=devices,
            nodes=nodes,
            progress=show,
            on_epoch=tell,
        )
    best = result.history[result.best_epoch - 1]
    out_console.print(
        f"best epoch {result.best_epoch}: validation loss {best['valid_loss']:.4f}, "
        f"accuracy {best['valid_accuracy']:.2%}, macro recall {best['valid_macro_recall']:.2%}"
    )
    out_console.print(f"run: {shown(run)} (curves: {shown(run / 'curves.png')})", soft_wrap=True)


def _of_few_steps(recipe: str, config: "TrainConfig", dataset: "Dataset | Stream") -> str:
    """Say where there is little to learn from for a recipe that begins with random weights."""
    from mien.data.dataset import Dataset

    images = (
        len(dataset.usable("train"))
        if isinstance(dataset, Dataset)
        else sum(dataset.counts("train"))
    )
    steps = config.epochs * max(1, images // config.batch_size)
    if config.start_from or steps * (1 - config.ema) >= _FEW_STEPS:
        return ""
    others = "'few', which goes on from a shipped model," + (" or 'fast'" * (recipe != "fast"))
    return (
        f"{images:,} images make {steps:,} steps of recipe {shown(recipe)}, which are few: more "
        f"epochs, {others} may do better"
    )


def runs(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RUN...]", help="Run folders, or folders of them; runs/ if none."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Draws their curves together into this file.", metavar="FILE.png"),
    ] = None,
    json_file: LinesFile = None,
) -> None:
    """Put runs side by side: layers, weights, size, seconds an epoch, best accuracy and loss."""
    from mien.judging.plots import save_runs
    from mien.training.summary import find_runs, summarise

    if out and out.is_dir():
        raise UsageError(f"--out {out}: that is a folder; expected a picture, {out / 'runs.png'}")
    found, broken = [], []
    for run in find_runs(folders or [Path("runs")]):
        try:
            found.append(summarise(run))
        except ModelError as error:
            broken.append(str(error))
    found.sort(key=lambda run: (run.emotion_based, run.best_loss))
    hand_out(json_file, "".join(json.dumps(run.to_json()) + "\n" for run in found))
    if out and found:
        save_runs(out, [asdict(run) for run in found])
    if json_file != "-":
        print_runs(found)
    if out and found:
        err_console.print(f"curves: {shown(out)}", soft_wrap=True)
    for reason in broken:
        complain(reason)
    if broken:
        raise typer.Exit(1)


def search(
    data: Annotated[str, typer.Option(help="A dataset folder, or a stream.", metavar="DATASET")],
    vary: Annotated[
        list[str],
        typer.Option(
            help="A setting to vary: key=low..high or key=one,another.", metavar="KEY=VALUES"
        ),
    ],
    recipe: Annotated[str, typer.Option(help="A shipped recipe, a TOML file or a run.")] = "base",
    out: Annotated[
        Path | None,
        typer.Option(help="The search's folder; searches/RECIPE if not given.", metavar="DIR"),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="How many trials in all.")] = 20,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of all trials, key=value.", metavar="KEY=VALUE"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    engine: Annotated[str, typer.Option(help="local or ray.")] = "local",
    workers: Annotated[int, typer.Option(min=1, help="Trials at a time, with ray.")] = 1,
) -> None:
    """Try a recipe's settings; the same command goes on where a search was stopped."""
    from mien.training.search import Job, Varied
    from mien.training.search import search as run_search

    varied = tuple(Varied.parse(text) for text in vary)
    job = Job(data, recipe, tuple(settings or ()), varied, device)
    folder = out or Path("searches") / _named_after(recipe)
    ranked = run_search(
        job, folder, trials=trials, engine=engine, workers=workers, on_trial=print_trial
    )
    best = ranked[0]
    failed = Counter(trial.reason for trial in ranked if trial.state == "failed")
    tried = len(ranked) - failed.total()
    trials_tried = f"{tried} trials" if tried > 1 else "1 trial"
    out_console.print(
        f"best of {trials_tried}: validation loss {best.loss:.4f}, accuracy "
        f"{best.accuracy:.2%} with {values_of(best)}",
        soft_wrap=True,
    )
    for reason, times in failed.items():
        out_console.print(f"{times} failed: {shown(reason)}", soft_wrap=True)
    out_console.print(
        f"recipe: {shown(folder / 'best.toml')} (picture: {shown(folder / 'search.png')})",
        soft_wrap=True,
    )


def average(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Runs that went on from one.")
    ],
    data: Annotated[
        str, typer.Option(help="What they were trained on; validation decides.", metavar="DATASET")
    ],
    out: Annotated[Path, typer.Option(help="The folder to make.", metavar="RUN")],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Average the weights of runs that went on from one, of those that help."""
    from mien.data.stream import open_data
    from mien.training.soup import average_runs

    with show_progress() as show:
        card, tried = average_runs(runs, open_data(data), out, device=device, progress=show)
    for run in tried:
        print_tried(run)
    figures = card.figures["valid"]
    taken = sum(run.taken for run in tried)
    out_console.print(
        f"average of {taken} of {len(tried)} runs: validation loss {figures['nll']:.4f}, "
        f"accuracy {figures['accuracy']:.2%}, macro recall {figures['macro_recall']:.2%}"
        if taken > 1
        else f"no other run helps {shown(tried[0].run)}: the average is that run alone; expected "
        "runs that went on from the same one (--set start_from=)",
        soft_wrap=True,
    )
    out_console.print(f"run: {shown(out)}", soft_wrap=True)


def _named_after(recipe: str) -> str:
    """Return what a recipe's run is called where nobody says; that of a run is taken."""
    if Path(recipe).is_dir():
        raise UsageError(
            f"--recipe {recipe}: that is a run: say with --out where what it makes goes"
        )
    return Path(recipe).stem


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder of 'mien train'.")],
    out: Annotated[Path, typer.Option(help="The file to write.", metavar="FILE.onnx")],
    int8: Annotated[
        bool, typer.Option("--int8", help="8 bits inside: a quarter of the size, and quicker.")
    ] = False,
    worth: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=100.0,
            help="Decide answers by macro recall + so many times accuracy; 0: every emotion counts "
            "alike, so rare ones are found. As trained if not given.",
        ),
    ] = None,
    views: Annotated[
        bool,
        typer.Option(
            "--views",
            help="Answer by nine views of each face, turned and enlarged a little: better, nine "
            "times as slow.",
        ),
    ] = False,
) -> None:
    """Write a run's best epoch as a file that runs without torch."""
    from mien.training.export import export_int8, export_run

    started = time.perf_counter()
    replaces = ", in place of the file of before" if out.exists() else ""
    if int8:
        card, agreement = export_int8(run, out, worth=worth, views=views)
        compared = f"answers as the run does for {agreement:.1%} of drawn faces"
    else:
        card, difference = export_run(run, out, worth=worth, views=views)
        compared = f"differs from the run by at most {difference:.1e}"
    out_console.print(
        f"{shown(out)}: {card.network}, {card.parameters:,} weights, "
        f"{out.stat().st_size / 1e6:.2f} MB{replaces}; {compared} "
        f"({time.perf_counter() - started:.1f} s)",
        soft_wrap=True,
    )
    if not card.figures:
        out_console.print(
            f"its card has no figures yet: 'mien eval {shown(out)} --data DATASET --onto-card' "
            "measures it and notes them",
            soft_wrap=True,
        )


def bench(
    what: Annotated[
        str,
        typer.Argument(
            metavar="[speed|train]",
            help="speed: minutes. train: two recipes in a race, hours; needs --data.",
        ),
    ] = "speed",
    data: Annotated[
        Path | None, typer.Option(help="A dataset folder for the race.", metavar="DATASET")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Keeps the figures and the race's runs; runs/bench if not given.", metavar="DIR"
        ),
    ] = None,
    recipe: Annotated[str, typer.Option(help="The recipe that races.")] = "base",
    against: Annotated[str, typer.Option(help="The recipe to beat.")] = "second",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of both recipes, key=value.", metavar="KEY=VALUE"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    peer: Annotated[
        list[str] | None,
        typer.Option(
            help="speed: another package's classifier, as for compare.", metavar="NAME=COMMAND"
        ),
    ] = None,
    turns: Annotated[
        int, typer.Option(help="speed: how often each is timed; 1 is quick, and rough.", min=1)
    ] = 5,
    json_file: FiguresFile = None,
) -> None:
    """Measure mien's own speed on this machine, as ratios against what it is to beat."""
    from mien.bench import bench_recognition, bench_training, measure_machine, race
    from mien.data.dataset import Dataset

    folder = out or Path("runs/bench")
    result: dict[str, Any]
    if what == "train":
        if data is None:
            raise UsageError("bench train: say with --data DATASET what to train on")
        with show_progress() as show:
            found = race(
                Dataset.open(data),
                folder,
                theirs=against,
                ours=recipe,
                settings=settings or (),
                device=device,
                progress=show,
                on_epoch=print_epoch,
            )
        result = found.to_json()
    elif what == "speed":
        peers = dict(pair(text, "peer: expected NAME=COMMAND") for text in peer or ())
        with show_progress() as show:
            machine = measure_machine(progress=show)
            figures = [
                *bench_recognition(machine, peers, turns=turns, progress=show),
                *bench_training(machine, turns=turns, progress=show),
            ]
        result = {
            "mien": __version__,
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine.to_json(),
            "figures": [figure.to_json() for figure in figures],
        }
    else:
        raise UsageError(f"bench {what!r}: expected speed or train")
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{what}.json"
    write_text(kept, json.dumps(result, indent=2) + "\n")
    if json_file != "-":
        (print_race if what == "train" else print_speeds)(result)
        out_console.print(f"figures: {shown(kept)}", soft_wrap=True)
    hand_out(json_file, json.dumps(result, indent=2) + "\n")


def demo(
    out: Annotated[Path, typer.Option(help="The folder to make.", metavar="DIR")],
) -> None:
    """Go the whole way once on drawn faces: data, training, judgement, recognition."""
    from mien.demo import demonstrate

    if out.exists():
        raise UsageError(f"{out} exists already: choose another --out, or remove it first")
    with show_progress() as show:
        result = demonstrate(out, say=err_console.print, progress=show, on_epoch=print_epoch)
    for name, faces in (("photo", result.photo), ("drawn scene", result.drawn)):
        print_prediction(Prediction(name, faces=tuple(faces)))
    print_report(result.report)
    out_console.print("look at:")
    for path, says in result.files.items():
        out_console.print(f"  {shown(path)}  {says}", soft_wrap=True)
