"""Tests of the card inside a model file."""

import json

import pytest
from pydantic import ValidationError

from mien.card import ModelCard
from mien.errors import ModelError
from mien.preprocess import InputSpec

VALUES: dict[str, object] = {
    "name": "tiny",
    "network": "mini",
    "labels": ["neutral", "happiness", "anger"],
    "size": 48,
    "channels": 1,
    "margin": 0.1,
    "parameters": 1234,
    "training": {"dataset": {"fingerprint": "0123"}},
    "figures": {"valid": {"accuracy": 0.5}},
}


def _parse(**changes: object) -> ModelCard:
    values = {key: value for key, value in (VALUES | changes).items() if value != "REMOVE"}
    return ModelCard.parse(json.dumps(values), source="m.onnx")


def test_card_comes_back_from_its_json() -> None:
    card = _parse()
    assert card.labels == ("neutral", "happiness", "anger")
    assert card.spec == InputSpec(size=48, channels=1, margin=0.1)
    assert ModelCard.parse(card.model_dump_json(), source="x") == card


def test_unknown_keys_of_newer_versions_are_ignored() -> None:
    assert _parse(something_newer=[1, 2]) == _parse()


def test_card_is_frozen() -> None:
    with pytest.raises(ValidationError):
        _parse().size = 64  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        pytest.param({"format_version": 2}, "format_version", id="newer-version"),
        pytest.param({"name": "REMOVE"}, "name", id="no-name"),
        pytest.param({"labels": "REMOVE"}, "labels", id="no-labels"),
        pytest.param({"labels": ["fear"]}, "labels", id="one-label"),
        pytest.param({"labels": ["fear", "fear"]}, "labels", id="label-twice"),
        pytest.param({"labels": ["fear", "\x1b[2J"]}, "labels", id="label-that-steers"),
        pytest.param({"figures": {"test": 5}}, "figures.test", id="no-figures"),
        pytest.param({"offsets": [0.0, -1.0]}, "offsets", id="an-offset-too-few"),
        pytest.param({"offsets": [0.0, -1.0, "NaN"]}, "offsets.2", id="no-number"),
        pytest.param({"channels": 2}, "channels", id="two-channels"),
        pytest.param({"size": 8}, "size", id="size-out-of-range"),
        pytest.param({"size": "large"}, "size", id="size-is-text"),
        pytest.param({"margin": 3.0}, "margin", id="margin-out-of-range"),
        pytest.param({"parameters": None}, "parameters", id="null"),
        pytest.param({"training": {"started_from": {}}}, "training", id="nested-lineage"),
        pytest.param({"training": {"taught_by": [{"model": "m"}]}}, "training", id="no-data-named"),
    ],
)
def test_broken_card_names_the_key(changes: dict[str, object], key: str) -> None:
    with pytest.raises(ModelError, match=f"^m.onnx: its card is broken at '{key}'") as caught:
        _parse(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"text"'])
def test_no_card_at_all(text: str) -> None:
    with pytest.raises(ModelError, match=r"m\.onnx: its card is broken"):
        ModelCard.parse(text, source="m.onnx")
