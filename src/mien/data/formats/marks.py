"""What is marked in an image, and which faces that makes: a box, words for it, several opinions."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from mien.data.formats.reading import shown
from mien.data.formats.tables import box_between
from mien.data.formats.votes import NO_MAJORITY, most_voted, vote_shares
from mien.labels import find_meaning
from mien.records import Box, Problem

__all__ = [
    "NO_FACE",
    "SEVERAL",
    "Mark",
    "MarkedFace",
    "agreed",
    "around",
    "as_labels",
    "faces_of",
    "known_size",
    "marked_face",
    "round_middle",
    "said_face",
    "telling_keys",
    "words_of",
]

SEVERAL: Final = "names several emotions"
"""Why a face is left out of which more than one is said."""
_SAME_FACE: Final = 0.5
"""Boxes of two annotators that overlap so far are of one face."""
_LARGEST_SIDE: Final = 1_000_000
_ASKING: Final = re.compile(r"(.*[\s_-])?(emotion|expression)s?([\s_-](class|label|name|type))?")
_CLASSES: Final = frozenset(
    {"label", "labels", "class", "category", "choice", "face", "name", "type"}
)


@dataclass(frozen=True, slots=True)
class MarkedFace:
    """What a source says of one face; its fields are those of `Sample`.

    Attributes:
        whole: nothing is marked: it is the image.
    """

    label: str | None = None
    given: str | None = None
    box: Box | None = None
    excluded: str | None = None
    problem: Problem | None = None
    votes: tuple[float, ...] = ()
    whole: bool = False


class Mark(NamedTuple):
    """What is marked in an image: its class, names and values of its attributes, and its box."""

    name: str
    attributes: Sequence[tuple[str, str]]
    box: Box | None


NO_FACE: Final[Sequence[MarkedFace]] = (MarkedFace(excluded="no face marked"),)
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
    problem: Problem | None = "bad_label" if excluded else None
    return MarkedFace(label, given or name or None, box, excluded, problem)


def said_face(
    name: str, attributes: Iterable[tuple[str, str]], codes: Mapping[str, str], box: Box | None
) -> MarkedFace:
    """Return a face by its class, or by an attribute: ``face`` whose ``emotion`` is ``happy``.

    Args:
        name: the class.
        attributes: their names and values; one that is named by an emotion may be ticked.
        codes: the emotions of words of one's own.
        box: where it is.
    """
    attributes = list(attributes)
    meant = _meant(words_of(name, attributes, codes), codes)
    if len(meant) > 1:
        return _of_several(list(meant.values()), box)
    telling = [value for key, value in attributes if _tells(key) and value]
    told = next(iter(meant.values()), (telling or [name])[-1])
    return marked_face(told, find_meaning(told, codes), box)


def words_of(
    name: str, attributes: Sequence[tuple[str, str]], codes: Mapping[str, str]
) -> list[str]:
    """Return what names the emotion: the class, or else attributes that tell it, or are ticked."""
    telling = [value for key, value in attributes if _tells(key)]
    ticked = [key for key, value in attributes if value.lower() == "true"]
    return next((words for words in ([name], telling, ticked) if _meant(words, codes)), [name])


def faces_of(
    marks: Sequence[Mark], words: Collection[str], codes: Mapping[str, str]
) -> Sequence[MarkedFace]:
    """Return the faces of an image that are marked in it, or else itself, by what it is called.

    Args:
        marks: those in it. A single one that nothing else is said of goes by that, too.
        words: what the image is called.
        codes: the emotions of words of one's own.
    """
    meant = _meant(words, codes)
    if len(marks) == 1 and meant and not _meant(words_of(*marks[0][:2], codes), codes):
        return (said_face(marks[0].name, as_labels(words), codes, marks[0].box),)
    if marks:
        return tuple(said_face(name, told, codes, box) for name, told, box in marks)
    if len(meant) == 1:
        ((label, word),) = meant.items()
        return (MarkedFace(label, word, whole=True),)
    if not words:
        return NO_FACE
    said = (
        _of_several([*meant.values()], None) if meant else marked_face(", ".join(words), None, None)
    )
    return (replace(said, whole=True),)


def _tells(key: str) -> bool:
    """Whether an attribute names what a face shows; another may call the light normal."""
    return key.strip().lower() == "label" or _asks(key)


def _asks(key: str) -> bool:
    return _ASKING.fullmatch(key.strip().lower()) is not None


def _meant(words: Iterable[str], codes: Mapping[str, str]) -> dict[str, str]:
    """Return the emotions that words mean, and the word for each."""
    return {emotion: word for word in words if (emotion := find_meaning(word, codes))}


def _of_several(words: Sequence[str], box: Box | None) -> MarkedFace:
    given = ", ".join(words)
    return MarkedFace(None, given, box, f"label {shown(given)} {SEVERAL}", "bad_label")


def as_labels(words: Iterable[str]) -> list[tuple[str, str]]:
    """Return words as attributes that say what a face shows."""
    return [("label", word) for word in words]


def telling_keys(
    answers: Iterable[tuple[str, Iterable[str]]], codes: Mapping[str, str]
) -> Collection[str]:
    """Return which of several questions ask for the emotion.

    Those are called so, or their answers name several emotions; failing that, they are called as
    classes are, and their answers name nothing else. That the light is normal makes nobody neutral.
    Where there are none, they are those whose answers say nothing of emotions.

    Args:
        answers: each question, and what some are to it; it may come again.
        codes: the emotions of words of one's own.
    """
    said: dict[str, set[str]] = defaultdict(set)
    for key, words in answers:
        said[key].update(words)
    meant = {key: len(_meant(words, codes)) for key, words in said.items()}
    telling = [key for key, count in meant.items() if count > 1 or _asks(key)]
    classes = [
        key
        for key, words in said.items()
        if key.lower() in _CLASSES and all(find_meaning(word, codes) for word in words)
    ]
    return telling or classes or [key for key, count in meant.items() if not count]


def agreed(opinions: Iterable[Sequence[MarkedFace]]) -> Sequence[MarkedFace]:
    """Return the faces of an image in which several have marked them: what each says is a vote.

    Boxes of two that overlap by half are of one face, which is where the first has it. What is said
    of the image as a whole is said of the only face in it.
    """
    seen: list[list[MarkedFace]] = []
    whole: list[MarkedFace] = []
    for faces in opinions:
        free = [*seen]  # Of two faces that one annotator marks none is the other.
        for face in dict.fromkeys(faces):
            if face.whole:
                whole.append(face)
            if face.whole or face in NO_FACE:
                continue
            same = max(free, key=lambda group: _overlap(face, group[0]), default=None)
            if same is None or _overlap(face, same[0]) < _SAME_FACE:
                seen.append([face])
            else:
                same.append(face)
                free.remove(same)
    if whole and not seen:
        seen.append(whole)
    elif len(seen) == 1 and seen[0][0].box:
        seen[0] += whole
    return tuple(map(_voted, seen)) or NO_FACE


def _overlap(one: MarkedFace, other: MarkedFace) -> float:
    return one.box.overlap(other.box) if one.box and other.box else 0.0


def _voted(group: Sequence[MarkedFace]) -> MarkedFace:
    """Return one face of what several say of it, each of whom names an emotion or does not vote."""
    said = [face for face in group if face.label]
    box = next((face.box for face in group if face.box), None)
    if len(said) < 2:
        return replace(said[0], box=box) if said else group[0]
    votes = vote_shares(Counter(face.label for face in said))
    label = most_voted(votes)
    first = next((face for face in said if face.label == label), said[0])
    excluded = None if label else NO_MAJORITY
    problem: Problem | None = None if label else "bad_label"
    return MarkedFace(label, first.given, box, excluded, problem, votes)


def around(points: Sequence[float] | None, *, least: int = 3) -> Box | None:
    """Return the box around a polygon, x and y of each point in turn; None where it is none.

    Args:
        points: its corners; of a rectangle two opposite ones do.
        least: so many points make one.
    """
    if not points or len(points) < 2 * least or len(points) % 2:
        return None
    xs, ys = points[::2], points[1::2]
    return box_between((min(xs), min(ys), max(xs), max(ys)))


def round_middle(values: Sequence[float] | None) -> Box | None:
    """Return the box around an ellipse: its middle, x and y, and its radii along both."""
    if values is None or len(values) != 4:
        return None
    x, y, across, down = values
    return box_between((x - across, y - down, x + across, y + down))


def known_size(width: Any, height: Any) -> tuple[int, int] | None:
    """Return the size of an image that a source gives, in pixels, or None where it is none."""
    sides = (width, height)
    known = all(isinstance(side, int) and 0 < side < _LARGEST_SIDE for side in sides)
    return sides if known else None
