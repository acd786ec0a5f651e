"""Pictures mixed with others of their batch, and what is to be learnt of them with them."""

import torch
from torch import Tensor
from torch.distributions import Beta

from mien.config import TrainConfig

__all__ = ["mix"]


def mix(
    images: Tensor, targets: Tensor, weights: Tensor, config: TrainConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Mix a batch by mixup (arXiv:1710.09412) or cutmix (arXiv:1905.04899), or leave it.

    Which, with whom and how much comes from torch's global generator, once a batch; the share is
    drawn from Beta(0.4, 0.4) for mixup and evenly for cutmix.

    Args:
        images: float (N, C, H, W).
        targets: float (N, k), rows summing to 1.
        weights: float (N,), how much each counts.
        config: ``mixup`` and ``cutmix``, the probability of each.

    Returns:
        Images, targets and weights of the same shapes, each picture's mixed as it is; what counts
        little adds little to the targets.
    """
    if not config.mixup and not config.cutmix:
        return images, targets, weights
    drawn = float(torch.rand(()))
    if drawn < config.mixup:
        share = float(Beta(0.4, 0.4).sample())
        others = torch.randperm(len(images), device="cpu").to(images.device)
        mixed = share * images + (1 - share) * images[others]
        return mixed, *_mixed(targets, weights, others, share)
    if drawn < config.mixup + config.cutmix:
        others = torch.randperm(len(images), device="cpu").to(images.device)
        cut, share = _with_a_part_of(images, images[others])
        return cut, *_mixed(targets, weights, others, share)
    return images, targets, weights


def _mixed(targets: Tensor, weights: Tensor, others: Tensor, share: float) -> tuple[Tensor, Tensor]:
    own, of_others = share * weights, (1 - share) * weights[others]
    weights = own + of_others
    # Of two that count nothing, what is learnt does not matter: the mixture counts nothing, too.
    part = torch.where(weights > 0, own / weights, share)[:, None]
    return part * targets + (1 - part) * targets[others], weights


def _with_a_part_of(images: Tensor, others: Tensor) -> tuple[Tensor, float]:
    """Put one rectangle of other pictures into some; return the share that is left of them."""
    height, width = images.shape[2:]
    side = float((1 - torch.rand(())).sqrt())
    x, y = (float(torch.rand(())) for _ in range(2))
    top, bottom = _ends(y * height, side * height, height)
    left, right = _ends(x * width, side * width, width)
    cut = images.clone()
    cut[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
    return cut, 1 - (bottom - top) * (right - left) / (height * width)


def _ends(middle: float, length: float, end: int) -> tuple[int, int]:
    return max(0, round(middle - length / 2)), min(end, round(middle + length / 2))
