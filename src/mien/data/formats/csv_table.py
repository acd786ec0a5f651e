"""Any table of path and label, with whatever else it knows of an image."""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Final

from mien.data.dataset import MANIFEST_SCHEMA
from mien.data.formats.finding import Images, Place, folder_of, unlisted
from mien.data.formats.reading import (
    NO_CODES,
    SPLIT_COLUMNS,
    SUBJECT_COLUMNS,
    Format,
    Item,
    Reading,
    emotion_of_folder,
    no_split,
    open_around,
    shown,
    split_in_name,
    split_named,
    split_of,
    split_of_folder,
)
from mien.data.formats.tables import Table, box_between, box_of, header, number, numbers
from mien.data.source import FileTree
from mien.errors import DatasetError
from mien.labels import EMOTIONS, find_alias, find_meaning
from mien.preprocess import InputSpec
from mien.records import Sample, Split

__all__ = ["CSV"]

_PATHS = (
    "path",
    "image",
    "file",
    "filename",
    "pth",
    "file_name",
    "file_path",
    "filepath",
    "image_name",
    "image_path",
    "img_path",
    "img",
)
_NO_NUMBER = frozenset({"", "-", "?", "n/a", "na", "nan", "null", "none"})
_LABELS = ("label", "emotion", "expression", "class", "category", "target")
_MAYBE_SPLITS = ("set", "partition", "phase", "data_split", "dataset", "fold")
"""Columns that mean splits where each of their cells names one."""
_BOXES: Sequence[tuple[str, ...]] = (
    ("box",),
    ("x", "y", "w", "h"),
    ("x", "y", "width", "height"),
    ("box_x", "box_y", "box_w", "box_h"),
    ("box_x", "box_y", "box_width", "box_height"),
    ("face_x", "face_y", "face_width", "face_height"),
    ("left", "top", "width", "height"),
)
# Left, top, right and bottom edge.
_CORNERS: Sequence[tuple[str, ...]] = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
)


_MOST_WORDS: Final = 50
"""More different words than these are names or remarks, and make no groups."""
_LONGEST_WORD: Final = 60
_SHARE: Final = 1.5
_FEW: Final = 0.1
"""The largest share of cells without a number that look like a slip."""
_LEFT_OUT: Final = (
    f"Columns left out: {{}}. Kept are numbers, and words where there are at most {_MOST_WORDS} "
    "different ones, but none that is called as the manifest's own columns."
)


@dataclass(frozen=True)
class _Columns:
    """Which columns say what, as the table writes their names; empty where it lacks one."""

    path: str
    label: str
    split: str
    subject: str
    weight: str
    votes: tuple[str, ...]
    box: tuple[str, ...]
    corners: bool  # whether its box is that of two corners, not of a corner and a size
    values: tuple[str, ...]
    words: tuple[str, ...]
    left_out: tuple[str, ...]
    almost: tuple[str, ...]  # what to say of those that hold numbers but for a few cells


class _Tables:
    """One csv, or several of the same columns, each of one split, read as one.

    Args:
        tree: the files that they are among.
        paths: theirs.

    Attributes:
        parts: each table, and the split that its name or folder says; None where it is the only.
        columns: the names of the columns.
        where: their places as messages name them.

    Raises:
        DatasetError: one cannot be read, or they differ in their columns.
    """

    def __init__(self, tree: FileTree, paths: Sequence[str]) -> None:
        tables = [Table(tree, path, ()) for path in paths]
        splits = [_split_of_table(path) if len(paths) > 1 else None for path in paths]
        self.parts = list(zip(tables, splits, strict=True))
        self.columns = tables[0].columns
        self.where = ", ".join(table.where for table in tables)
        if other := next((t for t in tables if {*t.columns} != {*self.columns}), None):
            raise DatasetError(
                f"{other.where}: other columns than {tables[0].where}; expected the same, or give "
                "one csv itself"
            )

    @property
    def count(self) -> int:
        """How many rows they have."""
        return sum(table.count for table, _ in self.parts)

    def rows(self, *columns: str) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Give the rows of all, as `Table.rows` does."""
        return chain.from_iterable(table.rows(*columns) for table, _ in self.parts)


def _read(source: Path, *, codes: Mapping[str, str] = NO_CODES) -> Reading:
    with open_around(source) as (tree, given):
        paths = [given] if given else _csvs(tree)
        if not paths:
            found = ", ".join(_all_csvs(tree)[:5])
            raise DatasetError(
                f"{source}: expected one csv here, of path and label, or one a split (train.csv, "
                f"valid.csv, test.csv), found {found or 'none'}; give the csv itself"
            )
        table = _Tables(tree, paths)
        columns = _columns(table)
        images = Images(tree)
        places = _places(images, table, columns.path)
        named = Counter(place.path for place in places)
        shares = _boxes_are_shares(table, columns)
        notes = tuple(_notes(columns, places, frozenset(tree.images), shares=shares))
        # Beside a csv that was named by itself may lie anything.
        others = [] if given else [path for path in tree.images if path not in named]
        items = chain(_items(tree, table, places, columns, codes), unlisted(tree, others))
        total = table.count + len(others)
        return Reading(
            total,
            items,
            tree,
            values=columns.values,
            words=columns.words,
            notes=notes,
            looked_beyond_table=not given,
            relative_boxes=shares,
        )


def _places(images: Images, table: _Tables, column: str) -> list[Place]:
    """Return which file each row names."""
    return [
        images.at(cell, folder_of(part.path))
        for part, _ in table.parts
        for _, (cell,) in part.rows(column)
    ]


def _boxes_are_shares(table: _Tables, columns: _Columns) -> bool:
    """Whether no number of a box is far beyond 1: as pixels, each face would be a single one."""
    cells = (_parts(cells) for _, cells in table.rows(*columns.box))
    boxes = [edges for edges in map(numbers, filter(None, cells)) if edges]
    return bool(boxes) and all(-_SHARE < edge < _SHARE for box in boxes for edge in box)


def _notes(
    columns: _Columns, places: Sequence[Place], images: Collection[str], *, shares: bool
) -> Iterator[str]:
    named = Counter(place.path for place in places)
    if by_name := sum(place.located == "name" for place in places):
        yield (
            f"Rows whose image was found by its name, or by the end of its path: {by_name:,} "
            "('located' in the manifest)."
        )
    if _plain(columns.subject) not in {"", "subject"}:
        yield f"People, who each stay in one split, by column {shown(columns.subject)}."
    if columns.split and _plain(columns.split) not in SPLIT_COLUMNS:
        yield f"Splits by column {shown(columns.split)}."
    if not columns.label:
        yield "No column says the label: it is the emotion that has the most votes."
    if len(columns.votes) > 1:
        yield f"Votes by columns {', '.join(filter(None, columns.votes))}."
    if shares:
        yield "All boxes lie within about 1: they were read as shares of the image's sides."
    if columns.left_out:
        yield _LEFT_OUT.format(", ".join(columns.left_out))
    yield from columns.almost
    if lost := [path for path in named if path not in images]:
        yield (
            f"Paths at which there is no image: {len(lost):,}, the first {shown(lost[0])}. They go "
            "from the folder of the table."
        )
    if several := sum(rows > 1 for rows in named.values()):
        yield (
            f"Files that several rows name: {several:,}; 'mien data audit' shows them as "
            "duplicates, and where labels differ as conflicts."
        )


def _all_csvs(tree: FileTree) -> list[str]:
    return [path for path in tree.others if path.lower().endswith((".csv", ".tsv", ".jsonl"))]


def _csvs(tree: FileTree) -> list[str]:
    """Return the only csv, at the top where one lies there, or those of splits; else nothing."""
    tables = _all_csvs(tree)
    tables = [path for path in tables if "/" not in path] or tables
    splits = {_split_of_table(path) for path in tables}
    return tables if len(tables) == 1 or None not in splits else []


def _split_of_table(path: str) -> Split | None:
    """Return the split that a csv's name or, as of metadata.csv, its folder says."""
    return split_in_name(PurePosixPath(path).stem) or split_of_folder(path)


def _columns(table: _Tables) -> _Columns:
    twice = [name for name, n in Counter(map(_plain, table.columns)).items() if name and n > 1]
    if twice:
        raise DatasetError(f"{table.where}: column {twice[0]!r} is there twice; rename one")
    own = {_plain(name): name for name in table.columns if name}

    def first(*names: str) -> str:
        return next((own[name] for name in names if name in own), "")

    path, label = first(*_PATHS), first(*_LABELS)
    if len(labels := [own[name] for name in _LABELS if name in own]) > 1:
        # Ids without names may lie beside names, and what is no emotion beside ids.
        label = next((name for name in labels if _names_emotions(table, name)), label)
    maybe = (own[name] for name in _MAYBE_SPLITS if name in own)
    split = first(*SPLIT_COLUMNS) or next(
        (name for name in maybe if _names_splits(table, name)), ""
    )
    people = (own[name] for name in SUBJECT_COLUMNS if name in own)
    subject = next((name for name in people if _names_people(table, name)), first("subject"))
    weight = first("weight")
    known = next((names for names in (*_BOXES, *_CORNERS) if own.keys() >= set(names)), ())
    box, corners = tuple(own[name] for name in known), known in _CORNERS
    told = {path, label, split, subject, weight, first("votes"), *box}
    rest = [name for name in own.values() if name not in told]
    numeric, almost = _numeric(table, rest)
    votes = (first("votes"),) if first("votes") else _of_emotions(table, numeric, label)
    # What has most of the votes is the label, where no column says it.
    for names, found in ((_PATHS, path), (_LABELS, label or any(votes))):
        if not found:
            raise DatasetError(
                f"{table.where}: column {names[0]!r} is missing (or {', '.join(names[1:])}); the "
                f"first line, which names the columns, has {shown(', '.join(table.columns))}"
            )
    values = [n for n in numeric if n not in votes and n not in MANIFEST_SCHEMA.names]
    others = [name for name in rest if name not in votes and name not in values]
    words = _of_few_words(table, [n for n in others if n not in MANIFEST_SCHEMA.names])
    left_out = [name for name in others if name not in words]
    return _Columns(
        path, label, split, subject, weight, votes, box, corners,
        tuple(values), tuple(words), tuple(left_out), tuple(almost),
    )  # fmt: skip


def _plain(column: str) -> str:
    """Return a column's name as those that are looked for are written: ``Image Path``."""
    return re.sub(r"[\s_-]+", "_", column.lower())


def _names_emotions(table: _Tables, column: str) -> bool:
    return any(find_alias(cell) for _, (cell,) in table.rows(column))


def _names_splits(table: _Tables, column: str) -> bool:
    named = {split_named(cell) for _, (cell,) in table.rows(column)}
    return len(named) > 1 and None not in named


def _names_people(table: _Tables, column: str) -> bool:
    """Whether a column tells several people apart: none counts or measures them."""
    named = {cell for _, (cell,) in table.rows(column)} - {""}
    return len(named) > 1 and not any(_is_number(name) and "." in name for name in named)


def _numeric(table: _Tables, columns: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the columns that hold numbers and nothing else, but for what stands for none.

    And what to say of those that only a few cells keep from it.
    """
    filled: Counter[str] = Counter()
    others: Counter[str] = Counter()
    first: dict[str, str] = {}
    # A column of votes has a number in every row, or it is none.
    none = {name: {""} if find_alias(name) else _NO_NUMBER for name in columns}
    for line, cells in table.rows(*columns):
        for name, cell in zip(columns, cells, strict=True):
            if cell.lower() in none[name]:
                continue
            filled[name] += 1
            if not _is_number(cell):
                others[name] += 1
                first.setdefault(name, f"{shown(cell)} in line {line}")
    almost = [
        f"Column {shown(name)} holds numbers but for {first[name]}"
        + (f" and {count - 1:,} more" if count > 1 else "")
        + ": so it is not read as numbers."
        for name, count in others.items()
        if count <= _FEW * filled[name]
    ]
    return [name for name in columns if filled[name] and name not in others], almost


def _of_few_words(table: _Tables, columns: Sequence[str]) -> list[str]:
    """Return the columns that hold few different words, as groups have."""
    found: dict[str, set[str]] = {name: set() for name in columns}
    for _, cells in table.rows(*columns):
        for name, cell in zip(columns, cells, strict=True):
            if len(found[name]) <= _MOST_WORDS and cell:
                found[name].add(cell)
    return [
        name
        for name, words in found.items()
        if 0 < len(words) <= _MOST_WORDS and max(map(len, words)) <= _LONGEST_WORD
    ]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _of_emotions(table: _Tables, numeric: Sequence[str], label: str) -> tuple[str, ...]:
    """Return the vote column of each emotion, empty where it has none; nothing without votes.

    A few may measure something else, such as how much somebody smiles: votes are there for all
    labels in use, or for most of the emotions that there are. Without labels they can be nothing
    else.
    """
    found: dict[str, str] = {}
    for name in numeric:
        if emotion := find_alias(name):
            if emotion in found:
                raise DatasetError(
                    f"{table.where}: columns {found[emotion]!r} and {name!r} both count votes for "
                    f"{emotion}; keep one"
                )
            found[emotion] = name
    used = {find_alias(cell) for _, (cell,) in table.rows(label)} - {None}
    enough = len(found) > len(EMOTIONS) // 2 or (
        len(found) > 1 and (not label or (used and used <= found.keys()))
    )
    return tuple(found.get(emotion, "") for emotion in EMOTIONS) if enough else ()


def _items(
    tree: FileTree,
    tables: _Tables,
    places: Sequence[Place],
    columns: _Columns,
    codes: Mapping[str, str],
) -> Iterator[Item]:
    one = (columns.path, columns.label, columns.split, columns.subject, columns.weight)
    wanted = (*one, *columns.votes, *columns.box, *columns.values, *columns.words)
    boxes = len(one) + len(columns.votes)
    values = boxes + len(columns.box)
    words = values + len(columns.values)
    rows = (
        (own_split, cells) for table, own_split in tables.parts for _, cells in table.rows(*wanted)
    )
    for place, (own_split, cells) in zip(places, rows, strict=True):
        _, given, split, subject, weighs = cells[: len(one)]
        around, folder_label = _said_around(tree, place.path)
        votes, weight = _votes(cells[len(one) : boxes]), number(weighs)
        if columns.label:
            label, none = find_meaning(given, codes), _no_name(given, codes)
        else:
            label, none = _most_voted(votes or ()), "no emotion has the most votes"
        box_cells = _parts(cells[boxes:values])
        box = (box_between if columns.corners else box_of)(numbers(box_cells))
        if split and not split_named(split):
            # Left open, it might land in the wrong one.
            excluded = no_split(columns.split, split)
        elif votes is None:
            excluded = "its votes are not 8 numbers of 0 or more"
        elif label is None:
            excluded = none
        elif weighs and (weight is None or weight < 0):
            excluded = f"weight {shown(weighs)} is no number of 0 or more"
        elif box_cells and box is None:
            excluded = "its face box is no box"
        else:
            excluded = None
        sample = Sample(
            place.path,
            split_named(split) or own_split or around,
            label,
            votes=votes or (),
            excluded=excluded,
            box=box,
            given=given or None,
            folder_label=folder_label if place.located else None,
            subject=subject or None,
            weight=None if excluded else weight,
            problem="bad_label" if excluded else None,
            located=place.located,
            values=_values(columns.values, cells[values:words]),
            words={n: w for n, w in zip(columns.words, cells[words:], strict=True) if w},
        )
        yield sample, place.load


def _said_around(tree: FileTree, path: str) -> tuple[Split | None, str | None]:
    """Return the split and the emotion that the folders around a file name."""
    split, emotion = _said_by(folder_of(path))
    return split or (split_of(tree, path) if tree.archive(path) else None), emotion


@lru_cache(maxsize=4096)
def _said_by(folder: str) -> tuple[Split | None, str | None]:
    return split_of_folder(folder), emotion_of_folder(folder)


def _no_name(given: str, codes: Mapping[str, str]) -> str:
    if _is_number(given):
        says = "none of the --codes" if codes else "a number: write the emotion's name, or --codes"
        return f"label {shown(given)} is {says}"
    return f"label {shown(given)} names no emotion" if given else "no label"


def _parts(cells: Sequence[str]) -> list[str]:
    """Return the numbers' cells: four of them, or those in the one cell that holds all."""
    if len(cells) == 1:
        return re.split(r"[\s,;]+", bare) if (bare := cells[0].strip("[]() ")) else []
    return list(cells) if any(cells) else []


def _votes(cells: Sequence[str]) -> tuple[float, ...] | None:
    """Return the share of each emotion, nothing where nobody voted, None where it is no vote."""
    parts = _parts(cells)
    if not parts:
        return ()
    counts = numbers(part or "0" for part in parts)
    if counts is None or len(counts) != len(EMOTIONS) or min(counts) < 0:
        return None
    whole = sum(counts)
    return tuple(count / whole for count in counts) if 0 < whole < math.inf else ()


def _most_voted(votes: Sequence[float]) -> str | None:
    """Return the emotion that has more votes than any other, or None."""
    if not votes or votes.count(max(votes)) > 1:
        return None
    return EMOTIONS[votes.index(max(votes))]


def _values(names: Sequence[str], cells: Sequence[str]) -> Mapping[str, float]:
    found = zip(names, map(number, cells), strict=True)
    return {name: value for name, value in found if value is not None}


def _recognise(tree: FileTree) -> str | None:
    paths = _csvs(tree)
    if not paths:
        return None
    path = paths[0]
    names = {_plain(name): name for name in header(tree, path)}
    named, label = (
        next((names[n] for n in known if n in names), "") for known in (_PATHS, _LABELS)
    )
    # Without labels there may be votes.
    label = label or ", ".join(name for name in names.values() if find_alias(name))
    if not named or not label:
        return None
    if not tree.alone and not _first_is_there(tree, path, named):
        return None
    return f"{', '.join(paths)}: {named} and {label}"


def _first_is_there(tree: FileTree, path: str, column: str) -> bool:
    try:
        first = next((name for _, (name,) in Table(tree, path, ()).rows(column)), "")
    except DatasetError:
        return False
    located = Images(tree).at(first, folder_of(path)).located
    # A name alone leads into folders of emotions, too, which tell more than a table of names.
    in_folders = any(map(emotion_of_folder, tree.images))
    return located == "path" or (located == "name" and not in_folders)


CSV = Format(
    "any csv or JSON lines of path and label; also split, subject, weight, votes, box, others",
    InputSpec(size=96, channels=3),
    _read,
    _recognise,
    alone=True,
    coded=True,
)
