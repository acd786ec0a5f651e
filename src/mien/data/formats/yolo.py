"""YOLO's layout, that of AffectNet and any other: a text file of ids and boxes for each image.

Ids mean nothing by themselves: a file beside the images names them, or it is AffectNet as it
circulates.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from mien.data.formats.finding import Finder, Place, listed_splits
from mien.data.formats.marked import ONE_A_MARK, Marked, samples_of
from mien.data.formats.marks import NO_FACE, MarkedFace, around, marked_face
from mien.data.formats.reading import (
    NO_CODES,
    Format,
    Reading,
    image_loader,
    open_tree,
    shown,
    split_of,
)
from mien.data.formats.tables import box_by, encoding, numbers
from mien.data.source import FileTree
from mien.errors import DatasetError, ImageError
from mien.labels import AFFECTNET_YOLO_CODES, find_alias, find_meaning
from mien.preprocess import InputSpec
from mien.records import Box, Split

__all__ = ["AFFECTNET_YOLO", "YOLO"]

# train/images/x.jpg with train/labels/x.txt, images/train/x.jpg with labels/train/x.txt, or both in
# one folder.
_IMAGE = re.compile(r"((?:.*/)?)images/(.+)\.\w+", re.IGNORECASE)
_LABELS = re.compile(r"((?:.*/)?)labels/(.+)\.txt", re.IGNORECASE)
_LISTS = frozenset({"classes.txt", "obj.names"})
_DESCRIPTIONS = frozenset({"data.yaml", "data.yml", "dataset.yaml", "dataset.yml"})
_LOOKED_AT = 20
"""So many label files tell that they are such."""
_UP = re.compile(r"^(\.{0,2}/)+")
# What is looked for, by itself where the rest is no YAML.
_MATTERS = re.compile(r"^(?:names|nc)[ \t]*:.*\n?(?:(?:[ \t-].*)?\n)*(?:[ \t-].*)?", re.MULTILINE)
_KEYS: Mapping[str, Split] = {"train": "train", "val": "valid", "valid": "valid", "test": "test"}
_OF_DATA = frozenset({"train", "val", "nc"})
"""What the description of a data set has beside its names."""
_AFFECTNET = dict(enumerate(AFFECTNET_YOLO_CODES))

Names = Mapping[int, str]


_UNLISTED = (MarkedFace(excluded="no label file for this image", problem="unlisted"),)
_SEVERAL = (MarkedFace(excluded="several label files fit this image", problem="bad_label"),)


def _read_affectnet(source: Path) -> Reading:
    with open_tree(source) as tree:
        names = _names(tree)
        if names and not _is_affectnet(names):
            raise DatasetError(
                f"{source}: its ids are named {', '.join(list(names.values())[:12])}; expected "
                f"{', '.join(AFFECTNET_YOLO_CODES)}; 'yolo' imports it by its own names"
            )
        return _reading(source, tree, _AFFECTNET)


def _read(source: Path, *, codes: Mapping[str, str] = NO_CODES) -> Reading:
    with open_tree(source) as tree:
        names = _names(tree)
        if not any(find_meaning(name, codes) for name in names.values()):
            raise DatasetError(
                f"{source}: nothing here says which ids are emotions; expected a data.yaml such as "
                "'names: [angry, happy]', or a classes.txt with a name a line; --codes says what "
                "words mean: --codes wut=anger,froh=happy"
            )
        return _reading(source, tree, names, codes)


def _reading(
    source: Path, tree: FileTree, names: Names, codes: Mapping[str, str] = NO_CODES
) -> Reading:
    images = list(_images(tree, names, codes))
    if all(image.faces is _UNLISTED for image in images):
        raise DatasetError(
            f"{source}: no label files here; expected train/images/x.jpg with "
            "train/labels/x.txt, or images/train/x.jpg with labels/train/x.txt, and valid/, "
            "test/ alike, or x.txt beside x.jpg"
        )
    total = sum(len(image.faces) for image in images)
    return Reading(total, samples_of(images), tree, looked_beyond_table=True, relative_boxes=True)


def _images(tree: FileTree, names: Names, codes: Mapping[str, str]) -> Iterator[Marked]:
    load, splits = image_loader(tree), _splits(tree)
    named, labels = _label_files(tree)
    finder, used = Finder(labels), set[str]()
    exact = set(named.values())
    for path, wanted in named.items():
        # In any case, but not one that is another image's by name.
        found = [file for file in finder.at(wanted) if file == wanted or file not in exact]
        used.update(found)
        faces: Sequence[MarkedFace] = _SEVERAL if found else _UNLISTED
        if len(found) == 1:
            faces = _faces(tree, found[0], names, codes)
        split = split_of(tree, path) or splits.get(path)
        yield Marked(Place(path, None, load(path)), split, faces)
    for path in labels:
        if path not in used and (match := _LABELS.fullmatch(path)):
            lost = f"{match[1]}images/{match[2]}.jpg"
            place = Place(lost, None, load(lost))
            yield Marked(place, split_of(tree, path), _faces(tree, path, names, codes))


def _label_files(tree: FileTree) -> tuple[Mapping[str, str], Sequence[str]]:
    """Return where the labels of each image should be, and all label files."""
    beside = {path: re.sub(r"\.\w+$", ".txt", path) for path in tree.images}
    near = frozenset(beside.values())
    labels = [
        path
        for path in tree.others
        if (_LABELS.fullmatch(path) or path in near) and not _is_list(path)
    ]
    there = frozenset(labels)
    named = {}
    for path, own in beside.items():
        match = _IMAGE.fullmatch(path)
        apart = f"{match[1]}labels/{match[2]}.txt" if match else ""
        named[path] = own if own in there and apart not in there else apart
    return named, labels


def _splits(tree: FileTree) -> Mapping[str, Split]:
    """Return the split of each image that lists give, or the folders that a description names.

    Of folders the innermost counts; one that is named for two splits says nothing.
    """
    of_folder: dict[str, set[Split]] = defaultdict(set)
    for path in tree.others:
        if _basename(path) in _DESCRIPTIONS:
            with suppress(DatasetError):  # It is told where names are looked for.
                for split, folder in _folders(_yaml(tree, path)):
                    of_folder[folder].add(split)
    splits = listed_splits(tree)
    for image in tree.images:
        inner = max((end for end in of_folder if end in f"/{image}"), key=len, default="")
        if len(of_folder.get(inner, ())) == 1:
            splits.setdefault(image, *of_folder[inner])
    return splits


def _folders(about: Mapping[Any, Any]) -> Iterator[tuple[Split, str]]:
    """Give the folders that a description names for splits, with ``/`` around each."""
    for key, split in _KEYS.items():
        given = about.get(key)
        for folder in given if isinstance(given, list) else [given]:
            if isinstance(folder, str) and (end := _UP.sub("", folder).rstrip("/")):
                yield split, f"/{end}/"


def _faces(
    tree: FileTree, path: str, names: Names, codes: Mapping[str, str]
) -> Sequence[MarkedFace]:
    try:
        text = tree.read(path).decode("utf-8-sig", "replace")
    except ImageError as error:
        return (MarkedFace(excluded=f"its label file {error}", problem="bad_label"),)
    written = filter(str.strip, text.splitlines())
    return tuple(_face(line, names, codes) for line in written) or NO_FACE


def _face(line: str, names: Names, codes: Mapping[str, str]) -> MarkedFace:
    code, *rest = line.split()
    name = names.get(int(code)) if re.fullmatch(r"\d{1,4}", code, re.ASCII) else None
    box = _box(rest)
    if name is None:
        none = f"id {shown(code)} is none of 0 to {max(names)}"
        return MarkedFace(None, code, box, none, "bad_label")
    return marked_face(name, find_meaning(name, codes), box, given=code)


def _box(cells: Sequence[str]) -> Box | None:
    """Return the box of a line: its middle and size, perhaps how sure it is, or a polygon."""
    values = numbers(cells)
    if not values or min(values) < 0 or max(values) > 1:
        return None
    box = box_by("middle", values[:4])
    if len(values) < 8 or len(values) % 2:  # perhaps with how sure it is
        return box
    # Points within a box are landmarks of the face in it.
    polygon, rest = around(values), around(values[4:])
    return box if box and rest and _within(rest, box) else polygon


def _within(inner: Box, outer: Box) -> bool:
    return (
        inner.x >= outer.x
        and inner.y >= outer.y
        and inner.x + inner.width <= outer.x + outer.width
        and inner.y + inner.height <= outer.y + outer.height
    )


def _names(tree: FileTree) -> Names:
    """Return what the files beside the images name the ids; nothing where there is none.

    Raises:
        DatasetError: one of them cannot be understood, or they differ: ids would mean another
            emotion.
    """
    names: Names = {}
    named = ""
    for path, found in _naming(tree):
        if not found:
            raise DatasetError(
                f"{tree.where(path)}: no name for each id that can be read; expected "
                "'names: [angry, happy]', or in classes.txt a name a line"
            )
        if names and found != names:
            raise DatasetError(
                f"{tree.where(path)} names the ids otherwise than {tree.where(named)}; remove the "
                "one that is wrong"
            )
        names, named = found, path
    return names


def _naming(tree: FileTree) -> Iterator[tuple[str, Names]]:
    """Give the files that name ids, and what they say: of other programs' yaml only likely ones."""
    described = [path for path in tree.others if _basename(path) in _DESCRIPTIONS]
    for path in tree.others:
        if _is_list(path):
            names = enumerate(_text(tree, path).rstrip().splitlines())
            yield path, {place: name.strip() for place, name in names}
        elif path in described:
            yield path, _names_in(_yaml(tree, path))
        elif not described and path.lower().endswith((".yaml", ".yml")):
            about: Mapping[Any, Any] = {}
            with suppress(DatasetError):  # of another program
                about = _yaml(tree, path)
            if "names" in about and not about.keys().isdisjoint(_OF_DATA):
                yield path, _names_in(about)


def _basename(path: str) -> str:
    return path.rpartition("/")[2].lower()


def _is_list(path: str) -> bool:
    return _basename(path) in _LISTS


def _text(tree: FileTree, path: str) -> str:
    try:
        data = tree.read(path)[: 1 << 16]
    except ImageError as error:
        raise DatasetError(f"{tree.where(path)}: {error}") from None
    return data.decode(encoding(data), "replace")


def _yaml(tree: FileTree, path: str) -> Mapping[Any, Any]:
    """Return what a yaml file says, all as text; nothing where it says no keys and values.

    Raises:
        DatasetError: it is no YAML.
    """
    text = _text(tree, path)
    try:
        # Classes may be called 3, no or null: only text is text.
        try:
            found = next(yaml.load_all(text, yaml.BaseLoader), None)
        except yaml.YAMLError:
            # Paths of Windows and templates are no YAML: what matters may be, by itself.
            found = yaml.load("".join(_MATTERS.findall(text)), yaml.BaseLoader) or None
            if found is None:
                raise
    except (yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(
            f"{tree.where(path)}: no YAML that can be read ({reason[:200]})"
        ) from None
    return found if isinstance(found, dict) else {}


def _names_in(about: Mapping[Any, Any]) -> Names:
    """Return the names by id, a list or a mapping; nothing where one cannot be read, or is none."""
    found = about.get("names")
    try:
        pairs = enumerate(found) if isinstance(found, list) else dict(found or {}).items()
        names = {int(place): name for place, name in pairs}
    except (ValueError, TypeError):
        return {}
    complete = about.get("nc", str(len(names))) == str(len(names))
    return names if complete and all(isinstance(name, str) for name in names.values()) else {}


def _is_affectnet(names: Names) -> bool:
    return {number: find_alias(name) for number, name in names.items()} == _AFFECTNET


def _laid_out(tree: FileTree) -> bool:
    """Whether there are images and labels as YOLO's, whatever their ids mean."""
    named, labels = _label_files(tree)
    # Beside images may lie texts of any kind.
    return any(named.values()) and any(_is_label(tree, path) for path in labels[:_LOOKED_AT])


def _is_label(tree: FileTree, path: str) -> bool:
    try:
        text = tree.read(path).decode("utf-8-sig", "replace")
    except ImageError:
        return False
    first = next(filter(str.strip, text.splitlines()), "").split()
    return len(first) > 4 and numbers(first) is not None


def _recognise_affectnet(tree: FileTree) -> str | None:
    # Ids mean nothing without names: what has none must be called by its format.
    if _laid_out(tree) and _is_affectnet(_understood(tree)):
        return "its names are AffectNet's ids, beside images/ and labels/"
    return None


def _recognise(tree: FileTree) -> str | None:
    named = [name for name in _understood(tree).values() if find_alias(name)]
    if _laid_out(tree) and len(named) > 1:
        return f"ids are named {', '.join(named)}, beside images/ and labels/"
    return None


def _understood(tree: FileTree) -> Names:
    try:
        return _names(tree)
    except DatasetError:
        return {}


AFFECTNET_YOLO = Format(
    "AffectNet for YOLO: train/, valid/, test/ with images/x.jpg, labels/x.txt, or within these",
    InputSpec(size=96, channels=3),
    _read_affectnet,
    _recognise_affectnet,
    notes=(ONE_A_MARK,),
)

YOLO = Format(
    "any set for YOLO whose ids data.yaml or classes.txt names; folders as affectnet-yolo has them",
    InputSpec(size=96, channels=3),
    _read,
    _recognise,
    notes=(ONE_A_MARK,),
    coded=True,
)
