"""Reading files from what people have: a folder, a zip archive, or a folder with some in it.

Knows nothing of labels. Nothing is unpacked to disk, so no member can climb out of a folder.
"""

import lzma
import os
import shutil
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Final, Self

from mien.errors import DatasetError, ImageError
from mien.images import IMAGE_SUFFIXES
from mien.video.files import VIDEO_SUFFIXES

__all__ = ["PICTURED", "FileTree", "MissingImageError"]

PICTURED: Final = IMAGE_SUFFIXES | VIDEO_SUFFIXES
"""How the names of images and videos end."""

# What zipfile raises for damaged, encrypted or exotic members, beside OSError.
_BAD_MEMBER = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    NotImplementedError,
)
_OTHER_ARCHIVES: Final = frozenset({".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"})
# No image or label file is larger; a small archive can claim to hold terabytes.
_MAX_BYTES: Final = 1 << 28
_POINTER: Final = b"version https://git-lfs"


class MissingImageError(ImageError):
    """A table names an image that the source does not have."""


class FileTree:
    """The files under a folder and inside the zip archives in it, at any depth.

    Use as a context manager: it keeps archives open. What is hidden (names that begin with a dot,
    as Jupyter's copies and what macOS adds) and macOS's ``__MACOSX/`` is not there. An archive's
    files are listed as if they lay beside it. Where archives hold other files by the same name, as
    a train.zip and a test.zip may, each stands for a folder of its name; so does one that was
    unpacked into such a folder. Where a file lies unpacked too, the unpacked one is read.

    Args:
        root: a folder, a zip archive, or a single file with one of the suffixes in ``also``.
        also: the suffixes of other files to list, lower case with their dot.

    Attributes:
        root: the folder, archive or file.
        alone: whether ``root`` is a single file.
        images: the relative path of each image file, with ``/``, sorted.
        clips: likewise for videos.
        others: likewise for the files that ``also`` asks for.
        hidden: likewise for hidden images and videos, which are none of those.
        strangers: likewise for all others: by their names they are neither.
        notes: which folders and archives were not looked into, and why.

    Raises:
        DatasetError: there is no such folder or archive, or an archive is damaged.
    """

    def __init__(self, root: Path, *, also: Collection[str] = ()) -> None:
        self.root = root
        self.alone = root.suffix.lower() in also and root.is_file()
        self._folder = root.parent if self.alone else root
        self._archives: list[zipfile.ZipFile] = []
        # A file that lies in the folder itself is None: its path says where.
        self._members: dict[str, tuple[zipfile.ZipFile, zipfile.ZipInfo] | None] = {}
        self._no_images: set[str] = set()
        self._suffixes = PICTURED | frozenset(also)
        self.notes: list[str] = []
        try:
            self._add(root, tables_too=bool(also))
        except BaseException:
            self.close()
            raise
        listed = [path for path in sorted(self._members) if _shown_to_all(path)]
        unlisted = sorted({*self._members}.difference(listed))
        self.hidden = [path for path in unlisted if _suffix(path) in PICTURED]
        self.images = [path for path in listed if _suffix(path) in IMAGE_SUFFIXES]
        self.clips = [path for path in listed if _suffix(path) in VIDEO_SUFFIXES]
        self.others = [path for path in listed if _suffix(path) in also]
        self.strangers = sorted(self._no_images)
        if self.hidden:
            told = self._first_of(self.hidden)
            self.notes.append(f"{told}: hidden, so passed over unless a table names it")
        packed = [path for path in self.strangers if _suffix(path) in _OTHER_ARCHIVES]
        if packed:
            told = self._first_of(packed)
            self.notes.append(f"{told}: an archive that is no zip: unpack it first")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __contains__(self, path: str) -> bool:
        return path in self._members

    def close(self) -> None:
        """Close the archives."""
        for archive in self._archives:
            archive.close()

    def where(self, path: str) -> str:
        """Return a file's place as messages name it."""
        return str(self._folder / path)

    def archive(self, path: str) -> str:
        """Return the name, without ``.zip``, of the folder's archive that a file is in, if any."""
        member = self._members.get(path)
        return Path(str(member[0].filename)).stem if member and self.root.is_dir() else ""

    def read(self, path: str) -> bytes:
        """Return the content of one of ``images``, ``clips`` or ``others``.

        Raises:
            MissingImageError: there is no such file.
            ImageError: it is damaged, or no image by its name.
        """
        if path in self._no_images:
            raise ImageError(f"its name ends in none of {', '.join(sorted(IMAGE_SUFFIXES))}")
        if path not in self._members:
            raise MissingImageError("no such image in the source")
        member = self._members[path]
        try:
            if member is None:
                return _no_pointer(self._inside(path).read_bytes())
            archive, info = member
            if info.file_size > _MAX_BYTES:
                raise ImageError("too large: over 256 MiB in its archive")
            return _no_pointer(archive.read(info))
        except OSError as error:
            raise ImageError(f"cannot be read ({error.strerror or error})") from None
        except _BAD_MEMBER as error:
            raise ImageError(f"damaged in its archive ({type(error).__name__})") from None

    @contextmanager
    def open(self, path: str) -> Iterator[IO[bytes]]:
        """Open one of ``images`` or ``others``, to read it piece by piece.

        Raises:
            DatasetError: it cannot be opened, or turns out damaged while it is read.
        """
        member = self._members[path]
        if member is None:
            try:
                self._inside(path)
            except ImageError as error:
                raise DatasetError(f"{self.where(path)}: {error}") from None
        try:
            if member is None:
                with (self._folder / path).open("rb") as file:
                    yield file
            else:
                archive, info = member
                with archive.open(info) as packed:
                    yield packed
        except OSError as error:
            reason = error.strerror or " ".join(str(error).split())
            raise DatasetError(f"{self.where(path)}: cannot be read ({reason})") from None
        except _BAD_MEMBER as error:
            raise DatasetError(
                f"{self.where(path)}: damaged in its archive ({type(error).__name__})"
            ) from None

    @property
    def pictured(self) -> list[str]:
        """``images`` and ``clips``, sorted."""
        return sorted((*self.images, *self.clips))

    @contextmanager
    def on_disk(self, path: str) -> Iterator[Path]:
        """Give one of ``clips`` as a file of its own: of an archive's a copy, for as long.

        Raises:
            ImageError: it is damaged.
            DatasetError: the copy cannot be written.
        """
        member = self._members[path]
        if member is None:
            place = self._inside(path).absolute()
            with suppress(OSError), place.open("rb") as file:
                _no_pointer(file.read(len(_POINTER)))
            yield place
            return
        archive, info = member
        with TemporaryDirectory(prefix="mien-") as folder:
            copy = Path(folder, "clip").with_suffix(_suffix(path))
            if info.file_size > (free := shutil.disk_usage(folder).free):
                needed = f"{info.file_size >> 20:,} MiB, {free >> 20:,} MiB free"
                raise DatasetError(
                    f"{folder}: no room to unpack {path} ({needed}); TMPDIR names another place "
                    "for temporary files"
                )
            try:
                with archive.open(info) as packed, copy.open("wb") as file:
                    shutil.copyfileobj(packed, file)
            except OSError as error:
                raise DatasetError(
                    f"{folder}: cannot unpack {path} ({error.strerror or error}); TMPDIR names "
                    "another place for temporary files"
                ) from None
            except _BAD_MEMBER as error:
                raise ImageError(f"damaged in its archive ({type(error).__name__})") from None
            yield copy

    def _first_of(self, paths: Sequence[str]) -> str:
        """Name the first of some files, and say how many more there are."""
        more = f" (and {len(paths) - 1:,} more)" if len(paths) > 1 else ""
        return f"{self.where(paths[0])}{more}"

    def _inside(self, path: str) -> Path:
        """Return where a file lies; a link may not lead out, and a pipe would never end."""
        place = self._folder / path
        # What the user named is meant, wherever it leads.
        within = self.alone or not place.is_symlink()
        if not within and not place.resolve().is_relative_to(self._folder.resolve()):
            if not place.exists():
                raise ImageError("a link to nothing")
            raise ImageError("a link that leads out of the source: copy the file into it")
        if place.exists() and not place.is_file():
            raise ImageError("no plain file")
        return place

    def _add(self, root: Path, *, tables_too: bool) -> None:
        if self.alone:
            self._members[root.name] = None
        elif root.is_dir():
            archives: dict[str, list[Path]] = {}
            for before, archive in self._add_folder(root):
                archives.setdefault(before, []).append(archive)
            for before in sorted(archives):
                self._add_archives(before, sorted(archives[before]))
        elif zipfile.is_zipfile(root):
            self._add_archives("", [root])
        else:
            expected = "a folder or a zip archive of images" + (
                ", or a table" if tables_too else ""
            )
            found = "a file that is no zip archive" if root.exists() else "nothing there"
            raise DatasetError(f"{root}: expected {expected}, {found}")

    def _add_folder(self, root: Path) -> list[tuple[str, Path]]:
        """List what lies in a folder; return its archives, each after the path of its folder."""
        archives = []

        def skip(error: OSError) -> None:
            self.notes.append(f"{error.filename}: a folder that cannot be read ({error.strerror})")

        for folder, inner_folders, names in os.walk(root, onerror=skip):
            inner = Path(folder).relative_to(root).as_posix()
            before = "" if inner == "." else f"{inner}/"
            for name in names:
                self._take(before + name, None)
                if not (_shown_to_all(before + name) and _is_archive(Path(folder, name))):
                    continue
                try:
                    archives.append((before, self._inside(before + name)))
                except ImageError as error:
                    self.notes.append(f"{self.where(before + name)}: {error}")
            for name in sorted(inner_folders):
                if (link := Path(folder, name)).is_symlink():
                    self.notes.append(f"{link}: a link to a folder, which is not followed")
        return archives

    def _add_archives(self, before: str, paths: Sequence[Path]) -> None:
        """List the files of a folder's archives.

        Args:
            before: the path of the folder, with a ``/`` at its end, or nothing at the top.
            paths: its archives.
        """
        listed = [_members_of(archive) for archive in map(self._open_archive, paths)]
        content: dict[str, set[tuple[int, int]]] = {}
        for members in listed:
            for name, member in members.items():
                if self._wanted(name):
                    # An archive of a folder further out may hold a file of this path, too.
                    for _, info in filter(None, (member, self._members.get(before + name))):
                        content.setdefault(name, set()).add((info.CRC, info.file_size))
                elif _suffix(name) == ".zip" and _shown_to_all(name):
                    archive = self.where(f"{before}{name}")
                    self.notes.append(f"{archive}: an archive in an archive, which is not opened")
        differ = any(len(kinds) > 1 for kinds in content.values())
        for path, members in zip(paths, listed, strict=True):
            own = f"{before}{path.stem}/"
            # What was unpacked into a folder of its name must not be there a second time.
            unpacked = (self._members.get(own + name, ()) is None for name in members)
            apart = differ or any(unpacked)
            for name, member in members.items():
                self._take((own if apart else before) + name, member)

    def _take(self, path: str, member: tuple[zipfile.ZipFile, zipfile.ZipInfo] | None) -> None:
        """List a file, or note that it is there though no image by its name; the first stays."""
        if _suffix(path) not in self._suffixes:
            self._no_images.add(path)
        elif not _of_macos(path):
            self._members.setdefault(path, member)

    def _open_archive(self, path: Path) -> zipfile.ZipFile:
        try:
            archive = zipfile.ZipFile(path)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise DatasetError(f"{path}: not a readable zip archive ({error})") from None
        self._archives.append(archive)
        return archive

    def _wanted(self, path: str) -> bool:
        return _suffix(path) in self._suffixes and _shown_to_all(path)


def _no_pointer(data: bytes) -> bytes:
    """Return the content of a file, or what it begins with, unless it stands for another file."""
    if data.startswith(_POINTER):
        raise ImageError("a pointer of Git LFS, not the file: 'git lfs pull' fetches it")
    return data


def _of_macos(path: str) -> bool:
    """Whether a path is one of those that macOS adds for itself."""
    return "/._" in f"/{path}" or "/__MACOSX/" in f"/{path}"


def _shown_to_all(path: str) -> bool:
    """Whether a path is not hidden, nor one of those that macOS adds for itself."""
    return not any(
        part == "__MACOSX" or (part.startswith(".") and part not in {".", ".."})
        for part in path.split("/")
    )


def _members_of(archive: zipfile.ZipFile) -> dict[str, tuple[zipfile.ZipFile, zipfile.ZipInfo]]:
    members: dict[str, tuple[zipfile.ZipFile, zipfile.ZipInfo]] = {}
    for info in archive.infolist():
        if not info.is_dir():
            # With / for the backslash that some Windows programs write.
            members.setdefault(info.filename.replace("\\", "/"), (archive, info))
    return members


def _is_archive(path: Path) -> bool:
    return path.suffix.lower() == ".zip" and path.is_file()


def _suffix(path: str) -> str:
    stem, dot, suffix = path.rpartition("/")[2].rpartition(".")
    return f".{suffix.lower()}" if stem and dot else ""
