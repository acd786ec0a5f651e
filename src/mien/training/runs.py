"""A finished run opened again: its best weights as a model that can be asked."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mien.card import ModelCard
from mien.errors import ModelError
from mien.preprocess import to_batch
from mien.training.checkpoint import BEST_NAME, read_weights
from mien.training.history import read_history
from mien.training.mirror import plain
from mien.training.networks import Answers, Classifier, Views, build

__all__ = ["TorchModel", "open_network", "open_run"]


class TorchModel:
    """A network with its weights and card, asked like an `mien.model.OnnxModel`."""

    def __init__(self, network: nn.Module, card: ModelCard) -> None:
        self.network = network
        answers = Answers(network, temperature=card.temperature, offsets=card.offsets)
        self.answers = (Views(answers, card.size) if card.views > 1 else answers).eval()
        self._card = card

    def __repr__(self) -> str:
        return f"<TorchModel {self._card.name}>"

    @property
    def card(self) -> ModelCard:
        """What the model tells about itself."""
        return self._card

    def probabilities(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Map fitted faces, each uint8 (size, size, channels), to float32 (n, labels)."""
        if not crops:
            return np.empty((0, len(self._card.labels)), dtype=np.float32)
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            found = self.answers(torch.from_numpy(to_batch(crops, self._card.spec)).to(device))
        probabilities: NDArray[np.float32] = found.cpu().numpy()
        return probabilities


def open_run(run: str | os.PathLike[str]) -> TorchModel:
    """Open the best epoch of a run, mirrored layers as ordinary ones.

    Raises:
        ModelError: it is no run folder, it has no finished epoch, or its weights do not fit.
    """
    network, card = open_network(Path(run))
    return TorchModel(plain(network), card)


def open_network(run: Path) -> tuple[Classifier, ModelCard]:
    """Open the best epoch of a run as it was trained, and its card.

    Raises:
        ModelError: it is no run folder, it has no finished epoch, or its weights do not fit.
    """
    weights = run / BEST_NAME
    if not run.is_dir():
        kind = "a file" if run.exists() else "not there"
        raise ModelError(f"{run}: {kind}; expected a run folder of 'mien train'")
    if not weights.exists():
        raise ModelError(
            f"{run}: no {BEST_NAME} here; expected a run folder of 'mien train' with at least one "
            "finished epoch"
        )
    tensors, card = read_weights(weights)
    network = build(card.network, spec=card.spec, emotions=len(card.labels))
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{weights}: does not fit network {card.network!r} ({reason[:160]})"
        ) from None
    return network, _with_epochs(run, card)


def _with_epochs(run: Path, card: ModelCard) -> ModelCard:
    """Note on a run's card how many of its epochs there are, where some are still to come."""
    planned = card.training.get("recipe", {}).get("epochs", 0)
    try:
        done = len(read_history(run))
    except (OSError, ModelError):
        return card
    if not 0 < done < planned:
        return card
    return card.model_copy(update={"training": {**card.training, "epochs_done": done}})
