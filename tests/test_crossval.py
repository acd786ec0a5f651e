"""Tests of cross-validation: who judges whom, what is told, and what is refused or gone on with."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from mien.card import ModelCard
from mien.config import TrainConfig, load_recipe
from mien.crossfit import Fold, cut_folds
from mien.crossval import ASKED_NAME, cross_validate
from mien.data.dataset import Dataset
from mien.data.importers import import_dataset
from mien.drawn import draw_face, sample_parameters
from mien.errors import DatasetError, UsageError
from mien.evaluate import Report
from mien.images import write_image
from mien.lock import AtWorkError, alone_in
from test_cli import Command

QUICK = load_recipe("fast", ["epochs=1", "size=24"])
SHOWN = ("happiness", "sadness", "surprise")
PEOPLE = 7


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Seven people who show three emotions each; the first is in every split, and once left out."""
    root = tmp_path_factory.mktemp("crossval")
    with (root / "labels.csv").open("w", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "subject", "split"])
        for person in range(PEOPLE):
            for number, emotion in enumerate(SHOWN):
                face = draw_face(sample_parameters(emotion, seed=100 * person + number), size=48)
                write_image(root / f"{person}-{emotion}.png", face)
                split = ("train", "valid", "test")[(number + person) % 3]
                table.writerow([f"{person}-{emotion}.png", emotion, f"person {person}", split])
        table.writerow(["none.png", "fear", "person 0", "train"])
    import_dataset("csv", root, root / "dataset", channels=1)
    return Dataset.open(root / "dataset")


class Judge:
    """Stands in for training: right about the folds that it is told to be right about."""

    def __init__(self, *right: int) -> None:
        self.right, self.folds = right, list[Fold]()

    def __call__(
        self, fold: Fold, config: TrainConfig, folder: Path, **_: Any
    ) -> tuple[NDArray[np.float32], ModelCard]:
        self.folds.append(fold)
        (folder / f"fold-{fold.number}").mkdir(exist_ok=True)
        labels = fold.others.emotions
        truth = fold.others.labels(fold.rows, labels)
        answers = truth if fold.number in self.right else (truth + 1) % len(labels)
        found = np.full((len(truth), len(labels)), 0.1 / (len(labels) - 1), dtype=np.float32)
        found[np.arange(len(truth)), answers] = 0.9
        data = {key: fold.others.info[key] for key in ("fingerprint", "source_format")}
        training = {"dataset": data, "best_epoch": 1, "recipe": config.model_dump(mode="json")}
        card = ModelCard(
            name="fold", network="mini", labels=labels, size=24, channels=1, parameters=1
        )
        return found, card.model_copy(update={"training": training})


def _judged(
    monkeypatch: pytest.MonkeyPatch,
    dataset: Dataset,
    folder: Path,
    *right: int,
    folds: int | None = 3,
    config: TrainConfig = QUICK,
) -> tuple[Report, list[Fold]]:
    judge = Judge(*right)
    monkeypatch.setattr("mien.crossval.judge_fold", judge)
    return cross_validate(dataset, config, folder, name="quick", folds=folds), judge.folds


def _told(report: Report) -> dict[str, Any]:
    assert report.cross_validation is not None
    return report.cross_validation


def _people(dataset: Dataset, rows: NDArray[np.int64]) -> set[str]:
    return {dataset.column("subject")[row] for row in rows}


@pytest.mark.parametrize(("folds", "count"), [(3, 3), (PEOPLE, PEOPLE), (None, PEOPLE)])
def test_everyone_is_judged_once_by_a_network_that_has_not_seen_them(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset, tmp_path: Path, folds: int, count: int
) -> None:
    report, cut = _judged(monkeypatch, dataset, tmp_path, folds=folds)
    assert len(cut) == count
    judged = np.concatenate([fold.rows for fold in cut])
    used = [row for row, why in enumerate(dataset.column("excluded")) if why is None]
    assert sorted(judged.tolist()) == used
    assert len(used) == 3 * PEOPLE
    for fold in cut:
        learnt, chose = (_people(dataset, fold.others.usable(s)) for s in ("train", "valid"))
        own = _people(dataset, fold.rows)
        assert all((learnt, chose, own))
        assert len(learnt) + len(chose) + len(own) == PEOPLE == len(learnt | chose | own)
    entries = _told(report)["folds"]
    assert [entry["people"] for entry in entries] == [len(fold.rows) // 3 for fold in cut]
    assert [{*entry["subjects"]} for entry in entries] == [_people(dataset, f.rows) for f in cut]
    assert {entry["n"] + entry["train"] + entry["valid"] for entry in entries} == {len(used)}


def test_figures_are_of_all_images_and_their_spread_is_over_folds(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset, tmp_path: Path
) -> None:
    report, cut = _judged(monkeypatch, dataset, tmp_path, 1)
    told = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    assert told == json.loads(json.dumps(report.to_json()))
    right = len(cut[0].rows)
    assert (told["model"], told["split"], told["n"]) == ("quick", "cross-validation", 3 * PEOPLE)
    assert told["dataset"]["fingerprint"] == dataset.info["fingerprint"]
    assert told["accuracy"] == pytest.approx(right / (3 * PEOPLE))
    assert told["caveat"] == ""
    folds = told["cross_validation"]
    assert [entry["accuracy"] for entry in folds["folds"]] == [1, 0, 0]
    assert folds["mean"]["accuracy"] == pytest.approx(1 / 3)
    assert folds["deviation"]["accuracy"] == pytest.approx(3**-0.5)
    assert (folds["people"], folds["nameless"]) == (PEOPLE, 0)
    answers = pq.read_table(tmp_path / "answers.parquet").to_pydict()
    found = zip(answers["id"], answers["label"], answers["answer"], answers["fold"], strict=True)
    ids = dataset.column("id")
    fold_of = {ids[row]: fold.number for fold in cut for row in fold.rows}
    for image, label, answer, fold in found:
        assert fold == fold_of.pop(image)
        assert (label == answer) == (fold == 1)
    assert fold_of == {}
    page = (tmp_path / "evaluation.html").read_text(encoding="utf-8")
    assert "mien cross-validate" in page
    assert "accuracy 33.33 ± 57.74 %" in page
    assert not (tmp_path / "model_card.md").exists()


@pytest.mark.parametrize(
    ("named", "says"),
    [(0, "The dataset names no people"), (3 * PEOPLE - 2, "2 images name no person")],
)
def test_folds_that_may_tear_people_apart_are_said_to(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset, tmp_path: Path, named: int, says: str
) -> None:
    people = dataset.column("subject")
    unnamed = dataset.with_column("subject", people[:named] + [None] * (len(people) - named))
    nameless = sum(unnamed.column("subject")[row] is None for row in range(3 * PEOPLE))
    report, _ = _judged(monkeypatch, unnamed, tmp_path)
    assert says in report.caveat
    assert says in (tmp_path / "evaluation.html").read_text(encoding="utf-8")
    assert _told(report)["nameless"] == nameless
    assert (_told(report)["people"] is None) == (named == 0)
    with pytest.raises(UsageError, match=rf"--folds people: {nameless} of 21 usable images"):
        _judged(monkeypatch, unnamed, tmp_path / "people", folds=None)


def test_an_emotion_that_one_person_shows_is_told(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset, tmp_path: Path
) -> None:
    rows = zip(dataset.column("label"), dataset.column("subject"), strict=True)
    labels = ["sadness" if e == "surprise" and w != "person 1" else e for e, w in rows]
    report, _ = _judged(monkeypatch, dataset.with_column("label", labels), tmp_path)
    assert report.caveat == (
        "1 image of surprise was judged by a network that had nobody's surprise to learn from."
    )


def test_few_people_are_enough_and_too_few_are_refused(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset, tmp_path: Path
) -> None:
    def of_the_first(count: int) -> Dataset:
        few = {f"person {number}" for number in range(count)}
        rows = zip(dataset.column("subject"), dataset.column("excluded"), strict=True)
        return dataset.with_column(
            "excluded", [why if who in few else "not asked" for who, why in rows]
        )

    _, cut = _judged(monkeypatch, of_the_first(3), tmp_path / "three")
    assert [len(fold.others.usable("valid")) for fold in cut] == [3, 3, 3]
    with pytest.raises(DatasetError, match="beside fold 1 too few people"):
        _judged(monkeypatch, of_the_first(2), tmp_path / "two", folds=2)
    with pytest.raises(DatasetError, match="4 folds of 3 people"):
        _judged(monkeypatch, of_the_first(3), tmp_path / "fewer", folds=4)
    with pytest.raises(DatasetError, match="0 folds of 0"):
        _judged(monkeypatch, of_the_first(0), tmp_path / "nobody", folds=None)
    # What was refused did not begin anything.
    _judged(monkeypatch, of_the_first(3), tmp_path / "fewer", folds=3)


@pytest.mark.parametrize("way", ["start_from", "teachers"])
@pytest.mark.parametrize(
    ("fingerprint", "made_of", "source", "knows"),
    [
        ("own", "csv", "csv", True),
        ("own fold 2/3 0123abcd", "csv", "csv", True),
        ("elsewhere", "csv", "csv", False),
        ("elsewhere", "ferplus", "fer2013", True),
        ("elsewhere", "affectnet-yolo", "affectnet-npy", True),
        ("elsewhere", "ferplus", "jaffe", False),
    ],
)
def test_models_that_know_the_pictures_are_refused_and_others_are_told_of(
    monkeypatch: pytest.MonkeyPatch,
    dataset: Dataset,
    tmp_path: Path,
    way: str,
    fingerprint: str,
    made_of: str,
    source: str,
    knows: bool,
) -> None:
    fingerprint = fingerprint.replace("own", dataset.info["fingerprint"])
    dataset = replace(dataset, info={**dataset.info, "source_format": source})
    learnt = {"dataset": {"fingerprint": fingerprint, "source_format": made_of}}
    card = ModelCard(name="m", network="mini", labels=SHOWN, size=24, channels=1, parameters=1)

    class Model:
        def __init__(self, name: str) -> None:
            self.card = card.model_copy(update={"training": learnt})

    monkeypatch.setattr("mien.crossval.load_model", Model)
    monkeypatch.setattr("mien.crossval.weights_digest", lambda name: "0")
    recipe = TrainConfig(**(QUICK.model_dump() | {way: "m.onnx" if way == "start_from" else ["m"]}))
    if not knows:
        report, _ = _judged(monkeypatch, dataset, tmp_path, config=recipe)
        name = recipe.start_from or recipe.teachers[0]
        assert report.caveat.startswith(f"The networks go on from, or learn from, {name}, of other")
        return
    with pytest.raises(UsageError, match="has learnt from pictures that it would be judged by"):
        _judged(monkeypatch, dataset, tmp_path, config=recipe)


@pytest.mark.parametrize(
    "made",
    [
        {"cleaned": [{"from": "before"}]},
        {"parts": [{"fingerprint": "before", "source_format": "csv"}]},
        {"parts": [{"fingerprint": "a", "source_format": "join", "cleaned": [{"from": "before"}]}]},
        {"parts": [{"fingerprint": "a", "source_format": "ferplus"}]},
    ],
    ids=["cleaned", "joined", "joined-of-cleaned", "joined-of-the-same-set"],
)
def test_what_a_dataset_was_made_of_counts_as_known(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset, tmp_path: Path, made: dict[str, Any]
) -> None:
    seen = {"dataset": {"fingerprint": "before", "source_format": "fer2013"}}
    card = ModelCard(name="m", network="mini", labels=SHOWN, size=24, channels=1, parameters=1)
    model = SimpleNamespace(card=card.model_copy(update={"training": seen}))
    monkeypatch.setattr("mien.crossval.load_model", lambda name: model)
    recipe = TrainConfig(**(QUICK.model_dump() | {"start_from": "m.onnx"}))
    with pytest.raises(UsageError, match="has learnt from pictures that it would be judged by"):
        _judged(
            monkeypatch,
            replace(dataset, info={**dataset.info, **made}),
            tmp_path,
            config=recipe,
        )


def test_another_question_in_the_same_folder_is_refused(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset, tmp_path: Path
) -> None:
    _judged(monkeypatch, dataset, tmp_path)
    longer = QUICK.model_copy(update={"epochs": 2})
    with pytest.raises(UsageError, match="begun with recipe epochs = 1, now it is 2"):
        _judged(monkeypatch, dataset, tmp_path, config=longer)
    with pytest.raises(UsageError, match="begun with folds = 3, now it is 'people'"):
        _judged(monkeypatch, dataset, tmp_path, folds=None)
    with alone_in(tmp_path, kind="", known_by=ASKED_NAME), pytest.raises(AtWorkError):
        _judged(monkeypatch, dataset, tmp_path)
    (tmp_path / "photo").mkdir()
    (tmp_path / "photo" / "mine.png").touch()
    with pytest.raises(UsageError, match="is not empty and no cross-validation"):
        _judged(monkeypatch, dataset, tmp_path / "photo")


def test_what_training_refused_at_once_may_be_asked_otherwise(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="there is no colour"):
        cross_validate(
            dataset, QUICK.model_copy(update={"channels": 3}), tmp_path, name="quick", folds=3
        )
    _judged(monkeypatch, dataset, tmp_path)


def test_runs_of_folds_that_were_cut_otherwise_are_not_gone_on_with(dataset: Dataset) -> None:
    one, again, other = (
        cut_folds(dataset, 3, validation=share)[0].others.info["fingerprint"]
        for share in (0.1, 0.1, 0.5)
    )
    assert one == again != other


@pytest.fixture
def mien(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


def test_an_interrupted_command_goes_on(
    mien: Command, monkeypatch: pytest.MonkeyPatch, dataset: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    told = ("--recipe", "fast", "--set", "epochs=1", "--set", "size=24", "--device", "cpu")
    where = ("--out", out, "--json", tmp_path / "figures.json")
    command = ("cross-validate", "--data", dataset.path, *told, "--folds", "2", *where)

    def stop(entry: dict[str, Any], folds: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("mien.cli.judging.print_fold", stop)
        ran = mien(*command)
    assert ran.status == 130
    assert "the same command goes on" in ran.err
    assert not (out / "evaluation.json").exists()
    weights = out / "fold-1" / "best.safetensors"
    written = weights.stat().st_mtime_ns
    ran = mien(*command)
    assert ran.status == 0
    assert "fold 2  epoch   1" in ran.err
    assert "fold 1/2  9 images of 3 people" in ran.err or "fold 1/2  12 images of 4" in ran.err
    assert "2 folds, mean ± standard deviation: accuracy" in ran.out
    assert weights.stat().st_mtime_ns == written
    found = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert found == json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert [entry["best_epoch"] for entry in found["cross_validation"]["folds"]] == [1, 1]


@pytest.mark.parametrize("folds", ["1", "0", "-2", "many", "2.5"])
def test_folds_that_are_no_number_of_two_or_more_are_refused(
    mien: Command, dataset: Dataset, tmp_path: Path, folds: str
) -> None:
    ran = mien("cross-validate", "--data", dataset.path, "--out", tmp_path, f"--folds={folds}")
    assert (ran.status, ran.err) == (2, f"mien: --folds '{folds}': expected 2 or more, or people\n")
