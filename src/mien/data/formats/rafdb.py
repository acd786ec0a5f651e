"""RAF-DB (Li et al. 2017), the basic emotions: a list of ids that count from 1."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mien.data.formats.finding import Images
from mien.data.formats.reading import Format, Item, Reading, by_code, open_tree, shown, split_named
from mien.data.formats.tables import find_table, lines
from mien.data.source import FileTree
from mien.errors import DatasetError
from mien.labels import RAFDB_CODES
from mien.preprocess import InputSpec
from mien.records import Sample

__all__ = ["RAFDB"]

_NAMES = frozenset({"list_patition_label.txt", "list_partition_label.txt"})
_CODES = by_code(RAFDB_CODES, first=1)
_COMPOUND: Final = frozenset({"8", "9", "10", "11"})


def _read(source: Path) -> Reading:
    with open_tree(source) as tree:
        path = None if tree.alone else find_table(tree, _NAMES)
        if path is None:
            raise DatasetError(
                f"{source}: no list_patition_label.txt here; expected a folder with that list and "
                "images such as Image/aligned/train_00001_aligned.jpg"
            )
        rows = list(_rows(tree, path))
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


def _recognise(tree: FileTree) -> str | None:
    for path in tree.others:
        if path.rpartition("/")[2].lower() in _NAMES:
            return f"{path} is there"
    return None


RAFDB = Format(
    "RAF-DB: list_patition_label.txt and aligned/train_00001_aligned.jpg",
    InputSpec(size=96, channels=3),
    _read,
    _recognise,
    notes=("Seven basic emotions. Aligned faces where they are there, else whole images.",),
)
