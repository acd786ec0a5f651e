"""ExpW (Zhang et al. 2018): a list of face boxes, several in an image."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mien.data.formats.finding import Images
from mien.data.formats.reading import Format, Item, Reading, open_tree, shown
from mien.data.formats.tables import box_between, find_table, lines, number, numbers
from mien.data.source import FileTree
from mien.errors import DatasetError
from mien.labels import FER2013_CODES, by_code
from mien.preprocess import InputSpec
from mien.records import Sample

__all__ = ["EXPW"]

_NAME = "label.lst"
_WORDS: Final = 8
_CODES = by_code(FER2013_CODES)


def _read(source: Path) -> Reading:
    with open_tree(source) as tree:
        path = None if tree.alone else find_table(tree, {_NAME})
        if path is None:
            raise DatasetError(
                f"{source}: no {_NAME} here; expected a folder with label/{_NAME} and the images"
            )
        total = sum(1 for _ in lines(tree, path))
        return Reading(total, _items(tree, path), tree, ("confidence",))


def _items(tree: FileTree, path: str) -> Iterator[Item]:
    images = Images(tree)
    for line, words in lines(tree, path):
        if len(words) < _WORDS:
            raise DatasetError(
                f"{tree.where(path)} line {line}: {shown(' '.join(words))}, expected name, face, "
                "top, left, right, bottom, confidence, label"
            )
        face, top, left, right, bottom, sure, code = words[1 - _WORDS :]
        name = " ".join(words[: 1 - _WORDS])
        place = images.below(name)
        label, box = _CODES.get(code), box_between(numbers((left, top, right, bottom)))
        excluded = None if label else f"id {shown(code)} is none of ExpW's 0 to 6"
        if label and box is None:
            excluded = "its face box is no box"
        confidence = number(sure)
        sample = Sample(
            f"{place.path}#{face}",
            None,
            label,
            excluded=excluded,
            box=box,
            given=code,
            subject=place.path,
            problem="bad_label" if excluded else None,
            located=place.located,
            values={} if confidence is None else {"confidence": confidence},
        )
        yield sample, place.load


def _recognise(tree: FileTree) -> str | None:
    for path in tree.others:
        if path.rpartition("/")[2].lower() == _NAME and _first_fits(tree, path):
            return f"{path} lists faces with their boxes"
    return None


def _first_fits(tree: FileTree, path: str) -> bool:
    try:
        words = next((words for _, words in lines(tree, path)), [])
    except DatasetError:
        return False
    return len(words) >= _WORDS and numbers(words[1 - _WORDS :]) is not None


EXPW = Format(
    "ExpW: label/label.lst with face boxes, and the images",
    InputSpec(size=96, channels=3),
    _read,
    _recognise,
    notes=(
        "Seven emotions, no contempt, no splits. The faces of one image stay together: the image "
        "stands for the person.",
    ),
)
