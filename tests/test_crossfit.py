"""Tests of cross-fitting: every image judged once, by a network that has not seen it or a twin."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.config import TrainConfig, load_recipe
from mien.data.audit.suspects import OutOfFold
from mien.data.dataset import Dataset
from mien.data.importers import import_dataset
from mien.drawn import draw_face, sample_parameters
from mien.errors import DatasetError, UsageError
from mien.images import write_image
from mien.judging.asking import ask_for_rows
from mien.labels import EMOTIONS
from mien.records import SPLITS
from mien.training.crossfit import PREDICTIONS_NAME, Fold, cross_fit
from mien.training.train import RunResult, train

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


@dataclass
class Fit:
    """A finished cross-fit, and the pictures, twins being one, that its networks saw and judged."""

    folder: Path
    found: OutOfFold
    learnt: list[set[str]]
    judged: list[set[str]]


@pytest.fixture(scope="module")
def fit(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Fit:
    folder = tmp_path_factory.mktemp("fit")
    learnt: list[set[str]] = []
    judged: list[set[str]] = []

    def pictures(of: Dataset, rows: NDArray[np.int64]) -> set[str]:
        return {of.column("path")[row].replace("-twin", "") for row in rows}

    def watch(part: Dataset, *rest: Any, **options: Any) -> RunResult:
        rows = np.concatenate([part.usable("train"), part.usable("valid")])
        learnt.append(pictures(part, rows))
        return train(part, *rest, **options)

    def listen(
        ask: Any, of: Dataset, rows: NDArray[np.int64], *rest: Any, **options: Any
    ) -> NDArray[np.float32]:
        judged.append(pictures(of, rows))
        return ask_for_rows(ask, of, rows, *rest, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("mien.training.crossfit.train", watch)
        patched.setattr("mien.training.crossfit.ask_for_rows", listen)
        found = cross_fit(dataset, QUICK, folder, folds=2)
    return Fit(folder, found, learnt, judged)


@pytest.mark.parametrize(
    "changes",
    [
        {"emotion_based": True},
        {"balance": 0.5},
        {"logit_adjustment": 1.0},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_recipes_that_decide_by_more_than_the_picture_are_refused(
    dataset: Dataset, tmp_path: Path, changes: dict[str, Any]
) -> None:
    recipe = TrainConfig(**(QUICK.model_dump() | changes))
    with pytest.raises(UsageError, match=f"--recipe with {next(iter(changes))}"):
        cross_fit(dataset, recipe, tmp_path / "fit")
    assert not (tmp_path / "fit").exists()


def test_every_usable_image_is_judged_by_a_stranger(dataset: Dataset, fit: Fit) -> None:
    used = {dataset.column("id")[row] for split in SPLITS for row in dataset.usable(split)}
    assert set(fit.found.ids) == used
    assert len(fit.found.ids) == len(used)
    np.testing.assert_allclose(fit.found.probabilities.sum(axis=1), 1, atol=1e-5)
    assert len(fit.judged) == 2
    # Of two folds, each network learns from what the other one judges.
    assert fit.judged == fit.learnt[::-1]
    assert not fit.learnt[0] & fit.learnt[1]


def test_answers_go_to_the_images_that_were_asked_about(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset, tmp_path: Path
) -> None:
    given: list[dict[str, Any]] = []

    def judge(
        fold: Fold, config: TrainConfig, folder: Path, **options: Any
    ) -> tuple[NDArray[np.float32], None]:
        given.append(options)
        emotions = fold.others.emotions
        truth = fold.others.labels(fold.rows, emotions)
        return np.eye(len(emotions), dtype=np.float32)[truth], None

    def told(entry: dict[str, Any]) -> None: ...

    monkeypatch.setattr("mien.training.crossfit.judge_fold", judge)
    why = dataset.column("excluded")
    fewer = dataset.with_column("excluded", ["unsure"] * 7 + why[7:])
    found = cross_fit(fewer, QUICK, tmp_path, folds=2, device="cpu", on_epoch=told)
    labels = dict(zip(dataset.column("id"), dataset.column("label"), strict=True))
    truth = [labels[image] for image in found.ids]
    assert [found.emotions[row.argmax()] for row in found.probabilities] == truth
    assert [found.emotions[number] for number in found.given] == truth
    assert [(each["device"], each["on_epoch"]) for each in given] == [("cpu", told)] * 2


@pytest.mark.parametrize("way", ["start_from", "teachers"])
def test_networks_go_on_from_models_of_other_pictures_alone(
    monkeypatch: pytest.MonkeyPatch,
    dataset: Dataset,
    ferplus_dataset: Dataset,
    tmp_path: Path,
    way: str,
) -> None:
    monkeypatch.setattr(
        "mien.training.crossfit.judge_fold",
        lambda fold, *rest, **options: (np.full((len(fold.rows), 8), 0.125), None),
    )
    recipe = QUICK.model_copy(update={way: "nano" if way == "start_from" else ("nano",)})
    found = cross_fit(dataset, recipe, tmp_path, folds=2)
    told = "The networks go on from, or learn from, nano, of other data"
    assert told in found.says and told in OutOfFold.open(tmp_path / PREDICTIONS_NAME).says
    assert told not in cross_fit(dataset, QUICK, tmp_path, folds=2).says
    with pytest.raises(UsageError, match="nano has learnt from pictures that it would be judged"):
        cross_fit(ferplus_dataset, recipe, tmp_path / "known", folds=2)


def test_answers_of_other_weights_of_the_same_name_are_not_taken(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset, tmp_path: Path
) -> None:
    asked = []

    def judge(fold: Fold, *rest: Any, **options: Any) -> tuple[NDArray[np.float64], None]:
        asked.append(fold.number)
        return np.full((len(fold.rows), 8), 0.125), None

    monkeypatch.setattr("mien.training.crossfit.judge_fold", judge)
    recipe = QUICK.model_copy(update={"start_from": "nano"})
    for digest, times in (("1", 2), ("1", 2), ("2", 4)):
        monkeypatch.setattr(
            "mien.training.foreknowledge.weights_digest", lambda _, digest=digest: digest
        )
        cross_fit(dataset, recipe, tmp_path, folds=2)
        assert len(asked) == times


def test_what_is_done_is_not_done_again(
    dataset: Dataset, fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.training.crossfit.train", None)
    again = cross_fit(dataset, QUICK, fit.folder, folds=2)
    np.testing.assert_array_equal(fit.found.probabilities, again.probabilities)


@pytest.mark.parametrize("column", ["subject", "apart"])
def test_answers_of_other_folds_are_not_taken(dataset: Dataset, fit: Fit, column: str) -> None:
    """Folds are cut by people and copies, of which a fingerprint tells nothing."""
    ids = dataset.column("id")
    if column == "subject":
        other = dataset.with_column("subject", ["A", *dataset.column("subject")[1:]])
    else:
        other = replace(dataset, info={**dataset.info, "apart": ids[:1]})

    with pytest.raises(UsageError, match="its networks are of other folds: since then people"):
        cross_fit(other, QUICK, fit.folder, folds=2)


def test_an_interrupted_fit_ends_the_same(dataset: Dataset, fit: Fit, tmp_path: Path) -> None:
    def stop(entry: dict[str, object]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cross_fit(dataset, QUICK, tmp_path, folds=2, on_epoch=stop)
    assert not (tmp_path / PREDICTIONS_NAME).exists()
    resumed = cross_fit(dataset, QUICK, tmp_path, folds=2)
    np.testing.assert_array_equal(resumed.probabilities, fit.found.probabilities)


def test_another_recipe_in_the_same_folder_is_refused(dataset: Dataset, fit: Fit) -> None:
    with pytest.raises(UsageError, match="was begun with recipe epochs"):
        cross_fit(dataset, QUICK.model_copy(update={"epochs": 2}), fit.folder, folds=2)


def test_too_few_images_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="too few for 10 folds"):
        cross_fit(dataset, QUICK, tmp_path, folds=10)
