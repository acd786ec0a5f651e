"""A finished run opened again: its best weights as a model that can be asked."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mien.card import ModelCard
from mien.checkpoint import BEST_NAME, read_weights
from mien.errors import ModelError, UsageError
from mien.mirror import plain
from mien.networks import Answers, Classifier, Views, build
from mien.preprocess import InputSpec, to_batch

__all__ = ["TorchModel", "open_network", "open_run", "take_weights"]


class TorchModel:
    """A network with its weights and card, asked like an `mien.model.OnnxModel`."""

    def __init__(self, network: nn.Module, card: ModelCard) -> None:
        self.network = network
        answers = Answers(network, temperature=card.temperature, offsets=card.offsets)
        self.answers = (Views(answers, card.size) if card.views > 1 else answers).eval()
        self._card = card

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


def open_run(run: Path) -> TorchModel:
    """Open the best epoch of a run, mirrored layers as ordinary ones.

    Raises:
        ModelError: it is no run folder, it has no finished epoch, or its weights do not fit.
    """
    network, card = open_network(run)
    return TorchModel(plain(network), card)


def take_weights(
    network: Classifier, run: Path, *, name: str, spec: InputSpec, emotions: Sequence[str]
) -> ModelCard:
    """Give a fresh network what a run has learnt; return the run's card.

    Of the last layer, what is of emotions that the run knows; of others it stays fresh.

    Args:
        network: as `mien.networks.build` makes it of the rest.
        run: of the same network.
        name: the network's.
        spec: what it sees.
        emotions: what it tells apart.

    Raises:
        ModelError: there is no such run, it has no finished epoch, or it is damaged.
        UsageError: the run is of another network, or sees other pictures.
    """
    trained, card = open_network(run)
    if (card.network, card.spec) != (name, spec):
        raise UsageError(
            f"start_from {run}: {card.network} that sees {card.spec}; expected {name} and {spec}"
        )
    known = [emotion for emotion in emotions if emotion in card.labels]
    here = [list(emotions).index(emotion) for emotion in known]
    there = [card.labels.index(emotion) for emotion in known]
    own, tensors = network.state_dict(), trained.state_dict()
    *_, weight, bias = own
    for last in (weight, bias):
        own[last][here] = tensors[last][there]
        tensors[last] = own[last]
    network.load_state_dict(tensors)
    return card


def open_network(run: Path) -> tuple[Classifier, ModelCard]:
    """Open the best epoch of a run as it was trained, and its card.

    Raises:
        ModelError: it is no run folder, it has no finished epoch, or its weights do not fit.
    """
    weights = run / BEST_NAME
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
    return network, card
