"""CK+ (Lucey et al. 2010): its authors' sequences, a csv with pixels, or one folder an emotion.

A sequence goes from a neutral face to the peak of an emotion, which a text file beside it names by
the number of the peak's frame. As is customary, the last three frames carry the emotion; the first
is neutral; those between are neither.
"""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from mien.data.formats.face_names import CKPLUS_NAME, subject_in
from mien.data.formats.folder import sample_in_folder
from mien.data.formats.pixels import read_pixels
from mien.data.formats.reading import (
    NO_CODES,
    Format,
    Item,
    Reading,
    emotion_of_folder,
    image_loader,
    missing,
    mostly,
    open_tree,
    shown,
    split_of,
)
from mien.data.formats.tables import Table, header
from mien.data.source import FileTree
from mien.errors import DatasetError, ImageError
from mien.labels import CKPLUS_CODES, CKPLUS_SEQUENCE_CODES, by_code, whole
from mien.preprocess import InputSpec
from mien.records import Problem, Sample

__all__ = ["CKPLUS"]

_NAME = "ckextended.csv"
_COLUMNS = frozenset({"emotion", "pixels"})
_CONTEMPT = str(CKPLUS_CODES.index("contempt"))
_ROWS: Final = 2000
"""So many rows are searched for contempt; the csv that circulates has 920."""
_LABEL = re.compile(r"(?:.*/)?(S\d{3}_\d{3})_(\d{8})_emotion\.txt", re.IGNORECASE)
_OF_SEQUENCE = by_code(CKPLUS_SEQUENCE_CODES, first=1)
_PEAK_FRAMES: Final = 3


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
        if labels := _labels(tree):
            items = [*_frames(tree, labels), *_lost(tree, labels)]
            return Reading(len(items), items, tree, looked_beyond_table=True)
        samples = [sample_in_folder(tree, path, NO_CODES, CKPLUS_NAME) for path in tree.images]
        if not any(sample.label for sample in samples):
            raise DatasetError(
                f"{source}: neither a csv with emotion and pixels, nor images in folders named "
                f"after emotions, nor files of emotions; expected {_NAME}, or "
                "anger/S010_004_00000017.png, or S010_004_00000017.png and "
                "S010_004_00000017_emotion.txt, and so on"
            )
        load = image_loader(tree)
        return Reading(len(samples), ((s, load(s.path)) for s in samples), tree)


def _labels(tree: FileTree) -> dict[str, tuple[int, str]]:
    """Return the number of the peak's frame and the id of the emotion of each sequence.

    Raises:
        DatasetError: a sequence has two.
    """
    labels: dict[str, tuple[int, str]] = {}
    for path in tree.others:
        if match := _LABEL.fullmatch(path):
            sequence = match[1].upper()
            if sequence in labels:
                raise DatasetError(f"{tree.root}: two files of the emotion of {sequence}; keep one")
            labels[sequence] = int(match[2]), _code(tree, path)
    return labels


def _code(tree: FileTree, path: str) -> str:
    """Return the id that a file holds, ``3.0000000e+00``, as whole numbers are written."""
    try:
        text = tree.read(path)[:100].decode("utf-8", "replace").strip()
    except ImageError as error:
        return str(error)
    return whole(text) or text


def _frames(tree: FileTree, labels: dict[str, tuple[int, str]]) -> Iterator[Item]:
    load = image_loader(tree)
    for path in tree.images:
        name = path.rpartition("/")[2]
        label: str | None = None
        given: str | None = None
        problem: Problem | None = "unlisted"
        excluded: str | None
        if not CKPLUS_NAME.fullmatch(name):
            excluded = "no name of CK+, as S010_004_00000017.png is"
        elif (known := labels.get(name[:8].upper())) is None:
            excluded = "no file names the emotion of its sequence"
        else:
            (peak, given), frame = known, int(name[9:17])
            label, problem, excluded = _emotion(given, frame, peak)
        sample = Sample(
            path,
            split_of(tree, path),
            label,
            excluded=excluded,
            given=given,
            subject=subject_in(path, CKPLUS_NAME),
            problem=problem,
        )
        yield sample, load(path)


def _emotion(given: str, frame: int, peak: int) -> tuple[str | None, Problem | None, str | None]:
    """Return a frame's emotion, what is wrong with its label, and why it is not used."""
    if given not in _OF_SEQUENCE:
        return None, "bad_label", f"emotion {shown(given)} is none of CK+'s 1 to 7"
    if peak - _PEAK_FRAMES < frame <= peak and frame > 1:
        return _OF_SEQUENCE[given], None, None
    if frame == 1:
        return "neutral", None, None
    return None, None, "between the neutral face and the peak of the emotion"


def _lost(tree: FileTree, labels: dict[str, tuple[int, str]]) -> Iterator[Item]:
    """Give the peak of each sequence of which an emotion, but no frame is there."""
    there = {path.rpartition("/")[2][:8].upper() for path in tree.images}
    for sequence, (peak, given) in labels.items():
        if sequence not in there:
            path, label = f"{sequence}_{peak:08d}.png", _OF_SEQUENCE.get(given)
            yield Sample(path, None, label, given=given, subject=sequence[:4]), missing()


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
    names = [path.rpartition("/")[2] for path in tree.images]
    label = next((path for path in tree.others if _LABEL.fullmatch(path)), None)
    if label and mostly(CKPLUS_NAME, names):
        return f"{label} is there, and images named like S010_004_00000017.png"
    faces = [path.rpartition("/")[2] for path in tree.images if emotion_of_folder(path)]
    if mostly(CKPLUS_NAME, faces):
        return "images in folders of emotions are named like S010_004_00000017.png"
    return None


def _first_codes(tree: FileTree, path: str) -> set[str]:
    rows = Table(tree, path, _COLUMNS).rows("emotion")
    return {code for _, (code,) in islice(rows, _ROWS)}


CKPLUS = Format(
    "CK+: S010/004/S010_004_00000017.png and ..._emotion.txt; ckextended.csv; or EMOTION/...png",
    InputSpec(size=48, channels=1),
    _read,
    _recognise,
    notes=(
        "The frames of one person stay together where splits are drawn and persons named. Of a "
        "sequence the last three frames carry its emotion, the first is neutral; the rest is left "
        "out.",
    ),
    alone=True,
)
