"""Files that mark faces in many images each: COCO's, CVAT's, Label Studio's and VIA's."""

import codecs
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from mien.data.formats.finding import Images
from mien.data.formats.marked import (
    LOOKED_AT,
    ONE_A_MARK,
    Marked,
    is_of_few,
    read_marked,
    recognised_by,
)
from mien.data.formats.reading import (
    NO_CODES,
    SPLIT_COLUMNS,
    Format,
    Reading,
    most_held_out,
    no_split,
    open_around,
    split_named,
)
from mien.data.source import FileTree
from mien.errors import DatasetError, ImageError, first_problem
from mien.preprocess import InputSpec
from mien.records import Split

__all__ = ["Broken", "json_content", "json_tables", "split_told", "table_format", "with_split"]

_GIVEN: Final = frozenset({".json", ".xml"})
Content = TypeVar("Content")
Broken = list[DatasetError]
"""The errors of files that cannot be read."""


def table_format(
    says: str,
    tables_of: Callable[[FileTree, Iterable[str], Broken], Iterator[tuple[str, Content]]],
    marked: Callable[[FileTree, Images, str, Content, Mapping[str, str]], Iterator[Marked]],
    *,
    expected: str,
    notes: Sequence[str] = (),
) -> Format:
    """Return the format of files whose images have marks of their own.

    Args:
        says: its layout in a line.
        tables_of: gives those of a source's files that are such, and what they hold; adds errors
            of broken ones to the list that it is given.
        marked: gives the images of one, from the source, its images, the path of the file, its
            content and the user's codes.
        expected: what messages say where there is none.
        notes: what a user of the dataset should know.
    """

    def read(source: Path, *, codes: Mapping[str, str] = NO_CODES) -> Reading:
        with open_around(source, _GIVEN) as (tree, given):
            broken: Broken = []
            tables = list(tables_of(tree, [given] if given else tree.others, broken))
            if not tables:
                raise broken[0] if broken else DatasetError(f"{source}: {expected}")
            notes = [f"Left out: {error}" for error in broken]
            found = Images(tree)
            images = (image for table in tables for image in marked(tree, found, *table, codes))
            return read_marked(source, tree, images, alone=given is not None, notes=notes)

    def recognise(tree: FileTree) -> str | None:
        found = Images(tree)
        broken: Broken = []
        looked = [
            (path, image.faces)
            for path, content in tables_of(tree, tree.others, broken)
            for image in islice(marked(tree, found, path, content, NO_CODES), LOOKED_AT)
        ]
        if is_of_few(tree, len(looked)):
            return None
        # Where there is nothing else, what is broken is to be told, not that nothing is known.
        return recognised_by(looked) or (str(broken[0]) if broken and not looked else None)

    return Format(
        says,
        InputSpec(size=96, channels=3),
        read,
        recognise,
        notes=(ONE_A_MARK, *notes),
        alone=True,
        coded=True,
    )


def json_tables(
    tree: FileTree,
    paths: Iterable[str],
    keys: Collection[Collection[bytes]],
    form: TypeAdapter[Content],
    broken: Broken,
) -> Iterator[tuple[str, Content]]:
    """Give the JSON files that have some keys, by their content: any name is in use.

    Args:
        tree: the source's files.
        paths: those to look at.
        keys: all of one of these, as they are written, in quotes.
        form: what such a file holds.
        broken: gets the errors of those that cannot be read, or have all the keys, but not the
            form.
    """
    for path in paths:
        if not path.lower().endswith(".json"):
            continue
        try:
            text = tree.read(path)
        except ImageError as error:
            broken.append(DatasetError(f"{tree.where(path)}: {error}"))
            continue
        if any(all(key in text for key in some) for some in keys):
            try:
                yield path, json_content(text, form)
            except DatasetError as error:
                broken.append(DatasetError(f"{tree.where(path)}: {error}"))


def json_content(text: bytes, form: TypeAdapter[Content]) -> Content:
    """Return what a JSON file holds.

    Raises:
        DatasetError: it has another form; says where.
    """
    try:
        return form.validate_json(text.removeprefix(codecs.BOM_UTF8))
    except ValidationError as error:
        where, why = first_problem(error)
        raise DatasetError(f"{where}: {why}") from None


def split_told(said: Mapping[str, Any]) -> tuple[Split | None, str | None]:
    """Return the split that data about an image name, and why it is left out where that is none.

    Args:
        said: the data, of which those count that are called as in `SPLIT_COLUMNS`.
    """
    words = {name: said.get(name) for name in SPLIT_COLUMNS}
    told = {name: word for name, word in words.items() if isinstance(word, str) and word}
    split: Split | None = next(filter(None, map(split_named, told.values())), None)
    # Left open, it might land in the wrong one.
    lost = not split and "split" in told
    return split, no_split("split", told["split"]) if lost else None


def with_split(image: Marked, told: Iterable[tuple[Split | None, str | None]]) -> Marked:
    """Return an image in the split that it is told to be in, else in its own."""
    splits, problems = zip(*told, strict=True)
    split = most_held_out(splits)
    why = next(filter(None, problems), None)
    faces = image.faces
    if why:
        faces = tuple(
            replace(face, excluded=face.excluded or why, problem="bad_label") for face in faces
        )
    return image._replace(split=split or image.split, faces=faces)
