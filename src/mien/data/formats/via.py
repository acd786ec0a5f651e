"""The VGG Image Annotator's layout: a JSON file of images, their regions and what these are."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, TypeAdapter

from mien.data.formats.finding import Images, folder_of
from mien.data.formats.marked import Mark, Marked, around, faces_of, telling
from mien.data.formats.marked_tables import json_tables, table_format
from mien.data.formats.reading import split_of
from mien.data.formats.tables import box_of, numbers
from mien.data.source import FileTree
from mien.labels import find_meaning
from mien.records import Box

__all__ = ["VIA"]

_KEYS: Final = (b'"filename"', b'"regions"', b'"file_attributes"')


def _listed(regions: Any) -> Any:
    """Return a list of what older versions number."""
    return list(regions.values()) if isinstance(regions, dict) else regions


class _Region(BaseModel):
    shape_attributes: dict[str, Any] = {}
    region_attributes: dict[str, Any] = {}


class _Image(BaseModel):
    filename: str
    regions: Annotated[list[_Region], BeforeValidator(_listed)] = []
    file_attributes: dict[str, Any] = {}


def _annotations(content: Any) -> Any:
    """Return the images of annotations, or of a project, which has them beside its settings."""
    return content.get("_via_img_metadata", content) if isinstance(content, dict) else content


_IMAGES: Final = TypeAdapter(Annotated[dict[str, _Image], BeforeValidator(_annotations)])


def _tables(tree: FileTree, paths: Iterable[str]) -> Iterator[tuple[str, dict[str, _Image]]]:
    return json_tables(tree, paths, _KEYS, _IMAGES)


def _marked(
    tree: FileTree, path: str, content: Mapping[str, _Image], codes: Mapping[str, str]
) -> Iterator[Marked]:
    images, folder = Images(tree), folder_of(path)
    for image in content.values():
        place = images.at(image.filename, folder)
        marks = [_mark(region) for region in image.regions]
        word = telling(*_said(image.file_attributes), codes)
        words = [word] if find_meaning(word, codes) else []
        yield Marked(place, split_of(tree, place.path), faces_of(marks, words, codes))


def _mark(region: _Region) -> Mark:
    return Mark(*_said(region.region_attributes), _box(region.shape_attributes))


def _said(attributes: Mapping[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    """Return the value of a single attribute, as if it were a class, and all attributes.

    One of several choices is an object of those that were ticked.
    """
    told = [(name, word) for name, value in attributes.items() for word in _ticked(value)]
    return (told[0][1] if len(told) == 1 else ""), told


def _ticked(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [choice for choice, ticked in value.items() if ticked]
    return [value] if isinstance(value, str) and value.strip() else []


def _box(shape: Mapping[str, Any]) -> Box | None:
    if shape.get("name") == "rect":
        return box_of(numbers(str(shape.get(key)) for key in ("x", "y", "width", "height")))
    across, down = shape.get("all_points_x"), shape.get("all_points_y")
    if not isinstance(across, list) or not isinstance(down, list):
        return None
    return around(numbers(map(str, chain.from_iterable(zip(across, down, strict=False)))))


VIA = table_format(
    "VIA (VGG Image Annotator): its project or annotations as JSON",
    _tables,
    _marked,
    expected="no file of VIA's here; expected its project or annotations as JSON beside the images",
)
