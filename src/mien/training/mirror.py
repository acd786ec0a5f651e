"""Layers for networks to which a face and its mirror image are the same, by construction.

An expression does not change in the mirror, so a network that must learn this from mirrored
pictures learns everything twice. Here one half of the channels is what the other half is for the
mirrored picture: convolution over the group of the identity and the reflection (Cohen and Welling
2016, arXiv:1602.07576). Half of the weights are learnt, the other half are their mirror images, and
the operations are those of an ordinary network of the same width, which `plain` makes of it.

Channels come in two halves, A and B: the mirrored picture's A is the mirror image of the picture's
B. Widths are even numbers. A stride of two needs a kernel of four, since one of three is centred
on every second pixel, which are others in the mirror. Where a map of an odd side is halved, the
mirror image is therefore only about the same to it.
"""

from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn

__all__ = ["MirrorConv", "MirrorLift", "MirrorMean", "MirrorNorm", "plain"]

Layer = TypeVar("Layer", bound=nn.Module)


class MirrorConv(nn.Conv2d):
    """A convolution of which the mirrored picture's answer is the mirrored answer.

    Learns the filters of half A; those of half B are their mirror images, for the other half of
    what comes in (Cohen and Welling 2016, section 6).

    Args:
        incoming: channels, in two halves.
        width: channels that go out, in two halves.
        kernel: side of the filters, pixels.
        stride: pixels from one place to the next.
        padding: zeros around what comes in, pixels.
        bias: whether something is added to each channel.
    """

    def __init__(
        self,
        incoming: int,
        width: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__(incoming, width // 2, kernel, stride=stride, padding=padding, bias=bias)

    def filters(self) -> Tensor:
        """Return the filters of both halves, (width, incoming, kernel, kernel)."""
        mirrored = self.weight.flip(-1).roll(self.in_channels // 2, dims=1)
        return torch.cat((self.weight, mirrored))

    def biases(self) -> Tensor | None:
        """Return what is added to the channels of both halves, (width,); None: nothing."""
        return None if self.bias is None else self.bias.repeat(2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, incoming, H, W) to (N, width, H / stride, W / stride)."""
        out: Tensor = self._conv_forward(x, self.filters(), self.biases())
        return out

    def plain(self) -> nn.Conv2d:
        """Return an ordinary convolution that answers alike."""
        filters, biases = self.filters(), self.biases()
        layer = nn.Conv2d(
            self.in_channels,
            len(filters),
            self.kernel_size,  # type: ignore[arg-type]
            stride=self.stride,  # type: ignore[arg-type]
            padding=self.padding,  # type: ignore[arg-type]
            bias=biases is not None,
        )
        return _filled(layer, {"weight": filters} | ({} if biases is None else {"bias": biases}))


class MirrorLift(MirrorConv):
    """The first of them: what comes in is the picture itself, which has no halves."""

    def filters(self) -> Tensor:
        """Return the filters of both halves, (width, incoming, kernel, kernel)."""
        return torch.cat((self.weight, self.weight.flip(-1)))


class MirrorNorm(nn.Module):
    """Batch normalisation that treats both halves alike, by the statistics of both."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, width, H, W)."""
        n, width, height, side = x.shape
        # Half B as if it lay to the right of half A; channels-last, nothing is moved for it.
        rows = x.permute(0, 2, 3, 1).reshape(n, height, 2 * side, width // 2)
        rows = self.norm(rows.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        out: Tensor = rows.reshape(n, height, side, width).permute(0, 3, 1, 2)
        return out

    def plain(self) -> nn.BatchNorm2d:
        """Return an ordinary norm that, in use, answers alike."""
        layer = nn.BatchNorm2d(2 * self.norm.num_features, eps=self.norm.eps)
        # The number of batches seen is one for both halves.
        state = self.norm.state_dict().items()
        return _filled(layer, {n: value.repeat(2) if value.ndim else value for n, value in state})


class MirrorMean(nn.Module):
    """The mean of both halves: what a face and its mirror image share."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width) to (N, width / 2)."""
        shared: Tensor = x.unflatten(1, (2, -1)).mean(dim=1)
        return shared


def plain(network: nn.Module) -> nn.Module:
    """Return a copy of a network, for use, that has ordinary layers for those of this module.

    What it answers is the same; halves that share their weights are written out. Means of both
    halves stay.
    """
    copy = deepcopy(network)
    for part in list(copy.modules()):
        for name, layer in part.named_children():
            if isinstance(layer, MirrorConv | MirrorNorm):
                setattr(part, name, layer.plain())
    return copy.eval()


def _filled(layer: Layer, tensors: dict[str, Tensor]) -> Layer:
    layer.load_state_dict(tensors)
    return layer.to(tensors["weight"].device)
