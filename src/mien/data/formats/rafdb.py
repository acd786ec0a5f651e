"""RAF-DB (Li et al. 2017), the basic emotions: a list of ids, or a folder an id, from 1 to 7.

The list is its authors'; in folders it circulates. Their numbers mean something only where the
images bear RAF-DB's own names.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mien.data.formats.finding import Images
from mien.data.formats.reading import (
    Format,
    Item,
    Reading,
    folder_around,
    image_loader,
    mostly,
    open_tree,
    shown,
    split_named,
)
from mien.data.formats.tables import find_table, lines
from mien.data.source import FileTree
from mien.errors import DatasetError
from mien.labels import RAFDB_CODES, by_code
from mien.preprocess import InputSpec
from mien.records import Sample

__all__ = ["RAFDB"]

_NAMES = frozenset({"list_patition_label.txt", "list_partition_label.txt"})
_CODES = by_code(RAFDB_CODES, first=1)
_COMPOUND: Final = frozenset({"8", "9", "10", "11"})
_IMAGE = re.compile(r"(train|test)_\d+(_aligned)?\.\w+", re.IGNORECASE)


def _read(source: Path) -> Reading:
    with open_tree(source) as tree:
        path = None if tree.alone else find_table(tree, _NAMES)
        if path is None:
            if _from_zero(tree):
                raise DatasetError(
                    f"{source}: its folders count from 0, RAF-DB's from 1 to 7: 'folder --codes "
                    "0=surprise,1=fear,...' says what they mean"
                )
            if not _in_folders(tree):
                raise DatasetError(
                    f"{source}: no list_patition_label.txt here; expected a folder with that list "
                    "and images such as Image/aligned/train_00001_aligned.jpg, or folders 1 to 7 "
                    "of images of such names"
                )
            return Reading(len(tree.images), _items_of_folders(tree), tree)
        rows = list(_rows(tree, path))
        if "0" in {code for _, code in rows}:
            raise DatasetError(
                f"{tree.where(path)}: ids from 0, RAF-DB's go from 1 to 7; write a csv of path and "
                "label, and say with --codes what they mean"
            )
        if _COMPOUND & {code for _, code in rows}:
            raise DatasetError(
                f"{tree.where(path)}: ids above 7, which are compound emotions; expected the list "
                "of the basic emotions; give the folder with that one alone"
            )
        return Reading(len(rows), _items(tree, rows), tree)


def _rows(tree: FileTree, path: str) -> Iterator[tuple[str, str]]:
    for line, words in lines(tree, path):
        if len(words) != 2:
            raise DatasetError(
                f"{tree.where(path)} line {line}: {shown(' '.join(words))}, expected a name and "
                "an id: train_00001.jpg 5"
            )
        yield words[0], words[1]


def _items(tree: FileTree, rows: list[tuple[str, str]]) -> Iterator[Item]:
    images = Images(tree)
    for name, code in rows:
        stem, dot, suffix = name.rpartition(".")
        place = images.below(f"{stem}_aligned{dot}{suffix}", name)
        label = _CODES.get(code)
        sample = Sample(
            place.path,
            split_named(name.partition("_")[0]),
            label,
            excluded=None if label else f"id {shown(code)} is none of RAF-DB's 1 to 7",
            given=code,
            problem=None if label else "bad_label",
            located=place.located,
        )
        yield sample, place.load


def _in_folders(tree: FileTree) -> bool:
    names = [path.rpartition("/")[2] for path in tree.images if folder_around(path) in _CODES]
    return mostly(_IMAGE, names)


def _from_zero(tree: FileTree) -> bool:
    """Whether somebody counted RAF-DB's images anew: each number would mean another emotion."""
    return any(
        folder_around(p) == "0" and _IMAGE.fullmatch(p.rpartition("/")[2]) for p in tree.images
    )


def _items_of_folders(tree: FileTree) -> Iterator[Item]:
    load = image_loader(tree)
    for path in tree.images:
        code, name = folder_around(path), path.rpartition("/")[2]
        label, own = _CODES.get(code), _IMAGE.fullmatch(name)
        excluded = None if label else f"folder {shown(code)} is none of RAF-DB's 1 to 7"
        if label and not own:
            label, excluded = None, "no name of RAF-DB, as train_00001_aligned.jpg is"
        sample = Sample(
            path,
            split_named(own[1]) if own else None,
            label,
            excluded=excluded,
            given=code,
            problem=None if label else "bad_label",
        )
        yield sample, load(path)


def _recognise(tree: FileTree) -> str | None:
    for path in tree.others:
        if path.rpartition("/")[2].lower() in _NAMES:
            return f"{path} is there"
    if _in_folders(tree) and not _from_zero(tree):
        return "images in folders 1 to 7 are named like train_00001_aligned.jpg"
    return None


RAFDB = Format(
    "RAF-DB: list_patition_label.txt and aligned/train_00001_aligned.jpg, or folders 1/ to 7/",
    InputSpec(size=96, channels=3),
    _read,
    _recognise,
    notes=("Seven basic emotions. Aligned faces where they are there, else whole images.",),
)
