"""THE way from pixels to what a network sees: crop, grey or colour, resize.

Import, training, evaluation and recognition all go through `face_crop` and `to_batch`, so a model
sees the same thing everywhere. Brightness normalisation is not done here: it is the first layer of
every network and travels inside its file.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import ConfigError
from mien.records import Box

__all__ = ["TOLERATED_ROLL", "InputSpec", "face_crop", "fit", "to_batch"]

TOLERATED_ROLL: Final = 10.0
"""Degrees that cost models nothing (``benchmarks.crop``), while turning costs sharpness and found
eyes are a few degrees off. Only the excess is turned back, so that nothing jumps at the limit."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What a network sees.

    Attributes:
        size: side of the square input, pixels.
        channels: 1 (grey) or 3 (RGB).
        margin: how much the detector's box is widened on each side, as a share of its longer side.

    Raises:
        ConfigError: a value is out of range.
    """

    size: int = 48
    channels: int = 1
    margin: float = 0.0

    def __str__(self) -> str:
        margin = f", margin {self.margin:g}" if self.margin else ""
        return f"{self.size}x{self.size} {'grey' if self.channels == 1 else 'RGB'}{margin}"

    def __post_init__(self) -> None:
        if not 16 <= self.size <= 512:
            raise ConfigError(f"size {self.size}: expected 16 to 512 pixels")
        if self.channels not in (1, 3):
            raise ConfigError(f"channels {self.channels}: expected 1 (grey) or 3 (RGB)")
        if not -0.4 <= self.margin <= 2.0:
            raise ConfigError(f"margin {self.margin}: expected -0.4 to 2.0")


def face_crop(
    image: NDArray[np.uint8], box: Box | None, spec: InputSpec, *, roll: float = 0.0
) -> NDArray[np.uint8]:
    """Cut a face out of an image and fit it to a network's input.

    Args:
        image: RGB (H, W, 3) or grey (H, W), uint8.
        box: the face; None takes the whole image, stretched to a square.
        spec: what the network sees.
        roll: degrees by which the face is turned clockwise. What exceeds `TOLERATED_ROLL` is turned
            back about the box's middle.

    Returns:
        uint8 (size, size, channels). Where the square reaches over the image's edge, the edge
        pixels are repeated.
    """
    if box is None:
        return fit(image, spec)
    excess = math.copysign(max(0.0, abs(roll) - TOLERATED_ROLL), roll)
    cut = _cut_square if excess == 0 else partial(_cut_turned, roll=excess)
    return fit(cut(image, box, spec.margin), spec)


def fit(image: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    """Bring a whole image to (size, size, channels), uint8."""
    image = _to_channels(image, spec.channels)
    height, width = image.shape[:2]
    # Averaging over areas keeps small faces free of aliasing; enlarging needs a smooth curve. What
    # is too long one way and too short the other needs each in its turn.
    if min(height, width) < spec.size < max(height, width):
        within = min(width, spec.size), min(height, spec.size)
        image = np.asarray(cv2.resize(image, within, interpolation=cv2.INTER_AREA), np.uint8)
    if (height, width) != (spec.size, spec.size):
        smaller = min(height, width) >= spec.size
        how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, (spec.size, spec.size), interpolation=how), np.uint8)
    return image.reshape(spec.size, spec.size, spec.channels)


def to_batch(images: Sequence[NDArray[np.uint8]], spec: InputSpec) -> NDArray[np.float32]:
    """Stack fitted images, each (size, size, channels) uint8, to float32 (N, C, H, W), 0..1."""
    shape = (0, spec.size, spec.size, spec.channels)
    stacked = np.stack(images) if len(images) else np.empty(shape, np.uint8)
    return np.ascontiguousarray(stacked.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(255)


def _to_channels(image: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    grey = image.ndim == 2 or image.shape[2] == 1
    if channels == 1 and not grey:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    if channels == 3 and grey:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), np.uint8)
    return image


def _cut_square(image: NDArray[np.uint8], box: Box, margin: float) -> NDArray[np.uint8]:
    side = max(1.0, max(box.width, box.height) * (1 + 2 * margin))
    left = math.floor(box.x + box.width / 2 - side / 2 + 0.5)
    top = math.floor(box.y + box.height / 2 - side / 2 + 0.5)
    length = max(1, round(side))
    rows = np.clip(np.arange(top, top + length), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(left, left + length), 0, image.shape[1] - 1)
    return image[rows[:, None], columns[None, :]]


def _cut_turned(
    image: NDArray[np.uint8], box: Box, margin: float, *, roll: float
) -> NDArray[np.uint8]:
    side = max(1.0, max(box.width, box.height) * (1 + 2 * margin))
    length = max(1, round(side))
    x, y = box.x + box.width / 2, box.y + box.height / 2
    # OpenCV turns nothing whose sides reach 32,767 pixels: it is given what the square needs.
    angle = math.radians(roll)
    reach = length / 2 * (abs(math.cos(angle)) + abs(math.sin(angle)))
    rows, columns = _within(y, reach, image.shape[0]), _within(x, reach, image.shape[1])
    # Pixels have their middles at whole numbers, boxes their edges.
    turn = cv2.getRotationMatrix2D((length / 2 - 0.5, length / 2 - 0.5), -roll, 1.0)
    turn[0, 2] += x - length / 2 - columns.start
    turn[1, 2] += y - length / 2 - rows.start
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size, border = (length, length), cv2.BORDER_REPLICATE
    turned = cv2.warpAffine(image[rows, columns], turn, size, flags=flags, borderMode=border)
    return np.asarray(turned, np.uint8)


def _within(middle: float, reach: float, size: int) -> slice:
    """Return the pixels of a side that interpolation needs; its last one for what lies beyond."""
    first = min(max(0, math.floor(middle - reach) - 2), size - 1)
    return slice(first, max(first + 1, min(size, math.ceil(middle + reach) + 2)))
