"""COCO's layout: a JSON file of images, categories, and annotations with boxes."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, TypeAdapter

from mien.data.formats.finding import Images, folder_of
from mien.data.formats.marked import LOOKED_AT, ONE_A_MARK, Marked, read_marked
from mien.data.formats.marked_tables import Broken, json_tables
from mien.data.formats.marks import NO_FACE, MarkedFace, around, known_size, said_face
from mien.data.formats.reading import (
    NO_CODES,
    Format,
    Reading,
    open_around,
    shown,
    split_in_name,
    split_of,
)
from mien.data.formats.tables import are_shares, box_of, numbers
from mien.data.source import FileTree
from mien.errors import DatasetError
from mien.labels import find_alias
from mien.preprocess import InputSpec
from mien.records import Box, Split

__all__ = ["COCO"]

_KEYS = ((b'"images"', b'"annotations"', b'"categories"'),)


class _Part(BaseModel):
    # Some programs write ids as numbers, others as text.
    model_config = ConfigDict(coerce_numbers_to_str=True)


class _Image(_Part):
    id: str
    file_name: str
    width: Any = None
    height: Any = None


class _Category(_Part):
    id: str
    name: str


class _Annotation(_Part):
    image_id: str | None = None
    category_id: str | None = None
    bbox: Any = None
    segmentation: Any = None
    attributes: Any = None


class _Content(_Part):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


_CONTENT: Final = TypeAdapter(_Content)


class _Table(NamedTuple):
    path: str
    split: Split | None
    content: _Content


def _read(source: Path, *, codes: Mapping[str, str] = NO_CODES) -> Reading:
    with open_around(source, {".json"}) as (tree, given):
        broken: Broken = []
        tables = list(_tables(tree, [given] if given else tree.others, broken))
        if broken:
            raise broken[0]
        if not tables:
            raise DatasetError(
                f"{source}: no COCO file here; expected _annotations.coco.json or another .json "
                "of 'images', 'annotations' and 'categories'"
            )
        found = Images(tree)
        images = [image for table in tables for image in _marked(tree, found, table, codes)]
        notes = [note for table in tables for note in _notes(tree, table)]
        reading = read_marked(source, tree, images, alone=given is not None, notes=notes)
        boxes = (face.box for image in images for face in image.faces if face.box)
        return replace(reading, relative_boxes=are_shares(boxes))


def _tables(tree: FileTree, paths: Sequence[str], broken: Broken) -> Iterator[_Table]:
    for path, content in json_tables(tree, paths, _KEYS, _CONTENT, broken):
        split = split_in_name(PurePosixPath(path).stem) or split_of(tree, path)
        yield _Table(path, split, content)


def _marked(
    tree: FileTree, images: Images, table: _Table, codes: Mapping[str, str]
) -> Iterator[Marked]:
    folder = folder_of(table.path)
    names = {one.id: one.name for one in table.content.categories}
    faces: dict[str | None, list[MarkedFace]] = defaultdict(list)
    for mark in table.content.annotations:
        faces[mark.image_id].append(_face(mark, names, codes))
    for image in table.content.images:
        place = images.at(image.file_name, folder, table.split)
        split = table.split or split_of(tree, place.path)
        named = (folder, image.file_name)
        size = known_size(image.width, image.height)
        yield Marked(place, split, faces.get(image.id, NO_FACE), size, named)


def _face(mark: _Annotation, names: Mapping[str, str], codes: Mapping[str, str]) -> MarkedFace:
    name = names.get(mark.category_id or "")
    box = _box(mark)
    if name is None:
        none = f"id {shown(str(mark.category_id))} is none of its categories"
        return MarkedFace(None, mark.category_id, box, none, "bad_label")
    told = mark.attributes.items() if isinstance(mark.attributes, dict) else ()
    return said_face(name, ((str(key), str(value)) for key, value in told), codes, box)


def _box(mark: _Annotation) -> Box | None:
    """Return the box of a mark, or that around its polygons."""
    if isinstance(mark.bbox, list) and mark.bbox:
        return box_of(numbers(map(str, mark.bbox)))
    if not isinstance(mark.segmentation, list):
        return None
    return around(numbers(map(str, chain.from_iterable(mark.segmentation))))


def _notes(tree: FileTree, table: _Table) -> Iterator[str]:
    listed = Counter(image.id for image in table.content.images)
    if several := sum(count > 1 for count in listed.values()):
        yield f"{tree.where(table.path)}: ids that several of its images have: {several:,}."
    if lost := sum(mark.image_id not in listed for mark in table.content.annotations):
        yield f"{tree.where(table.path)}: annotations of images that it does not list: {lost:,}."


def _recognise(tree: FileTree) -> str | None:
    tables = list(_tables(tree, tree.others, []))
    named, marked = set[str](), set[str | None]()
    for content in (table.content for table in tables):
        names = {one.id: one.name for one in content.categories}
        faces = [_face(mark, names, NO_CODES) for mark in content.annotations[:LOOKED_AT]]
        named |= {*names.values(), *(face.given or "" for face in faces)}
        marked |= {face.label for face in faces}
    told = sorted(name for name in named if find_alias(name))
    if len({find_alias(name) for name in told}) < 2 or not any(marked):
        return None
    return f"{tables[0].path} has images, annotations, and faces called {', '.join(told)}"


COCO = Format(
    "COCO: _annotations.coco.json or another .json of images, annotations and categories",
    InputSpec(size=96, channels=3),
    _read,
    _recognise,
    notes=(ONE_A_MARK,),
    alone=True,
    coded=True,
)
