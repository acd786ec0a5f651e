"""Drawing what was recognised onto a copy of the picture."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mien.records import Box, Face

__all__ = ["COLOURS", "PRINT_COLOURS", "annotate"]

COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "neutral": "#dfe4ea",
        "happiness": "#ffd43b",
        "sadness": "#74a9ff",
        "surprise": "#63e6be",
        "fear": "#d0a2f7",
        "disgust": "#a9e34b",
        "anger": "#ff7b72",
        "contempt": "#ffb26b",
    }
)
PRINT_COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "neutral": "#7d8b99",
        "happiness": "#d49a00",
        "sadness": "#3f7fe0",
        "surprise": "#12a182",
        "fear": "#9a5fd6",
        "disgust": "#75a01f",
        "anger": "#dc4a42",
        "contempt": "#dd7c26",
    }
)
"""The same hues, dark enough for a light page."""

_INK = "#14181d"
_PANEL = (20, 24, 29, 205)
_TEXT = "#f3f5f7"
_BARS = 3
_UNITS_FOR_BARS = 11.5
"""Narrower boxes, in the size of the writing, have no room for a name, a bar and a figure."""


def annotate(pixels: NDArray[np.uint8], faces: Iterable[Face]) -> NDArray[np.uint8]:
    """Return a copy with each face's box, emotion and confidence, and bars where there is room.

    Args:
        pixels: RGB (H, W, 3) or grey (H, W), uint8; left as it is.
        faces: what was recognised in it.

    Returns:
        RGB (H, W, 3), uint8.
    """
    grey = pixels.ndim == 2
    colour = np.asarray(
        cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if grey else pixels.copy(), np.uint8
    )
    size = (colour.shape[1], colour.shape[0])
    unit = max(10.0, min(size) / 42)
    for face in faces:
        _draw_face(colour, face, unit, size)
    return colour


def _draw_face(pixels: NDArray[np.uint8], face: Face, unit: float, size: tuple[int, int]) -> None:
    """Draw on the face's surroundings only: Pillow would take long over a whole frame."""
    x, y, width, height = face.box
    wide = max(width, _label_width(face, unit))
    left, right = _within(min(x, size[0] - wide) - unit, x + wide + unit, size[0])
    top, bottom = _within(y - 3 * unit, y + height + unit * (2 + 1.45 * _BARS), size[1])
    if left >= right or top >= bottom:
        return
    image = Image.fromarray(pixels[top:bottom, left:right])
    draw = ImageDraw.Draw(image, "RGBA")
    here = replace(face, box=Box(x - left, y - top, width, height))
    _draw_box(draw, here, unit)
    if width >= unit * _UNITS_FOR_BARS and y + height + unit * (1 + 1.45 * _BARS) <= size[1]:
        _draw_bars(draw, here, unit)
    _draw_label(draw, here, unit, image.size)
    pixels[top:bottom, left:right] = np.asarray(image)


def _within(low: float, high: float, end: int) -> tuple[int, int]:
    return max(0, math.floor(low)), min(end, math.ceil(high))


@lru_cache(maxsize=32)
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _label(face: Face) -> str:
    number = "" if face.track is None else f"{face.track}  "
    return f"{number}{face.emotion} {face.confidence:.0%}"


def _label_width(face: Face, unit: float) -> float:
    return _font(unit * 1.1).getlength(_label(face)) + unit


def _draw_box(draw: ImageDraw.ImageDraw, face: Face, unit: float) -> None:
    x, y, width, height = face.box
    line = max(2, round(unit / 6))
    # A dark rim on both sides keeps the line visible on any picture.
    for grow, colour in ((1, _INK), (0, _colour(face.emotion))):
        corners = (x - grow, y - grow, x + width + grow, y + height + grow)
        draw.rounded_rectangle(corners, unit / 2, outline=colour, width=line + 2 * grow)


def _draw_label(draw: ImageDraw.ImageDraw, face: Face, unit: float, size: tuple[int, int]) -> None:
    text, font = _label(face), _font(unit * 1.1)
    width, height = _label_width(face, unit), unit * 1.7
    x = min(max(0.0, face.box.x), max(0.0, size[0] - width))
    above = face.box.y - height - unit / 4
    y = above if above >= 0 else min(face.box.y + unit / 4, size[1] - height)
    draw.rounded_rectangle((x, y, x + width, y + height), unit / 2, fill=_colour(face.emotion))
    draw.text((x + width / 2, y + height / 2), text, fill=_INK, font=font, anchor="mm")


def _draw_bars(draw: ImageDraw.ImageDraw, face: Face, unit: float) -> None:
    """Draw the most probable emotions below the box, as wide as it."""
    row = unit * 1.45
    x, y = face.box.x, face.box.y + face.box.height + unit / 3
    end = y + row * _BARS + unit / 2
    font = _font(unit)
    draw.rounded_rectangle((x, y, x + face.box.width, end), unit / 2, fill=_PANEL)
    start, longest = x + unit * 5.8, face.box.width - unit * 9.1
    ranked = sorted(face.probabilities.items(), key=lambda item: -item[1])[:_BARS]
    for number, (emotion, probability) in enumerate(ranked):
        middle = y + unit / 4 + row * (number + 0.5)
        draw.text((x + unit / 2, middle), emotion, fill=_TEXT, font=font, anchor="lm")
        bar = (start, middle - unit * 0.3, start + max(1.0, longest * probability))
        draw.rectangle((*bar, middle + unit * 0.3), fill=_colour(emotion))
        right = (x + face.box.width - unit / 2, middle)
        draw.text(right, f"{probability:.0%}", fill=_TEXT, font=font, anchor="rm")


def _colour(emotion: str) -> str:
    # A model of other people's may know emotions beside the eight.
    return COLOURS.get(emotion, COLOURS["neutral"])
