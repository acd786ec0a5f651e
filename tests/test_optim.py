"""Optimizers and schedules do what their names say, and go on where they were."""

import copy
from itertools import pairwise
from typing import Literal

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adamax, AdamW, Optimizer

from mien.config import TrainConfig
from mien.training.optim import make_optimizer, make_schedule

ScheduleName = Literal["cosine", "onecycle", "plateau", "constant"]


def _optimizer(config: TrainConfig) -> Optimizer:
    return make_optimizer(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), config)


def _rate(optimizer: Optimizer) -> float:
    return float(optimizer.param_groups[0]["lr"])


def test_muon_turns_what_lies_within_and_leaves_the_rest_to_adamw() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 3), nn.Flatten(), nn.Linear(24, 40)]
    model = nn.Sequential(*layers, nn.Linear(40, 3))
    gradients = [torch.randn_like(weight) for weight in model.parameters()]
    twin = copy.deepcopy(model)
    config = TrainConfig(optimizer="muon", learning_rate=0.1, weight_decay=0.5, momentum=0.9)
    muon, adamw = (
        make_optimizer(model, config),
        make_optimizer(twin, config.model_copy(update={"optimizer": "adamw"})),
    )
    for net, optimizer in ((model, muon), (twin, adamw)):
        before = {name: weight.detach().clone() for name, weight in net.named_parameters()}
        for weight, gradient in zip(net.parameters(), gradients, strict=True):
            weight.grad = gradient.clone()
        optimizer.step()
    ours, theirs = dict(model.named_parameters()), dict(twin.named_parameters())
    for name in ("1.weight", "3.weight"):
        step = (ours[name] - before[name] * (1 - 0.1 * 0.5)).detach().flatten(1)
        stretch = torch.linalg.svdvals(step / (0.1 * 0.2 * max(step.shape) ** 0.5))
        assert 0.6 < stretch.min() <= stretch.max() < 1.3
    for name in ours.keys() - {"1.weight", "3.weight"}:
        torch.testing.assert_close(ours[name], theirs[name])


def test_muon_turns_weights_of_one_shape_together_as_each_alone() -> None:
    """Every step is the one that its papers describe, worked out by singular values."""
    torch.manual_seed(0)
    sizes = (6, 6, 6, 6, 9, 4)
    model = nn.Sequential(*(nn.Linear(*pair) for pair in pairwise(sizes)))
    config = TrainConfig(optimizer="muon", learning_rate=0.1, weight_decay=0.5, momentum=0.8)
    optimizer = make_optimizer(model, config)
    inner = [model.get_parameter(f"{layer}.weight") for layer in (1, 2, 3)]
    expected = [weight.detach().clone() for weight in inner]
    momenta = [torch.zeros_like(weight) for weight in inner]
    for _ in range(3):
        for i, weight in enumerate(inner):
            gradient = torch.randn_like(weight)
            weight.grad = gradient.clone()
            momenta[i] = 0.8 * momenta[i] + 0.2 * gradient
            u, stretch, v = torch.linalg.svd(0.8 * momenta[i] + 0.2 * gradient, False)
            stretch /= stretch.norm()
            for _ in range(5):
                stretch = 3.4445 * stretch - 4.775 * stretch**3 + 2.0315 * stretch**5
            step = 0.1 * 0.2 * max(weight.shape) ** 0.5 * (u * stretch) @ v
            expected[i] = (1 - 0.1 * 0.5) * expected[i] - step
        optimizer.step()
    for weight, want in zip(inner, expected, strict=True):
        torch.testing.assert_close(weight.detach(), want, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("name", "kind"), [("adamw", AdamW), ("adamax", Adamax), ("sgd", SGD)])
def test_optimizer_by_name(name: Literal["adamw", "adamax", "sgd"], kind: type[Optimizer]) -> None:
    optimizer = _optimizer(TrainConfig(optimizer=name, weight_decay=0.3))
    assert type(optimizer) is kind
    matrices, vectors = optimizer.param_groups
    assert [p.ndim for p in matrices["params"]] == [2]
    assert [p.ndim for p in vectors["params"]] == [1, 1, 1]
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.3, 0.0)


def _rates(config: TrainConfig, steps_per_epoch: int) -> list[float]:
    optimizer = _optimizer(config)
    schedule = make_schedule(optimizer, config, steps_per_epoch=steps_per_epoch)
    rates = []
    for _ in range(config.epochs * steps_per_epoch):
        rates.append(_rate(optimizer))
        optimizer.step()
        schedule.after_step()
    return rates


def test_cosine_rises_then_falls_to_zero() -> None:
    config = TrainConfig(epochs=10, learning_rate=1.0, warmup=0.2, schedule="cosine")
    rates = _rates(config, steps_per_epoch=10)
    assert rates[:20] == sorted(rates[:20])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert max(rates) == pytest.approx(1.0)
    # Half-way down after half of the 80 falling steps.
    assert rates[60] == pytest.approx(0.5)
    assert 0 < rates[-1] < 0.01


def test_one_cycle_rises_from_a_25th_over_three_tenths() -> None:
    config = TrainConfig(epochs=10, learning_rate=1.0, schedule="onecycle")
    rates = _rates(config, steps_per_epoch=10)
    assert rates[0] == pytest.approx(0.04)
    assert rates[15] == pytest.approx(0.52)
    assert rates[30] == pytest.approx(1.0)
    assert rates[30:] == sorted(rates[30:], reverse=True)
    assert 0 < rates[-1] < 0.01


def test_one_cycle_rises_over_a_longer_warm_up() -> None:
    config = TrainConfig(epochs=10, learning_rate=1.0, schedule="onecycle", warmup=0.6)
    rates = _rates(config, steps_per_epoch=10)
    assert max(range(100), key=rates.__getitem__) == 60


def test_sgd_has_nesterovs_momentum() -> None:
    (group, _) = _optimizer(TrainConfig(optimizer="sgd", momentum=0.8)).param_groups
    assert (group["momentum"], group["nesterov"]) == (0.8, True)
    (group, _) = _optimizer(TrainConfig(optimizer="sgd", momentum=0.0)).param_groups
    assert (group["momentum"], group["nesterov"]) == (0.0, False)


def test_constant_stays_after_the_warm_up() -> None:
    rates = _rates(TrainConfig(epochs=2, learning_rate=0.5, warmup=0.1, schedule="constant"), 10)
    assert set(rates[2:]) == {0.5}


def test_the_warm_up_rises_by_equal_steps_from_the_first_on() -> None:
    config = TrainConfig(epochs=2, learning_rate=1.0, warmup=0.2, schedule="constant")
    rates = _rates(config, steps_per_epoch=20)
    assert rates[:8] == pytest.approx([step / 9 for step in range(1, 9)])


def test_plateau_halves_after_patience_runs_out() -> None:
    config = TrainConfig(
        schedule="plateau", learning_rate=1.0, plateau_factor=0.5, plateau_patience=2
    )
    optimizer = _optimizer(config)
    schedule = make_schedule(optimizer, config, steps_per_epoch=1)
    rates = []
    for loss in (1.0, 0.9, 0.95, 0.95, 0.95, 0.95):
        schedule.after_epoch(loss)
        rates.append(_rate(optimizer))
    # 0.9 is the best; the third epoch without a better one exceeds the patience of two.
    assert rates == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("name", "patience"),
    [("cosine", 0), ("onecycle", 0), ("plateau", 0), ("plateau", 1), ("constant", 0)],
)
def test_schedule_goes_on_where_it_was(name: ScheduleName, patience: int) -> None:
    config = TrainConfig(epochs=6, schedule=name, learning_rate=1.0, plateau_patience=patience)
    losses = [1.0, 0.8, 0.9, 0.85, 0.75, 0.74]

    def go(
        optimizer: Optimizer, losses: list[float], state: object = None
    ) -> tuple[list[float], object]:
        schedule = make_schedule(optimizer, config, steps_per_epoch=3)
        if isinstance(state, dict):
            schedule.load_state_dict(state)
        rates = []
        for loss in losses:
            for _ in range(3):
                rates.append(_rate(optimizer))
                optimizer.step()
                schedule.after_step()
            schedule.after_epoch(loss)
        return rates, schedule.state_dict()

    undisturbed, _ = go(_optimizer(config), losses)
    first, state = go(_optimizer(config), losses[:3])
    second, _ = go(_optimizer(config), losses[3:], state)
    assert first + second == undisturbed


def test_weight_decay_spares_norms() -> None:
    config = TrainConfig(learning_rate=0.1, weight_decay=0.5)
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    optimizer = make_optimizer(model, config)
    before = [p.detach().clone() for p in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    shrunk = [not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
    assert shrunk == [True, False, False, False]
