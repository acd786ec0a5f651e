"""Training from scratch: the loop, and the run folder it leaves.

    run.json             data, recipe, versions, machine: everything to do it again
    history.jsonl        one line an epoch
    curves.png           loss and accuracy of every epoch
    best.safetensors     the weights of the epoch with the lowest validation loss, with their card
    checkpoints/         the last whole epoch, to resume from

Every epoch's random numbers follow from the seed and the epoch's number alone, so a resumed run
goes exactly the way of one that was never interrupted. Devices and precision are Lightning
Fabric's business; the loop is ours.
"""

import json
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mien import plots
from mien.atomic import write_text
from mien.augment import Augmentation
from mien.card import ModelCard
from mien.checkpoint import (
    Checkpoint,
    latest_checkpoint,
    load_optimizer_tensors,
    optimizer_tensors,
    write_checkpoint,
    write_weights,
)
from mien.config import TrainConfig
from mien.data.dataset import Dataset
from mien.errors import DataError, DatasetError, UsageError
from mien.evaluate import ask_for_rows
from mien.metrics import Evaluation, evaluate_probabilities
from mien.networks import (
    Classifier,
    build,
    multiply_adds,
    parameter_count,
    torch_probabilities,
)
from mien.optim import make_optimizer, make_schedule
from mien.preprocess import InputSpec, fit, to_batch
from mien.progress import Progress, silent
from mien.records import Split
from mien.version import __version__

__all__ = ["BEST_NAME", "Labelled", "RunResult", "train"]

BEST_NAME = "best.safetensors"
History = list[dict[str, Any]]


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


@dataclass(frozen=True)
class Labelled:
    """The usable samples of one split, as a network takes them.

    Attributes:
        rows: their numbers in the manifest.
        labels: int (n,), indices into the emotions.
        targets: float32 (n, k), the probabilities to learn.
    """

    dataset: Dataset
    spec: InputSpec
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    targets: NDArray[np.float32]

    @classmethod
    def of(
        cls, dataset: Dataset, split: Split, spec: InputSpec, emotions: tuple[str, ...]
    ) -> "Labelled":
        """Take the usable samples of a split.

        Raises:
            DatasetError: there is none, or a label is not among ``emotions``.
        """
        rows = dataset.usable(split)
        if len(rows) == 0:
            raise DatasetError(f"{dataset.path}: no usable image in split {split!r}")
        labels, targets = dataset.labels(rows, emotions), dataset.targets(rows, emotions)
        return cls(dataset, spec, rows, labels, targets)

    def __len__(self) -> int:
        return len(self.rows)

    def pixels(self, positions: NDArray[np.int64]) -> Tensor:
        """Return float32 (n, C, H, W), 0..1, of the samples at some positions."""
        images = self.dataset.images(self.rows[positions])
        return torch.from_numpy(to_batch([fit(image, self.spec) for image in images], self.spec))


def train(
    dataset: Dataset,
    config: TrainConfig,
    run: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    progress: Progress = silent,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> RunResult:
    """Train a network from scratch on a dataset's training split, choosing by its validation split.

    Args:
        dataset: needs usable samples in train and valid.
        config: the recipe.
        run: the run folder to make, or with ``resume`` to go on with.
        resume: go on after the last whole epoch.
        device: ``cpu``, ``cuda`` or ``auto``.
        progress: shows how far an epoch is.
        on_epoch: is told each epoch's entry of the history.

    Raises:
        UsageError: the run exists and ``resume`` is not set, or it belongs to other data or
            another recipe.
        DatasetError: a split is empty or its labels do not fit.
        DataError: the loss became infinite or not a number.
    """
    fabric = Fabric(accelerator=device, devices=1)
    trainer = _Trainer.start(fabric, dataset, config, run)
    last = _checkpoint_to_resume(run, trainer.description(), resume=resume)
    run.mkdir(parents=True, exist_ok=True)
    write_text(run / "run.json", json.dumps(trainer.description(), indent=2) + "\n")
    if last is not None:
        trainer.restore(last)
    while trainer.epoch < config.epochs:
        entry = trainer.run_epoch(progress)
        trainer.save()
        if on_epoch is not None:
            on_epoch(entry)
    return RunResult(run, trainer.best_epoch, trainer.history)


def _checkpoint_to_resume(
    run: Path, description: dict[str, Any], *, resume: bool
) -> Checkpoint | None:
    if not (run / "run.json").exists():
        if run.exists() and any(run.iterdir()):
            raise UsageError(f"{run} is not empty and no run: choose another --out")
        return None
    if not resume:
        raise UsageError(
            f"{run} holds a run: add --resume to go on with it, or choose another --out"
        )
    before = json.loads((run / "run.json").read_text(encoding="utf-8"))
    for key in ("recipe", "dataset"):
        changed = [
            name for name in description[key] if before[key].get(name) != description[key][name]
        ]
        if changed:
            was, now = before[key].get(changed[0]), description[key][changed[0]]
            raise UsageError(
                f"{run} was begun with {key} {changed[0]} = {was!r}, now it is {now!r}: "
                "resume with the same, or choose another --out"
            )
    return latest_checkpoint(run / "checkpoints")


@dataclass
class _Trainer:
    """The moving parts of a run."""

    fabric: Fabric
    dataset: Dataset
    config: TrainConfig
    run: Path
    train_data: Labelled
    valid_data: Labelled
    model: Classifier
    averaged: AveragedModel | None
    augment: Augmentation
    emotions: tuple[str, ...]
    epoch: int = 0
    history: History = field(default_factory=list)

    @classmethod
    def start(cls, fabric: Fabric, dataset: Dataset, config: TrainConfig, run: Path) -> "_Trainer":
        spec = InputSpec(size=config.size, channels=config.channels)
        emotions = dataset.emotions
        torch.manual_seed(config.seed)
        model = build(config.network, spec=spec, emotions=len(emotions), dropout=config.dropout)
        model.to(fabric.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cls(
            fabric=fabric,
            dataset=dataset,
            config=config,
            run=run,
            train_data=Labelled.of(dataset, "train", spec, emotions),
            valid_data=Labelled.of(dataset, "valid", spec, emotions),
            model=model,
            averaged=_averaged(model, config.ema) if config.ema else None,
            augment=Augmentation(config),
            emotions=emotions,
        )

    def __post_init__(self) -> None:
        self.optimizer = make_optimizer(self.model, self.config)
        self.schedule = make_schedule(
            self.optimizer, self.config, steps_per_epoch=self.steps_per_epoch
        )
        self.wrapped, self.wrapped_optimizer = self.fabric.setup(self.model, self.optimizer)

    @property
    def steps_per_epoch(self) -> int:
        # A last batch of one image would break batch normalisation, so remainders wait for the
        # next epoch's draw, unless there is nothing else.
        return max(1, len(self.train_data) // self.config.batch_size)

    @property
    def judged(self) -> nn.Module:
        """The weights that validation sees: the averaged ones where there are any."""
        return self.model if self.averaged is None else self.averaged.module

    @property
    def best_epoch(self) -> int:
        return int(min(self.history, key=lambda entry: entry["valid_loss"])["epoch"])

    def description(self) -> dict[str, Any]:
        """Everything needed to do the run again."""
        return {
            "mien": __version__,
            "recipe": self.config.model_dump(),
            "dataset": {
                "fingerprint": self.dataset.info["fingerprint"],
                "source_format": self.dataset.info["source_format"],
                "labels": list(self.emotions),
                "train": len(self.train_data),
                "valid": len(self.valid_data),
            },
            "network": {
                "parameters": parameter_count(self.model),
                "multiply_adds": multiply_adds(self.model, self.train_data.spec),
            },
            "machine": {
                "device": str(self.fabric.device),
                "system": platform.platform(),
                "python": platform.python_version(),
                "torch": torch.__version__,
                "threads": torch.get_num_threads(),
            },
        }

    def run_epoch(self, progress: Progress) -> dict[str, Any]:
        """Train one epoch, judge it, and return its entry of the history."""
        started = time.perf_counter()
        rate = self.optimizer.param_groups[0]["lr"]
        torch.manual_seed(self.config.seed * 100_003 + self.epoch)
        self.model.train()
        batches = progress(
            self._batches(),
            total=self.steps_per_epoch,
            doing=f"epoch {self.epoch + 1}/{self.config.epochs}",
        )
        losses = [self._step(positions) for positions in batches]
        train_loss = float(torch.stack(losses).mean())
        trained = time.perf_counter() - started
        valid = self._evaluate()
        self.epoch += 1
        if not np.isfinite(train_loss) or not np.isfinite(valid.nll):
            raise DataError(
                f"training diverged in epoch {self.epoch} (loss {train_loss}): the last good epoch "
                f"is kept in {self.run}; try a lower learning_rate or a clip_norm above 0"
            )
        self.schedule.after_epoch(valid.nll)
        entry = {
            "epoch": self.epoch,
            "learning_rate": rate,
            "train_loss": train_loss,
            "valid_loss": valid.nll,
            "valid_accuracy": valid.accuracy,
            "valid_macro_recall": valid.macro_recall,
            "valid_recall": valid.recall,
            "seconds": round(time.perf_counter() - started, 3),
            "images_per_second": round(self.steps_per_epoch * self.config.batch_size / trained, 1),
        }
        self.history.append(entry)
        return entry

    def save(self) -> None:
        """Write the epoch: weights where it is the best, checkpoint, history, curves."""
        if self.best_epoch == self.epoch:
            write_weights(self.run / BEST_NAME, self.judged, self._card())
        tensors = _prefixed("model", self.model.state_dict())
        tensors |= _prefixed("optimizer", optimizer_tensors(self.optimizer))
        if self.averaged is not None:
            tensors |= _prefixed("averaged", self.averaged.state_dict())
        state = {"schedule": self.schedule.state_dict(), "history": self.history}
        write_checkpoint(self.run / "checkpoints", Checkpoint(self.epoch, tensors, state))
        self._write_history()

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint."""
        tensors = checkpoint.tensors
        self.model.load_state_dict(_under("model", tensors))
        load_optimizer_tensors(self.optimizer, _under("optimizer", tensors))
        if self.averaged is not None:
            self.averaged.load_state_dict(_under("averaged", tensors))
        self.schedule.load_state_dict(checkpoint.state["schedule"])
        self.history = checkpoint.state["history"]
        self.epoch = checkpoint.epoch
        self._write_history()

    def _write_history(self) -> None:
        lines = "".join(json.dumps(entry) + "\n" for entry in self.history)
        write_text(self.run / "history.jsonl", lines)
        plots.save_curves(self.run / "curves.png", self.history)

    def _batches(self) -> Iterator[NDArray[np.int64]]:
        order = torch.randperm(len(self.train_data)).numpy()
        size = self.config.batch_size
        for step in range(self.steps_per_epoch):
            yield order[step * size : (step + 1) * size]

    def _step(self, positions: NDArray[np.int64]) -> Tensor:
        device = self.fabric.device
        images = self.augment(self.train_data.pixels(positions).to(device))
        logits = self.wrapped(images.contiguous(memory_format=torch.channels_last))
        loss = functional.cross_entropy(
            logits, self._targets(positions).to(device), label_smoothing=self.config.label_smoothing
        )
        self.fabric.backward(loss)
        if self.config.clip_norm:
            self.fabric.clip_gradients(
                self.wrapped, self.wrapped_optimizer, max_norm=self.config.clip_norm
            )
        self.wrapped_optimizer.step()
        self.wrapped_optimizer.zero_grad()
        self.schedule.after_step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)
        return loss.detach()

    def _targets(self, positions: NDArray[np.int64]) -> Tensor:
        if self.config.soft_labels:
            return torch.from_numpy(self.train_data.targets[positions])
        return torch.from_numpy(self.train_data.labels[positions])

    def _evaluate(self) -> Evaluation:
        spec = self.valid_data.spec

        def ask(crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
            return torch_probabilities(self.judged, crops, spec)

        found = ask_for_rows(ask, self.dataset, self.valid_data.rows, spec)
        return evaluate_probabilities(found, self.valid_data.labels, self.emotions)

    def _card(self) -> ModelCard:
        entry = self.history[-1]
        kept = ("valid_loss", "valid_accuracy", "valid_macro_recall", "valid_recall")
        description = self.description()
        return ModelCard(
            name=self.run.name,
            network=self.config.network,
            labels=self.emotions,
            size=self.config.size,
            channels=self.config.channels,
            parameters=parameter_count(self.model),
            training={
                "dataset": description["dataset"],
                "recipe": description["recipe"],
                "best_epoch": self.epoch,
                "chosen_by": "lowest validation loss",
                "date": datetime.now(UTC).date().isoformat(),
            },
            figures={"valid": {key.removeprefix("valid_"): entry[key] for key in kept}},
            mien_version=__version__,
        )


def _averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Keep an exponential moving average of a model's weights and of its norms' statistics."""

    def average(averages: Any, currents: Any, steps: Any) -> None:
        # A short memory at first: else the random start would weigh on the first epochs.
        now = min(decay, (1 + int(steps)) / (10 + int(steps)))
        get_ema_multi_avg_fn(now)(averages, currents, steps)

    return AveragedModel(model, multi_avg_fn=average, use_buffers=True)


def _prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {
        name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)
    }
