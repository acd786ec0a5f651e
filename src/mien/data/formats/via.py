"""The VGG Image Annotator's layout: a JSON file of images, their regions and what these are."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, TypeAdapter

from mien.data.formats.finding import Images, folder_of
from mien.data.formats.marked import Marked
from mien.data.formats.marked_tables import (
    Broken,
    json_tables,
    split_told,
    table_format,
    with_split,
)
from mien.data.formats.marks import Mark, around, as_labels, faces_of, round_middle, telling_keys
from mien.data.formats.reading import split_of
from mien.data.formats.tables import box_of, numbers
from mien.data.source import FileTree
from mien.records import Box

__all__ = ["VIA"]

_KEYS: Final = ((b'"filename"', b'"regions"', b'"file_attributes"'),)


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


def _tables(
    tree: FileTree, paths: Iterable[str], broken: Broken
) -> Iterator[tuple[str, dict[str, _Image]]]:
    return json_tables(tree, paths, _KEYS, _IMAGES, broken)


def _marked(
    tree: FileTree,
    images: Images,
    path: str,
    content: Mapping[str, _Image],
    codes: Mapping[str, str],
) -> Iterator[Marked]:
    folder = folder_of(path)
    regions = (each for image in content.values() for each in image.regions)
    of_regions = telling_keys(_said(each.region_attributes for each in regions), codes)
    of_files = telling_keys(_said(each.file_attributes for each in content.values()), codes)
    for image in content.values():
        place = images.at(image.filename, folder)
        marks = [
            Mark(
                "",
                as_labels(_words(each.region_attributes, of_regions)),
                _box(each.shape_attributes),
            )
            for each in image.regions
            if each.shape_attributes.get("name") not in {"point", "polyline"}
        ]
        faces = faces_of(marks, _words(image.file_attributes, of_files), codes)
        split = split_of(tree, place.path)
        marked = Marked(place, split, faces, named=(folder, image.filename))
        yield with_split(marked, [split_told(image.file_attributes)])


def _said(found: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """Give the attributes of regions, or of images, and what is chosen in each."""
    for attributes in found:
        for name, value in attributes.items():
            yield name, _ticked(value)


def _words(attributes: Mapping[str, Any], telling: Collection[str]) -> list[str]:
    """Return the words that may be an emotion, of the attributes that tell it."""
    told = (value for name, value in attributes.items() if name in telling)
    return [word for value in told for word in _ticked(value)]


def _ticked(value: Any) -> list[str]:
    """Return the chosen ones of several choices, or the only one."""
    if isinstance(value, dict):
        return [choice for choice, ticked in value.items() if ticked]
    return [value] if isinstance(value, str) and value.strip() else []


def _box(shape: Mapping[str, Any]) -> Box | None:
    def of(*names: str) -> list[float] | None:
        return numbers(str(shape.get(name)) for name in names)

    match shape.get("name"):
        case "rect":
            return box_of(of("x", "y", "width", "height"))
        case "circle":
            return round_middle(of("cx", "cy", "r", "r"))
        case "ellipse":
            return round_middle(of("cx", "cy", "rx", "ry"))
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
