"""A face and its mirror image are the same to a mirrored network, trained or not."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mien.card import ModelCard
from mien.preprocess import InputSpec
from mien.training.checkpoint import BEST_NAME, write_weights
from mien.training.mirror import MirrorConv, MirrorLift, MirrorMean, MirrorNorm, plain
from mien.training.networks import NETWORKS, Classifier, build
from mien.training.runs import open_run

MIRRORED = [name for name in NETWORKS if name.startswith("mirror-")]


def _swapped(x: Tensor) -> Tensor:
    """Return what mirrored maps become: mirrored, and their halves the other way round."""
    return x.flip(-1).roll(x.shape[1] // 2, dims=1)


def _pictures(count: int, side: int) -> Tensor:
    """Draw pictures of large spots, no two alike and none its own mirror image."""
    spots = torch.rand(count, 1, 5, 5)
    return nn.functional.interpolate(spots, (side, side), mode="bilinear")


def _trained(name: str, side: int = 48) -> Classifier:
    """Build a network whose statistics and weights are no longer those it began with."""
    torch.manual_seed(3)
    model = build(name, spec=InputSpec(size=side, channels=1), emotions=8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        logits = model(_pictures(8, side))
        nn.functional.cross_entropy(logits, torch.arange(8)).backward()
        optimizer.step()
    return model.eval()


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (4, 2)])
@pytest.mark.parametrize("bias", [True, False])
def test_mirrored_maps_give_mirrored_maps(kernel: int, stride: int, *, bias: bool) -> None:
    torch.manual_seed(0)
    conv = MirrorConv(6, 8, kernel, stride=stride, padding=kernel // 3, bias=bias)
    x = torch.randn(2, 6, 12, 16)
    y = conv(x)
    assert y.shape == (2, 8, 12 // stride, 16 // stride)
    torch.testing.assert_close(conv(_swapped(x)), _swapped(y))
    # Not because both halves say the same.
    assert (y[:, :4] - y[:, 4:]).abs().mean() > 0.05


def test_a_mirrored_picture_gives_mirrored_maps() -> None:
    torch.manual_seed(0)
    conv = MirrorLift(3, 8, 3, padding=1)
    picture = torch.rand(2, 3, 10, 10)
    torch.testing.assert_close(conv(picture.flip(-1)), _swapped(conv(picture)))


def test_a_kernel_of_three_is_not_enough_to_halve() -> None:
    torch.manual_seed(0)
    conv = MirrorConv(6, 8, 3, stride=2, padding=1)
    x = torch.randn(2, 6, 12, 16)
    assert (conv(_swapped(x)) - _swapped(conv(x))).abs().max() > 0.1


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_halves_are_normalised_by_the_statistics_of_both(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    norm = MirrorNorm(6)
    x = (torch.randn(5, 6, 4, 4) * 3 + torch.arange(6).view(1, 6, 1, 1)).contiguous(
        memory_format=layout
    )
    y = norm(x)
    halves = torch.stack([x[:, :3], x[:, 3:]])
    mean, variance = halves.mean((0, 1, 3, 4)), halves.var((0, 1, 3, 4), correction=0)
    for half, normalised in zip(halves, (y[:, :3], y[:, 3:]), strict=True):
        expected = (half - mean.view(3, 1, 1)) / (variance + 1e-5).sqrt().view(3, 1, 1)
        torch.testing.assert_close(normalised, expected, atol=1e-5, rtol=1e-5)


def test_mean_of_halves() -> None:
    assert MirrorMean()(torch.tensor([[1.0, 2, 3, 5, 8, 13]])).tolist() == [[3, 5, 8]]


@pytest.mark.parametrize("name", MIRRORED)
def test_a_mirrored_face_gets_the_same_answer(name: str) -> None:
    model = _trained(name)
    faces = _pictures(4, 48)
    logits = model(faces)
    torch.testing.assert_close(model(faces.flip(-1)), logits, atol=1e-5, rtol=1e-4)
    assert logits.std(dim=0).max() > 5e-4  # It does look at them.


def test_a_run_is_opened_with_ordinary_layers(tmp_path: Path) -> None:
    model = _trained("mirror-s")
    labels = tuple("abcdefgh")
    card = ModelCard(name="a", network="mirror-s", labels=labels, size=48, channels=1, parameters=1)
    write_weights(tmp_path / BEST_NAME, model, card)
    run = open_run(tmp_path)
    assert not any(isinstance(part, MirrorConv | MirrorNorm) for part in run.network.modules())
    faces = _pictures(4, 48)
    torch.testing.assert_close(run.network(faces), model(faces), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("side", [48, 49])
@pytest.mark.parametrize("name", [*MIRRORED, "mini"])
def test_a_plain_copy_answers_alike(name: str, side: int) -> None:
    model = _trained(name, side)
    copy = plain(model)
    faces = _pictures(4, side)
    torch.testing.assert_close(copy(faces), model(faces), atol=1e-5, rtol=1e-4)
    assert not any(isinstance(part, MirrorConv | MirrorNorm) for part in copy.modules())
    model.train()
    assert not copy.training
