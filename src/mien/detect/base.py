"""What a detector is, and what several of them need."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mien.errors import UsageError
from mien.records import Box, Detection

__all__ = ["Careful", "Detector", "Whole", "left_to_right", "package_file", "surest"]


class Detector(Protocol):
    """Finds faces. Safe to call from several threads."""

    def __call__(self, image: NDArray[np.uint8], /) -> Sequence[Detection]:
        """Return the faces of an image, left to right."""


class Whole:
    """Takes every image as one face, without looking."""

    def __call__(self, image: NDArray[np.uint8]) -> list[Detection]:
        """Return one detection without a score: the whole image."""
        height, width = image.shape[:2]
        return [Detection(Box(0.0, 0.0, float(width), float(height)), None)]


class Careful:
    """What somebody else's detector finds, as mien's own give it, or an error that says why not.

    Faces of no size, and those outside the picture, are left out; boxes may be tuples.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def __call__(self, image: NDArray[np.uint8]) -> list[Detection]:
        """Return the faces found, left to right.

        Raises:
            UsageError: what the detector gave is none.
        """
        given = self._detector(image)
        if not isinstance(given, Iterable):
            raise self._refusal(given)
        height, width = image.shape[:2]
        whole = Box(0.0, 0.0, float(width), float(height))
        found = map(self._checked, given)
        return left_to_right(face for face in found if face.box.overlap(whole) > 0)

    def _checked(self, given: object) -> Detection:
        if not isinstance(given, Detection):
            raise self._refusal(given)
        try:
            box = Box(*map(float, given.box))
            score = None if given.score is None else float(given.score)
        except (TypeError, ValueError):
            raise self._refusal(given) from None
        if not all(map(math.isfinite, (*box, score or 0.0))):
            raise self._refusal(given)
        return replace(given, box=box, score=score)

    def _refusal(self, given: object) -> UsageError:
        return UsageError(
            f"detector {self._detector!r} gave {given!r:.80}: expected a list of "
            "mien.records.Detection(Box(x, y, width, height), score)"
        )


def left_to_right(found: Iterable[Detection]) -> list[Detection]:
    """Sort detections by their left edge."""
    return sorted(found, key=lambda detection: detection.box.x)


def surest(found: Iterable[Detection], *, most_overlap: float) -> list[Detection]:
    """Drop what overlaps a surer detection by more than an intersection over union."""
    kept: list[Detection] = []
    for detection in sorted(found, key=lambda detection: -(detection.score or 0)):
        if all(detection.box.overlap(other.box) <= most_overlap for other in kept):
            kept.append(detection)
    return kept


def package_file(package: str, path: str) -> Path | None:
    """Return a file that lies in an installed package, without importing it; None: not there."""
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / path).is_file():
            return Path(folder) / path
    return None
