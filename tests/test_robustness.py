"""Environments find what a model cannot stand, and leave alone what it can."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.data.dataset import Dataset
from mien.environments import CONDITIONS
from mien.judging import plots
from mien.judging.asking import answers_of
from mien.judging.robustness import judge_environments, picture_conditions
from mien.labels import EMOTIONS
from mien.model import load_model


@pytest.fixture
def rows(ferplus_dataset: Dataset) -> NDArray[np.int64]:
    return ferplus_dataset.usable("test")


def test_a_model_that_only_fears_the_dark(
    ferplus_dataset: Dataset, rows: NDArray[np.int64]
) -> None:
    truth = ferplus_dataset.labels(rows, EMOTIONS)
    usual = ferplus_dataset.images(rows).mean(axis=(1, 2, 3))

    def ask(batches: Iterable[NDArray[np.uint8]]) -> NDArray[np.float64]:
        seen = np.concatenate([batch.mean(axis=(1, 2, 3)) for batch in batches])
        answer = np.where(seen < 0.6 * usual, (truth + 1) % 8, truth)
        return 0.02 + 0.84 * np.eye(8)[answer]

    found = judge_environments(ask, ferplus_dataset, rows, EMOTIONS)
    assert found["n"] == 24
    assert found["clean"]["accuracy"] == 1
    assert found["clean"]["nll"] == pytest.approx(-np.log(0.86))
    assert list(found["conditions"]) == list(CONDITIONS)
    strongest = found["conditions"]["dark"][2]
    assert strongest["accuracy"] == 0
    assert strongest["nll"] == pytest.approx(-np.log(0.02))
    for name in ("rotation", "defocus", "low_resolution", "jpeg", "noise"):
        assert [entry["accuracy"] for entry in found["conditions"][name]] == [1, 1, 1], name
    assert found["middle"]["worst"] in {"dark", "coloured_light"}
    assert found["middle"]["mean_share_of_clean"] < 1
    assert found["flips"] == 0


def test_no_face_is_wrong_and_an_answer_of_its_own(
    ferplus_dataset: Dataset, rows: NDArray[np.int64]
) -> None:
    truth = ferplus_dataset.labels(rows, EMOTIONS)
    usual = ferplus_dataset.images(rows).astype(np.int64).sum(axis=(1, 2, 3))

    def ask(batches: Iterable[NDArray[np.uint8]]) -> NDArray[np.float64]:
        sums = np.concatenate([batch.astype(np.int64).sum(axis=(1, 2, 3)) for batch in batches])
        return np.where((sums == usual)[:, None], np.eye(8)[truth], 0)

    found = judge_environments(ask, ferplus_dataset, rows, EMOTIONS)
    assert found["clean"] == {"accuracy": 1.0, "macro_recall": 1.0, "nll": 0.0}
    dark = found["conditions"]["dark"][2]
    assert dark == {"strength": 1.0, "accuracy": 0.0, "macro_recall": 0.0, "nll": None}
    assert found["flips"] > 0.9


def test_whoever_leaves_all_open_is_right_nowhere(
    ferplus_dataset: Dataset, rows: NDArray[np.int64]
) -> None:
    rows = rows[ferplus_dataset.labels(rows, EMOTIONS) == 0]

    def ask(batches: Iterable[NDArray[np.uint8]]) -> NDArray[np.float64]:
        return np.full((sum(len(batch) for batch in batches), 8), 1 / 8)

    clean = judge_environments(ask, ferplus_dataset, rows, EMOTIONS)["clean"]
    assert clean == {"accuracy": 0, "macro_recall": 0, "nll": pytest.approx(np.log(8))}


def test_a_shipped_model_is_judged_the_same_every_time(
    ferplus_dataset: Dataset, rows: NDArray[np.int64], tmp_path: Path
) -> None:
    model = load_model()
    once, twice = (
        judge_environments(answers_of(model), ferplus_dataset, rows, model.card.labels)
        for _ in range(2)
    )
    assert once == twice
    assert json.loads(json.dumps(once)) == once
    plots.save_environments(tmp_path / "figures.png", once, title="t")
    plots.save_conditions(tmp_path / "faces.png", picture_conditions(32))
    assert all(path.stat().st_size > 20_000 for path in tmp_path.iterdir())


def test_every_condition_is_pictured() -> None:
    pictures = picture_conditions(32)
    assert list(pictures) == list(CONDITIONS)
    shapes: set[Any] = {picture.shape for row in pictures.values() for picture in row}
    assert shapes == {(32, 32, 3)}
