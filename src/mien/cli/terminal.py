"""What the commands share: where they print, and how."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, TypeVar

import rich.progress
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mien.atomic import write_text
from mien.errors import UsageError
from mien.records import printable, show_path
from mien.termination import heed_lost

if TYPE_CHECKING:
    from mien.progress import Progress

__all__ = [
    "FiguresFile",
    "LinesFile",
    "camera_or_place",
    "complain",
    "err_console",
    "hand_out",
    "json_lines",
    "out_console",
    "pair",
    "show_progress",
    "shown",
]

T = TypeVar("T")

_TOLD_EVERY_S = 60.0

# Where several processes of a machine train together, only the first speaks, but for `complain`.
_SILENT = os.environ.get("LOCAL_RANK", "0") != "0"

# Without markup, names and labels that hold brackets are printed as they are.
out_console = Console(highlight=False, markup=False, quiet=_SILENT)
err_console = Console(stderr=True, highlight=False, markup=False, quiet=_SILENT)


def _expect_json(target: str | None) -> str | None:
    """Refuse to write over what is no JSON: a photo, a film, a model that stood after ``--json``.

    Raises:
        UsageError: there is such a file.
    """
    if target and target != "-" and (path := Path(target)).is_file():
        with path.open("rb") as file:
            begins = file.read(64).lstrip()[:1]
        if begins not in {b"", b"{", b"["}:
            raise UsageError(
                f"--json {path}: that is there, holds no JSON and would be lost; expected a new "
                "file, one of JSON, or - for standard output"
            )
    return target


_json_option = partial(typer.Option, "--json", metavar="FILE", callback=_expect_json)

FiguresFile = Annotated[str | None, _json_option(help="The figures; - is standard output.")]
LinesFile = Annotated[
    str | None, _json_option(help="One JSON object a line; - is standard output.")
]
"""What ``--json`` names, for `json_lines` and `hand_out`."""


@contextmanager
def json_lines(target: str | None) -> Iterator[IO[str] | None]:
    """Open what ``--json`` names: a file, ``-`` for standard output; None where it is not given."""
    if target is None:
        yield None
    elif target == "-":
        yield sys.stdout
    else:
        path = Path(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            yield file


def hand_out(target: str | None, text: str) -> None:
    """Write all that ``--json`` asks for at once: a file is never seen half written."""
    if target is None:
        return
    path = Path(target)
    if target == "-":
        sys.stdout.write(text)
    elif path.is_symlink() or (path.exists() and not path.is_file()):
        # A link leads elsewhere, and a pipe or device is no file: nothing may replace them.
        with path.open("w", encoding="utf-8") as file:
            file.write(text)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)


def camera_or_place(source: str) -> int | str:
    """Return a camera's number as one, and any other source as it is."""
    return int(source) if source.isdecimal() else source


def pair(text: str, expected: str = "merge: expected OLD=NEW, contempt=disgust") -> tuple[str, str]:
    """Split ``OLD=NEW``."""
    old, separator, new = text.partition("=")
    if not separator:
        raise UsageError(f"{expected}, not {text!r}")
    return old, new


@contextmanager
def show_progress() -> Iterator["Progress"]:
    """Give a function that shows how far something is: a bar, or where no one watches, lines."""
    if not err_console.is_terminal:
        yield _tell_progress
        return
    with rich.progress.Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err_console,
        transient=True,
    ) as bars:

        def show(items: Iterable[T], *, total: int, doing: str) -> Iterator[T]:
            task = bars.add_task(doing, total=total)
            for item in items:
                heed_lost()
                yield item
                bars.advance(task)
            bars.remove_task(task)

        yield show


def _tell_progress(items: Iterable[T], *, total: int, doing: str) -> Iterator[T]:
    """Say in a line now and then how far something is: a log shows that it goes on."""
    due = time.monotonic() + _TOLD_EVERY_S
    for done, item in enumerate(items, 1):
        heed_lost()
        yield item
        if time.monotonic() >= due:
            of = f" of {total:,}" if total else ""
            err_console.print(f"{shown(doing)}: {done:,}{of}", soft_wrap=True)
            due = time.monotonic() + _TOLD_EVERY_S


def complain(text: str, *, by_all: bool = False) -> None:
    """Print one line about what is wrong.

    Args:
        text: what is said.
        by_all: every process that trains together says it, so the first is enough.
    """
    if not _SILENT:
        err_console.print(Text("mien:", "bold red"), shown(text), soft_wrap=True)
    elif not by_all:
        number = os.environ.get("RANK", os.environ["LOCAL_RANK"])
        print(f"mien: process {number}: {' '.join(text.split())}", file=sys.stderr)


def shown(text: object) -> str:
    """Make one printable line of a path or message, whatever bytes and breaks a name holds."""
    return printable(show_path(" ".join(str(text).split())))
