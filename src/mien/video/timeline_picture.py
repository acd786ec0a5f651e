"""A timeline as a picture: each face's emotions over time. Draws to files only."""

from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mien.annotate import PRINT_COLOURS
from mien.figure import save_figure
from mien.video.files import title
from mien.video.timeline import Person, Timeline, moment, ticks

__all__ = ["MOST_ROWS", "save_timeline"]

MOST_ROWS: Final = 8
"""More faces than these, those longest in sight, would make the rows too low to read."""

_INK: Final = "#22303c"
_MUTED: Final = "#5c6873"
_FAINT: Final = "#e6eaee"
_ROW: Final = 1.25  # inches
_HEAD: Final = 1.15
_NAMED: Final = 4


def save_timeline(path: Path, timeline: Timeline) -> None:
    """Draw the emotions of those longest in sight, one row a face; PNG."""
    shown = timeline.people()[:MOST_ROWS]
    rows = max(1, len(shown))
    height = _HEAD + _ROW * rows
    figure = Figure(figsize=(11, height), facecolor="white")
    _write_head(figure, timeline, height)
    for row, person in enumerate(shown):
        low = 1 - (_HEAD + _ROW * (row + 0.72)) / height
        tall = 0.72 * _ROW / height
        face = figure.add_axes((0.022, low, 0.072, tall))
        face.imshow(person.portrait, interpolation="bilinear")
        face.set_axis_off()
        axes = figure.add_axes((0.235, low, 0.745, tall))
        _write_person(figure, person, low + tall)
        _draw_row(axes, timeline, person)
        axes.tick_params(labelbottom=row == len(shown) - 1)
    if not shown:
        figure.text(0.022, 0.3, "no face was seen", color=_MUTED, fontsize=11)
    save_figure(figure, path)


def _write_head(figure: Figure, timeline: Timeline, height: float) -> None:
    faces = f"{timeline.faces} face{'' if timeline.faces == 1 else 's'}"
    if timeline.faces > MOST_ROWS:
        faces += f", the {MOST_ROWS} longest in sight shown"
    name = "".join(c if c.isprintable() else "?" for c in title(timeline.source))
    figure.text(0.022, 1 - 0.36 / height, name[:80], color=_INK, fontsize=14, weight="bold")
    line = (
        f"{moment(timeline.duration_s, timeline.duration_s)} · {timeline.frames:,} frames · {faces}"
    )
    figure.text(0.022, 1 - 0.62 / height, line, color=_MUTED, fontsize=9.5)
    patches = [Patch(color=_colour(label), label=label) for label in timeline.labels]
    if patches:
        patches.append(Patch(color=_FAINT, label="not in sight"))
        legend = figure.legend(
            handles=patches,
            ncols=len(patches),
            loc="upper left",
            bbox_to_anchor=(0.228, 1 - 0.66 / height),
            frameon=False,
            fontsize=9,
            handlelength=0.9,
            handleheight=0.9,
            handletextpad=0.4,
            columnspacing=1.3,
            labelcolor=_INK,
        )
        legend.set_in_layout(False)


def _write_person(figure: Figure, person: Person, top: float) -> None:
    height = figure.get_figheight()
    figure.text(
        0.104, top, f"face {person.number}", color=_INK, fontsize=10.5, weight="bold", va="top"
    )
    for place, (emotion, share) in enumerate(list(person.shares().items())[:_NAMED]):
        at = top - (0.25 + 0.19 * place) / height
        text = f"{emotion} {share:.0%}"
        figure.text(0.104, at, text, color=_MUTED, fontsize=9, va="top")


def _draw_row(axes: Axes, timeline: Timeline, person: Person) -> None:
    times, rows = timeline.series(person)
    axes.set_facecolor(_FAINT)
    bottom = np.zeros(len(times))
    for label, share in zip(timeline.labels, rows.T, strict=True):
        axes.fill_between(times, bottom, bottom + share, color=_colour(label), linewidth=0)
        bottom = bottom + share
    axes.set_xlim(0, max(timeline.duration_s, 1e-3))
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    moments = ticks(timeline.duration_s)
    axes.set_xticks([at for at, _ in moments], [text for _, text in moments])
    axes.tick_params(colors=_MUTED, labelsize=9, length=3, color=_FAINT)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _colour(emotion: str) -> str:
    return PRINT_COLOURS.get(emotion, "#9aa7b3")
