"""Tests of what a model's card says of the pictures that it learnt from."""

from pathlib import Path
from typing import Any

import pytest

from mien.data.clean import clean_dataset
from mien.data.dataset import Dataset, origins
from mien.data.decisions import APART, DROP, KEEP, Decisions
from mien.data.rules import Rules
from mien.judging.evaluate import evaluate
from mien.judging.model_card import render_model_card
from mien.labels import EMOTIONS
from remembering import Remembers

SEARCH = "came from a web search for 184 words"
NOT_KNOWN = "is not known to mien"


def _card(dataset: Dataset, *formats: str) -> str:
    """Return the card of a model that learnt from data of a format, or joined of some."""
    data: dict[str, Any] = {"fingerprint": "of-training", "train": 8, "valid": 2}
    data["source_format"] = formats[0] if len(formats) == 1 else "join"
    if len(formats) > 1:
        data["parts"] = [{"fingerprint": name, "source_format": name} for name in formats]
    model = Remembers(dataset, EMOTIONS)
    model.card = model.card.model_copy(update={"training": {"dataset": data}})
    return render_model_card(evaluate(model, dataset, "test"))


def test_data_of_a_joined_set_is_told_by_its_parts(ferplus_dataset: Dataset) -> None:
    card = _card(ferplus_dataset, "ferplus", "folder", "affectnet-npy", "csv", "csv")
    assert (
        "in the format `join` (fingerprint `of-training`), joined of data in the format `ferplus`, "
        "`folder`, `affectnet-npy`, `csv`. mien's import"
    ) in card
    for origin in (SEARCH, "ten people vote on each picture", "AffectNet (Mollahosseini"):
        assert origin in card
    assert f"Who is shown in the data in the format `folder`, `csv` {NOT_KNOWN}" in card


def test_what_training_images_had_to_meet_is_told(ferplus_dataset: Dataset) -> None:
    model = Remembers(ferplus_dataset, EMOTIONS)
    data = {"fingerprint": "x", "source_format": "csv", "train": 8, "valid": 2}
    training = {"dataset": data, "recipe": {"where": ["part=mine", "relFCs<0.9"], "epochs": 3}}
    model.card = model.card.model_copy(update={"training": training})
    card = render_model_card(evaluate(model, ferplus_dataset, "test"))
    assert "8 images to train (only where part=mine and relFCs<0.9) and 2 to validate, of" in card
    assert "only where" not in _card(ferplus_dataset, "csv")


def test_how_the_data_was_cleaned_is_told(ferplus_dataset: Dataset, tmp_path: Path) -> None:
    rules = Rules(drop=("flat", "leak"), merge={"contempt": "disgust"}, split=(70, 15, 15))
    ids = ferplus_dataset.column("id")
    decided = Decisions({ids[0]: DROP, ids[1]: APART, ids[2]: KEEP})
    clean_dataset(ferplus_dataset, tmp_path / "clean", rules, decisions=decided)
    clean = Dataset.open(tmp_path / "clean")
    model = Remembers(clean, clean.emotions)
    data = {"train": 8, "valid": 2, "source_format": "ferplus", "fingerprint": "x"}
    told = {"dataset": data | origins(clean.info)}
    model.card = model.card.model_copy(update={"training": told})
    card = render_model_card(evaluate(model, clean, "test"))
    assert (
        "The data was cleaned before (`mien data clean`): of 3 looked at by eye 2 kept their "
        "label, 0 got another, 1 were left out; contempt counts as disgust; "
        "dropped as found: flat, leak; splits were drawn anew, 70/15/15."
    ) in card
    assert "was cleaned" not in _card(ferplus_dataset, "csv")


def test_by_whom_the_intervals_are_is_told(ferplus_dataset: Dataset) -> None:
    people = [f"who shows {label}" for label in ferplus_dataset.column("label")]
    named = ferplus_dataset.with_column("subject", people)
    assert "95 % intervals, by the choice of these people alone." in _card(named, "csv")
    assert "by the choice of these images alone." in _card(ferplus_dataset, "csv")


def test_how_far_its_confidence_is_off_is_told(ferplus_dataset: Dataset) -> None:
    assert "- Its confidence is off by 10.0 % on average on data" in _card(ferplus_dataset, "csv")


@pytest.mark.parametrize("goes_on", [True, False])
def test_only_what_began_from_nothing_is_called_from_scratch(
    ferplus_dataset: Dataset, goes_on: bool
) -> None:
    data = {"fingerprint": "x", "source_format": "csv", "train": 8, "valid": 2}
    before = [{"model": "nano", "dataset": data, "learnt_from": ["x"]}]
    training = {"dataset": data, **({"started_from": before} if goes_on else {})}
    model = Remembers(ferplus_dataset, EMOTIONS)
    model.card = model.card.model_copy(update={"training": training})
    card = render_model_card(evaluate(model, ferplus_dataset, "test"))
    assert ("Trained from scratch with mien" in card) != goes_on
    assert ("Trained with mien" in card) == goes_on


def test_what_parts_have_in_common_is_told_once(ferplus_dataset: Dataset) -> None:
    card = _card(ferplus_dataset, "fer2013", "ferplus")
    assert card.count(SEARCH) == 1
    assert "one label, many of them wrong. FER+ (Barsoum" in card
    assert NOT_KNOWN not in card
    of_one = _card(ferplus_dataset, "ferplus", "folder")
    assert f"Who is shown in the data in the format `folder` {NOT_KNOWN}" in of_one


@pytest.mark.parametrize(("name", "known"), [("ferplus", True), ("folder", False)])
def test_data_of_one_format_is_told_without_parts(
    ferplus_dataset: Dataset, name: str, known: bool
) -> None:
    card = _card(ferplus_dataset, name)
    assert "joined of" not in card
    assert (SEARCH in card) == known
    assert (f"Who is shown in this data {NOT_KNOWN}" in card) != known
