"""Backgrounds of scenes: a park, a room, a town at dusk, all a little out of focus."""

from __future__ import annotations

import cv2
import numpy as np

from mien.drawn.canvas import Canvas, Image, Points, ellipse, moved
from mien.drawn.parameters import Colour
from mien.drawn.sitter import mixed, scaled

_WALLS: tuple[Colour, ...] = ((226, 214, 196), (198, 208, 190), (214, 190, 172), (190, 202, 212))


def gradient(rows: int, columns: int, top: Colour, bottom: Colour) -> Image:
    """Return a picture that runs from one colour at the top to another at the bottom."""
    ramp = np.linspace(0, 1, rows)[:, None]
    column = np.array(top) * (1 - ramp) + np.array(bottom) * ramp
    return np.repeat(column.astype(np.uint8)[:, None, :], columns, axis=1)


def scenery(rng: np.random.Generator, width: int, height: int) -> Image:
    """Paint a place, out of focus as behind people who stand in front of it."""
    paint = (_park, _room, _dusk)[int(rng.integers(3))]
    # It will be blurred, so a quarter of the raster is enough.
    image = paint(rng, max(width // 4, 8), max(height // 4, 8))
    soft = cv2.GaussianBlur(image, (0, 0), max(0.008 * image.shape[1], 0.5))
    full = cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(full, dtype=np.uint8)


def _box(left: float, top: float, right: float, bottom: float) -> Points:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], dtype=np.float64)


def _ridge(rng: np.random.Generator, width: int, height: int, level: float, swell: float) -> Points:
    """Return the outline of hills whose crest runs about `level` of the height."""
    x = np.linspace(0, 1, 48)
    crest = sum(np.sin(rng.uniform(0, 6.3) + k * rng.uniform(4, 6) * x) / k for k in (1, 2, 3))
    points = np.stack([x * width, (level + swell * np.asarray(crest)) * height], 1)
    return np.concatenate([points, [(width, height), (0, height)]])


def _park(rng: np.random.Generator, width: int, height: int) -> Image:
    image = gradient(height, width, (142, 190, 228), (244, 238, 222))
    canvas = Canvas(image)
    sun = ellipse(rng.uniform(0.1, 0.9) * width, 0.22 * height, 0.10 * height, 0.10 * height)
    canvas.soft((255, 246, 214), sun, alpha=0.9, blur=0.08 * height)
    near: Colour = (96, 146, 84)
    for level, haze in ((0.48, 0.6), (0.58, 0.35), (0.72, 0.0)):
        canvas.fill(mixed(near, (206, 220, 222), haze), _ridge(rng, width, height, level, 0.035))
        if haze < 0.5:
            _trees(canvas, rng, level, mixed(scaled(near, 0.8), (206, 220, 222), haze))
    return image


def _trees(canvas: Canvas, rng: np.random.Generator, level: float, leaf: Colour) -> None:
    height, width = canvas.image.shape[:2]
    for x in rng.uniform(0, width, 6):
        size = rng.uniform(0.07, 0.13) * height
        canvas.fill(
            (104, 78, 60),
            _box(x - 0.1 * size, level * height - size, x + 0.1 * size, level * height),
        )
        for dx, dy in rng.normal(0, 0.5, (7, 2)):
            crown = ellipse(
                x + dx * size, level * height + (dy - 1.6) * size, 0.6 * size, 0.55 * size
            )
            canvas.fill(scaled(leaf, float(rng.uniform(0.9, 1.15))), crown)


def _room(rng: np.random.Generator, width: int, height: int) -> Image:
    wall = _WALLS[int(rng.integers(len(_WALLS)))]
    image = gradient(height, width, scaled(wall, 1.06), scaled(wall, 0.82))
    canvas = Canvas(image)
    left = float(rng.uniform(0.08, 0.6)) * width
    _window(canvas, left, 0.06 * height, 0.3 * width, 0.5 * height)
    frame = (left + 0.48 * width) % (0.85 * width)
    canvas.fill(scaled(wall, 0.55), _box(frame, 0.14 * height, frame + 0.10 * width, 0.38 * height))
    print_ = _box(frame + 0.012 * width, 0.165 * height, frame + 0.088 * width, 0.355 * height)
    canvas.fill((232, 206, 164), print_)
    canvas.fill((150, 108, 76), _box(0, 0.72 * height, width, height))
    canvas.fill((172, 128, 92), _box(0, 0.72 * height, width, 0.745 * height))
    for x in rng.uniform(0.05, 0.95, 3) * width:
        _plant(canvas, rng, float(x), 0.72 * height, 0.16 * height)
    return image


def _window(canvas: Canvas, left: float, top: float, wide: float, high: float) -> None:
    canvas.fill((246, 244, 238), _box(left - 3, top - 3, left + wide + 3, top + high + 3))
    for column in (0, 1):
        pane = left + column * 0.51 * wide
        canvas.fill((190, 220, 238), _box(pane, top, pane + 0.49 * wide, top + high))
        canvas.fill((172, 200, 164), _box(pane, top + 0.7 * high, pane + 0.49 * wide, top + high))


def _plant(canvas: Canvas, rng: np.random.Generator, x: float, y: float, size: float) -> None:
    for angle in rng.uniform(-1.1, 1.1, 9):
        tip = np.array([np.sin(angle), -np.cos(angle)]) * size
        across = np.array([-tip[1], tip[0]]) * 0.16
        root = np.array([x, y - 0.35 * size])
        leaf = np.array([root, root + 0.5 * tip + across, root + tip, root + 0.5 * tip - across])
        canvas.fill((rng.uniform(60, 110), rng.uniform(120, 156), rng.uniform(70, 100)), leaf)
    rim, foot = 0.3 * size, 0.22 * size
    pot = np.array([(-rim, -0.4 * size), (rim, -0.4 * size), (foot, 0.0), (-foot, 0.0)])
    canvas.fill((196, 120, 84), moved(pot, x, y))


def _dusk(rng: np.random.Generator, width: int, height: int) -> Image:
    image = gradient(height, width, (74, 84, 134), (240, 178, 142))
    canvas = Canvas(image)
    for x in np.arange(-0.02, 1.0, 0.085) * width:
        wide, top = rng.uniform(0.06, 0.10) * width, rng.uniform(0.3, 0.62) * height
        canvas.fill(
            mixed((64, 62, 96), (150, 112, 124), float(rng.uniform(0, 0.5))),
            _box(x, top, x + wide, height),
        )
    for x, y, size in rng.uniform((0, 0.42, 0.008), (1, 1, 0.026), (46, 3)):
        spot = ellipse(x * width, y * height, size * width, size * width)
        canvas.fill((255, rng.uniform(190, 235), rng.uniform(120, 190)), spot, alpha=0.55)
    return image
