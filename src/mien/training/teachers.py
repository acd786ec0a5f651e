"""Finished models that a student learns from: their mean opinion of the pictures that it sees.

Knowledge distillation (Hinton et al. 2015, arXiv:1503.02531), from calibrated probabilities.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import onnx
import torch
from torch import Tensor

from mien.card import ModelCard
from mien.errors import ModelError, UsageError
from mien.model import EmotionModel, OnnxModel, is_run, load_model, shipped_models
from mien.preprocess import InputSpec
from mien.training.checkpoint import BEST_NAME, read_tensors, write_tensors
from mien.training.emphasis import undecided
from mien.training.runs import TorchModel, open_run

__all__ = [
    "Teacher",
    "mean_opinion",
    "open_teacher",
    "read_opinions",
    "weights_digest",
    "write_opinions",
]

_NAME: Final = "opinions.safetensors"

Teacher = Callable[[Tensor], Tensor]
"""Maps pixels, float (n, channels, size, size) in 0..1, to probabilities (n, emotions)."""


def open_teacher(
    name: str, spec: InputSpec, emotions: tuple[str, ...], device: torch.device
) -> tuple[Teacher, ModelCard]:
    """Open a run folder, an ONNX file or a shipped model as a teacher; return its card, too.

    A run answers on ``device``; an ONNX file answers on the CPU. Either tells how probable each
    emotion is, without what decides its answers by worth: the student's are decided anew.

    Raises:
        ModelError: there is no such model, or it is damaged.
        UsageError: it sees other pictures than the student, or knows other emotions.
    """
    model: EmotionModel
    if is_run(name):
        model = open_run(Path(name))
        answer = partial(_opinion_of_run, model)
        model.answers.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    else:
        model = load_model(name, threads=torch.get_num_threads())
        answer = partial(_opinion_of_file, model)
    card = model.card
    if (card.spec, card.labels) != (spec, emotions):
        raise UsageError(
            f"teacher {name}: sees {card.spec} and knows {', '.join(card.labels)}; expected {spec} "
            f"and {', '.join(emotions)}"
        )
    temperature, told = undecided(card)
    decided = torch.tensor(card.offsets or [0.0] * len(emotions)).to(device)
    offsets = torch.from_numpy(told).float().to(device)
    warmth = card.temperature / temperature
    if warmth == 1 and torch.equal(offsets, decided):
        return answer, card

    def undecide(answers: Tensor) -> Tensor:
        return ((answers.log() - decided) * warmth + offsets).softmax(dim=1)

    if card.views > 1:
        raise UsageError(
            f"teacher {name}: the mean of {card.views} views, from each of which what counts rare "
            "emotions more would have to be taken: export it without --views"
        )
    return lambda pixels: undecide(answer(pixels)), card


def weights_digest(name: str) -> str:
    """Return 16 digits that tell a model from others; noted figures make no other file of one."""
    folder = Path(name)
    if is_run(name):
        weights = (folder / BEST_NAME).read_bytes()
    else:
        model = onnx.load_model(str(shipped_models().get(name, folder)))
        del model.metadata_props[:]
        weights = model.SerializeToString(deterministic=True)
    return hashlib.sha256(weights).hexdigest()[:16]


def mean_opinion(teachers: Sequence[Teacher], pixels: Tensor) -> Tensor:
    """Return the mean of what teachers say of pixels: float (n, emotions)."""
    return torch.stack([teacher(pixels) for teacher in teachers]).mean(dim=0)


def write_opinions(run: Path, opinions: Tensor) -> None:
    """Keep in a run's folder what its teachers said of its n images: float (n, emotions)."""
    write_tensors(run / _NAME, {"opinions": opinions}, {})


def read_opinions(run: Path, shape: tuple[int, int]) -> Tensor | None:
    """Read what `write_opinions` wrote; None where there is nothing.

    Raises:
        ModelError: it is damaged, or not of this shape.
    """
    path = run / _NAME
    if not path.exists():
        return None
    try:
        opinions = read_tensors(path)[0].get("opinions")
    except ModelError as error:
        raise ModelError(f"{error}; remove it to ask the teachers again") from None
    if opinions is None or opinions.shape != shape:
        raise ModelError(
            f"{path}: not the opinions of {shape[0]} images; remove it to ask the teachers again"
        )
    return opinions


def _opinion_of_run(model: TorchModel, pixels: Tensor) -> Tensor:
    with torch.no_grad():
        opinion: Tensor = model.answers(pixels)
    return opinion


def _opinion_of_file(model: OnnxModel, pixels: Tensor) -> Tensor:
    batch = pixels.float().contiguous().cpu().numpy()
    return torch.from_numpy(model.answer(batch)).to(pixels.device)
