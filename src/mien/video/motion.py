"""How boxes move from one frame to the next: sparse optical flow, and where a film is cut.

Works on small grey copies of the frames, so that it costs a millisecond or two. Knows boxes and
pixels, not whose face is in them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.records import Box

__all__ = ["Glance", "follow", "glance", "is_cut"]

_LONGEST_SIDE: Final = 320
_GRID: Final = 6
_INNER: Final = 0.7
"""The points lie in the middle of the box: its corners show the background."""

_FEWEST: Final = 8
_RETURN_ERROR: Final = 0.04
"""A point must find its way back to within this share of the box's side, at least half a pixel."""

_LARGEST_GROWTH: Final = 1.25
_CUT: Final = 25.0
"""Mean difference of two thumbnails, grey levels. A fast pan reaches it, too; that does no harm,
because after a cut faces are looked for at once and known again by their looks."""


@dataclass(frozen=True, slots=True)
class Glance:
    """A small grey copy of a frame.

    Attributes:
        grey: (h, w), uint8.
        scale: its pixels for one of the frame's.
        thumbnail: (24, 32), float32, mean 0.
    """

    grey: NDArray[np.uint8]
    scale: float
    thumbnail: NDArray[np.float32]


def glance(image: NDArray[np.uint8]) -> Glance:
    """Take a small copy of a frame, RGB (H, W, 3) or grey (H, W), uint8."""
    height, width = image.shape[:2]
    scale = min(1.0, _LONGEST_SIDE / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    grey = np.asarray(
        small if small.ndim == 2 else cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8
    )
    thumbnail = cv2.resize(grey, (32, 24), interpolation=cv2.INTER_AREA).astype(np.float32)
    return Glance(grey, scale, thumbnail - thumbnail.mean())


def is_cut(before: Glance, after: Glance) -> bool:
    """Whether two frames in a row show different scenes; a change of brightness alone is none."""
    return float(np.abs(before.thumbnail - after.thumbnail).mean()) > _CUT


def follow(before: Glance, after: Glance, boxes: Sequence[Box]) -> list[Box | None]:
    """Return where each box has moved and grown to, or None where it was lost from sight.

    The median shift and growth of a grid of points that Lucas-Kanade flow finds both ways
    (Kalal, Mikolajczyk and Matas, "Forward-Backward Error", ICPR 2010).
    """
    if not boxes:
        return []
    if before.grey.shape != after.grey.shape:
        return [None] * len(boxes)
    start = np.concatenate([_grid(box, before.scale) for box in boxes])
    there, seen, _ = _flow(before.grey, after.grey, start)
    back, _, _ = _flow(after.grey, before.grey, there)
    error = np.linalg.norm(back - start, axis=1)
    rows = np.arange(len(start)).reshape(len(boxes), -1)
    return [
        _moved(box, start[own], there[own], seen[own, 0] > 0, error[own], before.scale)
        for box, own in zip(boxes, rows, strict=True)
    ]


def _grid(box: Box, scale: float) -> NDArray[np.float32]:
    steps = 0.5 + _INNER * (np.arange(_GRID) / (_GRID - 1) - 0.5)
    x, y = np.meshgrid(box.x + steps * box.width, box.y + steps * box.height)
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32) * np.float32(scale)


def _flow(
    before: NDArray[np.uint8], after: NDArray[np.uint8], points: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.float32]]:
    there, seen, error = cv2.calcOpticalFlowPyrLK(
        before, after, points, np.empty_like(points), winSize=(13, 13), maxLevel=3
    )
    return np.asarray(there, np.float32), np.asarray(seen), np.asarray(error)


def _moved(
    box: Box,
    start: NDArray[np.float32],
    there: NDArray[np.float32],
    seen: NDArray[np.bool_],
    error: NDArray[np.float32],
    scale: float,
) -> Box | None:
    good = seen & (error < max(0.5, _RETURN_ERROR * max(box.width, box.height) * scale))
    if good.sum() < _FEWEST:
        return None
    start, there = start[good], there[good]
    shift = np.median(there - start, axis=0) / scale
    growth = _growth(start, there)
    if not 1 / _LARGEST_GROWTH < growth < _LARGEST_GROWTH:
        return None
    width, height = box.width * growth, box.height * growth
    x = box.x + float(shift[0]) - (width - box.width) / 2
    y = box.y + float(shift[1]) - (height - box.height) / 2
    return Box(x, y, width, height)


def _growth(start: NDArray[np.float32], there: NDArray[np.float32]) -> float:
    """The median ratio of the distances between points, taken between distant pairs."""
    half = len(start) // 2
    before = np.linalg.norm(start[half : 2 * half] - start[:half], axis=1)
    after = np.linalg.norm(there[half : 2 * half] - there[:half], axis=1)
    return float(np.median(after / np.maximum(before, 1e-3)))
