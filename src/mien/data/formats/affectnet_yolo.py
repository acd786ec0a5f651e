"""AffectNet in YOLO's layout: a text file of ids and relative boxes for each image."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mien.data.formats.finding import Finder
from mien.data.formats.reading import (
    Format,
    Item,
    Reading,
    image_loader,
    open_tree,
    shown,
    split_of,
)
from mien.data.formats.tables import numbers
from mien.data.source import FileTree
from mien.errors import DatasetError, ImageError
from mien.labels import AFFECTNET_YOLO_CODES, by_code, find_alias
from mien.preprocess import InputSpec
from mien.records import Box, Problem, Sample, Split

__all__ = ["AFFECTNET_YOLO"]

# train/images/x.jpg with train/labels/x.txt, or images/train/x.jpg with labels/train/x.txt.
_IMAGE = re.compile(r"((?:.*/)?)images/(.+)\.\w+", re.IGNORECASE)
_LABELS = re.compile(r"((?:.*/)?)labels/(.+)\.txt", re.IGNORECASE)
_NAMES = frozenset({"data.yaml", "data.yml"})
_CODES = by_code(AFFECTNET_YOLO_CODES)


@dataclass(frozen=True, slots=True)
class _Face:
    label: str | None = None
    given: str | None = None
    box: Box | None = None
    excluded: str | None = None
    problem: Problem | None = None


class _Image(NamedTuple):
    path: str
    split: Split | None
    faces: Sequence[_Face]


_UNLISTED = (_Face(excluded="no label file for this image", problem="unlisted"),)
_SEVERAL = (_Face(excluded="several label files fit this image", problem="bad_label"),)
_NO_FACE = (_Face(excluded="no face marked"),)


def _read(source: Path) -> Reading:
    with open_tree(source) as tree:
        names = _names(tree)
        if not _agree(names):
            raise DatasetError(
                f"{source}: data.yaml names the ids {', '.join(list(names.values())[:12])}; "
                f"expected {', '.join(AFFECTNET_YOLO_CODES)}; write a csv of path, label and box "
                "instead"
            )
        images = list(_images(tree))
        if all(image.faces is _UNLISTED for image in images):
            raise DatasetError(
                f"{source}: no label files here; expected train/images/x.jpg with "
                "train/labels/x.txt, or images/train/x.jpg with labels/train/x.txt, and valid/, "
                "test/ alike"
            )
        total = sum(len(image.faces) for image in images)
        return Reading(
            total, _items(tree, images), tree, looked_beyond_table=True, relative_boxes=True
        )


def _images(tree: FileTree) -> Iterator[_Image]:
    labels = [path for path in tree.others if _LABELS.fullmatch(path)]
    finder, used = Finder(labels), set[str]()
    named = {
        path: f"{match[1]}labels/{match[2]}.txt" if (match := _IMAGE.fullmatch(path)) else ""
        for path in tree.images
    }
    exact = set(named.values())
    for path, wanted in named.items():
        # In any case, but not one that is another image's by name.
        found = [file for file in finder.at(wanted) if file == wanted or file not in exact]
        used.update(found)
        faces = _faces(tree, found[0]) if len(found) == 1 else _SEVERAL if found else _UNLISTED
        yield _Image(path, split_of(tree, path), faces)
    for path in labels:
        if path not in used and (match := _LABELS.fullmatch(path)):
            lost = f"{match[1]}images/{match[2]}.jpg"
            yield _Image(lost, split_of(tree, path), _faces(tree, path))


def _items(tree: FileTree, images: Sequence[_Image]) -> Iterator[Item]:
    load = image_loader(tree)
    for path, split, faces in images:
        for number, face in enumerate(faces):
            sample = Sample(
                f"{path}#{number}" if len(faces) > 1 else path,
                split,
                face.label,
                excluded=face.excluded,
                box=face.box,
                given=face.given,
                problem=face.problem,
            )
            yield sample, load(path)


def _faces(tree: FileTree, path: str) -> Sequence[_Face]:
    try:
        text = tree.read(path).decode("utf-8-sig", "replace")
    except ImageError as error:
        return (_Face(excluded=f"its label file {error}", problem="bad_label"),)
    return tuple(_face(line) for line in text.splitlines() if line.strip()) or _NO_FACE


def _face(line: str) -> _Face:
    code, *rest = line.split()
    label, box = _CODES.get(code), _box(rest)
    if label is None:
        reason = f"id {shown(code)} is none of 0 to {len(_CODES) - 1}"
    elif box is None:
        reason = "its face box is no box"
    else:
        return _Face(label, code, box)
    return _Face(label, code, box, reason, "bad_label")


def _box(cells: Sequence[str]) -> Box | None:
    values = numbers(cells)
    if values is None or len(values) != 4 or min(values) < 0 or max(values) > 1:
        return None
    x, y, width, height = values
    return Box(x - width / 2, y - height / 2, width, height) if width and height else None


def _names(tree: FileTree) -> dict[int, str]:
    found = [path for path in tree.others if path.rpartition("/")[2].lower() in _NAMES]
    if not found:
        return {}
    try:
        data = tree.read(min(found, key=lambda path: path.count("/")))
    except ImageError:
        return {}
    return _parse_names(data[: 1 << 16].decode("utf-8-sig", "replace"))


def _parse_names(text: str) -> dict[int, str]:
    """Return the names by id: a list or a mapping, in brackets or one a line, as YOLO writes it."""
    _, found, rest = f"\n{text}".partition("\nnames:")
    rest = rest.lstrip(" \t")
    if rest[:1] in {"[", "{"}:
        items = re.split(r"[\]}]", rest[1:], maxsplit=1)[0].split(",")
    else:
        block = re.match(r"[^\n]*\n((?:[ \t]*(?:-|\d+[ \t]*:)[^\n]*\n?)*)", rest)
        items = [line.strip().removeprefix("-") for line in block[1].splitlines()] if block else []
    names = {}
    for place, item in enumerate(items):
        match = re.fullmatch(
            r"\s*(?:(\d{1,4})\s*:)?\s*['\"]?(.*?)['\"]?\s*(?:#.*)?", item, re.DOTALL
        )
        if found and match and match[2]:
            names[int(match[1] or place)] = match[2]
    return names


def _agree(names: Mapping[int, str]) -> bool:
    return not names or [(i, find_alias(name)) for i, name in sorted(names.items())] == list(
        enumerate(AFFECTNET_YOLO_CODES)
    )


def _recognise(tree: FileTree) -> str | None:
    # Ids mean nothing without names: what has no data.yaml must be called by its format.
    names = _names(tree)
    if not names or not _agree(names):
        return None
    if any(_IMAGE.fullmatch(p) for p in tree.images) and any(
        _LABELS.fullmatch(p) for p in tree.others
    ):
        return "data.yaml names AffectNet's ids, beside images/ and labels/"
    return None


AFFECTNET_YOLO = Format(
    "AffectNet for YOLO: train/, valid/, test/ with images/x.jpg, labels/x.txt, or within these",
    InputSpec(size=96, channels=3),
    _read,
    _recognise,
    notes=("Each line of a label file is one face, cropped by its box.",),
)
