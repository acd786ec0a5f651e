"""Tests of the one way from pixels to a network's input."""

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mien.errors import ConfigError
from mien.preprocess import TOLERATED_ROLL, InputSpec, face_crop, fit, to_batch
from mien.records import Box

Pixels = NDArray[np.uint8]

RANDOM = np.random.default_rng(3)
COLOUR = RANDOM.integers(0, 256, (40, 60, 3), dtype=np.uint8)
GREY = RANDOM.integers(0, 256, (40, 60), dtype=np.uint8)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        pytest.param({"size": 15}, "size 15", id="too-small"),
        pytest.param({"size": 513}, "size 513", id="too-large"),
        pytest.param({"channels": 2}, "channels 2", id="two-channels"),
        pytest.param({"margin": -0.41}, "margin -0.41", id="margin-eats-the-face"),
        pytest.param({"margin": 2.1}, "margin 2.1", id="margin-too-wide"),
        pytest.param({"margin": math.nan}, "margin nan", id="margin-nan"),
    ],
)
def test_spec_out_of_range(values: dict[str, float], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        InputSpec(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [16, 512])
@pytest.mark.parametrize("margin", [-0.4, 2.0])
def test_spec_takes_its_ends(size: int, margin: float) -> None:
    assert InputSpec(size=size, margin=margin).margin == margin


@pytest.mark.parametrize(
    ("image", "channels"),
    [pytest.param(GREY[:40, :40], 1, id="grey"), pytest.param(COLOUR[:40, :40], 3, id="rgb")],
)
def test_same_size_is_bit_exact(image: Pixels, channels: int) -> None:
    spec = InputSpec(size=40, channels=channels)
    found = fit(image, spec)
    assert found.shape == (40, 40, channels)
    np.testing.assert_array_equal(found.reshape(image.shape), image)
    np.testing.assert_array_equal(fit(found, spec), found)
    np.testing.assert_array_equal(face_crop(image, Box(0, 0, 40, 40), spec), found)


@pytest.mark.parametrize("across", [False, True], ids=["upright", "lying"])
def test_fine_stripes_do_not_alias_where_one_side_alone_is_too_long(across: bool) -> None:
    stripes = np.zeros((400, 47), np.uint8)
    stripes[::2] = 200
    found = fit(stripes.T if across else stripes, InputSpec(size=48))
    # 400 rows to 48 average eight and a third of them, so up to a row more of one kind.
    assert abs(found.astype(float) - 100).max() <= 200 / (400 / 48)


@pytest.mark.parametrize(
    ("box", "margin", "left", "top"),
    [
        pytest.param(Box(10, 20, 16, 16), 0, 10, 20, id="square-inside"),
        pytest.param(Box(10, 20, 16, 8), 0, 10, 16, id="wide-box-grows-upright"),
        pytest.param(Box(10, 20, 8, 16), 0, 6, 20, id="tall-box-grows-sideways"),
        pytest.param(Box(14, 24, 8, 8), 0.5, 10, 20, id="margin-half-a-side"),
        pytest.param(Box(6, 6, 32, 32), -0.25, 14, 14, id="negative-margin-cuts"),
        pytest.param(Box(10.4, 19.6, 16, 16), 0, 10, 20, id="fractions-are-rounded"),
        pytest.param(Box(10.6, 19.4, 16, 16), 0, 11, 19, id="fractions-are-rounded-2"),
        pytest.param(Box(-5, -3, 16, 16), 0, -5, -3, id="over-the-top-left"),
        pytest.param(Box(50, 30, 16, 16), 0, 50, 30, id="over-the-bottom-right"),
        pytest.param(Box(52, 30, 4, 4), 1.5, 46, 24, id="margin-over-the-edge"),
        pytest.param(Box(90, 90, 16, 16), 0, 90, 90, id="wholly-outside"),
    ],
)
@pytest.mark.parametrize("image", [COLOUR, GREY], ids=["rgb", "grey"])
def test_box_agrees_with_a_padded_image(
    image: Pixels, box: Box, margin: float, left: int, top: int
) -> None:
    pad = 100
    sides = ((pad, pad), (pad, pad), (0, 0))[: image.ndim]
    padded = np.pad(image, sides, mode="edge")
    expected = padded[pad + top : pad + top + 16, pad + left : pad + left + 16]
    spec = InputSpec(size=16, channels=1 if image.ndim == 2 else 3, margin=margin)
    np.testing.assert_array_equal(face_crop(image, box, spec).reshape(expected.shape), expected)


@pytest.mark.parametrize(
    "box",
    [
        pytest.param(Box(5, 5, 0, 0), id="empty"),
        pytest.param(Box(5, 5, 0.2, 0.1), id="less-than-a-pixel"),
        pytest.param(Box(-500, 5, 3, 3), id="far-left"),
    ],
)
def test_degenerate_box_gives_an_image(box: Box) -> None:
    found = face_crop(COLOUR, box, InputSpec(size=16, channels=3))
    assert found.shape == (16, 16, 3)


def test_margin_is_ignored_without_a_box() -> None:
    narrow, wide = InputSpec(size=16), InputSpec(size=16, margin=1.0)
    np.testing.assert_array_equal(face_crop(GREY, None, narrow), face_crop(GREY, None, wide))


def test_whole_image_is_stretched() -> None:
    halves = np.zeros((20, 80), dtype=np.uint8)
    halves[:, 40:] = 200
    found = fit(halves, InputSpec(size=20))[..., 0]
    assert (found[:, :9] == 0).all()
    assert (found[:, 11:] == 200).all()


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_shrinking_by_a_whole_factor_is_the_mean_of_blocks(factor: int) -> None:
    side = 16 * factor
    image = RANDOM.integers(0, 256, (side, side, 3), dtype=np.uint8)
    blocks = image.reshape(16, factor, 16, factor, 3).mean(axis=(1, 3))
    found = fit(image, InputSpec(size=16, channels=3))
    assert np.abs(found - blocks).max() <= 1


def test_enlarging_agrees_with_pillow() -> None:
    smooth = (128 + 100 * np.sin(np.add.outer(np.arange(24), np.arange(24)) / 5)).astype(np.uint8)
    expected = Image.fromarray(smooth).resize((60, 60), Image.Resampling.BILINEAR)
    found = fit(smooth, InputSpec(size=60))[..., 0]
    assert np.abs(found.astype(int) - np.asarray(expected)).max() <= 2


def test_grey_agrees_with_pillow() -> None:
    square = COLOUR[:40, :40]
    found = fit(square, InputSpec(size=40, channels=1))[..., 0]
    expected = np.asarray(Image.fromarray(square).convert("L"))
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("image", [GREY[:40, :40], GREY[:40, :40, None]], ids=["2-d", "3-d"])
def test_grey_to_rgb_repeats_the_channel(image: Pixels) -> None:
    found = fit(image, InputSpec(size=40, channels=3))
    np.testing.assert_array_equal(found, np.repeat(image.reshape(40, 40, 1), 3, axis=2))


@pytest.mark.parametrize(
    "shape",
    [(1, 1), (1, 1, 3), (16, 16), (48, 48, 1), (300, 200, 3), (7, 500), (2, 20_000, 3)],
    ids=str,
)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [16, 48])
def test_shapes(shape: tuple[int, ...], channels: int, size: int) -> None:
    found = fit(np.full(shape, 77, dtype=np.uint8), InputSpec(size=size, channels=channels))
    assert found.shape == (size, size, channels)
    assert found.dtype == np.uint8
    assert (found == 77).all()


def test_views_are_taken_as_they_look() -> None:
    spec = InputSpec(size=16, channels=3)
    view = COLOUR[::-1, ::-1, ::-1]
    np.testing.assert_array_equal(fit(view, spec), fit(view.copy(), spec))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 4])
def test_batch(count: int, channels: int) -> None:
    spec = InputSpec(size=16, channels=channels)
    images = [RANDOM.integers(0, 256, (16, 16, channels), dtype=np.uint8) for _ in range(count)]
    batch = to_batch(images, spec)
    assert batch.shape == (count, channels, 16, 16)
    assert batch.dtype == np.float32
    assert batch.flags.c_contiguous
    for number, image in enumerate(images):
        expected = (image / 255).astype(np.float32).transpose(2, 0, 1)
        np.testing.assert_allclose(batch[number], expected, atol=1e-7)


def test_batch_reaches_both_ends() -> None:
    ends = np.zeros((16, 16, 1), dtype=np.uint8)
    ends[0] = 255
    batch = to_batch([ends], InputSpec(size=16))
    assert (batch.min(), batch.max()) == (0.0, 1.0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("roll", [-40.0, 22.0, 35.0])
def test_a_turned_face_is_turned_back(roll: float, channels: int) -> None:
    """Pixels of a picture turned about a box's middle come back where they were."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (12, 12), dtype=np.uint8)
    image = np.asarray(cv2.resize(coarse, (240, 240), interpolation=cv2.INTER_CUBIC), np.uint8)
    box, spec = Box(70, 90, 80, 80), InputSpec(size=40, channels=channels)
    beyond = roll - math.copysign(TOLERATED_ROLL, roll)
    # OpenCV turns against the clock; pixels have their middles at whole numbers.
    turn = cv2.getRotationMatrix2D((109.5, 129.5), -beyond, 1.0)
    turned = np.asarray(cv2.warpAffine(image, turn, (240, 240)), np.uint8)
    upright = face_crop(image, box, spec).astype(float)
    levelled = face_crop(turned, box, spec, roll=roll).astype(float)
    assert levelled.shape == (40, 40, channels)
    assert np.abs(levelled - upright).mean() < 4
    assert np.abs(face_crop(turned, box, spec).astype(float) - upright).mean() > 8


@pytest.mark.parametrize(
    "box",
    [
        pytest.param(Box(20, 12, 15, 15), id="inside"),
        pytest.param(Box(-6, -9, 20, 18), id="over-the-top-left"),
        pytest.param(Box(47.3, 31.6, 20, 24), id="over-the-bottom-right"),
        pytest.param(Box(-10, -10, 90, 90), id="larger-than-the-picture"),
        pytest.param(Box(-60, 5, 15, 15), id="wholly-outside-left"),
        pytest.param(Box(90, 80, 15, 15), id="wholly-outside-right"),
        pytest.param(Box(30, 20, 0.2, 0.1), id="less-than-a-pixel"),
    ],
)
@pytest.mark.parametrize("roll", [-170.0, -33.0, 14.0, 55.0, 100.0])
@pytest.mark.parametrize("image", [COLOUR, GREY], ids=["rgb", "grey"])
def test_a_turned_box_agrees_with_a_turned_picture(image: Pixels, box: Box, roll: float) -> None:
    pad, spec = 150, InputSpec(size=24, channels=1 if image.ndim == 2 else 3, margin=0.1)
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0))[: image.ndim], mode="edge")
    middle = (box.x + box.width / 2 + pad - 0.5, box.y + box.height / 2 + pad - 0.5)
    turn = cv2.getRotationMatrix2D(middle, roll - math.copysign(TOLERATED_ROLL, roll), 1.0)
    length = max(1, round(1.2 * max(box.width, box.height)))
    turn[0, 2] += (length - 1) / 2 - middle[0]
    turn[1, 2] += (length - 1) / 2 - middle[1]
    turned = np.asarray(cv2.warpAffine(padded, turn, (length, length)), np.uint8)
    found = face_crop(image, box, spec, roll=roll)
    # OpenCV places pixels to 1/32.
    assert np.abs(found.astype(int) - fit(turned, spec)).max() <= 16


@pytest.mark.parametrize("roll", [-30.0, 20.0])
@pytest.mark.parametrize("at", [-30, 10, 20_000, 39_990])
@pytest.mark.parametrize("tall", [False, True], ids=["wide", "tall"])
def test_a_tilted_face_of_a_panorama(at: int, roll: float, tall: bool) -> None:
    """OpenCV turns no picture whose sides reach 32,767 pixels."""
    image = np.random.default_rng(0).integers(0, 256, (100, 40_000), dtype=np.uint8)
    near = slice(max(0, at - 200), at + 300)
    part, box = image[:, near], Box(at - near.start, 10, 60, 60)
    expected = face_crop(part.T if tall else part, _flipped(box, tall), InputSpec(), roll=roll)
    whole = image.T if tall else image
    found = face_crop(whole, _flipped(box._replace(x=at), tall), InputSpec(), roll=roll)
    np.testing.assert_array_equal(found, expected)


def _flipped(box: Box, flip: bool) -> Box:
    return Box(box.y, box.x, box.height, box.width) if flip else box


@pytest.mark.parametrize("roll", [-TOLERATED_ROLL, -3.0, 0.0, TOLERATED_ROLL])
def test_a_little_tilt_is_left_as_it_is(roll: float) -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 100), dtype=np.uint8)
    box = Box(20, 30, 50, 50)
    same = face_crop(image, box, InputSpec())
    assert (face_crop(image, box, InputSpec(), roll=roll) == same).all()
