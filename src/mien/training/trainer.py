"""The moving parts of a run: a network, its data, an epoch, what is kept of it.

Every epoch's random numbers follow from the seed and the epoch's number alone. Several processes
share each batch (`mien.training.together`): they see the images in the order that one process
would, and the first of them writes.
"""

import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional

from mien.card import ModelCard
from mien.config import TrainConfig
from mien.data.dataset import Dataset, origins
from mien.data.stream import Stream
from mien.errors import DataError, DatasetError, ModelError, UsageError
from mien.judging import plots
from mien.model import is_run
from mien.preprocess import InputSpec
from mien.progress import Progress
from mien.records import show_path
from mien.training.augment import Augmentation
from mien.training.averaging import Averaged
from mien.training.checkpoint import (
    BEST_NAME,
    Checkpoint,
    load_optimizer_tensors,
    optimizer_tensors,
    write_checkpoint,
    write_weights,
)
from mien.training.emphasis import Emphasis
from mien.training.history import write_history
from mien.training.judgement import Judgement, judge
from mien.training.labelled import Batch, Labelled
from mien.training.losses import Objective
from mien.training.memory import is_of_memory, telling_of_size
from mien.training.mixing import mix
from mien.training.networks import Classifier, build, multiply_adds, parameter_count
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
from mien.training.together import alike, from_first, gather, mean_of_all, share, share_statistics
from mien.version import __version__

__all__ = ["History", "Trainer"]

History = list[dict[str, Any]]

_BATCH: Final = 512
_TO_SETTLE: Final = 1024
"""Pictures whose statistics norms begin with, where they had none."""


@dataclass
class Trainer:
    """A run as it is trained: what learns, what it learns from, how far it is; see `start`."""

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
    ) -> "Trainer":
        """Build a run that has not learnt anything yet.

        Args:
            fabric: of the processes that train together.
            dataset: the data.
            config: the recipe.
            run: its folder, to which only what writes does.

        Raises:
            UsageError: the data or the processes do not fit the recipe.
            DatasetError: there is too little to learn from or to choose by.
            ModelError: a model to start from or a teacher cannot be opened.
            DataError: the images do not fit into memory.
        """
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
        with telling_of_size(dataset, spec):
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
        """What the network sees."""
        return InputSpec(size=self.config.size, channels=self.config.channels)

    @property
    def steps_per_epoch(self) -> int:
        """How many batches an epoch has, over all processes."""
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
        """The epoch with the lowest validation loss so far, from 1."""
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
            if is_of_memory(error) or isinstance(error, torch.AcceleratorError):
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

    def _judge(self) -> Judgement | None:
        """Judge the weights on validation; None where their answers are not finite."""
        data, network = self.valid_data, self.judged.eval()

        def answer(asked: Tensor) -> Tensor:
            parts = asked.to(self.fabric.device).split(_BATCH)
            return torch.cat([network(data.pixels(part)).float() for part in parts])

        with torch.inference_mode():
            logits = gather(self.fabric, answer, len(data)).cpu()
        if not logits.isfinite().all():
            return None
        return judge(logits, data.labels, self.emotions, self.objective.tilt.cpu(), self.emphasis)

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
