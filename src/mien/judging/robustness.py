"""How well a model holds where light, things worn, lens and box are against it.

Needs torch, for the conditions themselves; the model may be any that answers for images.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.data.dataset import Dataset
from mien.drawn import draw_face, sample_parameters
from mien.environments import CONDITIONS, STRENGTHS, alter, jitter
from mien.judging.asking import Ask
from mien.metrics import macro_recall_of_right, negative_log_likelihood
from mien.progress import Progress, silent

__all__ = ["MIDDLE", "judge_environments", "picture_conditions"]

Images = NDArray[np.uint8]

_TREMBLES: Final = 5
MIDDLE: Final = STRENGTHS[1]


def judge_environments(
    ask: Ask,
    dataset: Dataset,
    rows: NDArray[np.int64],
    labels: Sequence[str],
    *,
    strengths: Sequence[float] = STRENGTHS,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Ask a model for the same images in every condition at every strength, and trembling.

    The same dataset and rows give the same pictures every time. An image in which the model sees no
    face counts as wrong; NLL leaves it out.

    Args:
        ask: the model; 0 throughout a row where it sees no face.
        dataset: holds the images.
        rows: numbers of rows in the manifest, each with one of the labels.
        labels: the k emotions that the model knows, in its order.
        strengths: those of `STRENGTHS` that are wanted, the middle one among them.
        progress: shows how far it is.

    Returns:
        Plain JSON values. ``clean``, and in ``conditions`` an entry a strength by name, each hold
        ``accuracy``, ``macro_recall`` and ``nll``, None where it sees no face at all; ``middle``
        sums up the middle strength as shares of the clean accuracy; ``flips`` is the share of
        answers, no face being one of them, that change when the box trembles.
    """
    truth = dataset.labels(rows, labels)

    def batches(change: Callable[[Images, int], Images]) -> Iterator[Images]:
        for number, images in enumerate(dataset.batches(rows)):
            yield change(images, number)

    clean = ask(batches(lambda images, _: images))
    conditions: dict[str, list[dict[str, Any]]] = {name: [] for name in CONDITIONS}
    tasks = list(product(CONDITIONS, strengths))
    for name, strength in progress(tasks, total=len(tasks), doing="environments"):
        change = partial(_under, name, strength)
        figures = _figures(ask(batches(change)), truth)
        conditions[name].append({"strength": strength, **figures})
    trembles = progress(range(_TREMBLES), total=_TREMBLES, doing="trembling box")
    answers = [_answers(ask(batches(partial(_trembling, draw)))) for draw in trembles]
    steady, at_best = _answers(clean), _figures(clean, truth)
    return {
        "n": len(rows),
        "clean": at_best,
        "conditions": conditions,
        "middle": _middle(at_best["accuracy"], conditions),
        "flips": float(np.mean([(answer != steady).mean() for answer in answers])),
    }


def picture_conditions(size: int = 96) -> dict[str, list[Images]]:
    """Draw one face in every condition at the three strengths: RGB (size, size, 3) by name."""
    face = draw_face(sample_parameters("happiness", seed=4), size=size)[None]
    return {name: [alter(face, name, strength)[0] for strength in STRENGTHS] for name in CONDITIONS}


def _under(condition: str, strength: float, images: Images, batch: int) -> Images:
    return alter(images, condition, strength, seed=batch)


def _trembling(draw: int, images: Images, batch: int) -> Images:
    return jitter(images, seed=_TREMBLES * batch + draw)


def _answers(found: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """The most probable emotions, (n,); -1, which is no label, where none is ahead of the others.

    That is where no face was seen, and where all that is known speaks for an emotion not asked for.
    """
    return np.where(found.max(axis=1) > found.min(axis=1), found.argmax(axis=1), -1)


def _figures(found: NDArray[np.floating[Any]], truth: NDArray[np.int64]) -> dict[str, Any]:
    answers = _answers(found)
    right, judged = answers == truth, found.any(axis=1)
    return {
        "accuracy": float(right.mean()),
        "macro_recall": macro_recall_of_right(right, truth),
        "nll": negative_log_likelihood(found[judged], truth[judged]) if judged.any() else None,
    }


def _middle(clean: float, conditions: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    shares = {
        name: entry["accuracy"] / clean if clean else 0.0
        for name, entries in conditions.items()
        for entry in entries
        if entry["strength"] == MIDDLE
    }
    worst = min(shares, key=lambda name: shares[name])
    return {
        "mean_share_of_clean": float(np.mean(list(shares.values()))),
        "worst": worst,
        "worst_share_of_clean": shares[worst],
    }
