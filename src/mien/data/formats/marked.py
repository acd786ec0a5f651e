"""Images in which faces are marked, as detectors learn from them: each face is a sample."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

from mien.data.formats.finding import Place, unlisted
from mien.data.formats.reading import Item, Reading, shown
from mien.data.formats.tables import box_between
from mien.data.formats.votes import NO_MAJORITY, most_voted, vote_shares
from mien.data.source import FileTree
from mien.errors import DatasetError
from mien.labels import find_meaning
from mien.records import SPLITS, Box, Problem, Sample, Split

__all__ = [
    "LOOKED_AT",
    "NO_FACE",
    "ONE_A_MARK",
    "Mark",
    "Marked",
    "MarkedFace",
    "agreed",
    "around",
    "faces_of",
    "marked_face",
    "read_marked",
    "recognised_by",
    "said_face",
    "samples_of",
    "telling",
]

LOOKED_AT: Final = 200
"""So many images tell what is marked in a source."""
_NAMES_TOLD: Final = 12
_SAME_FACE: Final = 0.5
"""Boxes of two annotators that overlap so far are of one face."""
_TELLING: Final = frozenset({"emotion", "emotions", "expression", "facial expression", "label"})
"""Attributes that name what a face shows; others may call the light normal."""
ONE_A_MARK: Final = "Each marked face is an image of its own, cropped by its box."


@dataclass(frozen=True, slots=True)
class MarkedFace:
    """What a source says of one face; its fields are those of `Sample`.

    Without a box it is the whole image.
    """

    label: str | None = None
    given: str | None = None
    box: Box | None = None
    excluded: str | None = None
    problem: Problem | None = None
    votes: tuple[float, ...] = ()


class Mark(NamedTuple):
    """What is marked in an image: its class, names and values of its attributes, and its box."""

    name: str
    attributes: Sequence[tuple[str, str]]
    box: Box | None


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
        excluded = f"{means} names no emotion" if given or name else "no label"
    elif box is None:
        excluded = "its face box is no box"
    return MarkedFace(
        label, given or name or None, box, excluded, "bad_label" if excluded else None
    )


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
    told = telling(name, attributes, codes)
    return marked_face(told, find_meaning(told, codes), box)


def telling(name: str, attributes: Iterable[tuple[str, str]], codes: Mapping[str, str]) -> str:
    """Return the word among a class and its attributes that names an emotion, else the class."""
    said = [name, *(value for key, value in attributes if key.strip().lower() in _TELLING)]
    return next((word for word in said if find_meaning(word, codes)), name)


def faces_of(
    marks: Sequence[Mark], words: Collection[str], codes: Mapping[str, str]
) -> Sequence[MarkedFace]:
    """Return the faces of an image that are marked in it, or else itself, by what it is called.

    Args:
        marks: those in it. A single one may go by what the image is called.
        words: what the image is called.
        codes: the emotions of words of one's own.
    """
    if marks:
        told = [("label", word) for word in words] if len(marks) == 1 else []
        return tuple(
            said_face(name, (*attributes, *told), codes, box) for name, attributes, box in marks
        )
    meant = {emotion: word for word in words if (emotion := find_meaning(word, codes))}
    if len(meant) == 1:
        ((label, word),) = meant.items()
        return (MarkedFace(label, word),)
    if not words:
        return NO_FACE
    given = ", ".join(words)
    says = "several emotions" if meant else "no emotion"
    return (MarkedFace(None, given, None, f"label {shown(given)} names {says}", "bad_label"),)


def agreed(opinions: Sequence[Sequence[MarkedFace]]) -> Sequence[MarkedFace]:
    """Return the faces of an image in which several have marked them: what each says is a vote.

    Boxes of two that overlap by half are of one face, which is where the first has it.
    """
    seen: list[list[MarkedFace]] = []
    for faces in opinions:
        free = [*seen]  # Of two faces that one annotator marks none is the other.
        for face in faces:
            if face in NO_FACE:
                continue
            same = max(free, key=lambda group: _alike(face, group[0]), default=None)
            if same is None or _alike(face, same[0]) < _SAME_FACE:
                seen.append([face])
            else:
                same.append(face)
                free.remove(same)
    return tuple(map(_voted, seen)) or NO_FACE


def _alike(one: MarkedFace, other: MarkedFace) -> float:
    if one.box is None or other.box is None:
        return float(one.box is other.box)
    return one.box.overlap(other.box)


def _voted(group: Sequence[MarkedFace]) -> MarkedFace:
    """Return one face of what several say of it, each of whom names an emotion or does not vote."""
    said = [face for face in group if face.label and not face.excluded]
    if len(said) < 2:
        return said[0] if said else group[0]
    votes = vote_shares(Counter(face.label for face in said))
    label = most_voted(votes)
    first = next((face for face in said if face.label == label), said[0])
    excluded = None if label else NO_MAJORITY
    problem: Problem | None = None if label else "bad_label"
    return MarkedFace(label, first.given, said[0].box, excluded, problem, votes)


def around(points: Sequence[float] | None) -> Box | None:
    """Return the box around a polygon, x and y of each point in turn; None where it is none.

    Two points are opposite corners.
    """
    if not points or len(points) < 4 or len(points) % 2:
        return None
    xs, ys = points[::2], points[1::2]
    return box_between((min(xs), min(ys), max(xs), max(ys)))


def read_marked(
    source: Path,
    tree: FileTree,
    images: Iterable[Marked],
    *,
    alone: bool = False,
    notes: Sequence[str] = (),
) -> Reading:
    """Return the faces of images as a reading, with the images that no label names.

    Args:
        source: as messages name it.
        tree: its files.
        images: those that its labels name; of one that several name, all faces count.
        alone: a file of labels was named by itself: beside it may lie anything.
        notes: what its user should know.

    Raises:
        DatasetError: what is marked has names, and none of them is an emotion's.
    """
    marked = _merged(images)
    faces = [face for image in marked for face in image.faces]
    _expect_emotions(source, faces)
    listed = {image.place.path for image in marked}
    others = [] if alone else [path for path in tree.images if path not in listed]
    return Reading(
        len(faces) + len(others),
        chain(samples_of(marked), unlisted(tree, others)),
        tree,
        notes=tuple(notes),
        looked_beyond_table=not alone,
    )


def _merged(images: Iterable[Marked]) -> list[Marked]:
    """Put together what several files mark in one image, each face once."""
    merged: list[Marked] = []
    at: dict[str, int] = {}
    for image in images:
        path = image.place.path
        if path not in at or not image.place.located:
            at[path] = len(merged)
            merged.append(image)
            continue
        before = merged[at[path]]
        # What one file holds out, no other may learn from.
        split = max(before.split, image.split, key=_held_out)
        marks = dict.fromkeys((*before.faces, *image.faces))
        faces = tuple(face for face in marks if face not in NO_FACE) or NO_FACE
        merged[at[path]] = before._replace(split=split, faces=faces)
    return merged


def _held_out(split: Split | None) -> int:
    return SPLITS.index(split) if split else -1


def recognised_by(files: Iterable[tuple[str, Sequence[MarkedFace]]]) -> str | None:
    """Say by which mark files show that they are of emotions, or return None.

    Half of what they mark has to be called by one: of strangers' files a few may have such words.

    Args:
        files: the path of each, and what it marks.
    """
    marks = [(path, face) for path, faces in files for face in faces if face.given]
    told = [(path, face) for path, face in marks if face.label]
    if not told or 2 * len(told) < len(marks):
        return None
    path, face = told[0]
    return f"{path} marks a face as {shown(face.given or '')}"


def _expect_emotions(source: Path, faces: Sequence[MarkedFace]) -> None:
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
                votes=face.votes,
                located=place.located,
            )
            yield sample, place.load
