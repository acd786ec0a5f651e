"""Expressions as facial action units.

Follows the Facial Action Coding System (Ekman & Friesen 1978) and the EMFACS prototypes: an
expression is how far each action unit (AU) is contracted, 0 at rest and 1 in full. This module
knows which emotion moves which units; where a unit moves the skin is the painter's business.

    happiness  AU6 + AU12 (+ AU25: lips part over the teeth)
    sadness    AU1 + AU4 + AU15 (+ AU17 chin raise, AU43 drooping lids)
    surprise   AU1 + AU2 + AU5 + AU25 + AU26
    fear       AU1 + AU2 + AU4 + AU5 + AU20 (+ AU25)
    disgust    AU9 + AU10 + AU15 + AU16 (+ AU7: narrowed eyes)
    anger      AU4 + AU5 + AU7 + AU23, lips pressed (AU17) or square (AU10 + AU16 + AU25)
    contempt   AU12 + AU14, on one side only
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mien.drawn.parameters import FaceParameters

_PROTOTYPES: Mapping[str, Mapping[int, float]] = {
    "neutral": {},
    "happiness": {6: 1.0, 12: 1.0},
    "sadness": {1: 1.0, 4: 0.6, 15: 1.0, 17: 0.6, 43: 0.5},
    "surprise": {1: 1.0, 2: 1.0, 5: 0.9, 25: 1.0, 26: 0.9},
    "fear": {1: 1.0, 2: 0.5, 4: 0.75, 5: 1.0, 20: 1.0, 25: 0.6, 26: 0.1},
    "disgust": {4: 0.4, 7: 0.5, 9: 1.0, 10: 0.9, 15: 0.5, 16: 0.6},
    "anger": {4: 1.0, 5: 0.5, 7: 0.6, 23: 1.0},
    "contempt": {12: 0.9, 14: 1.0},
}

# What the lips do besides, from variant 0 (first) to variant 1 (second).
_VARIANTS: Mapping[str, tuple[Mapping[int, float], Mapping[int, float]]] = {
    "happiness": ({}, {25: 1.0, 26: 0.35}),
    "surprise": ({26: -0.3}, {26: 0.2}),
    "fear": ({}, {25: 0.5, 26: 0.2}),
    "disgust": ({}, {25: 0.7}),
    "anger": ({17: 0.7}, {10: 0.7, 16: 0.7, 25: 1.0, 23: -0.6}),
}

# These turn into another way of showing the emotion at half way rather than by degrees: lips
# pressed together do not slide into bared teeth.
_TWO_WAYS = frozenset({"anger", "happiness"})

_ONE_SIDED = frozenset({"contempt"})


@dataclass(frozen=True, slots=True)
class ActionUnits:
    """Activation of each action unit on the left and right side of the picture."""

    left: Mapping[int, float]
    right: Mapping[int, float]

    def of(self, unit: int, side: int = 0) -> float:
        """Return a unit's activation on one side (-1 left, 1 right) or their mean (0)."""
        if side:
            return (self.right if side > 0 else self.left).get(unit, 0.0)
        return (self.left.get(unit, 0.0) + self.right.get(unit, 0.0)) / 2


def action_units(face: FaceParameters) -> ActionUnits:
    """Return intensity x prototype + resting variation, for both sides of the face."""
    moved = _moved_units(face.emotion, face.variant)
    return ActionUnits(left=_side(face, moved, -1), right=_side(face, moved, 1))


def _moved_units(emotion: str, variant: float) -> dict[int, float]:
    moved = dict(_PROTOTYPES[emotion])
    share = float(variant > 0.5) if emotion in _TWO_WAYS else variant
    first, second = _VARIANTS.get(emotion, ({}, {}))
    for weight, extra in ((1 - share, first), (share, second)):
        for unit, activation in extra.items():
            moved[unit] = moved.get(unit, 0.0) + weight * activation
    return moved


def _side(face: FaceParameters, moved: Mapping[int, float], side: int) -> dict[int, float]:
    gain = face.intensity * (1 + side * face.asymmetry)
    if face.emotion in _ONE_SIDED and side != face.side:
        gain = 0.0
    units = {unit: gain * activation for unit, activation in moved.items()}
    for unit, activation in face.resting:
        units[unit] = units.get(unit, 0.0) + activation
    return units
