"""Reading files from what people have: a folder, a zip archive, or a folder with one in it.

Knows nothing of labels. Nothing is unpacked to disk, so no member can climb out of a folder.
"""

import lzma
import os
import zipfile
import zlib
from pathlib import Path
from typing import Self

from mien.errors import DatasetError, ImageError
from mien.images import IMAGE_SUFFIXES

__all__ = ["FileTree"]

# What zipfile raises for damaged, encrypted or exotic members, beside OSError.
_BAD_MEMBER = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    NotImplementedError,
)


class FileTree:
    """The image files under a folder and inside the zip archives at its top.

    Use as a context manager: it keeps archives open.

    Attributes:
        root: the folder or archive.
        images: the relative path of each image file, with ``/``, sorted.

    Raises:
        DatasetError: there is no such folder or archive, or an archive is damaged.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._archives: list[zipfile.ZipFile] = []
        self._members: dict[str, tuple[zipfile.ZipFile, zipfile.ZipInfo] | Path] = {}
        if root.is_dir():
            self._add_folder(root)
            for archive in sorted(root.glob("*.zip")):
                self._add_archive(archive)
        elif zipfile.is_zipfile(root):
            self._add_archive(root)
        else:
            found = "a file that is no zip archive" if root.exists() else "nothing there"
            raise DatasetError(f"{root}: expected a folder or a zip archive of images, {found}")
        self.images = sorted(self._members)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for archive in self._archives:
            archive.close()

    def __contains__(self, path: str) -> bool:
        return path in self._members

    def read(self, path: str) -> bytes:
        """Return the content of one of ``images``.

        Raises:
            ImageError: the file is missing or damaged.
        """
        member = self._members.get(path)
        if member is None:
            raise ImageError("no such image in the source")
        try:
            if isinstance(member, Path):
                return member.read_bytes()
            archive, info = member
            return archive.read(info)
        except OSError as error:
            raise ImageError(f"cannot be read ({error.strerror or error})") from None
        except _BAD_MEMBER as error:
            raise ImageError(f"damaged in its archive ({type(error).__name__})") from None

    def _add_folder(self, root: Path) -> None:
        for folder, _, names in os.walk(root):
            for name in names:
                if Path(name).suffix.lower() in IMAGE_SUFFIXES:
                    file = Path(folder, name)
                    self._members[file.relative_to(root).as_posix()] = file

    def _add_archive(self, path: Path) -> None:
        try:
            archive = zipfile.ZipFile(path)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise DatasetError(f"{path}: not a readable zip archive ({error})") from None
        self._archives.append(archive)
        for info in archive.infolist():
            if not info.is_dir() and Path(info.filename).suffix.lower() in IMAGE_SUFFIXES:
                self._members.setdefault(info.filename, (archive, info))
