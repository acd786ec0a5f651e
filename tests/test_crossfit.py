"""Tests of cross-fitting: every image judged once, by a network that has not seen it or a twin."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.config import TrainConfig, load_recipe
from mien.crossfit import PREDICTIONS_NAME, cross_fit
from mien.data.dataset import Dataset
from mien.data.importers import import_dataset
from mien.drawn import draw_face, sample_parameters
from mien.errors import DatasetError, UsageError
from mien.evaluate import ask_for_rows
from mien.images import write_image
from mien.labels import EMOTIONS
from mien.records import SPLITS
from mien.train import RunResult, train

QUICK = load_recipe("fast", ["epochs=1", "size=24"])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A hundred and twenty faces; every fourth has a mirrored twin."""
    root = tmp_path_factory.mktemp("crossfit")
    for number in range(120):
        emotion = EMOTIONS[number % 8]
        face = draw_face(sample_parameters(emotion, seed=number), size=48)
        folder = root / "source" / emotion
        folder.mkdir(parents=True, exist_ok=True)
        write_image(folder / f"{number:03d}.png", face)
        if number % 4 == 0:
            write_image(folder / f"{number:03d}-twin.png", face[:, ::-1])
    import_dataset("folder", root / "source", root / "dataset")
    return Dataset.open(root / "dataset")


@pytest.mark.parametrize(
    "changes",
    [
        {"start_from": "nano"},
        {"teachers": ["nano"]},
        {"emotion_based": True},
        {"balance": 0.5},
        {"logit_adjustment": 1.0},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_recipes_that_know_the_images_already_are_refused(
    dataset: Dataset, tmp_path: Path, changes: dict[str, Any]
) -> None:
    recipe = TrainConfig(**(QUICK.model_dump() | changes))
    with pytest.raises(UsageError, match=f"--recipe with {next(iter(changes))}"):
        cross_fit(dataset, recipe, tmp_path / "fit")
    assert not (tmp_path / "fit").exists()


def test_every_usable_image_is_judged_by_a_stranger(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []
    judged: list[set[str]] = []

    def pictures(of: Dataset, rows: NDArray[np.int64]) -> set[str]:
        """A picture and its twin are one."""
        return {of.column("path")[row].replace("-twin", "") for row in rows}

    def watch(part: Dataset, *rest: Any, **options: Any) -> RunResult:
        rows = np.concatenate([part.usable("train"), part.usable("valid")])
        seen.append(pictures(part, rows))
        return train(part, *rest, **options)

    def listen(
        ask: Any, of: Dataset, rows: NDArray[np.int64], *rest: Any, **options: Any
    ) -> NDArray[np.float32]:
        judged.append(pictures(of, rows))
        return ask_for_rows(ask, of, rows, *rest, **options)

    monkeypatch.setattr("mien.crossfit.train", watch)
    monkeypatch.setattr("mien.crossfit.ask_for_rows", listen)
    found = cross_fit(dataset, QUICK, tmp_path / "fit", folds=2)
    used = {dataset.column("id")[row] for split in SPLITS for row in dataset.usable(split)}
    assert set(found.ids) == used
    assert len(found.ids) == len(used)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-5)
    assert len(judged) == 2
    # Of two folds, each network learns from what the other one judges.
    assert judged == seen[::-1]
    assert not seen[0] & seen[1]


def test_what_is_done_is_not_done_again(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cross_fit(dataset, QUICK, tmp_path, folds=2)
    monkeypatch.setattr("mien.crossfit.train", None)
    again = cross_fit(dataset, QUICK, tmp_path, folds=2)
    np.testing.assert_array_equal(first.probabilities, again.probabilities)


def test_an_interrupted_fit_ends_the_same(dataset: Dataset, tmp_path: Path) -> None:
    def stop(entry: dict[str, object]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cross_fit(dataset, QUICK, tmp_path / "stopped", folds=2, on_epoch=stop)
    assert not (tmp_path / "stopped" / PREDICTIONS_NAME).exists()
    resumed = cross_fit(dataset, QUICK, tmp_path / "stopped", folds=2)
    whole = cross_fit(dataset, QUICK, tmp_path / "whole", folds=2)
    np.testing.assert_array_equal(resumed.probabilities, whole.probabilities)


def test_another_recipe_in_the_same_folder_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    cross_fit(dataset, QUICK, tmp_path, folds=2)
    with pytest.raises(UsageError, match="was begun with recipe epochs"):
        cross_fit(dataset, QUICK.model_copy(update={"epochs": 2}), tmp_path, folds=2)


def test_too_few_images_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="too few for 10 folds"):
        cross_fit(dataset, QUICK, tmp_path, folds=10)
