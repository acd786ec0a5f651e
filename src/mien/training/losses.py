"""What a network is to learn, as one number to make small."""

import torch
from torch import Tensor
from torch.nn import functional

from mien.config import TrainConfig
from mien.training.together import mean_of_all

__all__ = ["Objective"]


class Objective:
    """Cross-entropy to soft targets, with what a recipe does for rare emotions.

    ``balance`` b weighs emotion c by n_c^-b, scaled to a mean of 1 over the training set.
    ``logit_adjustment`` t adds t log(n_c / n) to the logits in training alone, which asks for a
    larger margin the rarer an emotion is (Menon et al. 2021, arXiv:2007.07314, eq. 10).

    Args:
        config: the recipe.
        counts: float (k,), how many training images each emotion has; at least 1 counts.

    Attributes:
        tilt: float (k,), what both may add to the logits that a network learns, but for a constant.
    """

    def __init__(self, config: TrainConfig, counts: Tensor) -> None:
        self._smoothing = config.label_smoothing
        shares = counts.clamp_min(1) / counts.clamp_min(1).sum()
        self._margins = config.logit_adjustment * shares.log()
        weights = shares**-config.balance
        self._balance = weights / (weights * shares).sum()
        self.tilt = self._balance.log() - self._margins

    def worth(self, targets: Tensor, weights: Tensor, emphasis: Tensor | None = None) -> Tensor:
        """Return how much each sample of a batch counts once its emotions do: (N,).

        Args:
            targets: (N, k), rows summing to 1.
            weights: (N,), how much each sample counts as such.
            emphasis: (k,), how much each emotion counts besides ``balance``.
        """
        balance = self._balance if emphasis is None else self._balance * emphasis
        return weights * (targets @ balance)

    def __call__(self, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Return the mean loss of a batch.

        Args:
            logits: (N, k).
            targets: (N, k), rows summing to 1.
            weights: (N,), how much each sample counts, see `worth`.
        """
        losses = functional.cross_entropy(
            logits.float() + self._margins,
            targets,
            label_smoothing=self._smoothing,
            reduction="none",
        )
        # A batch whose samples all count nothing teaches nothing.
        total = mean_of_all(weights.sum())
        return (losses * weights).sum() / total.clamp_min(torch.finfo(weights.dtype).eps)
