"""The project's own speed figures, as ratios against what they are to beat, measured in one run.

Times are taken turn by turn, so that a machine that is busy for a while slows all of them alike.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from torch import nn
from torch.optim import Adamax

from mien.augment import Augmentation
from mien.config import TrainConfig, load_recipe
from mien.data.dataset import Dataset
from mien.history import read_history
from mien.losses import Objective
from mien.model import load_model, shipped_models
from mien.networks import build
from mien.optim import make_optimizer
from mien.preprocess import InputSpec
from mien.progress import Progress, silent
from mien.train import train

__all__ = ["Figure", "Race", "bench_recognition", "bench_training", "race"]

_TURNS: Final = 5
_STEPS: Final = 3
_CALLS: Final = 40
_FACES: Final = 256
_FORERUNNER: Final = "forerunner"
_FORERUNNER_BATCH: Final = 64
_EMOTIONS: Final = 8


@dataclass(frozen=True, slots=True)
class Figure:
    """One speed.

    Attributes:
        name: of what was timed.
        value: the median of several turns.
        unit: of the value.
        ratio: how many times as fast as the baseline; None for the baseline itself.
    """

    name: str
    value: float
    unit: str
    ratio: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {"name": self.name, "value": self.value, "unit": self.unit, "ratio": self.ratio}


def bench_recognition(*, progress: Progress = silent) -> list[Figure]:
    """Time the shipped models: one face at a time on one thread, and faces in batches.

    The baseline of the batches is one at a time on as many threads.
    """
    found = []
    for name in shipped_models():
        alone, free = load_model(name, threads=1), load_model(name)
        spec = alone.card.spec
        face = np.random.default_rng(0).integers(
            0, 256, (spec.size, spec.size, spec.channels), dtype=np.uint8
        )
        seconds = _in_turns(
            {
                "thread": _Timed(partial(alone.probabilities, [face]), _CALLS),
                "single": _Timed(partial(free.probabilities, [face]), _CALLS),
                "batch": _Timed(partial(free.probabilities, [face] * _FACES), 2),
            },
            progress,
            doing=f"timing {name}",
        )
        single, batch = 1 / seconds["single"], _FACES / seconds["batch"]
        found += [
            Figure(f"{name}, one face on one thread", 1000 * seconds["thread"], "ms"),
            Figure(f"{name}, one face at a time", single, "faces/s"),
            Figure(f"{name}, in batches of {_FACES}", batch, "faces/s", batch / single),
        ]
    return found


def bench_training(
    recipes: Sequence[str] = ("second", "base", "fast"), *, progress: Progress = silent
) -> list[Figure]:
    """Time steps of training, against the forerunner's loop.

    That loop took its second network (`classic7`), batches of 64 and Adamax, and changed one image
    after the other with Pillow: mirrored, turned, brightened, contrast changed. All train on noise
    of 48x48 pixels, on the CPU: what a step costs does not depend on what it learns.
    """
    configs = {name: load_recipe(name) for name in recipes}
    steps = {name: _Timed(_our_step(config), _STEPS) for name, config in configs.items()}
    steps[_FORERUNNER] = _Timed(_forerunner_step(), _STEPS)
    seconds = _in_turns(steps, progress, doing="timing steps of training")
    before = _FORERUNNER_BATCH / seconds.pop(_FORERUNNER)
    rates = {name: configs[name].batch_size / value for name, value in seconds.items()}
    return [
        Figure("training, the forerunner's loop", before, "images/s"),
        *(
            Figure(f"training, recipe {name}", rate, "images/s", rate / before)
            for name, rate in rates.items()
        ),
    ]


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


# --- what is timed ------------------------------------------------------------------------------


class _Timed(NamedTuple):
    action: Callable[[], object]
    calls: int


def _in_turns(actions: Mapping[str, _Timed], progress: Progress, *, doing: str) -> dict[str, float]:
    """Time actions turn by turn; return the median seconds of a call of each."""
    for action, _ in actions.values():
        action()
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in progress(range(_TURNS), total=_TURNS, doing=doing):
        for name, (action, calls) in actions.items():
            started = time.perf_counter()
            for _ in range(calls):
                action()
            seconds[name].append((time.perf_counter() - started) / calls)
    return {name: median(values) for name, values in seconds.items()}


def _noise(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 48, 48), dtype=np.uint8)


def _forerunner_step() -> Callable[[], None]:
    """A step as it was: one picture after the other through Pillow, then the network."""
    network = build("classic7", spec=InputSpec(), emotions=_EMOTIONS)
    optimizer = Adamax(network.parameters(), lr=1e-3, weight_decay=1e-4)
    objective = nn.CrossEntropyLoss(label_smoothing=0.11)
    pictures = [Image.fromarray(image) for image in _noise(_FORERUNNER_BATCH)]
    labels = torch.arange(_FORERUNNER_BATCH) % _EMOTIONS
    random = np.random.default_rng(0)

    def vary(picture: Image.Image) -> NDArray[np.float32]:
        if random.random() < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        picture = picture.rotate(random.uniform(-10, 10))
        picture = ImageEnhance.Brightness(picture).enhance(random.uniform(0.8, 1.2))
        picture = ImageEnhance.Contrast(picture).enhance(random.uniform(0.8, 1.2))
        return np.asarray(picture, dtype=np.float32) / np.float32(255)

    def step() -> None:
        pixels = torch.from_numpy(np.stack([vary(picture) for picture in pictures]))[:, None]
        optimizer.zero_grad()
        objective(network(pixels), labels).backward()
        optimizer.step()

    return step


def _our_step(config: TrainConfig) -> Callable[[], None]:
    """A step of a recipe as `mien.train` takes it."""
    spec = InputSpec(size=config.size, channels=config.channels)
    network = build(config.network, spec=spec, emotions=_EMOTIONS, dropout=config.dropout)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer, augment = make_optimizer(network, config), Augmentation(config)
    objective = Objective(config, torch.ones(_EMOTIONS))
    packed = torch.from_numpy(_noise(config.batch_size))[:, None]
    targets = torch.eye(_EMOTIONS)[torch.arange(config.batch_size) % _EMOTIONS]
    weights = torch.ones(config.batch_size)

    def step() -> None:
        images = augment(packed.float() / 255).contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad()
        objective(network(images), targets, weights).backward()
        if config.clip_norm:
            nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
        optimizer.step()

    return step
