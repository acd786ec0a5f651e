"""The VGG Image Annotator's layout: a JSON file of images, their regions and what these are."""

from collections import defaultdict
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
from mien.data.formats.marks import Mark, around, faces_of, round_middle, telling_keys
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
    of_regions = _telling(chain.from_iterable(map(_regions, content.values())), codes)
    of_files = _telling((image.file_attributes for image in content.values()), codes)
    for image in content.values():
        place = images.at(image.filename, folder)
        marks = [
            Mark("", _labels(each.region_attributes, of_regions), _box(each.shape_attributes))
            for each in image.regions
            if each.shape_attributes.get("name") not in {"point", "polyline"}
        ]
        words = [word for _, word in _labels(image.file_attributes, of_files)]
        faces = faces_of(marks, words, codes)
        split = split_of(tree, place.path)
        marked = Marked(place, split, faces, named=(folder, image.filename))
        yield with_split(marked, [split_told(image.file_attributes)])


def _regions(image: _Image) -> Iterator[Mapping[str, Any]]:
    return (region.region_attributes for region in image.regions)


def _telling(found: Iterable[Mapping[str, Any]], codes: Mapping[str, str]) -> Collection[str]:
    """Return which attributes of regions, or of images, tell the emotion; see `telling_keys`."""
    said: dict[str, set[str]] = defaultdict(set)
    for attributes in found:
        for name, value in attributes.items():
            said[name].update(_ticked(value))
    return telling_keys(said, codes)


def _labels(attributes: Mapping[str, Any], telling: Collection[str]) -> list[tuple[str, str]]:
    """Return the words that may be an emotion, of the attributes that tell it."""
    told = (value for name, value in attributes.items() if name in telling)
    return [("label", word) for value in told for word in _ticked(value)]


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
