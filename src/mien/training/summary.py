"""Several runs side by side: size of each network, seconds an epoch, and how far it came."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

from mien.errors import ModelError
from mien.training.checkpoint import AVERAGE_NAME, BEST_NAME, read_weights
from mien.training.history import read_history

__all__ = ["RunSummary", "differ_by_seed", "differing", "find_runs", "summarise"]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What became of a run. All best values are of validation, each of the epoch where it is best.

    Attributes:
        name: of its folder.
        network: of `mien.training.networks.NETWORKS`.
        dataset: the card's ``source_format``, ``fingerprint``, and numbers ``train``, ``valid``.
        recipe: the card's: every setting.
        seed: of the recipe.
        layers: those with a kernel or a matrix of weights; norms and activations do not count.
        weights: all trained numbers.
        bytes: of the weights' file, float32.
        planned: epochs that the recipe asks for.
        minutes: of training until the end of each finished epoch.
        losses: mean loss on validation after each epoch; of an emotion-based run weighed by worth.
        accuracies: likewise, 0..1.
        macro_recalls: likewise, 0..1.
        epoch_seconds: the median; one that waited for something else does not count for more.
        emotion_based: whether it is such a run, whose losses do not compare with those of others.
    """

    name: str
    network: str
    dataset: Mapping[str, Any]
    recipe: Mapping[str, Any]
    seed: int
    layers: int
    weights: int
    bytes: int
    planned: int
    minutes: tuple[float, ...]
    losses: tuple[float, ...]
    accuracies: tuple[float, ...]
    macro_recalls: tuple[float, ...]
    epoch_seconds: float
    emotion_based: bool

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights are kept, from 1: the first with the lowest loss."""
        return self.losses.index(self.best_loss) + 1

    @property
    def chosen(self) -> dict[str, float]:
        """Accuracy, macro recall (0..1) and loss of that epoch."""
        place = self.best_epoch - 1
        return {
            "accuracy": self.accuracies[place],
            "macro_recall": self.macro_recalls[place],
            "loss": self.losses[place],
        }

    @property
    def best_loss(self) -> float:
        """The lowest."""
        return min(self.losses)

    @property
    def best_accuracy(self) -> float:
        """The highest, 0..1."""
        return max(self.accuracies)

    @property
    def best_macro_recall(self) -> float:
        """Likewise."""
        return max(self.macro_recalls)

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain JSON values."""
        return {
            "name": self.name,
            "network": self.network,
            "dataset": dict(self.dataset),
            "layers": self.layers,
            "weights": self.weights,
            "bytes": self.bytes,
            "epochs": len(self.losses),
            "planned_epochs": self.planned,
            "emotion_based": self.emotion_based,
            "seed": self.seed,
            "recipe": dict(self.recipe),
            "best_epoch": self.best_epoch,
            "chosen": self.chosen,
            "seconds_an_epoch": self.epoch_seconds,
            "minutes": self.minutes[-1],
            "best_accuracy": self.best_accuracy,
            "best_macro_recall": self.best_macro_recall,
            "best_loss": self.best_loss,
        }


def find_runs(folders: Iterable[Path]) -> list[Path]:
    """Return each folder that is a run with a finished epoch, and those directly in the others.

    Averages of runs have no epochs and are passed by.

    Raises:
        ModelError: one is no run and holds none.
    """
    found: dict[Path, None] = {}
    for folder in folders:
        inside = sorted(folder.iterdir()) if folder.is_dir() else []
        runs = [run for run in (folder, *inside) if _has_epochs(run)]
        if not runs:
            came = "no run of 'mien train' with a finished epoch here"
            if not folder.exists():
                came = "no such folder"
            raise ModelError(f"{folder}: {came}; expected a run folder, or a folder of them")
        found |= dict.fromkeys(runs)
    return list(found)


def summarise(run: Path) -> RunSummary:
    """Sum up a run, finished or not.

    Raises:
        ModelError: its weights or its history cannot be read.
    """
    tensors, card = read_weights(run / BEST_NAME)
    try:
        recipe = card.training["recipe"]
        if not (history := read_history(run)):
            raise ModelError(f"{run}: no finished epoch yet; --resume goes on with it")
        seconds = [float(entry["seconds"]) for entry in history]
        return RunSummary(
            name=run.name,
            network=card.network,
            dataset=card.training["dataset"],
            recipe=recipe,
            seed=int(recipe["seed"]),
            planned=int(recipe["epochs"]),
            emotion_based=bool(recipe.get("emotion_based")),
            layers=sum(tensor.ndim > 1 for tensor in tensors.values()),
            weights=card.parameters,
            bytes=(run / BEST_NAME).stat().st_size,
            minutes=tuple(total / 60 for total in accumulate(seconds)),
            losses=_values(history, "valid_loss"),
            accuracies=_values(history, "valid_accuracy"),
            macro_recalls=_values(history, "valid_macro_recall"),
            epoch_seconds=median(seconds),
        )
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{run}: its history or card is broken ({type(error).__name__}: {error}); expected a "
            "run folder as 'mien train' left it"
        ) from None


def differ_by_seed(runs: Iterable[RunSummary]) -> list[list[RunSummary]]:
    """Return whole runs of one recipe and of the same data together that have different seeds."""
    alike: dict[str, dict[int, RunSummary]] = {}
    for run in runs:
        if len(run.losses) == run.planned:
            asked = {**run.recipe, "seed": None, "data": run.dataset["fingerprint"]}
            alike.setdefault(json.dumps(asked, sort_keys=True), {}).setdefault(run.seed, run)
    return [[of[seed] for seed in sorted(of)] for of in alike.values() if len(of) > 1]


def differing(runs: Sequence[RunSummary]) -> list[dict[str, Any]]:
    """Return of each run the settings that are not the same in all of them; None: it has none."""
    keys = dict.fromkeys(key for run in runs for key in run.recipe)
    told = [key for key in keys if len({json.dumps(run.recipe.get(key)) for run in runs}) > 1]
    return [{key: run.recipe.get(key) for key in told} for run in runs]


def _has_epochs(run: Path) -> bool:
    return (run / BEST_NAME).is_file() and not (run / AVERAGE_NAME).is_file()


def _values(history: Sequence[Mapping[str, Any]], key: str) -> tuple[float, ...]:
    return tuple(float(entry[key]) for entry in history)
