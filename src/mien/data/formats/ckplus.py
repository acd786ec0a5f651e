"""CK+ (Lucey et al. 2010) as it circulates: a csv with pixels, or one folder an emotion."""

import re
from itertools import islice
from pathlib import Path
from typing import Final

from mien.data.formats.pixels import read_pixels
from mien.data.formats.reading import (
    Format,
    Reading,
    by_code,
    emotion_of_folder,
    image_loader,
    open_tree,
    split_of,
)
from mien.data.formats.tables import Table, header
from mien.data.source import FileTree
from mien.errors import DatasetError
from mien.labels import CKPLUS_CODES
from mien.preprocess import InputSpec
from mien.records import Sample

__all__ = ["CKPLUS"]

_NAME = "ckextended.csv"
_COLUMNS = frozenset({"emotion", "pixels"})
_CONTEMPT = str(CKPLUS_CODES.index("contempt"))
_FRAME = re.compile(r"(S\d{3})_\d{3}_\d{8}\.\w+", re.IGNORECASE)
_ROWS: Final = 2000
"""So many rows are searched for contempt; the csv that circulates has 920."""


def _read(source: Path) -> Reading:
    with open_tree(source) as tree:
        path = tree.others[0] if tree.alone else _table(tree)
        if path is not None:
            table = Table(tree, path, sorted(_COLUMNS))
            reading = read_pixels(
                tree, table, _NAME, by_code(CKPLUS_CODES), codes_are="CK+'s 0 to 7"
            )
            if "subject" not in table.columns:
                reading.notes = (
                    "The table names no persons: frames of one person may lie in several splits.",
                )
            return reading
        samples = [_sample(tree, path) for path in tree.images]
        if not any(sample.label for sample in samples):
            raise DatasetError(
                f"{source}: neither a csv with emotion and pixels nor images in folders named "
                f"after emotions; expected {_NAME}, or anger/S010_004_00000017.png and so on"
            )
        load = image_loader(tree)
        return Reading(len(samples), ((s, load(s.path)) for s in samples), tree)


def _sample(tree: FileTree, path: str) -> Sample:
    emotion = emotion_of_folder(path)
    frame = _FRAME.fullmatch(path.rpartition("/")[2])
    return Sample(
        path,
        split_of(tree, path),
        emotion,
        excluded=None if emotion else "not in an emotion's folder",
        subject=frame[1].upper() if frame else None,
    )


def _table(tree: FileTree) -> str | None:
    tables = [path for path in tree.others if path.lower().endswith(".csv")]
    found = [path for path in tables if set(header(tree, path)) >= _COLUMNS]
    named = [path for path in found if path.rpartition("/")[2].lower().startswith("ck")]
    if len(named or found) > 1:
        raise DatasetError(
            f"{tree.root}: {' and '.join((named or found)[:5])} have emotion and pixels; give the "
            "table itself"
        )
    return next(iter(named or found), None)


def _recognise(tree: FileTree) -> str | None:
    try:
        path = _table(tree)
        if path and path.rpartition("/")[2].lower().startswith("ck"):
            return f"{path} has emotion and pixels, and the name of CK+"
        if path and _CONTEMPT in _first_codes(tree, path):
            return f"{path} has pixels, and {_CONTEMPT} (contempt) among its emotions"
    except DatasetError:
        return None
    faces = [path for path in tree.images if emotion_of_folder(path)]
    if faces and all(_FRAME.fullmatch(path.rpartition("/")[2]) for path in faces):
        return "images in folders of emotions are named like S010_004_00000017.png"
    return None


def _first_codes(tree: FileTree, path: str) -> set[str]:
    rows = Table(tree, path, _COLUMNS).rows("emotion")
    return {code for _, (code,) in islice(rows, _ROWS)}


CKPLUS = Format(
    "CK+: ckextended.csv with emotion, pixels, Usage; or EMOTION/S010_004_00000017.png",
    InputSpec(size=48, channels=1),
    _read,
    _recognise,
    notes=("The frames of one person stay together where splits are drawn and persons named.",),
    alone=True,
)
