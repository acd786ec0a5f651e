"""Label Studio's exports JSON and JSON-MIN: what annotators chose for images, and drew in them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, TypeAdapter

from mien.data.formats.finding import Images, folder_of
from mien.data.formats.marked import Mark, Marked, MarkedFace, agreed, around, faces_of
from mien.data.formats.marked_tables import json_tables, table_format
from mien.data.formats.reading import split_of
from mien.data.formats.tables import box_of, numbers
from mien.data.source import FileTree
from mien.images import IMAGE_SUFFIXES
from mien.records import Box

__all__ = ["LABEL_STUDIO"]

_KEYS: Final = ((b'"data"', b'"annotations"', b'"result"'), (b'"annotation_id"',))
"""Those of JSON, and of JSON-MIN."""
_LABELS: Final = ("rectanglelabels", "polygonlabels", "labels", "choices")
_ABOUT: Final = frozenset(
    {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time"}
)
"""What JSON-MIN says of an annotation beside its answers."""


class _Region(BaseModel):
    """A choice or a shape; those of one face have an id in common."""

    id: str | None = None
    value: dict[str, Any] = {}
    original_width: Any = None
    original_height: Any = None


class _Annotation(BaseModel):
    result: list[_Region]
    was_cancelled: bool = False


class _Task(BaseModel):
    data: dict[str, Any]
    annotations: list[_Annotation]


def _whole_task(row: Any) -> Any:
    """Return a task as JSON has it; in JSON-MIN answers stand beside the data, an annotation each.

    There a choice is text, and what was drawn a list.
    """
    if not isinstance(row, dict) or "annotation_id" not in row:
        return row
    result: list[dict[str, Any]] = []
    for key, value in row.items():
        if isinstance(value, list):
            shapes = [shape for shape in value if isinstance(shape, dict)]
            result += ({**each, "id": f"{key} {n}", "value": each} for n, each in enumerate(shapes))
        elif isinstance(value, dict):
            result.append({"value": value})
        elif isinstance(value, str) and key not in _ABOUT and not _is_image(value):
            result.append({"value": {"choices": [value]}})
    return {"data": row, "annotations": [{"result": result}]}


_TASKS: Final = TypeAdapter(list[Annotated[_Task, BeforeValidator(_whole_task)]])


def _tables(tree: FileTree, paths: Iterable[str]) -> Iterator[tuple[str, list[_Task]]]:
    files = list(paths)
    for keys in _KEYS:
        yield from json_tables(tree, files, keys, _TASKS)


def _marked(
    tree: FileTree, path: str, tasks: Iterable[_Task], codes: Mapping[str, str]
) -> Iterator[Marked]:
    images, folder = Images(tree), folder_of(path)
    opinions: dict[str, list[_Annotation]] = defaultdict(list)
    for task in tasks:
        address = next(filter(_is_image, task.data.values()), "")
        opinions[address] += (each for each in task.annotations if not each.was_cancelled)
    for address, annotations in opinions.items():
        place = images.at(address, folder)
        sizes = (_size(region) for each in annotations for region in each.result)
        faces = agreed([_faces(each, codes) for each in annotations])
        yield Marked(place, split_of(tree, place.path), faces, next(filter(None, sizes), None))


def _is_image(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    suffixes = {PurePosixPath(part).suffix.lower() for part in (value, value.partition("?")[0])}
    return not suffixes.isdisjoint(IMAGE_SUFFIXES)


def _faces(annotation: _Annotation, codes: Mapping[str, str]) -> Sequence[MarkedFace]:
    """Return the faces that one annotator sees in an image, or what they call it as a whole."""
    groups: dict[object, list[_Region]] = defaultdict(list)
    for region in annotation.result:
        groups[region.id or object()].append(region)
    marks, words = [], []
    for group in groups.values():
        said = [word for region in group for word in _words(region)]
        if drawn := [region for region in group if _is_drawn(region)]:
            name, *others = said or [""]
            marks.append(Mark(name, [("label", word) for word in others], _box(drawn[0])))
        else:
            words += said
    return faces_of(marks, words, codes)


def _words(region: _Region) -> list[str]:
    found = (words for key in _LABELS if isinstance(words := region.value.get(key), list))
    return [word for words in found for word in words if isinstance(word, str)]


def _is_drawn(region: _Region) -> bool:
    return "width" in region.value or "points" in region.value


def _box(region: _Region) -> Box | None:
    """Return the box of a shape, which is in percent of the image's sides, in pixels."""
    value, size = region.value, _size(region)
    if size is None:
        return None
    if "points" in value:
        ends = numbers(str(each) for point in value["points"] for each in point)
        box = around(ends)
    else:
        box = box_of(numbers(str(value.get(key)) for key in ("x", "y", "width", "height")))
    if box is None:
        return None
    across, down = size[0] / 100, size[1] / 100
    return Box(box.x * across, box.y * down, box.width * across, box.height * down)


def _size(region: _Region) -> tuple[int, int] | None:
    sides = (region.original_width, region.original_height)
    return sides if all(isinstance(side, int) and side > 0 for side in sides) else None


LABEL_STUDIO = table_format(
    "Label Studio's JSON or JSON-MIN: choices, rectangles and polygons",
    _tables,
    _marked,
    expected="no export of Label Studio's here; expected its JSON or JSON-MIN beside the images",
    notes=("What several annotators say of a face are its votes.",),
)
