"""Brushes: smooth curves, tapered strokes, crisp and soft fills on an RGB picture.

Knows pixels and curves; knows nothing about faces.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.drawn.parameters import Colour

Points = NDArray[np.float64]
Image = NDArray[np.uint8]
Window = tuple[slice, slice]

_SHIFT = 4  # fractional bits of the coordinates given to OpenCV
_SAMPLES = 8  # points a curve segment
_ANGLES = np.arange(32) * (2 * np.pi / 32)
_CIRCLE: NDArray[np.float64] = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], 1)


@lru_cache(maxsize=64)
def _spline_matrix(count: int, closed: bool) -> Points:
    """Return the matrix that takes `count` control points to a Catmull-Rom curve through them."""
    segments = count if closed else count - 1
    t = np.arange(_SAMPLES) / _SAMPLES
    basis = 0.5 * np.stack(
        [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2], 1
    )
    matrix = np.zeros((segments * _SAMPLES + (not closed), count))
    for segment in range(segments):
        for column in range(4):
            index = segment + column - 1
            index = index % count if closed else min(max(index, 0), count - 1)
            matrix[segment * _SAMPLES : (segment + 1) * _SAMPLES, index] += basis[:, column]
    if not closed:
        matrix[-1, -1] = 1.0
    return matrix


@lru_cache(maxsize=128)
def _stretch_matrix(given: int, wanted: int) -> Points:
    """Return the matrix that spreads `given` values linearly over `wanted` places."""
    place, every = np.linspace(0, given - 1, wanted), np.arange(given)
    return np.stack([np.interp(place, every, np.eye(given)[row]) for row in range(given)], 1)


def curve(points: ArrayLike) -> Points:
    """Return a smooth open curve through the points."""
    control = np.asarray(points, dtype=np.float64)
    return np.asarray(_spline_matrix(len(control), False) @ control)


def loop(points: ArrayLike) -> Points:
    """Return a smooth closed curve through the points."""
    control = np.asarray(points, dtype=np.float64)
    return np.asarray(_spline_matrix(len(control), True) @ control)


def ellipse(x: float, y: float, width: float, height: float) -> Points:
    """Return an ellipse given its centre and half axes."""
    return np.asarray(_CIRCLE * (width, height) + (x, y))


def moved(points: ArrayLike, x: float, y: float) -> Points:
    """Return the points shifted by x and y."""
    return np.asarray(np.asarray(points, dtype=np.float64) + (x, y))


def ribbon(line: Points, widths: ArrayLike) -> Points:
    """Return the outline of a stroke along `line` whose full width follows `widths`."""
    given = np.atleast_1d(np.asarray(widths, dtype=np.float64))
    half = 0.5 * _stretch_matrix(len(given), len(line)) @ given
    tangent = np.empty_like(line)
    tangent[1:-1] = line[2:] - line[:-2]
    tangent[0], tangent[-1] = line[1] - line[0], line[-1] - line[-2]
    tangent *= (half / (np.sqrt((tangent * tangent).sum(1)) + 1e-9))[:, None]
    across = tangent[:, ::-1] * (-1.0, 1.0)
    return np.concatenate([line + across, (line - across)[::-1]])


class Canvas:
    """An RGB picture to draw on; every coordinate is in its pixels."""

    def __init__(self, image: Image) -> None:
        self.image = image

    def fill(self, colour: Colour, *outlines: Points, alpha: float = 1.0) -> None:
        """Fill outlines, anti-aliased; an outline inside another cuts a hole."""
        if alpha >= 1:
            _fill(self.image, outlines, colour)
            return
        window = self._window(outlines, 1)
        if window is None or alpha <= 0:
            return
        below = self.image[window]
        layer = below.copy()
        _fill(layer, [outline - _origin(window) for outline in outlines], colour)
        cv2.addWeighted(layer, alpha, below, 1 - alpha, 0, dst=layer)
        self.image[window] = layer

    def soft(self, colour: Colour, *outlines: Points, alpha: float, blur: float) -> None:
        """Fill each outline with an edge that fades over about `blur` pixels."""
        if alpha <= 0.02:
            return
        window = self._window(outlines, 2.5 * blur + 1)
        if window is None:
            return
        weight = _soft_mask(window, outlines, blur)
        weight *= min(alpha, 1.0) / 255
        below = self.image[window]
        layer = np.empty_like(below)
        cv2.rectangle(layer, (0, 0), below.shape[1::-1], colour, cv2.FILLED)
        self.image[window] = cv2.blendLinear(layer, below, weight, 1 - weight)

    @contextmanager
    def clipped(self, *outlines: Points) -> Iterator[None]:
        """Keep what is drawn inside the outlines, drop the rest."""
        window = self._window(outlines, 1)
        before = self.image.copy()
        yield
        after, self.image[...] = self.image.copy(), before
        if window is None:
            return
        mask = np.zeros(after[window].shape[:2], np.uint8)
        _fill(mask, [outline - _origin(window) for outline in outlines], (255, 255, 255))
        weight = mask.astype(np.float32) / 255
        mixed = cv2.blendLinear(after[window], before[window], weight, 1 - weight)
        self.image[window] = mixed

    def multiply(self, gain: NDArray[np.float32]) -> None:
        """Multiply the picture by gains of its own shape."""
        self.image[...] = cv2.multiply(self.image, gain, dtype=cv2.CV_8U)

    def _window(self, outlines: tuple[Points, ...], margin: float) -> Window | None:
        points = np.concatenate(outlines) if len(outlines) > 1 else outlines[0]
        height, width = self.image.shape[:2]
        x, y, wide, high = cv2.boundingRect(points.astype(np.float32))
        reach = int(margin) + 1
        left, right = max(x - reach, 0), min(x + wide + reach, width)
        top, bottom = max(y - reach, 0), min(y + high + reach, height)
        if left >= right or top >= bottom:
            return None
        return slice(top, bottom), slice(left, right)


def _origin(window: Window) -> Points:
    return np.array([window[1].start, window[0].start], dtype=np.float64)


def _fill(image: Image, outlines: list[Points] | tuple[Points, ...], colour: Colour) -> None:
    # Half a pixel less: OpenCV puts whole coordinates at pixel centres.
    fixed = [np.rint((outline - 0.5) * (1 << _SHIFT)).astype(np.int32) for outline in outlines]
    cv2.fillPoly(image, fixed, colour, cv2.LINE_AA, _SHIFT)


def _soft_mask(window: Window, outlines: tuple[Points, ...], blur: float) -> NDArray[np.float32]:
    # A wide blur is drawn small and enlarged: same look, and the cost does not grow with it.
    step = max(1, int(blur / 1.4))
    rows, columns = (part.stop - part.start for part in window)
    mask = np.zeros((-(-rows // step), -(-columns // step)), np.uint8)
    for outline in outlines:
        _fill(mask, [(outline - _origin(window)) / step], (255, 255, 255))
    soft = cv2.GaussianBlur(mask, (0, 0), max(blur / step, 0.3))
    if step > 1:
        soft = cv2.resize(soft, (columns, rows), interpolation=cv2.INTER_LINEAR)
    return soft.astype(np.float32)
