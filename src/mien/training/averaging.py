"""The averaged weights of a run, which validation sees and which are kept."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

__all__ = ["Averaged"]


class Averaged(AveragedModel):
    """An exponential moving average of a model's weights and of its norms' statistics.

    ``module`` has the averages. As torch's own, but that no step waits for a GPU, from which that
    reads how many steps there were.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Begin with a copy of ``model``; ``decay`` (0 to 1) is what a step leaves of before."""
        super().__init__(model)
        self._decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take in the weights of ``model`` after a step."""
        steps = int(self.n_averaged)
        # A short memory at first: else the random start would weigh on the first epochs.
        decay = min(self._decay, (1 + steps) / (10 + steps)) if steps else 0.0
        tensors = ([*of.parameters(), *of.buffers()] for of in (self.module, model))
        averages: list[Tensor] = []
        currents: list[Tensor] = []
        for average, current in zip(*tensors, strict=True):
            if average.is_floating_point():
                averages.append(average)
                currents.append(current)
            else:
                average.copy_(current)
        torch._foreach_lerp_(averages, currents, 1 - decay)
        self.n_averaged += 1
