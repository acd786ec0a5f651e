"""What the rows of a table say of parts of videos, and where they contradict each other."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from mien.data.clips import Clip
from mien.data.formats.reading import Load, shown
from mien.data.formats.tables import seconds

__all__ = ["CONTRADICTED", "Part", "contradicted", "part_of"]

CONTRADICTED: Final = (
    "other rows give the same seconds of this video other labels: columns start and end, in "
    "seconds, say what part of it each is of"
)

Part = tuple[tuple[str, ...], tuple[str, ...]]
"""A file's path and the cells of a box in it, and those of the part of a video; either may lack."""


def part_of(load: Load, span: Sequence[str]) -> tuple[Load, str | None]:
    """Return what a row means of a video, and why that is nothing, if it is nothing.

    Args:
        load: of the file that the row names; what is no video is meant as it is.
        span: the cells that say when; empty: all of it.
    """
    if not isinstance(load, Clip) or not any(span):
        return load, None
    start, end = map(seconds, span)
    if start is None or end is None or start >= end:
        told = " to ".join(map(shown, span))
        return load, f"{told} is no part of a video: expected seconds, or times as 1:02.5"
    return replace(load, part=(start, end)), None


def contradicted(said: Iterable[tuple[Part, str]]) -> set[Part]:
    """Return those parts of videos that have seconds in common with one of another emotion.

    Args:
        said: of each row the part, and the emotion that it gives it.
    """
    parts_of: dict[tuple[str, ...], dict[Part, set[str]]] = defaultdict(lambda: defaultdict(set))
    for part, emotion in said:
        parts_of[part[0]][part].add(emotion)
    return {part for parts in parts_of.values() for part in _contradicted(parts)}


def _contradicted(parts: Mapping[Part, set[str]]) -> set[Part]:
    found = {part for part, emotions in parts.items() if len(emotions) > 1}
    rising = sorted((*_times(part[1]), part) for part in parts)
    for later, (_, end, part) in enumerate(rising, start=1):
        for start, _, other in rising[later:]:
            if start >= end:
                break
            if parts[part] != parts[other]:
                found |= {part, other}
    return found


def _times(span: Sequence[str]) -> tuple[float, float]:
    """Return the seconds that cells say; what says none is taken for all of the video."""
    start, end = map(seconds, span or ("", ""))
    return (0.0, math.inf) if start is None or end is None else (start, end)
