"""Tests of the face detectors, on a photograph and on pictures without a face."""

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from mien.detect import DETECTORS, Auto, Detector, Haar, Whole, make_detector
from mien.errors import UsageError
from mien.records import Box, Detection

Pixels = NDArray[np.uint8]

FACE = (221, 113)
"""The middle of the astronaut's face in `skimage.data.astronaut`, x and y."""


@pytest.fixture(scope="module")
def astronaut() -> Pixels:
    return np.asarray(data.astronaut(), dtype=np.uint8)


@pytest.fixture(scope="module")
def haar() -> Haar:
    return Haar()


def _holds(box: Box, point: tuple[float, float]) -> bool:
    return box.x < point[0] < box.x + box.width and box.y < point[1] < box.y + box.height


@pytest.mark.parametrize("name", ["haar", "auto"])
@pytest.mark.parametrize("grey", [False, True], ids=["rgb", "grey"])
def test_astronaut_is_found_exactly_once(astronaut: Pixels, name: str, grey: bool) -> None:
    image = astronaut.mean(axis=2).astype(np.uint8) if grey else astronaut
    (found,) = make_detector(name)(image)
    assert _holds(found.box, FACE)
    assert 60 < found.box.width < 200
    assert found.score is not None
    assert 0.5 <= found.score <= 1


def test_two_faces_come_left_to_right(astronaut: Pixels, haar: Haar) -> None:
    faces = haar(np.concatenate([astronaut, astronaut[:, ::-1]], axis=1))
    assert len(faces) == 2
    assert _holds(faces[0].box, FACE)
    assert _holds(faces[1].box, (1023 - FACE[0], FACE[1]))


@pytest.mark.parametrize("factor", [2, 3])
def test_boxes_are_in_pixels_of_the_given_image(astronaut: Pixels, haar: Haar, factor: int) -> None:
    # The search runs on a copy of at most 960 pixels.
    large = astronaut.repeat(factor, axis=0).repeat(factor, axis=1)
    assert max(large.shape) > 960
    middle = (FACE[0] * factor, FACE[1] * factor)
    # The cascade sees a second, less sure face in the enlarged suit.
    surest = max(haar(large), key=lambda detection: detection.score or 0)
    assert _holds(surest.box, middle)
    assert 60 * factor < surest.box.width < 200 * factor


def test_scores_below_the_limit_are_dropped(astronaut: Pixels) -> None:
    assert Haar(min_score=1.0)(astronaut) == []
    assert Haar(min_share=0.9)(astronaut) == [], "no face fills nine tenths of the picture"


SHAPES = [
    (1, 1),
    (23, 23, 3),
    (24, 24),
    (300, 200, 3),
    (1, 5000),
    (5000, 1, 3),
    (2, 2000, 3),
    (1000, 1400),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_flat_image_has_no_face(haar: Haar, shape: tuple[int, ...]) -> None:
    assert haar(np.full(shape, 128, dtype=np.uint8)) == []


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_whole_takes_everything(shape: tuple[int, ...]) -> None:
    found = Whole()(np.zeros(shape, dtype=np.uint8))
    assert found == [Detection(Box(0.0, 0.0, float(shape[1]), float(shape[0])), None)]


@pytest.mark.parametrize(
    ("shape", "whole"),
    [
        pytest.param((48, 48), True, id="fer-image"),
        pytest.param((128, 128, 3), True, id="largest-crop"),
        pytest.param((129, 129), False, id="too-large"),
        pytest.param((128, 96), True, id="portrait-4-to-3"),
        pytest.param((96, 128), True, id="landscape-4-to-3"),
        pytest.param((128, 90), False, id="too-narrow"),
        pytest.param((400, 400, 3), False, id="photograph"),
    ],
)
def test_auto_takes_a_small_flat_crop_whole(shape: tuple[int, ...], whole: bool) -> None:
    found = Auto()(np.full(shape, 90, dtype=np.uint8))
    expected = [Detection(Box(0.0, 0.0, float(shape[1]), float(shape[0])), None)]
    assert found == (expected if whole else [])


@pytest.mark.parametrize(
    ("name", "kind"),
    [("auto", Auto), ("haar", Haar), ("none", Whole)],
)
def test_names(name: str, kind: type[Detector]) -> None:
    assert isinstance(make_detector(name), kind)
    assert set(DETECTORS) == {"auto", "haar", "none"}


def test_unknown_name() -> None:
    with pytest.raises(UsageError, match="unknown detector 'hog': expected one of auto, haar"):
        make_detector("hog")
