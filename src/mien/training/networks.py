"""The networks, each built from scratch: no pretrained weights anywhere.

A builder takes the input and the number of emotions and returns a module from float32
(N, channels, size, size) to logits (N, emotions). `build` adds the first layer, which evens out
brightness, so that whoever runs a model feeds plain pixels. To add a network, write its builder
and name it in `NETWORKS`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import ConfigError
from mien.preprocess import InputSpec
from mien.training.mirror import MirrorConv, MirrorLift, MirrorMean, MirrorNorm

__all__ = [
    "NETWORKS",
    "Answers",
    "Classifier",
    "Views",
    "build",
    "multiply_adds",
    "parameter_count",
]

CLASSIC_SIDE: Final = 48


class Classifier(nn.Module):
    """A network with its brightness normalisation: pixels 0..1 in, logits out.

    Each image is shifted and scaled to mean 0 and standard deviation 1, so a face in dim light
    looks to the network like the same face in good light.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixels, float (N, C, H, W) in 0..1, to logits (N, emotions)."""
        mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
        centred = pixels - mean
        # 1/64 of the range: below it an image is flat, and scaling it up would only show noise.
        spread = centred.square().mean(dim=(1, 2, 3), keepdim=True).sqrt().clamp_min(1 / 64)
        logits: Tensor = self.network(centred / spread)
        return logits


class Answers(nn.Module):
    """A network with what makes probabilities of its logits, as its card tells.

    Args:
        network: maps pixels to logits.
        temperature: divides the logits.
        offsets: then added to them, one for each emotion; none: nothing is.
    """

    def __init__(
        self, network: nn.Module, *, temperature: float = 1.0, offsets: Sequence[float] = ()
    ) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature
        self.offsets: Tensor | None
        self.register_buffer("offsets", torch.tensor(offsets) if offsets else None)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixels, float (N, C, H, W) in 0..1, to probabilities, float32 (N, emotions)."""
        logits = self.network(pixels).float() / self.temperature
        if self.offsets is not None:
            logits = logits + self.offsets
        probabilities: Tensor = logits.softmax(dim=1)
        return probabilities


class Views(nn.Module):
    """What is answered to nine views of each face, averaged: turned and enlarged a little.

    Args:
        answers: maps pixels to probabilities.
        size: side of the pictures, pixels.
    """

    TURNS: Final = (0, -8, 8)
    """Degrees."""
    SIZES: Final = (1.0, 1.06, 1.12)
    COUNT: Final = len(TURNS) * len(SIZES)

    def __init__(self, answers: Answers, size: int) -> None:
        super().__init__()
        self.answers = answers
        turns = [math.radians(degrees) for degrees in self.TURNS]
        turned = torch.tensor(
            [
                [[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0]]
                for turn in turns
            ]
        )
        views = torch.cat([turned / enlarged for enlarged in self.SIZES])
        grid = functional.affine_grid(views, [self.COUNT, 1, size, size], align_corners=False)
        self.register_buffer("grid", grid)
        self.grid: Tensor

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixels, float (N, C, H, W) in 0..1, to probabilities, float32 (N, emotions)."""
        seen = functional.grid_sample(
            pixels[:, None].expand(-1, self.COUNT, -1, -1, -1).flatten(0, 1),
            self.grid.repeat(pixels.shape[0], 1, 1, 1),
            padding_mode="border",
            align_corners=False,
        )
        mean: Tensor = self.answers(seen).unflatten(0, (-1, self.COUNT)).mean(dim=1)
        return mean


def build(name: str, *, spec: InputSpec, emotions: int, dropout: float | None = None) -> Classifier:
    """Build a network by name with fresh weights.

    Args:
        name: a key of `NETWORKS`.
        spec: size and channels of its input.
        emotions: how many emotions it tells apart.
        dropout: share of features dropped before the last layer; the network's own where None.

    Raises:
        ConfigError: the name is unknown, or the network cannot take such an input.
    """
    builder = NETWORKS.get(name)
    if builder is None:
        raise ConfigError(f"network {name!r}: expected one of {', '.join(NETWORKS)}")
    return Classifier(builder(spec, emotions, dropout))


def parameter_count(model: nn.Module) -> int:
    """Return the number of trained weights."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def multiply_adds(model: nn.Module, spec: InputSpec) -> int:
    """Return the multiplications of convolutions and linear layers for one image."""
    total = 0

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            total += output[0].numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.Linear):
            total += layer.weight.numel()

    hooks = [layer.register_forward_hook(count) for layer in model.modules()]
    was_training = model.training
    model.eval()
    try:
        parameter = next(model.parameters())
        with torch.no_grad():
            # Not by calling it: a model that is to be compiled would be, once more, for this.
            picture = (1, spec.channels, spec.size, spec.size)
            model.forward(torch.zeros(picture, device=parameter.device))
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return total


def _classic4(spec: InputSpec, emotions: int, dropout: float | None) -> nn.Module:
    """Four convolutions, the first network this project's forerunner had."""
    _demand_classic_input("classic4", spec)
    layers: list[nn.Module] = []
    incoming = 1
    for number, width in enumerate((32, 64, 128, 128), start=1):
        layers += [nn.Conv2d(incoming, width, 3, padding=1), nn.ReLU(inplace=True)]
        if number in (1, 2, 4):
            layers.append(nn.MaxPool2d(2))
        incoming = width
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(128 * 6 * 6, 128),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5 if dropout is None else dropout),
        nn.Linear(128, emotions),
    )


def _classic7(spec: InputSpec, emotions: int, dropout: float | None) -> nn.Module:
    """Seven convolutions with batch normalisation, the forerunner's second network."""
    _demand_classic_input("classic7", spec)
    layers: list[nn.Module] = []
    incoming = 1
    for number, width in enumerate((32, 64, 64, 128, 256, 256, 512), start=1):
        layers += [
            nn.Conv2d(incoming, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        if number in (1, 4, 7):
            layers.append(nn.MaxPool2d(2))
        incoming = width
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(512 * 6 * 6, 512),
        nn.BatchNorm1d(512),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5 if dropout is None else dropout),
        nn.Linear(512, emotions),
    )


def _demand_classic_input(name: str, spec: InputSpec) -> None:
    if (spec.size, spec.channels) != (CLASSIC_SIDE, 1):
        raise ConfigError(
            f"network {name!r} takes grey 48x48 only: set size=48 and channels=1, "
            f"not size={spec.size} and channels={spec.channels}"
        )


class SqueezeExcite(nn.Module):
    """Weighs channels by what the whole picture shows (Hu et al. 2018, arXiv:1709.01507)."""

    def __init__(self, width: int, *, mirrored: bool) -> None:
        super().__init__()
        conv = MirrorConv if mirrored else nn.Conv2d
        hidden = max(8, width // 8)
        self.squeeze = conv(width, hidden, 1)
        self.excite = conv(hidden, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each channel scaled by a gate of 0..1."""
        pooled = x.mean(dim=(2, 3), keepdim=True)
        gates: Tensor = self.excite(functional.relu(self.squeeze(pooled))).sigmoid()
        return x * gates


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2016, arXiv:1512.03385), gated.

    Where the block halves the picture, the shortcut averages 2x2 pixels rather than skipping
    three of four (He et al. 2019, arXiv:1812.01187).
    """

    def __init__(self, incoming: int, width: int, *, halve: bool, mirrored: bool) -> None:
        super().__init__()
        conv, norm = (MirrorConv, MirrorNorm) if mirrored else (nn.Conv2d, nn.BatchNorm2d)
        stride = 2 if halve else 1
        # What is mirrored is halved by even kernels (`mien.training.mirror`).
        kernel = 4 if halve and mirrored else 3
        self.conv1 = conv(incoming, width, kernel, stride=stride, padding=1, bias=False)
        self.norm1 = norm(width)
        self.conv2 = conv(width, width, 3, padding=1, bias=False)
        self.norm2 = norm(width)
        self.gate = SqueezeExcite(width, mirrored=mirrored)
        self.shortcut: nn.Module = nn.Identity()
        if halve or incoming != width:
            self.shortcut = nn.Sequential(
                # An odd side ends as it does for the convolution.
                nn.AvgPool2d(2, ceil_mode=not mirrored) if halve else nn.Identity(),
                conv(incoming, width, 1, bias=False),
                norm(width),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, incoming, H, W) to (N, width, H, W), or half the height and width."""
        y: Tensor = functional.relu(self.norm1(self.conv1(x)))
        y = self.gate(self.norm2(self.conv2(y)))
        out: Tensor = functional.relu(y + self.shortcut(x))
        return out


def _residual(
    stem: int,
    widths: tuple[int, ...],
    depths: tuple[int, ...],
    dropout: float,
    *,
    mirrored: bool = False,
) -> "Builder":
    own_dropout = dropout

    def builder(spec: InputSpec, emotions: int, dropout: float | None) -> nn.Module:
        conv, norm = (MirrorLift, MirrorNorm) if mirrored else (nn.Conv2d, nn.BatchNorm2d)
        layers: list[nn.Module] = [
            conv(spec.channels, stem, 3, padding=1, bias=False),
            norm(stem),
            nn.ReLU(inplace=True),
        ]
        incoming = stem
        for width, depth in zip(widths, depths, strict=True):
            for position in range(depth):
                block = ResidualBlock(incoming, width, halve=position == 0, mirrored=mirrored)
                layers.append(block)
                incoming = width
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        if mirrored:
            layers.append(MirrorMean())
            incoming //= 2
        return nn.Sequential(
            *layers,
            nn.Dropout(own_dropout if dropout is None else dropout),
            nn.Linear(incoming, emotions),
        )

    return builder


Builder = Callable[[InputSpec, int, float | None], nn.Module]

NETWORKS: Mapping[str, Builder] = MappingProxyType(
    {
        "classic4": _classic4,
        "classic7": _classic7,
        "mini": _residual(16, (24, 48, 96), (1, 1, 1), 0.1),
        "residual": _residual(24, (32, 64, 128, 256), (1, 2, 2, 1), 0.2),
        "large": _residual(32, (40, 80, 160, 320), (1, 2, 2, 1), 0.3),
        "mirror-s": _residual(24, (32, 64, 128), (1, 2, 2), 0.15, mirrored=True),
        "mirror-m": _residual(32, (48, 96, 192), (1, 2, 2), 0.2, mirrored=True),
        "mirror-l": _residual(32, (64, 128, 256), (1, 2, 2), 0.3, mirrored=True),
        "mirror-xl": _residual(32, (96, 192, 384), (1, 2, 2), 0.3, mirrored=True),
    }
)
"""Every network by name."""
