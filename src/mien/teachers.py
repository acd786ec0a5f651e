"""Finished models that a student learns from: their opinion of the very pictures that it sees.

Knowledge distillation (Hinton et al. 2015, arXiv:1503.02531), from calibrated probabilities.
"""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from mien.checkpoint import BEST_NAME
from mien.errors import UsageError
from mien.model import EmotionModel, OnnxModel, load_model, shipped_models
from mien.preprocess import InputSpec
from mien.runs import TorchModel, open_run

__all__ = ["Teacher", "open_teacher", "teacher_digest"]

Teacher = Callable[[Tensor], Tensor]
"""Maps pixels, float (n, channels, size, size) in 0..1, to probabilities (n, emotions)."""


def open_teacher(
    name: str, spec: InputSpec, emotions: tuple[str, ...], device: torch.device
) -> Teacher:
    """Open a run folder, an ONNX file or a shipped model as a teacher.

    A run answers on ``device``; an ONNX file answers on the CPU.

    Raises:
        ModelError: there is no such model, or it is damaged.
        UsageError: it sees other pictures than the student, or knows other emotions.
    """
    model: EmotionModel
    if Path(name).is_dir():
        model = open_run(Path(name))
        teacher = partial(_opinion_of_run, model)
        model.answers.to(device)
    else:
        model = load_model(name, threads=torch.get_num_threads())
        teacher = partial(_opinion_of_file, model)
    if (model.card.spec, model.card.labels) != (spec, emotions):
        raise UsageError(
            f"teacher {name}: sees {model.card.spec} and knows "
            f"{', '.join(model.card.labels)}; expected {spec} and {', '.join(emotions)}"
        )
    return teacher


def teacher_digest(name: str) -> str:
    """Return what tells a teacher's weights from others: 16 digits of its file's SHA-256."""
    folder = Path(name)
    path = folder / BEST_NAME if folder.is_dir() else shipped_models().get(name, folder)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _opinion_of_run(model: TorchModel, pixels: Tensor) -> Tensor:
    with torch.no_grad():
        opinion: Tensor = model.answers(pixels)
    return opinion


def _opinion_of_file(model: OnnxModel, pixels: Tensor) -> Tensor:
    batch = pixels.float().contiguous().cpu().numpy()
    return torch.from_numpy(model.answer(batch)).to(pixels.device)
