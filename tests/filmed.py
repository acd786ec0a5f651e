"""Small films for the tests: drawn people who move before a drawn place, and where they are."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.drawn import FaceParameters, draw_portrait, sample_parameters
from mien.drawn.scenery import scenery
from mien.records import Box, Detection, Face

Pixels = NDArray[np.uint8]
Path = Callable[[float], tuple[float, float] | None]
"""Where the middle of a face is at a time in seconds, as shares of width and height; None: away."""


@dataclass(frozen=True)
class Actor:
    """A drawn person on the move; later actors stand before earlier ones."""

    seed: int
    path: Path
    size: float = 0.3  # side of the face, share of the picture's height
    emotion: str = "neutral"


@dataclass(frozen=True)
class Shot:
    """One frame, and where each actor's face is in it (by the actor's place in the cast)."""

    pixels: Pixels
    time_s: float
    faces: Mapping[int, Box]


def film(
    cast: Sequence[Actor],
    *,
    seconds: float,
    fps: float,
    size: tuple[int, int] = (320, 240),
    seed: int = 0,
) -> Iterator[Shot]:
    """Draw a film, frame by frame; ``size`` is width and height."""
    width, height = size
    place = scenery(np.random.default_rng(seed), width, height)
    portraits = [_portrait(actor, height) for actor in cast]
    for number in range(round(seconds * fps)):
        time_s = number / fps
        pixels, faces = place.copy(), {}
        for index, (actor, portrait) in enumerate(zip(cast, portraits, strict=True)):
            at = actor.path(time_s)
            if at is not None:
                faces[index] = _paste(pixels, portrait, (at[0] * width, at[1] * height))
        yield Shot(pixels, time_s, faces)


def person(seed: int, emotion: str = "neutral") -> FaceParameters:
    """A clear, upright, evenly lit drawn person."""
    face = sample_parameters("neutral", seed=seed)
    return replace(face, emotion=emotion, intensity=0.9, yaw=0.0, pitch=0.0, roll=0.0)


def _portrait(actor: Actor, height: int) -> Pixels:
    # In a portrait the face takes 0.54 of the side.
    return draw_portrait(person(actor.seed, actor.emotion), size=round(actor.size * height / 0.54))


def _paste(pixels: Pixels, portrait: Pixels, middle: tuple[float, float]) -> Box:
    """Lay an oval cut-out of a portrait on a picture and return the box of its face."""
    side = len(portrait)
    left, top = round(middle[0] - 0.5 * side), round(middle[1] - 0.52 * side)
    mask = np.zeros((side, side), np.float32)
    cv2.ellipse(
        mask, (side // 2, side // 2), (round(0.38 * side), round(0.45 * side)), 0, 0, 360, 1, -1
    )
    soft = cv2.GaussianBlur(mask, (0, 0), 0.02 * side)[..., None]
    rows = slice(max(0, top), min(pixels.shape[0], top + side))
    columns = slice(max(0, left), min(pixels.shape[1], left + side))
    inner = (
        slice(rows.start - top, rows.stop - top),
        slice(columns.start - left, columns.stop - left),
    )
    if rows.start < rows.stop and columns.start < columns.stop:
        under = pixels[rows, columns]
        pixels[rows, columns] = under + soft[inner] * (portrait[inner].astype(np.float32) - under)
    return Box(left + 0.23 * side, top + 0.25 * side, 0.54 * side, 0.54 * side)


class TrueDetector:
    """A detector that knows where the faces are, and trembles as real ones do.

    A face that is more than half outside the picture, or mostly behind another, is not seen.
    """

    def __init__(self, *, tremble: float = 0.0, seed: int = 0) -> None:
        self.shot: Shot | None = None
        self.calls = 0
        self._tremble = tremble
        self._random = np.random.default_rng(seed)

    def __call__(self, image: Pixels) -> list[Detection]:
        self.calls += 1
        assert self.shot is not None and self.shot.pixels is image
        height, width = image.shape[:2]
        found = []
        for index, box in self.shot.faces.items():
            x, y = box.x + box.width / 2, box.y + box.height / 2
            before = [other for i, other in self.shot.faces.items() if i > index]
            hidden = any(abs(x - o.x - o.width / 2) < 0.6 * o.width for o in before)
            if 0 < x < width and 0 < y < height and not hidden:
                dx, dy, grow = self._random.normal(0, self._tremble * box.width, 3)
                side = box.width + grow
                found.append(Detection(Box(x + dx - side / 2, y + dy - side / 2, side, side), 0.9))
        return sorted(found, key=lambda detection: detection.box.x)


class FixedReader:
    """Reads every face the same; counts what it is asked."""

    labels = ("neutral", "happiness")

    def __init__(self, detector: TrueDetector) -> None:
        self.detector = detector

    def read(self, image: Pixels, detections: Sequence[Detection]) -> tuple[Face, ...]:
        return tuple(
            Face(d.box, d.score, "neutral", 0.8, {"neutral": 0.8, "happiness": 0.2})
            for d in detections
        )
