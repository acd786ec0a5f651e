"""What networks say of pictures that they were not trained on, for a whole dataset.

The dataset is cut into folds, people and copies of one picture together; for each fold a network
is trained on the others and asked about it. So every image is judged by a network that has seen
neither it nor a twin of it (Stone 1974, cross-validatory choice). `cut_folds` and `judge_fold` do
this for the label audit (`cross_fit`) and for judging a recipe (`mien.training.crossval`) alike.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from mien.card import ModelCard
from mien.config import TrainConfig
from mien.data.audit.auditor import audit_dataset, keep_together
from mien.data.audit.suspects import OutOfFold
from mien.data.dataset import Dataset
from mien.data.splits import draw_splits, drawn_by
from mien.errors import DatasetError, UsageError
from mien.judging.asking import ask_for_rows
from mien.progress import Progress, silent
from mien.records import SPLITS, Split
from mien.training.foreknowledge import check_foreknowledge
from mien.training.runs import open_run
from mien.training.train import train

__all__ = ["PREDICTIONS_NAME", "Fold", "cross_fit", "cut_folds", "judge_fold", "usable_rows"]

Part = TypeVar("Part", bound=Hashable)

PREDICTIONS_NAME: Final = "out-of-fold.parquet"
_VALIDATION: Final = 0.05
_SMALLEST_FOLD: Final = 50


@dataclass(frozen=True)
class Fold:
    """A part of a dataset that is judged by what the other parts teach.

    Attributes:
        number: from 1.
        rows: int (n,), its usable images as rows of the manifest, ascending.
        others: the dataset with all other usable images in train and valid, and none besides.
    """

    number: int
    rows: NDArray[np.int64]
    others: Dataset


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
        on_epoch: is told each epoch's entry of the history, with the number of its ``fold``.

    Raises:
        DatasetError: there are too few images, or too few people.
        UsageError: the folder holds runs of other data or another recipe, or the recipe brings
            knowledge of the images that are to be judged (`mien.training.foreknowledge`), or
            decides answers by more than them.
    """
    for name in ("emotion_based", "balance", "logit_adjustment"):
        if getattr(config, name):
            raise UsageError(
                f"--recipe with {name}: expected one whose networks count all emotions alike"
            )
    before = check_foreknowledge(config, dataset)
    config = config.model_copy(update={"soft_labels": False})
    about = {
        "fingerprint": dataset.info["fingerprint"],
        "folds": folds,
        "recipe": config.model_dump(mode="json"),
        "weights": before.weights,
        "caveat": before.caveat,
        # By these the folds are cut, and the fingerprint does not tell them.
        "apart": _digest(json.dumps([dataset.column("subject"), sorted(dataset.apart)])),
    }
    written = folder / PREDICTIONS_NAME
    if written.exists():
        if (found := OutOfFold.open(written)).about == about:
            return found
        if "apart" in found.about and {**found.about, "apart": about["apart"]} == about:
            raise UsageError(
                f"{folder}: its networks are of other folds: since then people were named, or "
                "pictures told apart; remove it, or choose another --out"
            )
    rows = usable_rows(dataset)
    if len(rows) < folds * _SMALLEST_FOLD:
        raise DatasetError(
            f"{dataset.path}: {len(rows)} usable images are too few for {folds} folds; expected at "
            f"least {folds * _SMALLEST_FOLD}"
        )
    probabilities = np.empty((len(dataset), len(dataset.emotions)), dtype=np.float32)
    for fold in cut_folds(dataset, folds, validation=_VALIDATION, progress=progress):
        probabilities[fold.rows], _ = judge_fold(
            fold, config, folder, device=device, progress=progress, on_epoch=on_epoch
        )
    found = OutOfFold(
        ids=tuple(dataset.column("id", rows)),
        emotions=dataset.emotions,
        given=dataset.labels(rows, dataset.emotions),
        probabilities=probabilities[rows],
        about=about,
    )
    found.save(written)
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def usable_rows(dataset: Dataset) -> NDArray[np.int64]:
    """Return the rows that are not excluded, of every split: int (n,), ascending."""
    return np.sort(np.concatenate([dataset.usable(split) for split in SPLITS]))


def cut_folds(
    dataset: Dataset, folds: int | None, *, validation: float, progress: Progress = silent
) -> list[Fold]:
    """Cut a dataset's usable images into folds, each person and all copies of a picture in one.

    Copies are what the audit calls so, near ones too. Emotions are spread alike as far as that
    allows. What is left for each fold to learn from is divided into train and valid likewise, by
    people. The same dataset is cut in the same way each time.

    Args:
        dataset: of whatever splits.
        folds: how many; None: each person, and each picture of nobody known, is a fold.
        validation: share of the others that goes to valid, 0..1; at least one person or picture.
        progress: shows how far the search for copies is.

    Raises:
        DatasetError: there are fewer people, pictures of nobody known counting as one each, than
            folds, or than two, or too few of them are left to learn from.
    """
    together = keep_together(dataset, audit_dataset(dataset, progress=progress).findings)
    rows = usable_rows(dataset)
    apart = len({together[row] for row in rows})
    count = apart if folds is None else folds
    if not 2 <= count <= apart:
        parts = "different pictures"
        if any(dataset.column("subject", rows)):
            parts = "people, where those who share a picture count as one"
        raise DatasetError(
            f"{dataset.path}: {count} folds of {apart} {parts}; expected two folds or more, and at "
            "most as many as these"
        )
    fold_of = np.array(
        _draw(dataset, rows, together, dict.fromkeys(range(count), 1.0), first_learns=False)
    )
    cut = []
    for fold in range(count):
        inside = fold_of == fold
        splits: list[Split] = ["test"] * len(dataset)
        learnt = rows[~inside]
        for row, split in zip(
            learnt, _divided(dataset, learnt, together, validation, fold + 1), strict=True
        ):
            splits[row] = split
        # A run that is resumed must be of the same fold, cut in the same way.
        name = f"{dataset.info['fingerprint']} fold {fold + 1}/{count} {_digest(' '.join(splits))}"
        others = replace(
            dataset.with_column("split", splits), info={**dataset.info, "fingerprint": name}
        )
        cut.append(Fold(fold + 1, rows[inside], others))
    return cut


def judge_fold(
    fold: Fold,
    config: TrainConfig,
    folder: Path,
    *,
    device: str = "auto",
    progress: Progress = silent,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> tuple[NDArray[np.float32], ModelCard]:
    """Train on all but a fold, in ``fold-N`` of a folder, and ask about it.

    A run that is there is gone on with.

    Returns:
        float32 (n, k), the probability of each emotion of the dataset, in the order of the fold's
        rows; and the card of the network.

    Raises:
        UsageError: the run is of another cut or recipe, or what `mien.training.train.train` says.
        DataError: likewise.
    """
    run = folder / f"fold-{fold.number}"

    def tell(entry: dict[str, Any]) -> None:
        if on_epoch is not None:
            on_epoch({"fold": fold.number, **entry})

    train(fold.others, config, run, resume=True, device=device, progress=progress, on_epoch=tell)
    model = open_run(run)
    found = ask_for_rows(model, fold.others, fold.rows, progress=progress)
    return found, model.card


def _draw(
    dataset: Dataset,
    rows: NDArray[np.int64],
    together: Sequence[int],
    shares: Mapping[Part, float],
    *,
    first_learns: bool = True,
) -> list[Part]:
    return draw_splits(
        drawn_by(dataset.column("id", rows), dataset.column("path", rows)),
        dataset.column("label", rows),
        [together[row] for row in rows],
        shares=shares,
        first_learns=first_learns,
    )


def _divided(
    dataset: Dataset,
    rows: NDArray[np.int64],
    together: Sequence[int],
    validation: float,
    number: int,
) -> list[Split]:
    """Divide what is left beside a fold into train and valid."""
    shares: dict[Split, float] = {"train": 1 - validation, "valid": validation}
    drawn = _draw(dataset, rows, together, shares)
    if "valid" in drawn:
        return drawn
    # All of few people would learn. One with few images does without, whose emotions others show.
    ids, labels = dataset.column("id"), dataset.column("label")
    members: dict[int, list[int]] = defaultdict(list)
    for row in rows.tolist():
        members[together[row]].append(row)
    shown = Counter(labels[row] for row in rows)
    for group in sorted(members.values(), key=lambda of: (len(of), min(ids[row] for row in of))):
        if all(shown[label] > n for label, n in Counter(labels[row] for row in group).items()):
            return ["valid" if row in group else "train" for row in rows]
    raise DatasetError(
        f"{dataset.path}: beside fold {number} too few people or pictures are left to learn from "
        "some and to validate by others; expected more of them, or more folds"
    )
