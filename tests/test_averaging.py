"""Averaged weights are those of the steps behind them, the later the more."""

import pytest
import torch
from torch import nn

from mien.training.averaging import Averaged


def _fill(model: nn.Module, value: float) -> None:
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.detach().fill_(value)


def test_memory_is_short_at_first_and_then_of_its_decay() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    averaged = Averaged(model, 0.75)
    expected = 0.0
    for step in range(60):
        _fill(model, float(step % 7))
        averaged.update_parameters(model)
        decay = min(0.75, (1 + step) / (10 + step)) if step else 0.0
        expected = decay * expected + (1 - decay) * (step % 7)
        for name, average in averaged.module.state_dict().items():
            want = step % 7 if name.endswith("num_batches_tracked") else expected
            assert average.double().mean().item() == pytest.approx(want, abs=1e-5), name
    assert int(averaged.n_averaged) == 60


def test_the_model_stays_as_it_is_and_the_average_goes_on_from_its_state() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 4)
    first, second = Averaged(model, 0.9), Averaged(nn.Linear(4, 4), 0.9)
    for step in range(6):
        _fill(model, step + 0.5)
        first.update_parameters(model)
        assert (model.weight == step + 0.5).all()
        if step == 2:
            second.load_state_dict(first.state_dict())
        if step > 2:
            second.update_parameters(model)
    for mine, its in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(mine, its)
