"""A race of two recipes: how long each trains until it is where the other gets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.config import TrainConfig, load_recipe
from mien.data.dataset import Dataset
from mien.history import read_history
from mien.progress import Progress, silent
from mien.train import train

__all__ = ["Race", "race"]


@dataclass(frozen=True, slots=True)
class Race:
    """How long one recipe takes to where another gets.

    Attributes:
        theirs: the recipe to beat, and ours.
        ours: likewise.
        goal: the best validation accuracy of theirs, 0..1.
        their_seconds: of training until then.
        our_seconds: of training until ours is there; None: it did not get there.
        epochs: how many each was given.
    """

    theirs: str
    ours: str
    goal: float
    their_seconds: float
    our_seconds: float | None
    epochs: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "theirs": self.theirs,
            "ours": self.ours,
            "goal": self.goal,
            "their_seconds": self.their_seconds,
            "our_seconds": self.our_seconds,
            "ratio": None if self.our_seconds is None else self.their_seconds / self.our_seconds,
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
        theirs: the recipe to beat.
        ours: the one that is to beat it.
        settings: of both, ``key=value``.
        device: ``cpu``, ``cuda`` or ``auto``.
        progress: shows how far an epoch is.
        on_epoch: is told each epoch's entry of the history.
    """
    configs = {name: load_recipe(name, settings) for name in (theirs, ours)}
    histories: dict[str, list[dict[str, Any]]] = {name: [] for name in configs}
    while any(len(histories[name]) < config.epochs for name, config in configs.items()):
        for name, config in configs.items():
            if len(histories[name]) < config.epochs:
                histories[name] = _one_more(
                    dataset, config, runs / name, device, progress, on_epoch
                )
    goal = max(entry["valid_accuracy"] for entry in histories[theirs])
    return Race(
        theirs,
        ours,
        goal,
        their_seconds=_seconds_to(histories[theirs], goal) or 0.0,
        our_seconds=_seconds_to(histories[ours], goal),
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


def _seconds_to(history: Sequence[Mapping[str, Any]], goal: float) -> float | None:
    seconds = 0.0
    for entry in history:
        seconds += float(entry["seconds"])
        if entry["valid_accuracy"] >= goal:
            return seconds
    return None
