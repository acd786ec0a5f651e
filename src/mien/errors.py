"""The errors that mien raises on purpose.

    MienError
    ├── UsageError        the call was wrong                  (exit status 2)
    │   └── ConfigError   a setting or recipe was wrong       (exit status 2)
    └── DataError         something in the input was wrong    (exit status 1)
        ├── ImageError    an image cannot be read
        ├── VideoError    a video or camera cannot be read, a video cannot be written
        ├── DatasetError  a dataset, table or manifest is not what it should be
        └── ModelError    a model file is not what it should be

The text of each says what came, what was expected and what to do. The command line prints it as
one line; nothing else is printed unless ``--debug`` is given.
"""

from collections.abc import Collection
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = [
    "ConfigError",
    "DataError",
    "DatasetError",
    "ImageError",
    "MienError",
    "ModelError",
    "UsageError",
    "VideoError",
    "first_problem",
    "one_of",
]


def one_of(known: Collection[str], given: str) -> str:
    """Say what was expected instead of a name that is none: those alike it, or else all."""
    if alike := get_close_matches(given.lower(), known, n=3):
        return f"did you mean {' or '.join(alike)}?"
    return f"expected one of {', '.join(known)}"


def first_problem(error: "ValidationError") -> tuple[str, str]:
    """Return where what pydantic refused is first wrong, ``a.b``, and in what way."""
    problem = error.errors()[0]
    says = problem["msg"].removeprefix("Value error, ")
    where = ".".join(str(part) for part in problem["loc"]) if problem["loc"] else "all of it"
    return where, f"{says[0].lower()}{says[1:]}"


class MienError(Exception):
    """Base of every error that mien raises on purpose. Its text is one line."""

    exit_status = 1

    def __init__(self, text: str) -> None:
        # What other libraries say, and names of files, may have several.
        super().__init__(" ".join(text.splitlines()))


class UsageError(MienError):
    """The call was wrong: an unknown name, an option that does not fit."""

    exit_status = 2


class ConfigError(UsageError):
    """A setting, a recipe file or a ``--set`` was wrong; the text names the key."""


class DataError(MienError):
    """Something in the input was wrong."""


class ImageError(DataError):
    """An image cannot be read or is too large."""


class VideoError(DataError):
    """A video or a camera cannot be read, or a video cannot be written."""


class DatasetError(DataError):
    """A dataset folder, a label table or a manifest is not what it should be."""


class ModelError(DataError):
    """A model or run is missing, damaged or of another kind."""
