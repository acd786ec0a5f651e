"""The command line: the only place that prints errors and exits.

Results go to standard output, progress to standard error. Exit status: 0 done; 1 something in the
data was wrong and is reported; 2 the call was wrong. Each command imports what it needs when it
runs, so that `mien predict` never waits for torch.
"""

import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from mien.cli import judging, recognition, training
from mien.cli.data import data_app
from mien.cli.terminal import complain, out_console
from mien.cores import telling_of_threads
from mien.errors import MienError, UsageError
from mien.version import __version__

__all__ = ["app", "main"]


class _Commands(TyperGroup):
    """The commands; those of ``mien data`` are told where their first word was left out."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, None where there is none.

        Raises:
            UsageError: it is one of ``mien data``.
        """
        found = super().get_command(ctx, cmd_name)
        data = super().get_command(ctx, "data")
        known = isinstance(data, TyperGroup) and cmd_name in data.commands
        if found is None and known and not ctx.resilient_parsing:  # as completion parses
            raise UsageError(f"{cmd_name!r} is a command of 'mien data': mien data {cmd_name}")
        return found


class _WithSettings(TyperCommand):
    """A command with ``--set``; a setting that is given as an option of its own is told."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line.

        Raises:
            UsageError: an option is a setting of recipes.
        """
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            from mien.config import TrainConfig

            option = str(getattr(error, "option_name", ""))
            setting = option.lstrip("-").replace("-", "_")
            if setting in TrainConfig.model_fields:
                raise UsageError(
                    f"{option}: that is a setting of recipes: --set {setting}=VALUE"
                ) from None
            raise


app = typer.Typer(
    cls=_Commands,
    help="Facial emotion recognition that you train yourself, from scratch.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(recognition.predict)
app.command()(recognition.live)
app.command()(recognition.serve)
app.command()(recognition.score)
app.command()(recognition.models)
app.add_typer(data_app, name="data")
app.command(cls=_WithSettings)(training.train)
app.command()(training.runs)
app.command(cls=_WithSettings)(training.search)
app.command("eval")(judging.evaluate)
app.command()(judging.compare)
app.command(cls=_WithSettings)(judging.cross_validate)
app.command()(training.average)
app.command()(training.export)
app.command(cls=_WithSettings)(training.bench)
app.command()(training.demo)

_EXTRAS = {
    **dict.fromkeys(("fastapi", "starlette", "uvicorn"), "serve"),
    **dict.fromkeys(("pyarrow", "matplotlib", "jinja2"), "data"),
    "optuna": "search",
    "skimage": "demo",
}
"""What installs a package that a command misses, where training's extra does not, or need not."""

_STDOUT, _STDERR = 1, 2
_INTERRUPTED: Final = 130
_GOES_ON = {
    "train": "the same command with --resume goes on",
    "search": "the same command goes on",
    "cross-validate": "the same command goes on",
    "score": "the same command goes on",
}
"""What to do after Ctrl-C, by the command that it ended."""

_MISSING_LIBRARY = "cannot open shared object file"
"""What Linux says where OpenCV's windows lack a library, as on bare servers."""


def main() -> None:
    """Run the command line; no traceback reaches a user, except with ``--debug``."""
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        # A terminal or file in another encoding than UTF-8 may not have a name's letters.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    # Figures go to files only; a notebook's own way to show them, which it hands on to what it
    # starts, may not be installed here.
    os.environ["MPLBACKEND"] = "agg"
    try:
        with telling_of_threads():
            app(arguments, prog_name="mien")
    except (KeyboardInterrupt, SystemExit) as ended:
        sys.exit(_status(ended, arguments))
    except Exception as error:
        if debug:
            raise
        try:
            sys.exit(_explained(error))
        except MemoryError:
            os.write(_STDERR, b"mien: too little memory to go on\n")
            sys.exit(1)


def _explained(error: Exception) -> int:
    """Say in a line what ended a command; return its exit status."""
    status, by_all = 1, False
    match error:
        case MienError():
            # A call is wrong in every process; what else each of them raises has a note about it.
            by_all = isinstance(error, UsageError) or bool(getattr(error, "__notes__", None))
            status, says = error.exit_status, str(error)
        case ModuleNotFoundError():
            extra = _EXTRAS.get(error.name or "", "train")
            status = 2
            says = (
                f"this command needs {error.name}, which is not installed: in mien's source "
                f"folder, pip install '.[{extra}]'"
            )
        case ImportError() if _MISSING_LIBRARY in str(error):
            status = 2
            says = (
                f"a library of the system is missing ({error}); on Debian and Ubuntu: "
                "apt install libgl1 libglib2.0-0"
            )
        case OSError():
            says = f"{error.strerror or error}"
            # What names no file, and is of other libraries, names it in its words if at all.
            if error.filename or "/" not in says:
                says = f"{says}: {error.filename or 'while reading or writing'}"
        case MemoryError():
            says = "too little memory: fewer --workers, smaller batches or smaller images need less"
        case _:
            says = (
                f"a mistake in mien itself: {type(error).__name__}: {error}; with --debug the "
                "same command shows where: please report that"
            )
    complain(says, by_all=by_all)
    return status


def _open_streams() -> None:
    """Put something where a caller closed standard streams: the next file would be taken for it."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(descriptor, True)  # for the processes that this one starts
    os.close(descriptor)
    sys.stdout = sys.stdout or os.fdopen(_STDOUT, "w")
    sys.stderr = sys.stderr or os.fdopen(_STDERR, "w")


def _status(ended: KeyboardInterrupt | SystemExit, arguments: Sequence[str]) -> int | str | None:
    """Return the exit status of a command that ended early, and say so where Ctrl-C did it."""
    # Within a command, typer makes a SystemExit of a KeyboardInterrupt.
    status = ended.code if isinstance(ended, SystemExit) else _INTERRUPTED
    if status == _INTERRUPTED:
        command = next((word for word in arguments if not word.startswith("-")), "")
        further = f": {_GOES_ON[command]}" if command in _GOES_ON else ""
        complain(f"interrupted{further}", by_all=True)
    return status


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
