"""Emotion-based training: the emotions that do badly get the attention.

After every epoch the recall and the loss of each emotion on validation decide how much it counts in
the next: half by being shown more often, half by weighing more in the loss, so that the few images
of a rare emotion are not learnt by heart. An epoch has as many images as ever. In the last epochs
every step goes half of the way to where all emotions count alike, as far as the limit allows (after
deferred re-balancing: Cao et al. 2019, arXiv:1906.07413).

What that is for is one number: macro recall + ``emotion_worth`` x accuracy. An image of emotion c
brings it in proportion to w + n / (k n_c), n_c of the n images of the k emotions being of c. So
that is what an image weighs where epochs are judged, and an answer is the emotion with the highest
such weight times its probability: Bayes' decision, which needs the probabilities as they would be
had every image counted alike. Those come from the network's by taking out what training added
(Saerens et al. 2002, Neural Computation 14(1), eq. 2.4), as far as validation shows it.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mien.card import ModelCard
from mien.config import TrainConfig
from mien.errors import ModelError
from mien.judging.calibration import fit_tilt

__all__ = ["Emphasis", "counts_of", "undecided", "worth_of"]

_MEMORY: Final = 0.6
"""How much of the epoch before stays: with few validation images recall jumps."""

_DOUBT: Final = 10.0
"""An emotion's recall counts as if it had so many more images with the mean recall."""


class Emphasis:
    """How much each emotion counts, beside how much it would by its number.

    Args:
        config: ``emotion_limit``, ``emotion_balanced``, ``emotion_worth`` and ``epochs``.
        labels: int (n,), of the training images.
        emotions: the k emotions.
        tilt: (k,), what the loss may add to the logits of each besides.

    Attributes:
        factors: float64 (k,), how much each counts now.
        worth: (k,), what the right answer to an image of each is worth.
    """

    def __init__(
        self,
        config: TrainConfig,
        labels: Tensor,
        emotions: tuple[str, ...],
        tilt: Tensor | None = None,
    ) -> None:
        self._limit = config.emotion_limit
        self._last = config.epochs - round(config.emotion_balanced * config.epochs)
        self._labels = labels
        self._emotions = emotions
        counts = torch.bincount(labels, minlength=len(emotions))
        self._counts = counts.clamp_min(1).double()
        self._balanced = torch.from_numpy(worth_of(counts.numpy(), 0.0))
        self._tilt = torch.zeros(len(emotions)) if tilt is None else tilt
        self.factors = torch.ones(len(emotions), dtype=torch.float64)
        self.worth = worth_of(counts.numpy(), config.emotion_worth)

    def after_epoch(self, epoch: int, logits: Tensor, labels: NDArray[np.int64]) -> None:
        """Decide what counts in the next epoch.

        Args:
            epoch: how many are done.
            logits: (n, k), of validation, as the network gives them: answers by what they are
                worth would hide what it has not learnt.
            labels: (n,), 0..k-1. An emotion without any keeps its place.
        """
        if epoch >= self._last:
            due = self._balanced.clamp(1 / self._limit, self._limit)
            self.factors = (self.factors * due).sqrt()
            return
        own = torch.from_numpy(labels)
        number = torch.bincount(own, minlength=len(self._emotions))
        known = number.nonzero()[:, 0]
        right = (logits.argmax(dim=1) == own).double()
        losses = functional.cross_entropy(logits.double(), own, reduction="none")
        found, lost = (
            torch.bincount(own, weights=each, minlength=len(number))[known] / number[known]
            for each in (right, losses)
        )
        found = (found * number[known] + found.mean() * _DOUBT) / (number[known] + _DOUBT)
        need = (_from_least_to_most(1 - found) + _from_least_to_most(lost)) / 2
        wanted = self.factors.clone()
        wanted[known] = self._limit**need
        self.factors = self.factors**_MEMORY * wanted ** (1 - _MEMORY)

    def draw(self) -> Tensor:
        """Draw an epoch's images from torch's global generator: int (n,), some of them again.

        Every image comes as often as its share says, rounded down or up at random.
        """
        chance = self.factors.sqrt()[self._labels]
        count = len(chance)
        order = torch.randperm(count)
        # Label by label, so that each gets its share but for one image.
        order = order[torch.argsort(self._labels[order], stable=True)]
        ends = torch.cumsum(chance[order] / chance.sum() * count, 0)
        points = torch.arange(count) + torch.rand((), dtype=ends.dtype)
        drawn = order[torch.searchsorted(ends, points).clamp_max(count - 1)]
        return drawn[torch.randperm(count)]

    def weights(self) -> Tensor:
        """Return how much each emotion weighs in the loss: float32 (k,), 1 in the mean image."""
        share = self._counts * self.factors.sqrt()
        half = self.factors.sqrt()
        return (half / ((half * share).sum() / share.sum())).float()

    def decide(
        self, logits: NDArray[np.float32], labels: NDArray[np.int64]
    ) -> tuple[float, tuple[float, ...]]:
        """Find what makes the most probable answer the one that is worth most.

        Args:
            logits: (n, k), of validation.
            labels: (n,), 0..k-1.

        Returns:
            The temperature that is to divide logits, and the offsets (k,) to be added then.
        """
        tilt = (self._tilt + self.factors.log()).numpy()
        share, temperature = fit_tilt(logits, labels, tilt)
        offsets = np.log(self.worth) - share * tilt
        return temperature, tuple((offsets - offsets.max()).tolist())

    def state_dict(self) -> dict[str, float]:
        """Return the factor of each emotion."""
        return dict(zip(self._emotions, self.factors.tolist(), strict=True))

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from ``state_dict``."""
        self.factors = torch.tensor([state[e] for e in self._emotions], dtype=torch.float64)


def worth_of(counts: NDArray[np.int64], worth: float) -> NDArray[np.float64]:
    """Return what the right answer to an image of each emotion is worth: w + n / (k n_c), (k,).

    Args:
        counts: (k,), training images of each; at least one is not 0.
        worth: w, points of macro recall that a point of accuracy is worth.
    """
    # One that nothing was learnt of is not to be answered because it would be so rare.
    balanced = np.ones(len(counts))
    learnt = counts > 0
    balanced[learnt] = counts[learnt].mean() / counts[learnt]
    return worth + balanced


def counts_of(card: ModelCard) -> NDArray[np.int64]:
    """Return how many training images each emotion of a model had, (k,).

    Raises:
        ModelError: the card does not tell.
    """
    images = card.training.get("images")
    if images is None:
        raise ModelError(
            f"{card.name}: its card does not tell how many training images each emotion had, "
            "because an older version trained it: train it again"
        )
    return np.array([images[label] for label in card.labels])


def undecided(card: ModelCard) -> tuple[float, NDArray[np.float64]]:
    """Return temperature and offsets (k,) with which a model tells probabilities, decides nothing.

    With these an emotion is as probable as among pictures that have it as often as those that it
    was trained on.

    Raises:
        ModelError: as `counts_of`, of an emotion-based model.
    """
    if card.worth is not None:
        told = np.array(card.offsets) - np.log(worth_of(counts_of(card), card.worth))
        return card.temperature, told
    if card.tilt:
        return card.untilted_temperature or card.temperature, -np.array(card.tilt)
    return card.temperature, np.zeros(len(card.labels))


def _from_least_to_most(values: Tensor) -> Tensor:
    """Scale to 0..1; 0 for all where they are equal."""
    spread = values.max() - values.min()
    return (values - values.min()) / spread if spread > 0 else torch.zeros_like(values)
