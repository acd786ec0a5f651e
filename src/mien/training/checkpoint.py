"""Writing and reading the state of a run, so that it can stop at any instant.

A checkpoint is two files: ``epoch-0007.safetensors`` with every tensor and ``epoch-0007.json`` with
everything else, readable; within the eighth epoch they are ``epoch-0007-step-0000400``. Each is
written under another name and renamed; the JSON comes last, so a checkpoint that has one is whole.
Knows tensors and JSON, not networks.
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.optim import Optimizer

from mien.atomic import replacing, write_text
from mien.card import METADATA_KEY, ModelCard
from mien.errors import ModelError

__all__ = [
    "AVERAGE_NAME",
    "BEST_NAME",
    "Checkpoint",
    "latest_checkpoint",
    "load_optimizer_tensors",
    "optimizer_tensors",
    "read_tensors",
    "read_weights",
    "write_checkpoint",
    "write_tensors",
    "write_weights",
]


BEST_NAME = "best.safetensors"
AVERAGE_NAME = "average.json"
"""In the folder of an average of runs, which has no epochs (`mien.training.soup`)."""

_STEM = re.compile(r"epoch-\d{4,}(-step-\d{7,})?")
_OWN = re.compile(rf"{_STEM.pattern}\.(json|safetensors)|\.{_STEM.pattern}\..*\.partial")
"""What this module writes into a folder of checkpoints, half written or whole."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A run's state: named tensors, and the rest as JSON values.

    Attributes:
        epoch: how many epochs are whole.
        tensors: by name.
        state: the rest.
        step: how many steps of the next epoch were taken.
    """

    epoch: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]
    step: int = 0


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically, then remove the ones before it, and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"epoch-{checkpoint.epoch:04d}"
    if checkpoint.step:
        stem += f"-step-{checkpoint.step:07d}"
    write_tensors(folder / f"{stem}.safetensors", checkpoint.tensors, {})
    write_text(folder / f"{stem}.json", json.dumps(checkpoint.state, indent=1) + "\n")
    for old in folder.iterdir():
        if _OWN.fullmatch(old.name) and not old.name.startswith(f"{stem}."):
            with suppress(OSError):  # One that somebody reads just now is removed later.
                old.unlink()


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """Read the newest whole checkpoint; None where there is none.

    Raises:
        ModelError: the newest one is damaged.
    """
    states = sorted(
        (path for path in folder.glob("epoch-*.json") if _STEM.fullmatch(path.stem)),
        key=lambda path: path.stem,
    )
    if not states:
        return None
    newest = states[-1]
    try:
        state = json.loads(newest.read_text(encoding="utf-8"))
        tensors, _ = read_tensors(newest.with_suffix(".safetensors"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{newest}: damaged checkpoint ({error}); remove it to start over"
        ) from None
    epoch, _, step = newest.stem.removeprefix("epoch-").partition("-step-")
    return Checkpoint(int(epoch), tensors, state, int(step or 0))


def write_weights(path: Path, model: nn.Module, card: ModelCard) -> None:
    """Write a model's weights with its card in the header, atomically."""
    write_tensors(path, model.state_dict(), {METADATA_KEY: card.model_dump_json()})


def read_weights(path: Path) -> tuple[dict[str, Tensor], ModelCard]:
    """Read what `write_weights` wrote.

    Raises:
        ModelError: missing, damaged, or without a card.
    """
    tensors, metadata = read_tensors(path)
    if METADATA_KEY not in metadata:
        raise ModelError(f"{path}: weights without a mien card; expected a file of 'mien train'")
    return tensors, ModelCard.parse(metadata[METADATA_KEY], source=str(path))


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return an optimizer's tensors by the number of the weight and the name of the moment."""
    state: Mapping[int, Mapping[str, Tensor]] = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": value
        for number, moments in state.items()
        for name, value in moments.items()
    }


def load_optimizer_tensors(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave; rates and decays stay as the optimizer has them."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write named tensors and texts as a safetensors file, whole or not at all."""
    # safetensors demands tensors in plain layout, one memory each.
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with replacing(path) as partial:
        # Not save_file: on a full disk it raises an error of its own.
        partial.write_bytes(save(plain, metadata=metadata))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and texts of a safetensors file.

    Raises:
        ModelError: missing or damaged.
    """
    # Not safe_open: it knows UTF-8 names alone, and what it maps keeps open a file that is to be
    # removed or replaced.
    try:
        content = path.read_bytes()
        tensors: dict[str, Tensor] = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return tensors, header.get("__metadata__") or {}
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file") from None
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: not readable as safetensors ({error})") from None
