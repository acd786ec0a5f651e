"""Images written as numbers into a csv with emotion, pixels and Usage: FER2013, CK+."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from mien.data.formats.reading import FER2013_USAGE, Item, Load, Reading, shown
from mien.data.formats.tables import Table
from mien.data.source import FileTree
from mien.errors import DatasetError, ImageError
from mien.records import Sample, Split

__all__ = ["pixels_loader", "read_pixels"]

_SIDE = 48


def read_pixels(
    tree: FileTree, table: Table, name: str, codes: Mapping[str, str], *, codes_are: str
) -> Reading:
    """Return the images of a table of pixels.

    Args:
        tree: the files that the table is one of.
        table: has ``emotion`` and ``pixels``, and may have ``Usage`` and ``subject``.
        name: what samples call it, whatever the file is called.
        codes: the emotion of each code.
        codes_are: what they are, for messages: ``FER2013's 0 to 6``.
    """

    def items() -> Iterator[Item]:
        for line, row in table.rows("emotion", "Usage", "subject", "pixels"):
            code, usage, subject, cell = row
            label = codes.get(code)
            sample = Sample(
                f"{name}/{line:05d}",
                _split(usage, table, line),
                label,
                excluded=None if label else f"emotion {shown(code)} is none of {codes_are}",
                given=code,
                subject=subject or None,
                problem=None if label else "bad_label",
            )
            yield sample, pixels_loader(cell)

    return Reading(table.count, items(), tree)


def _split(usage: str, table: Table, line: int) -> Split | None:
    if "Usage" not in table.columns:
        return None
    if usage not in FER2013_USAGE:
        raise DatasetError(
            f"{table.where} line {line}: Usage {shown(usage)}, expected {', '.join(FER2013_USAGE)}"
        )
    return FER2013_USAGE[usage]


def pixels_loader(cell: str) -> Load:
    """Return a function that reads a cell's 2,304 numbers as an image of 48x48."""

    def load() -> NDArray[np.uint8]:
        try:
            values = np.array(cell.split(), dtype=np.int64)
        except (ValueError, OverflowError):
            raise ImageError("pixels are not numbers of 0 to 255") from None
        expected = _SIDE * _SIDE
        if len(values) != expected or values.min() < 0 or values.max() > 255:
            raise ImageError(f"{len(values)} pixels, expected {expected} of 0 to 255")
        return values.astype(np.uint8).reshape(_SIDE, _SIDE)

    return load
