"""What a detector is, and what several of them need."""

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mien.records import Box, Detection

__all__ = ["Detector", "Whole", "left_to_right", "package_file", "surest"]


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
