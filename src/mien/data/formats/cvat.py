"""CVAT's own layout ("CVAT for images"): an XML file of images, their boxes and tags."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import PurePosixPath
from xml.etree import ElementTree as Xml

from mien.data.formats.finding import Images, folder_of
from mien.data.formats.marked import Marked
from mien.data.formats.marked_tables import Broken, table_format
from mien.data.formats.marks import Mark, around, faces_of, known_size, round_middle, words_of
from mien.data.formats.reading import split_named, split_of
from mien.data.formats.tables import box_between, box_of, numbers
from mien.data.source import FileTree
from mien.errors import DatasetError, ImageError
from mien.images import IMAGE_SUFFIXES
from mien.records import Box

__all__ = ["CVAT"]

_ROOT = b"<annotations"
_SHAPES = frozenset({"box", "polygon", "ellipse", "mask"})
"""Those that may be around a face; points, lines and skeletons are within it."""


def _tables(
    tree: FileTree, paths: Iterable[str], broken: Broken
) -> Iterator[tuple[str, Sequence[Xml.Element]]]:
    """Give the files that are CVAT's, and the images in each."""
    for path in paths:
        if not path.lower().endswith(".xml"):
            continue
        try:
            text = tree.read(path)
            root = Xml.fromstring(text) if _ROOT in text else None
        except ImageError as error:
            broken.append(DatasetError(f"{tree.where(path)}: {error}"))
            continue
        except (Xml.ParseError, LookupError, ValueError) as error:
            broken.append(DatasetError(f"{tree.where(path)}: broken XML ({error})"))
            continue
        images = [] if root is None else root.findall("image")
        if images:
            yield path, images


def _marked(
    tree: FileTree,
    found: Images,
    path: str,
    images: Sequence[Xml.Element],
    codes: Mapping[str, str],
) -> Iterator[Marked]:
    folder = folder_of(path)
    for image in images:
        name, subset = image.get("name", ""), image.get("subset", "")
        split = split_named(subset)
        places = (found.at(file, folder, split) for file in _files(name, subset))
        place = max(places, key=lambda one: (one.located == "path", one.located is not None))
        marks = [
            Mark(each.get("label", ""), _attributes(each), _box(each))
            for each in image
            if each.tag in _SHAPES
        ]
        tags = (
            words_of(tag.get("label", ""), _attributes(tag), codes) for tag in image.findall("tag")
        )
        faces = faces_of(marks, [*chain.from_iterable(tags)], codes)
        size = numbers(image.get(side, "") for side in ("width", "height"))
        known = known_size(*map(int, size)) if size else None
        yield Marked(place, split or split_of(tree, place.path), faces, known, (folder, name))


def _files(name: str, subset: str) -> Iterator[str]:
    """Give where an image may lie that is saved beside its labels; a film's frame has no suffix."""
    whole = PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
    for suffix in ("",) if whole else ("", ".png", ".jpg"):
        for folder in ("", "images/", f"images/{subset}/"):
            yield f"{folder}{name}{suffix}"


def _attributes(shape: Xml.Element) -> list[tuple[str, str]]:
    return [
        (each.get("name", ""), (each.text or "").strip()) for each in shape.findall("attribute")
    ]


def _box(shape: Xml.Element) -> Box | None:
    def of(*names: str) -> list[float] | None:
        return numbers(shape.get(name, "") for name in names)

    if shape.tag == "box":
        return box_between(of("xtl", "ytl", "xbr", "ybr"))
    if shape.tag == "ellipse":
        return round_middle(of("cx", "cy", "rx", "ry"))
    if shape.tag == "mask":
        return box_of(of("left", "top", "width", "height"))
    return around(numbers(re.split("[,;]", shape.get("points", ""))))


CVAT = table_format(
    "CVAT for images: annotations.xml of boxes, polygons and tags",
    _tables,
    _marked,
    expected="no file of CVAT's here; expected an annotations.xml of 'image' elements, which 'CVAT "
    "for images' exports",
)
