"""Label Studio's exports JSON and JSON-MIN: what annotators chose for images, and drew in them."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import PurePosixPath
from typing import Annotated, Any, Final

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
)

from mien.data.formats.finding import Images, folder_of
from mien.data.formats.marked import Marked
from mien.data.formats.marked_tables import (
    Broken,
    json_tables,
    split_told,
    table_format,
    with_split,
)
from mien.data.formats.marks import (
    Mark,
    MarkedFace,
    agreed,
    around,
    as_labels,
    faces_of,
    known_size,
    round_middle,
    telling_keys,
)
from mien.data.formats.reading import split_of
from mien.data.formats.tables import box_of, number, numbers
from mien.data.source import FileTree
from mien.images import IMAGE_SUFFIXES
from mien.labels import find_meaning
from mien.records import Box, Split

__all__ = ["LABEL_STUDIO"]

_KEYS: Final = (
    (b'"data"', b'"annotations"', b'"result"'),
    (b'"data"', b'"completions"', b'"result"'),  # as versions before 1.0 call them
    (b'"annotation_id"',),
)
"""Those of JSON, and of JSON-MIN."""
_LABELS: Final = ("labels", "choices")
"""What holds words, or ends so (``rectanglelabels``)."""
_POINTS = TypeAdapter(list[tuple[float, float]])


class _Region(BaseModel):
    """A choice or a shape; those of one face have an id in common."""

    id: Any = None
    from_name: Any = None
    value: dict[str, Any] = {}
    original_width: Any = None
    original_height: Any = None


class _Annotation(BaseModel):
    result: list[_Region]
    was_cancelled: Any = False
    skipped: Any = False


class _Task(BaseModel):
    data: dict[str, Any]
    annotations: list[_Annotation] = Field(
        validation_alias=AliasChoices("annotations", "completions")
    )


def _whole_task(row: Any) -> Any:
    """Return a task as JSON has it; in JSON-MIN answers stand beside the data, an annotation each.

    They come between its ``id`` and ``annotator``. A choice is text, and what was drawn a list.
    """
    if not isinstance(row, dict) or "annotation_id" not in row:
        return row
    keys = [*row]
    start = keys.index("id") + 1 if "id" in keys else 0
    end = keys.index("annotator", start) if "annotator" in keys[start:] else len(keys)
    result: list[dict[str, Any]] = []
    for key in keys[start:end]:
        answer = row[key]
        if isinstance(answer, list):
            shapes = [shape for shape in answer if isinstance(shape, dict)]
            said = [{**each, "id": f"{key} {n}", "value": each} for n, each in enumerate(shapes)]
        elif isinstance(answer, dict):
            said = [{"value": answer}]
        else:
            said = [{"value": {"choices": [answer]}}]
        result += ({**each, "from_name": key} for each in said)
    return {"data": row, "annotations": [{"result": result}]}


_TASKS: Final = TypeAdapter(list[Annotated[_Task, BeforeValidator(_whole_task)]])


def _tables(
    tree: FileTree, paths: Iterable[str], broken: Broken
) -> Iterator[tuple[str, list[_Task]]]:
    return json_tables(tree, paths, _KEYS, _TASKS, broken)


def _marked(
    tree: FileTree,
    images: Images,
    path: str,
    tasks: Sequence[_Task],
    codes: Mapping[str, str],
) -> Iterator[Marked]:
    folder = folder_of(path)
    key, telling = _image_key(tasks), telling_keys(_answers(tasks), codes)
    opinions: dict[object, list[_Annotation]] = defaultdict(list)
    splits: dict[object, list[tuple[Split | None, str | None]]] = defaultdict(list)
    for task in tasks:
        address = task.data.get(key)
        # What has no address is no other's.
        named = address if isinstance(address, str) else object()
        opinions[named] += (a for a in task.annotations if not a.was_cancelled and not a.skipped)
        splits[named].append(split_told(task.data))
    for named, annotations in opinions.items():
        name = named if isinstance(named, str) else ""
        place = images.at(name, folder)
        sizes = (_size(region) for each in annotations for region in each.result)
        faces = agreed([_faces(each, telling, codes) for each in annotations])
        size = next(filter(None, sizes), None)
        marked = Marked(place, split_of(tree, place.path), faces, size, (folder, name))
        yield with_split(marked, splits[named])


def _image_key(tasks: Iterable[_Task]) -> str:
    """Return by which key data name the image to label: an example beside it is always the same."""
    found: dict[str, set[str]] = defaultdict(set)
    for task in tasks:
        for key, value in task.data.items():
            if _is_image(value):
                found[key].add(value)
    return max(found, key=lambda key: len(found[key]), default="image")


def _is_image(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    suffixes = {PurePosixPath(part).suffix.lower() for part in (value, value.partition("?")[0])}
    return not suffixes.isdisjoint(IMAGE_SUFFIXES)


def _answers(tasks: Iterable[_Task]) -> Iterator[tuple[str, list[str]]]:
    """Give each question, and what one answers to it."""
    for task in tasks:
        for annotation in task.annotations:
            for region in annotation.result:
                yield str(region.from_name), _words(region)


def _faces(
    annotation: _Annotation, telling: Collection[str], codes: Mapping[str, str]
) -> Sequence[MarkedFace]:
    """Return the faces that one annotator sees in an image, or what they call it as a whole."""
    groups: dict[object, list[_Region]] = defaultdict(list)
    for region in annotation.result:
        groups[region.id if isinstance(region.id, str | int) else object()].append(region)
    marks, words = [], []
    for group in groups.values():
        answers = [region for region in group if str(region.from_name) in telling]
        said = [word for region in answers for word in _words(region)]
        if drawn := next(filter(_is_drawn, group), None):
            # What else the shape is called tells why it is left out.
            called = [word for word in _words(drawn) if not find_meaning(word, codes)]
            name = "" if said else next(iter(called), "")
            marks.append(Mark(name, as_labels(said), _box(drawn)))
        else:
            words += said
    return faces_of(marks, words, codes)


def _words(region: _Region) -> list[str]:
    found = (words for key, words in region.value.items() if key.endswith(_LABELS))
    lists = (words for words in found if isinstance(words, list))
    return [word for words in lists for word in words if isinstance(word, str)]


def _is_drawn(region: _Region) -> bool:
    """Whether a region may be around a face; a key point is within one."""
    return not region.value.keys().isdisjoint({"height", "points", "radiusX", "rle"})


def _box(region: _Region) -> Box | None:
    """Return the box of a shape, which is in percent of the image's sides, in pixels."""
    value, size = region.value, _size(region)
    if size is None:
        return None

    def of(*names: str) -> list[float] | None:
        return numbers(str(value.get(name)) for name in names)

    if "radiusX" in value:
        box = round_middle(of("x", "y", "radiusX", "radiusY"))
    elif "points" in value:
        try:
            points = _POINTS.validate_python(value["points"])
        except ValidationError:
            return None
        box = around([*chain.from_iterable(points)])
    else:
        box = box_of(of("x", "y", "width", "height"))
    if box is None:
        return None
    across, down = size[0] / 100, size[1] / 100
    whole = Box(box.x * across, box.y * down, box.width * across, box.height * down)
    return _turned(whole, number(str(value.get("rotation"))) or 0.0)


def _turned(box: Box, degrees: float) -> Box:
    """Return a box of the same size around the middle of one that is turned by its first corner."""
    x, y, width, height = box
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    middle_x = x + (width * cosine - height * sine) / 2
    middle_y = y + (width * sine + height * cosine) / 2
    return Box(middle_x - width / 2, middle_y - height / 2, width, height)


def _size(region: _Region) -> tuple[int, int] | None:
    return known_size(region.original_width, region.original_height)


LABEL_STUDIO = table_format(
    "Label Studio's JSON or JSON-MIN: choices, rectangles and polygons",
    _tables,
    _marked,
    expected="no export of Label Studio's here; expected its JSON or JSON-MIN beside the images",
    notes=("What several annotators say of a face are its votes.",),
)
