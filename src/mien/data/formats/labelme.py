"""Labelme's layout: a JSON file of shapes and flags for each image; X-AnyLabeling has it, too."""

import math
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, TypeAdapter

from mien.data.formats.beside import Labels, images_of
from mien.data.formats.marked import (
    LOOKED_AT,
    ONE_A_MARK,
    is_of_few,
    read_marked,
    recognised_by,
)
from mien.data.formats.marked_tables import json_content
from mien.data.formats.marks import Mark, around, as_labels, faces_of, known_size, round_middle
from mien.data.formats.reading import NO_CODES, Format, Reading, open_tree
from mien.data.formats.tables import numbers
from mien.data.source import FileTree
from mien.errors import DatasetError, ImageError
from mien.preprocess import InputSpec
from mien.records import Box

__all__ = ["LABELME"]

_KEYS = (b'"shapes"', b'"imagePath"')
_WITHIN = frozenset({"point", "points", "line", "linestrip"})
"""Shapes that mark something of a face, not where it is."""
_BOXED = frozenset({"rectangle", "polygon", "rotation", "quadrilateral", "mask"})


class _Shape(BaseModel):
    label: str | None = None
    points: list[list[Any]]
    shape_type: str | None = None
    flags: dict[str, Any] | None = None
    attributes: dict[str, Any] | None = None


class _Content(BaseModel):
    shapes: list[_Shape]
    flags: dict[str, Any] | None = None
    width: Any = Field(None, alias="imageWidth")
    height: Any = Field(None, alias="imageHeight")
    path: Any = Field(None, alias="imagePath")


_CONTENT = TypeAdapter(_Content)


def _read(source: Path, *, codes: Mapping[str, str] = NO_CODES) -> Reading:
    with open_tree(source) as tree:
        files = list(_files(tree, codes))
        if not files:
            raise DatasetError(
                f"{source}: no Labelme files here; expected x.json beside x.jpg, of 'shapes' with "
                "a label and points, or of 'flags'"
            )
        return read_marked(source, tree, images_of(tree, files))


def _files(tree: FileTree, codes: Mapping[str, str]) -> Iterator[tuple[str, Labels]]:
    """Give the files that are Labelme's, by their content, and what they mark."""
    for path in tree.others:
        if path.lower().endswith(".json"):
            try:
                text = tree.read(path)
            except ImageError as error:
                yield path, Labels.broken(str(error))
                continue
            if all(key in text for key in _KEYS):
                yield path, _labels(text, codes)


def _labels(text: bytes, codes: Mapping[str, str]) -> Labels:
    try:
        content = json_content(text, _CONTENT)
    except DatasetError as error:
        return Labels.broken(f"is broken ({error})")
    marks = [_mark(shape) for shape in content.shapes if shape.shape_type not in _WITHIN]
    named = content.path.replace("\\", "/") if isinstance(content.path, str) else ""
    size = known_size(content.width, content.height)
    return Labels(faces_of(marks, _set(content.flags), codes), size, named)


def _mark(shape: _Shape) -> Mark:
    flags = as_labels(_set(shape.flags))
    told = [(key, str(value)) for key, value in (shape.attributes or {}).items()]
    return Mark(shape.label or "", [*flags, *told], _box(shape))


def _box(shape: _Shape) -> Box | None:
    ends = numbers(str(value) for point in shape.points for value in point)
    if shape.shape_type == "circle":
        if ends is None or len(ends) != 4:
            return None
        x, y, radius = *ends[:2], math.dist(ends[:2], ends[2:])
        return round_middle((x, y, radius, radius))
    return around(ends, least=2) if (shape.shape_type or "polygon") in _BOXED else None


def _set(flags: Mapping[str, Any] | None) -> list[str]:
    return [name for name, value in (flags or {}).items() if value is True]


def _recognise(tree: FileTree) -> str | None:
    if tree.alone:
        return None  # It is of no use without its image.
    looked = [*islice(_files(tree, NO_CODES), LOOKED_AT)]
    if is_of_few(tree, len(looked)):
        return None
    return recognised_by((path, said.faces) for path, said in looked)


LABELME = Format(
    "Labelme: x.json beside x.jpg, of shapes with labels, or of flags",
    InputSpec(size=96, channels=3),
    _read,
    _recognise,
    notes=(ONE_A_MARK,),
    coded=True,
)
