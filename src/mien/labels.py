"""The eight emotions, their aliases, and the code tables of the data sets.

This module knows names and numbers only. It refuses to guess: a bare number means nothing without
the table of the format it came from, because the common data sets use incompatible orders.
"""

from collections.abc import Mapping
from types import MappingProxyType

from mien.errors import DatasetError

__all__ = [
    "AFFECTNET_CODES",
    "AFFECTNET_YOLO_CODES",
    "CKPLUS_CODES",
    "EMOTIONS",
    "FER2013_CODES",
    "FERPLUS_VOTE_COLUMNS",
    "RAFDB_CODES",
    "canonical",
    "find_alias",
]

EMOTIONS: tuple[str, ...] = (
    "neutral",
    "happiness",
    "sadness",
    "surprise",
    "fear",
    "disgust",
    "anger",
    "contempt",
)
"""Every emotion in mien's fixed order (AffectNet's ids 0 to 7)."""

AFFECTNET_CODES: tuple[str, ...] = EMOTIONS
"""AffectNet: the emotion of each id, 0 to 7 (8 none, 9 uncertain and 10 no face name none)."""

FER2013_CODES: tuple[str, ...] = (
    "anger",
    "disgust",
    "fear",
    "happiness",
    "sadness",
    "surprise",
    "neutral",
)
"""FER2013: the emotion of each id, 0 to 6. There is no contempt."""

CKPLUS_CODES: tuple[str, ...] = (*FER2013_CODES, "contempt")
"""CK+ as csv: the emotion of each id, 0 to 7: those of FER2013, then contempt."""

AFFECTNET_YOLO_CODES: tuple[str, ...] = (
    "anger",
    "contempt",
    "disgust",
    "fear",
    "happiness",
    "neutral",
    "sadness",
    "surprise",
)
"""AffectNet in YOLO's layout: the emotion of each id, 0 to 7, in the order of the alphabet."""

RAFDB_CODES: tuple[str, ...] = (
    "surprise",
    "fear",
    "disgust",
    "happiness",
    "sadness",
    "anger",
    "neutral",
)
"""RAF-DB: the emotion of each id; they count from 1 to 7."""

FERPLUS_VOTE_COLUMNS: tuple[str, ...] = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
)
"""FER+: the order of the emotion columns of ``fer2013new.csv`` (``unknown`` and ``NF`` follow)."""

_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        **{emotion: emotion for emotion in EMOTIONS},
        **dict.fromkeys(("neutrality", "normal", "calm", "no emotion"), "neutral"),
        **dict.fromkeys(("happy", "joy", "joyful", "smile", "smiling"), "happiness"),
        **dict.fromkeys(("sad", "sorrow", "unhappy"), "sadness"),
        **dict.fromkeys(("surprised", "suprise", "suprised", "astonished"), "surprise"),
        **dict.fromkeys(("afraid", "fearful", "scared", "fright"), "fear"),
        **dict.fromkeys(("disgusted", "disgusting"), "disgust"),
        **dict.fromkeys(("angry", "rage", "mad", "furious"), "anger"),
        **dict.fromkeys(("contemptuous", "scorn", "disdain"), "contempt"),
    }
)


def find_alias(name: str) -> str | None:
    """Return the emotion that ``name`` means, or None where it means none.

    Case, surrounding blanks, and ``_`` or ``-`` for a blank do not matter. A number is never an
    alias.
    """
    return _ALIASES.get(name.strip().lower().replace("_", " ").replace("-", " "))


def canonical(name: str) -> str:
    """Return the emotion that ``name`` means.

    Raises:
        DatasetError: no emotion goes by that name.
    """
    emotion = find_alias(name)
    if emotion is None:
        raise DatasetError(
            f"unknown emotion {name!r}: expected one of {', '.join(EMOTIONS)} or a common alias "
            "(happy, sad, angry, ...)"
        )
    return emotion
