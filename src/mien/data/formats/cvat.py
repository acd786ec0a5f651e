"""CVAT's own layout ("CVAT for images"): an XML file of images, their boxes and tags."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from xml.etree import ElementTree as Xml

from mien.data.formats.finding import Images, folder_of
from mien.data.formats.marked import Mark, Marked, around, faces_of, telling
from mien.data.formats.marked_tables import table_format
from mien.data.formats.reading import split_named, split_of
from mien.data.formats.tables import box_between, numbers
from mien.data.source import FileTree
from mien.errors import DatasetError, ImageError
from mien.records import Box

__all__ = ["CVAT"]

_ROOT = b"<annotations"


def _tables(tree: FileTree, paths: Iterable[str]) -> Iterator[tuple[str, Sequence[Xml.Element]]]:
    """Give the files that are CVAT's, and the images in each.

    Raises:
        DatasetError: one is broken.
    """
    for path in paths:
        if not path.lower().endswith(".xml"):
            continue
        try:
            text = tree.read(path)
            root = Xml.fromstring(text) if _ROOT in text else None
        except ImageError as error:
            raise DatasetError(f"{tree.where(path)}: {error}") from None
        except (Xml.ParseError, LookupError, ValueError) as error:
            raise DatasetError(f"{tree.where(path)}: broken XML ({error})") from None
        images = [] if root is None else root.findall("image")
        if images:
            yield path, images


def _marked(
    tree: FileTree, path: str, images: Sequence[Xml.Element], codes: Mapping[str, str]
) -> Iterator[Marked]:
    found, folder = Images(tree), folder_of(path)
    for image in images:
        subset = split_named(image.get("subset", ""))
        place = found.at(image.get("name", ""), folder, subset)
        split = subset or split_of(tree, place.path)
        marks = [_mark(each) for each in image if each.tag in {"box", "polygon"}]
        tags = image.findall("tag")
        words = [telling(tag.get("label", ""), _attributes(tag), codes) for tag in tags]
        size = numbers(image.get(side, "") for side in ("width", "height"))
        known = (int(size[0]), int(size[1])) if size and min(size) >= 1 else None
        yield Marked(place, split, faces_of(marks, words, codes), known)


def _mark(shape: Xml.Element) -> Mark:
    return Mark(shape.get("label", ""), _attributes(shape), _box(shape))


def _attributes(shape: Xml.Element) -> list[tuple[str, str]]:
    return [
        (each.get("name", ""), (each.text or "").strip()) for each in shape.findall("attribute")
    ]


def _box(shape: Xml.Element) -> Box | None:
    if shape.tag == "box":
        return box_between(numbers(shape.get(edge, "") for edge in ("xtl", "ytl", "xbr", "ybr")))
    return around(numbers(re.split("[,;]", shape.get("points", ""))))


CVAT = table_format(
    "CVAT for images: annotations.xml of boxes, polygons and tags",
    _tables,
    _marked,
    expected="no file of CVAT's here; expected an annotations.xml of 'image' elements, which 'CVAT "
    "for images' exports",
)
