"""Images in which faces are marked, as detectors learn from them: each face is a sample."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from mien.data.formats.finding import Place
from mien.data.formats.reading import Item, shown
from mien.data.formats.tables import box_between
from mien.errors import DatasetError
from mien.labels import find_meaning
from mien.records import Box, Problem, Sample, Split

__all__ = [
    "NO_FACE",
    "ONE_A_MARK",
    "Marked",
    "MarkedFace",
    "around",
    "expect_emotions",
    "marked_face",
    "said_face",
    "samples_of",
]

_NAMES_TOLD: Final = 12
_TELLING: Final = frozenset({"emotion", "emotions", "expression", "facial expression", "label"})
"""Attributes that name what a face shows; others may call the light normal."""
ONE_A_MARK: Final = "Each marked face is an image of its own, cropped by its box."


@dataclass(frozen=True, slots=True)
class MarkedFace:
    """What a source says of one face; its fields are those of `Sample`."""

    label: str | None = None
    given: str | None = None
    box: Box | None = None
    excluded: str | None = None
    problem: Problem | None = None


class Marked(NamedTuple):
    """An image, its split, the faces that are marked in it, and its size as the source says."""

    place: Place
    split: Split | None
    faces: Sequence[MarkedFace]
    size: tuple[int, int] | None = None


NO_FACE: Sequence[MarkedFace] = (MarkedFace(excluded="no face marked"),)
"""What stands for the faces of an image without any."""


def marked_face(name: str, label: str | None, box: Box | None, *, given: str = "") -> MarkedFace:
    """Return a face, left out where its name is no emotion or its box is none.

    Args:
        name: what the source calls its class.
        label: the emotion that this means, or None.
        box: where it is.
        given: how the source writes the class, if not by its name.
    """
    excluded = None
    if label is None:
        means = f"id {shown(given)} is {shown(name)}, which" if given else f"label {shown(name)}"
        excluded = f"{means} names no emotion"
    elif box is None:
        excluded = "its face box is no box"
    return MarkedFace(label, given or name, box, excluded, "bad_label" if excluded else None)


def said_face(
    name: str, attributes: Iterable[tuple[str, str]], codes: Mapping[str, str], box: Box | None
) -> MarkedFace:
    """Return a face by its class, or else by an attribute: ``face`` whose ``emotion`` is ``happy``.

    Args:
        name: the class.
        attributes: their names and values.
        codes: the emotions of words of one's own.
        box: where it is.
    """
    said = [name, *(value for key, value in attributes if key.strip().lower() in _TELLING)]
    told = next((word for word in said if find_meaning(word, codes)), name)
    return marked_face(told, find_meaning(told, codes), box)


def around(points: Sequence[float] | None) -> Box | None:
    """Return the box around a polygon, x and y of each point in turn; None where it is none."""
    if not points or len(points) < 6 or len(points) % 2:
        return None
    xs, ys = points[::2], points[1::2]
    return box_between((min(xs), min(ys), max(xs), max(ys)))


def expect_emotions(source: Path, faces: Sequence[MarkedFace]) -> None:
    """Raise `DatasetError` where what is marked has names, and none of them is an emotion's."""
    names = {face.given for face in faces if face.given}
    if names and not any(face.label for face in faces):
        raise DatasetError(
            f"{source}: what is marked is called {', '.join(sorted(names)[:_NAMES_TOLD])}, and no "
            "emotion; --codes says what that means, such as --codes wut=anger,froh=happy"
        )


def samples_of(images: Iterable[Marked]) -> Iterator[Item]:
    """Give the faces of images; those of one image are numbered."""
    for place, split, faces, size in images:
        for number, face in enumerate(faces):
            sample = Sample(
                f"{place.path}#{number}" if len(faces) > 1 else place.path,
                split,
                face.label,
                excluded=face.excluded,
                box=face.box,
                box_in=size,
                given=face.given,
                problem=face.problem,
                located=place.located,
            )
            yield sample, place.load
