"""Weights go uphill by as far as is said, come back exactly, and so find flatter places."""

from pathlib import Path

import pytest
import torch
from torch import nn

from mien.config import TrainConfig
from mien.data.dataset import Dataset
from mien.preprocess import InputSpec
from mien.training.checkpoint import read_tensors
from mien.training.labelled import Labelled
from mien.training.networks import build
from mien.training.sharpness import uphill
from mien.training.train import train


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


def _loss(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(network(images), labels)


def test_the_weights_move_as_the_paper_says_and_come_back_exactly() -> None:
    network, radius = _network(), 0.5
    images, labels = torch.randn(16, 4), torch.arange(16) % 3
    before = _loss(network, images, labels)
    before.backward()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    gradients = {name: weight.grad for name, weight in network.named_parameters()}
    assert all(gradient is not None for gradient in gradients.values())
    # T of equation 8, element by element.
    sizes = {
        name: weight.detach().abs() + 0.01 if weight.ndim > 1 else torch.ones_like(weight)
        for name, weight in network.named_parameters()
    }
    length = sum(
        float((sizes[n] * g).square().sum()) for n, g in gradients.items() if g is not None
    )
    with uphill(network, radius):
        for name, weight in network.named_parameters():
            gradient = gradients[name]
            assert gradient is not None
            expected = state[name] + radius * sizes[name] ** 2 * gradient / length**0.5
            torch.testing.assert_close(weight.detach(), expected)
            assert weight.grad is None
        above = _loss(network, images + 3, labels)
        above.backward()
        assert _loss(network, images, labels) > before
    counted = "num_batches_tracked"
    for name, value in network.state_dict().items():
        assert name.endswith(counted) or torch.equal(value, state[name]), name
    assert all(weight.grad is not None for weight in network.parameters())


def test_weights_come_back_after_an_error() -> None:
    network = _network()
    _loss(network, torch.randn(8, 4), torch.arange(8) % 3).backward()
    held = [weight.detach().clone() for weight in network.parameters()]
    with pytest.raises(KeyboardInterrupt), uphill(network, 1.0):
        raise KeyboardInterrupt
    for weight, before in zip(network.parameters(), held, strict=True):
        assert torch.equal(weight, before)


def test_a_step_of_training_goes_by_the_gradient_found_uphill(
    tmp_path: Path, drawn_dataset: Dataset, tiny_config: TrainConfig
) -> None:
    """And its norms see what they would see without."""
    still = ("rotation", "shift", "scale", "brightness", "contrast", "erasing", "flip", "dropout")
    plain = {"weight_decay": 0.0, "clip_norm": 0.0, "warmup": 0.0, "ema": 0.0, "momentum": 0.0}
    step = {"optimizer": "sgd", "schedule": "constant", "epochs": 1, "batch_size": 112}
    changes = dict.fromkeys(still, 0.0) | plain | step | {"sharpness": 2.0, "learning_rate": 0.1}
    config = TrainConfig.model_validate(tiny_config.model_dump() | changes)
    train(drawn_dataset, config, tmp_path / "run", device="cpu")
    trained, _ = read_tensors(tmp_path / "run/checkpoints/epoch-0001.safetensors")
    torch.manual_seed(config.seed)
    spec, emotions = InputSpec(48, 1), drawn_dataset.emotions
    network = build("mini", spec=spec, emotions=len(emotions), dropout=0.0)
    data = Labelled.of(drawn_dataset, "train", spec, emotions)
    pixels, labels = data.pixels(torch.arange(len(data))), torch.from_numpy(data.labels)
    _loss(network, pixels, labels).backward()
    below = _gradient(network)
    with uphill(network, 2.0):
        _loss(network, pixels, labels).backward()
    above = _gradient(network)
    begun = torch.cat([weight.detach().flatten() for weight in network.parameters()])
    ended = torch.cat(
        [trained[f"model.{name}"].flatten() for name, _ in network.named_parameters()]
    )
    taken = (begun - ended) / config.learning_rate
    # The order of the images, and so the rounding, is another one.
    assert (taken - above).norm() < 0.02 * above.norm()
    assert (taken - below).norm() > 0.2 * below.norm()
    for name, value in network.named_buffers():
        torch.testing.assert_close(
            trained[f"model.{name}"], value, rtol=1e-3, atol=1e-4, check_dtype=False
        )


def _gradient(network: nn.Module) -> torch.Tensor:
    found = [weight.grad.flatten() for weight in network.parameters() if weight.grad is not None]
    return torch.cat(found).clone()
