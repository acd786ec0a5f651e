"""Speeds of recognition and of training, each beside its baseline and what bounds it.

Times are taken turn by turn, so that a machine that is busy for a while slows all of them alike.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import Any, Final, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from torch import nn
from torch.optim import Adamax

from mien.bench.machine import Bound, Machine, Precision, Work, count_work
from mien.config import TrainConfig, load_recipe
from mien.judging.peers import ask_peer
from mien.model import OnnxModel, load_model, shipped_models
from mien.onnx.quantise import drawn_crops
from mien.preprocess import InputSpec
from mien.progress import Progress, silent
from mien.training.augment import Augmentation
from mien.training.losses import Objective
from mien.training.mirror import plain
from mien.training.networks import build
from mien.training.optim import make_optimizer

__all__ = ["Figure", "bench_recognition", "bench_training"]

_STEPS: Final = 3
_CALLS: Final = 40
_FACES: Final = 256
_FORERUNNER: Final = "the forerunner's loop"
_FORERUNNER_BATCH: Final = 64
_EMOTIONS: Final = 8
_TRAINED: Final[Mapping[str, tuple[str, ...]]] = {
    "second": (),
    "base": (),
    "base, bfloat16": ("precision=bfloat16",),
    "fast": (),
}
"""What is trained: a recipe, its name up to the comma, with settings."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One speed.

    Attributes:
        name: of what was timed.
        value: the median of several turns.
        unit: ``ms`` a face, or ``faces/s`` or ``images/s``.
        against: the name of the baseline; None where there is none.
        ratio: how many times as fast as the baseline; None where there is none.
        limit: the best that the machine could do, in the same unit; None where it is not known.
        bound: what sets the limit, ``operations`` or ``bytes``.
    """

    name: str
    value: float
    unit: Literal["ms", "faces/s", "images/s"]
    against: str | None = None
    ratio: float | None = None
    limit: float | None = None
    bound: Bound | None = None

    @property
    def share_of_limit(self) -> float | None:
        """How much of what is possible was reached, 0..1."""
        if self.limit is None:
            return None
        return self.limit / self.value if self.unit == "ms" else self.value / self.limit

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return asdict(self) | {"share_of_limit": self.share_of_limit}


def bench_recognition(
    machine: Machine,
    peers: Mapping[str, str] | None = None,
    *,
    turns: int = 5,
    progress: Progress = silent,
) -> list[Figure]:
    """Time the shipped models: one face at a time on one thread, and faces in batches.

    The baseline of the former is each peer, of the latter one at a time on as many threads.

    Args:
        machine: this one.
        peers: other packages, name to command, see `mien.judging.peers`; they should use one
            thread.
        turns: how often each is timed, after a first time that does not count.
        progress: shows how far it is.

    Raises:
        UsageError: a peer's command is not there.
        DataError: a peer failed.
    """
    faces = drawn_crops(InputSpec(), count=_CALLS, seed=1)
    timed: dict[str, Callable[[], float]] = {
        name: partial(_seconds_of_peer, name, command, faces)
        for name, command in (peers or {}).items()
    }
    models = {name: load_model(path) for name, path in shipped_models().items()}
    for name, model in models.items():
        crops = drawn_crops(model.card.spec, count=_CALLS, seed=1)
        alone = load_model(model.path, threads=1)
        many = [crops[i % _CALLS] for i in range(_FACES)]
        timed |= {
            f"{name} alone": _timed(partial(_one_by_one, alone, crops), _CALLS),
            f"{name} single": _timed(partial(_one_by_one, model, crops), _CALLS),
            f"{name} batch": _timed(partial(model.probabilities, many), _FACES),
        }
    seconds = _in_turns(timed, turns, progress, doing="timing recognition")
    found = [
        Figure(f"{name}, one face on one thread", 1000 * seconds[name], "ms")
        for name in peers or ()
    ]
    for name, model in models.items():
        alone_s = seconds[f"{name} alone"]
        # What products of 8 bits could do at best is not measured.
        work = None if _in_8_bits(model) else _work_of_a_face(model)
        least = work and machine.limit(work, "float32", 1)
        found += [
            Figure(
                f"{name}, one face on one thread",
                1000 * alone_s,
                "ms",
                peer,
                None if peer is None else seconds[peer] / alone_s,
                *((1000 * least.seconds, least.bound) if least else ()),
            )
            for peer in peers or (None,)
        ]
        single, batch = 1 / seconds[f"{name} single"], 1 / seconds[f"{name} batch"]
        least = work and machine.limit(work, "float32", machine.threads)
        limit = (1 / least.seconds, least.bound) if least else ()
        one = f"{name}, one face at a time"
        found += [
            Figure(one, single, "faces/s", None, None, *limit),
            Figure(
                f"{name}, in batches of {_FACES}", batch, "faces/s", one, batch / single, *limit
            ),
        ]
    return found


def bench_training(
    machine: Machine,
    trained: Mapping[str, tuple[str, ...]] = _TRAINED,
    *,
    turns: int = 5,
    progress: Progress = silent,
) -> list[Figure]:
    """Time steps of training, against the forerunner's loop.

    That loop took its second network (`classic7`), batches of 64 and Adamax, and changed one image
    after the other with Pillow: mirrored, turned, brightened, contrast changed. All train on noise
    of 48x48 pixels, on the CPU: what a step costs does not depend on what it learns.

    Args:
        machine: this one.
        trained: what is trained besides: a recipe, its name up to a comma, and settings of it.
        turns: how often each is timed, after a first time that does not count.
        progress: shows how far it is.
    """
    configs = {
        name: load_recipe(name.partition(",")[0], settings) for name, settings in trained.items()
    }
    steps = {_FORERUNNER: _forerunner_step()}
    steps |= {name: _our_step(config) for name, config in configs.items()}
    batches = {_FORERUNNER: _FORERUNNER_BATCH}
    batches |= {name: config.batch_size for name, config in configs.items()}
    precisions: dict[str, Precision] = {_FORERUNNER: "float32"}
    precisions |= {name: config.precision for name, config in configs.items()}
    timed = {
        name: _timed(partial(_repeat, step, _STEPS), _STEPS * batches[name])
        for name, step in steps.items()
    }
    seconds = _in_turns(timed, turns, progress, doing="timing steps of training")
    found = []
    for name, step in steps.items():
        work = count_work(step, batches[name])
        least = machine.limit(work, precisions[name], machine.threads)
        before = None if name == _FORERUNNER else _FORERUNNER
        found.append(
            Figure(
                f"training, {name if before is None else f'recipe {name}'}",
                1 / seconds[name],
                "images/s",
                before,
                None if before is None else seconds[before] / seconds[name],
                1 / least.seconds,
                least.bound,
            )
        )
    return found


# --- what is timed ------------------------------------------------------------------------------


def _in_turns(
    timed: Mapping[str, Callable[[], float]], turns: int, progress: Progress, *, doing: str
) -> dict[str, float]:
    """Take times turn by turn, after a first that does not count; return each one's median."""
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    takes = [*timed] * (1 + turns)
    for name in progress(takes, total=len(takes), doing=doing):
        seconds[name].append(timed[name]())
    return {name: median(values[1:]) for name, values in seconds.items()}


def _timed(action: Callable[[], object], items: int) -> Callable[[], float]:
    """Make of an action one that returns the seconds that each of its items took."""

    def take() -> float:
        started = time.perf_counter()
        action()
        return (time.perf_counter() - started) / items

    return take


def _repeat(action: Callable[[], object], times: int) -> None:
    for _ in range(times):
        action()


def _one_by_one(model: OnnxModel, crops: Sequence[NDArray[np.uint8]]) -> None:
    for crop in crops:
        model.probabilities([crop])


def _seconds_of_peer(name: str, command: str, faces: Sequence[NDArray[np.uint8]]) -> float:
    return ask_peer(name, command, faces).milliseconds / 1000


def _work_of_a_face(model: OnnxModel) -> Work:
    """Count on torch's network of the same name; ONNX Runtime fuses all but the large layers."""
    card = model.card
    network = plain(build(card.network, spec=card.spec, emotions=len(card.labels)))
    pixels = torch.zeros(1, card.channels, card.size, card.size)
    with torch.no_grad():
        return count_work(partial(network, pixels), 1, fused=True)


def _in_8_bits(model: OnnxModel) -> bool:
    return any(node.op_type == "QuantizeLinear" for node in onnx.load(model.path).graph.node)


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
    """A step of a recipe as `mien.training.train` takes it."""
    spec = InputSpec(size=config.size, channels=config.channels)
    network = build(config.network, spec=spec, emotions=_EMOTIONS, dropout=config.dropout)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer, augment = make_optimizer(network, config), Augmentation(config)
    objective = Objective(config, torch.ones(_EMOTIONS))
    packed = torch.from_numpy(_noise(config.batch_size))[:, None]
    targets = torch.eye(_EMOTIONS)[torch.arange(config.batch_size) % _EMOTIONS]
    weights = torch.ones(config.batch_size)
    mixed = torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bfloat16")

    def step() -> None:
        images = augment(packed.float() / 255).contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad()
        with mixed:
            logits = network(images)
        objective(logits, targets, weights).backward()
        if config.clip_norm:
            nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
        optimizer.step()

    return step
