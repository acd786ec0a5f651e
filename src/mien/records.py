"""The frozen records that travel through mien: a box, a face, a prediction, a sample.

They hold values and turn themselves into JSON. They know nothing of images, models or files.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

__all__ = [
    "SPLITS",
    "Box",
    "Detection",
    "Face",
    "Point",
    "Prediction",
    "Problem",
    "Sample",
    "Split",
    "printable",
    "show_path",
]

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")

Problem = Literal["missing", "unreadable", "unlisted", "bad_label"]
"""What can be wrong with a sample before its image is looked at."""


def show_path(path: str) -> str:
    """Return a path that any text file can hold: bytes that are no UTF-8 become question marks."""
    return path.encode("utf-8", "replace").decode()


def printable(text: str) -> str:
    """Spell out what cannot be printed: line ends, what steers terminals, lone surrogates."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


Point = tuple[float, float]


class Box(NamedTuple):
    """A rectangle in pixels: left, top, width, height. Its origin is the image's top left."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> Point:
        """Its middle, x and y."""
        return self.x + self.width / 2, self.y + self.height / 2

    @property
    def area(self) -> float:
        """Its area, square pixels."""
        return self.width * self.height

    def overlap(self, other: "Box") -> float:
        """Return the intersection over union with another box, 0..1."""
        width = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        height = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        shared = max(0.0, width) * max(0.0, height)
        whole = self.area + other.area - shared
        return shared / whole if whole > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Detection:
    """Where a detector saw a face.

    Attributes:
        box: in pixels, as the faces that models are trained on are cut.
        score: how sure the detector was, 0..1; None: nobody looked, the image was taken whole.
        eyes: the middles of the eyes as x and y in pixels, the image's left one first; None where
            the detector does not say.
    """

    box: Box
    score: float | None
    eyes: tuple[Point, Point] | None = None

    @property
    def roll(self) -> float:
        """How far the line of the eyes is turned, degrees clockwise, -90..90; 0 if unknown."""
        if self.eyes is None:
            return 0.0
        (x0, y0), (x1, y1) = self.eyes
        return math.degrees(math.atan2(y1 - y0, x1 - x0)) if x1 > x0 else 0.0


@dataclass(frozen=True, slots=True)
class Face:
    """One recognised face.

    Attributes:
        box: the face in pixels of the upright image.
        detection: the detector's score, 0..1, or None where the image was taken whole.
        emotion: the most probable emotion; in a video, where names are kept from flickering, for
            a moment the one that was.
        confidence: its probability, 0..1.
        probabilities: the probability of each emotion that the model knows; they sum to 1.
        track: in a video, the number that this person's face keeps, from 1; else None.
    """

    box: Box
    detection: float | None
    emotion: str
    confidence: float
    probabilities: Mapping[str, float] = field(hash=False)
    track: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the face as the command line writes it; ``track`` only where there is one."""
        line = {
            "box": [round(value, 1) for value in self.box],
            "detection": None if self.detection is None else round(self.detection, 4),
            "emotion": self.emotion,
            "confidence": round(self.confidence, 6),
            "probabilities": {k: round(v, 6) for k, v in self.probabilities.items()},
        }
        return line if self.track is None else line | {"track": self.track}


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was seen in one image or frame, or why it could not be read.

    Attributes:
        source: the file or address as it was given.
        width: pixels, after turning the image upright; 0 where it could not be read.
        height: likewise.
        faces: left to right.
        error: the reason where it could not be read, else None.
        frame: number within a video, from 0.
        time_s: seconds from the video's start.
    """

    source: str
    width: int = 0
    height: int = 0
    faces: tuple[Face, ...] = ()
    error: str | None = None
    frame: int = 0
    time_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the prediction as one line of ``mien predict --json`` holds it."""
        return {
            "source": self.source,
            "frame": self.frame,
            "time_s": self.time_s,
            "width": self.width,
            "height": self.height,
            "faces": [face.to_json() for face in self.faces],
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled image as a dataset's manifest describes it.

    Attributes:
        path: where the image came from, relative to the imported source, with ``/``; followed by
            ``#`` and a face's name where an image holds several, by ``#t=`` and seconds where it is
            a picture of a video.
        split: train, valid or test; None: the source does not say, and a split is drawn.
        label: the emotion, or None where there is none.
        votes: the share of the annotators' votes for each of the eight emotions, in the order of
            ``EMOTIONS``, summing to 1; empty where nobody voted.
        excluded: why neither training nor evaluation may use the image, or None where they may.
        box: the face in pixels of the source image, or None where the image is the face.
        box_in: width and height, pixels, of the image that the box was drawn on, where the source
            says that.
        given: the label as the source writes it, or None.
        folder_label: the emotion that its folder names, where a table labels it too; else None.
        subject: who is shown, as the source names people, or None.
        weight: how much it counts in training, 0 or more; None: as much as any other.
        problem: what was wrong with its row or file, or None.
        located: how a table's row found its file: ``path``, or ``name`` where only a unique file
            name led to it; None where no table names files.
        landmarks: x and y of each landmark in turn, pixels of the source image; may be empty.
        values: the source's own numbers, by column.
        words: the source's own words, by column.
    """

    path: str
    split: Split | None
    label: str | None
    votes: tuple[float, ...] = field(default=())
    excluded: str | None = None
    box: Box | None = None
    box_in: tuple[int, int] | None = None
    given: str | None = None
    folder_label: str | None = None
    subject: str | None = None
    weight: float | None = None
    problem: Problem | None = None
    located: Literal["path", "name"] | None = None
    landmarks: tuple[float, ...] = field(default=())
    values: Mapping[str, float] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
