"""From the path that a table names to the file that it means.

Tables and folders disagree about case, about how letters with accents are composed, about the
folders around them and about ``/`` and backslash. What a path cannot mean is anything outside the
source.
"""

import posixpath
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import PurePosixPath
from typing import Literal, NamedTuple
from urllib.parse import unquote

from mien.data.formats.reading import (
    Item,
    Load,
    emotion_of_folder,
    image_loader,
    missing,
    split_named,
    split_of,
)
from mien.data.formats.tables import lines
from mien.data.source import PICTURED, FileTree
from mien.images import IMAGE_SUFFIXES
from mien.labels import find_alias
from mien.records import SPLITS, Sample, Split

__all__ = [
    "OUTSIDE",
    "Finder",
    "Images",
    "Place",
    "elsewhere",
    "folded",
    "folder_of",
    "inside",
    "listed_splits",
    "unlisted",
]

OUTSIDE = "its path leads outside the source: write it relative to the table's folder"
_ELSEWHERE = "the only image of this name lies in a folder of another split or emotion"
_SEVERAL = "several images fit its path"
_UPLOADED = re.compile(r"/data/upload/(?:\d+/)?[0-9a-f]{8}-([^/]+)$")
"""Label Studio puts eight digits before the name of what was uploaded to it."""
_UNLISTED = "no row in the table names this file"


def inside(named: str, folder: str = "") -> str | None:
    """Return a table's path from the top of the source, without detours; None: it leads outside.

    Args:
        named: the path as the table writes it.
        folder: what it is relative to, with a ``/`` at its end, or nothing.
    """
    path = named.strip().replace("\\", "/")
    # From the root of some machine, or an address.
    if not path or path.startswith("/") or re.match(r"[A-Za-z]:|[A-Za-z][\w+.-]+://", path):
        return None
    path = posixpath.normpath(folder + path)
    return None if path in {".", ".."} or path.startswith("../") else path


def folder_of(path: str) -> str:
    """Return the folder of a path with a ``/`` at its end, or nothing at the top."""
    return path[: path.rfind("/") + 1]


class Finder:
    """Finds files by the end of their path, in any case.

    Args:
        paths: where the files are.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._deepest = max((path.count("/") for path in paths), default=0)
        self._by_end: dict[int, dict[str, list[str]]] = {}

    def ending(self, named: str) -> list[str]:
        """Return the files whose path is ``named``, or ends in it after a ``/``."""
        depth = named.count("/")
        if depth > self._deepest:
            return []
        if depth not in self._by_end:
            self._by_end[depth] = self._index(depth)
        return self._by_end[depth].get(folded(named), [])

    def at(self, named: str) -> list[str]:
        """Return the files whose whole path is ``named``: several may differ in case."""
        found = [path for path in self.ending(named) if path.count("/") == named.count("/")]
        return [named] if named in found else found

    def _index(self, depth: int) -> dict[str, list[str]]:
        index: dict[str, list[str]] = {}
        for path in self._paths:
            if path.count("/") >= depth:
                end = "/".join(folded(path).rsplit("/", depth + 1)[-depth - 1 :])
                index.setdefault(end, []).append(path)
        return index


def folded(path: str) -> str:
    """Return a path as it is compared: in any case, however its accents are composed."""
    return unicodedata.normalize("NFC", path).lower()


class Place(NamedTuple):
    """Where a row's image is: what a sample holds of it, and how it is read."""

    path: str
    located: Literal["path", "name"] | None
    load: Load


class Images:
    """The images and videos of a source, as tables name them.

    Args:
        tree: the files.
    """

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree
        self._finder, self._hidden = Finder(tree.pictured), Finder(tree.hidden)
        folders = {folder_of(path): path for path in tree.images}
        self._splits = {split_of(tree, path) for path in folders.values()}
        self._folders = {
            "/".join(parts[:depth])
            for parts in (folder.split("/") for folder in folders)
            for depth in range(1, len(parts))
        }
        self._load = image_loader(tree)

    @cached_property
    def _stems(self) -> tuple[Finder, dict[str, list[str]]]:
        """What finds files by their paths without suffix, and the files of each such path."""
        files: dict[str, list[str]] = {}
        for path in self._tree.pictured:
            files.setdefault(path.rpartition(".")[0], []).append(path)
        return Finder([*files]), files

    def _without_suffix(self, named: str, *, whole: bool) -> list[str]:
        """Return the files that a name means which lacks the suffix, as ids of images do.

        Args:
            named: as a table has it.
            whole: whether it is all of the path, or may be the end of one.
        """
        if PurePosixPath(named.lower()).suffix in PICTURED:
            return []
        finder, files = self._stems
        found = finder.at(named) if whole else finder.ending(named)
        return [path for stem in found for path in files.get(stem, [])]

    @cached_property
    def _uploaded(self) -> dict[str, list[str]]:
        """The images of each name as a server keeps it."""
        found: dict[str, list[str]] = {}
        for path in self._tree.pictured:
            found.setdefault(_as_uploaded(path.rpartition("/")[2]), []).append(path)
        return found

    def below(self, *names: str) -> Place:
        """Return the image whose path ends in one of some names, the first that fits any.

        The least deep goes first; of several that are equally deep none is taken.
        """
        for name in names:
            if named := inside(name):
                found = self._finder.ending(named)
                depth = min((path.count("/") for path in found), default=0)
                nearest = [path for path in found if path.count("/") == depth]
                if nearest:
                    return self._place(named, nearest)
        return self._nowhere(names[-1])

    def at(self, name: str, folder: str, split: Split | None = None) -> Place:
        """Return the image at a path relative to a folder, which ends with ``/`` or is empty.

        A name, or a path below some folder, that no image there has means the only image whose path
        ends in it, below the table's folder or else wherever it is. So does a path from the root of
        some machine, or an address: as much of its end as there is an image of, unless the next
        folders of the two name different splits or emotions.

        Args:
            name: as the table writes it.
            folder: of the table.
            split: of what names it: none is looked for in folders of another one.
        """
        named = inside(name, folder)
        if named is None:
            return self._by_end(name, folder, split)
        found = self._finder.at(named) or self._without_suffix(named, whole=True)
        if found := found or self._hidden.at(named):
            return self._place(named, found)
        path = inside(name) or name
        first, below, _ = path.partition("/")
        if below and inside(first, folder) in self._folders:
            return self._place(named, [])  # Its folder is there: the image is missing from it.
        return self._place(named, self._ending(path, folder, split), located="name")

    def _ending(self, name: str, folder: str, split: Split | None) -> list[str]:
        """Return the images whose path ends in a name; of several those below a table's folder.

        Those of a split that has folders lie in no other's.
        """
        found = self._finder.ending(name) or self._without_suffix(name, whole=False)
        if split in self._splits - {None}:
            found = [path for path in found if split_of(self._tree, path) in {split, None}]
        # Tables of several sets lie each around its own images.
        return [path for path in found if path.startswith(folder)] or found

    def _by_end(self, name: str, folder: str, split: Split | None) -> Place:
        for path in _meanings(name):
            root, _, rest = path.partition("/")
            parts = rest.split("/")
            if root in {".", ".."} or ".." in parts:
                break
            for start in range(len(parts)):
                if not (end := "/".join(parts[start:])):
                    continue
                found = self._ending(end, folder, split)
                before, length = parts[start - 1] if start else "", len(parts) - start
                if fitting := [file for file in found if _may_follow(before, file, length)]:
                    return self._place(end, fitting, located="name")
                if found:
                    return Place(end, None, missing(_ELSEWHERE))
        if uploaded := _UPLOADED.search(unquote(name)):
            found = self._uploaded.get(_as_uploaded(uploaded[1]), [])
            return self._place(uploaded[1], found, located="name")
        return self._nowhere(name)

    def _place(
        self, named: str, found: Sequence[str], located: Literal["path", "name"] = "path"
    ) -> Place:
        if len(found) == 1:
            return Place(found[0], located, self._load(found[0]))
        return Place(named, None, missing(_SEVERAL) if found else self._load(named))

    def _nowhere(self, name: str) -> Place:
        named = inside(name)
        if named is not None:
            return Place(named, None, self._load(named))
        if not name.strip():
            return Place("(a row without a path)", None, missing("its row names no file"))
        outside = ".." in re.split(r"[\\/]", name)
        return Place(name, None, missing(OUTSIDE if outside else "no image here is called so"))


def _meanings(name: str) -> Iterator[str]:
    """Give the paths that one from the root of some machine, or an address, may mean.

    Those of Label Studio have the path of a file on its disk as a query.
    """
    path = name.strip().replace("\\", "/")
    # Of an address what comes before its host.
    path = re.sub(r"^[A-Za-z][\w+.-]*:/+", "/", path)
    before, is_local, stored = path.partition("/data/local-files/?d=")
    bare = unquote(stored if is_local else before.partition("?")[0]).replace("\\", "/")
    yield from dict.fromkeys((path, f"/{bare.lstrip('/')}"))


def _as_uploaded(name: str) -> str:
    """Return a file's name as web servers that are made with Django keep it."""
    return re.sub(r"[^-\w.]", "", folded(name).replace(" ", "_"))


def elsewhere(place: Place) -> Place:
    """Return a place that is no image of a row, as it lies in a folder of another split."""
    return place._replace(located=None, load=missing(_ELSEWHERE))


def _may_follow(before: str, file: str, length: int) -> bool:
    """Whether the folder before the last parts of a file does not contradict another one.

    Args:
        before: a folder, as a table has it before these parts.
        file: the path of the file.
        length: how many parts they are.
    """
    parts = file.split("/")
    own = parts[-length - 1] if len(parts) > length else ""
    return all(
        None in (said := {read(before), read(own)}) or len(said) == 1
        for read in (split_named, find_alias)
    )


def listed_splits(tree: FileTree) -> dict[str, Split]:
    """Return the split of each image that lists give: ``ImageSets/Main/train.txt``, ``val.txt``.

    A line of them ends as the path of an image does, with or without its suffix. What is in two
    lists is in the one that is held out.
    """
    finder, stems = Finder(tree.images), Finder([_bare(path) for path in tree.images])
    of_stem = {_bare(path): path for path in tree.images}
    splits: dict[str, Split] = {}
    lists = [
        (split, path)
        for path in tree.others
        if path.lower().endswith(".txt") and (split := split_named(PurePosixPath(path).stem))
    ]
    for split, path in sorted(lists, key=lambda each: SPLITS.index(each[0])):
        for _, words in lines(tree, path):
            # VOC's lists of a class have a flag behind each name.
            line = re.sub(r"\s-?1$", "", " ".join(words)).strip("\"'")
            name = inside(re.sub(r"^([A-Za-z]:)?[\\/]+", "", line)) or ""
            for end in _ends(name):
                found = finder.ending(end)
                found = found or [of_stem[stem] for stem in stems.ending(_bare(end))]
                if found:
                    splits |= dict.fromkeys(found, split) if len(found) == 1 else {}
                    break
    return splits


def _ends(path: str) -> Iterator[str]:
    """Give a path, and its ends without outer folders, which a list may have others of."""
    parts = path.split("/")
    return ("/".join(parts[start:]) for start in range(max(1, len(parts) - 1)))


def _bare(path: str) -> str:
    """Return a path without the suffix of an image."""
    stem, dot, suffix = path.rpartition(".")
    return stem if f"{dot}{suffix.lower()}" in IMAGE_SUFFIXES else path


def unlisted(tree: FileTree, paths: Iterable[str]) -> Iterator[Item]:
    """Give images that no row of a table names, left out, with what their folders say."""
    load = image_loader(tree)
    for path in paths:
        sample = Sample(
            path,
            split_of(tree, path),
            None,
            excluded=_UNLISTED,
            folder_label=emotion_of_folder(path),
            problem="unlisted",
        )
        yield sample, load(path)
