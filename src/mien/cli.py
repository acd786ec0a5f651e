"""The command line: the only place that prints errors and exits.

Results go to standard output, progress to standard error. Exit status: 0 done; 1 something in the
data was wrong and is reported; 2 the call was wrong. Each command imports what it needs when it
runs, so that `mien predict` never waits for torch.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, TypeVar

import rich.progress
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from mien.errors import MienError, UsageError, VideoError
from mien.records import SPLITS, Prediction
from mien.version import __version__

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mien.evaluate import Report
    from mien.model import EmotionModel
    from mien.predictor import Recogniser
    from mien.progress import Progress
    from mien.timeline import Timeline

__all__ = ["app", "main"]

T = TypeVar("T")
_PEOPLE_TOLD = 12
_GROUPS_TOLD = 12
_PROBABILITY_FIGURES = ("nll", "calibration_error", "brier")

app = typer.Typer(
    help="Facial emotion recognition that you train yourself, from scratch.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(
    help="Datasets: import what you have, and find what is wrong with it.", no_args_is_help=True
)
app.add_typer(data_app, name="data")

out_console = Console(highlight=False)
err_console = Console(stderr=True, highlight=False)


def main() -> None:
    """Run the command line; no traceback reaches a user, except with ``--debug``."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(arguments, prog_name="mien")
    except MienError as error:
        if debug:
            raise
        _complain(str(error))
        sys.exit(error.exit_status)
    except ModuleNotFoundError as error:
        if debug:
            raise
        extra = "serve" if error.name in {"fastapi", "starlette", "uvicorn"} else "train"
        _complain(
            f"this command needs {error.name}, which is not installed: in mien's source folder, "
            f"pip install '.[{extra}]'"
        )
        sys.exit(2)
    except OSError as error:
        if debug:
            raise
        _complain(f"{error.strerror or error}: {error.filename or 'while reading or writing'}")
        sys.exit(1)
    except KeyboardInterrupt:
        _complain("interrupted")
        sys.exit(130)


def _version(wanted: bool) -> None:
    if wanted:
        out_console.print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Options of every command."""


# --- recognition --------------------------------------------------------------------------------


@app.command()
def predict(
    sources: Annotated[
        list[str], typer.Argument(metavar="SRC...", help="Images, videos, folders, globs.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for annotated copies.", metavar="DIR")
    ] = None,
    json_file: Annotated[
        str | None,
        typer.Option(
            "--json", help="One JSON object a line; - is standard output.", metavar="FILE"
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="A shipped model or an ONNX file.")] = "base",
    detector: Annotated[
        str,
        typer.Option(
            help="auto, fast, centerface, blazeface, haar, a file; none: each image is one face."
        ),
    ] = "auto",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Find faces in pictures and videos and name their emotions."""
    from mien import load
    from mien.inputs import find_inputs
    from mien.video import is_video

    recogniser = load(model, detector=detector, device=device)
    paths = find_inputs(sources)
    copies = _Copies(out) if out else None
    failed = False
    with _json_lines(json_file) as lines, _progress() as show:
        report = _Reports(lines, copies, say=json_file != "-")
        for of_videos, group in groupby(paths, is_video):
            if of_videos:
                for path in group:
                    failed |= not report.video(recogniser, path, show)
            else:
                failed |= not report.images(recogniser, list(group), show)
    if failed:
        raise typer.Exit(1)


@app.command()
def live(
    source: Annotated[
        str, typer.Option(help="A camera's number, a file or an address.", metavar="0|FILE|URL")
    ] = "0",
    record: Annotated[
        Path | None,
        typer.Option(help="Record what is shown: .mp4, .webm, .mkv or .avi.", metavar="FILE"),
    ] = None,
    no_window: Annotated[bool, typer.Option("--no-window", help="Show nothing.")] = False,
    max_frames: Annotated[
        int, typer.Option(help="Stop after so many frames; 0 goes on.", min=0)
    ] = 0,
    model: Annotated[str, typer.Option(help="A shipped model or an ONNX file.")] = "base",
    detector: Annotated[str, typer.Option(help="A detector, see 'mien predict'.")] = "fast",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Read faces in the webcam's picture, in a window: h shows the keys."""
    from contextlib import nullcontext

    from mien import load
    from mien.camera import Camera
    from mien.live import Live
    from mien.window import Window

    number = int(source) if source.isdecimal() else None
    recogniser = load(model, detector=detector, device=device, threads=1)
    with (
        nullcontext(None) if no_window else Window() as window,
        Camera(source if number is None else number, patient=not no_window) as camera,
    ):
        result = Live(
            recogniser,
            camera,
            window,
            mirror=number is not None,
            record=record,
            max_frames=max_frames,
            say=lambda text: err_console.print(_shown(text), soft_wrap=True),
        ).run()
    out_console.print(f"{result.frames:,} frames, {result.rate:.1f} a second")
    if result.problem:
        raise VideoError(result.problem)


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(help="The address to listen on; any but this machine's asks for a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65_535)] = 8765,
    model: Annotated[
        list[str] | None,
        typer.Option(help="A shipped model or an ONNX file; again for more.", metavar="MODEL"),
    ] = None,
    detector: Annotated[str, typer.Option(help="For pictures, see 'mien predict'.")] = "auto",
    stream_detector: Annotated[str, typer.Option(help="For the webcam and videos.")] = "fast",
    token: Annotated[
        str | None,
        typer.Option(
            envvar="MIEN_TOKEN", help="What clients must show; made up where one is needed."
        ),
    ] = None,
    rate: Annotated[float, typer.Option(help="Requests a second of one client.", min=0.1)] = 20.0,
    streams: Annotated[int, typer.Option(help="Webcams and videos at once.", min=1)] = 16,
    max_mb: Annotated[int, typer.Option(help="Size of a picture's file, MB.", min=1)] = 16,
    certificate: Annotated[
        Path | None, typer.Option(help="TLS certificate, for https.", metavar="PEM")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Its key.", metavar="PEM")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Serve a web page (webcam, pictures, videos) and a REST API."""
    from mien.detect import make_detector
    from mien.model import DEFAULT_MODEL, load_model
    from mien.serve import Limits
    from mien.serve import serve as run_server

    if (certificate is None) != (key is None):
        raise UsageError("--certificate and --key: expected both or neither")
    names = model or [DEFAULT_MODEL]
    opened = {Path(name).stem: load_model(name, device=device, threads=1) for name in names}
    if len(opened) < len(names):
        raise UsageError("--model: two of them have the same name; rename one of the files")
    run_server(
        opened,
        host=host,
        port=port,
        token=token,
        detector=make_detector(detector),
        stream_detector=make_detector(stream_detector),
        limits=Limits(picture_bytes=max_mb * 1_000_000, rate=rate, streams=streams),
        certificate=(certificate, key) if certificate and key else None,
        say=lambda address: out_console.print(
            f"mien is at {_shown(address)}  (Ctrl-C ends it)", soft_wrap=True
        ),
    )


@app.command()
def score(
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="A folder or Parquet; s3:// and gs:// too.")
    ],
    out: Annotated[str, typer.Option(help="A folder of Parquet parts.", metavar="FILE.parquet")],
    engine: Annotated[str, typer.Option(help="local or ray.")] = "local",
    workers: Annotated[
        int, typer.Option(help="Processes at work at once; 0: one a core.", min=0)
    ] = 0,
    column: Annotated[
        str, typer.Option(help="Of Parquet, the column with the images' bytes.")
    ] = "image",
    model: Annotated[str, typer.Option(help="A shipped model or an ONNX file.")] = "base",
    detector: Annotated[str, typer.Option(help="A detector, see 'mien predict'.")] = "auto",
) -> None:
    """Read faces in very many images; killed at any moment, the same command goes on."""
    from mien.detect import make_detector
    from mien.model import load_model
    from mien.score import Job, plan_scores, run_parts

    opened = load_model(model)
    make_detector(detector)
    file = opened.path.read_bytes()
    job = Job(source, column, opened.card.name, sha256(file).hexdigest()[:16], detector)
    plan = plan_scores(job, out)
    left = plan.missing()
    before = plan.images - sum(plan.sizes[number] for number in left)
    began = time.monotonic()
    with _progress() as show:
        parts = run_parts(plan, file, engine=engine, workers=workers or os.cpu_count() or 1)
        done = list(show(parts, total=len(left), doing="scoring parts"))
    images, unreadable = (sum(getattr(t, k) for t in done) for k in ("images", "unreadable"))
    rate = images / max(time.monotonic() - began, 1e-9)
    out_console.print(
        f"{plan.images:,} images, {before:,} of them done before; now {images:,} with "
        f"{sum(tally.faces for tally in done):,} faces, {rate:,.0f} a second",
        soft_wrap=True,
    )
    if unreadable:
        _complain(f"{unreadable:,} could not be read: the column 'error' says why")
        raise typer.Exit(1)


class _Reports:
    """Tells what was recognised: as JSON lines, in words, as annotated copies."""

    def __init__(self, lines: IO[str] | None, copies: "_Copies | None", *, say: bool) -> None:
        self._lines = lines
        self._copies = copies
        self._say = say

    def images(self, recogniser: "Recogniser", paths: list[str], show: "Progress") -> bool:
        """Go through images; whether all of them could be read."""
        fine = True
        found = recogniser.predict_files(paths)
        for prediction, pixels in show(found, total=len(paths), doing="recognising"):
            fine &= self._line(prediction)
            if self._say:
                _print_prediction(prediction)
            if self._copies and pixels is not None:
                self._copies.add(prediction, pixels)
        return fine

    def video(self, recogniser: "Recogniser", path: str, show: "Progress") -> bool:
        """Go through a video; whether all of it could be read."""
        from mien.timeline import Timeline
        from mien.video import Video

        timeline = Timeline(path)
        fine = True
        try:
            with Video(path) as video, self._copy(path, video.rate) as copy:
                frames = recogniser.video(video)
                for prediction, pixels in show(
                    frames, total=video.expected_frames, doing=f"watching {_shown(path)}"
                ):
                    fine &= self._line(prediction)
                    if pixels is not None:
                        timeline.add(prediction, pixels)
                        copy(prediction, pixels)
        except VideoError as error:
            return self._line(Prediction(path, error=str(error)))
        if self._say:
            _print_timeline(timeline)
        if self._copies:
            self._copies.add_timeline(timeline)
        return fine

    def _line(self, prediction: Prediction) -> bool:
        if self._lines:
            self._lines.write(json.dumps(prediction.to_json()) + "\n")
        if prediction.error:
            _complain(prediction.error)
        return prediction.error is None

    @contextmanager
    def _copy(
        self, path: str, rate: float
    ) -> Iterator[Callable[[Prediction, "NDArray[np.uint8]"], None]]:
        if self._copies is None:
            yield lambda prediction, pixels: None
            return
        from mien.annotate import annotate
        from mien.video import VideoCopy

        with VideoCopy(self._copies.take(path, ".mp4"), rate=rate) as copy:
            yield lambda prediction, pixels: copy.add(
                annotate(pixels, prediction.faces), prediction.time_s
            )


class _Copies:
    """Writes annotated copies into one folder, none over another."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._taken: set[str] = set()

    def add(self, prediction: Prediction, pixels: "NDArray[np.uint8]") -> None:
        from mien.annotate import annotate
        from mien.images import write_image

        path = self.take(prediction.source, ".jpg")
        write_image(path, annotate(pixels, prediction.faces))

    def add_timeline(self, timeline: "Timeline") -> None:
        """Draw a video's timeline; without matplotlib and jinja2 say so and go on."""
        from mien.atomic import write_text

        picture = self.take(timeline.source, ".png", of="timeline")
        try:
            from mien.timeline_page import render_timeline
            from mien.timeline_picture import save_timeline
        except ModuleNotFoundError as error:
            _complain(f"no timeline: it needs {error.name}; pip install '.[data]' brings it")
            return
        save_timeline(picture, timeline)
        page = picture.with_suffix(".html")
        write_text(page, render_timeline(timeline))
        err_console.print(f"wrote {_shown(page)}", soft_wrap=True)

    def take(self, source: str, suffix: str, *, of: str = "") -> Path:
        """Return a name that nothing else has, for what is made of a source."""
        stem = Path(source.partition("?")[0]).stem or "stream"
        stem = f"{stem}-{of}" if of else stem
        name, number = f"{stem}{suffix}", 1
        while name in self._taken:
            number += 1
            name = f"{stem}-{number}{suffix}"
        self._taken.add(name)
        return self._folder / name


@contextmanager
def _json_lines(target: str | None) -> Iterator[IO[str] | None]:
    if target is None:
        yield None
    elif target == "-":
        yield sys.stdout
    else:
        with Path(target).open("w", encoding="utf-8") as file:
            yield file


def _print_prediction(prediction: Prediction) -> None:
    if prediction.error:
        return
    faces = ", ".join(f"{face.emotion} {face.confidence:.0%}" for face in prediction.faces)
    out_console.print(f"{_shown(prediction.source)}: {faces or 'no face found'}", soft_wrap=True)


def _print_timeline(timeline: "Timeline") -> None:
    people = timeline.people()
    count = f"{len(people) or 'no'} face{'' if len(people) == 1 else 's'}"
    out_console.print(
        f"{_shown(timeline.source)}: {timeline.frames:,} frames, {timeline.duration_s:.1f} s, "
        f"{count}",
        soft_wrap=True,
    )
    for person in people[:_PEOPLE_TOLD]:
        shares = ", ".join(f"{e} {share:.0%}" for e, share in list(person.shares().items())[:3])
        out_console.print(f"  face {person.number}: {person.seen_s:.1f} s, {shares}")


@app.command()
def models() -> None:
    """List the models that the package ships."""
    from mien.model import load_model, shipped_models

    table = Table(
        "name", "emotions", "input", "weights", "file", "accuracy", "measured on", box=None
    )
    for name, path in shipped_models().items():
        card = load_model(name).card
        split = "test" if "test" in card.figures else "valid"
        figures = card.figures[split]
        data = card.training["dataset"]["source_format"]
        table.add_row(
            name,
            str(len(card.labels)),
            f"{card.size}x{card.size} {'grey' if card.channels == 1 else 'RGB'}",
            f"{card.parameters / 1e6:.2f} M",
            f"{path.stat().st_size / 1e6:.1f} MB",
            f"{figures['accuracy']:.2%}",
            f"{data} {split}" + (f", n = {figures['n']:,}" if "n" in figures else ""),
        )
    out_console.print(table)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="The folder to make.", metavar="DIR")],
) -> None:
    """Go the whole way once on drawn faces: data, training, judgement, recognition."""
    from mien.demo import demonstrate

    if out.exists():
        raise UsageError(f"{out} exists already: choose another --out, or remove it first")
    with _progress() as show:
        result = demonstrate(out, say=err_console.print, progress=show, on_epoch=_print_epoch)
    for name, faces in (("photo", result.photo), ("drawn scene", result.drawn)):
        _print_prediction(Prediction(name, faces=tuple(faces)))
    _print_report(result.report)
    out_console.print("look at:")
    for path, says in result.files.items():
        out_console.print(f"  {_shown(path)}  {says}", soft_wrap=True)


# --- data ---------------------------------------------------------------------------------------


@data_app.command("import")
def data_import(
    format_name: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help="auto, ferplus, fer2013, affectnet, affectnet-npy, affectnet-kaggle, "
            "affectnet-yolo, rafdb, expw, ckplus, folder, csv or parquet.",
        ),
    ],
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder, zip or table.")],
    out: Annotated[Path, typer.Option(help="The dataset folder to make.", metavar="DATASET")],
    size: Annotated[
        int | None, typer.Option(help="Side of the packed images, pixels (the format's own).")
    ] = None,
    channels: Annotated[int | None, typer.Option(help="1 grey, 3 RGB (the format's own).")] = None,
) -> None:
    """Import labelled images into one dataset folder."""
    from mien.data.importers import import_dataset, recognise

    if format_name == "auto":
        format_name, why = recognise(source)
        err_console.print(f"recognised as {format_name}: {_shown(why)}", soft_wrap=True)
    with _progress() as show:
        info = import_dataset(format_name, source, out, size=size, channels=channels, progress=show)
    _print_dataset(out, info)


def _print_dataset(path: Path, info: dict[str, Any]) -> None:
    table = Table("emotion", *SPLITS, box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for emotion in info["labels"]:
        table.add_row(emotion, *(f"{info['counts'][s].get(emotion, 0):,}" for s in SPLITS))
    table.add_row("all", *(f"{sum(info['counts'][s].values()):,}" for s in SPLITS), style="bold")
    out_console.print(table)
    for split in SPLITS:
        for reason, count in info["excluded"][split].items():
            out_console.print(f"left out of {split}: {count:,} {_shown(reason)}", soft_wrap=True)
    out_console.print(f"dataset: {_shown(path)}", soft_wrap=True)


@data_app.command("audit")
def data_audit(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="A dataset folder.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the page, audit.html.", metavar="DIR")
    ] = None,
    json_file: Annotated[
        str | None,
        typer.Option("--json", help="Every finding; - is standard output.", metavar="FILE"),
    ] = None,
    suspects: Annotated[
        bool,
        typer.Option(
            "--suspects",
            help="Look for wrong labels too: trains networks in DIR/cross-fit, minutes to hours.",
        ),
    ] = False,
    recipe: Annotated[str, typer.Option(help="What --suspects trains by.")] = "fast",
    folds: Annotated[int, typer.Option(help="How many networks --suspects trains.", min=2)] = 4,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Find what is wrong with a dataset."""
    from mien.atomic import write_text
    from mien.data.audit.auditor import audit_dataset
    from mien.data.audit.findings import KINDS
    from mien.data.audit.page import render_page
    from mien.data.dataset import Dataset

    opened = Dataset.open(dataset)
    if suspects and out is None:
        raise UsageError("--suspects trains networks: say with --out DIR where they may lie")
    with _progress() as show:
        predictions = None
        if suspects and out:
            from mien.config import load_recipe
            from mien.crossfit import cross_fit

            predictions = cross_fit(
                opened,
                load_recipe(recipe),
                out / "cross-fit",
                folds=folds,
                device=device,
                progress=show,
                on_epoch=_print_epoch,
            )
        audit = audit_dataset(opened, predictions=predictions, progress=show)
    with _json_lines(json_file) as lines:
        if lines:
            lines.write(json.dumps(audit.to_json(), indent=2) + "\n")
    if json_file != "-":
        table = Table("finding", "n", "what it is", box=None)
        table.columns[1].justify = "right"
        for kind, count in audit.summary.items():
            table.add_row(kind, f"{count:,}", KINDS[kind].says, style=None if count else "dim")
        out_console.print(table)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        page = out / "audit.html"
        write_text(page, render_page(audit, opened))
        err_console.print(f"wrote {_shown(page)}", soft_wrap=True)


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
    predictions: Annotated[
        Path | None,
        typer.Option(help="DIR/cross-fit/out-of-fold.parquet of an audit.", metavar="FILE"),
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
        typer.Option(help="Keep rows that meet it: relFCs<0.9.", metavar="CONDITION"),
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
    from mien.data.rules import Rules, read_rules

    chosen = read_rules(
        rules,
        {
            "drop": drop,
            "label_from": label_from,
            "confidence": confidence,
            "merge": dict(_pair(text) for text in merge or ()),
            "without": without,
            "where": where,
            "split": _shares(split) if split else None,
            "seed": seed,
        },
    )
    if chosen == Rules(seed=chosen.seed, confidence=chosen.confidence):
        raise UsageError(
            "nothing to do: expected --rules, --drop, --label-from, --merge, --without, --where "
            "or --split"
        )
    read = OutOfFold.open(predictions) if predictions else None
    with _progress() as show:
        info, changes = clean_dataset(
            Dataset.open(dataset), out, chosen, predictions=read, progress=show
        )
    _print_dataset(out, info)
    counts = ", ".join(f"{n:,} {change}" for change, n in changes.items()) or "none"
    out_console.print(f"changes: {counts} ({_shown(out / 'changes.jsonl')})", soft_wrap=True)


def _pair(
    text: str, expected: str = "merge: expected OLD=NEW, contempt=disgust"
) -> tuple[str, str]:
    old, separator, new = text.partition("=")
    if not separator:
        raise UsageError(f"{expected}, not {text!r}")
    return old, new


def _shares(text: str) -> tuple[float, float, float]:
    try:
        train, valid, test = (float(part) for part in text.split("/"))
    except ValueError:
        raise UsageError(f"split {text!r}: expected three shares, 80/10/10") from None
    return train, valid, test


@data_app.command("draw")
def data_draw(
    out: Annotated[Path, typer.Option(help="The folder to make.", metavar="DIR")],
    count: Annotated[int, typer.Option(help="How many faces.", min=8)] = 4000,
    size: Annotated[int, typer.Option(help="Side, pixels.", min=16, max=1024)] = 48,
    seed: Annotated[int, typer.Option(help="Another seed, other faces.", min=0)] = 0,
) -> None:
    """Draw faces: a labelled folder of images for a first try, without anyone's photo."""
    from mien.data.drawn_folder import draw_folder

    with _progress() as show:
        draw_folder(out, count=count, size=size, seed=seed, progress=show)
    out_console.print(f"{count:,} drawn faces: {_shown(out)}", soft_wrap=True)


# --- training and judgement ---------------------------------------------------------------------


@app.command()
def train(
    data: Annotated[Path, typer.Option(help="A dataset folder.", metavar="DATASET")],
    recipe: Annotated[str, typer.Option(help="A shipped recipe or a TOML file.")] = "base",
    out: Annotated[
        Path | None, typer.Option(help="The run folder; runs/RECIPE if not given.", metavar="RUN")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after the last epoch.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the recipe, key=value.", metavar="KEY=VALUE"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Train a network from scratch."""
    from mien.config import load_recipe
    from mien.data.dataset import Dataset
    from mien.train import train as run_training

    config = load_recipe(recipe, settings or ())
    dataset = Dataset.open(data)
    run = out or Path("runs") / Path(recipe).stem
    with _progress() as show:
        result = run_training(
            dataset,
            config,
            run,
            resume=resume,
            device=device,
            progress=show,
            on_epoch=_print_epoch,
        )
    best = result.history[result.best_epoch - 1]
    out_console.print(
        f"best epoch {result.best_epoch}: validation loss {best['valid_loss']:.4f}, "
        f"accuracy {best['valid_accuracy']:.2%}, macro recall {best['valid_macro_recall']:.2%}"
    )
    out_console.print(f"run: {_shown(run)} (curves: {_shown(run / 'curves.png')})", soft_wrap=True)


def _print_epoch(entry: dict[str, Any]) -> None:
    err_console.print(
        f"epoch {entry['epoch']:>3}  train loss {entry['train_loss']:.4f}  "
        f"valid loss {entry['valid_loss']:.4f}  accuracy {entry['valid_accuracy']:.2%}  "
        f"macro recall {entry['valid_macro_recall']:.2%}  {entry['seconds']:.0f} s",
        soft_wrap=True,
    )


@app.command("eval")
def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A shipped model, file or run.")],
    data: Annotated[Path, typer.Option(help="A dataset folder.", metavar="DATASET")],
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the report; RUN/eval-SPLIT if a run.", metavar="DIR"),
    ] = None,
    json_file: Annotated[
        str | None,
        typer.Option("--json", help="The figures; - is standard output.", metavar="FILE"),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(help="Figures for each value of a manifest column too.", metavar="COLUMN"),
    ] = None,
    environments: Annotated[
        bool,
        typer.Option("--environments", help="Also in strange light, with a mask, blurred ..."),
    ] = False,
) -> None:
    """Measure a model on a split of a dataset."""
    from mien.data.dataset import Dataset
    from mien.evaluate import evaluate as run_evaluation
    from mien.evaluate import known_rows

    if split not in SPLITS:
        raise UsageError(f"split {split!r}: expected {', '.join(SPLITS)}")
    dataset = Dataset.open(data)
    opened = _open_model(model)
    with _progress() as show:
        report = run_evaluation(opened, dataset, split, by=by, progress=show)
        if environments:
            from mien.robustness import answers_of, judge_environments

            rows, _ = known_rows(dataset, split, opened.card.labels)
            found = judge_environments(
                answers_of(opened), dataset, rows, opened.card.labels, progress=show
            )
            report = replace(report, environments=found)
    folder = out or (Path(model) / f"eval-{split}" if Path(model).is_dir() else None)
    with _json_lines(json_file) as lines:
        if lines:
            lines.write(json.dumps(report.to_json(), indent=2) + "\n")
    if json_file != "-":
        _print_report(report)
    history = _history(Path(model))
    for path in report.save(folder, dataset, history=history) if folder else ():
        err_console.print(f"wrote {_shown(path)}", soft_wrap=True)


def _history(run: Path) -> list[dict[str, Any]]:
    """The epochs of a run; none where it is no run."""
    file = run / "history.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _open_model(name_or_path: str) -> "EmotionModel":
    if Path(name_or_path).is_dir():
        from mien.runs import open_run

        return open_run(Path(name_or_path))
    from mien.model import load_model

    return load_model(name_or_path)


def _print_report(report: "Report") -> None:
    figures = report.evaluation
    out_console.print(
        f"[bold]{_shown(report.model)}[/] on {report.dataset['source_format']} {report.split}, "
        f"n = {figures.count:,}: accuracy {figures.accuracy:.2%}, "
        f"macro recall {figures.macro_recall:.2%}, NLL {figures.nll:.4f}, calibration error "
        f"{figures.calibration_error:.2%}, Brier {figures.brier:.4f}",
        soft_wrap=True,
    )
    (low, high), (least, most) = report.intervals["accuracy"], report.intervals["macro_recall"]
    out_console.print(
        f"95 % of resamples: accuracy {low:.2%} to {high:.2%}, macro recall {least:.2%} to "
        f"{most:.2%}",
        soft_wrap=True,
    )
    table = Table("emotion", "n", "recall", "precision", "F1", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for emotion, count in figures.support.items():
        values = (part[emotion] for part in (figures.recall, figures.precision, figures.f1))
        shown = ["-" if value is None else f"{value:.1%}" for value in values]
        table.add_row(emotion, f"{count:,}", *shown)
    out_console.print(table)
    for label, count in report.left_out.items():
        out_console.print(f"left out: {count:,} {label}, which the model does not know")
    if report.by:
        _print_groups(report.by, report.groups)
    if report.environments:
        _print_environments(report.environments)


def _print_groups(by: str, groups: dict[str, dict[str, float | int]]) -> None:
    table = Table(_shown(by), "n", "accuracy", "macro recall", "NLL", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for value, group in list(groups.items())[:_GROUPS_TOLD]:
        table.add_row(
            _shown(value),
            f"{group['n']:,}",
            f"{group['accuracy']:.1%}",
            f"{group['macro_recall']:.1%}",
            f"{group['nll']:.3f}",
        )
    out_console.print(table)
    if len(groups) > _GROUPS_TOLD:
        out_console.print(f"and {len(groups) - _GROUPS_TOLD:,} smaller groups")


def _print_environments(found: dict[str, Any]) -> None:
    table = Table("condition", "weak", "middle", "strong", "NLL", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, entries in found["conditions"].items():
        table.add_row(
            name.replace("_", " "),
            *(f"{entry['accuracy']:.1%}" for entry in entries),
            f"{entries[1]['nll']:.3f}",
        )
    out_console.print(table)
    middle = found["middle"]
    out_console.print(
        f"at the middle strength {middle['mean_share_of_clean']:.1%} of the clean accuracy is "
        f"left, {middle['worst'].replace('_', ' ')} leaves {middle['worst_share_of_clean']:.1%}; a "
        f"trembling box changes {found['flips']:.1%} of the answers",
        soft_wrap=True,
    )


@app.command()
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
    json_file: Annotated[
        str | None,
        typer.Option("--json", help="The figures; - is standard output.", metavar="FILE"),
    ] = None,
) -> None:
    """Judge several models, other packages among them, on the same images."""
    from mien.compare import compare as run_comparison
    from mien.data.dataset import Dataset

    if split not in SPLITS:
        raise UsageError(f"split {split!r}: expected {', '.join(SPLITS)}")
    commands = dict(_pair(text, "peer: expected NAME=COMMAND") for text in peer or ())
    opened = {name: _open_single_threaded(name) for name in models}
    with _progress() as show:
        found = run_comparison(
            opened,
            commands,
            Dataset.open(data),
            split,
            environments=environments,
            progress=show,
        )
    with _json_lines(json_file) as lines:
        if lines:
            lines.write(json.dumps(found, indent=2) + "\n")
    if json_file != "-":
        _print_comparison(found)
    for reason in found["failed"].values():
        _complain(reason)
    if found["failed"]:
        raise typer.Exit(1)


def _open_single_threaded(name: str) -> "tuple[EmotionModel, int | None]":
    from mien.model import load_model

    if Path(name).is_dir():
        import torch

        torch.set_num_threads(1)
        return _open_model(name), None
    model = load_model(name, threads=1)
    return model, model.path.stat().st_size


def _print_comparison(found: dict[str, Any]) -> None:
    out_console.print(
        f"{found['dataset']['source_format']} {found['split']}, n = {found['n']:,}; "
        f"{len(found['shared'])} shared emotions, n = {found['n_shared']:,}",
        soft_wrap=True,
    )
    headings = (
        "accuracy",
        "shared",
        "macro recall",
        "NLL",
        "ECE",
        "Brier",
        "ms",
        "MB",
        "p",
    )
    table = Table("model", *headings, box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for entry in found["models"]:
        whole, shared = entry["all"], entry["shared"]
        test = entry.get("against_first")
        table.add_row(
            _shown(entry["name"]),
            f"{whole['accuracy']:.2%}",
            "-" if shared is None else f"{shared['accuracy']:.2%}",
            f"{whole['macro_recall']:.2%}",
            *("-" if whole[key] is None else f"{whole[key]:.3f}" for key in _PROBABILITY_FIGURES),
            f"{entry['milliseconds']:.2f}",
            "-" if entry["bytes"] is None else f"{entry['bytes'] / 1e6:.1f}",
            "" if test is None else f"{test['mcnemar_p']:.2g}",
        )
    out_console.print(table)
    for entry in found["models"]:
        if entry["no_face"]:
            out_console.print(f"{_shown(entry['name'])}: no face in {entry['no_face']:,} images")
    for entry in found["models"]:
        if "environments" in entry:
            middle = entry["environments"]["middle"]
            out_console.print(
                f"{_shown(entry['name'])}: in environments {middle['mean_share_of_clean']:.1%} of "
                f"its accuracy, {middle['worst_share_of_clean']:.1%} with {middle['worst']}; "
                f"a trembling box changes {entry['environments']['flips']:.1%} of its answers",
                soft_wrap=True,
            )


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder of 'mien train'.")],
    out: Annotated[Path, typer.Option(help="The file to write.", metavar="FILE.onnx")],
    int8: Annotated[
        bool, typer.Option("--int8", help="8 bits inside: a quarter of the size, and quicker.")
    ] = False,
) -> None:
    """Write a run's best epoch as a file that runs without torch."""
    from mien.export import export_int8, export_run

    started = time.perf_counter()
    if int8:
        card, agreement = export_int8(run, out)
        compared = f"answers as the run does for {agreement:.1%} of drawn faces"
    else:
        card, difference = export_run(run, out)
        compared = f"differs from the run by at most {difference:.1e}"
    out_console.print(
        f"{_shown(out)}: {card.network}, {card.parameters:,} weights, "
        f"{out.stat().st_size / 1e6:.2f} MB; {compared} ({time.perf_counter() - started:.1f} s)",
        soft_wrap=True,
    )


@app.command()
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
    out: Annotated[Path, typer.Option(help="Folder for the race's runs.", metavar="DIR")] = Path(
        "runs/race"
    ),
    recipe: Annotated[str, typer.Option(help="Ours.")] = "base",
    against: Annotated[str, typer.Option(help="Theirs.")] = "second",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of both recipes, key=value.", metavar="KEY=VALUE"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    json_file: Annotated[
        str | None,
        typer.Option("--json", help="The figures; - is standard output.", metavar="FILE"),
    ] = None,
) -> None:
    """Measure mien's own speed on this machine, as ratios against what it is to beat."""
    from mien.bench import bench_recognition, bench_training, race
    from mien.data.dataset import Dataset

    result: Any
    if what == "train":
        if data is None:
            raise UsageError("bench train: say with --data DATASET what to train on")
        with _progress() as show:
            found = race(
                Dataset.open(data),
                out,
                theirs=against,
                ours=recipe,
                settings=settings or (),
                device=device,
                progress=show,
                on_epoch=_print_epoch,
            )
        result = found.to_json()
        if json_file != "-":
            _print_race(result)
    elif what == "speed":
        with _progress() as show:
            figures = [*bench_recognition(progress=show), *bench_training(progress=show)]
        result = [figure.to_json() for figure in figures]
        if json_file != "-":
            table = Table("what", "", "", "against the baseline", box=None)
            for figure in figures:
                ratio = "" if figure.ratio is None else f"{figure.ratio:.1f} times as fast"
                table.add_row(figure.name, f"{figure.value:,.2f}", figure.unit, ratio)
            out_console.print(table)
    else:
        raise UsageError(f"bench {what!r}: expected speed or train")
    with _json_lines(json_file) as lines:
        if lines:
            lines.write(json.dumps(result, indent=2) + "\n")


def _print_race(found: dict[str, Any]) -> None:
    line = (
        f"{found['theirs']}: best validation accuracy {found['goal']:.2%} after "
        f"{found['their_seconds']:,.0f} s of training; {found['ours']}: "
    )
    if found["our_seconds"] is None:
        out_console.print(line + "not reached", soft_wrap=True)
    else:
        took = f"{found['our_seconds']:,.0f} s, {found['ratio']:.1f} times as fast"
        out_console.print(line + took, soft_wrap=True)


@contextmanager
def _progress() -> Iterator["Progress"]:
    """Give a function that shows how far something is, on a terminal only."""
    with rich.progress.Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err_console,
        transient=True,
        disable=not err_console.is_terminal,
    ) as bars:

        def show(items: Iterable[T], *, total: int, doing: str) -> Iterator[T]:
            task = bars.add_task(doing, total=total)
            for item in items:
                yield item
                bars.advance(task)
            bars.remove_task(task)

        yield show


def _complain(text: str) -> None:
    err_console.print(f"[bold red]mien:[/] {_shown(text)}", soft_wrap=True)


def _shown(text: object) -> str:
    """Make one printable line of a path or message, whatever bytes and breaks a name holds."""
    line = " ".join(str(text).split())
    return escape(line.encode("utf-8", "replace").decode())
