"""FER2013: one csv with the pixels in it, whole or as the challenge gave it out to train on."""

from pathlib import Path

from mien.data.formats.pixels import read_pixels
from mien.data.formats.reading import Format, Reading, open_tree
from mien.data.formats.tables import Table, find_table, header
from mien.data.source import FileTree
from mien.errors import DatasetError
from mien.labels import FER2013_CODES, by_code
from mien.preprocess import InputSpec

__all__ = ["FER2013"]

_NAME = "fer2013.csv"
_COLUMNS = ("emotion", "pixels", "Usage")
_OF_CHALLENGE = ("emotion", "pixels")
"""The columns of the challenge's train.csv: what it tests on, it kept to itself."""


def _read(source: Path) -> Reading:
    with open_tree(source) as tree:
        path = tree.others[0] if tree.alone else _table(tree)
        if path is None:
            raise DatasetError(
                f"{source}: no table with {', '.join(_COLUMNS)} here; expected {_NAME}, its "
                "folder or a zip of it"
            )
        # Splits that the table does name, but under another name, must not be drawn.
        names = {path.rpartition("/")[2].lower(), *map(str.lower, header(tree, path))}
        whole = not names.isdisjoint({_NAME, "usage"})
        table = Table(tree, path, _COLUMNS if whole else _OF_CHALLENGE)
        codes = by_code(FER2013_CODES)
        return read_pixels(tree, table, _NAME, codes, codes_are="FER2013's 0 to 6")


def _table(tree: FileTree) -> str | None:
    return find_table(tree, {_NAME}, _COLUMNS) or find_table(tree, (), _OF_CHALLENGE)


def _recognise(tree: FileTree) -> str | None:
    for path in tree.others:
        if path.lower().endswith(".csv") and set(_OF_CHALLENGE) <= set(header(tree, path)):
            return f"{path} has emotion and pixels"
    return None


FER2013 = Format(
    "FER2013: fer2013.csv with emotion, pixels, Usage, or train.csv without Usage",
    InputSpec(size=48, channels=1),
    _read,
    _recognise,
    notes=("Seven emotions, no contempt. PublicTest is valid, PrivateTest is test.",),
    alone=True,
)
