"""Data sets whose file names say who is shown: CK+, and KDEF and JAFFE, which say the emotion, too.

In folders of emotions they are read as any such folder is, but the persons stay known.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from mien.data.formats.reading import (
    Format,
    Item,
    Reading,
    emotion_of_folder,
    image_loader,
    mostly,
    split_of,
)
from mien.data.source import FileTree
from mien.errors import DatasetError
from mien.preprocess import InputSpec
from mien.records import Sample

__all__ = ["CKPLUS_NAME", "JAFFE", "KDEF", "subject_in", "subjects_by_name"]

CKPLUS_NAME: Final = re.compile(r"(?P<subject>S\d{3})_\d{3}_\d{8}\.\w+", re.IGNORECASE)
"""The name of a frame of CK+: person, sequence, frame."""


@dataclass(frozen=True)
class _Naming:
    """How a data set names its images.

    Attributes:
        title: the data set.
        example: such a name.
        pattern: what all names follow, with the groups ``subject``, ``emotion`` and perhaps
            ``angle``.
        emotions: the emotion of each code.
        angles: degrees of each angle's code.
    """

    title: str
    example: str
    pattern: re.Pattern[str]
    emotions: Mapping[str, str]
    angles: Mapping[str, float] = field(default_factory=dict)


_EMOTIONS: Mapping[str, str] = {
    "AN": "anger",
    "DI": "disgust",
    "HA": "happiness",
    "NE": "neutral",
    "SA": "sadness",
    "SU": "surprise",
}
_KDEF = _Naming(
    "KDEF",
    "AF01ANS.JPG",
    re.compile(
        r"[AB](?P<subject>[FM]\d\d)(?P<emotion>AF|AN|DI|HA|NE|SA|SU)(?P<angle>S|HL|HR|FL|FR)\.\w+",
        re.IGNORECASE,
    ),
    {**_EMOTIONS, "AF": "fear"},
    {"S": 0.0, "HL": -45.0, "HR": 45.0, "FL": -90.0, "FR": 90.0},
)
_JAFFE = _Naming(
    "JAFFE",
    "KA.AN1.39.tiff",
    re.compile(
        r"(?P<subject>[A-Z]{2})\.(?P<emotion>AN|DI|FE|HA|NE|SA|SU)\d\.\d+\.\w+", re.IGNORECASE
    ),
    {**_EMOTIONS, "FE": "fear"},
)


def subjects_by_name(tree: FileTree, codes: Mapping[str, str]) -> re.Pattern[str] | None:
    """Return what most names of images in folders of emotions follow, if it tells persons."""
    names = [_name(path) for path in tree.images if emotion_of_folder(path, codes)]
    patterns = (CKPLUS_NAME, _KDEF.pattern, _JAFFE.pattern)
    return next((pattern for pattern in patterns if mostly(pattern, names)), None)


def subject_in(path: str, pattern: re.Pattern[str] | None) -> str | None:
    """Return the person that a file's name states by a pattern, or None."""
    match = pattern.fullmatch(_name(path)) if pattern else None
    return match["subject"].upper() if match else None


def _read(naming: _Naming, source: Path) -> Reading:
    tree = FileTree(source)
    if not any(naming.pattern.fullmatch(_name(path)) for path in tree.images):
        raise DatasetError(
            f"{source}: {len(tree.images)} images, none named as {naming.title} names them: "
            f"{naming.example}"
        )
    values = ("angle",) if naming.angles else ()
    return Reading(len(tree.images), _items(naming, tree), tree, values)


def _items(naming: _Naming, tree: FileTree) -> Iterator[Item]:
    load = image_loader(tree)
    for path in tree.images:
        match = naming.pattern.fullmatch(_name(path))
        codes = {key: code.upper() for key, code in match.groupdict().items()} if match else {}
        sample = Sample(
            path,
            split_of(tree, path),
            naming.emotions[codes["emotion"]] if match else None,
            excluded=None if match else f"no name of {naming.title}, as {naming.example} is",
            given=codes.get("emotion"),
            folder_label=emotion_of_folder(path),
            subject=codes.get("subject"),
            problem=None if match else "bad_label",
            values={"angle": naming.angles[codes["angle"]]} if "angle" in codes else {},
        )
        yield sample, load(path)


def _recognise(naming: _Naming, tree: FileTree) -> str | None:
    in_folders = any(emotion_of_folder(path) for path in tree.images)
    if in_folders or not mostly(naming.pattern, [_name(path) for path in tree.images]):
        return None
    return f"images are named like {naming.example}"


def _name(path: str) -> str:
    return path.rpartition("/")[2]


KDEF = Format(
    "KDEF: AF01/AF01ANS.JPG, whose names say person, emotion and angle",
    InputSpec(size=96, channels=3),
    partial(_read, _KDEF),
    partial(_recognise, _KDEF),
    notes=(
        "Seven emotions, no contempt, no splits. The photos of one person stay together. angle is "
        "0 straight, -45 and 45 half left and right, -90 and 90 full left and right.",
    ),
)
JAFFE = Format(
    "JAFFE: KA.AN1.39.tiff, whose names say person and emotion",
    InputSpec(size=96, channels=3),
    partial(_read, _JAFFE),
    partial(_recognise, _JAFFE),
    notes=("Seven emotions, no contempt, no splits. The photos of one person stay together.",),
)
