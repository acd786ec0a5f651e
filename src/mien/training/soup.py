"""One model of several runs: the mean of their weights, at the cost of asking one.

Runs that went on from the same weights lie around one hollow of the loss, and the middle between
them is lower than they are. Runs that began apart, by chance, lie in hollows of their own, with a
ridge between.
"""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from mien.atomic import is_free, write_text
from mien.card import ModelCard
from mien.data.dataset import Dataset
from mien.data.stream import Stream
from mien.errors import DataError, UsageError
from mien.judging.calibration import fit_temperature
from mien.lock import alone_in
from mien.metrics import Evaluation, evaluate_probabilities
from mien.progress import Progress, silent
from mien.records import show_path
from mien.training.checkpoint import AVERAGE_NAME, BEST_NAME, write_weights
from mien.training.labelled import Labelled
from mien.training.mirror import plain
from mien.training.networks import Classifier
from mien.training.runs import open_network
from mien.training.together import together
from mien.version import __version__

__all__ = ["Tried", "average_runs"]

_BATCH: Final = 512

Weights = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one of the runs. Losses are of validation, calibrated, in nats.

    Attributes:
        run: its folder.
        alone: its own loss.
        averaged: that of the mean of its weights and of those taken before it.
        taken: whether it is in the average.
    """

    run: str
    alone: float
    averaged: float
    taken: bool


def average_runs(
    runs: Sequence[Path],
    dataset: Dataset | Stream,
    out: Path,
    *,
    device: str = "auto",
    progress: Progress = silent,
) -> tuple[ModelCard, list[Tried]]:
    """Make a run folder with the mean of the weights of runs, of those that help.

    They are tried one by one, the one with the lowest loss first, and taken if the mean with it has
    a lower loss on validation than without: a greedy model soup (Wortsman et al. 2022,
    arXiv:2203.05482, algorithm 1), by loss instead of accuracy. So on validation the average is
    never worse than the best of them. Statistics of norms are averaged like weights; measured anew
    on training images they did no better.

    Args:
        runs: two or more, of one network and the same dataset.
        dataset: that dataset; its validation split decides.
        out: the folder to make. `mien.training.runs.open_run` opens it like that of a run.
        device: ``cpu``, ``cuda`` or ``auto``.
        progress: shows how many runs were tried.

    Returns:
        The average's card, and what became of the runs, in the order in which they were tried.

    Raises:
        ModelError: one of them is no run, has no finished epoch, or is damaged.
        UsageError: they do not belong together or to the dataset, one is emotion-based, there is
            only one, or ``out`` is not empty.
        DatasetError: there is no usable image in validation.
        DataError: what a run answers is not a number.
    """
    runs = list({run.resolve(): run for run in runs}.values())
    if len(runs) < 2:
        raise UsageError("one run is its own average: name two or more")
    # One that was killed before it had written the weights is made anew.
    if not is_free(out, but=AVERAGE_NAME):
        raise UsageError(f"{out} is not empty: choose another --out")
    networks, cards = {}, {}
    for run in runs:
        networks[run], cards[run] = open_network(run)
        _check(run, cards[run], cards[runs[0]], dataset)
    network = deepcopy(networks[runs[0]])
    with together(device, 1, 1, "32-true") as fabric:
        judge = _Judge(network, cards[runs[0]], dataset, fabric.device)
        weights = {run: of.state_dict() for run, of in networks.items()}
        asked = progress(weights, total=len(weights), doing="asking the runs")
        alone = {run: judge(weights[run], run) for run in asked}
        best, *others = sorted(alone, key=lambda run: alone[run].loss)
        taken, judged = [best], alone[best]
        tried = [Tried(str(best), judged.loss, judged.loss, taken=True)]
        for run in progress(others, total=len(others), doing="averaging"):
            found = judge(_mean([weights[each] for each in (*taken, run)]), run)
            helps = found.loss < judged.loss
            tried.append(Tried(str(run), alone[run].loss, found.loss, helps))
            if helps:
                taken, judged = [*taken, run], found
    network.load_state_dict(_mean([weights[run] for run in taken]))
    card = _card(show_path(out.name), [cards[run] for run in taken], judged)
    told = {"dataset": dataset.info["fingerprint"], "runs": [asdict(each) for each in tried]}
    with alone_in(out, kind="average", known_by=AVERAGE_NAME):
        write_text(out / AVERAGE_NAME, json.dumps(told, indent=2) + "\n")
        write_weights(out / BEST_NAME, network, card)
    return card, tried


def _check(run: Path, card: ModelCard, first: ModelCard, dataset: Dataset | Stream) -> None:
    """Refuse a run that does not belong to the others."""
    kind, expected = (
        f"{of.network} that sees {of.spec} and knows {', '.join(of.labels)}" for of in (card, first)
    )
    if kind != expected:
        raise UsageError(f"{run}: {kind}; expected as the first, {expected}")
    if card.worth is not None:
        raise UsageError(
            f"{run} is emotion-based: its answers are decided by more than its weights, which "
            "alone would be averaged"
        )
    learnt, given = card.training["dataset"]["fingerprint"], dataset.info["fingerprint"]
    if learnt != given:
        raise UsageError(
            f"{run} was trained on other data (fingerprint {learnt}, not {given}): it may have "
            "learnt the images that are to judge it"
        )


def _mean(weights: Sequence[Weights]) -> Weights:
    """Return the mean of weights; of counts, which are whole numbers, the first."""
    return {
        name: torch.stack([each[name] for each in weights]).mean(dim=0)
        if value.is_floating_point()
        else value
        for name, value in weights[0].items()
    }


@dataclass(frozen=True, slots=True)
class _Judged:
    figures: Evaluation
    temperature: float

    @property
    def loss(self) -> float:
        return self.figures.nll


class _Judge:
    """Asks a network with one set of weights or another about validation."""

    def __init__(
        self,
        network: Classifier,
        card: ModelCard,
        dataset: Dataset | Stream,
        device: torch.device,
    ) -> None:
        self._network = network
        self._device = device
        self._emotions = card.labels
        self._data = Labelled.of_validation(dataset, card.spec, card.labels, device=device)

    @torch.inference_mode()
    def __call__(self, weights: Weights, named: Path) -> _Judged:
        """Return what weights are worth; a run is named where they are worth nothing."""
        self._network.load_state_dict(weights)
        asked = plain(self._network).to(self._device)
        asked.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        parts = torch.arange(len(self._data)).split(_BATCH)
        logits = torch.cat([asked(self._data.pixels(part)).cpu() for part in parts])
        if not logits.isfinite().all():
            raise DataError(f"{named}: its weights or answers are not finite numbers")
        labels = self._data.labels
        temperature = fit_temperature(logits.numpy(), labels)
        answers = (logits / temperature).softmax(dim=1).numpy()
        return _Judged(evaluate_probabilities(answers, labels, self._emotions), temperature)


def _card(name: str, taken: Sequence[ModelCard], judged: _Judged) -> ModelCard:
    figures, training = judged.figures, taken[0].training
    tilts = [card.tilt or (0.0,) * len(card.labels) for card in taken]
    warmth = np.mean(
        [(card.untilted_temperature or card.temperature) / card.temperature for card in taken]
    )
    return taken[0].model_copy(
        update={
            "name": name,
            "temperature": judged.temperature,
            "tilt": tuple(np.mean(tilts, axis=0).tolist()) if np.any(tilts) else (),
            "untilted_temperature": judged.temperature * float(warmth) if np.any(tilts) else None,
            "training": {
                # Runs of older versions do not tell how many images each emotion had.
                **{key: training[key] for key in ("dataset", "images") if key in training},
                "averaged": [card.lineage() for card in taken],
                "chosen_by": "lowest validation loss",
                "date": datetime.now(UTC).date().isoformat(),
            },
            "figures": {
                "valid": {
                    "n": figures.count,
                    "nll": figures.nll,
                    "accuracy": figures.accuracy,
                    "macro_recall": figures.macro_recall,
                    "recall": figures.recall,
                }
            },
            "mien_version": __version__,
        }
    )
