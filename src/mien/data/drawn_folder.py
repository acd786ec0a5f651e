"""A labelled folder of drawn faces: SPLIT/EMOTION/N.png, as anyone might bring it."""

import os
from pathlib import Path

from mien.data.writer import new_folder
from mien.drawn import draw_face, sample_parameters
from mien.images import write_image
from mien.labels import EMOTIONS
from mien.progress import Progress, silent
from mien.records import Split

__all__ = ["draw_folder"]


def draw_folder(
    out: str | os.PathLike[str],
    *,
    count: int,
    size: int,
    seed: int,
    progress: Progress = silent,
) -> None:
    """Draw ``count`` faces, as many of each emotion as of any other: 70 % train, 15 % valid, test.

    Args:
        out: the folder to make.
        count: how many faces.
        size: their side, pixels.
        seed: face i is drawn from seed * 1,000,000 + i, so seeds do not share faces.
        progress: shows how far it is.

    Raises:
        UsageError: ``out`` exists.
    """
    with new_folder(Path(out)) as folder:
        for number in progress(range(count), total=count, doing="drawing"):
            emotion = EMOTIONS[number % len(EMOTIONS)]
            place = folder / _split(number // len(EMOTIONS)) / emotion
            place.mkdir(parents=True, exist_ok=True)
            parameters = sample_parameters(emotion, seed=seed * 1_000_000 + number)
            write_image(place / f"{number:06d}.png", draw_face(parameters, size=size))


def _split(number: int) -> Split:
    position = number % 20
    return "train" if position < 14 else "valid" if position < 17 else "test"
