"""FER2013: one csv with the pixels in it."""

from pathlib import Path

from mien.data.formats.pixels import read_pixels
from mien.data.formats.reading import Format, Reading, by_code, open_tree
from mien.data.formats.tables import Table, find_table, header
from mien.data.source import FileTree
from mien.errors import DatasetError
from mien.labels import FER2013_CODES
from mien.preprocess import InputSpec

__all__ = ["FER2013"]

_NAME = "fer2013.csv"
_COLUMNS = ("emotion", "pixels", "Usage")


def _read(source: Path) -> Reading:
    with open_tree(source) as tree:
        path = tree.others[0] if tree.alone else find_table(tree, {_NAME}, _COLUMNS)
        if path is None:
            raise DatasetError(
                f"{source}: no table with {', '.join(_COLUMNS)} here; expected {_NAME}, its "
                "folder or a zip of it"
            )
        table = Table(tree, path, _COLUMNS)
        codes = by_code(FER2013_CODES)
        return read_pixels(tree, table, _NAME, codes, codes_are="FER2013's 0 to 6")


def _recognise(tree: FileTree) -> str | None:
    for path in tree.others:
        if path.lower().endswith(".csv") and {"emotion", "pixels"} <= set(header(tree, path)):
            return f"{path} has emotion and pixels"
    return None


FER2013 = Format(
    "FER2013: fer2013.csv with emotion, pixels, Usage",
    InputSpec(size=48, channels=1),
    _read,
    _recognise,
    notes=("Seven emotions, no contempt. PublicTest is valid, PrivateTest is test.",),
    alone=True,
)
