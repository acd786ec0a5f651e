"""The AffectNet subset that circulates on Kaggle: a table of labels beside folders of emotions.

Table and folders disagree: about case, about train and test folders, about which files there are,
and often about the emotion.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

from mien.data.formats.finding import OUTSIDE, Finder, folded, folder_of, inside, unlisted
from mien.data.formats.reading import (
    Format,
    Item,
    Reading,
    emotion_of_folder,
    image_loader,
    missing,
    no_split,
    open_around,
    shown,
    split_named,
    split_of,
    split_of_folder,
)
from mien.data.formats.tables import Table, find_table, header, number
from mien.data.source import FileTree
from mien.errors import DatasetError
from mien.labels import find_alias
from mien.preprocess import InputSpec
from mien.records import Sample, Split

__all__ = ["AFFECTNET_KAGGLE"]

_TABLE = "labels.csv"
_NEEDED = ("pth", "label")
_AMBIGUOUS = "its row fits several files: in train and test folders, or differing in case"


class _Resolved:
    """Which file each row means: first by the whole path, then by a name that nothing shares.

    Attributes:
        by_path: for each row the files that its path fits: one, none, or several where the row
            does not say which.
        by_name: the file of a row whose path fits none, by the row's number.
        unlisted: the files that no row means.
    """

    def __init__(self, table: Table, images: Sequence[str], folder: str) -> None:
        finder = Finder(images)
        self.by_path: list[Sequence[str]] = []
        lost: dict[str, list[int]] = defaultdict(list)
        for row, (_, (pth, subset)) in enumerate(table.rows("pth", "subset")):
            named = inside(pth)
            found = _fitting(finder, named, folder, split_named(subset)) if named else ()
            self.by_path.append(found)
            if named and not found:
                lost[_name(named)].append(row)
        claimed = {path for found in self.by_path for path in found}
        free = [path for path in images if path not in claimed]
        of_name = Counter(_name(path) for path in free)
        # A name leads to a file only where one row and one file bear it.
        self.by_name = {
            lost[name][0]: path
            for path in free
            if of_name[name := _name(path)] == 1 and len(lost.get(name, ())) == 1
        }
        named_files = set(self.by_name.values())
        self.unlisted = [path for path in free if path not in named_files]

    def notes(self) -> str:
        """Say how many rows were found, and how."""
        path = sum(len(found) == 1 for found in self.by_path)
        several = sum(len(found) > 1 for found in self.by_path)
        lost = len(self.by_path) - path - several - len(self.by_name)
        return (
            f"Of {len(self.by_path)} rows {path} were located by path, {len(self.by_name)} by "
            f"file name alone, {lost} not at all; {several} fit several files and are left out. "
            f"{len(self.unlisted)} files are named by no row."
        )


def _fitting(finder: Finder, named: str, folder: str, wanted: Split | None) -> Sequence[str]:
    """Return the one file that a path fits, or all where it fits several alike."""
    found = finder.at(folder + named) or finder.ending(named)
    if wanted and len(found) > 1:
        of_split = [path for path in found if split_of_folder(path) == wanted]
        return of_split if len(of_split) == 1 else found
    return found


def _name(path: str) -> str:
    return folded(path.rpartition("/")[2])


def _read(source: Path) -> Reading:
    with open_around(source, {".csv"}) as (tree, given):
        path = given or find_table(tree, {_TABLE}, _NEEDED)
        if path is None:
            raise DatasetError(
                f"{source}: no {_TABLE} here; expected it with the columns pth, label, relFCs "
                "beside folders of emotions, or Train/ and Test/ around them"
            )
        table = Table(tree, path, _NEEDED)
        resolved = _Resolved(table, tree.images, folder_of(path))
        total = sum(max(1, len(found)) for found in resolved.by_path) + len(resolved.unlisted)
        items = _items(tree, table, resolved)
        return Reading(
            total,
            items,
            tree,
            values=("relFCs",),
            notes=(resolved.notes(),),
            looked_beyond_table=True,
        )


def _items(tree: FileTree, table: Table, resolved: _Resolved) -> Iterator[Item]:
    load = image_loader(tree)
    rows = table.rows("pth", "label", "relFCs", "subset")
    for row, (_, (pth, given, flatness, subset)) in enumerate(rows):
        value = number(flatness)
        values = {} if value is None else {"relFCs": value}
        of_row = _Row(tree, given, values, subset)
        files = resolved.by_path[row]
        if row in resolved.by_name:
            path = resolved.by_name[row]
            yield of_row.sample(path, located="name"), load(path)
        elif not files:
            reason = missing() if inside(pth) else missing(OUTSIDE)
            yield of_row.sample(inside(pth) or pth), reason
        elif len(files) == 1:
            yield of_row.sample(files[0], located="path"), load(files[0])
        else:
            for path in files:
                yield of_row.ambiguous(path), load(path)
    yield from unlisted(tree, resolved.unlisted)


class _Row(NamedTuple):
    tree: FileTree
    given: str
    values: Mapping[str, float]
    subset: str

    def sample(self, path: str, located: Literal["path", "name"] | None = None) -> Sample:
        label = find_alias(self.given)
        split = (split_of(self.tree, path) if located else None) or split_named(self.subset)
        excluded = None
        if self.subset and split is None:
            # Left open, it might land in the wrong one.
            excluded = no_split("subset", self.subset)
        elif label is None:
            excluded = f"label {shown(self.given)} names no emotion"
        return Sample(
            path,
            split,
            label,
            excluded=excluded,
            given=self.given,
            folder_label=emotion_of_folder(path) if located else None,
            problem="bad_label" if excluded else None,
            located=located,
            values=self.values,
        )

    def ambiguous(self, path: str) -> Sample:
        """Return one of the files that the row fits: its label may be meant for another."""
        return replace(
            self.sample(path, located="path"),
            label=None,
            excluded=_AMBIGUOUS,
            problem="unlisted",
            located=None,
        )


def _recognise(tree: FileTree) -> str | None:
    for path in tree.others:
        if path.lower().endswith(".csv") and {*_NEEDED, "relFCs"} <= set(header(tree, path)):
            return f"{path} has pth, label and relFCs"
    return None


AFFECTNET_KAGGLE = Format(
    "AffectNet from Kaggle: labels.csv with pth, label, relFCs beside folders of emotions",
    InputSpec(size=96, channels=3),
    _read,
    _recognise,
    notes=(
        "The label is the table's; the emotion of the file's folder is kept beside it.",
        "relFCs is the share of the first principal component of the image: a HIGH value means a "
        "flat image, not a clear one.",
    ),
    alone=True,
)
