"""Training from scratch: a run from its first epoch to its last, and the folder it leaves.

    run.json             data, recipe, versions, machine: everything to do it again
    history.jsonl        one line an epoch
    curves.png           loss and accuracy of every epoch
    best.safetensors     the weights of the epoch with the lowest validation loss, with their card
    emotions.png         each emotion's recall and loss
    checkpoints/         where to resume from: the last whole epoch, or a step of the next one
    opinions.safetensors what teachers said who were asked once
    .lock                empty: the system tells by it whether a command is at work here

A resumed run goes exactly the way of one that was never interrupted. Devices and precision are
Lightning Fabric's business; the loop (`mien.training.trainer`) is ours.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import torch

from mien.atomic import write_text
from mien.config import RUN_NAME, TrainConfig
from mien.data.dataset import Dataset, origins
from mien.data.stream import Stream
from mien.errors import ModelError, UsageError
from mien.lock import alone_in
from mien.progress import Progress, silent
from mien.termination import interrupts_held
from mien.training.checkpoint import Checkpoint, latest_checkpoint
from mien.training.memory import telling_of_memory
from mien.training.together import from_first, together
from mien.training.trainer import History, Trainer

__all__ = ["RunResult", "train"]

T = TypeVar("T")

_PRECISIONS: Mapping[str, Literal["32-true", "bf16-mixed"]] = MappingProxyType(
    {"float32": "32-true", "bfloat16": "bf16-mixed"}
)


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended.

    Attributes:
        run: the run folder.
        best_epoch: the epoch with the lowest validation loss, from 1.
        history: one entry an epoch, as in ``history.jsonl``.
    """

    run: Path
    best_epoch: int
    history: History


def train(
    dataset: Dataset | Stream,
    config: TrainConfig,
    run: str | os.PathLike[str],
    *,
    resume: bool = False,
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    progress: Progress = silent,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> RunResult:
    """Train a network from scratch on a dataset's training split, choosing by its validation split.

    One training at a time in a process: two would draw from the same generator, torch's.

    Args:
        dataset: needs usable samples in train and valid; those of a stream are read as training
            needs them, its validation images all at once.
        config: the recipe.
        run: the run folder to make, or with ``resume`` to go on with.
        resume: go on after the last checkpoint.
        device: ``cpu``, ``cuda`` or ``auto``.
        devices: how many processes on this machine share each batch, one a device. They are
            started by running this program's command line again, so from Python call this where
            that leads here; under ``torchrun`` its numbers count instead.
        nodes: on how many machines; see `mien.training.together.together`.
        progress: shows how far the teachers are asked, and how far an epoch is.
        on_epoch: is told each epoch's entry of the history, in every process.

    Raises:
        UsageError: the run exists and ``resume`` is not set, another command is at work in it, it
            belongs to other data, another recipe or other teachers, the model to start from is of
            another network, the batch cannot be shared evenly, or colour is to be learnt from grey
            images.
        DatasetError: a split is empty, its labels do not fit, or all are of one emotion.
        ModelError: what there is of the run to resume, or to start from, is damaged.
        DataError: the loss became infinite or not a number, there is too little memory, or another
            process was lost.
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP, after the step or epoch that it came in; a
            second one at once.
    """
    run = Path(run)
    with (
        telling_of_memory(config),
        torch.random.fork_rng(devices=()),  # What the caller draws is not changed by it.
        ExitStack() as held,
        interrupts_held() as heed,
        together(device, devices, nodes, _PRECISIONS[config.precision]) as fabric,
    ):
        trainer = Trainer.start(fabric, dataset, config, run)
        progress = _heeding(heed, progress)

        def begin() -> Checkpoint | None:
            held.enter_context(alone_in(run, kind="run", known_by=RUN_NAME))
            return _begin(run, trainer.description(), resume=resume)

        last = from_first(fabric, begin)
        trainer.ask_teachers(progress)
        if last is not None:
            trainer.restore(last)
        elif trainer.opened_file:
            trainer.settle()
        while trainer.epoch < config.epochs:
            entry = trainer.run_epoch(progress)
            trainer.save()
            if on_epoch is not None:
                on_epoch(entry)
            heed()
    return RunResult(run, trainer.best_epoch, trainer.history)


def _heeding(heed: Callable[[], None], progress: Progress) -> Progress:
    """Show progress, and heed before each item what would end the program."""

    def heeded(items: Iterable[T], *, total: int, doing: str) -> Iterator[T]:
        for item in progress(items, total=total, doing=doing):
            heed()
            yield item

    return heeded


def _begin(run: Path, description: dict[str, Any], *, resume: bool) -> Checkpoint | None:
    """Describe the run in its folder; return the checkpoint to go on from, if there is one."""
    last = _checkpoint_to_resume(run, description, resume=resume)
    write_text(run / RUN_NAME, json.dumps(description, indent=2) + "\n")
    return last


def _checkpoint_to_resume(
    run: Path, description: dict[str, Any], *, resume: bool
) -> Checkpoint | None:
    if not (run / RUN_NAME).exists():
        return None
    if not resume:
        raise UsageError(
            f"{run} holds a run: add --resume to go on with it, or choose another --out"
        )
    try:
        told = json.loads((run / RUN_NAME).read_text(encoding="utf-8"))
        # Runs of before weights of other models were noted go on with those that are there.
        others = ("teachers", "started_from")
        told = {key: description[key] for key in others} | told
        before = {key: dict(told[key] or {}) for key in ("recipe", "dataset", *others)}
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(
            f"{run / RUN_NAME}: damaged ({error}); choose another --out, or remove the run"
        ) from None
    # What a setting does by default is what was done before there was such a setting.
    before["recipe"] = TrainConfig().model_dump(mode="json") | before["recipe"]
    # The fingerprint tells datasets apart; what they came from was not noted at first.
    before["dataset"] = origins(description["dataset"]) | before["dataset"]
    for key, of_key in before.items():
        changed = [
            name
            for name in of_key | description[key]
            if of_key.get(name) != description[key].get(name)
        ]
        if changed:
            was, now = of_key.get(changed[0]), description[key].get(changed[0])
            raise UsageError(
                f"{run} was begun with {key} {changed[0]} = {was!r}, now it is {now!r}: "
                "resume with the same, or choose another --out"
            )
    return latest_checkpoint(run / "checkpoints")
