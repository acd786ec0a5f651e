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
    files = [(path, said) for path in _files(tree) if (said := _faces(tree, path, codes))]
    near = {path: _nearest(tree, path, by_stem[folded(_stem(path))]) for path, _ in files}
    closest: dict[str, int] = defaultdict(int)
    for path, found in near.items():
        for image in found:
            closest[image] = max(closest[image], _shared(path, image))
    for path, (faces, size) in files:
        # What lies nearer to another file of this name is that one's.
        found = [image for image in near[path] if _shared(path, image) == closest[image]]
        if len(found) == 1:
            place = Place(found[0], None, load(found[0]))
        else:
            says = "several images are called as it is" if found else "no image is called as it is"
            place = Place(path, None, missing(says))
        split = split_of(tree, path) or split_of(tree, place.path) or splits.get(place.path)
        yield Marked(place, split, faces, size)


def _stem(path: str) -> str:
    return PurePosixPath(path).stem


def _shared(path: str, image: str) -> int:
    """Return how many folders two files have in common."""
    return len({*PurePosixPath(path).parent.parts} & {*PurePosixPath(image).parent.parts})


def _nearest(tree: FileTree, path: str, images: Sequence[str]) -> Sequence[str]:
    """Return which images of the same name lie nearest, in no other split."""
    split = split_of(tree, path)
    shared = {
        image: _shared(path, image)
        for image in images
        if None in (splits := {split, split_of(tree, image)}) or len(splits) == 1
    }
    nearest = [image for image, count in shared.items() if count == max(shared.values())]
    return [image for image in nearest if _stem(image) == _stem(path)] or nearest


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
    marks = [
        (path, face)
        for path in _files(tree)[:_LOOKED_AT]
        for face in (_faces(tree, path, NO_CODES) or ((), None))[0]
        if face.box
    ]
    told = [(path, face) for path, face in marks if face.label]
    # Of strangers' files a few may have such words.
    if not told or 2 * len(told) < len(marks):
        return None
    path, face = told[0]
    return f"{path} marks a face as {shown(face.given or '')}"


VOC = Format(
    "Pascal VOC: x.xml beside x.jpg, or Annotations/x.xml and JPEGImages/x.jpg",
    InputSpec(size=96, channels=3),
    _read,
    _recognise,
    notes=(ONE_A_MARK,),
    coded=True,
)
