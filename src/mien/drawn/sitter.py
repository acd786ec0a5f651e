"""The person being painted: where a point of the face lands in the picture, and their colours.

Face units: the origin is the middle of the face box, x grows to the right of the picture and y
downwards, and the box a face detector would give spans -1..1 both ways (hairline to chin).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
from numpy.typing import ArrayLike

from mien.drawn.canvas import Canvas, Points
from mien.drawn.expression import ActionUnits, action_units
from mien.drawn.parameters import Colour, FaceParameters

# Half axes of the ellipsoid on which the features lie, and its centre's height.
_HEAD_X, _HEAD_Y, _HEAD_Z, _HEAD_MIDDLE = 0.92, 1.5, 0.75, -0.1
_HEAD_REACH = np.array([_HEAD_X**-2, _HEAD_Y**-2])

_SKIN_TONES: tuple[Colour, ...] = (
    (255, 226, 208),
    (248, 210, 184),
    (236, 190, 156),
    (218, 165, 126),
    (192, 137, 98),
    (160, 109, 77),
    (126, 83, 59),
    (96, 63, 47),
    (74, 49, 40),
)


@dataclass(frozen=True, slots=True)
class View:
    """Takes face units to pixels."""

    unit: float  # pixels a face unit
    turn: Points  # (3, 2), pixels by x, y and depth
    centre: Points  # pixel of the origin

    def flat(self, points: ArrayLike, depth: float | Points = 0.0) -> Points:
        """Place points given their depth towards the viewer (0: the head's outline)."""
        given = np.asarray(points, dtype=np.float64)
        placed = given @ self.turn[:2] + self.centre
        return np.asarray(placed + np.multiply.outer(np.asarray(depth), self.turn[2]))

    def on(self, points: ArrayLike, lift: float = 0.0) -> Points:
        """Place points that lie on the face, or `lift` above it."""
        given = np.asarray(points, dtype=np.float64)
        reach = ((given - (0.0, _HEAD_MIDDLE)) ** 2) @ _HEAD_REACH
        return self.flat(given, _HEAD_Z * np.sqrt(np.maximum(1 - reach, 0.0)) + lift)


def view(centre: tuple[float, float], unit: float, yaw: float, pitch: float, roll: float) -> View:
    """Return the view of a head by its pose in degrees: turned, then rolled, scaled and placed."""
    cos_yaw, sin_yaw = cos(radians(yaw)), sin(radians(yaw))
    cos_pitch, sin_pitch = cos(radians(pitch)), sin(radians(pitch))
    cos_roll, sin_roll = cos(radians(roll)), sin(radians(roll))
    posed = np.array(
        [(cos_yaw, sin_yaw * sin_pitch), (0.0, cos_pitch), (sin_yaw, -cos_yaw * sin_pitch)]
    )
    rolled = unit * np.array([(cos_roll, sin_roll), (-sin_roll, cos_roll)])
    # A detector centres on the features, so half of their drift is taken back.
    drift = 0.5 * _HEAD_Z * np.array([-sin_yaw, sin_pitch])
    return View(unit, posed @ rolled, drift @ rolled + np.array(centre))


@dataclass(frozen=True, slots=True)
class Sitter:
    """One person on one canvas."""

    canvas: Canvas
    view: View
    body: View  # the body turns less than the head
    face: FaceParameters
    units: ActionUnits
    skin: Colour
    shadow: Colour
    light: Colour
    line: Colour

    def px(self, length: float) -> float:
        """Return a length in pixels."""
        return length * self.view.unit

    @property
    def jaw_drop(self) -> float:
        """How far the chin hangs below its rest, in face units."""
        return 0.10 * max(self.units.of(26), 0.0)


def seat(canvas: Canvas, centre: tuple[float, float], unit: float, face: FaceParameters) -> Sitter:
    """Place a person before the canvas, `unit` pixels being half of their face box."""
    skin = skin_colour(face)
    return Sitter(
        canvas=canvas,
        view=view(centre, unit, face.yaw, face.pitch, face.roll),
        body=view(centre, unit, 0.3 * face.yaw, 0.0, 0.0),
        face=face,
        units=action_units(face),
        skin=skin,
        shadow=scaled(skin, (0.70, 0.56, 0.52)),
        light=mixed(scaled(skin, 1.22), (255, 246, 232), 0.12 + 0.2 * (1 - face.skin_tone)),
        line=scaled(skin, (0.34, 0.24, 0.23)),
    )


def skin_colour(face: FaceParameters) -> Colour:
    """Return the colour of evenly lit skin."""
    place = face.skin_tone * (len(_SKIN_TONES) - 1)
    index = min(int(place), len(_SKIN_TONES) - 2)
    tone = mixed(_SKIN_TONES[index], _SKIN_TONES[index + 1], place - index)
    rosy = 0.025 * face.undertone
    return scaled(tone, (1 + rosy, 1 - rosy / 2, 1 + rosy / 2))


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """Return `share` of the second colour in the first."""
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return (red, green, blue)


def scaled(colour: Colour, gain: Colour | float) -> Colour:
    """Return a colour multiplied by a gain, kept within 0..255."""
    gains = (gain, gain, gain) if isinstance(gain, (int, float)) else gain
    red, green, blue = (min(max(a * b, 0.0), 255.0) for a, b in zip(colour, gains, strict=True))
    return (red, green, blue)
