"""Pascal VOC's layout: an XML file of names and boxes for each image."""

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as Xml

from mien.data.formats.beside import Labels, images_of
from mien.data.formats.marked import LOOKED_AT, ONE_A_MARK, read_marked, recognised_by
from mien.data.formats.marks import NO_FACE, MarkedFace, known_size, said_face
from mien.data.formats.reading import NO_CODES, Format, Reading, open_tree
from mien.data.formats.tables import box_between, numbers
from mien.data.source import FileTree
from mien.errors import DatasetError, ImageError
from mien.preprocess import InputSpec
from mien.records import Box

__all__ = ["VOC"]


def _read(source: Path, *, codes: Mapping[str, str] = NO_CODES) -> Reading:
    with open_tree(source) as tree:
        files = [(path, said) for path in _files(tree) if (said := _labels(tree, path, codes))]
        if not files:
            raise DatasetError(
                f"{source}: no VOC files here; expected x.xml beside x.jpg, or Annotations/x.xml "
                "and JPEGImages/x.jpg, whose objects have a name and a box (bndbox)"
            )
        return read_marked(source, tree, images_of(tree, files))


def _files(tree: FileTree) -> list[str]:
    return [path for path in tree.others if path.lower().endswith(".xml")]


def _labels(tree: FileTree, path: str, codes: Mapping[str, str]) -> Labels | None:
    """Return what a file marks; None: it is no such file."""
    try:
        root = Xml.fromstring(tree.read(path))
    except ImageError as error:
        return Labels.broken(str(error))
    except (Xml.ParseError, LookupError, ValueError) as error:
        return Labels.broken(f"is broken ({error})")
    for each in root.iter():
        each.tag = each.tag.rpartition("}")[2]  # without its namespace
    if root.tag != "annotation":
        return None
    size = numbers(root.findtext(f"size/{side}", "") for side in ("width", "height"))
    faces = tuple(_face(found, codes) for found in root.iter("object")) or NO_FACE
    return Labels(faces, known_size(*map(int, size)) if size else None)


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
    looked = ((path, _labels(tree, path, NO_CODES)) for path in _files(tree)[:LOOKED_AT])
    return recognised_by(
        (path, [face for face in said.faces if face.box]) for path, said in looked if said
    )


VOC = Format(
    "Pascal VOC: x.xml beside x.jpg, or Annotations/x.xml and JPEGImages/x.jpg",
    InputSpec(size=96, channels=3),
    _read,
    _recognise,
    notes=(ONE_A_MARK,),
    coded=True,
)
