"""Folders and object stores by one name: a path, or an address that pyarrow opens."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyarrow import fs

from mien.errors import UsageError

__all__ = ["DAMAGED", "absolute", "is_lasting", "left_by_writing", "locate", "whole_file"]

DAMAGED: Final = (OSError, ValueError, pa.ArrowException)
"""What pyarrow raises where a file is damaged."""


def absolute(place: str) -> str:
    """Return an address as it is, and a path as it is called from any folder."""
    return place if "://" in place else str(Path(place).absolute())


def locate(place: str) -> tuple[fs.FileSystem, str]:
    """Return the file system of a path or address, and the path on it.

    Raises:
        UsageError: no such kind of address.
    """
    try:
        files, path = fs.FileSystem.from_uri(absolute(place))
    except (OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{place}: no path or address that can be opened ({reason})") from None
    return files, path.rstrip("/")


def is_lasting(error: Exception, files: fs.FileSystem, path: str) -> bool:
    """Tell a file that is gone or damaged from one that is out of reach for now.

    Args:
        error: one of `DAMAGED`, of reading the file.
        files: where it is.
        path: its path there.
    """
    if not isinstance(error, OSError) or isinstance(error, FileNotFoundError):
        return True
    if error.errno is not None:
        return False
    # pyarrow raises the same error for a damaged page and for a store that does not answer.
    try:
        with files.open_input_file(os.fsencode(path)) as file:
            file.seek(max(0, file.size() - 8))
            file.read(8)
    except OSError:
        return False
    return True


@contextmanager
def whole_file(files: fs.FileSystem, path: str) -> Iterator[Any]:
    """Give a stream to write to; the file has its name once it is whole, and never before.

    What a broken-off writing leaves begins with an underscore: whoever reads a folder as a table
    passes it over. Several processes may write the same file; the last one to end wins.
    """
    folder, _, name = path.rpartition("/")
    temporary = f"{folder}/_{name}.{os.getpid()}.tmp"
    try:
        with files.open_output_stream(temporary) as file:
            yield file
        files.move(temporary, path)
    except BaseException:
        with suppress(OSError):
            files.delete_file(temporary)
        raise


def left_by_writing(name: str, of: str) -> bool:
    """Tell whether a file's name is that of a broken-off writing of one whose name matches."""
    return re.fullmatch(rf"_(?:{of})\.\d+\.tmp", name) is not None
