"""Commands about datasets: import, audit, clean, join, stream, collect, draw."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from mien.cli.printing import print_dataset, print_epoch
from mien.cli.terminal import (
    FiguresFile,
    camera_or_place,
    err_console,
    hand_out,
    out_console,
    pair,
    show_progress,
    shown,
)
from mien.errors import UsageError
from mien.labels import EMOTIONS, canonical

if TYPE_CHECKING:
    from mien.config import TrainConfig
    from mien.data.dataset import Dataset

__all__ = ["data_app"]

_FEW_IMAGES = 2000

data_app = typer.Typer(
    help="Datasets: import, audit, clean, join, stream, collect and draw them.",
    no_args_is_help=True,
)


@data_app.command("import")
def data_import(
    format_name: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help="auto, ferplus, fer2013, affectnet, affectnet-npy, affectnet-kaggle, "
            "affectnet-yolo, yolo, coco, voc, cvat, labelme, labelstudio, via, rafdb, expw, "
            "ckplus, kdef, jaffe, rafd, cfd, nimstim, faces, ravdess, crema-d, folder, csv or "
            "parquet.",
        ),
    ],
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder, zip or table.")],
    out: Annotated[Path, typer.Option(help="The dataset folder to make.", metavar="DATASET")],
    size: Annotated[
        int | None,
        typer.Option(
            help="Side of the packed images, pixels (the format's, or the faces' if less)."
        ),
    ] = None,
    channels: Annotated[int | None, typer.Option(help="1 grey, 3 RGB (the format's own).")] = None,
    codes: Annotated[
        str | None,
        typer.Option(
            help="Of folder, csv, parquet, and what labelling tools write (yolo to via), what "
            "numbers and other words mean: "
            "fer2013, rafdb, affectnet, or 0=anger,1=happy or wut=anger,froh=happy.",
            metavar="CODES",
        ),
    ] = None,
    detector: Annotated[
        str,
        typer.Option(
            help="Finds the face in images that come without a box: auto, fast, centerface, "
            "blazeface, haar or a file, see 'mien predict'; none: they are faces cut out already.",
            metavar="NAME",
        ),
    ] = "none",
    frames: Annotated[
        int,
        typer.Option(help="How many pictures to take of each video; 0: leave videos out.", min=0),
    ] = 0,
) -> None:
    """Import labelled images, or pictures of labelled videos, into one dataset folder."""
    from mien.data.importers import import_dataset, recognise
    from mien.labels import read_codes

    meant = read_codes(codes) if codes is not None else None

    if format_name == "auto":
        format_name, why = recognise(source)
        err_console.print(f"recognised as {format_name}: {shown(why)}", soft_wrap=True)
    with show_progress() as show:
        info = import_dataset(
            format_name,
            source,
            out,
            size=size,
            channels=channels,
            codes=meant,
            detector=detector,
            frames=frames,
            progress=show,
        )
    print_dataset(out, info)


@data_app.command("audit")
def data_audit(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="A dataset folder.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the pages, audit.html and review.html.", metavar="DIR"),
    ] = None,
    json_file: FiguresFile = None,
    suspects: Annotated[
        bool,
        typer.Option(
            "--suspects",
            help="Look for wrong labels too: trains networks in DIR/cross-fit, minutes to hours.",
        ),
    ] = False,
    recipe: Annotated[str, typer.Option(help="What --suspects trains by.")] = "fast",
    folds: Annotated[int, typer.Option(help="How many networks --suspects trains.", min=2)] = 4,
    suspicion: Annotated[
        float,
        typer.Option(help="From what probability on a label is suspect.", min=0.0, max=1.0),
    ] = 0.7,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Find what is wrong with a dataset."""
    from mien.atomic import write_text
    from mien.data.audit.auditor import audit_dataset
    from mien.data.audit.findings import KINDS
    from mien.data.audit.page import render_page
    from mien.data.audit.review import render_review
    from mien.data.dataset import Dataset

    opened = Dataset.open(dataset)
    if suspects and out is None:
        raise UsageError("--suspects trains networks: say with --out DIR where they may lie")
    with show_progress() as show:
        predictions = None
        if suspects and out:
            from mien.config import load_recipe
            from mien.training.crossfit import cross_fit, usable_rows

            config = load_recipe(recipe)
            few = len(usable_rows(opened)) < _FEW_IMAGES
            if few and _may_learn_more(config, opened):
                err_console.print(
                    "so few images teach networks little: --recipe few goes on from a model that "
                    "ships",
                    soft_wrap=True,
                )
            predictions = cross_fit(
                opened,
                config,
                out / "cross-fit",
                folds=folds,
                device=device,
                progress=show,
                on_epoch=print_epoch,
            )
        audit = audit_dataset(opened, predictions=predictions, suspicion=suspicion, progress=show)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        pages = {"audit.html": render_page, "review.html": render_review}
        for name, render in pages.items():
            write_text(out / name, render(audit, opened))
            err_console.print(f"wrote {shown(out / name)}", soft_wrap=True)
    hand_out(json_file, json.dumps(audit.to_json(), indent=2) + "\n")
    if json_file != "-":
        table = Table("finding", "n", "what it is", box=None)
        table.columns[1].justify = "right"
        for kind, count in audit.summary.items():
            table.add_row(kind, f"{count:,}", KINDS[kind].says, style=None if count else "dim")
        out_console.print(table)
        if audit.networks:
            out_console.print(audit.networks, soft_wrap=True)


def _may_learn_more(config: "TrainConfig", dataset: "Dataset") -> bool:
    """Whether networks begin at random on images that no shipped model has learnt from."""
    from mien.config import load_recipe
    from mien.judging.lineage import knows_pictures_of
    from mien.model import load_model

    if config.start_from or config.teachers:
        return False
    shipped = load_recipe("few").start_from
    return shipped is not None and not knows_pictures_of(dataset.info, load_model(shipped).card)


@data_app.command("clean")
def data_clean(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="A dataset folder.")],
    out: Annotated[Path, typer.Option(help="The dataset folder to make.", metavar="DATASET")],
    rules: Annotated[
        Path | None,
        typer.Option(help="Rules in a TOML file; options count more.", metavar="FILE"),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(help="A kind of finding; of duplicates one is kept.", metavar="KIND"),
    ] = None,
    label_from: Annotated[
        str | None,
        typer.Option(help="folder, votes or model: whose label counts, not the table's."),
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(help="How sure the model must be: 0.9.", metavar="SHARE")
    ] = None,
    suspicion: Annotated[
        float | None,
        typer.Option(
            help="From what probability on a label is suspect, for --drop label_suspect: 0.7.",
            metavar="SHARE",
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(help="DIR/cross-fit/out-of-fold.parquet of an audit.", metavar="FILE"),
    ] = None,
    decisions: Annotated[
        Path | None,
        typer.Option(help="What you decided by eye, on the page DIR/review.html.", metavar="CSV"),
    ] = None,
    merge: Annotated[
        list[str] | None,
        typer.Option(help="One emotion becomes another: contempt=disgust.", metavar="OLD=NEW"),
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="An emotion whose rows go.", metavar="EMOTION")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="Keep rows that meet it: relFCs<0.9, part=mine.", metavar="CONDITION"),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Draw splits anew: 80/10/10.", metavar="SHARES")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed, another draw.")] = None,
) -> None:
    """Repair a dataset into a new one, with a record of every change."""
    from mien.data.audit.suspects import OutOfFold
    from mien.data.clean import clean_dataset
    from mien.data.dataset import Dataset
    from mien.data.decisions import read_decisions
    from mien.data.rules import Rules, read_rules

    chosen = read_rules(
        rules,
        {
            "drop": drop,
            "label_from": label_from,
            "confidence": confidence,
            "suspicion": suspicion,
            "merge": dict(pair(text) for text in merge or ()),
            "without": without,
            "where": where,
            "split": _shares(split) if split else None,
            "seed": seed,
        },
    )
    if decisions is None and chosen == Rules(
        seed=chosen.seed, confidence=chosen.confidence, suspicion=chosen.suspicion
    ):
        raise UsageError(
            "nothing to do: expected --rules, --decisions, --drop, --label-from, --merge, "
            "--without, --where or --split"
        )
    opened = Dataset.open(dataset)
    read = OutOfFold.open(predictions) if predictions else None
    decided = read_decisions(decisions, opened) if decisions else None
    with show_progress() as show:
        info, changes = clean_dataset(
            opened, out, chosen, predictions=read, decisions=decided, progress=show
        )
    print_dataset(out, info)
    if decided and decided.elsewhere:
        out_console.print(f"decisions about pictures that it has not: {decided.elsewhere:,}")
    counts = ", ".join(f"{n:,} {change}" for change, n in changes.items()) or "none"
    out_console.print(f"changes: {counts} ({shown(out / 'changes.jsonl')})", soft_wrap=True)


def _shares(text: str) -> tuple[float, float, float]:
    try:
        train, valid, test = (float(part) for part in text.split("/"))
    except ValueError:
        raise UsageError(f"split {text!r}: expected three shares, 80/10/10") from None
    return train, valid, test


@data_app.command("join")
def data_join(
    datasets: Annotated[
        list[Path], typer.Argument(metavar="DATASET", help="Dataset folders, two or more.")
    ],
    out: Annotated[Path, typer.Option(help="The dataset folder to make.", metavar="DATASET")],
    train_only: Annotated[
        list[Path] | None,
        typer.Option(help="One of them, all of whose images go to train.", metavar="DATASET"),
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Side of the packed images, pixels (their smallest).")
    ] = None,
    channels: Annotated[
        int | None, typer.Option(help="1 grey, 3 RGB (RGB if all of them are).")
    ] = None,
) -> None:
    """Make one dataset of several, without leaks between them."""
    from mien.data.dataset import Dataset
    from mien.data.join import join_datasets

    with show_progress() as show:
        info = join_datasets(
            [Dataset.open(path) for path in datasets],
            out,
            train_only=train_only or (),
            size=size,
            channels=channels,
            progress=show,
        )
    print_dataset(out, info)


@data_app.command("stream")
def data_stream(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="A dataset folder.")],
    out: Annotated[
        str, typer.Option(help="A new folder, or an address (s3://…).", metavar="PLACE")
    ],
    images: Annotated[int, typer.Option(help="How many images a file holds.", min=1)] = 4096,
) -> None:
    """Write the training and validation images as tar files that training reads as it goes."""
    from mien.data.dataset import Dataset
    from mien.data.stream import STREAMED_SPLITS, write_stream

    with show_progress() as show:
        stream = write_stream(Dataset.open(dataset), out, images_per_shard=images, progress=show)
    for split in STREAMED_SPLITS:
        files = stream.shards(split)
        count = sum(file.images for file in files)
        out_console.print(f"{split}: {count:,} images in {len(files)} file{'s' * (len(files) > 1)}")
    out_console.print(f"stream: {shown(out)}", soft_wrap=True)


@data_app.command("collect")
def data_collect(
    out: Annotated[
        Path, typer.Option(help="Where pictures go, a folder an emotion.", metavar="DIR")
    ],
    source: Annotated[
        str, typer.Option(help="A camera's number or device.", metavar="0|DEVICE")
    ] = "0",
    emotion: Annotated[
        list[str] | None,
        typer.Option(help="An emotion to ask for; again for more; else all eight."),
    ] = None,
    wanted: Annotated[int, typer.Option(help="How many pictures of each.", min=1)] = 24,
    detector: Annotated[str, typer.Option(help="A detector, see 'mien predict'.")] = "auto",
    mirror: Annotated[
        bool, typer.Option("--mirror/--no-mirror", help="Show the picture as a mirror does.")
    ] = True,
) -> None:
    """Take pictures of your own face by the webcam, labelled: space takes one, q quits."""
    from mien.detect import make_detector
    from mien.video.camera import Camera
    from mien.video.collect import Collecting
    from mien.video.window import Window

    asked = tuple(dict.fromkeys(canonical(name) for name in emotion or EMOTIONS))
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: that is a file; expected a folder, or a new one")
    look = make_detector(detector)
    with Window() as window, Camera(camera_or_place(source)) as camera:
        counts = Collecting(
            camera,
            window,
            look,
            out,
            asked,
            wanted,
            mirror=mirror,
            say=lambda text: err_console.print(shown(text), soft_wrap=True),
        ).run()
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    out_console.print(f"{told}: {shown(out)}", soft_wrap=True)
    if min(counts.values()) >= wanted:
        out_console.print(f"{wanted:,} of each: all are taken; --wanted asks for more")


@data_app.command("draw")
def data_draw(
    out: Annotated[Path, typer.Option(help="The folder to make.", metavar="DIR")],
    count: Annotated[int, typer.Option(help="How many faces.", min=8)] = 4000,
    size: Annotated[int, typer.Option(help="Side, pixels.", min=16, max=1024)] = 48,
    seed: Annotated[int, typer.Option(help="Another seed, other faces.", min=0)] = 0,
) -> None:
    """Draw faces: a labelled folder of images for a first try, without anyone's photo."""
    from mien.data.drawn_folder import draw_folder

    with show_progress() as show:
        draw_folder(out, count=count, size=size, seed=seed, progress=show)
    out_console.print(f"{count:,} drawn faces: {shown(out)}", soft_wrap=True)
