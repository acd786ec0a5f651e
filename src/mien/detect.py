"""Finding faces in a picture.

A detector takes an upright image, RGB (H, W, 3) or grey (H, W), uint8, and returns detections from
left to right. To add one, write a class with a ``__call__`` and name it in `DETECTORS`. Knows
nothing of emotions.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import UsageError
from mien.records import Box, Detection

__all__ = ["DETECTORS", "Auto", "Detector", "Haar", "Whole", "make_detector"]


class Detector(Protocol):
    """Finds faces."""

    def __call__(self, image: NDArray[np.uint8]) -> list[Detection]:
        """Return the faces of an image, left to right."""


class Whole:
    """Takes every image as one face, without looking."""

    def __call__(self, image: NDArray[np.uint8]) -> list[Detection]:
        """Return one detection without a score: the whole image."""
        height, width = image.shape[:2]
        return [Detection(Box(0.0, 0.0, float(width), float(height)), None)]


class Haar:
    """OpenCV's frontal-face cascade (Viola & Jones 2001), from the package itself.

    Args:
        min_share: the smallest face, as a share of the image's shorter side.
        min_score: detections less sure than this are dropped, 0..1.
    """

    LONGEST_SIDE: Final = 960
    SMALLEST_FACE: Final = 24

    def __init__(self, *, min_share: float = 0.05, min_score: float = 0.5) -> None:
        # The stubs of opencv-python do not declare cv2.data.
        folder = Path(cv2.__file__).parent / "data"
        self._cascade = cv2.CascadeClassifier(str(folder / "haarcascade_frontalface_default.xml"))
        self._min_share = min_share
        self._min_score = min_score

    def __call__(self, image: NDArray[np.uint8]) -> list[Detection]:
        """Return frontal faces with a score that grows with the cascade's margin."""
        grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        scale = min(1.0, self.LONGEST_SIDE / max(grey.shape))
        if scale < 1:
            height, width = (max(1, round(side * scale)) for side in grey.shape)
            grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
        smallest = max(self.SMALLEST_FACE, round(min(grey.shape) * self._min_share))
        boxes, _, weights = self._cascade.detectMultiScale3(
            cv2.equalizeHist(grey),
            scaleFactor=1.08,
            minNeighbors=5,
            minSize=(smallest, smallest),
            outputRejectLevels=True,
        )
        found = [
            Detection(Box(*(float(value) / scale for value in box)), _cascade_score(float(weight)))
            for box, weight in zip(boxes, np.ravel(weights), strict=True)
        ]
        sure = [detection for detection in found if (detection.score or 0) >= self._min_score]
        return sorted(_without_nested(sure), key=lambda detection: detection.box.x)


class Auto:
    """The default: the cascade, and a small picture that is all face is taken whole.

    A nearly square picture of at most `CROP_SIDE` pixels is taken for a cut-out face when nothing
    is found in it; its detection has no score.
    """

    CROP_SIDE: Final = 128
    CROP_ASPECT: Final = 1.34

    def __init__(self) -> None:
        self._look = Haar()
        self._whole = Whole()

    def __call__(self, image: NDArray[np.uint8]) -> list[Detection]:
        """Return the faces found, or the whole of a small picture."""
        found = self._look(image)
        short, long = sorted(image.shape[:2])
        if not found and long <= self.CROP_SIDE and long <= short * self.CROP_ASPECT:
            return self._whole(image)
        return found


DETECTORS: Mapping[str, Callable[[], Detector]] = MappingProxyType(
    {"auto": Auto, "haar": Haar, "none": Whole}
)
"""Every detector by name."""


def make_detector(name: str) -> Detector:
    """Build a detector by name.

    Raises:
        UsageError: no detector goes by that name.
    """
    if name not in DETECTORS:
        raise UsageError(f"unknown detector {name!r}: expected one of {', '.join(DETECTORS)}")
    return DETECTORS[name]()


def _cascade_score(weight: float) -> float:
    # The cascade's last stage gives a margin without a unit, about 0 for the faintest faces and
    # above 5 for clear ones; a logistic curve brings it to 0..1.
    return 1 / (1 + math.exp(-weight))


def _without_nested(found: list[Detection]) -> list[Detection]:
    """Drop a detection whose middle lies inside a surer one: a cascade sees a chin as a face."""
    kept: list[Detection] = []
    for detection in sorted(found, key=lambda detection: -(detection.score or 0)):
        if not any(_middle_inside(detection.box, other.box) for other in kept):
            kept.append(detection)
    return kept


def _middle_inside(box: Box, other: Box) -> bool:
    x, y = box.x + box.width / 2, box.y + box.height / 2
    return other.x <= x <= other.x + other.width and other.y <= y <= other.y + other.height
