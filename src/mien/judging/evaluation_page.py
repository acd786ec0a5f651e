"""An evaluation as one HTML file that a stranger can read: figures, pictures, the worst mistakes.

Everything lies in the file, it asks no one for anything and runs no script. Names and paths are
taken for hostile: the template escapes them. Computes nothing.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

import numpy as np

from mien.data.dataset import PART, Dataset
from mien.metrics import BINS
from mien.pages import data_uri, render, uri_of
from mien.people import images_of_people, who_is_shown
from mien.records import printable

if TYPE_CHECKING:
    from mien.judging.evaluate import Report

__all__ = ["render_evaluation"]

_TITLES: Final = {
    "calibration": "How sure, and how right",
    "epochs": "Every epoch of the run",
    "environments": "Light, things worn, lens and box",
    "conditions": "The conditions, on a drawn face",
}
_OF_FACES: Final = "conditions"
"""The picture whose colours are a face's, so that no dark page may turn them round."""

_GROUPS: Final = 40


def render_evaluation(report: "Report", dataset: Dataset, pictures: Sequence[Path]) -> str:
    """Return the page as text.

    Args:
        report: the figures.
        dataset: holds the images of the mistakes.
        pictures: PNG files to show, in this order.
    """
    figures = report.evaluation
    shares = figures.confusion / np.maximum(figures.confusion.sum(axis=1, keepdims=True), 1)
    rows = np.array([mistake.row for mistake in report.mistakes], dtype=np.int64)
    faces = dataset.images(rows) if len(rows) else ()
    parts = dataset.column(PART.name, rows) if dataset.parts else [None] * len(rows)
    return render(
        "judging/evaluation.html.j2",
        {"short": _short, "name": lambda path: PurePosixPath(path).name},
        who_is_shown=who_is_shown,
        images_of=images_of_people(figures.count, report.people, report.nameless),
        report=report,
        figures=figures,
        bins=BINS,
        shares=shares.tolist(),
        counts=figures.confusion.tolist(),
        most_groups=_GROUPS,
        pictures=[
            (_TITLES[path.stem], uri_of(path.read_bytes(), "PNG"), path.stem != _OF_FACES)
            for path in pictures
        ],
        mistakes=[
            (mistake, part, data_uri(face, "PNG"))
            for mistake, part, face in zip(report.mistakes, parts, faces, strict=True)
        ],
        known=figures.labels,
    )


def _short(name: str) -> str:
    name = printable(name)
    return name if len(name) <= 22 else f"{name[:10]}…{name[-11:]}"
