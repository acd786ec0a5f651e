"""Drawn faces: people made of curves who show the eight emotions.

Every picture is decided by its parameters, and those by a seed, so a data set of any size is one
number long. Expressions follow facial action units (see `expression`). This package draws; it
refuses to know about photographs, data sets, models or files.
"""

from mien.drawn.parameters import FaceParameters, sample_parameters
from mien.drawn.scene import draw_face, draw_portrait, draw_scene

__all__ = [
    "FaceParameters",
    "draw_face",
    "draw_portrait",
    "draw_scene",
    "sample_parameters",
]
