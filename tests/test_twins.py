"""Tests of finding one picture under several guises, on drawn faces."""

import io
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mien.data.audit.twins import SIDE, find_twins
from mien.data.splits import join_groups
from mien.drawn import draw_face, sample_parameters
from mien.labels import EMOTIONS
from mien.preprocess import InputSpec, fit

Picture = NDArray[np.uint8]
COUNT = 80


@pytest.fixture(scope="module")
def faces() -> Picture:
    """Grey drawn faces, no two of the same person."""
    spec = InputSpec(size=SIDE, channels=1)
    drawn = [
        draw_face(sample_parameters(EMOTIONS[i % 8], seed=900 + i), size=96) for i in range(COUNT)
    ]
    return np.stack([fit(face, spec)[..., 0] for face in drawn])


def _jpeg(image: Picture) -> Picture:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=40)
    decoded: Picture = np.asarray(Image.open(file), dtype=np.uint8)
    return decoded


def _resized(image: Picture) -> Picture:
    small = cv2.resize(image, (30, 30), interpolation=cv2.INTER_AREA)
    large: Picture = cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    return large


def _cropped(image: Picture) -> Picture:
    large: Picture = cv2.resize(image[1:-2, 2:-1], (SIDE, SIDE)).astype(np.uint8)
    return large


def _brighter(image: Picture) -> Picture:
    brighter: Picture = np.clip(image * 1.1 + 12.0, 0, 255).astype(np.uint8)
    return brighter


def _everything(image: Picture) -> Picture:
    return _jpeg(_brighter(_cropped(np.ascontiguousarray(image[:, ::-1]))))


GUISES: dict[str, Callable[[Picture], Picture]] = {
    "same": lambda image: image,
    "jpeg": _jpeg,
    "resized": _resized,
    "mirrored": lambda image: image[:, ::-1],
    "cropped": _cropped,
    "brighter": _brighter,
    "everything": _everything,
}


@pytest.mark.parametrize("name", GUISES)
def test_guise_is_seen_through(faces: Picture, name: str) -> None:
    guised = np.stack([GUISES[name](face) for face in faces])
    pairs = find_twins(np.concatenate([faces, guised]))
    true = {(pair.first, pair.second) for pair in pairs if pair.second == pair.first + COUNT}
    assert len(true) >= 0.95 * COUNT
    # Drawn faces share outlines as no two people do, so a few may pass for one picture.
    assert len(pairs) - len(true) <= 0.03 * COUNT
    assert all(pair.similarity <= 1.0001 for pair in pairs)


def test_mirrored_pairs_say_so(faces: Picture) -> None:
    pairs = find_twins(np.concatenate([faces, faces[:, :, ::-1]]))
    lopsided = [pair for pair in pairs if pair.mirrored]
    assert len(lopsided) >= 0.9 * len(pairs)


def test_different_faces_are_no_twins(faces: Picture) -> None:
    assert find_twins(faces) == []


def test_blocks_do_not_change_the_pairs(faces: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = np.concatenate([faces, np.stack([_jpeg(face) for face in faces])])
    whole = find_twins(pictures)
    monkeypatch.setattr("mien.data.audit.twins._BLOCK", 37)
    assert sorted(pair[:3] for pair in find_twins(pictures)) == sorted(p[:3] for p in whole)


def test_a_pair_depends_on_nobody_else(faces: Picture) -> None:
    pictures = np.concatenate([faces, np.stack([_cropped(face) for face in faces])])
    alone = find_twins(pictures[[0, COUNT]])
    among_all = [p for p in find_twins(pictures) if p.first == 0]
    assert [p[2:] for p in alone] == [p[2:] for p in among_all]


def test_frames_of_one_face_are_joined_by_few_pairs(faces: Picture) -> None:
    noise = np.random.default_rng(3).integers(-3, 4, (40, SIDE, SIDE))
    frames = np.clip(faces[0] + noise, 0, 255).astype(np.uint8)
    pairs = find_twins(np.concatenate([frames, faces[1:5]]))
    assert len(pairs) == 39
    assert len(set(join_groups(44, pairs=[pair[:2] for pair in pairs])[:40])) == 1


@pytest.mark.parametrize("count", [0, 1, 3])
def test_flat_pictures_are_nobodys_twins(count: int) -> None:
    assert find_twins(np.full((count, SIDE, SIDE), 128, np.uint8)) == []
