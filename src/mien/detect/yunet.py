"""YuNet, by way of OpenCV, from a file that the user brings.

Wu, Peng and Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research,
2023.
"""

import threading
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.detect.base import left_to_right
from mien.errors import ModelError
from mien.quiet import quiet_opencv
from mien.records import Box, Detection

__all__ = ["YuNet"]


class YuNet:
    """OpenCV's ``FaceDetectorYN`` on a copy of the image of limited size.

    Args:
        path: a file such as ``face_detection_yunet_2023mar.onnx`` of the OpenCV Zoo.
        longest_side: of the copy that is searched, pixels.
        min_score: detections less sure than this are dropped, 0..1.

    Raises:
        ModelError: OpenCV cannot make a face detector of the file.
    """

    GROWTH: Final = 1.0
    DROP: Final = -0.02
    """As for CenterFace, which learnt from the same annotations; not fitted to YuNet itself."""

    def __init__(self, path: Path, *, longest_side: int = 640, min_score: float = 0.7) -> None:
        try:
            with quiet_opencv():
                self._network = cv2.FaceDetectorYN.create(str(path), "", (320, 320), min_score)
        except cv2.error:
            raise ModelError(f"{path}: OpenCV cannot make a YuNet detector of it") from None
        self._longest_side = longest_side
        self._lock = threading.Lock()

    def __call__(self, image: NDArray[np.uint8]) -> list[Detection]:
        """Return the faces of an image with their eyes, left to right."""
        code = cv2.COLOR_GRAY2BGR if image.ndim == 2 else cv2.COLOR_RGB2BGR
        scale = min(1.0, self._longest_side / max(image.shape[:2]))
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        copy = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), code)
        with self._lock:
            self._network.setInputSize(size)
            _, rows = self._network.detect(copy)
        # x, y, width, height, five points as x and y (the image's left eye first), score.
        return left_to_right(
            self._detection(row / scale, float(row[14]))
            for row in ([] if rows is None else np.asarray(rows, np.float64))
        )

    def _detection(self, row: NDArray[np.float64], score: float) -> Detection:
        x, y, width, height = (float(value) for value in row[:4])
        side = height * self.GROWTH
        top = y + height * (0.5 + self.DROP) - side / 2
        eyes = ((float(row[4]), float(row[5])), (float(row[6]), float(row[7])))
        return Detection(Box(x + width / 2 - side / 2, top, side, side), score, eyes)
