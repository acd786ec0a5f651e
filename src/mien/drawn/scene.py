"""Whole pictures: one face, a portrait, several people together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.drawn.canvas import Canvas, Image, ellipse
from mien.drawn.dress import paint_beard, paint_body, paint_glasses, paint_hair, paint_hair_behind
from mien.drawn.face import paint_brows, paint_head, paint_mouth
from mien.drawn.parameters import FaceParameters, check_emotion, sample_parameters
from mien.drawn.scenery import gradient, scenery
from mien.drawn.sitter import mixed, scaled, seat

Box = tuple[float, float, float, float]


def draw_face(parameters: FaceParameters, *, size: int = 96) -> NDArray[np.uint8]:
    """Draw one face as a face detector would crop it; RGB, (size, size, 3)."""
    check_emotion(parameters.emotion)
    half = 0.5 * size
    centre = (half * (1 + parameters.shift_x), half * (1 + parameters.shift_y))
    return _finished(_framed(parameters, size, centre, half * parameters.scale), parameters)


def draw_portrait(parameters: FaceParameters, *, size: int = 256) -> NDArray[np.uint8]:
    """Draw head and shoulders; RGB, (size, size, 3)."""
    check_emotion(parameters.emotion)
    centre = (0.5 * size, 0.52 * size)
    return _finished(_framed(parameters, size, centre, 0.27 * size), parameters)


def _framed(face: FaceParameters, size: int, centre: tuple[float, float], unit: float) -> Image:
    # Small pictures need the finer raster; large ones are smooth enough at twice their size.
    fine = 3 if size <= 128 else 2
    image = np.empty((size * fine, size * fine, 3), np.uint8)
    _paint_background(Canvas(image), face)
    _paint_person(image, (centre[0] * fine, centre[1] * fine), unit * fine, face)
    return _as_image(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA))


def _paint_person(
    image: Image, centre: tuple[float, float], unit: float, face: FaceParameters
) -> None:
    sitter = seat(Canvas(image), centre, unit, face)
    paint_hair_behind(sitter)
    paint_body(sitter)
    paint_head(sitter)
    paint_beard(sitter)
    paint_mouth(sitter)
    paint_brows(sitter)
    paint_hair(sitter)
    paint_glasses(sitter)


def _paint_background(canvas: Canvas, face: FaceParameters) -> None:
    first, second = face.background_colours
    rows, columns = canvas.image.shape[:2]
    if face.background == "plain":
        canvas.image[...] = np.array(first, np.uint8)
        return
    canvas.image[...] = gradient(rows, columns, first, second)
    rng = np.random.default_rng(face.noise_seed + 2)
    if face.background == "lights":
        for x, y, radius in rng.uniform((0, 0, 0.04), (1, 1, 0.13), (9, 3)):
            spot = ellipse(x * columns, y * rows, radius * rows, radius * rows)
            canvas.fill(mixed(second, (255, 250, 235), 0.6), spot, alpha=0.35)
    if face.background == "stripes":
        for x, width in rng.uniform((0, 0.03), (1, 0.12), (5, 2)) * columns:
            bar = np.array([(x, 0), (x + width, 0), (x + width, rows), (x, rows)])
            canvas.soft(scaled(second, 0.8), bar, alpha=0.6, blur=0.015 * columns)


def _finished(image: Image, face: FaceParameters) -> Image:
    """Return the picture as a camera would have taken it: light, blur, noise."""
    picture = image.astype(np.float32)
    picture *= np.array(face.light_colour, np.float32) * np.float32(face.exposure)
    if face.blur > 0.2:
        sigma = face.blur / 100 * image.shape[1]
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), max(sigma, 0.2)), np.float32)
    if face.noise > 0:
        rng = np.random.default_rng(face.noise_seed + 3)
        picture += face.noise * rng.standard_normal(picture.shape, dtype=np.float32)
    return _as_image(np.clip(picture + 0.5, 0, 255))


def _as_image(array: object) -> Image:
    return np.asarray(array, dtype=np.uint8)


def draw_scene(
    emotions: Sequence[str], *, seed: int, width: int = 960, height: int = 540
) -> tuple[NDArray[np.uint8], list[Box]]:
    """Draw people together, one an emotion; return the picture and each face's box x, y, w, h."""
    for emotion in emotions:
        check_emotion(emotion)
    rng = np.random.default_rng([seed, len(emotions)])
    fine = 2
    image = scenery(rng, width * fine, height * fine)
    places = _places(len(emotions), rng, width, height)
    # The back row first: people in front cover it.
    for index in sorted(range(len(emotions)), key=lambda i: places[i][1]):
        x, y, unit = places[index]
        face = _scene_face(emotions[index], seed + 101 * index, rng)
        _paint_person(image, (x * fine, y * fine), unit * fine, face)
    small = _as_image(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))
    return small, [(x - unit, y - unit, 2 * unit, 2 * unit) for x, y, unit in places]


def _scene_face(emotion: str, seed: int, rng: np.random.Generator) -> FaceParameters:
    yaw, roll = np.clip(rng.normal(0, 3.5, 2), -8, 8)
    face = sample_parameters(emotion, seed=seed, clean=True)
    return replace(face, yaw=float(yaw), roll=float(roll), scale=1.0, light_direction=115.0)


def _places(
    count: int, rng: np.random.Generator, width: int, height: int
) -> list[tuple[float, float, float]]:
    """Return each person's face centre and half size, in pixels."""
    rows = 1 if count <= 5 else 2
    columns = max(-(-count // rows), 1)
    spacing = width / (columns + (0.5 if rows > 1 else 0.0))
    # Shoulders may overlap; faces and hair stay clear of each other and of the frame.
    unit = min(spacing / 2.6, height / (3.9 if rows == 1 else 5.6))
    places = []
    for index in range(count):
        row, column = index % rows, index // rows
        x = (column + 0.5 + 0.5 * row) * spacing + rng.uniform(-0.08, 0.08) * unit
        middle = 0.52 if rows == 1 else (0.66, 0.32)[row]
        y = middle * height + rng.uniform(-0.25, 0.2) * unit
        places.append((float(x), float(y), float(unit * rng.uniform(0.92, 1.0))))
    return places
