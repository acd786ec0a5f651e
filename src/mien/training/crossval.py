"""Judging a recipe by cross-validation: every image is judged once, by a network that has not seen
the person shown.

Sets of few people (CK+, KDEF, JAFFE) have no test split of their own; papers report them by folds
of people, subject-independent (Stone 1974). The folder that is left holds

    cross-validation.json  what was asked for: data, folds, recipe
    fold-1/, fold-2/, ...  a run each (`mien.training.train`)
    evaluation.json, ...   what `mien.judging.evaluate.Report.save` writes, of all images together
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Final

import numpy as np
import pyarrow as pa

from mien.atomic import write_text
from mien.card import ModelCard
from mien.config import TrainConfig
from mien.data.dataset import Dataset
from mien.errors import ModelError, UsageError
from mien.judging.caveats import caveat_of_labels
from mien.judging.evaluate import Report, report_on
from mien.lock import alone_in
from mien.metrics import evaluate_probabilities
from mien.progress import Progress, silent
from mien.training.crossfit import Fold, cut_folds, judge_fold, usable_rows
from mien.training.foreknowledge import check_foreknowledge

__all__ = ["ASKED_NAME", "cross_validate"]

ASKED_NAME: Final = "cross-validation.json"
_SPLIT: Final = "cross-validation"
_TOGETHER: Final = "copies and pictures of one video together"
_VALIDATION: Final = 0.1
_FIGURES: Final = ("accuracy", "macro_recall", "nll")


def cross_validate(
    dataset: Dataset,
    config: TrainConfig,
    folder: Path,
    *,
    name: str,
    folds: int | None = 10,
    device: str = "auto",
    progress: Progress = silent,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    on_fold: Callable[[dict[str, Any], int], None] | None = None,
) -> Report:
    """Train one network a fold, judge each by its own fold, and report on all images together.

    Of what is left beside a fold, a tenth, other people again, chooses the epoch and calibrates.
    The same call goes on where it was interrupted.

    Args:
        dataset: all its usable images take part, of whatever split.
        config: the recipe.
        folder: takes one run a fold, and the report.
        name: what the report calls the recipe.
        folds: how many; None: one a person.
        device: ``cpu``, ``cuda`` or ``auto``.
        progress: shows how far the search for copies, and an epoch, is.
        on_epoch: is told each epoch's entry of the history, with the number of its ``fold``.
        on_fold: is told the entry of each fold that was judged, and how many folds there are.

    Returns:
        The report, written to the folder already. Its ``cross_validation`` holds ``folds``, an
        entry each: ``fold`` from 1, ``n`` images, ``people`` (None where no image names one),
        their names as ``subjects``, how many images are ``nameless``, ``train`` and ``valid``
        images of the others, ``best_epoch``, ``accuracy``, ``macro_recall`` (of the emotions that
        the fold has), ``nll``; ``mean`` and ``deviation`` of these three over the folds, the latter
        of a sample; ``nameless`` images, and a ``caveat``, empty where there is none.

    Raises:
        UsageError: the folder holds another cross-validation or something else, another command is
            at work in it, the recipe brings knowledge of the images, one fold a person is asked
            for where not every image names one, or what `mien.training.train.train` says.
        DatasetError: there are too few people, or images, for so many folds.
        DataError: as `mien.training.train.train`.
    """
    rows = usable_rows(dataset)
    nameless = dataset.column("subject", rows).count(None)
    if folds is None and nameless:
        raise UsageError(
            f"--folds people: {nameless:,} of {len(rows):,} usable images of {dataset.path} name "
            "no person (column 'subject'); expected a number of folds"
        )
    before = check_foreknowledge(config, dataset)
    asked = {
        "data": dataset.info["fingerprint"],
        "folds": folds or "people",
        "recipe": config.model_dump(mode="json"),
        "weights": before.weights,
    }
    with alone_in(folder, kind="cross-validation", known_by=ASKED_NAME):
        _check_before(folder, asked)
        cut = cut_folds(dataset, folds, validation=_VALIDATION, progress=progress)
        write_text(folder / ASKED_NAME, json.dumps(asked, indent=2) + "\n")
        found = np.empty((len(dataset), len(dataset.emotions)), dtype=np.float32)
        fold_of = np.zeros(len(dataset), dtype=np.int64)
        entries = []
        for fold in cut:
            found[fold.rows], card = judge_fold(
                fold, config, folder, device=device, progress=progress, on_epoch=on_epoch
            )
            shown = dataset.column("subject", fold.rows)
            subjects = sorted({*shown} - {None})
            fold_of[fold.rows] = fold.number
            figures = evaluate_probabilities(
                found[fold.rows], dataset.labels(fold.rows, card.labels), card.labels
            )
            entry = {
                "fold": fold.number,
                "n": figures.count,
                "people": len(subjects) or None,
                "subjects": subjects,
                "nameless": shown.count(None),
                "train": len(fold.others.usable("train")),
                "valid": len(fold.others.usable("valid")),
                "best_epoch": card.training["best_epoch"],
                **{figure: getattr(figures, figure) for figure in _FIGURES},
            }
            entries.append(entry)
            if on_fold is not None:
                on_fold(entry, len(cut))
        caveat = " ".join(
            [
                *filter(None, [before.caveat]),
                *_of_people(nameless, len(rows)),
                *(_of_uneven(entries, len(rows)) if folds else ()),
                *_of_emotions(dataset, cut),
                *filter(None, [caveat_of_labels(dataset.info)]),
            ]
        )
        told = {
            "folds": entries,
            "mean": {figure: mean(entry[figure] for entry in entries) for figure in _FIGURES},
            "deviation": {figure: stdev(entry[figure] for entry in entries) for figure in _FIGURES},
            "nameless": nameless,
            "caveat": caveat,
        }
        of_all = _card(card, name, dataset)
        report = report_on(found[rows], of_all, dataset, rows, _SPLIT, caveat)
        answers = report.answers.append_column("fold", pa.array(fold_of[rows]))
        report = replace(report, answers=answers, cross_validation=told)
        report.save(folder, dataset)
    return report


def _check_before(folder: Path, asked: Mapping[str, Any]) -> None:
    """Refuse a folder whose runs are of something else."""
    path = folder / ASKED_NAME
    if not path.exists() or not (folder / "fold-1").exists():
        return
    try:
        before = dict(_flat(json.loads(path.read_text(encoding="utf-8"))))
    except (ValueError, AttributeError) as error:
        raise ModelError(f"{path}: damaged ({error}); choose another --out") from None
    now = dict(_flat(asked))
    for key in before | now:
        if (was := before.get(key)) != (wanted := now.get(key)):
            raise UsageError(
                f"{folder} was begun with {key} = {was!r}, now it is {wanted!r}: go on with the "
                "same, or choose another --out"
            )


def _flat(asked: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in asked.items():
        if isinstance(value, Mapping):
            yield from ((f"{key} {name}", part) for name, part in value.items())
        else:
            yield key, value


def _card(of_fold: ModelCard, name: str, dataset: Dataset) -> ModelCard:
    """Return what all folds' networks have in common."""
    data = of_fold.training["dataset"] | {"fingerprint": dataset.info["fingerprint"]}
    kept = ("started_from", "taught_by", "recipe")
    training = {key: of_fold.training[key] for key in kept if key in of_fold.training}
    return of_fold.model_copy(
        update={"name": name, "figures": {}, "training": training | {"dataset": data}}
    )


def _of_people(nameless: int, images: int) -> Iterator[str]:
    if nameless == images:
        yield (
            f"The dataset names no people, so the folds are by image, {_TOGETHER}: whoever is "
            "shown several times may be in several folds, and the figures are then too good."
        )
    elif nameless:
        yield (
            f"{nameless:,} images name no person, and their folds are by image, {_TOGETHER}: "
            "whoever is shown several times there may be in several folds, and the figures are "
            "then too good."
        )


def _of_uneven(entries: Sequence[Mapping[str, Any]], images: int) -> Iterator[str]:
    """Say where one fold holds over twice its share, so that few are left to learn from."""
    largest = max(entries, key=lambda entry: entry["n"])
    if largest["n"] * len(entries) > 2 * images:
        of = f" ({largest['people']} people)" if (largest["people"] or 0) > 1 else ""
        yield (
            f"Fold {largest['fold']} holds {largest['n'] / images:.0%} of the images{of}: who "
            "shares pictures, and copies of one, are in one fold. A mean over folds so uneven says "
            "little."
        )


def _of_emotions(dataset: Dataset, folds: Sequence[Fold]) -> Iterator[str]:
    """Name emotions that a network was to find without having seen them."""
    labels = dataset.column("label")
    unseen: Counter[str] = Counter()
    for fold in folds:
        learnt = {labels[row] for row in fold.others.usable("train")}
        unseen.update(label for row in fold.rows if (label := labels[row]) not in learnt)
    for emotion, count in unseen.items():
        judged = "1 image" if count == 1 else f"{count:,} images"
        by = "was judged by a network" if count == 1 else "were judged by networks"
        yield f"{judged} of {emotion} {by} that had nobody's {emotion} to learn from."
