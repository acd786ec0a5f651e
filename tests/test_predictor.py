"""The recogniser: any kind of input, the same answer; batches keep their order."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data

import mien
from mien.detect import Whole
from mien.drawn import draw_face, sample_parameters
from mien.errors import ImageError, UsageError
from mien.predictor import ImageLike, Recogniser
from mien.preprocess import fit
from mien.records import Box, Detection, Face
from mien.video.track import Tracker


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return mien.load()


@pytest.fixture(scope="module")
def astronaut() -> NDArray[np.uint8]:
    return np.asarray(data.astronaut(), np.uint8)


def test_the_astronaut_smiles(recogniser: Recogniser, astronaut: NDArray[np.uint8]) -> None:
    (face,) = recogniser(astronaut)
    assert face.emotion == "happiness"
    assert face.confidence == max(face.probabilities.values()) > 0.5
    assert sum(face.probabilities.values()) == pytest.approx(1, abs=1e-5)
    # Her face, by eye: from about (175, 60) to (275, 170).
    x, y = face.box.x + face.box.width / 2, face.box.y + face.box.height / 2
    assert 200 < x < 250 and 90 < y < 140


def test_every_kind_of_input_gives_the_same(
    recogniser: Recogniser, astronaut: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(astronaut).save(path)
    expected = recogniser(astronaut)
    data = path.read_bytes()
    for same in (
        path,
        str(path),
        data,
        bytearray(data),
        memoryview(data),
        BytesIO(data),
        Image.open(BytesIO(data)),
        Image.fromarray(astronaut),
    ):
        assert recogniser(same) == expected
    with path.open("rb") as file:
        assert recogniser(file) == expected


@pytest.mark.parametrize("thing", [None, 5, ["a.png"]])
def test_what_is_no_picture_is_told(recogniser: Recogniser, thing: Any) -> None:
    with pytest.raises(ImageError, match=f"{type(thing).__name__} is no picture: expected a path"):
        recogniser(thing)
    with pytest.raises(ImageError, match="one picture by itself: expected several"):
        recogniser.batch("a.png")
    with pytest.raises(ImageError, match="one picture by itself: expected several"):
        recogniser.batch(np.zeros((48, 48, 3), np.uint8))
    with pytest.raises(ImageError, match="one picture by itself: expected several"):
        list(recogniser.predict_files("a.png"))
    stacks: list[Any] = [np.zeros((5, 48, 48), np.uint8), np.zeros((2, 48, 48, 3), np.uint8)]
    assert [len(recogniser.batch(stack)) for stack in stacks] == [5, 2]
    paths: Any = np.array(["a.png", "b.png"])
    assert [seen.error is None for seen, _ in recogniser.predict_files(paths)] == [False, False]


def test_which_picture_of_a_batch_cannot_be_read_is_told(
    recogniser: Recogniser, astronaut: NDArray[np.uint8]
) -> None:
    with pytest.raises(ImageError, match="picture 1, counted from 0: not a readable image"):
        recogniser.batch([astronaut, b"x"])


def test_text_names_no_picture(
    recogniser: Recogniser, astronaut: NDArray[np.uint8], tmp_path: Path
) -> None:
    Image.fromarray(astronaut).save(tmp_path / "a.png")
    told: Any = StringIO(str(tmp_path / "a.png"))
    with pytest.raises(ImageError, match="expected one opened in binary mode"):
        recogniser(told)
    with pytest.raises(ImageError, match="no bytes; was the file read already"):
        recogniser(BytesIO())


def test_paths_of_any_kind_become_text(astronaut: NDArray[np.uint8], tmp_path: Path) -> None:
    Image.fromarray(astronaut).save(tmp_path / "a.png")
    (only, _), *_ = mien.load("nano", detector="none").predict_files([tmp_path / "a.png"])
    assert json.loads(json.dumps(only.to_json()))["source"] == str(tmp_path / "a.png")


def test_detectors_of_others_may_be_generators_and_give_numbers_of_numpy(
    astronaut: NDArray[np.uint8],
) -> None:
    def found(image: NDArray[np.uint8]) -> Any:
        score: Any = np.float32(0.9)
        yield Detection(Box(*np.array([160, 55, 120, 120], np.float32)), score)

    recogniser = mien.load("nano", detector=found)
    (face,) = recogniser(astronaut)
    (followed,) = Tracker(recogniser).update(astronaut, 0.0)
    for each in (face, followed):
        assert json.loads(json.dumps(each.to_json()))["box"] == [160, 55, 120, 120]


@pytest.mark.parametrize("detector", [None, Path("nowhere.onnx"), 5])
def test_what_finds_no_faces_is_told_at_once(detector: Any) -> None:
    with pytest.raises(UsageError, match=r"^detector "):
        mien.load("nano", detector=detector)


@pytest.mark.parametrize("threads", [-1, 100_000])
def test_numbers_of_threads_that_are_none(threads: int) -> None:
    with pytest.raises(UsageError, match=f"threads {threads}: expected 0 to"):
        mien.load("nano", threads=threads)


def test_nothing_is_noted_in_the_home_folder(tmp_path: Path) -> None:
    """As ONNX Runtime's telemetry does, which sends it on."""
    code = (
        "import numpy, mien; print(mien.load('nano', detector='none')(numpy.zeros((9, 9), 'u1')))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    homes = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment | homes)
    assert not list(tmp_path.rglob("*"))


def test_the_type_of_what_is_loaded_can_be_named() -> None:
    assert isinstance(mien.load("nano"), mien.Recogniser)
    assert "of nano, by " in repr(mien.load("nano"))
    assert mien.Picture.__name__ == "Picture" and mien.Detector.__name__ == "Detector"
    with pytest.raises(AttributeError, match="no attribute 'Recognizer'"):
        getattr(mien, "Recognizer")  # noqa: B009


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((4, 4, 3), np.float32), r"float32.*; \(255 \* image\).round"),
        (np.full((9, 9), 99, np.float64), r"; image.astype\(numpy.uint8\), of 0 to 255"),
        (np.full((9, 9), 9, np.int32), r"; image.astype\(numpy.uint8\), of 0 to 255"),
        (np.full((9, 9), 999, np.uint16), r"; \(image // 257\).astype"),
        (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\).*; without transparency"),
        (np.zeros((3, 9, 9), np.uint8), r"; image.transpose\(1, 2, 0\)"),
        (np.zeros((2, 4, 4, 3), np.uint8), "expected uint8, RGB.*; one picture at a time"),
        (np.array([["a"]]), r"or grey \(H, W\)$"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
    ],
)
def test_arrays_of_another_kind_are_refused(
    recogniser: Recogniser, array: NDArray[np.uint8], says: str
) -> None:
    with pytest.raises(ImageError, match=says):
        recogniser(array)


@pytest.mark.parametrize("how", [np.float32, np.uint16])
def test_frames_are_checked_wherever_they_come_in(
    recogniser: Recogniser, astronaut: NDArray[np.uint8], how: type
) -> None:
    wrong: Any = astronaut.astype(how)
    whole = Detection(Box(0, 0, 512, 512), None)
    with pytest.raises(ImageError, match="expected uint8"):
        recogniser.read(wrong, [whole])
    with pytest.raises(ImageError, match="expected uint8"):
        Tracker(recogniser).update(wrong, 0.0)


def test_grey_arrays_of_both_shapes_agree(recogniser: Recogniser) -> None:
    grey = np.asarray(data.astronaut()).mean(axis=2).astype(np.uint8)
    assert recogniser(grey) == recogniser(grey[..., None])


def test_files_keep_their_order_and_the_bad_ones_their_reason(tmp_path: Path) -> None:
    recogniser = mien.load(detector="none")
    paths = []
    for number in range(recogniser.BATCH + 5):
        path = tmp_path / f"{number:03d}.png"
        if number % 7 == 3:
            path.write_text("no picture")
        else:
            face = sample_parameters(mien.EMOTIONS[number % 8], seed=number)
            Image.fromarray(draw_face(face, size=48)).save(path)
        paths.append(str(path))
    results = [prediction for prediction, _ in recogniser.predict_files(paths)]
    assert [prediction.source for prediction in results] == paths
    for number, prediction in enumerate(results):
        if number % 7 == 3:
            assert prediction.error is not None and "not a readable image" in prediction.error
            assert prediction.faces == ()
        else:
            assert (prediction.error, len(prediction.faces)) == (None, 1)
            assert prediction.faces[0].detection is None
            alone = recogniser(paths[number])[0]
            assert alone.probabilities == pytest.approx(prediction.faces[0].probabilities, abs=1e-5)


def test_a_detector_of_your_own(astronaut: NDArray[np.uint8]) -> None:
    class TwoFaces:
        def __call__(self, image: NDArray[np.uint8]) -> list[Detection]:
            return [Detection(Box(10, 10, 50, 50), 0.5), Detection(Box(176, 65, 97, 97), 0.9)]

    faces: list[Face] = mien.load(detector=TwoFaces())(astronaut)
    assert [face.detection for face in faces] == [0.5, 0.9]
    assert faces[1].emotion == "happiness"


def test_what_a_detector_of_your_own_finds_is_put_in_order() -> None:
    whole = (Detection((0, 0, 99, 99), None),)  # type: ignore[arg-type]
    outside = [Detection(Box(500, 5, 20, 20), 0.9), Detection(Box(5, 5, 0, 9), 0.9)]
    right, left = Detection(Box(50, 9, 30, 30), 0.9), Detection(Box(5.5, 9, 30, 30), 0.9)
    picture = np.zeros((99, 99), np.uint8)
    for found, boxes in ((whole, [0]), (outside, []), ([right, left], [5.5, 50])):
        recogniser = mien.load("nano", detector=lambda _, found=found: found)
        assert [face.box.x for face in recogniser(picture)] == boxes
        assert [face.box.x for face in Tracker(recogniser).update(picture, 0.0)] == boxes


@pytest.mark.parametrize(
    "found",
    [
        None,
        [(1, 2, 3, 4)],
        [Detection(None, 0.9)],  # type: ignore[arg-type]
        [Detection(Box(0, 0, np.nan, 1), 1)],
    ],
)
def test_a_detector_that_gives_something_else_is_told(found: Any) -> None:
    recogniser = mien.load("nano", detector=lambda _: found)
    with pytest.raises(UsageError, match=r"gave .*: expected a list of mien.records.Detection"):
        recogniser(np.zeros((9, 9), np.uint8))


@pytest.mark.parametrize("detector", [Whole, 3])
def test_what_is_no_detector_or_model_is_refused(detector: Any) -> None:
    with pytest.raises(UsageError, match="expected an object that finds faces"):
        mien.load("nano", detector=detector)
    nano: Any = "nano"
    with pytest.raises(UsageError, match="load takes a name"):
        Recogniser(nano, Whole())
    for name in (None, 3, ""):
        with pytest.raises(UsageError, match="expected a name or the path"):
            mien.load(name)  # type: ignore[arg-type]
    assert mien.load(Path("nano")).model.card.name == "nano"


def test_numbers_of_more_than_8_bits_are_not_guessed(
    recogniser: Recogniser, tmp_path: Path
) -> None:
    """Parsed from a table they are often 32-bit numbers of 0 to 255: as 16 bits all is black."""
    numbers = np.arange(256).reshape(16, 16)
    for kind in (np.int32, np.uint16):
        with pytest.raises(ImageError, match=r"of mode I.*, more than 8 bits: expected 8"):
            recogniser(Image.fromarray(numbers.astype(kind)))
    deep = Image.fromarray((257 * numbers).astype(np.uint16))
    deep.save(tmp_path / "deep.png")
    assert recogniser(deep) == recogniser(tmp_path / "deep.png")
    Image.fromarray(numbers.astype(np.uint16)).save(tmp_path / "dark.png")
    recogniser(tmp_path / "dark.png")  # A file says that it has 16.


def test_a_picture_keeps_its_own_pixels(recogniser: Recogniser) -> None:
    frame = np.full((60, 60, 3), 7, np.uint8)
    picture = recogniser.picture(frame)
    frame[:] = 9
    assert (picture.pixels == 7).all()


def test_notebooks_show_large_pictures_smaller(recogniser: Recogniser) -> None:
    picture = recogniser.picture(np.zeros((300, 3000), np.uint8))
    with Image.open(BytesIO(picture._repr_png_())) as shown:
        assert shown.size == (1024, 102)


def test_faces_are_counted_in_sets(recogniser: Recogniser, astronaut: NDArray[np.uint8]) -> None:
    assert len({*recogniser(astronaut), *recogniser(astronaut)}) == 1


def test_whole_images_have_no_score() -> None:
    recogniser = Recogniser(mien.load().model, Whole())
    (face,) = recogniser(np.full((30, 40), 128, np.uint8))
    assert (face.detection, face.box) == (None, Box(0, 0, 40, 30))


def test_a_whole_picture_is_stretched_and_not_squared() -> None:
    recogniser = Recogniser(mien.load().model, Whole())
    face = draw_face(sample_parameters("surprise", seed=2), size=90)
    narrow = np.asarray(cv2.resize(face, (60, 90)), np.uint8)
    (read,) = recogniser(narrow)
    card = recogniser.model.card
    (expected,) = recogniser.model.probabilities([fit(narrow, card.spec)])
    assert list(read.probabilities.values()) == pytest.approx(expected.tolist(), abs=1e-6)


def test_unknown_detector_is_named() -> None:
    with pytest.raises(UsageError, match=r"'yolo'.*auto, fast, .*none"):
        mien.load(detector="yolo")


def test_a_batch_gives_each_picture_its_own_faces(
    recogniser: Recogniser, astronaut: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(astronaut).save(path)
    nobody = np.full((200, 300, 3), 128, np.uint8)
    pictures: list[ImageLike] = [
        nobody,
        astronaut,
        path,
        nobody,
        Image.fromarray(astronaut[:, ::-1]),
    ]
    together = recogniser.batch(pictures)
    assert [len(faces) for faces in together] == [0, 1, 1, 0, 1]
    for faces, picture in zip(together, pictures, strict=True):
        for face, alone in zip(faces, recogniser(picture), strict=True):
            assert face.box == alone.box
            assert face.probabilities == pytest.approx(alone.probabilities, abs=1e-5)
    assert recogniser.batch([]) == []
    with pytest.raises(ImageError, match="no such file"):
        recogniser.batch([astronaut, "gone.png"])


def test_threads_get_what_one_alone_gets(
    recogniser: Recogniser, astronaut: NDArray[np.uint8]
) -> None:
    crops = [np.ascontiguousarray(astronaut[: 300 + 20 * n, 5 * n : 400]) for n in range(4)]
    alone = [recogniser(crop) for crop in crops]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(recogniser, crops * 6))
    for number, faces in enumerate(together):
        expected = alone[number % 4]
        assert [face.emotion for face in faces] == [face.emotion for face in expected]
        for face, same in zip(faces, expected, strict=True):
            assert face.box == pytest.approx(same.box)
            assert face.probabilities == pytest.approx(same.probabilities, abs=1e-5)


def test_a_picture_shows_itself(
    recogniser: Recogniser, astronaut: NDArray[np.uint8], tmp_path: Path
) -> None:
    picture = recogniser.picture(astronaut)
    assert list(picture.faces) == recogniser(astronaut)
    assert repr(picture).startswith("Picture(512x512: happiness ")
    with Image.open(BytesIO(picture._repr_png_())) as shown:
        assert (np.asarray(shown) == picture.annotated()).all()
    assert (picture.annotated() != astronaut).any()
    picture.save(tmp_path / "a.jpg")
    assert (tmp_path / "a.jpg").stat().st_size > 1000
    assert repr(recogniser.picture(np.full((200, 300), 9, np.uint8))).endswith("no face found)")


def test_eyes_level_a_tilted_face(recogniser: Recogniser, astronaut: NDArray[np.uint8]) -> None:
    middle = (223.0, 115.0)
    turn = cv2.getRotationMatrix2D(middle, -60, 1.0)
    tilted = np.asarray(cv2.warpAffine(astronaut, turn, (512, 512)), np.uint8)
    box = Box(middle[0] - 55, middle[1] - 55, 110, 110)

    def eyes(degrees: float) -> tuple[tuple[float, float], tuple[float, float]]:
        x, y = np.cos(np.radians(degrees)) * 20, np.sin(np.radians(degrees)) * 20
        return (middle[0] - x, middle[1] - y), (middle[0] + x, middle[1] + y)

    (upright,) = recogniser.read(astronaut, [Detection(box, 0.9)])
    (levelled,) = recogniser.read(tilted, [Detection(box, 0.9, eyes(60))])
    (askew,) = recogniser.read(tilted, [Detection(box, 0.9)])
    best = upright.emotion
    assert levelled.probabilities[best] == pytest.approx(upright.confidence, abs=0.1)
    assert askew.probabilities[best] < levelled.probabilities[best]
