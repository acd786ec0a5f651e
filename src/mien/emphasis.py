"""Emotion-based training: the emotions that do badly get the attention.

After every epoch the recall and the loss of each emotion on validation decide how much it counts in
the next: half by being shown more often, half by weighing more in the loss, so that the few images
of a rare emotion are not learnt by heart. An epoch has as many images as ever. In the last epochs
every step goes half of the way to where all emotions count alike, as far as the limit allows (after
deferred re-balancing: Cao et al. 2019, arXiv:1906.07413).
"""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from mien.config import TrainConfig

__all__ = ["Emphasis"]

_MEMORY: Final = 0.6
"""How much of the epoch before stays: with few validation images recall jumps."""

_DOUBT: Final = 10.0
"""An emotion's recall counts as if it had so many more images with the mean recall."""


class Emphasis:
    """How much each emotion counts, beside how much it would by its number.

    Args:
        config: ``emotion_limit``, ``emotion_balanced`` and ``epochs``.
        labels: int (n,), of the training images.
        emotions: the k emotions.
    """

    def __init__(self, config: TrainConfig, labels: Tensor, emotions: tuple[str, ...]) -> None:
        self._limit = config.emotion_limit
        self._last = config.epochs - round(config.emotion_balanced * config.epochs)
        self._labels = labels
        self._emotions = emotions
        self._counts = torch.bincount(labels, minlength=len(emotions)).clamp_min(1).double()
        self.factors = torch.ones(len(emotions), dtype=torch.float64)

    def after_epoch(
        self,
        epoch: int,
        *,
        recall: Mapping[str, float | None],
        loss: Mapping[str, float | None],
        support: Mapping[str, int],
    ) -> None:
        """Decide what counts in the next epoch.

        Args:
            epoch: how many are done.
            recall: of each emotion on validation, 0..1; None where it has no image.
            loss: mean loss of each on validation; None likewise.
            support: how many validation images each has.
        """
        if epoch >= self._last:
            balanced = self._counts.sum() / len(self._counts) / self._counts
            self.factors = (self.factors * balanced.clamp(1 / self._limit, self._limit)).sqrt()
            return
        known = [e for e in self._emotions if recall[e] is not None]
        found = torch.tensor([recall[e] or 0.0 for e in known], dtype=torch.float64)
        number = torch.tensor([float(support[e]) for e in known], dtype=torch.float64)
        found = (found * number + found.mean() * _DOUBT) / (number + _DOUBT)
        lost = torch.tensor([loss[e] or 0.0 for e in known], dtype=torch.float64)
        need = (_from_least_to_most(1 - found) + _from_least_to_most(lost)) / 2
        places = [self._emotions.index(e) for e in known]
        wanted = self.factors.clone()
        wanted[places] = self._limit**need
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

    def state_dict(self) -> dict[str, float]:
        """Return the factor of each emotion."""
        return dict(zip(self._emotions, self.factors.tolist(), strict=True))

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from ``state_dict``."""
        self.factors = torch.tensor([state[e] for e in self._emotions], dtype=torch.float64)


def _from_least_to_most(values: Tensor) -> Tensor:
    """Scale to 0..1; 0 for all where they are equal."""
    spread = values.max() - values.min()
    return (values - values.min()) / spread if spread > 0 else torch.zeros_like(values)
