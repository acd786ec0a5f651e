"""A picture and what was recognised in it, as notebooks show it."""

import io
import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.annotate import annotate
from mien.images import write_image
from mien.records import Face

__all__ = ["Picture"]

_SHOWN = 1024
"""Sides of what a notebook shows, pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture and its faces; a notebook shows it with boxes and emotions.

    Attributes:
        pixels: RGB (H, W, 3) or grey (H, W), uint8.
        faces: left to right.
    """

    pixels: NDArray[np.uint8]
    faces: tuple[Face, ...]

    def annotated(self) -> NDArray[np.uint8]:
        """Return a copy with boxes and emotions: RGB (H, W, 3), uint8."""
        return annotate(self.pixels, self.faces)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the annotated copy; the suffix chooses the format."""
        write_image(path, self.annotated())

    def __repr__(self) -> str:
        """Return the faces in words: a whole picture's numbers help nobody."""
        height, width = self.pixels.shape[:2]
        faces = ", ".join(f"{face.emotion} {face.confidence:.0%}" for face in self.faces)
        return f"Picture({width}x{height}: {faces or 'no face found'})"

    def _repr_png_(self) -> bytes:
        """Return what a notebook shows: a smaller one of a large picture, or it grows by that."""
        buffer = io.BytesIO()
        image = Image.fromarray(self.annotated())
        image.thumbnail((_SHOWN, _SHOWN))
        image.save(buffer, format="PNG")
        return buffer.getvalue()
