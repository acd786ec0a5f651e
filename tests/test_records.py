"""Tests of the records and of the error tree."""

import json
from dataclasses import FrozenInstanceError

import pytest

from mien.errors import (
    ConfigError,
    DataError,
    DatasetError,
    ImageError,
    MienError,
    ModelError,
    UsageError,
)
from mien.records import Box, Face, Prediction, Sample

FACE = Face(
    box=Box(1.04, 2.06, 30.0, 40.0),
    detection=0.98765432,
    emotion="happiness",
    confidence=0.93000049,
    probabilities={"happiness": 0.93000049, "neutral": 0.06999951},
)


def test_face_json_is_what_the_contract_says() -> None:
    assert FACE.to_json() == {
        "box": [1.0, 2.1, 30.0, 40.0],
        "detection": 0.9877,
        "emotion": "happiness",
        "confidence": 0.93,
        "probabilities": {"happiness": 0.93, "neutral": 0.07},
    }


def test_a_face_nobody_looked_for_has_no_detection() -> None:
    face = Face(Box(0, 0, 1, 1), None, "fear", 1.0, {"fear": 1.0})
    assert face.to_json()["detection"] is None


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        pytest.param(
            Prediction("a.jpg", 640, 480, (FACE,)),
            {"source": "a.jpg", "width": 640, "height": 480, "error": None},
            id="read",
        ),
        pytest.param(
            Prediction("b.jpg", error="no such file"),
            {"width": 0, "height": 0, "faces": [], "error": "no such file"},
            id="unreadable",
        ),
        pytest.param(
            Prediction("c.mp4", 8, 8, frame=7, time_s=0.28),
            {"frame": 7, "time_s": 0.28, "faces": []},
            id="frame-of-a-video",
        ),
    ],
)
def test_prediction_json(prediction: Prediction, expected: dict[str, object]) -> None:
    line = json.loads(json.dumps(prediction.to_json()))
    assert list(line) == ["source", "frame", "time_s", "width", "height", "faces", "error"]
    assert {key: line[key] for key in expected} == expected
    assert line["faces"] == [face.to_json() for face in prediction.faces]


def test_records_are_frozen() -> None:
    sample = Sample("a.png", "train", "fear")
    assert (sample.votes, sample.excluded, sample.box) == ((), None, None)
    with pytest.raises(FrozenInstanceError):
        sample.label = "anger"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("kind", "parent", "status"),
    [
        pytest.param(UsageError, MienError, 2, id="usage"),
        pytest.param(ConfigError, UsageError, 2, id="config"),
        pytest.param(DataError, MienError, 1, id="data"),
        pytest.param(ImageError, DataError, 1, id="image"),
        pytest.param(DatasetError, DataError, 1, id="dataset"),
        pytest.param(ModelError, DataError, 1, id="model"),
    ],
)
def test_error_tree(kind: type[MienError], parent: type[MienError], status: int) -> None:
    assert kind.__base__ is parent
    assert kind("x").exit_status == status
