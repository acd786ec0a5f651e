"""What the user named: images, videos, folders, globs, turned into a list of files."""

import glob
from collections.abc import Iterable
from pathlib import Path

from mien.errors import DataError
from mien.images import IMAGE_SUFFIXES
from mien.video import VIDEO_SUFFIXES, is_address

__all__ = ["find_inputs"]

_SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES


def find_inputs(sources: Iterable[str]) -> list[str]:
    """Return the images and videos that some names mean, in their order.

    Folders are searched whole. A plain file is taken whatever its suffix, an address as it is; a
    file that does not exist is kept, so that its absence is reported beside what was found.

    Raises:
        DataError: a folder has no image or video, or a pattern matches none.
    """
    return [path for source in sources for path in _expand(source)]


def _expand(source: str) -> list[str]:
    if is_address(source):
        return [source]
    path = Path(source)
    if path.is_dir():
        found = sorted(str(p) for p in path.rglob("*") if _is_input(p))
        if not found:
            raise DataError(
                f"{source}: no image or video in this folder; expected files ending in "
                f"{', '.join(sorted(_SUFFIXES))}"
            )
        return found
    if not path.exists() and glob.has_magic(source):
        # pathlib's glob takes no absolute patterns.
        matches = glob.glob(source, recursive=True)  # noqa: PTH207
        found = sorted(match for match in matches if _is_input(Path(match)))
        if not found:
            raise DataError(f"{source}: the pattern matches no image or video")
        return found
    return [source]


def _is_input(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and path.is_file()
