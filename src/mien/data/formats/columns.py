"""Which columns of a table say what: its path, label, split, person, votes, box and the rest."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice, product
from pathlib import PurePosixPath
from typing import Final, Literal

from mien.data.dataset import MANIFEST_SCHEMA
from mien.data.formats.reading import (
    SPLIT_COLUMNS,
    SUBJECT_COLUMNS,
    shown,
    split_in_name,
    split_named,
    split_of_folder,
)
from mien.data.formats.tables import Table, header
from mien.data.source import FileTree
from mien.errors import DatasetError
from mien.labels import EMOTIONS, find_alias
from mien.records import Split
from mien.video.files import VIDEO_SUFFIXES

__all__ = [
    "MOST_WORDS",
    "NO_NUMBER",
    "TABLE_KINDS",
    "Columns",
    "Tables",
    "columns_of",
    "csvs",
    "every_csv",
    "find_box",
    "is_number",
    "labels_most",
    "like_boxes",
    "likely",
    "plain",
    "split_of_table",
]

TABLE_KINDS: Final = (".csv", ".tsv", ".jsonl")
BoxForm = Literal["corners", "edges", "middle"]

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
_VIDEOS = ("video", "video_path", "video_name", "clip")
"""Columns of paths where those are lacking and one names videos."""
NO_NUMBER = frozenset({"", "-", "?", "n/a", "na", "nan", "null", "none"})
_LABELS = ("label", "emotion", "expression")
_MAYBE_LABELS = ("class", "category", "target", "choice")
"""Columns that mean labels where none of those does."""
_ANNOTATORS = (
    "annotator",
    "annotator_id",
    "rater",
    "rater_id",
    "coder",
    "coder_id",
    "worker",
    "worker_id",
    "workerid",
    "labeler",
    "labeller",
)
_RATER = re.compile(r"(rater|annotator|coder|worker|labell?er)_?\d{1,3}(_(label|emotion))?")
"""What one of several annotators says has a numbered column: ``rater1``, ``annotator_2_label``."""
_MAYBE_SPLITS = ("set", "partition", "phase", "data_split", "dataset", "fold")
"""Columns that mean splits where each of their cells names one."""
_PREFIXES = ("", "box_", "bbox_", "bb_", "face_", "rect_", "region_")
_WHOLE = ("box", "bbox", "face_box", "bounding_box")
"""A column of four numbers: left, top, width and height."""
_EDGES = (("x", "y"), ("left", "top"))
_SIZES = (("width", "height"), ("w", "h"))
_CORNERS = (
    *(("xmin", "ymin", "xmax", "ymax"), ("x_min", "y_min", "x_max", "y_max")),
    *(("left", "top", "right", "bottom"), ("topx", "topy", "bottomx", "bottomy")),
    *(("x1", "y1", "x2", "y2"), ("x0", "y0", "x1", "y1")),
)
_LOWEST = (("xmin", "ymin"), ("x_min", "y_min"))
_MIDDLES = (("x_center", "y_center"), ("center_x", "center_y"), ("cx", "cy"))
_POINTS: Mapping[tuple[str, ...], str] = {
    ("x0", "y0", "x1", "y1"): "x2",
    ("x1", "y1", "x2", "y2"): "x3",
}
"""With a further point, these are landmarks."""
_LIKE_BOXES = re.compile(
    r"(.*_)?(b?box|bndbox|[xy]_?m(in|ax)|[xy][012]|left|right|top|bottom|cx|cy)(_.*)?"
)


_SPANS = (("start", "end"), ("begin", "end"), ("start", "stop"), ("onset", "offset"))
_SECONDS = ("", "_time", "_s", "_sec", "_seconds", "_time_s", "_(s)")
"""What follows the names of columns that are seconds, or times as ``1:02.5``."""


def _span(names: Mapping[str, str]) -> tuple[str, ...]:
    """Return the columns of where a part of a video begins and ends, empty where there are none."""
    for (start, end), unit in product(_SPANS, _SECONDS):
        if start + unit in names and end + unit in names:
            return names[start + unit], names[end + unit]
    return ()


def _forms() -> Iterator[tuple[BoxForm, tuple[str, ...]]]:
    """Give what columns of a box may be called, those that can mean nothing else first."""
    for name in _WHOLE:
        yield "edges", (name,)
    yield from _sized("edges", _EDGES)
    # A table that has corners may have the image's width and height besides.
    for prefix, names in product(_PREFIXES, _CORNERS):
        yield "corners", tuple(prefix + name for name in names)
    yield from _sized("middle", _MIDDLES)
    yield from _sized("edges", _LOWEST)


def _sized(
    form: BoxForm, starts: Sequence[tuple[str, str]]
) -> Iterator[tuple[BoxForm, tuple[str, ...]]]:
    for prefix, start, size in product(_PREFIXES, starts, _SIZES):
        yield form, tuple(prefix + name for name in (*start, *size))


def find_box(names: Mapping[str, str]) -> tuple[tuple[str, ...], BoxForm]:
    """Return the columns of a box, empty where there is none, and what their four numbers are.

    Args:
        names: of all columns, as they are written, by their `plain` names.
    """
    for form, known in _forms():
        if names.keys() >= set(known) and _POINTS.get(known, "") not in names:
            return tuple(names[name] for name in known), form
    return (), "edges"


def like_boxes(names: Iterable[str]) -> list[str]:
    """Return the columns that look as if they held a part of a box."""
    return [name for name in names if _LIKE_BOXES.fullmatch(plain(name))]


_LOOKED_AT: Final = 200
"""So many rows tell what a column holds."""
MOST_WORDS: Final = 50
"""More different words than these are names or remarks, and make no groups."""
_LONGEST_WORD: Final = 60
_MOST: Final = 0.9
_FEW: Final = 0.1
"""The largest share of cells without a number that look like a slip."""


@dataclass(frozen=True)
class Columns:
    """Which columns say what, as the table writes their names; empty where it lacks one.

    Attributes:
        path: the images' paths.
        label: their emotions; empty where only votes tell these.
        split: their splits.
        subject: who is shown.
        annotator: who says what the label is, where several may of one image.
        weight: how much each counts.
        votes: the one that has all votes, or one for each emotion, empty for those without.
        raters: one for each of several people, with the emotion that they see.
        box: where the face is.
        form: what the four numbers of the box are.
        span: of videos, where what a row says begins and ends.
        values: numbers of the source's own.
        words: words of the source's own.
        left_out: those that are not kept.
        almost: what to say of those that hold numbers but for a few cells.
    """

    path: str
    label: str
    split: str
    subject: str
    annotator: str
    weight: str
    votes: tuple[str, ...]
    raters: tuple[str, ...]
    box: tuple[str, ...]
    form: BoxForm
    span: tuple[str, ...]
    values: tuple[str, ...]
    words: tuple[str, ...]
    left_out: tuple[str, ...]
    almost: tuple[str, ...]


class Tables:
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
        splits = [split_of_table(path) if len(paths) > 1 else None for path in paths]
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


def every_csv(tree: FileTree) -> list[str]:
    """Return the tables of a source: csv, or where there is none, of another kind."""
    for suffix in TABLE_KINDS:
        if found := [path for path in tree.others if path.lower().endswith(suffix)]:
            return found
    return []


def csvs(tree: FileTree) -> list[str]:
    """Return the only csv, at the top where one lies there, or those of splits; else nothing."""
    tables = every_csv(tree)
    tables = [path for path in tables if "/" not in path] or tables
    splits = [split_of_table(path) for path in tables]
    if len(tables) == 1:
        return tables
    # train_old.csv beside train.csv is another edition of it.
    surely = all(
        split_named(PurePosixPath(path).stem) or split_of_folder(path)
        for path, split in zip(tables, splits, strict=True)
        if splits.count(split) > 1
    )
    return tables if surely and None not in splits else []


def labels_most(tree: FileTree) -> bool:
    """Whether the only csv at the top names most of the files, and their emotions."""
    paths = csvs(tree)
    if len(paths) != 1 or "/" in paths[0]:
        return False
    named, label = likely(tree, paths[0])
    if not named or label not in (table := Table(tree, paths[0], ())).columns:
        return False
    with suppress(DatasetError):
        rows = [cells for _, cells in table.rows(named, label)]
        known = {PurePosixPath(path).name for path in tree.pictured}
        told = {PurePosixPath(name).name for name, said in rows if find_alias(said)}
        return len(told & known) >= _MOST * len(known)
    return False


def split_of_table(path: str) -> Split | None:
    """Return the split that a csv's name or, as of metadata.csv, its folder says."""
    return split_in_name(PurePosixPath(path).stem) or split_of_folder(path)


def columns_of(table: Tables) -> Columns:
    """Find out which columns of a table say what.

    Raises:
        DatasetError: none is called as one of paths, or of labels or votes; one name is there
            twice, or one emotion has two columns of votes.
    """
    twice = [name for name, n in Counter(map(plain, table.columns)).items() if name and n > 1]
    if twice:
        raise DatasetError(f"{table.where}: column {twice[0]!r} is there twice; rename one")
    own = {plain(name): name for name in table.columns if name}

    def first(*names: str) -> str:
        return next((own[name] for name in names if name in own), "")

    path, label = _path_column(own, table), first(*_LABELS)
    if len(labels := [own[name] for name in _LABELS if name in own]) > 1:
        # Ids without names may lie beside names, and what is no emotion beside ids.
        label = next((name for name in labels if _names_emotions(table, name)), label)
    elif not labels:
        maybe_labels = (own[name] for name in _MAYBE_LABELS if name in own)
        label = next((name for name in maybe_labels if _may_be_label(table, name)), "")
    maybe = (own[name] for name in _MAYBE_SPLITS if name in own)
    split = first(*SPLIT_COLUMNS) or next(
        (name for name in maybe if _names_splits(table, name)), ""
    )
    people = (own[name] for name in SUBJECT_COLUMNS if name in own)
    subject = next((name for name in people if _names_people(table, name)), first("subject"))
    annotator, weight = first(*_ANNOTATORS) if label else "", first("weight")
    box, form = find_box(own)
    raters = _raters(table, own)
    told = {path, label, split, subject, weight, first("votes"), *box, *raters}
    rest = [name for name in own.values() if name not in told]
    numeric, almost = _numeric(table, rest)
    votes = (first("votes"),) if first("votes") else _of_emotions(table, numeric, label)
    if any(votes):
        rest, raters = [*rest, *raters], ()
    # What has most of the votes is the label, where no column says it.
    says = bool(label or raters or any(votes))
    for names, found in ((_PATHS, bool(path)), ((*_LABELS, *_MAYBE_LABELS), says)):
        if not found:
            raise DatasetError(
                f"{table.where}: column {names[0]!r} is missing (or {', '.join(names[1:])}); the "
                f"first line, which names the columns, has {shown(', '.join(table.columns))}"
            )
    values = [n for n in numeric if n not in votes and n not in MANIFEST_SCHEMA.names]
    others = [name for name in rest if name not in votes and name not in values]
    words = _of_few_words(table, [n for n in others if n not in MANIFEST_SCHEMA.names])
    left_out = [name for name in others if name not in words]
    return Columns(
        path, label, split, subject, annotator, weight, votes, raters, box, form, _span(own),
        tuple(values), tuple(words), tuple(left_out), tuple(almost),
    )  # fmt: skip


def plain(column: str) -> str:
    """Return a column's name as those that are looked for are written: ``Image Path``."""
    return re.sub(r"[\s_-]+", "_", column.lower())


def _path_column(names: Mapping[str, str], table: Tables | Table) -> str:
    """Return the column of paths, or where it lacks one, of videos; empty where it has neither.

    Args:
        names: of all columns, as they are written, by their `plain` names.
        table: that has them.
    """
    if path := next((names[name] for name in _PATHS if name in names), ""):
        return path
    maybe = (names[name] for name in _VIDEOS if name in names)
    return next((column for column in maybe if _names_videos(table, column)), "")


def _names_videos(table: Tables | Table, column: str) -> bool:
    cells = islice(table.rows(column), _LOOKED_AT)
    return any(PurePosixPath(cell.lower()).suffix in VIDEO_SUFFIXES for _, (cell,) in cells)


def _names_emotions(table: Tables, column: str) -> bool:
    return any(find_alias(cell) for _, (cell,) in table.rows(column))


def _raters(table: Tables, own: Mapping[str, str]) -> tuple[str, ...]:
    """Return the numbered columns in which several people name what they see."""
    numbered = [name for known, name in own.items() if _RATER.fullmatch(known)]
    naming = [name for name in numbered if _mostly_emotions(table, name)]
    return tuple(naming) if len(naming) > 1 else ()


def _mostly_emotions(table: Tables, column: str) -> bool:
    cells = [cell for _, (cell,) in table.rows(column) if cell]
    return bool(cells) and 2 * sum(map(bool, map(find_alias, cells))) >= len(cells)


def _may_be_label(table: Tables, column: str) -> bool:
    """Whether a column holds emotions, or numbers that codes may explain."""
    cells = [cell for _, (cell,) in table.rows(column) if cell]
    return any(map(find_alias, cells)) or (bool(cells) and all(map(is_number, cells)))


def _names_splits(table: Tables, column: str) -> bool:
    named = {split_named(cell) for _, (cell,) in table.rows(column)}
    return len(named) > 1 and None not in named


def _names_people(table: Tables, column: str) -> bool:
    """Whether a column tells several people apart: none counts or measures them."""
    named = {cell for _, (cell,) in table.rows(column)} - {""}
    return len(named) > 1 and not any(is_number(name) and "." in name for name in named)


def _numeric(table: Tables, columns: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the columns that hold numbers and nothing else, but for what stands for none.

    And what to say of those that only a few cells keep from it.
    """
    filled: Counter[str] = Counter()
    others: Counter[str] = Counter()
    first: dict[str, str] = {}
    # A column of votes has a number in every row, or it is none.
    none = {name: {""} if find_alias(name) else NO_NUMBER for name in columns}
    for line, cells in table.rows(*columns):
        for name, cell in zip(columns, cells, strict=True):
            if cell.lower() in none[name]:
                continue
            filled[name] += 1
            if not is_number(cell):
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


def _of_few_words(table: Tables, columns: Sequence[str]) -> list[str]:
    """Return the columns that hold few different words, as groups have."""
    found: dict[str, set[str]] = {name: set() for name in columns}
    for _, cells in table.rows(*columns):
        for name, cell in zip(columns, cells, strict=True):
            if len(found[name]) <= MOST_WORDS and cell:
                found[name].add(cell)
    return [
        name
        for name, words in found.items()
        if 0 < len(words) <= MOST_WORDS and max(map(len, words)) <= _LONGEST_WORD
    ]


def is_number(cell: str) -> bool:
    """Whether a cell holds a number, also one without end, or what stands for none."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _of_emotions(table: Tables, numeric: Sequence[str], label: str) -> tuple[str, ...]:
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


def likely(tree: FileTree, path: str) -> tuple[str, str]:
    """Return, by a table's first lines, its columns of paths and of labels or emotions, or ""."""
    names = {plain(name): name for name in header(tree, path)}
    named, label = "", next((names[name] for name in _LABELS if name in names), "")
    with suppress(DatasetError):
        named = _path_column(names, Table(tree, path, ()))
    if label or not named:
        return named, label
    with suppress(DatasetError):
        for name in (names[n] for n in _MAYBE_LABELS if n in names):
            rows = islice(Table(tree, path, ()).rows(name), _LOOKED_AT)
            if any(find_alias(cell) for _, (cell,) in rows):
                return named, name
        rated = [name for known, name in names.items() if _RATER.fullmatch(known)]
        rows = islice(Table(tree, path, ()).rows(*rated), _LOOKED_AT)
        if len(rated) > 1 and any(map(find_alias, chain.from_iterable(cells for _, cells in rows))):
            return named, ", ".join(rated)
    emotions = [name for name in names.values() if find_alias(name)]
    return named, ", ".join(emotions) if len(emotions) > 1 else ""
