"""What the user named: images, videos, folders, globs, turned into a list of files."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from mien.errors import UsageError
from mien.images import IMAGE_SUFFIXES
from mien.video.files import VIDEO_SUFFIXES, is_address

__all__ = ["Inputs", "find_inputs"]

_SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES


class Inputs(NamedTuple):
    """What some names mean.

    Attributes:
        paths: images and videos, in the order in which they were named.
        problems: why a name means none of them, for each such name.
    """

    paths: list[str]
    problems: dict[str, str]


def find_inputs(sources: Iterable[str], *, without: Path | None = None) -> Inputs:
    """Find the images and videos that some names mean.

    Folders are searched whole, but for hidden files and folders. A plain file is taken whatever its
    suffix, an address as it is; a file that does not exist is kept, so that its absence is reported
    beside what was found.

    Args:
        sources: the names.
        without: where what is made of them goes: no folder or pattern means the files in it.

    Raises:
        UsageError: ``without`` is one of the folders, or a pattern means files in it alone.
    """
    found = Inputs([], {})
    kept_out = None if without is None else without.resolve()
    for source in sources:
        files = _search(source)
        if files is None:
            found.paths.append(source)
            continue
        paths = sorted(file for file in files if _is_input(Path(file)))
        others = [file for file in paths if Path(file).parent.resolve() != kept_out]
        if paths and (not others or Path(source).resolve() == kept_out):
            raise UsageError(
                f"{source} is read, so what is made of it cannot go there, where it would be read "
                "the next time: choose another folder"
            )
        found.paths.extend(others)
        if not paths:
            found.problems[source] = f"{source}: {_nothing_in(source)}"
    return found


def _search(source: str) -> Iterator[str] | None:
    """Return the files that a folder or a pattern means; None: the source is a file itself."""
    if is_address(source):
        return None
    if _is_folder(source):
        # Hidden are what macOS leaves beside photos (._photo.jpg), and recordings that were killed.
        return (
            str(file)
            for file in Path(source).rglob("*")
            if not any(part.startswith(".") for part in file.relative_to(source).parts)
        )
    if glob.has_magic(source) and not os.path.exists(source):  # noqa: PTH110, as in _is_folder
        # pathlib's glob takes no absolute patterns.
        return glob.iglob(source, recursive=True)  # noqa: PTH207
    return None


def _nothing_in(source: str) -> str:
    if not _is_folder(source):
        return "the pattern matches no image or video"
    suffixes = ", ".join(sorted(_SUFFIXES))
    return f"no image or video in this folder; expected files ending in {suffixes}"


def _is_input(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and os.path.isfile(path)  # noqa: PTH113, likewise


def _is_folder(source: str) -> bool:
    # pathlib raises where a name is too long or lies behind a closed door.
    return os.path.isdir(source)  # noqa: PTH112
