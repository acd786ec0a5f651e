"""Variety for training, drawn anew for every image of a batch, on the batch's device.

Works on float (N, C, H, W), 0..1, and returns the same shape and range.
"""

import kornia.augmentation as kornia
from torch import Tensor, nn

from mien.config import TrainConfig
from mien.environments import Environment

__all__ = ["Augmentation"]


class Augmentation(nn.Module):
    """Mirror, turn, shift, scale, brighten, change contrast and gamma, and blank a rectangle.

    Brightness is added, and contrast multiplies. Networks take both out again
    (`mien.training.networks`), so what they see of it is what became black or white; a gamma they
    see.

    With ``environment``, things are worn before the face moves, and light and lens come after.

    Random numbers come from torch's global generator, so a seed fixes them.
    """

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        if config.environment:
            steps.append(Environment("worn", config.environment))
        if config.flip:
            steps.append(kornia.RandomHorizontalFlip(p=config.flip))
        if config.rotation or config.shift or config.scale:
            steps.append(
                kornia.RandomAffine(
                    degrees=config.rotation,
                    translate=(config.shift, config.shift),
                    scale=(1 - config.scale, 1 + config.scale),
                    padding_mode="border",
                    p=1.0,
                )
            )
        if config.brightness:
            steps.append(kornia.RandomBrightness(_around_one(config.brightness), p=1.0))
        if config.contrast:
            steps.append(kornia.RandomContrast(_around_one(config.contrast), p=1.0))
        if config.gamma:
            steps.append(kornia.RandomGamma(_around_one(config.gamma), p=1.0))
        if config.environment:
            steps.append(Environment("light", config.environment))
            steps.append(Environment("lens", config.environment))
        if config.erasing and config.erasing_area:
            area = (min(0.02, config.erasing_area), config.erasing_area)
            # Mid-grey is what a network reads as nothing once brightness is evened out.
            steps.append(kornia.RandomErasing(scale=area, value=0.5, p=config.erasing))
        self.steps = nn.Sequential(*steps)

    def forward(self, images: Tensor) -> Tensor:
        """Return a varied copy of the batch."""
        varied: Tensor = self.steps(images)
        return varied.clamp(0, 1)


def _around_one(share: float) -> tuple[float, float]:
    return (1 - share, 1 + share)
