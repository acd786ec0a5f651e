"""Drawing what was recognised onto a copy of the picture."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mien.records import Box, Face

__all__ = ["COLOURS", "PRINT_COLOURS", "annotate"]

COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "neutral": "#f4f9ff",
        "happiness": "#ffe66c",
        "sadness": "#9eb4ff",
        "surprise": "#74dfc8",
        "fear": "#ac7dcc",
        "disgust": "#6f9d04",
        "anger": "#ea8088",
        "contempt": "#f7af64",
    }
)
"""For boxes, bars and dark pages. Who sees no red or no green tells them apart by lightness."""

PRINT_COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "neutral": "#6e7c8a",
        "happiness": "#be8c07",
        "sadness": "#4a7ce7",
        "surprise": "#15a97c",
        "fear": "#8855af",
        "disgust": "#195b02",
        "anger": "#b50038",
        "contempt": "#b56533",
    }
)
"""About the same hues, dark enough for a light page."""

_INK = "#14181d"
_PANEL = (20, 24, 29, 205)
_TEXT = "#f3f5f7"
_SMALLEST = 10.0
"""Size of the writing, pixels."""

_BARS = 3
_UNITS_FOR_BARS = 11.5
"""Narrower boxes, in the size of the writing, have no room for a name, a bar and a figure."""


class _Label(NamedTuple):
    """A few words, and where they stand."""

    text: str
    place: Box


def annotate(pixels: NDArray[np.uint8], faces: Iterable[Face]) -> NDArray[np.uint8]:
    """Return a copy with each face's box, emotion and confidence, and bars where there is room.

    Where faces are so close that their labels would hide each other, these are written smaller, or
    without the emotion, whose colour the box has.

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
    shown = list(faces)
    unit, labels = _labelled(shown, size)
    for face in shown:
        _draw_face(colour, face, unit, size, [other.box for other in shown if other is not face])
    for face, label in zip(shown, labels, strict=True):
        _draw_label(colour, label, face.emotion, unit)
    return colour


def _labelled(faces: Sequence[Face], size: tuple[int, int]) -> tuple[float, list[_Label]]:
    """Return the size of the writing, and each face's label: as large as they fit beside others."""
    unit = max(_SMALLEST, min(size) / 42)
    while True:
        labels: list[_Label] = []
        for face in faces:
            labels.append(_label(face, unit, size, [label.place for label in labels]))
        whole = all(
            label.text == _words(face)[0] for label, face in zip(labels, faces, strict=True)
        )
        if whole or unit == _SMALLEST:
            return unit, labels
        unit = max(_SMALLEST, unit / 1.25)


def _label(face: Face, unit: float, size: tuple[int, int], taken: Sequence[Box]) -> _Label:
    """Write above a face, or inside its box where the edge or another label is in the way."""
    height = unit * 1.7
    inside = min(face.box.y + unit / 4, size[1] - height)
    free = [y for y in (face.box.y - height - unit / 4, inside) if y >= 0] or [inside]
    places = []
    for text in _words(face):
        width = _font(unit * 1.1).getlength(text) + unit
        x = min(max(0.0, face.box.x), max(0.0, size[0] - width))
        places += [_Label(text, Box(x, y, width, height)) for y in free]
    clear = (label for label in places if not any(map(label.place.overlap, taken)))
    return next(clear, places[-len(free)])


def _draw_face(
    pixels: NDArray[np.uint8],
    face: Face,
    unit: float,
    size: tuple[int, int],
    others: Sequence[Box],
) -> None:
    """Draw on the face's surroundings only: Pillow would take long over a whole frame."""
    x, y, width, height = face.box
    tall = unit * (1 + 1.45 * _BARS)
    surroundings = Box(x - unit, y - unit, width + 2 * unit, height + unit + tall + unit)
    if (region := _within(surroundings, size)) is None:
        return
    image = Image.fromarray(pixels[region])
    draw = ImageDraw.Draw(image, "RGBA")
    here = replace(face, box=Box(x - region[1].start, y - region[0].start, width, height))
    _draw_box(draw, here, unit)
    below = Box(x, y + height, width, tall)
    room = width >= unit * _UNITS_FOR_BARS and y + height + tall <= size[1]
    if room and not any(map(below.overlap, others)):
        _draw_bars(draw, here, unit)
    pixels[region] = np.asarray(image)


def _within(box: Box, size: tuple[int, int]) -> tuple[slice, slice] | None:
    """Return the rows and columns of a picture that a box touches; None: it lies outside."""
    left, right = max(0, math.floor(box.x)), min(size[0], math.ceil(box.x + box.width))
    top, bottom = max(0, math.floor(box.y)), min(size[1], math.ceil(box.y + box.height))
    return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None


@lru_cache(maxsize=32)
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _words(face: Face) -> tuple[str, str]:
    """Return what is written of a face, and the least that is, where there is no room."""
    share = f"{face.confidence:.0%}"
    if face.track is None:
        return f"{face.emotion} {share}", share
    return f"{face.track}  {face.emotion} {share}", str(face.track)


def _draw_box(draw: ImageDraw.ImageDraw, face: Face, unit: float) -> None:
    x, y, width, height = face.box
    line = max(2, round(unit / 6))
    # A dark rim on both sides keeps the line visible on any picture.
    for grow, colour in ((1, _INK), (0, _colour(face.emotion))):
        corners = (x - grow, y - grow, x + width + grow, y + height + grow)
        draw.rounded_rectangle(corners, unit / 2, outline=colour, width=line + 2 * grow)


def _draw_label(pixels: NDArray[np.uint8], label: _Label, emotion: str, unit: float) -> None:
    if (region := _within(label.place, (pixels.shape[1], pixels.shape[0]))) is None:
        return
    image = Image.fromarray(pixels[region])
    draw = ImageDraw.Draw(image)
    x, y = label.place.x - region[1].start, label.place.y - region[0].start
    width, height = label.place.width, label.place.height
    draw.rounded_rectangle((x, y, x + width, y + height), unit / 2, fill=_colour(emotion))
    middle = (x + width / 2, y + height / 2)
    draw.text(middle, label.text, fill=_INK, font=_font(unit * 1.1), anchor="mm")
    pixels[region] = np.asarray(image)


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
