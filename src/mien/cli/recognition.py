"""Commands that read faces: predict, live, serve, score, models."""

import json
import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Final, Self

import typer
from rich.table import Table

from mien.errors import UsageError, VideoError
from mien.records import Prediction

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mien.card import ModelCard
    from mien.predictor import Recogniser
    from mien.progress import Progress
    from mien.video.files import VideoCopy
    from mien.video.timeline import Timeline

from mien.cli.printing import print_prediction, print_timeline
from mien.cli.terminal import (
    LinesFile,
    camera_or_place,
    complain,
    err_console,
    json_lines,
    out_console,
    show_progress,
    shown,
)

__all__ = ["live", "models", "predict", "score", "serve"]

_LONGEST_STEM: Final = 200
"""Bytes of a name without its suffix: file systems take 255, with what is put behind it."""


def predict(
    sources: Annotated[
        list[str], typer.Argument(metavar="SRC...", help="Images, videos, folders, globs.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for annotated copies.", metavar="DIR")
    ] = None,
    json_file: LinesFile = None,
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
    from mien.termination import on_termination
    from mien.video.files import is_video

    recogniser = load(model, detector=detector, device=device)
    inputs = find_inputs(sources, without=out)
    copies = _Copies(out, inputs.paths) if out else None
    failed = bool(inputs.problems)
    with on_termination(_interrupt), json_lines(json_file) as lines, show_progress() as show:
        report = _Reports(lines, copies, say=json_file != "-")
        for source, problem in inputs.problems.items():
            report.nothing(source, problem)
        for of_videos, group in groupby(inputs.paths, is_video):
            if of_videos:
                for path in group:
                    failed |= not report.video(recogniser, path, show)
            else:
                failed |= not report.images(recogniser, list(group), show)
    if failed:
        raise typer.Exit(1)


def live(
    source: Annotated[
        str,
        typer.Option(
            help="A camera's number or device, a file or an address.", metavar="0|FILE|URL"
        ),
    ] = "0",
    record: Annotated[
        Path | None,
        typer.Option(help="Record what is shown: .mp4, .webm, .mkv or .avi.", metavar="FILE"),
    ] = None,
    json_file: LinesFile = None,
    no_window: Annotated[bool, typer.Option("--no-window", help="Show nothing.")] = False,
    mirror: Annotated[
        bool | None,
        typer.Option(
            "--mirror/--no-mirror",
            help="Swap left and right, in recordings too; else for cameras in a window only.",
        ),
    ] = None,
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
    from mien.video.camera import Camera
    from mien.video.files import is_camera
    from mien.video.live import Live
    from mien.video.window import Window

    opened = camera_or_place(source)
    if mirror is None:
        mirror = is_camera(opened) and not no_window
    if record and (file := _file_at(record)) and file == _file_at(Path(source)):
        raise UsageError(f"--record {record}: that is the source itself: choose another file")
    recogniser = load(model, detector=detector, device=device, threads=1)
    with (
        json_lines(json_file) as lines,
        nullcontext(None) if no_window else Window(instead="--no-window goes without") as window,
        Camera(opened, patient=not no_window) as camera,
    ):
        result = Live(
            recogniser,
            camera,
            window,
            mirror=mirror,
            record=record,
            max_frames=max_frames,
            say=lambda text: err_console.print(shown(text), soft_wrap=True),
            seen=partial(_write_line, lines),
        ).run()
    console = err_console if json_file == "-" else out_console
    console.print(f"{result.frames:,} frames, {result.rate:.1f} a second")
    if result.problem:
        raise VideoError(result.problem)


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
    token_file: Annotated[
        Path | None,
        typer.Option(envvar="MIEN_TOKEN_FILE", help="A file that holds it.", metavar="FILE"),
    ] = None,
    rate: Annotated[float, typer.Option(help="Requests a second of one client.", min=0.1)] = 20.0,
    streams: Annotated[int, typer.Option(help="Webcams and videos at once.", min=1)] = 16,
    max_mb: Annotated[int, typer.Option(help="Size of a picture's file, MB.", min=1)] = 16,
    at_once: Annotated[
        int, typer.Option(help="Pictures and frames at work at once; 0: one a core.", min=0)
    ] = 0,
    origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Of a proxy before it, or of a page that asks it; again for more.",
            metavar="https://NAME",
        ),
    ] = None,
    proxy: Annotated[
        bool, typer.Option("--proxy", help="Believe a proxy on this machine who asks.")
    ] = False,
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
    if token_file:
        token = _token_of(token_file, token)
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
        limits=Limits(
            picture_bytes=max_mb * 1_000_000, rate=rate, streams=streams, at_once=at_once
        ),
        origins=origin or (),
        proxy=proxy,
        certificate=(certificate, key) if certificate and key else None,
        say=lambda address: out_console.print(
            f"mien is at {shown(address)}  (Ctrl-C ends it)", soft_wrap=True
        ),
    )


def _token_of(file: Path, token: str | None) -> str:
    if token is not None:
        raise UsageError("--token or MIEN_TOKEN, and --token-file: expected one of them")
    try:
        token = file.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"--token-file {file}: not readable ({reason})") from None
    if len(token.splitlines()) > 1:
        raise UsageError(f"--token-file {file}: several lines; expected a token alone")
    return token


def score(
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="A folder or Parquet; s3:// and gs:// too.")
    ],
    out: Annotated[str, typer.Option(help="A folder of Parquet parts.", metavar="DIR")],
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
    from mien.cores import usable_cores
    from mien.detect import DETECTORS, detector_identity, make_detector
    from mien.model import load_model
    from mien.places import absolute
    from mien.score import Job, plan_scores, run_parts, unreadable_in
    from mien.termination import on_termination

    opened = load_model(model)
    file = opened.path.read_bytes()
    # Workers elsewhere stand in other folders.
    source, out = absolute(source), absolute(out)
    if detector not in DETECTORS and Path(detector).is_file():
        detector = str(Path(detector).absolute())
    job = Job(
        source=source,
        column=column,
        model=opened.card.name,
        fingerprint=opened.fingerprint,
        detector=detector,
        found_by=detector_identity(detector, make_detector(detector)),
    )
    plan = plan_scores(job, out)
    if plan.new_files:
        complain(
            f"{plan.new_files:,} new files in {source} since {out} was begun are left out: a new "
            "--out scores them"
        )
    left = plan.missing()
    earlier = sorted(set(range(len(plan.sizes))) - set(left))
    before = sum(plan.sizes[number] for number in earlier)
    began = time.monotonic()
    with on_termination(_interrupt), show_progress() as show:
        parts = run_parts(plan, file, engine=engine, workers=workers or usable_cores())
        done = list(show(parts, total=len(left), doing="scoring parts"))
    images = sum(tally.images for tally in done)
    rate = images / max(time.monotonic() - began, 1e-9)
    unreadable = unreadable_in(plan, earlier) + sum(tally.unreadable for tally in done)
    out_console.print(
        f"{plan.images:,} images, {before:,} of them done before; now {images:,} with "
        f"{sum(tally.faces for tally in done):,} faces, {rate:,.0f} a second",
        soft_wrap=True,
    )
    if unreadable:
        complain(f"{unreadable:,} could not be read: the column 'error' says why")
        raise typer.Exit(1)


def models(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...", help="Shipped models or ONNX files; else all shipped."
        ),
    ] = None,
    json_file: LinesFile = None,
) -> None:
    """List models; with --json their whole cards: labels, input, data, recipe, figures."""
    from mien.model import load_model, shipped_models

    table = Table(
        "name", "emotions", "input", "weights", "file", "accuracy", "measured on", box=None
    )
    table.columns[0].overflow = "fold"
    caveats: dict[str, str] = {}
    with json_lines(json_file) as lines:
        for name in names or shipped_models():
            model = load_model(name)
            card = model.card
            if lines:
                told = {"fingerprint": model.fingerprint, **card.model_dump(mode="json")}
                lines.write(json.dumps(told) + "\n")
            accuracy, measured_on, caveat = _measured(card)
            if caveat:
                caveats[name] = caveat
            table.add_row(
                shown(name),
                str(len(card.labels)),
                f"{card.size}x{card.size} {'grey' if card.channels == 1 else 'RGB'}",
                f"{card.parameters / 1e6:.2f} M",
                f"{model.path.stat().st_size / 1e6:.1f} MB",
                accuracy,
                measured_on,
            )
    if json_file != "-":
        out_console.print(table)
        for name, caveat in caveats.items():
            out_console.print(f"{shown(name)}: {shown(caveat)}", soft_wrap=True)


def _measured(card: "ModelCard") -> tuple[str, str, str]:
    """Return the accuracy that a card tells, of what, and why it may flatter."""
    split = next((each for each in ("test", "valid") if each in card.figures), None)
    if split is None:
        return "not measured", "", ""
    figures = card.figures[split]
    # What a run notes of its own validation does not name the data.
    data = figures.get("dataset") or card.training.get("dataset", {})
    of = f", n = {figures['n']:,}" if "n" in figures else ""
    measured_on = f"{data.get('source_format', '')} {split}{of}"
    return f"{figures['accuracy']:.2%}", measured_on, figures.get("caveat", "")


def _interrupt() -> None:
    raise KeyboardInterrupt


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
                print_prediction(prediction)
            if self._copies and pixels is not None:
                fine &= _written(partial(self._copies.add, prediction, pixels))
        return fine

    def video(self, recogniser: "Recogniser", path: str, show: "Progress") -> bool:
        """Go through a video; whether all of it could be read.

        Raises:
            KeyboardInterrupt: the user ended it. What was seen at an address is summed up before;
                of a file, which can be read again, no half is left.
        """
        from mien.video.files import Video, is_address
        from mien.video.timeline import Timeline

        timeline = Timeline(path)
        fine, interrupted = True, False
        try:
            with Video(path) as video, self._copy(path, video.rate) as copy:
                frames = recogniser.video(video)
                try:
                    for prediction, pixels in show(
                        frames, total=video.expected_frames, doing=f"watching {shown(path)}"
                    ):
                        fine &= self._line(prediction)
                        if pixels is not None:
                            timeline.add(prediction, pixels)
                            copy.add(prediction, pixels)
                except KeyboardInterrupt:
                    if not is_address(path):
                        raise
                    interrupted = True
        except VideoError as error:
            self.nothing(path, str(error))
            return False
        fine &= copy.fine
        if self._say:
            print_timeline(timeline)
        if self._copies:
            fine &= _written(partial(self._copies.add_timeline, timeline))
        if interrupted:
            raise KeyboardInterrupt
        return fine

    def nothing(self, source: str, problem: str) -> None:
        """Tell why there is nothing to read in a source."""
        self._line(Prediction(source, error=problem))

    def _line(self, prediction: Prediction) -> bool:
        _write_line(self._lines, prediction)
        if prediction.error:
            complain(prediction.error)
        return prediction.error is None

    def _copy(self, path: str, rate: float) -> "_AnnotatedVideo":
        return _AnnotatedVideo(self._copies.take(path, ".mp4") if self._copies else None, rate)


def _write_line(lines: IO[str] | None, prediction: Prediction) -> None:
    """Write a JSON line, if any are wanted, at once: another program may wait for it."""
    if lines:
        lines.write(json.dumps(prediction.to_json()) + "\n")
        lines.flush()


class _AnnotatedVideo:
    """A context manager that writes an annotated copy; where it cannot, reading goes on without.

    Where the block ends by an error, nothing is left of it.

    Args:
        path: where to; None: nowhere.
        rate: frames a second.

    Attributes:
        fine: whether all that was to be written could be.
    """

    def __init__(self, path: Path | None, rate: float) -> None:
        from mien.video.files import VideoCopy

        self._copy = VideoCopy(path, rate=rate) if path else None
        self.fine = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *raised: object) -> None:
        self._try(lambda copy: copy.close() if kind is None else copy.drop())

    def add(self, prediction: Prediction, pixels: "NDArray[np.uint8]") -> None:
        from mien.annotate import annotate

        self._try(lambda copy: copy.add(annotate(pixels, prediction.faces), prediction.time_s))

    def _try(self, write: Callable[["VideoCopy"], None]) -> None:
        if self._copy is None:
            return
        if not _written(partial(write, self._copy)):
            self._copy, self.fine = None, False


class _Copies:
    """Writes annotated copies into one folder, none over another or over what is read.

    Args:
        folder: it is made where it is not there.
        inputs: what is read.
    """

    def __init__(self, folder: Path, inputs: Iterable[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._taken: set[str] = set()
        # Files rather than names: one may have several, and case counts on some systems only.
        self._read = {file for path in inputs if (file := _file_at(Path(path)))}

    def add(self, prediction: Prediction, pixels: "NDArray[np.uint8]") -> None:
        from mien.annotate import annotate
        from mien.images import JPEG_SIDE, write_image

        suffix = ".jpg" if max(pixels.shape) <= JPEG_SIDE else ".png"
        path = self.take(prediction.source, suffix)
        write_image(path, annotate(pixels, prediction.faces))

    def add_timeline(self, timeline: "Timeline") -> None:
        """Draw a video's timeline; without matplotlib and jinja2 say so and go on."""
        from mien.atomic import write_text

        picture = self.take(timeline.source, ".png", of="timeline")
        try:
            from mien.video.timeline_page import render_timeline
            from mien.video.timeline_picture import save_timeline
        except ModuleNotFoundError as error:
            complain(f"no timeline: it needs {error.name}; pip install '.[data]' brings it")
            return
        save_timeline(picture, timeline)
        page = picture.with_suffix(".html")
        write_text(page, render_timeline(timeline))
        err_console.print(f"wrote {shown(page)}", soft_wrap=True)

    def take(self, source: str, suffix: str, *, of: str = "") -> Path:
        """Return a name that nothing else has, for what is made of a source."""
        from mien.video.files import title

        stem = Path(title(source)).stem or "stream"
        while len(os.fsencode(stem)) > _LONGEST_STEM:
            stem = stem[:-1]
        stem = f"{stem}-{of}" if of else stem
        name, number = f"{stem}{suffix}", 1
        # Where case does not count, two names that differ in it alone are one.
        while name.casefold() in self._taken or _file_at(self._folder / name) in self._read:
            number += 1
            name = f"{stem}-{number}{suffix}"
        self._taken.add(name.casefold())
        path = self._folder / name
        if number > 1:
            err_console.print(f"{shown(source)}: drawn on {shown(path)}", soft_wrap=True)
        return path


def _written(write: Callable[[], None]) -> bool:
    """Write a copy; where it cannot be, say why, so that reading goes on."""
    try:
        write()
    except VideoError as error:
        complain(str(error))
        return False
    except OSError as error:
        complain(f"{error.strerror or error}: {error.filename or 'while writing a copy'}")
        return False
    return True


def _file_at(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from every other on this machine; None: there is no such file."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino
