"""A race of two recipes: how long each trains until it is where one of them gets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.config import TrainConfig, load_recipe
from mien.data.dataset import Dataset
from mien.errors import UsageError
from mien.progress import Progress, silent
from mien.training.history import read_history
from mien.training.train import train

__all__ = ["Finish", "Race", "race"]

_Entry = Mapping[str, Any]
_History = Sequence[_Entry]


@dataclass(frozen=True, slots=True)
class Finish:
    """When each recipe got to the best validation figure of the one to beat.

    Attributes:
        goal: that figure.
        their_seconds: of training until then.
        our_seconds: of training until ours is there; None: it did not get there.
    """

    goal: float
    their_seconds: float
    our_seconds: float | None

    def to_json(self) -> dict[str, float | None]:
        """Return everything, and how many times as fast ours is."""
        ratio = None if self.our_seconds is None else self.their_seconds / self.our_seconds
        return {
            "goal": self.goal,
            "their_seconds": self.their_seconds,
            "our_seconds": self.our_seconds,
            "ratio": ratio,
        }


@dataclass(frozen=True, slots=True)
class Race:
    """How long one recipe takes to where another gets.

    Attributes:
        theirs: the recipe to beat, and ours.
        ours: likewise.
        accuracy: to its highest validation accuracy, 0..1.
        loss: to its lowest validation loss.
        epochs: how many each was given.
    """

    theirs: str
    ours: str
    accuracy: Finish
    loss: Finish
    epochs: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "theirs": self.theirs,
            "ours": self.ours,
            "accuracy": self.accuracy.to_json(),
            "loss": self.loss.to_json(),
            "epochs": dict(self.epochs),
        }


def race(
    dataset: Dataset,
    runs: Path,
    *,
    theirs: str = "second",
    ours: str = "base",
    settings: Sequence[str] = (),
    device: str = "auto",
    progress: Progress = silent,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> Race:
    """Train two recipes in turns, an epoch each, to their ends.

    Args:
        dataset: to train on.
        runs: takes a run folder for each; what is there already is gone on with.
        theirs: the recipe to beat, by name or file.
        ours: the one that is to beat it, likewise.
        settings: of both, ``key=value``.
        device: ``cpu``, ``cuda`` or ``auto``.
        progress: shows how far an epoch is.
        on_epoch: is told each epoch's entry of the history.

    Raises:
        UsageError: both recipes have one name.
    """
    their_name, our_name = Path(theirs).stem, Path(ours).stem
    configs = {their_name: load_recipe(theirs, settings), our_name: load_recipe(ours, settings)}
    if len(configs) < 2:
        raise UsageError(f"{theirs} against {ours}: expected two recipes with different names")
    histories: dict[str, list[dict[str, Any]]] = {name: [] for name in configs}
    while any(len(histories[name]) < config.epochs for name, config in configs.items()):
        for name, config in configs.items():
            if len(histories[name]) < config.epochs:
                histories[name] = _one_more(
                    dataset, config, runs / name, device, progress, on_epoch
                )
    both = histories[their_name], histories[our_name]
    return Race(
        their_name,
        our_name,
        accuracy=_finish(*both, lambda entry: float(entry["valid_accuracy"])),
        loss=_finish(*both, lambda entry: -float(entry["valid_loss"])),
        epochs={name: len(history) for name, history in histories.items()},
    )


class _EnoughError(Exception):
    """One more epoch is done."""


def _one_more(
    dataset: Dataset,
    config: TrainConfig,
    run: Path,
    device: str,
    progress: Progress,
    on_epoch: Callable[[dict[str, Any]], None] | None,
) -> list[dict[str, Any]]:
    """Train one epoch more and return the whole history."""
    entries: list[dict[str, Any]] = []

    def stop(entry: dict[str, Any]) -> None:
        if on_epoch is not None:
            on_epoch(entry)
        entries.append(entry)
        if entry["epoch"] < config.epochs:
            raise _EnoughError

    try:
        return train(
            dataset, config, run, resume=True, device=device, progress=progress, on_epoch=stop
        ).history
    except _EnoughError:
        return read_history(run)


def _finish(theirs: _History, ours: _History, merit: Callable[[_Entry], float]) -> Finish:
    """Find when each history is first as good as theirs ever is, by what an epoch merits."""
    goal = max(map(merit, theirs))

    def seconds(history: _History) -> float | None:
        total = 0.0
        for entry in history:
            total += float(entry["seconds"])
            if merit(entry) >= goal:
                return total
        return None

    return Finish(abs(goal), seconds(theirs) or 0.0, seconds(ours))
