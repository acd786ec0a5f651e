"""Pascal VOC's layout: an XML file of names and boxes for each image."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree as Xml

from mien.data.formats.finding import Place, folded, listed_splits, unlisted
from mien.data.formats.marked import (
    NO_FACE,
    ONE_A_MARK,
    Marked,
    MarkedFace,
    expect_emotions,
    said_face,
    samples_of,
)
from mien.data.formats.reading import (
    NO_CODES,
    Format,
    Reading,
    image_loader,
    missing,
    open_tree,
    shown,
    split_of,
)
from mien.data.formats.tables import box_between, numbers
from mien.data.source import FileTree
from mien.errors import DatasetError, ImageError
from mien.preprocess import InputSpec
from mien.records import Box

__all__ = ["VOC"]

_LOOKED_AT = 200
"""So many files tell what the objects of a source are called."""


def _read(source: Path, *, codes: Mapping[str, str] = NO_CODES) -> Reading:
    with open_tree(source) as tree:
        images = list(_marked(tree, codes))
        if not images:
            raise DatasetError(
                f"{source}: no VOC files here; expected x.xml beside x.jpg, or Annotations/x.xml "
                "and JPEGImages/x.jpg, whose objects have a name and a box (bndbox)"
            )
        faces = [face for image in images for face in image.faces]
        expect_emotions(source, faces)
        listed = {image.place.path for image in images}
        others = [path for path in tree.images if path not in listed]
        return Reading(
            len(faces) + len(others),
            chain(samples_of(images), unlisted(tree, others)),
            tree,
            looked_beyond_table=True,
        )


def _marked(tree: FileTree, codes: Mapping[str, str]) -> Iterator[Marked]:
    splits, load = listed_splits(tree), image_loader(tree)
    by_stem: dict[str, list[str]] = defaultdict(list)
    for path in tree.images:
        by_stem[folded(PurePosixPath(path).stem)].append(path)
    for path in _files(tree):
        found_in = _faces(tree, path, codes)
        if found_in is None:
            continue
        faces, size = found_in
        found = _nearest(tree, path, by_stem[folded(PurePosixPath(path).stem)])
        if len(found) == 1:
            place = Place(found[0], None, load(found[0]))
        else:
            says = "several images are called as it is" if found else "no image is called as it is"
            place = Place(path, None, missing(says))
        split = splits.get(place.path) or split_of(tree, path) or split_of(tree, place.path)
        yield Marked(place, split, faces, size)


def _nearest(tree: FileTree, path: str, images: Sequence[str]) -> Sequence[str]:
    """Return which images of the same name lie nearest, in no other split."""
    folders, split = {*PurePosixPath(path).parent.parts}, split_of(tree, path)
    shared = {
        image: len(folders & {*PurePosixPath(image).parent.parts})
        for image in images
        if None in (splits := {split, split_of(tree, image)}) or len(splits) == 1
    }
    nearest = [image for image, count in shared.items() if count == max(shared.values())]
    stem = PurePosixPath(path).stem
    return [image for image in nearest if PurePosixPath(image).stem == stem] or nearest


def _files(tree: FileTree) -> list[str]:
    return [path for path in tree.others if path.lower().endswith(".xml")]


def _faces(
    tree: FileTree, path: str, codes: Mapping[str, str]
) -> tuple[Sequence[MarkedFace], tuple[int, int] | None] | None:
    """Return the faces that a file marks, and the image's size; None: it is no such file."""
    try:
        root = Xml.fromstring(tree.read(path))
    except ImageError as error:
        return (MarkedFace(excluded=f"its label file {error}", problem="bad_label"),), None
    except (Xml.ParseError, LookupError, ValueError) as error:
        broken = MarkedFace(excluded=f"its label file is broken ({error})", problem="bad_label")
        return (broken,), None
    for each in root.iter():
        each.tag = each.tag.rpartition("}")[2]  # without its namespace
    if root.tag != "annotation":
        return None
    size = numbers(root.findtext(f"size/{side}", "") for side in ("width", "height"))
    known = size if size and min(size) > 0 else None
    faces = tuple(_face(found, codes) for found in root.iter("object")) or NO_FACE
    return faces, (int(known[0]), int(known[1])) if known else None


def _face(found: Xml.Element, codes: Mapping[str, str]) -> MarkedFace:
    name = (found.findtext("name") or "").strip()
    told = (
        (each.findtext("name", ""), each.findtext("value", "")) for each in found.iter("attribute")
    )
    return said_face(name, told, codes, _box(found))


def _box(found: Xml.Element) -> Box | None:
    corners = ("xmin", "ymin", "xmax", "ymax")
    return box_between(numbers(found.findtext(f"bndbox/{corner}", "") for corner in corners))


def _recognise(tree: FileTree) -> str | None:
    for path in _files(tree)[:_LOOKED_AT]:
        faces, _ = _faces(tree, path, NO_CODES) or ((), None)
        for face in faces:
            if face.label and face.box:
                return f"{path} marks a face as {shown(face.given or '')}"
    return None


VOC = Format(
    "Pascal VOC: x.xml beside x.jpg, or Annotations/x.xml and JPEGImages/x.jpg",
    InputSpec(size=96, channels=3),
    _read,
    _recognise,
    notes=(ONE_A_MARK,),
    coded=True,
)
