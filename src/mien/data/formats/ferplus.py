"""FER+: votes of ten people for the images of FER2013 (Barsoum et al. 2016, arXiv:1608.01041).

Its authors publish the votes, row by row of FER2013's table, which holds the pixels, and a script
that makes image files of the two. Either may be there: the images, or both tables.
"""

from collections.abc import Iterator, Mapping
from itertools import repeat, zip_longest
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from mien.data.formats.finding import Images, folder_of
from mien.data.formats.pixels import pixels_loader
from mien.data.formats.reading import (
    FER2013_USAGE,
    Format,
    Item,
    Load,
    Reading,
    no_image,
    open_tree,
    shown,
)
from mien.data.formats.tables import Table, find_table
from mien.data.source import FileTree
from mien.errors import DatasetError
from mien.labels import EMOTIONS, FERPLUS_VOTE_COLUMNS
from mien.preprocess import InputSpec
from mien.records import Sample, Split

__all__ = ["FERPLUS"]

_FERPLUS_TABLE = "fer2013new.csv"
_PIXELS_TABLE = "fer2013.csv"
_VOTES = (*FERPLUS_VOTE_COLUMNS, "unknown", "NF")
_FERPLUS_FOLDERS: Mapping[str, str] = MappingProxyType(
    {"Training": "FER2013Train", "PublicTest": "FER2013Valid", "PrivateTest": "FER2013Test"}
)


def _read(source: Path) -> Reading:
    with open_tree(source) as tree:
        path = None if tree.alone else find_table(tree, {_FERPLUS_TABLE})
        if path is None:
            raise DatasetError(
                f"{source}: no {_FERPLUS_TABLE} here; expected a folder with that vote table and "
                f"the images in {', '.join(_FERPLUS_FOLDERS.values())}, a zip of them, or "
                f"{_PIXELS_TABLE}"
            )
        table = Table(tree, path, ("Usage", "Image name", *_VOTES))
        return Reading(table.count, _items(tree, table, folder_of(path)), tree)


def _items(tree: FileTree, table: Table, folder: str) -> Iterator[Item]:
    images = Images(tree)
    for (line, (usage, name, *cells)), held in _with_pixels(tree, table):
        where = f"{table.where} line {line}"
        if usage not in FER2013_USAGE:
            raise DatasetError(
                f"{where}: Usage {shown(usage)}, expected {', '.join(FER2013_USAGE)}"
            )
        split = FER2013_USAGE[usage]
        if not name:
            path = f"(row {line} names no image)"
            excluded = Sample(path, split, None, excluded="no image in the vote table")
            yield excluded, no_image(path)
            continue
        path = f"{_FERPLUS_FOLDERS[usage]}/{name}"
        place = images.below(folder + path, path)
        found = place.path if place.located else folder + path
        yield _ferplus_sample(found, split, _votes(cells, where)), held or place.load


def _with_pixels(
    tree: FileTree, table: Table
) -> Iterator[tuple[tuple[int, tuple[str, ...]], Load | None]]:
    """Give each row of the votes, and its image where FER2013's table has the images, not files.

    Raises:
        DatasetError: its rows are not those of the votes.
    """
    rows = table.rows("Usage", "Image name", *_VOTES)
    made = {name.lower() for name in _FERPLUS_FOLDERS.values()}
    path = None
    if all(made.isdisjoint(image.lower().split("/")[:-1]) for image in tree.images):
        path = find_table(tree, {_PIXELS_TABLE})
    if path is None:
        yield from zip(rows, repeat(None))
        return
    pixels = Table(tree, path, ("Usage", "pixels"))
    both = zip_longest(rows, pixels.rows("Usage", "pixels"))
    for number, (row, other) in enumerate(both, start=1):
        if row is None or other is None or row[1][0] != other[1][0]:
            here, there = (of[1][0] if of else "no such row" for of in (row, other))
            raise DatasetError(
                f"{table.where}: row {number} has Usage {here}, in {pixels.where} it has {there}; "
                "expected both tables as published, row by row"
            )
        yield row, pixels_loader(other[1][1])


def _votes(cells: list[str], where: str) -> NDArray[np.float64]:
    try:
        votes = np.array([float(cell) for cell in cells])
    except (TypeError, ValueError):
        raise DatasetError(f"{where}: votes {cells}, expected ten numbers") from None
    if not np.isfinite(votes).all() or (votes < 0).any():
        raise DatasetError(f"{where}: votes {cells}, expected numbers of 0 or more")
    return votes


def _ferplus_sample(path: str, split: Split, counted: NDArray[np.float64]) -> Sample:
    """Apply the FER+ protocol of Barsoum et al. 2016 (arXiv:1608.01041) to one row of ten votes.

    Single votes count as noise. Evaluation needs an emotion with more than half of the votes
    left; training learns from the votes, so there it is enough that an emotion has more of them
    than unknown and than no face.
    """
    votes = np.where(counted <= 1, 0.0, counted)
    of_emotions = dict(zip(FERPLUS_VOTE_COLUMNS, votes, strict=False))
    ordered = np.array([of_emotions[emotion] for emotion in EMOTIONS])
    best, rest = ordered.max(), votes[len(FERPLUS_VOTE_COLUMNS) :].max()
    if votes.sum() == 0:
        return Sample(path, split, None, excluded="no choice has two votes")
    if best <= rest:
        return Sample(path, split, None, excluded="voted unknown or no face")
    label = EMOTIONS[int(ordered.argmax())]
    shares = tuple(float(share) for share in ordered / ordered.sum())
    majority = best > votes.sum() / 2
    excluded = None if majority or split == "train" else "no emotion has a majority of the votes"
    return Sample(path, split, label, votes=shares, excluded=excluded)


def _recognise(tree: FileTree) -> str | None:
    found = any(path.rpartition("/")[2].lower() == _FERPLUS_TABLE for path in tree.others)
    return f"{_FERPLUS_TABLE} is there" if found else None


FERPLUS = Format(
    "FER+: fer2013new.csv beside FER2013Train/, FER2013Valid/, FER2013Test/, or beside fer2013.csv",
    InputSpec(size=48, channels=1),
    _read,
    _recognise,
    notes=(
        "Barsoum et al. 2016: single votes set to 0; valid and test keep images whose "
        "label has more than half of the votes left; train keeps every image whose "
        "largest vote is an emotion, with the votes as soft label.",
    ),
)
