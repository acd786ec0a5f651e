"""Steps that seek flat places of the loss, where what was learnt holds for other pictures, too."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import torch
from torch import Tensor, nn

__all__ = ["uphill"]

_LEAST: Final = 0.01
"""Added to the size of a weight, so that one of 0 moves, too (Kwon et al. 2021, section 5)."""


@contextmanager
def uphill(model: nn.Module, radius: float) -> Iterator[None]:
    """Move a model's weights to where the loss is about highest nearby, and back at the end.

    The gradient found there, taken as if it were of the place itself, leads to where all around is
    low (sharpness-aware minimization, Foret et al. 2021, arXiv:2010.01412). Nearby is meant in the
    measure of each weight's own size (ASAM, Kwon et al. 2021, arXiv:2102.11600, eq. 8), so that a
    radius means the same in every layer.

    Args:
        model: has gradients, which are gone once its weights have moved.
        radius: how far they move; 0.5 to 2 as a rule.
    """
    weights = [weight for weight in model.parameters() if weight.grad is not None]
    # What norms see up there is not what they will see in use.
    statistics = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
    changed = [*weights, *statistics]
    held = [tensor.detach().clone() for tensor in changed]
    with torch.no_grad():
        for weight, step in zip(weights, _steps(weights, radius), strict=True):
            weight.add_(step)
    for weight in weights:
        weight.grad = None
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(changed, held)


def _steps(weights: Sequence[Tensor], radius: float) -> Sequence[Tensor]:
    """Return how far each weight goes: radius T²g / |Tg|, T being the sizes of the weights."""
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    # Norms and biases, which are few, have no such measure.
    sizes = [w.abs() + _LEAST if w.ndim > 1 else torch.ones_like(w) for w in weights]
    measured = torch._foreach_mul(sizes, gradients)
    length = torch.stack(torch._foreach_norm(measured)).norm().clamp_min(1e-12)
    return torch._foreach_mul(torch._foreach_mul(sizes, measured), radius / length)
