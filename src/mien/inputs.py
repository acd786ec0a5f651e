"""What the user named: images, folders, globs, turned into a list of image files."""

import glob
from collections.abc import Iterable
from pathlib import Path

from mien.errors import DataError
from mien.images import IMAGE_SUFFIXES

__all__ = ["find_images"]


def find_images(sources: Iterable[str]) -> list[str]:
    """Return the image files that some names mean, in their order; folders are searched whole.

    A plain file is taken whatever its suffix; one that does not exist is kept, so that its absence
    is reported beside what was found.

    Raises:
        DataError: a folder has no image, or a pattern matches nothing.
    """
    return [path for source in sources for path in _expand(source)]


def _expand(source: str) -> list[str]:
    path = Path(source)
    if path.is_dir():
        found = sorted(str(p) for p in path.rglob("*") if _is_image(p))
        if not found:
            raise DataError(
                f"{source}: no image in this folder; expected files ending in "
                f"{', '.join(sorted(IMAGE_SUFFIXES))}"
            )
        return found
    if not path.exists() and glob.has_magic(source):
        # pathlib's glob takes no absolute patterns.
        matches = glob.glob(source, recursive=True)  # noqa: PTH207
        found = sorted(match for match in matches if _is_image(Path(match)))
        if not found:
            raise DataError(f"{source}: the pattern matches no image")
        return found
    return [source]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
