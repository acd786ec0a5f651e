"""Any table of path and label, with whatever else it knows of an image."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import Final, NamedTuple

from mien.data.clips import Clip
from mien.data.formats.columns import (
    MOST_WORDS,
    NO_NUMBER,
    TABLE_KINDS,
    Columns,
    Tables,
    columns_of,
    csvs,
    every_csv,
    is_number,
    like_boxes,
    likely,
    plain,
    split_of_table,
)
from mien.data.formats.face_names import BY_NAMES, people_in, subject_in
from mien.data.formats.finding import Images, Place, elsewhere, folder_of, unlisted
from mien.data.formats.parts import CONTRADICTED, Part, contradicted, part_of
from mien.data.formats.reading import (
    NO_CODES,
    SPLIT_COLUMNS,
    Format,
    Item,
    Reading,
    emotion_of_folder,
    no_split,
    open_around,
    shown,
    split_named,
    split_of,
    split_of_folder,
)
from mien.data.formats.tables import Table, are_shares, box_by, number, numbers
from mien.data.formats.votes import NO_MAJORITY, most_voted, shares_of, vote_shares
from mien.data.source import FileTree
from mien.errors import DatasetError
from mien.labels import EMOTIONS, find_meaning
from mien.preprocess import InputSpec
from mien.records import Sample, Split

__all__ = ["CSV"]

_LEFT_OUT: Final = (
    f"Columns left out: {{}}. Kept are numbers, and words where there are at most {MOST_WORDS} "
    "different ones, but none that is called as the manifest's own columns."
)


@dataclass
class _Said:
    """What the rows of one face say: an emotion each, and the splits."""

    emotions: list[str] = field(default_factory=list)
    rows: int = 0
    splits: set[str] = field(default_factory=set)


_Opinions = Mapping[Part, _Said]


def _read(source: Path, *, codes: Mapping[str, str] = NO_CODES) -> Reading:
    with open_around(source, {*TABLE_KINDS, ".txt"}) as (tree, given):
        paths = [given] if given else csvs(tree)
        if not paths:
            found = ", ".join(every_csv(tree)[:5])
            raise DatasetError(
                f"{source}: expected one csv here, of path and label, or one a split (train.csv, "
                f"valid.csv, test.csv), found {found or 'none'}; give the csv itself"
            )
        table = Tables(tree, paths)
        columns = _with_readable_box(columns_of(table), table)
        images = Images(tree)
        places = _places(images, table, columns)
        columns = _with_raters(columns, table, places)
        shares = _boxes_are_shares(table, columns)
        if not tree.clips:
            columns = replace(columns, span=())
        opinions = _opinions(table, places, columns, codes)
        if opinions:
            words, values = (
                tuple(name for name in names if name != columns.annotator)
                for names in (columns.words, columns.values)
            )
            columns = replace(columns, words=words, values=values)
        naming = None if columns.subject else people_in([place.path for place in places])
        notes = tuple(
            _notes(
                columns,
                places,
                frozenset((*tree.pictured, *tree.hidden)),
                opinions=opinions,
                shares=shares,
                naming=naming,
            )
        )
        # Beside a csv that was named by itself may lie anything.
        named = {place.path for place in places}
        others = [] if given else [path for path in tree.pictured if path not in named]
        samples = _items(tree, table, places, columns, codes, opinions, naming)
        return Reading(
            table.count - sum(said.rows - 1 for said in opinions.values()) + len(others),
            chain(samples, unlisted(tree, others)),
            tree,
            values=columns.values,
            words=columns.words,
            notes=notes,
            looked_beyond_table=not given,
            relative_boxes=shares,
        )


def _places(images: Images, table: Tables, columns: Columns) -> list[Place]:
    """Return which file each row names; what rows of several splits name is that of its folder."""
    found = [
        (split, images.at(cell, folder_of(part.path), split))
        for part, _ in table.parts
        for _, (cell, said) in part.rows(columns.path, columns.split)
        for split in [split_named(said) or split_of_table(part.path)]
    ]
    splits: dict[str, set[Split | None]] = defaultdict(set)
    for split, place in found:
        splits[place.path].add(split)
    return [
        elsewhere(place)
        if place.located == "name"
        and len(splits[place.path]) > 1
        and split_of_folder(place.path) not in {split, None}
        else place
        for split, place in found
    ]


def _with_readable_box(columns: Columns, table: Tables) -> Columns:
    """Return columns without those of a box that is none in any row: they hold something else."""
    boxes = (_parts(cells) for _, cells in table.rows(*columns.box))
    if any(box_by(columns.form, numbers(cells)) for cells in boxes):
        return columns
    return replace(columns, box=(), left_out=(*columns.left_out, *columns.box))


def _boxes_are_shares(table: Tables, columns: Columns) -> bool:
    """Whether boxes are shares of the image's sides, see `are_shares`."""
    cells = (_parts(cells) for _, cells in table.rows(*columns.box))
    return are_shares(filter(None, map(numbers, filter(None, cells))))


def _with_raters(columns: Columns, table: Tables, places: Sequence[Place]) -> Columns:
    """Return columns whose participants are those who label, where most faces have several."""
    participants = plain(columns.subject) in {"participant", "participant_id"}
    if columns.annotator or any(columns.votes) or not participants:
        return columns
    people: dict[tuple[str, ...], set[str]] = defaultdict(set)
    rows = table.rows(columns.subject, *columns.box)
    for place, (_, (name, *box)) in zip(places, rows, strict=True):
        people[place.path, *box].add(name)
    several = sum(len(names) > 1 for names in people.values())
    if 2 * several <= len(people):
        return columns
    return replace(columns, annotator=columns.subject, subject="")


def _opinions(
    table: Tables, places: Sequence[Place], columns: Columns, codes: Mapping[str, str]
) -> _Opinions:
    """Return what annotators saw in the faces that several rows name; nothing without any."""
    if not columns.annotator or any(columns.votes):
        return {}
    seen: dict[Part, _Said] = defaultdict(_Said)
    for place, (_, row) in zip(places, _rows(table, columns), strict=True):
        if not place.located:
            continue
        said = seen[row.part(place.path)]
        said.rows += 1
        said.splits |= {split_named(row.split) or row.split} - {""}
        if emotion := find_meaning(row.given, codes):
            said.emotions.append(emotion)
    return {face: said for face, said in seen.items() if said.rows > 1}


def _notes(
    columns: Columns,
    places: Sequence[Place],
    images: Collection[str],
    *,
    opinions: _Opinions,
    shares: bool,
    naming: re.Pattern[str] | None,
) -> Iterator[str]:
    named = Counter(place.path for place in places)
    if by_name := sum(place.located == "name" for place in places):
        yield (
            f"Rows whose image was found by its name, or by the end of its path: {by_name:,} "
            "('located' in the manifest)."
        )
    if plain(columns.subject) not in {"", "subject"}:
        yield f"People by column {shown(columns.subject)}: each is drawn into one split."
    if naming:
        yield BY_NAMES
    if columns.split and plain(columns.split) not in SPLIT_COLUMNS:
        yield f"Splits by column {shown(columns.split)}."
    if not columns.label:
        yield "No column says the label: it is the emotion that has the most votes."
    if columns.raters:
        yield f"What several say of a face, by columns {', '.join(columns.raters)}, are its votes."
    if len(columns.votes) > 1:
        yield f"Votes by columns {', '.join(filter(None, columns.votes))}."
    if not columns.box and (
        like := like_boxes((*columns.values, *columns.words, *columns.left_out))
    ):
        yield (
            f"Columns that may be of boxes, and are none by the names that are known: "
            f"{', '.join(like)}. So each image was taken whole."
        )
    if columns.span and any(isinstance(place.load, Clip) for place in places):
        yield f"Parts of videos by columns {' and '.join(map(shown, columns.span))}."
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
    yield from _notes_of_repeats(named, columns, opinions)


def _notes_of_repeats(
    named: Mapping[str, int], columns: Columns, opinions: _Opinions
) -> Iterator[str]:
    """Tell what becomes of files that several rows name."""
    if opinions:
        count = sum(said.rows for said in opinions.values())
        yield (
            f"What several say of a face, by column {shown(columns.annotator)}, are its votes: "
            f"{count:,} of {len(opinions):,} faces. "
            "Its label is the emotion that most of them name."
        )
    elif not columns.span and (several := sum(rows > 1 for rows in named.values())):
        yield (
            f"Files that several rows name: {several:,}; 'mien data audit' shows them as "
            "duplicates, and where labels differ as conflicts."
        )


class _Row(NamedTuple):
    """The cells of a row, by what they are of; empty where there is no such column."""

    given: str
    split: str
    subject: str
    weight: str
    votes: Sequence[str]
    raters: Sequence[str]
    box: Sequence[str]
    span: Sequence[str]
    values: Sequence[str]
    words: Sequence[str]

    def part(self, path: str) -> Part:
        """Return what it is of, in the file at a path."""
        return (path, *self.box), tuple(self.span)


def _rows(tables: Tables, columns: Columns) -> Iterator[tuple[Split | None, _Row]]:
    """Give each row, and the split that its table is of."""
    single = (columns.label, columns.split, columns.subject, columns.weight)
    own = (columns.values, columns.words)
    groups = (columns.votes, columns.raters, columns.box, columns.span, *own)
    ends = [*accumulate(map(len, groups), initial=len(single))]
    for table, split in tables.parts:
        for _, cells in table.rows(*single, *chain.from_iterable(groups)):
            parts = (cells[start:end] for start, end in pairwise(ends))
            yield split, _Row(*cells[: len(single)], *parts)


def _items(
    tree: FileTree,
    tables: Tables,
    places: Sequence[Place],
    columns: Columns,
    codes: Mapping[str, str],
    opinions: _Opinions,
    naming: re.Pattern[str] | None,
) -> Iterator[Item]:
    against = contradicted(_said_of_videos(tables, places, columns, codes, opinions))
    told = set[Part]()
    for place, (own_split, row) in zip(places, _rows(tables, columns), strict=True):
        part = row.part(place.path)
        if part in told:
            continue  # The first row of a face that several name stands for all of them.
        if (said := opinions.get(part)) is not None:
            told.add(part)
        around, folder_label = _said_around(tree, place.path)
        sample = _sample(place, row, said, columns, codes)
        load, why = part_of(place.load, row.span)
        if part in against:
            why = why or CONTRADICTED
        why = sample.excluded or why
        yield (
            replace(
                sample,
                split=sample.split or own_split or around,
                folder_label=folder_label if place.located else None,
                subject=sample.subject or subject_in(place.path, naming),
                excluded=why,
                problem="bad_label" if why else None,
            ),
            load,
        )


def _said_of_videos(
    tables: Tables,
    places: Sequence[Place],
    columns: Columns,
    codes: Mapping[str, str],
    opinions: _Opinions,
) -> Iterator[tuple[Part, str]]:
    """Give the parts of videos that rows name, and the emotion of each; not those of opinions."""
    if not any(isinstance(place.load, Clip) for place in places):
        return
    for place, (_, row) in zip(places, _rows(tables, columns), strict=True):
        part, emotion = row.part(place.path), find_meaning(row.given, codes)
        if isinstance(place.load, Clip) and emotion and part not in opinions:
            yield part, emotion


def _sample(
    place: Place, row: _Row, said: _Said | None, columns: Columns, codes: Mapping[str, str]
) -> Sample:
    """Return what a row, or all rows of its face together, say, without what is around it."""
    given, split = row.given, row.split
    votes, weight = _votes(row.votes), number(row.weight)
    if columns.raters:
        votes = vote_shares(Counter(find_meaning(cell, codes) for cell in row.raters))
    if said is not None:
        votes, split = vote_shares(Counter(said.emotions)), " and ".join(sorted(said.splits))
    if columns.label and said is None:
        label, none = find_meaning(given, codes), _no_name(given, codes)
    else:
        label, none, given = most_voted(votes or ()), NO_MAJORITY, ""
    box_cells = _parts(row.box)
    box = box_by(columns.form, numbers(box_cells))
    if split and not split_named(split):
        # Left open, it might land in the wrong one.
        excluded = no_split(columns.split, split)
    elif votes is None:
        excluded = "its votes are not 8 numbers of 0 or more"
    elif label is None:
        excluded = none
    elif row.weight and (weight is None or weight < 0):
        excluded = f"weight {shown(row.weight)} is no number of 0 or more"
    elif box_cells and box is None:
        excluded = "its face box is no box"
    else:
        excluded = None
    return Sample(
        place.path,
        split_named(split),
        label,
        votes=votes or (),
        excluded=excluded,
        box=box,
        given=given or None,
        subject=row.subject or None,
        weight=None if excluded else weight,
        problem="bad_label" if excluded else None,
        located=place.located,
        values=_values(columns.values, row.values),
        words={name: word for name, word in zip(columns.words, row.words, strict=True) if word},
    )


def _said_around(tree: FileTree, path: str) -> tuple[Split | None, str | None]:
    """Return the split and the emotion that the folders around a file name."""
    split, emotion = _said_by(folder_of(path))
    return split or (split_of(tree, path) if tree.archive(path) else None), emotion


@lru_cache(maxsize=4096)
def _said_by(folder: str) -> tuple[Split | None, str | None]:
    return split_of_folder(folder), emotion_of_folder(folder)


def _no_name(given: str, codes: Mapping[str, str]) -> str:
    if is_number(given):
        says = "none of the --codes" if codes else "a number: write the emotion's name, or --codes"
        return f"label {shown(given)} is {says}"
    return f"label {shown(given)} names no emotion" if given else "no label"


def _parts(cells: Sequence[str]) -> list[str]:
    """Return the numbers' cells: four of them, or those in the one cell that holds all."""
    if len(cells) == 1:
        bare = cells[0].strip("[]() ")
        return [] if bare.lower() in NO_NUMBER else re.split(r"[\s,;]+", bare)
    return [] if all(cell.lower() in NO_NUMBER for cell in cells) else list(cells)


def _votes(cells: Sequence[str]) -> tuple[float, ...] | None:
    """Return the share of each emotion, nothing where nobody voted, None where it is no vote."""
    parts = _parts(cells)
    if not parts:
        return ()
    counts = numbers(part or "0" for part in parts)
    if counts is None or len(counts) != len(EMOTIONS) or min(counts) < 0:
        return None
    return shares_of(counts)


def _values(names: Sequence[str], cells: Sequence[str]) -> Mapping[str, float]:
    found = zip(names, map(number, cells), strict=True)
    return {name: value for name, value in found if value is not None}


def _recognise(tree: FileTree) -> str | None:
    paths = csvs(tree)
    if not paths:
        return None
    path = paths[0]
    named, label = likely(tree, path)
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
    in_folders = any(map(emotion_of_folder, tree.pictured))
    return located == "path" or (located == "name" and not in_folders)


CSV = Format(
    "any csv or JSON lines of path and label; also split, subject, weight, votes, box, others",
    InputSpec(size=96, channels=3),
    _read,
    _recognise,
    alone=True,
    coded=True,
)
