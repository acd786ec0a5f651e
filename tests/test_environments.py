"""Conditions change what they should, by as much as asked, and the same way every time."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mien.config import TrainConfig
from mien.environments import CONDITIONS, STRENGTHS, Environment, alter, jitter
from mien.training.augment import Augmentation


@pytest.fixture(scope="module", params=[1, 3], ids=["grey", "colour"])
def faces(request: pytest.FixtureRequest) -> NDArray[np.uint8]:
    """Smooth pictures with an edge, uint8 (6, 48, 48, 1 or 3)."""
    rng = np.random.default_rng(3)
    ramp = np.linspace(70, 180, 48)[:, None] + np.linspace(-30, 30, 48)[None]
    pictures = np.repeat(ramp[None, ..., None], 6, axis=0) + rng.normal(0, 6, (6, 48, 48, 1))
    pictures[:, 18:22, 10:20] = 20
    channels = np.repeat(pictures, request.param, axis=3)
    found: NDArray[np.uint8] = channels.clip(0, 255).astype(np.uint8)
    return found


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_changes_more_the_stronger_it_is(name: str, faces: NDArray[np.uint8]) -> None:
    changes = []
    for strength in STRENGTHS:
        altered = alter(faces, name, strength)
        assert altered.shape == faces.shape
        assert altered.dtype == np.uint8
        changes.append(np.abs(altered.astype(int) - faces).mean())
    assert changes[0] > 0.5
    assert changes[0] < changes[1] < changes[2]


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_is_the_same_every_time_and_another_by_another_seed(
    name: str, faces: NDArray[np.uint8]
) -> None:
    once = alter(faces, name, 0.5)
    assert np.array_equal(once, alter(faces, name, 0.5))
    left_to_chance = name not in {"dark", "bright", "defocus", "low_resolution", "jpeg"}
    assert np.array_equal(once, alter(faces, name, 0.5, seed=1)) is not left_to_chance


def test_light_goes_the_way_its_name_says(faces: NDArray[np.uint8]) -> None:
    assert alter(faces, "dark", 0.7).mean() < faces.mean() < alter(faces, "bright", 0.7).mean()
    sides = alter(faces, "side_light", 1.0).astype(float)
    left, right = sides[:, :, :12].mean(axis=(1, 2, 3)), sides[:, :, -12:].mean(axis=(1, 2, 3))
    assert (np.maximum(left, right) > 2 * np.minimum(left, right)).all()
    back = alter(faces, "back_light", 1.0)
    assert back[:, 0, 0].mean() > 200
    assert back[:, 20:28, 20:28].mean() < 100


def test_worn_things_sit_where_they_are_worn(faces: NDArray[np.uint8]) -> None:
    def rows_changed(name: str) -> NDArray[np.bool_]:
        changed = np.abs(alter(faces, name, 0.6).astype(int) - faces).mean(axis=(0, 2, 3))
        found: NDArray[np.bool_] = changed > 4
        return found

    for name, somewhere, nowhere in (
        ("sunglasses", slice(16, 22), slice(32, 48)),
        ("fringe", slice(0, 6), slice(28, 48)),
        ("beard", slice(40, 46), slice(0, 14)),
        ("mask", slice(32, 44), slice(0, 18)),
    ):
        changed = rows_changed(name)
        assert changed[somewhere].all(), name
        assert not changed[nowhere].any(), name


def test_coloured_light_colours_and_only_dims_grey() -> None:
    grey = np.full((8, 48, 48, 3), 120, dtype=np.uint8)
    lit = alter(grey, "coloured_light", 1.0).astype(int)
    assert (lit.max(axis=3) - lit.min(axis=3)).min() > 50
    assert (alter(grey[..., :1], "coloured_light", 1.0) < 120).all()


def test_a_trembling_box_moves_little(faces: NDArray[np.uint8]) -> None:
    trembled = jitter(faces)
    assert 0 < np.abs(trembled.astype(int) - faces).mean() < 12
    assert np.array_equal(trembled, jitter(faces))
    assert not np.array_equal(trembled, jitter(faces, seed=1))


@pytest.mark.parametrize("group", ["light", "worn", "lens"])
def test_the_environment_of_training_changes_the_share_asked_for(group: str) -> None:
    torch.manual_seed(0)
    images = torch.rand(400, 1, 48, 48) * 0.6 + 0.2
    changed = Environment(group, 0.4)(images)  # type: ignore[arg-type]
    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    share = (changed - images).abs().amax(dim=(1, 2, 3)).gt(0).float().mean()
    assert 0.3 < share < 0.5


def test_training_sees_every_strength() -> None:
    strengths: list[torch.Tensor] = []

    def change(images: torch.Tensor, strength: torch.Tensor, _: object) -> torch.Tensor:
        strengths.append(strength)
        return images

    environment = Environment("lens", 1.0)
    environment._changes = [change]
    environment(torch.rand(400, 1, 16, 16))
    drawn = torch.cat(strengths)
    assert drawn.shape == (400, 1, 1, 1)
    assert drawn.histc(4, 0, 1).min() > 60


def test_augmentation_takes_the_environment_and_stays_in_range() -> None:
    torch.manual_seed(1)
    images = torch.rand(64, 3, 48, 48)
    varied = Augmentation(TrainConfig(environment=1.0, channels=3))(images)
    assert varied.shape == images.shape
    assert varied.isfinite().all()
    assert varied.min() >= 0
    assert varied.max() <= 1


@pytest.mark.parametrize("side", [33, 64, 112])
def test_any_size_of_picture_will_do(side: int) -> None:
    faces = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    for name in CONDITIONS:
        assert alter(faces, name, 1.0).shape == faces.shape
