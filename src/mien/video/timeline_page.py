"""A timeline as one HTML file: each face's emotions over time, to look at and to keep.

Everything lies in the file, it asks no one for anything and runs no script. Names of files and
labels are taken for hostile: the template escapes them.
"""

from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.annotate import PRINT_COLOURS
from mien.pages import data_uri, render
from mien.video.files import title
from mien.video.steady import WINDOW
from mien.video.timeline import Person, Timeline, moment, ticks

__all__ = ["render_timeline"]

MOST_PEOPLE: Final = 40
_POINTS: Final = 400
_WIDTH: Final = 1000.0
_HEIGHT: Final = 100.0


class _Band(NamedTuple):
    """One emotion's area in a face's graph."""

    emotion: str
    path: str


class _Row(NamedTuple):
    person: Person
    portrait: str
    shares: dict[str, float]
    bands: list[_Band]


def render_timeline(timeline: Timeline) -> str:
    """Return the page as text."""
    people, moments = timeline.people(), ticks(timeline.duration_s)
    return render(
        "video/timeline.html.j2",
        {"moment": partial(moment, duration_s=timeline.duration_s)},
        name=title(timeline.source),
        timeline=timeline,
        rows=[_row(timeline, person) for person in people[:MOST_PEOPLE]],
        left_out=timeline.faces - len(people[:MOST_PEOPLE]),
        ticks=[(100 * at / max(timeline.duration_s, 1e-3), text) for at, text in moments],
        known=[label for label in timeline.labels if label in PRINT_COLOURS],
        window_s=max(WINDOW, timeline.bin_s),
    )


def _row(timeline: Timeline, person: Person) -> _Row:
    return _Row(person, data_uri(person.portrait), person.shares(), _bands(timeline, person))


def _bands(timeline: Timeline, person: Person) -> list[_Band]:
    """Return the stacked areas of a face, from the bottom up, one path an emotion."""
    times, rows = timeline.series(person)
    x = times / max(timeline.duration_s, 1e-3) * _WIDTH
    shares = np.concatenate([np.zeros((len(rows), 1)), np.cumsum(rows, axis=1)], axis=1)
    edges = (1 - shares) * _HEIGHT
    # Runs without a gap; a gap is a row of NaN.
    runs = np.split(np.arange(len(x)), np.flatnonzero(np.isnan(edges[:, -1])))
    bands = []
    for index, emotion in enumerate(timeline.labels):
        parts = [
            _area(x[run], edges[run, index], edges[run, index + 1])
            for run in (_thinned(run[~np.isnan(edges[run, -1])], len(x)) for run in runs)
            if len(run)
        ]
        bands.append(_Band(emotion, " ".join(parts)))
    return bands


def _thinned(run: NDArray[np.int64], whole: int) -> NDArray[np.int64]:
    step = max(1, whole // _POINTS)
    return np.unique(np.append(run[::step], run[-1:]))


def _area(x: NDArray[Any], upper: NDArray[Any], lower: NDArray[Any]) -> str:
    there = [f"{a:.1f},{b:.1f}" for a, b in zip(x, upper, strict=True)]
    back = [f"{a:.1f},{b:.1f}" for a, b in zip(x[::-1], lower[::-1], strict=True)]
    return f"M{' '.join(there + back)}Z"
