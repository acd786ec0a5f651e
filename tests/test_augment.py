"""Augmentation varies what it should, within range, the same for the same seed."""

import pytest
import torch
from torch import nn

from mien.config import TrainConfig
from mien.training.augment import Augmentation
from mien.training.networks import Classifier

OFF = {
    "flip": 0.0,
    "rotation": 0.0,
    "shift": 0.0,
    "scale": 0.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "erasing": 0.0,
}


def _augmentation(**on: float) -> Augmentation:
    return Augmentation(TrainConfig(**(OFF | on)))  # type: ignore[arg-type]


def _batch() -> torch.Tensor:
    return torch.rand(16, 1, 48, 48, generator=torch.Generator().manual_seed(3))


def test_nothing_asked_nothing_changed() -> None:
    torch.testing.assert_close(_augmentation()(_batch()), _batch())


@pytest.mark.parametrize(
    "on",
    [
        {"flip": 0.5},
        {"rotation": 20.0},
        {"shift": 0.1},
        {"scale": 0.2},
        {"brightness": 0.3},
        {"contrast": 0.3},
        {"gamma": 0.3},
        {"erasing": 1.0},
    ],
    ids=lambda on: str(next(iter(on))),
)
def test_each_step_changes_images_and_keeps_shape_and_range(on: dict[str, float]) -> None:
    torch.manual_seed(1)
    varied = _augmentation(**on)(_batch())
    assert varied.shape == (16, 1, 48, 48)
    assert float(varied.min()) >= 0 and float(varied.max()) <= 1
    changed = (varied - _batch()).abs().amax(dim=(1, 2, 3)) > 1e-4
    assert changed.any()


@pytest.mark.parametrize(
    ("on", "seen"),
    [({"brightness": 0.25}, False), ({"contrast": 0.25}, False), ({"gamma": 0.25}, True)],
    ids=["brightness", "contrast", "gamma"],
)
def test_of_light_a_network_sees_only_gamma(on: dict[str, float], seen: bool) -> None:
    """Where nothing becomes black or white; each picture is shifted and scaled before a network."""
    torch.manual_seed(1)
    varied = _augmentation(**on)(images := 0.3 + 0.4 * _batch())
    assert (varied - images).abs().max() > 0.02
    network = Classifier(nn.Identity())
    assert ((network(varied) - network(images)).abs().max() > 0.02) == seen


def test_faces_become_larger_and_smaller() -> None:
    torch.manual_seed(0)
    images = torch.zeros(64, 1, 48, 48)
    images[:, :, 16:32, 16:32] = 1
    areas = _augmentation(scale=0.3)(images).sum(dim=(1, 2, 3)) / 16**2
    assert 0.45 < areas.min() < 0.75
    assert 1.3 < areas.max() < 1.75


def test_faces_move_both_ways() -> None:
    torch.manual_seed(0)
    images = torch.zeros(64, 1, 48, 48)
    images[:, :, 20:28, 20:28] = 1
    moved = _augmentation(shift=0.2)(images)[:, 0]
    places = torch.arange(48.0)
    for along in (1, 2):
        middles = (moved.sum(dim=3 - along) * places).sum(dim=1) / moved.sum(dim=(1, 2))
        assert middles.min() < 19 and middles.max() > 28


def test_gamma_goes_either_way() -> None:
    torch.manual_seed(1)
    moved = (_augmentation(gamma=0.3)(torch.full((64, 1, 48, 48), 0.5)) - 0.5).mean(dim=(1, 2, 3))
    assert (moved > 0.02).any() and (moved < -0.02).any()


def test_flip_mirrors_about_half_and_only_mirrors() -> None:
    torch.manual_seed(0)
    batch = torch.rand(400, 1, 8, 8)
    varied = _augmentation(flip=0.5)(batch)
    mirrored = torch.isclose(varied, batch.flip(3)).all(dim=3).all(dim=2).all(dim=1)
    same = torch.isclose(varied, batch).all(dim=3).all(dim=2).all(dim=1)
    assert bool((mirrored ^ same).all())
    assert 150 < int(mirrored.sum()) < 250


def test_images_of_a_batch_differ_from_each_other() -> None:
    torch.manual_seed(0)
    one = torch.rand(1, 1, 48, 48).expand(6, 1, 48, 48).clone()
    varied = _augmentation(rotation=20.0)(one)
    assert len({tuple(image.flatten().tolist()) for image in varied}) == 6


def test_erasing_stays_within_its_area() -> None:
    torch.manual_seed(0)
    white = torch.ones(64, 1, 48, 48)
    erased = (_augmentation(erasing=1.0, erasing_area=0.1)(white) != 1).float().mean(dim=(1, 2, 3))
    assert 0 < float(erased.max()) <= 0.12


def test_same_seed_same_variety() -> None:
    augment = Augmentation(TrainConfig())
    results = []
    for _ in range(2):
        torch.manual_seed(9)
        results.append(augment(_batch()))
    assert torch.equal(results[0], results[1])
