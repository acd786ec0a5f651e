"""OpenCV's frontal-face cascade, which needs no file beside OpenCV itself."""

import math
import threading
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.detect.base import left_to_right
from mien.records import Box, Detection

__all__ = ["Haar"]


class Haar:
    """OpenCV's frontal-face cascade (Viola & Jones 2001), from the package itself.

    Args:
        min_share: the smallest face, as a share of the image's shorter side.
        min_score: detections less sure than this are dropped, 0..1.
        longest_side: of the copy that is searched, pixels.
    """

    SMALLEST_FACE: Final = 24

    def __init__(
        self, *, min_share: float = 0.05, min_score: float = 0.5, longest_side: int = 960
    ) -> None:
        # The stubs of opencv-python do not declare cv2.data.
        folder = Path(cv2.__file__).parent / "data"
        self._cascade = cv2.CascadeClassifier(str(folder / "haarcascade_frontalface_default.xml"))
        self._min_share = min_share
        self._min_score = min_score
        self._longest_side = longest_side
        # The cascade keeps the image that it works on.
        self._lock = threading.Lock()

    def __call__(self, image: NDArray[np.uint8]) -> list[Detection]:
        """Return frontal faces with a score that grows with the cascade's margin."""
        grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        scale = min(1.0, self._longest_side / max(grey.shape))
        if scale < 1:
            height, width = (max(1, round(side * scale)) for side in grey.shape)
            grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
        smallest = max(self.SMALLEST_FACE, round(min(grey.shape) * self._min_share))
        grey = cv2.equalizeHist(grey)
        with self._lock:
            boxes, _, weights = self._cascade.detectMultiScale3(
                grey,
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
        return left_to_right(_without_nested(sure))


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
    x, y = box.middle
    return other.x <= x <= other.x + other.width and other.y <= y <= other.y + other.height
