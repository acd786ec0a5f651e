"""Optimizers and learning-rate schedules by name, as a `TrainConfig` asks for them."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adamax, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from mien.config import TrainConfig

__all__ = ["OPTIMIZERS", "Muon", "Schedule", "make_optimizer", "make_schedule"]

_QUINTIC: Final = (3.4445, -4.7750, 2.0315)
"""An odd polynomial that, applied five times, brings all singular values to 0.7 to 1.2."""


class Muon(AdamW):
    """AdamW but for the groups that are ``orthogonal``, whose steps turn rather than stretch.

    Their momentum, as a matrix of filters, is replaced by the nearest one whose singular values
    are all about 1 (Jordan et al. 2024, kellerjordan.github.io/posts/muon), so that directions
    that gradients seldom show are learnt, too. It is scaled to the size of AdamW's steps, with
    whose learning rate it goes (Liu et al. 2025, arXiv:2502.16982, eq. 4).
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take a step; ``closure`` is for AdamW's groups."""
        for group in self.param_groups:
            if group["orthogonal"]:
                self._turn(group)
        return super().step(closure)

    def _turn(self, group: Mapping[str, Any]) -> None:
        """Step a group's weights, those of one shape at once: a GPU waits for every launch."""
        alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
        for weight in group["params"]:
            if weight.grad is not None:
                alike.setdefault(weight.shape, []).append((weight, weight.grad))
                weight.grad = None  # So AdamW passes it by.
        for shape, pairs in alike.items():
            weights, gradients = zip(*pairs, strict=True)
            momenta = [self._momentum(weight) for weight in weights]
            torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
            ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])
            turned = _orthogonal(torch.stack(ahead).flatten(2).to(group["dtype"]))
            size = 0.2 * math.sqrt(max(turned.shape[1:]))
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            for weight, step in zip(weights, turned, strict=True):
                weight.add_(step.reshape(shape), alpha=-group["lr"] * size)

    def _momentum(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            # AdamW demands a count of steps of whatever has a state; here nothing goes by it.
            state.update(step=torch.tensor(0.0), momentum=torch.zeros_like(weight))
        momentum: Tensor = state["momentum"]
        return momentum


def _orthogonal(matrices: Tensor) -> Tensor:
    """Return about the orthogonal factor of each of some matrices, by Newton-Schulz iteration."""
    wide = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    x: Tensor = wide / wide.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    a, b, c = _QUINTIC
    for _ in range(5):
        square = x @ x.mT
        quartic = torch.baddbmm(square, square, square, beta=b, alpha=c)
        x = torch.baddbmm(x, quartic, x, beta=a)
    return x if wide is matrices else x.mT


OPTIMIZERS: Mapping[str, Callable[..., Optimizer]] = MappingProxyType(
    {"adamw": AdamW, "adamax": Adamax, "muon": Muon, "sgd": SGD}
)


def make_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """Build the optimizer; weight decay acts on matrices and filters, not on norms and biases."""
    weights = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in weights if p.ndim > 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
    ]
    options: dict[str, Any] = {"lr": config.learning_rate}
    if config.optimizer == "sgd":
        options |= {"momentum": config.momentum, "nesterov": config.momentum > 0}
    if config.optimizer == "muon":
        # What sees pixels and what names emotions has directions of its own.
        groups[0]["params"] = [p for p in matrices if p is matrices[0] or p is matrices[-1]]
        inner = {"params": matrices[1:-1], "weight_decay": config.weight_decay}
        groups = [group | {"orthogonal": False} for group in groups]
        # Steps need only be about orthogonal, so the precision of the network is enough.
        dtype = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
        groups.append(inner | {"orthogonal": True, "momentum": config.momentum, "dtype": dtype})
    return OPTIMIZERS[config.optimizer](groups, **options)


class Schedule(Protocol):
    """How the learning rate changes: told of every step and of every epoch's validation loss."""

    def after_step(self) -> None:
        """One step was taken."""

    def after_epoch(self, valid_loss: float) -> None:
        """One epoch ended with that validation loss."""

    def state_dict(self) -> dict[str, Any]:
        """Everything to go on from here, as JSON values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict``."""


def make_schedule(optimizer: Optimizer, config: TrainConfig, *, steps_per_epoch: int) -> Schedule:
    """Build the schedule: ``plateau`` goes by epochs, the others by steps."""
    if config.schedule == "plateau":
        return _Plateau(optimizer, config)
    return _ByStep(optimizer, config, config.epochs * steps_per_epoch)


class _ByStep:
    """A rise over the warm-up, then half a cosine down to 0 (arXiv:1608.03983), or level.

    ``onecycle`` (arXiv:1708.07120) rises along half a cosine too, from a 25th of the rate, over
    three tenths of the steps or the warm-up where that is longer.
    """

    def __init__(self, optimizer: Optimizer, config: TrainConfig, steps: int) -> None:
        onecycle = config.schedule == "onecycle"
        warmup = max(config.warmup, 0.3 if onecycle else 0.0) * steps

        def factor(step: int) -> float:
            if step < warmup and onecycle:
                return 0.52 - 0.48 * math.cos(math.pi * step / warmup)
            if step < warmup:
                return (step + 1) / (warmup + 1)
            if config.schedule == "constant":
                return 1.0
            return 0.5 + 0.5 * math.cos(math.pi * (step - warmup) / max(1.0, steps - warmup))

        self._scheduler = LambdaLR(optimizer, factor)

    def after_step(self) -> None:
        self._scheduler.step()

    def after_epoch(self, valid_loss: float) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {"last_epoch": self._scheduler.last_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        scheduler = self._scheduler
        scheduler.last_epoch = state["last_epoch"]
        for group, base in zip(scheduler.optimizer.param_groups, scheduler.base_lrs, strict=True):
            group["lr"] = base * scheduler.lr_lambdas[0](scheduler.last_epoch)


class _Plateau:
    """Cuts the rate when the validation loss stops falling."""

    def __init__(self, optimizer: Optimizer, config: TrainConfig) -> None:
        self._optimizer = optimizer
        self._scheduler = ReduceLROnPlateau(
            optimizer, factor=config.plateau_factor, patience=config.plateau_patience
        )

    def after_step(self) -> None:
        pass

    def after_epoch(self, valid_loss: float) -> None:
        self._scheduler.step(valid_loss)

    def state_dict(self) -> dict[str, Any]:
        return {
            "lr": [group["lr"] for group in self._optimizer.param_groups],
            "best": self._scheduler.best,
            "num_bad_epochs": self._scheduler.num_bad_epochs,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for group, rate in zip(self._optimizer.param_groups, state["lr"], strict=True):
            group["lr"] = rate
        self._scheduler.best = state["best"]
        self._scheduler.num_bad_epochs = state["num_bad_epochs"]
