"""Training from scratch: the loop, and the run folder it leaves.

    run.json             data, recipe, versions, machine: everything to do it again
    history.jsonl        one line an epoch
    curves.png           loss and accuracy of every epoch
    best.safetensors     the weights of the epoch with the lowest validation loss, with their card
    emotions.png         each emotion's recall and loss
    checkpoints/         where to resume from: the last whole epoch, or a step of the next one
    opinions.safetensors what teachers said who were asked once
    .lock                empty: the system tells by it whether a command is at work here

Every epoch's random numbers follow from the seed and the epoch's number alone, so a resumed run
goes exactly the way of one that was never interrupted. Devices and precision are Lightning
Fabric's business; the loop is ours. Several processes share each batch (`mien.training.together`):
they see the images in the order that one process would, and the first of them writes the run
folder.
"""

import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, TypeVar

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mien.atomic import write_text
from mien.card import ModelCard
from mien.config import RUN_NAME, TrainConfig
from mien.data.dataset import Dataset, origins
from mien.data.stream import Stream
from mien.errors import DataError, DatasetError, ModelError, UsageError
from mien.judging import plots
from mien.judging.calibration import fit_temperature, fit_tilt
from mien.lock import alone_in
from mien.metrics import Evaluation, evaluate_probabilities, negative_log_likelihood
from mien.model import is_run
from mien.preprocess import InputSpec
from mien.progress import Progress, silent
from mien.records import show_path
from mien.termination import interrupts_held
from mien.training.augment import Augmentation
from mien.training.averaging import Averaged
from mien.training.checkpoint import (
    BEST_NAME,
    Checkpoint,
    latest_checkpoint,
    load_optimizer_tensors,
    optimizer_tensors,
    write_checkpoint,
    write_weights,
)
from mien.training.emphasis import Emphasis
from mien.training.history import write_history
from mien.training.labelled import Batch, Labelled
from mien.training.losses import Objective
from mien.training.mixing import mix
from mien.training.networks import (
    Answers,
    Classifier,
    build,
    multiply_adds,
    parameter_count,
)
from mien.training.optim import make_optimizer, make_schedule
from mien.training.reopen import settle_norms, take_weights
from mien.training.sharpness import uphill
from mien.training.streaming import StreamedSplit
from mien.training.teachers import (
    Teacher,
    mean_opinion,
    open_teacher,
    read_opinions,
    weights_digest,
    write_opinions,
)
from mien.training.together import (
    alike,
    from_first,
    gather,
    mean_of_all,
    share,
    share_statistics,
    together,
)
from mien.version import __version__

__all__ = ["RunResult", "train"]

T = TypeVar("T")
History = list[dict[str, Any]]

_PRECISIONS: Mapping[str, Literal["32-true", "bf16-mixed"]] = MappingProxyType(
    {"float32": "32-true", "bfloat16": "bf16-mixed"}
)
_BATCH: Final = 512
_TO_SETTLE: Final = 1024
"""Pictures whose statistics norms begin with, where they had none."""


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
        KeyboardInterrupt: Ctrl-C, after the step or epoch that it came in; a second one at once.
    """
    run = Path(run)
    with (
        _telling_of_memory(config),
        torch.random.fork_rng(),  # what the caller draws is as if nothing had been trained
        ExitStack() as held,
        interrupts_held() as heed,
        together(device, devices, nodes, _PRECISIONS[config.precision]) as fabric,
    ):
        trainer = _Trainer.start(fabric, dataset, config, run)
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


def _is_of_memory(error: Exception) -> bool:
    """Tell whether memory ran out: a GPU's, Python's, or on the CPU torch's, without a name."""
    named = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return named or "DefaultCPUAllocator" in str(error)


@contextmanager
def _telling_of_size(dataset: Dataset | Stream, spec: InputSpec) -> Iterator[None]:
    """Say it in one line where the images that a run holds in memory do not fit there."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_of_memory(error):
            raise
        if isinstance(dataset, Dataset):
            held, count = "training", len(dataset.usable("train"))
            advice = "a smaller size, or 'mien data stream', of which training holds a part"
        else:
            held, count = "validation", sum(shard.images for shard in dataset.shards("valid"))
            advice = "a smaller size"
        gigabytes = count * spec.size**2 * spec.channels / 1e9
        raise DataError(
            f"not enough memory for the images: those of {held} alone take {gigabytes:.1f} GB: "
            f"try {advice}"
        ) from None


@contextmanager
def _telling_of_memory(config: TrainConfig) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_of_memory(error):
            raise
        raise DataError(
            f"not enough memory for {config.network} with batch_size "
            f"{config.batch_size} and pictures of {config.size} pixels: try a smaller batch_size"
        ) from None


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


@dataclass
class _Trainer:
    """The moving parts of a run."""

    fabric: Fabric
    dataset: Dataset | Stream
    config: TrainConfig
    run: Path
    train_data: Labelled | StreamedSplit
    valid_data: Labelled
    model: Classifier
    averaged: Averaged | None
    augment: Augmentation
    emotions: tuple[str, ...]
    teachers: tuple[Teacher, ...]
    teacher_cards: tuple[ModelCard, ...]
    taught_by: Mapping[str, str]
    origin: ModelCard | None
    started_from: Mapping[str, str]
    opened_file: bool
    epoch: int = 0
    history: History = field(default_factory=list)
    begun: "_Begun | None" = None
    drawn_again_at: float = 0.0

    @classmethod
    def start(
        cls, fabric: Fabric, dataset: Dataset | Stream, config: TrainConfig, run: Path
    ) -> "_Trainer":
        spec = InputSpec(size=config.size, channels=config.channels)
        emotions = dataset.emotions
        place = dataset.path if isinstance(dataset, Dataset) else dataset.place
        if spec.channels > dataset.spec.channels:
            raise UsageError(
                f"channels {spec.channels}: the images of {place} are grey, there is no colour to "
                "learn from: 'mien data import --channels 3', or leave channels at 1"
            )
        if config.batch_size % fabric.world_size:
            raise UsageError(
                f"batch_size {config.batch_size} cannot be shared by {fabric.world_size} "
                "processes: --set batch_size= to a multiple of their number"
            )
        if config.progressive_size:
            smaller = replace(spec, size=config.progressive_size)
            build(config.network, spec=smaller, emotions=len(emotions))  # Refuses what it must.
        torch.manual_seed(config.seed)
        model = build(config.network, spec=spec, emotions=len(emotions), dropout=config.dropout)
        origin, started_from, opened_file = None, {}, False
        if (start := config.start_from) is not None:
            if Path(start).resolve() == run.resolve():
                raise UsageError(f"start_from {start}: that is --out itself: choose another")
            origin = take_weights(model, start, name=config.network, spec=spec, emotions=emotions)
            started_from, opened_file = {start: weights_digest(start)}, not is_run(start)
        if fabric.world_size > 1:
            share_statistics(model)
        model.to(fabric.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        with _telling_of_size(dataset, spec):
            train_data = _to_train_on(dataset, config, spec, fabric.device)
            _expect_two(train_data.counts, emotions, config.where, place)
            if len(train_data) < fabric.world_size:
                raise DatasetError(
                    f"{place}: {len(train_data)} training images for {fabric.world_size} processes"
                )
            valid_data = Labelled.of_validation(dataset, spec, emotions, device=fabric.device)
        teachers = [open_teacher(name, spec, emotions, fabric.device) for name in config.teachers]
        return cls(
            fabric=fabric,
            dataset=dataset,
            config=config,
            run=run,
            train_data=train_data,
            valid_data=valid_data,
            model=model,
            averaged=Averaged(model, config.ema) if config.ema else None,
            augment=Augmentation(config),
            emotions=emotions,
            teachers=tuple(teacher for teacher, _ in teachers),
            teacher_cards=tuple(card for _, card in teachers),
            taught_by={name: weights_digest(name) for name in config.teachers},
            origin=origin,
            started_from=started_from,
            opened_file=opened_file,
        )

    def __post_init__(self) -> None:
        counts = self.train_data.counts.to(self.fabric.device)
        self.objective = Objective(self.config, counts)
        self.emphasis = None
        if self.config.emotion_based and isinstance(self.train_data, Labelled):
            labels = torch.from_numpy(self.train_data.labels)
            tilt = self.objective.tilt.cpu()
            self.emphasis = Emphasis(self.config, labels, self.emotions, tilt)
        self.optimizer = make_optimizer(self.model, self.config)
        self.schedule = make_schedule(
            self.optimizer, self.config, steps_per_epoch=self.steps_per_epoch
        )
        if self.config.compile:
            self.model.compile()
        self.wrapped, self.wrapped_optimizer = self.fabric.setup(self.model, self.optimizer)

    @property
    def spec(self) -> InputSpec:
        return InputSpec(size=self.config.size, channels=self.config.channels)

    @property
    def steps_per_epoch(self) -> int:
        # A last batch of one image would break batch normalisation, so remainders wait for the
        # next epoch's draw, unless there is nothing else.
        return max(1, len(self.train_data) // self.config.batch_size)

    @property
    def batch_size(self) -> int:
        """How many images a step takes; all of them where they are fewer than asked for."""
        return min(self.config.batch_size, len(self.train_data))

    @property
    def _weighs_first(self) -> bool:
        """Whether images count by their emotion before they are mixed.

        Where a rare emotion's weight came after, half of it would go to what it is mixed with.
        """
        config = self.config
        return (config.mixup or config.cutmix) > 0 and (config.balance > 0 or config.emotion_based)

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
            "recipe": self.config.model_dump(mode="json"),
            "teachers": dict(self.taught_by),
            "started_from": dict(self.started_from),
            "dataset": {
                "fingerprint": self.dataset.info["fingerprint"],
                "source_format": self.dataset.info["source_format"],
                "labels": list(self.emotions),
                "train": len(self.train_data),
                "valid": len(self.valid_data),
                **({"streamed": True} if isinstance(self.dataset, Stream) else {}),
                **origins(self.dataset.info),
            },
            "images": dict(
                zip(self.emotions, map(int, self.train_data.counts.tolist()), strict=True)
            ),
            "network": {
                "parameters": parameter_count(self.model),
                "multiply_adds": multiply_adds(self.model, self.spec),
            },
            "machine": {
                "device": str(self.fabric.device),
                "system": platform.platform(),
                "python": platform.python_version(),
                "torch": torch.__version__,
                "threads": torch.get_num_threads(),
                "processes": self.fabric.world_size,
            },
        }

    def settle(self) -> None:
        """Ready a network that was opened from a file for learning."""
        torch.manual_seed(self._seed)
        steps = min(-(-_TO_SETTLE // self.config.batch_size), self.steps_per_epoch)
        settle_norms(self.model, (batch.pixels for batch in self._varied(0, steps)))

    def ask_teachers(self, progress: Progress) -> None:
        """Ask the teachers now, where they are to see the pictures as they are and their mirrors.

        They are asked once, so that many cost a run no more than one; its folder keeps what they
        said, so that a resumed one need not ask again.
        """
        data = self.train_data
        at_once = self.teachers and self.config.teachers_see == "original"
        if not at_once or not isinstance(data, Labelled):
            return
        shape = (len(data), len(self.emotions))
        opinions = from_first(self.fabric, lambda: read_opinions(self.run, shape))
        if opinions is None:
            opinions = self._ask_once(data, progress)
            from_first(self.fabric, lambda: write_opinions(self.run, opinions.cpu()))
        targets = _with_opinions(data.targets, opinions.to(data.targets), self.config.distillation)
        self.train_data, self.teachers = replace(data, targets=targets), ()

    def _ask_once(self, data: Labelled, progress: Progress) -> Tensor:
        def answer(asked: Tensor) -> Tensor:
            parts = asked.split(_BATCH)
            shown = progress(parts, total=len(parts), doing="asking the teachers")
            return torch.cat([of_both(data.pixels(part)) for part in shown])

        def of_both(pixels: Tensor) -> Tensor:
            return (self._opinions(pixels) + self._opinions(pixels.flip(-1))) / 2

        return gather(self.fabric, answer, len(data))

    def _opinions(self, pixels: Tensor) -> Tensor:
        with self.fabric.autocast():
            return mean_opinion(self.teachers, pixels)

    def run_epoch(self, progress: Progress) -> dict[str, Any]:
        """Train one epoch, judge it, and return its entry of the history."""
        started = time.perf_counter()
        begun = self.begun or _Begun(rate=self.optimizer.param_groups[0]["lr"])
        self.begun = None
        steps, resumed_at = self.steps_per_epoch, begun.step
        torch.manual_seed(self._seed)
        batches = progress(
            self._varied(begun.step, steps),
            total=steps - begun.step,
            doing=f"epoch {self.epoch + 1}/{self.config.epochs}",
        )
        self.model.train()
        for batch in batches:
            begun.losses.append(self._step(batch))
            begun.step += 1
            if self._may_stop_before(begun.step) and begun.step < steps:
                self._save_within(begun, begun.seconds + time.perf_counter() - started)
        train_loss = float(mean_of_all(torch.stack(begun.losses).mean()))
        trained = time.perf_counter() - started
        judged = self._judge()
        self.epoch += 1
        if not np.isfinite(train_loss) or judged is None:
            raise self._diverged(self.epoch, train_loss)
        self.schedule.after_epoch(judged.loss)
        valid = judged.figures
        entry = {
            "epoch": self.epoch,
            "learning_rate": begun.rate,
            "train_loss": train_loss,
            "valid_loss": judged.loss,
            "valid_accuracy": valid.accuracy,
            "valid_macro_recall": valid.macro_recall,
            "valid_recall": valid.recall,
            "valid_loss_of": judged.loss_of,
            "valid_nll": judged.nll,
            "temperature": judged.temperature,
            "seconds": round(begun.seconds + time.perf_counter() - started, 3),
            "images_per_second": round((steps - resumed_at) * self.batch_size / trained, 1),
        }
        if self.emphasis is not None:
            entry["emphasis"] = self.emphasis.state_dict()
            entry["offsets"] = list(judged.offsets)
            self.emphasis.after_epoch(self.epoch, judged.logits, self.valid_data.labels)
        elif judged.tilt:
            entry["tilt"] = list(judged.tilt)
            entry["untilted_temperature"] = judged.untilted
        self.history.append(entry)
        return entry

    def save(self) -> None:
        """Write the epoch: weights where it is the best, checkpoint, history, curves."""
        if not self.fabric.is_global_zero:
            return
        if self.best_epoch == self.epoch:
            write_weights(self.run / BEST_NAME, self.judged, self._card())
        self._write_checkpoint()
        self._write_history()

    def _save_within(self, begun: "_Begun", seconds: float) -> None:
        """Write a checkpoint within an epoch that took so long until here."""
        # What is read back is what all processes found, so that is what all of them go on with.
        losses = mean_of_all(torch.stack(begun.losses))
        learnt = (losses, *self.model.parameters())
        if not all(values.isfinite().all() for values in learnt):
            raise self._diverged(self.epoch + 1, float(losses[-1]))
        begun.losses = list(losses)
        if self.fabric.is_global_zero:
            told = {"rate": begun.rate, "losses": losses.tolist(), "seconds": seconds}
            self._write_checkpoint(step=begun.step, begun=told)

    def _diverged(self, epoch: int, loss: float) -> DataError:
        kept = f"the last good epoch is kept in {self.run}; " if self.history else ""
        return alike(
            DataError(
                f"training diverged in epoch {epoch} (loss {loss}): {kept}try a lower "
                "learning_rate or a clip_norm above 0"
            )
        )

    def _write_checkpoint(self, *, step: int = 0, begun: Mapping[str, Any] | None = None) -> None:
        tensors = _prefixed("model", self.model.state_dict())
        tensors |= _prefixed("optimizer", optimizer_tensors(self.optimizer))
        if self.averaged is not None:
            tensors |= _prefixed("averaged", self.averaged.state_dict())
        state = {"schedule": self.schedule.state_dict(), "history": self.history}
        if begun is not None:
            state["begun"] = begun
        if self.emphasis is not None:
            state["emphasis"] = self.emphasis.state_dict()
        write_checkpoint(self.run / "checkpoints", Checkpoint(self.epoch, tensors, state, step))

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint.

        Raises:
            ModelError: it is of another run, or damaged.
        """
        try:
            self._take(checkpoint)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            if _is_of_memory(error) or isinstance(error, torch.AcceleratorError):
                raise
            reason = str(error).partition("\n")[0]
            raise ModelError(
                f"{self.run / 'checkpoints'}: the checkpoint does not fit this run "
                f"({type(error).__name__}: {reason}); remove the folder to start over"
            ) from error
        if self.fabric.is_global_zero and self.history:
            self._write_history()

    def _take(self, checkpoint: Checkpoint) -> None:
        tensors = checkpoint.tensors
        self.model.load_state_dict(_under("model", tensors))
        load_optimizer_tensors(self.optimizer, _under("optimizer", tensors))
        if self.averaged is not None:
            self.averaged.load_state_dict(_under("averaged", tensors))
        self.schedule.load_state_dict(checkpoint.state["schedule"])
        if self.emphasis is not None:
            self.emphasis.load_state_dict(checkpoint.state["emphasis"])
        self.history = checkpoint.state["history"]
        self.epoch = checkpoint.epoch
        if (begun := checkpoint.state.get("begun")) is not None:
            losses = torch.tensor(begun["losses"], device=self.fabric.device)
            seconds = begun.get("seconds", 0.0)  # older versions did not note them
            self.begun = _Begun(begun["rate"], checkpoint.step, list(losses), seconds)

    def _write_history(self) -> None:
        write_history(self.run, self.history)
        # An epoch may take less time than to draw it: then not each of them is drawn.
        started = time.monotonic()
        if started < self.drawn_again_at and self.epoch < self.config.epochs:
            return
        plots.save_curves(self.run / "curves.png", self.history)
        plots.save_emotions(self.run / "emotions.png", self.history)
        ended = time.monotonic()
        self.drawn_again_at = ended + 20 * (ended - started)

    @property
    def _seed(self) -> int:
        return self.config.seed * 100_003 + self.epoch

    def _may_stop_before(self, step: int) -> bool:
        """Tell whether a run may stop before a step and go on there."""
        every = self.config.checkpoint_steps
        return step % every == 0 if every else step == 0

    def _draw_anew(self, step: int) -> None:
        """Let what is drawn by chance from a step on follow from its number.

        All processes agree on the order of the images; each has a chance of its own for the rest.
        """
        if step or self.fabric.global_rank:
            apart = self.fabric.global_rank * 1_000_000_007 + step * 1_000_003
            torch.manual_seed(self._seed + apart)

    def _varied(self, first: int, steps: int) -> Iterator[Batch]:
        """Yield the epoch's batches of some of its steps, their pictures varied.

        That takes about as many operations for many pictures as for few, and on a GPU they are
        most of a step. So several batches may be varied at once, none of them beyond a step that
        the run may stop before.
        """
        group: list[Batch] = []
        for after, batch in enumerate(self._batches(first, steps), start=first + 1):
            group.append(batch)
            last = after == steps or self._may_stop_before(after)
            if last or len(group) == self.config.varied_at_once:
                yield from self._vary(group, first=after - len(group))
                group = []

    def _vary(self, group: list[Batch], first: int) -> list[Batch]:
        """Vary the pictures of the batches from a step on, with their targets as they are."""
        if self._may_stop_before(first):
            self._draw_anew(first)
        varied = self.augment(torch.cat([batch.pixels for batch in group]))
        parts = varied.split([len(batch.pixels) for batch in group])
        return [replace(batch, pixels=pixels) for batch, pixels in zip(group, parts, strict=True)]

    def _batches(self, first: int, steps: int) -> Iterator[Batch]:
        """Yield this process's part of the epoch's batches from step ``first`` to ``steps``."""
        data, size = self.train_data, self.config.batch_size
        if isinstance(data, StreamedSplit):
            yield from data.batches(
                size,
                steps,
                seed=self._seed,
                first=first,
                part=self.fabric.global_rank,
                parts=self.fabric.world_size,
            )
            return
        order = torch.randperm(len(data)) if self.emphasis is None else self.emphasis.draw()
        for step in range(first, steps):
            yield data.batch(share(self.fabric, order[step * size : (step + 1) * size]))

    def _step(self, batch: Batch) -> Tensor:
        images = batch.pixels
        if self.emphasis is not None and batch.positions is not None:
            images = self._vary_again(images, batch.positions)
        emphasis = None if self.emphasis is None else self.emphasis.weights().to(images.device)
        weights = batch.weights
        if self._weighs_first:
            weights = self.objective.worth(batch.targets, weights, emphasis)
        images, targets, weights = mix(images, batch.targets, weights, self.config)
        images = images.contiguous(memory_format=torch.channels_last)
        if self.teachers:
            targets = _with_opinions(targets, self._opinions(images), self.config.distillation)
        images = _shrunk(images, self.config.side_in(self.epoch))
        if not self._weighs_first:
            weights = self.objective.worth(targets, weights, emphasis)

        def learn() -> Tensor:
            loss = self.objective(self.wrapped(images), targets, weights)
            self.fabric.backward(loss)
            return loss.detach()

        loss = learn()
        if self.config.sharpness:
            with uphill(self.model, self.config.sharpness):
                learn()
        if self.config.clip_norm:
            self.fabric.clip_gradients(
                self.wrapped,
                self.wrapped_optimizer,
                max_norm=self.config.clip_norm,
                error_if_nonfinite=False,  # The next checkpoint tells that it diverged.
            )
        self.wrapped_optimizer.step()
        self.wrapped_optimizer.zero_grad()
        self.schedule.after_step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)
        return loss

    def _vary_again(self, images: Tensor, positions: Tensor) -> Tensor:
        """Vary an image that a batch has twice or more once more, so that no two are alike."""
        _, which, times = torch.unique(positions, return_inverse=True, return_counts=True)
        again = (times[which] > 1).nonzero()[:, 0]
        if len(again) == 0:
            return images
        return images.index_copy(0, again, self.augment(images[again]))

    def _judge(self) -> "_Judgement | None":
        """Judge the weights on validation; None where their answers are not finite."""
        data, network, emphasis = self.valid_data, self.judged.eval(), self.emphasis

        def answer(asked: Tensor) -> Tensor:
            parts = asked.to(self.fabric.device).split(_BATCH)
            return torch.cat([network(data.pixels(part)).float() for part in parts])

        with torch.inference_mode():
            logits = gather(self.fabric, answer, len(data)).cpu()
        if not logits.isfinite().all():
            return None
        worth: NDArray[np.float64] = np.ones(len(self.emotions))
        offsets: tuple[float, ...] = ()
        tilt: tuple[float, ...] = ()
        untilted = None
        if emphasis is None:
            temperature = fit_temperature(logits.numpy(), data.labels)
            added = self.objective.tilt.cpu().double().numpy()
            if np.ptp(added) > 0:
                part, untilted = fit_tilt(logits.numpy(), data.labels, added)
                tilt = tuple((part * added).tolist())
        else:
            worth = emphasis.worth
            temperature, offsets = emphasis.decide(logits.numpy(), data.labels)
        decided = Answers(nn.Identity(), temperature=temperature, offsets=offsets)(logits).numpy()
        found = logits.softmax(dim=1).numpy() if emphasis is None else decided
        loss_of = {
            emotion: negative_log_likelihood(found[of], data.labels[of]) if of.any() else None
            for i, emotion in enumerate(self.emotions)
            for of in [data.labels == i]
        }
        counted = worth * np.bincount(data.labels, minlength=len(worth))
        lost = np.array([loss or 0.0 for loss in loss_of.values()])
        return _Judgement(
            figures=evaluate_probabilities(found, data.labels, self.emotions),
            loss=float(counted @ lost / counted.sum()),
            loss_of=loss_of,
            nll=negative_log_likelihood(decided, data.labels),
            logits=logits,
            temperature=temperature,
            offsets=offsets,
            tilt=tilt,
            untilted=untilted,
        )

    def _card(self) -> ModelCard:
        entry = self.history[-1]
        kept = ("valid_nll", "valid_accuracy", "valid_macro_recall", "valid_recall")
        description = self.description()
        origin = [self.origin] if self.origin else []
        before = {"started_from": origin, "taught_by": self.teacher_cards}
        return ModelCard(
            name=show_path(self.run.name),
            network=self.config.network,
            labels=self.emotions,
            size=self.config.size,
            channels=self.config.channels,
            temperature=entry["temperature"],
            offsets=entry.get("offsets", ()),
            tilt=entry.get("tilt", ()),
            untilted_temperature=entry.get("untilted_temperature"),
            worth=self.config.emotion_worth if self.config.emotion_based else None,
            parameters=parameter_count(self.model),
            training={
                "dataset": description["dataset"],
                "images": description["images"],
                "recipe": description["recipe"],
                "best_epoch": self.epoch,
                "chosen_by": "lowest validation loss"
                + (", each image by its emotion's worth" if self.config.emotion_based else ""),
                "date": datetime.now(UTC).date().isoformat(),
                **{way: [card.lineage() for card in of] for way, of in before.items() if of},
            },
            figures={
                "valid": {
                    "n": len(self.valid_data),
                    **{key.removeprefix("valid_"): entry[key] for key in kept},
                }
            },
            mien_version=__version__,
        )


@dataclass(frozen=True, slots=True)
class _Judgement:
    """What validation says of an epoch.

    Attributes:
        figures: of the answers; those of an emotion-based run have its offsets.
        loss: their mean loss, each image counted by what its emotion is worth in such a run.
        loss_of: the mean loss of each emotion; None where it has no image.
        nll: the mean loss of calibrated answers, each image counted once.
        logits: as the network gives them.
        temperature: divides them.
        offsets: are added then; none where the run is not emotion-based.
        tilt: what the loss has added to the divided logits; none where that is nothing, or where
            offsets take it out.
        untilted: the temperature that divides them where the tilt is taken out.
    """

    figures: Evaluation
    loss: float
    loss_of: Mapping[str, float | None]
    nll: float
    logits: Tensor
    temperature: float
    offsets: tuple[float, ...]
    tilt: tuple[float, ...]
    untilted: float | None


@dataclass
class _Begun:
    """An epoch that is under way: its learning rate at the start, and the steps taken so far.

    ``seconds`` are those until its last checkpoint.
    """

    rate: float
    step: int = 0
    losses: list[Tensor] = field(default_factory=list)
    seconds: float = 0.0


def _to_train_on(
    dataset: Dataset | Stream, config: TrainConfig, spec: InputSpec, device: torch.device
) -> Labelled | StreamedSplit:
    if isinstance(dataset, Dataset):
        return Labelled.of(
            dataset,
            "train",
            spec,
            dataset.emotions,
            where=config.where,
            soft=config.soft_labels,
            device=device,
        )
    for name, asked in (
        ("emotion_based", config.emotion_based),
        ("where", config.where),
        ("teachers_see=original", config.teachers and config.teachers_see == "original"),
    ):
        if asked:
            raise UsageError(
                f"{name} needs images in any order, and a stream has them in its own: train on "
                "the dataset folder, or leave it out"
            )
    return StreamedSplit(dataset, spec, soft=config.soft_labels, device=device)


def _expect_two(
    counts: Tensor, emotions: Sequence[str], where: Sequence[str], place: object
) -> None:
    """Refuse images of one emotion alone, which teach nothing.

    Raises:
        DatasetError: they are.
    """
    shown = [emotion for emotion, n in zip(emotions, counts.tolist(), strict=True) if n]
    if len(shown) < 2:
        of = f" where {' and '.join(where)}" if where else ""
        raise DatasetError(
            f"{place}: every training image{of} shows {shown[0]}; expected two emotions or more, "
            "to be told apart"
        )


def _with_opinions(targets: Tensor, opinions: Tensor, share: float) -> Tensor:
    """Put the teachers' mean opinions beside the targets, each (N, k)."""
    return (1 - share) * targets + share * opinions


def _shrunk(images: Tensor, side: int) -> Tensor:
    """Make pictures smaller for a while, which is when most is learnt and least is seen.

    Progressive resizing: the same network at a fraction of the cost (Tan and Le 2021,
    arXiv:2104.00298, section 4, without its growing augmentation).
    """
    if images.shape[-1] == side:
        return images
    return functional.interpolate(images, (side, side), mode="bilinear", antialias=True)


def _prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {
        name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)
    }
