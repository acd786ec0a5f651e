"""Tests of pictures without a face: planted among drawn faces."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from mien.data.audit.faceless import find_faceless
from mien.drawn import draw_face, sample_parameters
from mien.labels import EMOTIONS


@pytest.fixture(scope="module")
def faces() -> NDArray[np.uint8]:
    drawn = (draw_face(sample_parameters(EMOTIONS[i % 8], seed=i), size=48) for i in range(400))
    return np.stack([cv2.cvtColor(face, cv2.COLOR_RGB2GRAY) for face in drawn]).astype(np.uint8)


def _part(image: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    random = np.random.default_rng(number)
    side = int(random.integers(60, min(image.shape[:2])))
    y, x = (int(random.integers(0, length - side)) for length in image.shape[:2])
    part = image[y : y + side, x : x + side]
    return np.asarray(cv2.resize(part, (48, 48), interpolation=cv2.INTER_AREA), np.uint8)


def test_planted_pictures_are_found_among_faces(faces: NDArray[np.uint8]) -> None:
    scenes = (data.brick(), data.text(), data.coins(), data.grass(), data.gravel())
    planted = [_part(scene, number) for number in range(4) for scene in scenes]
    found = find_faceless(np.concatenate([faces, np.stack(planted)]))
    rows = [row for row, _ in found]
    assert len([row for row in rows if row >= 400]) >= 7
    assert len([row for row in rows if row < 400]) <= 4
    assert [score for _, score in found] == sorted(score for _, score in found)


def test_the_same_pictures_give_the_same(faces: NDArray[np.uint8]) -> None:
    planted = np.concatenate([faces, _part(data.brick(), 1)[None]])
    assert find_faceless(planted) == find_faceless(planted)


@pytest.mark.parametrize("count", [0, 1, 199])
def test_with_few_pictures_nothing_is_said(faces: NDArray[np.uint8], count: int) -> None:
    assert find_faceless(faces[:count]) == []


def test_one_colour_breaks_nothing() -> None:
    assert isinstance(find_faceless(np.full((250, 48, 48), 7, np.uint8)), list)
