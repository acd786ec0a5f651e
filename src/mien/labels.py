"""The eight emotions, their aliases, and the code tables of the data sets.

This module knows names and numbers only. It refuses to guess: a bare number means nothing without
the table of the format it came from, because the common data sets use incompatible orders.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from mien.errors import UsageError

__all__ = [
    "AFFECTNET_CODES",
    "AFFECTNET_YOLO_CODES",
    "ALIASES",
    "CKPLUS_CODES",
    "CKPLUS_SEQUENCE_CODES",
    "EMOTIONS",
    "FER2013_CODES",
    "FERPLUS_VOTE_COLUMNS",
    "RAFDB_CODES",
    "by_code",
    "canonical",
    "find_alias",
    "find_code",
    "find_meaning",
    "read_codes",
    "whole",
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

CKPLUS_SEQUENCE_CODES: tuple[str, ...] = (
    "anger",
    "contempt",
    "disgust",
    "fear",
    "happiness",
    "sadness",
    "surprise",
)
"""CK+ as its authors publish it: the emotion of each id of a sequence; they count from 1 to 7."""

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

ALIASES: Mapping[str, str] = MappingProxyType(
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
"""The emotion of each name that may stand for one; see `find_alias`."""


def by_code(emotions: Sequence[str], *, first: int = 0) -> Mapping[str, str]:
    """Return the emotion of each code as tables write it, counting from ``first``."""
    return MappingProxyType({str(code): name for code, name in enumerate(emotions, first)})


_TABLES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "fer2013": by_code(FER2013_CODES),
        "rafdb": by_code(RAFDB_CODES, first=1),
        "affectnet": by_code(AFFECTNET_CODES),
    }
)


def read_codes(text: str) -> Mapping[str, str]:
    """Return the emotion of each number or word that a user's text gives.

    Args:
        text: a data set (``fer2013``, ``rafdb``, ``affectnet``), or ``0=anger,froh=happy``.

    Raises:
        UsageError: it is neither, gives a code twice, or no emotion goes by a name in it.
    """
    if (table := _TABLES.get(text.strip().lower())) is not None:
        return table
    codes: dict[str, str] = {}
    for part in text.split(","):
        code, is_there, name = part.partition("=")
        key = _key(code)
        if not is_there or not key or key in codes:
            raise UsageError(
                f"codes {text!r}: expected {', '.join(_TABLES)}, or each number or word once as in "
                "0=anger,1=happy or wut=anger,froh=happy"
            )
        codes[key] = canonical(name)
    return MappingProxyType(codes)


def find_code(given: str, codes: Mapping[str, str]) -> str | None:
    """Return the emotion of a number or word, however it is written (``3.0``, ``Joy``), or None."""
    return codes.get(_key(given))


def find_meaning(given: str, codes: Mapping[str, str]) -> str | None:
    """Return the emotion that a label means by its codes, or else as a name, or None."""
    return find_code(given, codes) or find_alias(given)


def _key(code: str) -> str:
    """Return what is the same for all ways to write a number or a word."""
    return whole(code) or _folded(unicodedata.normalize("NFC", code))


def _folded(name: str) -> str:
    return name.strip().casefold().replace("_", " ").replace("-", " ")


def whole(text: str) -> str | None:
    """Return a whole number, however it is written, in its digits alone; None: it is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return str(int(value)) if value.is_integer() else None


def find_alias(name: str) -> str | None:
    """Return the emotion that ``name`` means, or None where it means none.

    Case, surrounding blanks, and ``_`` or ``-`` for a blank do not matter. A number is never an
    alias.
    """
    return ALIASES.get(_folded(name))


def canonical(name: str) -> str:
    """Return the emotion that ``name`` means.

    Raises:
        UsageError: no emotion goes by that name.
    """
    emotion = find_alias(name)
    if emotion is None:
        raise UsageError(
            f"unknown emotion {name!r}: expected one of {', '.join(EMOTIONS)} or a common alias "
            "(happy, sad, angry, ...)"
        )
    return emotion
