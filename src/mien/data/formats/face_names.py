"""Data sets whose file names say who is shown, and most of them with what emotion.

In folders of emotions they are read as any such folder is, but the persons stay known.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

from mien.data.formats.columns import labels_most
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
from mien.labels import EMOTIONS
from mien.preprocess import InputSpec
from mien.records import Sample

__all__ = ["BY_NAMES", "CKPLUS_NAME", "NAMED", "people_in", "subject_in", "subjects_by_name"]

CKPLUS_NAME: Final = re.compile(r"(?P<subject>S\d{3})_\d{3}_\d{8}\.\w+", re.IGNORECASE)
"""The name of a frame of CK+: person, sequence, frame."""
BY_NAMES: Final = "By the names of the files each person stays in one split."


@dataclass(frozen=True)
class _Naming:
    """How a data set names its images or videos.

    Attributes:
        title: the data set.
        example: such a name.
        pattern: what all names follow, with the groups ``subject``, ``emotion`` and those of
            ``values`` and ``words``.
        emotions: the emotion of each code, in capitals.
        others: what the codes say that are none of the eight emotions.
        values: for each group of numbers what its codes mean; None: they are numbers themselves.
        words: for each group of words what its codes mean; None: they are words themselves.
        note: what a user of the data set should know besides.
    """

    title: str
    example: str
    pattern: str
    emotions: Mapping[str, str]
    others: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, float] | None] = field(default_factory=dict)
    words: Mapping[str, Mapping[str, str] | None] = field(default_factory=dict)
    note: str = ""

    def match(self, path: str) -> dict[str, str] | None:
        """Return what the groups hold of a file's name, or None."""
        match = self.names.fullmatch(_name(path))
        return match.groupdict() if match else None

    @cached_property
    def names(self) -> re.Pattern[str]:
        """What all names follow, with their suffix."""
        return re.compile(rf"{self.pattern}\.\w+", re.IGNORECASE)


_EMOTIONS: Mapping[str, str] = {
    "AN": "anger",
    "DI": "disgust",
    "HA": "happiness",
    "NE": "neutral",
    "SA": "sadness",
    "SU": "surprise",
}
_GENDERS: Mapping[str, str] = {"F": "female", "M": "male"}
_NAMINGS: Mapping[str, _Naming] = {
    "kdef": _Naming(
        "KDEF",
        "AF01ANS.JPG",
        r"[AB](?P<subject>(?P<gender>[FM])\d\d)(?P<emotion>AF|AN|DI|HA|NE|SA|SU)"
        r"(?P<angle>S|HL|HR|FL|FR)",
        {**_EMOTIONS, "AF": "fear"},
        values={"angle": {"S": 0.0, "HL": -45.0, "HR": 45.0, "FL": -90.0, "FR": 90.0}},
        words={"gender": _GENDERS},
        note="angle is 0 straight, -45 and 45 half left and right, -90 and 90 full left and right.",
    ),
    "jaffe": _Naming(
        "JAFFE",
        "KA.AN1.39.tiff",
        r"(?P<subject>[A-Z]{2})\.(?P<emotion>AN|DI|FE|HA|NE|SA|SU)\d\.\d+",
        {**_EMOTIONS, "FE": "fear"},
    ),
    "rafd": _Naming(
        "RaFD",
        "Rafd090_01_Caucasian_female_angry_frontal.jpg",
        r"Rafd(?P<camera>\d{3})_(?P<subject>\d\d)_(?P<group>[a-z]+)_(?P<gender>female|male)_"
        r"(?P<emotion>angry|contemptuous|disgusted|fearful|happy|neutral|sad|surprised)_"
        r"(?P<gaze>frontal|left|right)",
        {
            "ANGRY": "anger",
            "CONTEMPTUOUS": "contempt",
            "DISGUSTED": "disgust",
            "FEARFUL": "fear",
            "HAPPY": "happiness",
            "NEUTRAL": "neutral",
            "SAD": "sadness",
            "SURPRISED": "surprise",
        },
        values={"camera": None},
        words={"group": None, "gender": None, "gaze": None},
        note="camera is 90 straight, 0 and 180 in profile.",
    ),
    "cfd": _Naming(
        "CFD",
        "CFD-WF-001-003-N.jpg",
        r"CFD-(?P<subject>(?P<ethnicity>[ABILMW])(?P<gender>[FM])-\d{3})-\d{3}-"
        r"(?P<emotion>N|A|F|HC|HO)",
        {"N": "neutral", "A": "anger", "F": "fear", "HC": "happiness", "HO": "happiness"},
        words={
            "ethnicity": {
                "A": "asian",
                "B": "black",
                "I": "indian",
                "L": "latino",
                "M": "multiracial",
                "W": "white",
            },
            "gender": _GENDERS,
        },
    ),
    "nimstim": _Naming(
        "NimStim",
        "01F_AN_C.BMP",
        r"(?P<subject>\d\d(?P<gender>[FM]))_(?P<emotion>AN|CA|DI|FE|HA|NE|SA|SP)_"
        r"(?P<mouth>[OCX])",
        {**_EMOTIONS, "FE": "fear", "SP": "surprise"},
        others={"CA": "calm"},
        words={"gender": _GENDERS, "mouth": {"O": "open", "C": "closed", "X": "exuberant"}},
    ),
    "faces": _Naming(
        "FACES",
        "004_o_m_a_a.jpg",
        r"(?P<subject>\d{3})_(?P<age>[ymo])_(?P<gender>[fm])_(?P<emotion>[adfhns])_[ab]",
        {
            "A": "anger",
            "D": "disgust",
            "F": "fear",
            "H": "happiness",
            "N": "neutral",
            "S": "sadness",
        },
        words={"age": {"Y": "young", "M": "middle-aged", "O": "old"}, "gender": _GENDERS},
    ),
    "ravdess": _Naming(
        "RAVDESS",
        "02-01-06-01-02-01-12.mp4",
        # Actors of even numbers are women.
        r"0[12]-0[12]-(?P<emotion>0[1-8])-(?P<intensity>0[12])-0[12]-0[12]-"
        r"(?P<subject>\d(?P<gender>\d))",
        {
            "01": "neutral",
            "03": "happiness",
            "04": "sadness",
            "05": "anger",
            "06": "fear",
            "07": "disgust",
            "08": "surprise",
        },
        others={"02": "calm"},
        values={"intensity": None},
        words={"gender": {str(n): "male" if n % 2 else "female" for n in range(10)}},
        note="intensity is 1 normal, 2 strong. With sound (01-...) and without it (02-...) a "
        "performance is there twice: import one kind.",
    ),
    "crema-d": _Naming(
        "CREMA-D",
        "1001_DFA_ANG_XX.flv",
        r"(?P<subject>\d{4})_[A-Z]{3}_(?P<emotion>ANG|DIS|FEA|HAP|NEU|SAD)_"
        r"(?P<level>LO|MD|HI|XX?)",
        {
            "ANG": "anger",
            "DIS": "disgust",
            "FEA": "fear",
            "HAP": "happiness",
            "NEU": "neutral",
            "SAD": "sadness",
        },
        words={
            "level": {
                "LO": "low",
                "MD": "medium",
                "HI": "high",
                "XX": "unspecified",
                "X": "unspecified",
            }
        },
    ),
}


def subjects_by_name(tree: FileTree, codes: Mapping[str, str]) -> re.Pattern[str] | None:
    """Return what most names of files in folders of emotions follow, if it tells persons."""
    return people_in([path for path in tree.pictured if emotion_of_folder(path, codes)])


def people_in(paths: Sequence[str]) -> re.Pattern[str] | None:
    """Return what most names of files follow, if it tells persons."""
    names = list(map(_name, paths))
    patterns = (CKPLUS_NAME, *(naming.names for naming in _NAMINGS.values()))
    return next((pattern for pattern in patterns if mostly(pattern, names)), None)


def subject_in(path: str, pattern: re.Pattern[str] | None) -> str | None:
    """Return the person that a file's name states by a pattern, or None."""
    match = pattern.fullmatch(_name(path)) if pattern else None
    return match["subject"].upper() if match else None


def _read(naming: _Naming, source: Path) -> Reading:
    tree = FileTree(source)
    paths = tree.pictured
    if not any(map(naming.match, paths)):
        raise DatasetError(
            f"{source}: {len(paths)} images and videos, none named as {naming.title} names them: "
            f"{naming.example}"
        )
    items = _items(naming, tree)
    return Reading(len(paths), items, tree, tuple(naming.values), tuple(naming.words))


def _items(naming: _Naming, tree: FileTree) -> Iterator[Item]:
    load = image_loader(tree)
    for path in tree.pictured:
        yield _sample(naming, path, tree), load(path)


def _sample(naming: _Naming, path: str, tree: FileTree) -> Sample:
    told = naming.match(path)
    split, folder = split_of(tree, path), emotion_of_folder(path)
    if told is None:
        why = f"no name of {naming.title}, as {naming.example} is"
        return Sample(path, split, None, excluded=why, folder_label=folder, problem="bad_label")
    codes = {group: code.upper() for group, code in told.items()}
    emotion = naming.emotions.get(codes["emotion"])
    return Sample(
        path,
        split,
        emotion,
        excluded=None
        if emotion
        else f"{naming.others[codes['emotion']]} is none of the eight emotions",
        given=told["emotion"],
        folder_label=folder,
        subject=codes["subject"],
        values={
            name: meant[codes[name]] if meant else float(codes[name])
            for name, meant in naming.values.items()
        },
        words={
            name: meant[codes[name]] if meant else codes[name].lower()
            for name, meant in naming.words.items()
        },
    )


def _recognise(naming: _Naming, tree: FileTree) -> str | None:
    if not mostly(naming.names, list(map(_name, tree.pictured))):
        return None
    if any(map(emotion_of_folder, tree.pictured)):
        return None
    if labels_most(tree):
        return None  # Who wrote such a table meant it.
    return f"files are named like {naming.example}"


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _format(naming: _Naming) -> Format:
    lacking = [emotion for emotion in EMOTIONS if emotion not in naming.emotions.values()]
    without = f"It has no {' and no '.join(lacking)}. " if lacking else ""
    note = f"{without}It names no splits; all of one person are drawn into one. {naming.note}"
    return Format(
        f"{naming.title}: {naming.example}, whose names say person and emotion",
        InputSpec(size=96, channels=3),
        partial(_read, naming),
        partial(_recognise, naming),
        notes=(note.strip(),),
    )


NAMED: Mapping[str, Format] = MappingProxyType(
    {name: _format(naming) for name, naming in _NAMINGS.items()}
)
"""The format of each data set whose file names say emotion and person."""
