"""What befalls a face before a camera: light, things worn, and what lens and file do to it.

A condition takes a batch on its own device, float (N, C, H, W) in 0..1 with C 1 or 3, and a
strength in 0..1 for each image. Training draws both at random; evaluation asks for three strengths
of each. Places are those of a crop that the face fills, as in FER2013: -1..1 from left to right and
from top to bottom, eyes a little above the middle.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import kornia
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn import functional

__all__ = ["CONDITIONS", "STRENGTHS", "Condition", "Environment", "alter", "jitter"]

Group = Literal["light", "worn", "lens"]
Change = Callable[[Tensor, Tensor, Generator | None], Tensor]

STRENGTHS: Final = (1 / 3, 2 / 3, 1.0)
"""Of the three that evaluation asks for; the second is the middle one."""

_LUMA: Final = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in grey (ITU-R BT.601)."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that befalls a face.

    Attributes:
        group: light, things worn, or what lens and file do.
        change: maps a batch, its strengths (N, 1, 1, 1) and a generator to the changed batch.
    """

    group: Group
    change: Change


class Environment(nn.Module):
    """Put each image of a batch, by chance, under one condition of a group.

    Random numbers come from torch's global generator.

    Args:
        group: light, worn or lens.
        probability: that an image gets one.
    """

    def __init__(self, group: Group, probability: float) -> None:
        super().__init__()
        self._changes = [c.change for c in CONDITIONS.values() if c.group == group]
        self._probability = probability

    def forward(self, images: Tensor) -> Tensor:
        """Return a copy, float (N, C, H, W) in 0..1, some of it changed."""
        count, device = len(images), images.device
        chosen = torch.randint(len(self._changes), (count,), device=device)
        chosen[torch.rand(count, device=device) >= self._probability] = -1
        strength = torch.rand(count, 1, 1, 1, device=device)
        changed = images.clone()
        for number, change in enumerate(self._changes):
            places = (chosen == number).nonzero()[:, 0]
            if len(places):
                found = change(images[places], strength[places], None)
                changed[places] = found.clamp(0, 1).to(changed.dtype)
        return changed


def alter(
    images: NDArray[np.uint8], condition: str, strength: float, *, seed: int = 0
) -> NDArray[np.uint8]:
    """Put images under a condition; the same seed and images give the same pictures.

    Args:
        images: uint8 (N, H, W, C), C 1 or 3.
        condition: a name from `CONDITIONS`.
        strength: 0..1, see `STRENGTHS`.
        seed: of what is left to chance.

    Raises:
        KeyError: no such condition.
    """
    return _changed(images, CONDITIONS[condition].change, strength, seed)


def jitter(images: NDArray[np.uint8], *, seed: int = 0) -> NDArray[np.uint8]:
    """Move images as little as a detector's box trembles on a still face: uint8 (N, H, W, C).

    Up to 2 % of the side either way, 3 % of the size and 1.5 degrees.
    """

    def tremble(batch: Tensor, _: Tensor, generator: Generator | None) -> Tensor:
        across, down, size, turn = (_chance(batch, generator) * 2 - 1 for _ in range(4))
        return _moved(
            batch,
            across=0.04 * across,
            down=0.04 * down,
            size=1 + 0.03 * size,
            turn=math.radians(1.5) * turn,
        )

    return _changed(images, tremble, 1.0, seed)


def _changed(
    images: NDArray[np.uint8], change: Change, strength: float, seed: int
) -> NDArray[np.uint8]:
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    strengths = torch.full((len(batch), 1, 1, 1), strength)
    with torch.inference_mode():
        found = change(batch, strengths, Generator().manual_seed(seed))
        bytes_ = (found.clamp(0, 1) * 255).round().to(torch.uint8)
    result: NDArray[np.uint8] = bytes_.permute(0, 2, 3, 1).contiguous().numpy()
    return result


# Light ------------------------------------------------------------------------------------------


def _dark(images: Tensor, strength: Tensor, _: Generator | None) -> Tensor:
    return images.pow(1 + strength) * (1 - 0.65 * strength)


def _bright(images: Tensor, strength: Tensor, _: Generator | None) -> Tensor:
    return images * (1 + 0.7 * strength) + 0.08 * strength


def _side_light(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    x, y = _grid(images)
    slope = _between(images, -0.5, 0.5, generator)
    lit = torch.sigmoid(4 * (_either(images, generator) * x + slope * y))
    return images * (1 + strength * (0.3 * lit - 0.9 * (1 - lit)))


def _back_light(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    x, y = _placed(images, generator)
    face = torch.sigmoid(-8 * _ellipse(x, y, (0, 0.1), (0.8, 1.0)))
    veil = 0.15 * strength
    shaded = images * (1 - 0.75 * strength) + veil
    behind = images * (1 - strength) + 0.97 * strength
    return face * shaded + (1 - face) * behind


def _coloured_light(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    hue = _chance(images, generator)[:, 0, 0]
    thirds = torch.arange(3, device=images.device) / 3
    colour = 0.5 + 0.5 * torch.cos(2 * math.pi * (hue + thirds))
    return images * (1 - 0.85 * strength * (1 - _tone(images, colour)))


# Worn -------------------------------------------------------------------------------------------


def _sunglasses(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    x, y = _placed(images, generator)
    worn = torch.minimum(_lenses(x, y, 0.05 * strength), _bridge(x, y))
    glass = _between(images, 0.02, 0.15, generator)
    return _covered(images, _within(worn) * (0.55 + 0.43 * strength), glass)


def _glasses(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    x, y = _placed(images, generator)
    lenses = _lenses(x, y, torch.zeros_like(strength))
    rim = lenses.abs() - 0.02 - 0.035 * strength
    arms = _box(x.abs(), y, (0.9, -0.27), (0.24, 0.03))
    band = torch.exp(-(((x + y + _between(images, -0.6, 0.6, generator)) / 0.14) ** 2))
    shining = _covered(images, _within(lenses) * band * 0.9 * strength, torch.ones_like(strength))
    frame = torch.minimum(torch.minimum(rim, arms), _bridge(x, y))
    return _covered(shining, _within(frame), _between(images, 0.03, 0.4, generator))


def _fringe(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    x, y = _placed(images, generator)
    phase = _between(images, 0, 2 * math.pi, generator)
    tips = 0.08 * torch.sin(6 * x + phase) + 0.05 * torch.sin(19 * x + 2 * phase)
    return _covered(
        images,
        _within(y - (tips - 0.85 + 0.65 * strength)),
        _hair(images, generator) * (1 + 0.25 * torch.sin(45 * x + 3 * torch.sin(4 * y) + phase)),
    )


def _beard(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    x, y = _placed(images, generator)
    jaw = torch.maximum(
        _ellipse(x, y, (0, 0.05), (0.82, 1.02)), 0.45 - 0.16 * strength - 0.5 * x**2 - y
    )
    beard = torch.maximum(jaw, -_ellipse(x, y, (0, 0.5), (0.3, 0.1)))
    curls = 1 + 0.3 * torch.sin(37 * x + 11 * y) * torch.sin(41 * y - 9 * x)
    cover = torch.sigmoid(-25 * beard) * (0.35 + 0.6 * strength)
    return _covered(images, cover, _hair(images, generator) * curls)


def _mask(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    x, y = _placed(images, generator)
    cloth = torch.maximum(
        _ellipse(x, y, (0, 0.1), (0.88, 1.0)), 0.36 - 0.36 * strength + 0.2 * x**2 - y
    )
    colours = torch.tensor([[0.93, 0.94, 0.95], [0.55, 0.75, 0.88], [0.1, 0.1, 0.12]])
    which = (_chance(images, generator)[:, 0, 0, 0] * len(colours)).long()
    shade = _tone(images, colours.to(images.device)[which])
    pleats = 1 - 0.12 * torch.sin(22 * y).clamp_min(0) - 0.25 * x.abs() ** 3
    return _covered(images, _within(cloth), shade * pleats)


def _hand(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    x, y = _grid(images)
    angle = _between(images, -1.3, 1.3, generator)
    along = -y * torch.cos(angle) - x * torch.sin(angle)
    across = x * torch.cos(angle) - y * torch.sin(angle) - _between(images, -0.2, 0.2, generator)
    deep = along + 0.6 - 0.75 * strength
    hand = torch.maximum(across.abs() - 0.42, deep + 0.3)
    for place, shorter in ((-0.32, 0.12), (-0.11, 0.0), (0.11, 0.03), (0.32, 0.16)):
        hand = torch.minimum(hand, torch.maximum((across - place).abs() - 0.09, deep + shorter))
    quarter, half = images.shape[-1] // 4, images.shape[-1] // 2
    middle = images[..., quarter : quarter + half, quarter : quarter + half]
    skin = middle.mean(dim=(2, 3), keepdim=True) * _between(images, 0.85, 1.15, generator)
    return _covered(images, _within(hand), skin * (0.6 + 0.4 * (-hand / 0.07).clamp(0, 1)))


# Lens and file ----------------------------------------------------------------------------------


def _defocus(images: Tensor, strength: Tensor, _: Generator | None) -> Tensor:
    side = images.shape[-1]
    spread = ((0.006 + 0.034 * strength) * side).reshape(-1, 1).expand(-1, 2)
    reach = 2 * math.ceil(0.1 * side) + 1
    blurred: Tensor = kornia.filters.gaussian_blur2d(images, (reach, reach), spread)
    return blurred


def _motion_blur(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    angle = _between(images, 0, math.pi, generator)
    length = 0.06 + 0.3 * strength
    steps = torch.linspace(-0.5, 0.5, 17).tolist()
    still = torch.zeros_like(strength)
    moved = [
        _moved(
            images,
            across=step * length * torch.cos(angle),
            down=step * length * torch.sin(angle),
            size=1 + still,
            turn=still,
        )
        for step in steps
    ]
    return torch.stack(moved).mean(dim=0)


def _low_resolution(images: Tensor, strength: Tensor, _: Generator | None) -> Tensor:
    sides = [round(images.shape[-1] * share) for share in (0.55, 0.4, 0.27)]
    which = (strength.flatten() * len(sides)).ceil().clamp(1, len(sides)).long() - 1
    small = images.clone()
    for number, side in enumerate(sides):
        places = (which == number).nonzero()[:, 0]
        if len(places):
            few = functional.interpolate(images[places], size=(side, side), mode="area")
            small[places] = functional.interpolate(
                few, size=images.shape[-2:], mode="bilinear", align_corners=False
            )
    return small


def _jpeg(images: Tensor, strength: Tensor, _: Generator | None) -> Tensor:
    colour = images.expand(-1, 3, -1, -1)
    quality = (40 - 35 * strength).flatten()
    coded: Tensor = kornia.enhance.jpeg_codec_differentiable(colour, quality)
    return coded if images.shape[1] == 3 else _grey(coded)


def _noise(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    grain = torch.randn(images.shape, generator=generator, device=images.device)
    return images + grain * (0.02 + 0.1 * strength)


def _rotation(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    still = torch.zeros_like(strength)
    turn = math.radians(30) * strength * _either(images, generator)
    return _moved(images, across=still, down=still, size=1 + still, turn=turn)


def _detector_box(images: Tensor, strength: Tensor, generator: Generator | None) -> Tensor:
    angle = _between(images, 0, 2 * math.pi, generator)
    return _moved(
        images,
        across=0.25 * strength * torch.cos(angle),
        down=0.25 * strength * torch.sin(angle),
        size=torch.exp(0.25 * strength * _either(images, generator)),
        turn=torch.zeros_like(strength),
    )


CONDITIONS: Final[Mapping[str, Condition]] = MappingProxyType(
    {
        "dark": Condition("light", _dark),
        "bright": Condition("light", _bright),
        "side_light": Condition("light", _side_light),
        "back_light": Condition("light", _back_light),
        "coloured_light": Condition("light", _coloured_light),
        "sunglasses": Condition("worn", _sunglasses),
        "glasses": Condition("worn", _glasses),
        "fringe": Condition("worn", _fringe),
        "beard": Condition("worn", _beard),
        "mask": Condition("worn", _mask),
        "hand": Condition("worn", _hand),
        "defocus": Condition("lens", _defocus),
        "motion_blur": Condition("lens", _motion_blur),
        "low_resolution": Condition("lens", _low_resolution),
        "jpeg": Condition("lens", _jpeg),
        "noise": Condition("lens", _noise),
        "rotation": Condition("lens", _rotation),
        "detector_box": Condition("lens", _detector_box),
    }
)
"""Every condition by name."""


# Chance, places and shapes: all (N, 1, H, W), or (N, 1, 1, 1) for a number each -----------------


def _chance(images: Tensor, generator: Generator | None) -> Tensor:
    return torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device)


def _between(images: Tensor, low: float, high: float, generator: Generator | None) -> Tensor:
    return low + (high - low) * _chance(images, generator)


def _either(images: Tensor, generator: Generator | None) -> Tensor:
    """-1 or 1."""
    return (_chance(images, generator) < 0.5).float() * 2 - 1


def _grid(images: Tensor) -> tuple[Tensor, Tensor]:
    height, width = images.shape[-2:]
    x = torch.linspace(-1, 1, width, device=images.device).view(1, 1, 1, width)
    y = torch.linspace(-1, 1, height, device=images.device).view(1, 1, height, 1)
    return x, y


def _placed(images: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor]:
    """The grid as something worn sees it: a little off and a little tilted."""
    x, y = _grid(images)
    x = x - _between(images, -0.06, 0.06, generator)
    y = y - _between(images, -0.06, 0.06, generator)
    tilt = _between(images, -0.1, 0.1, generator)
    return x * torch.cos(tilt) + y * torch.sin(tilt), y * torch.cos(tilt) - x * torch.sin(tilt)


def _ellipse(
    x: Tensor, y: Tensor, centre: tuple[float, float], radii: tuple[float, float]
) -> Tensor:
    """Distance from an ellipse's edge, negative inside, right near the edge."""
    across, down = (x - centre[0]) / radii[0], (y - centre[1]) / radii[1]
    return ((across**2 + down**2).sqrt() - 1) * min(radii)


def _box(
    x: Tensor,
    y: Tensor,
    centre: tuple[float, float],
    half: tuple[float | Tensor, float | Tensor],
    rounded: float = 0.0,
) -> Tensor:
    """Distance from the edge of a rounded rectangle, negative inside."""
    across = (x - centre[0]).abs() - half[0] + rounded
    down = (y - centre[1]).abs() - half[1] + rounded
    outside = (across.clamp_min(0) ** 2 + down.clamp_min(0) ** 2).sqrt()
    return outside + torch.maximum(across, down).clamp_max(0) - rounded


def _lenses(x: Tensor, y: Tensor, wider: Tensor) -> Tensor:
    return _box(x.abs(), y, (0.37, -0.2), (0.27 + wider, 0.19 + wider), rounded=0.13)


def _bridge(x: Tensor, y: Tensor) -> Tensor:
    return _box(x, y, (0, -0.26), (0.13, 0.035))


def _within(distance: Tensor) -> Tensor:
    """1 inside, 0 outside, with an edge about a pixel wide."""
    return torch.sigmoid(-distance * 1.5 * distance.shape[-1])


def _covered(images: Tensor, share: Tensor, shade: Tensor) -> Tensor:
    return images * (1 - share) + shade * share


def _tone(images: Tensor, colour: Tensor) -> Tensor:
    """A colour (N, 3) as the images can show it: (N, C, 1, 1)."""
    colour = colour[:, :, None, None]
    return colour if images.shape[1] == 3 else _grey(colour)


def _grey(colour: Tensor) -> Tensor:
    shares = torch.tensor(_LUMA, device=colour.device).view(1, 3, 1, 1)
    return (colour * shares).sum(dim=1, keepdim=True)


def _hair(images: Tensor, generator: Generator | None) -> Tensor:
    dark, fair = (
        torch.tensor(c, device=images.device) for c in ((0.07, 0.05, 0.04), (0.75, 0.6, 0.4))
    )
    fairness = _chance(images, generator)[:, :, 0, 0] ** 2
    return _tone(images, dark + fairness * (fair - dark))


def _moved(images: Tensor, *, across: Tensor, down: Tensor, size: Tensor, turn: Tensor) -> Tensor:
    """Look at other places: shifted (-1..1 is the whole side), larger by size, turned, radians."""
    sine, cosine = torch.sin(turn) * size, torch.cos(turn) * size
    rows = torch.stack((cosine, -sine, across, sine, cosine, down), dim=-1).view(-1, 2, 3)
    grid = functional.affine_grid(rows, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
