"""Files that mark faces in many images each: COCO's, CVAT's, Label Studio's and VIA's."""

import codecs
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from mien.data.formats.marked import LOOKED_AT, ONE_A_MARK, Marked, read_marked, recognised_by
from mien.data.formats.reading import NO_CODES, Format, Reading, emotion_of_folder, open_around
from mien.data.source import FileTree
from mien.errors import DatasetError, ImageError, first_problem
from mien.preprocess import InputSpec

__all__ = ["Broken", "json_tables", "table_format"]

Content = TypeVar("Content")
Broken = list[DatasetError]


def table_format(
    says: str,
    tables_of: Callable[[FileTree, Iterable[str], Broken], Iterator[tuple[str, Content]]],
    marked: Callable[[FileTree, str, Content, Mapping[str, str]], Iterator[Marked]],
    *,
    expected: str,
    notes: Sequence[str] = (),
) -> Format:
    """Return the format of files whose images have marks of their own.

    Args:
        says: its layout in a line.
        tables_of: gives those of a source's files that are such, and what they hold; adds errors
            of broken ones to the list that it is given.
        marked: gives the images of one, from its path, its content and the user's codes.
        expected: what messages say where there is none.
        notes: what a user of the dataset should know.
    """

    def read(source: Path, *, codes: Mapping[str, str] = NO_CODES) -> Reading:
        with open_around(source) as (tree, given):
            broken: list[DatasetError] = []
            tables = list(tables_of(tree, [given] if given else tree.others, broken))
            if not tables:
                raise broken[0] if broken else DatasetError(f"{source}: {expected}")
            notes = [f"Left out: {error}" for error in broken]
            images = (image for table in tables for image in marked(tree, *table, codes))
            return read_marked(source, tree, images, alone=given is not None, notes=notes)

    def recognise(tree: FileTree) -> str | None:
        looked = [
            (path, image.faces)
            for path, content in tables_of(tree, tree.others, [])
            for image in islice(marked(tree, path, content, NO_CODES), LOOKED_AT)
        ]
        # In folders of emotions a file that tells of a few images is about something else.
        few = 2 * len(looked) < min(len(tree.images), LOOKED_AT)
        if few and any(map(emotion_of_folder, tree.images)):
            return None
        return recognised_by(looked)

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
                yield path, form.validate_json(text.removeprefix(codecs.BOM_UTF8))
            except ValidationError as error:
                where, why = first_problem(error)
                broken.append(DatasetError(f"{tree.where(path)}: {where}: {why}"))
