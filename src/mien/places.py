"""Folders and object stores by one name: a path, or an address that pyarrow opens."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pyarrow import fs

from mien.errors import UsageError

__all__ = ["left_by_writing", "locate", "whole_file"]


def locate(place: str) -> tuple[fs.FileSystem, str]:
    """Return the file system of a path or address, and the path on it.

    Raises:
        UsageError: no such kind of address.
    """
    try:
        absolute = place if "://" in place else str(Path(place).absolute())
        files, path = fs.FileSystem.from_uri(absolute)
    except (OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{place}: no path or address that can be opened ({reason})") from None
    return files, path.rstrip("/")


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
