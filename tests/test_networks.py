"""Every network keeps one contract, and the two that this began with are exactly themselves."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from mien.errors import ConfigError
from mien.preprocess import InputSpec
from mien.training.networks import NETWORKS, build, multiply_adds, parameter_count

GREY48 = InputSpec(size=48, channels=1)


@pytest.mark.parametrize("name", NETWORKS)
class TestEveryNetwork:
    def test_gives_one_logit_an_emotion(self, name: str) -> None:
        model = build(name, spec=GREY48, emotions=7).eval()
        assert model(torch.rand(3, 1, 48, 48)).shape == (3, 7)

    def test_same_seed_same_weights(self, name: str) -> None:
        states = []
        for _ in range(2):
            torch.manual_seed(5)
            states.append(build(name, spec=GREY48, emotions=8).state_dict())
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])

    def test_every_weight_learns(self, name: str) -> None:
        # Two steps: branches that begin at zero pass a gradient on from the second.
        torch.manual_seed(0)
        model = build(name, spec=GREY48, emotions=8)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            logits = model(torch.rand(8, 1, 48, 48))
            nn.functional.cross_entropy(logits, torch.arange(8)).backward()
            optimizer.step()
        silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        assert silent == []

    def test_brightness_and_contrast_do_not_matter(self, name: str) -> None:
        torch.manual_seed(0)
        model = build(name, spec=GREY48, emotions=8).eval()
        image = torch.rand(1, 1, 48, 48)
        torch.testing.assert_close(model(image), model(image * 0.4 + 0.3), atol=2e-4, rtol=1e-3)

    def test_flat_image_gives_finite_logits(self, name: str) -> None:
        model = build(name, spec=GREY48, emotions=8).eval()
        assert model(torch.full((1, 1, 48, 48), 0.5)).isfinite().all()


def _convolutions(model: nn.Module) -> list[tuple[int, int]]:
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert all(layer.kernel_size == (3, 3) and layer.padding == (1, 1) for layer in layers)
    return [(layer.in_channels, layer.out_channels) for layer in layers]


def _linears(model: nn.Module) -> list[tuple[int, int]]:
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    return [(layer.in_features, layer.out_features) for layer in layers]


def _pools_after(model: nn.Module) -> list[int]:
    seen, pools = 0, []
    for layer in model.modules():
        seen += isinstance(layer, nn.Conv2d)
        if isinstance(layer, nn.MaxPool2d):
            pools.append(seen)
    return pools


def test_classic4_is_the_first_network() -> None:
    model = build("classic4", spec=GREY48, emotions=8)
    assert _convolutions(model) == [(1, 32), (32, 64), (64, 128), (128, 128)]
    assert _linears(model) == [(4608, 128), (128, 8)]
    assert _pools_after(model) == [1, 2, 4]
    assert [layer.p for layer in model.modules() if isinstance(layer, nn.Dropout)] == [0.5]


def test_classic7_is_the_second_network() -> None:
    model = build("classic7", spec=GREY48, emotions=8)
    widths = [1, 32, 64, 64, 128, 256, 256, 512]
    assert _convolutions(model) == list(pairwise(widths))
    assert _linears(model) == [(18432, 512), (512, 8)]
    assert _pools_after(model) == [1, 4, 7]
    norms = [x for x in model.modules() if isinstance(x, nn.BatchNorm2d | nn.BatchNorm1d)]
    assert len(norms) == 8
    assert 11.5e6 < parameter_count(model) < 12.5e6
    # 372 million in its convolutions, 9.4 million in its linear layers.
    assert multiply_adds(model, GREY48) == 372_252_672 + 18432 * 512 + 512 * 8


@pytest.mark.parametrize("spec", [InputSpec(size=64, channels=1), InputSpec(size=48, channels=3)])
@pytest.mark.parametrize("name", ["classic4", "classic7"])
def test_classic_networks_say_what_they_take(name: str, spec: InputSpec) -> None:
    with pytest.raises(ConfigError, match="grey 48x48 only: set size=48 and channels=1"):
        build(name, spec=spec, emotions=8)


@pytest.mark.parametrize("side", [16, 40, 75, 80])
@pytest.mark.parametrize("name", ["mini", "residual"])
def test_modern_networks_take_any_size_and_colour(name: str, side: int) -> None:
    model = build(name, spec=InputSpec(size=side, channels=3), emotions=8).eval()
    assert model(torch.rand(2, 3, side, side)).shape == (2, 8)


def test_counting_multiply_adds_compiles_nothing() -> None:
    model = build("mini", spec=GREY48, emotions=8)
    expected = multiply_adds(model, GREY48)
    model.compile(backend=lambda graph, pictures: pytest.fail("compiled"))
    assert multiply_adds(model, GREY48) == expected


def test_residual_costs_a_fraction_of_classic7() -> None:
    residual, classic7 = (build(n, spec=GREY48, emotions=8) for n in ("residual", "classic7"))
    assert multiply_adds(residual, GREY48) < multiply_adds(classic7, GREY48) / 6
    assert parameter_count(residual) < parameter_count(classic7) / 7


def test_unknown_network_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'vgg'.*expected one of classic4"):
        build("vgg", spec=GREY48, emotions=8)
