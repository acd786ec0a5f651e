"""One command at a time in a folder that is written to for hours."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from mien.atomic import is_free
from mien.errors import UsageError

__all__ = ["AtWorkError", "alone_in"]

_NAME: Final = ".lock"

_HELD: Final = frozenset({errno.EACCES, errno.EAGAIN, errno.EDEADLK})
"""What systems say where another process has the lock; else they say that they know no locks."""


class AtWorkError(UsageError):
    """Another command is at work in the folder."""


@contextmanager
def alone_in(folder: Path, *, kind: str, known_by: str) -> Iterator[None]:
    """Make a folder, or take one that was begun, and keep other commands out for a while.

    The lock is the operating system's, so it goes with its process, however that ends. Where the
    file system knows none, nobody is kept out.

    Args:
        folder: the folder.
        kind: what it is to hold, ``run``.
        known_by: the file that every such folder has.

    Raises:
        UsageError: it holds something else.
        AtWorkError: another command is at work in it.
    """
    if not (folder / known_by).exists() and not is_free(folder):
        raise UsageError(f"{folder} is not empty and no {kind}: choose another --out")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _NAME).open("a", encoding="utf-8") as file:
        try:
            _lock(file)
        except OSError as error:
            if error.errno in _HELD:
                raise AtWorkError(
                    f"another command is at work in {folder}: wait for it, or choose another --out"
                ) from None
        else:
            # Whoever is alone here finds half written only what a killed one left.
            for left in folder.glob(".*.partial"):
                with suppress(OSError):
                    left.unlink()
        yield


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[str]) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
