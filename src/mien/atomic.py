"""Files that are whole or absent, whatever happens while they are written."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["beside", "is_free", "numbered", "replacing", "write_text"]


_LONGEST = 200
"""Bytes of a name that another with more about it begins with: systems take 255."""


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Give a path to write to; it becomes ``path`` when the block ends well, and goes if not.

    Args:
        path: what is made, or replaced.
        durable: it stands a power cut, too, from then on; of thousands of files this takes long.
    """
    partial = beside(path)
    try:
        yield partial
        if durable:
            with partial.open("r+b") as file:  # Windows flushes nothing that is open for reading.
                os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        # A full disk names nothing.
        if error.filename in {None, str(partial)}:
            error.filename = str(path)  # the name that its user gave
        raise
    finally:
        partial.unlink(missing_ok=True)


def beside(path: Path) -> Path:
    """Return a hidden path beside another, for what becomes it once it is whole.

    Two that write the same at the same time must not write into one, so each call gives another.
    """
    name = path.name
    if len(held := os.fsencode(name)) > _LONGEST:
        name = held[:_LONGEST].decode(errors="ignore")
    return path.with_name(f".{name}.{secrets.token_hex(4)}.partial")


def is_free(folder: Path, *, but: str = "") -> bool:
    """Tell whether a folder is absent or empty, but for one name and for hidden ones.

    Hidden are what `replacing` leaves behind where its process is killed, and locks (`mien.lock`).
    """
    if not folder.exists():
        return True
    return all(path.name.startswith(".") or path.name == but for path in folder.iterdir())


def numbered(path: Path) -> Path:
    """Return a path, or the first with a number behind its name, where nothing is yet."""
    free, number = path, 1
    while free.exists():
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    return free


def write_text(path: Path, text: str) -> None:
    """Write a text file so that it is never seen half written."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
