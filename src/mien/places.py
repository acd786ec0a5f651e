"""Folders and object stores by one name: a path, or an address that pyarrow opens."""

from pathlib import Path

from pyarrow import fs

from mien.errors import UsageError

__all__ = ["locate"]


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
