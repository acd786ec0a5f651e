"""What networks say of pictures that they were not trained on, for a whole dataset.

The dataset is cut into folds, people and copies of one picture together; for each fold a network
is trained from scratch on the others and asked about it. So every image is judged by a network
that has seen neither it nor a twin of it (Stone 1974, cross-validatory choice).
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from mien.config import TrainConfig
from mien.data.audit.auditor import audit_dataset, keep_together
from mien.data.audit.suspects import OutOfFold
from mien.data.dataset import Dataset
from mien.data.splits import draw_splits
from mien.errors import DatasetError, UsageError
from mien.evaluate import ask_for_rows
from mien.progress import Progress, silent
from mien.records import SPLITS, Split
from mien.runs import open_run
from mien.train import train

__all__ = ["PREDICTIONS_NAME", "cross_fit"]

Part = TypeVar("Part", bound=Hashable)

PREDICTIONS_NAME: Final = "out-of-fold.parquet"
_SHARES: Final[dict[Split, float]] = {"train": 0.95, "valid": 0.05}
_SMALLEST_FOLD: Final = 50


def cross_fit(
    dataset: Dataset,
    config: TrainConfig,
    folder: Path,
    *,
    folds: int = 4,
    device: str = "auto",
    progress: Progress = silent,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> OutOfFold:
    """Train one network a fold and return what each says of the images that it has not seen.

    Args:
        dataset: all its usable images take part, of whatever split.
        config: the recipe; the labels are learnt as they stand, without the votes.
        folder: takes one run a fold and the predictions. What is there already is not done again.
        folds: how many; more folds, more training images for each, and more training.
        device: ``cpu``, ``cuda`` or ``auto``.
        progress: shows how far an epoch is.
        on_epoch: is told each epoch's entry of the history.

    Raises:
        DatasetError: there are too few images.
        UsageError: the folder holds runs of other data or another recipe, or the recipe brings
            knowledge of the images that are to be judged, or decides answers by more than them.
    """
    for name in ("start_from", "teachers", "emotion_based", "balance", "logit_adjustment"):
        if getattr(config, name):
            raise UsageError(
                f"--recipe with {name}: expected one whose networks begin from chance, learn from "
                "their own folds alone, and count all emotions alike"
            )
    config = config.model_copy(update={"soft_labels": False})
    about = {
        "fingerprint": dataset.info["fingerprint"],
        "folds": folds,
        "recipe": config.model_dump(mode="json"),
    }
    written = folder / PREDICTIONS_NAME
    if written.exists() and (before := OutOfFold.open(written)).about == about:
        return before
    rows = np.concatenate([dataset.usable(split) for split in SPLITS])
    if len(rows) < folds * _SMALLEST_FOLD:
        raise DatasetError(
            f"{dataset.path}: {len(rows)} usable images are too few for {folds} folds; expected at "
            f"least {folds * _SMALLEST_FOLD}"
        )
    together = keep_together(dataset, audit_dataset(dataset, progress=progress).findings)
    fold_of = np.array(_draw(dataset, rows, together, dict.fromkeys(range(folds), 1.0)))
    probabilities = np.empty((len(rows), len(dataset.emotions)), dtype=np.float32)
    for fold in range(folds):
        run = folder / f"fold-{fold + 1}"
        part = _for_training(dataset, rows[fold_of != fold], together, name=f"{fold + 1}/{folds}")
        train(part, config, run, resume=True, device=device, progress=progress, on_epoch=on_epoch)
        model = open_run(run)
        probabilities[fold_of == fold] = ask_for_rows(
            model.probabilities, dataset, rows[fold_of == fold], model.card.spec, progress=progress
        )
    ids = dataset.column("id")
    found = OutOfFold(
        ids=tuple(ids[row] for row in rows),
        emotions=dataset.emotions,
        given=dataset.labels(rows, dataset.emotions),
        probabilities=probabilities,
        about=about,
    )
    found.save(written)
    return found


def _draw(
    dataset: Dataset,
    rows: NDArray[np.int64],
    together: Sequence[int],
    shares: Mapping[Part, float],
) -> list[Part]:
    ids, labels = dataset.column("id"), dataset.column("label")
    return draw_splits(
        [ids[row] for row in rows],
        [labels[row] for row in rows],
        [together[row] for row in rows],
        shares=shares,
    )


def _for_training(
    dataset: Dataset, rows: NDArray[np.int64], together: Sequence[int], *, name: str
) -> Dataset:
    """Return the dataset with nothing but some rows to train on, a few of them for validation."""
    splits: list[Split] = ["test"] * len(dataset)
    for row, split in zip(rows, _draw(dataset, rows, together, _SHARES), strict=True):
        splits[row] = split
    # A run that is resumed must be of the same fold.
    info = {**dataset.info, "fingerprint": f"{dataset.info['fingerprint']} fold {name}"}
    return replace(dataset.with_column("split", splits), info=info)
