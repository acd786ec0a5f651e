"""The VGG Image Annotator's layout: a JSON file of images, their regions and what these are."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter

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
from mien.labels import find_alias
from mien.records import Box

__all__ = ["VIA"]

_KEYS: Final = ((b'"filename"', b'"regions"', b'"file_attributes"'),)


def _listed(regions: Any) -> Any:
    """Return a list of what older versions number."""
    return list(regions.values()) if isinstance(regions, dict) else regions


def _or_nothing(options: Any) -> Any:
    """Return attributes, or the options of one; of one that is written freely there are none."""
    return options if isinstance(options, dict) else {}


class _Region(BaseModel):
    shape_attributes: dict[str, Any] = {}
    region_attributes: dict[str, Any] = {}


class _Image(BaseModel):
    filename: str
    regions: Annotated[list[_Region], BeforeValidator(_listed)] = []
    file_attributes: dict[str, Any] = {}


class _Attribute(BaseModel):
    options: Annotated[dict[str, Any], BeforeValidator(_or_nothing)] = {}


class _Attributes(BaseModel):
    region: Annotated[dict[str, _Attribute], BeforeValidator(_or_nothing)] = {}
    file: Annotated[dict[str, _Attribute], BeforeValidator(_or_nothing)] = {}


class _Project(BaseModel):
    """Images, and what may be chosen for them and their regions, of which annotations say nothing.

    Attributes:
        images: by a name that also has the file's size.
        attributes: for each one its options, what they are called by their ids.
    """

    images: dict[str, _Image] = Field(validation_alias="_via_img_metadata")
    attributes: _Attributes = Field(_Attributes(), validation_alias="_via_attributes")


def _project(content: Any) -> Any:
    """Return annotations as a project has them, beside its settings."""
    if not isinstance(content, dict) or "_via_img_metadata" in content:
        return content
    return {"_via_img_metadata": content}


_PROJECT: Final = TypeAdapter(Annotated[_Project, BeforeValidator(_project)])


def _tables(tree: FileTree, paths: Iterable[str], broken: Broken) -> Iterator[tuple[str, _Project]]:
    return json_tables(tree, paths, _KEYS, _PROJECT, broken)


def _marked(
    tree: FileTree,
    images: Images,
    path: str,
    project: _Project,
    codes: Mapping[str, str],
) -> Iterator[Marked]:
    folder = folder_of(path)
    asked = project.attributes
    said = [
        (image, _said(image.file_attributes, asked.file), [*_regions(image, asked.region)])
        for image in project.images.values()
    ]
    of_regions = telling_keys(
        (each for _, _, regions in said for _, words in regions for each in words.items()), codes
    )
    of_files = telling_keys((each for _, words, _ in said for each in words.items()), codes)
    for image, words, regions in said:
        place = images.at(image.filename, folder)
        marks = [Mark("", as_labels(_telling(each, of_regions)), box) for box, each in regions]
        faces = faces_of(marks, _telling(words, of_files), codes)
        split = split_of(tree, place.path)
        marked = Marked(place, split, faces, named=(folder, image.filename))
        yield with_split(marked, [split_told(image.file_attributes)])


def _regions(
    image: _Image, asked: Mapping[str, _Attribute]
) -> Iterator[tuple[Box | None, dict[str, list[str]]]]:
    """Give the box of each region, if it has any, and what is chosen for it."""
    for each in image.regions:
        if each.shape_attributes.get("name") not in {"point", "polyline"}:
            yield _box(each.shape_attributes), _said(each.region_attributes, asked)


def _said(attributes: Mapping[str, Any], asked: Mapping[str, _Attribute]) -> dict[str, list[str]]:
    """Return what is chosen in each attribute; for the id of an option the emotion that it is."""
    none = _Attribute()
    return {
        name: [_option(word, asked.get(name, none)) for word in _ticked(value)]
        for name, value in attributes.items()
    }


def _option(word: str, attribute: _Attribute) -> str:
    called = str(attribute.options.get(word, ""))
    return called if find_alias(called) else word


def _telling(said: Mapping[str, Sequence[str]], telling: Collection[str]) -> list[str]:
    """Return the words that may be an emotion, of the attributes that tell it."""
    return [word for name, words in said.items() if name in telling for word in words]


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
