"""Tests of cross-validation: who judges whom, what is told, and what is refused or gone on with."""

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from commands import Command
from mien.card import ModelCard
from mien.cli.printing import print_epoch, print_fold, print_report
from mien.config import TrainConfig, load_recipe
from mien.data.dataset import Dataset
from mien.data.importers import import_dataset
from mien.drawn import draw_face, sample_parameters
from mien.errors import DatasetError, ModelError, UsageError
from mien.images import write_image
from mien.judging.evaluate import Report
from mien.judging.evaluation_page import render_evaluation
from mien.lock import AtWorkError, alone_in
from mien.progress import silent
from mien.training.crossfit import Fold, cut_folds
from mien.training.crossval import ASKED_NAME, cross_validate

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


@pytest.fixture(autouse=True)
def _figures_are_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """To draw them takes most of the time."""

    def leave_empty(path: Path, *_: object, title: str) -> None:
        path.touch()

    nothing = SimpleNamespace(save_confusion=leave_empty, save_calibration=leave_empty)
    monkeypatch.setattr("mien.judging.evaluate.plots", nothing)


BEFORE = {"start_from": "started_from", "teachers": "taught_by"}
"""Under which names a card tells of the models that a recipe brings in under these."""
CARD = ModelCard(name="m", network="mini", labels=SHOWN, size=24, channels=1, parameters=1)


class Judge:
    """Stands in for training: right about the folds that it is told to be right about."""

    def __init__(self, *right: int) -> None:
        self.right, self.folds = right, list[Fold]()
        self.told: list[tuple[TrainConfig, dict[str, Any]]] = []

    def __call__(
        self, fold: Fold, config: TrainConfig, folder: Path, **options: Any
    ) -> tuple[NDArray[np.float32], ModelCard]:
        self.folds.append(fold)
        self.told.append((config, options))
        (folder / f"fold-{fold.number}").mkdir(exist_ok=True)
        labels = fold.others.emotions
        truth = fold.others.labels(fold.rows, labels)
        answers = truth if fold.number in self.right else (truth + 1) % len(labels)
        found = np.full((len(truth), len(labels)), 0.1 / (len(labels) - 1), dtype=np.float32)
        found[np.arange(len(truth)), answers] = 0.9
        data = {key: fold.others.info[key] for key in ("fingerprint", "source_format")}
        training = {"dataset": data, "best_epoch": 1, "recipe": config.model_dump(mode="json")}
        for way, told in BEFORE.items():
            if getattr(config, way):
                training[told] = [{"model": "m", "learnt_from": ["elsewhere"]}]
        return found, CARD.model_copy(update={"labels": labels, "training": training})


def _judged(
    monkeypatch: pytest.MonkeyPatch,
    dataset: Dataset,
    folder: Path,
    *right: int,
    folds: int | None = 3,
    config: TrainConfig = QUICK,
) -> tuple[Report, list[Fold]]:
    judge = Judge(*right)
    monkeypatch.setattr("mien.training.crossval.judge_fold", judge)
    return cross_validate(dataset, config, folder, name="quick", folds=folds), judge.folds


def _recipe_with_model(
    monkeypatch: pytest.MonkeyPatch, training: Mapping[str, Any], way: str = "start_from"
) -> TrainConfig:
    """Return a recipe that brings in a model whose card tells this of its training."""
    model = SimpleNamespace(card=CARD.model_copy(update={"training": training}))
    monkeypatch.setattr("mien.training.foreknowledge.load_model", lambda _: model)
    monkeypatch.setattr("mien.training.foreknowledge.weights_digest", lambda _: "0")
    return QUICK.model_copy(update={way: "m.onnx" if way == "start_from" else ("m.onnx",)})


def _told(report: Report) -> dict[str, Any]:
    assert report.cross_validation is not None
    return report.cross_validation


def _people(dataset: Dataset, rows: NDArray[np.int64]) -> set[str]:
    return {dataset.column("subject")[row] for row in rows}


def test_uneven_folds_are_told(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset, tmp_path: Path
) -> None:
    """Five of seven people share a picture."""
    hashes = dataset.column("sha256")
    subjects = dataset.column("subject")
    shared = [subjects.index(f"person {person}") for person in range(5)]
    copied = dataset.with_column(
        "sha256",
        [hashes[shared[0]] if row in shared else value for row, value in enumerate(hashes)],
    )
    report, _ = _judged(monkeypatch, copied, tmp_path / "uneven")
    assert re.search(r"Fold \d holds 71% of the images \(5 people\): who", report.caveat)
    report, _ = _judged(monkeypatch, dataset, tmp_path / "even")
    assert "holds" not in report.caveat


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
        assert len(chose) == 1  # the nearest to a tenth
        assert learnt and own
        assert len(learnt) + len(chose) + len(own) == PEOPLE == len(learnt | chose | own)
    entries = _told(report)["folds"]
    assert [entry["people"] for entry in entries] == [len(fold.rows) // 3 for fold in cut]
    assert [{*entry["subjects"]} for entry in entries] == [_people(dataset, f.rows) for f in cut]
    assert [(entry["n"], entry["train"], entry["valid"]) for entry in entries] == [
        (len(fold.rows), *(len(fold.others.usable(split)) for split in ("train", "valid")))
        for fold in cut
    ]


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
    assert (report.people, folds["nameless"]) == (PEOPLE, 0)
    answers = pq.read_table(tmp_path / "answers.parquet").to_pydict()
    found = zip(answers["id"], answers["label"], answers["answer"], answers["fold"], strict=True)
    ids = dataset.column("id")
    fold_of = {ids[row]: fold.number for fold in cut for row in fold.rows}
    for image, label, answer, fold in found:
        assert fold == fold_of.pop(image)
        assert (label == answer) == (fold == 1)
    assert fold_of == {}
    assert "mien cross-validate" in (tmp_path / "evaluation.html").read_text(encoding="utf-8")
    assert not (tmp_path / "model_card.md").exists()


def test_folds_are_told_a_line_each(
    monkeypatch: pytest.MonkeyPatch,
    dataset: Dataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    report, _ = _judged(monkeypatch, dataset, tmp_path, 1)
    judged = _told(report)["folds"]
    long = "P5" * 20
    named = (["P1"], [], ["P3", "Q3"], ["P4"], [long], *([f"P{fold}"] for fold in range(6, 15)))
    entries = [
        {**entry, "fold": fold, "subjects": names, "people": len(names) or None}
        for fold, (entry, names) in enumerate(zip(cycle(judged), named), start=1)
    ]
    spread = {
        "mean": {"accuracy": 0.5, "macro_recall": 0.25, "nll": 1.5},
        "deviation": {"accuracy": 0.01, "macro_recall": 0.02, "nll": 0.03},
    }
    entries[3]["nameless"] = 4
    told = {**_told(report), "folds": entries, **spread}
    report = replace(report, cross_validation=told)
    print_report(report)
    for entry in entries:
        print_fold(entry, len(entries))
    out, err = capsys.readouterr()
    mean = "mean ± standard deviation: accuracy 50.00 ± 1.00 %, macro recall 25.00 ± 2.00 %"
    assert f"14 folds, {mean}, NLL 1.5000 ± 0.0300" in out
    assert "and 2 more folds" in out
    page = render_evaluation(report, dataset, [])
    for figures in ("accuracy 50.00 ± 1.00 %", "macro recall 25.00 ± 2.00 %", "1.500 ± 0.030"):
        assert figures in page
    rows = [line.split()[:4] for line in out.splitlines()]
    several = {
        2: ("-", ""),
        3: ("2", " of 2 people"),
        4: ("1", f", {entries[3]['n'] - 4} of them of 1 person"),
        5: (long, f" of {long}"),
    }
    for entry in entries:
        fold, count, right = entry["fold"], entry["n"], 100 * entry["accuracy"]
        who, of_whom = several.get(fold, (f"P{fold}", f" of P{fold}"))
        if fold != 5:  # too long for a row
            assert ([f"{fold}", f"{count}", who, f"{right:.1f}%"] in rows) == (fold <= 12)
        assert f"fold {fold}/14  {count} images{of_whom}  accuracy {right:.2f}%" in err
        short = f"{who[:10]}…{who[-11:]}" if fold == 5 else who
        cells = (count, short, entry["train"], entry["valid"], 1)
        told_of_it = "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
        assert told_of_it in page.replace(f' title="{who}"', "")
    assert f'title="{long}"' in page


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
    page = (tmp_path / "evaluation.html").read_text(encoding="utf-8")
    assert says in page
    assert ("<th>people</th>" in page) == (named > 0)
    assert _told(report)["nameless"] == nameless
    assert sum(entry["nameless"] for entry in _told(report)["folds"]) == nameless
    assert (report.people is None) == (named == 0)
    with pytest.raises(UsageError, match=rf"--folds people: {nameless} of 21 usable images"):
        _judged(monkeypatch, unnamed, tmp_path / "people", folds=None)


def test_an_emotion_that_a_network_did_not_learn_is_told(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset, tmp_path: Path
) -> None:
    rows = list(zip(dataset.column("subject"), dataset.column("label"), strict=True))

    def surprised(chooser: str) -> tuple[Report, list[Fold]]:
        """Have only person 1 show surprise, and the chooser, in place of happiness."""

        def called(who: str, label: str) -> str:
            hidden = "happiness" if who == chooser else "surprise"
            return "sadness" if label == hidden and who != "person 1" else label

        changed = dataset.with_column("label", [called(*row) for row in rows])
        return _judged(monkeypatch, changed, tmp_path / chooser, folds=None)

    suspect = {**dataset.info, "cleaned": [{"from": "raw", "drop": ["label_suspect"]}]}
    cleaned = replace(dataset, info=suspect)
    said = _judged(monkeypatch, cleaned, tmp_path / "cleaned", folds=None)[0].caveat
    assert "cleaned by what networks say" in said

    report, cut = surprised("nobody")
    says = "1 image of surprise was judged by a network that had nobody's surprise to learn from."
    assert report.caveat == says
    (own,) = (fold for fold in cut if "person 1" in _people(dataset, fold.rows))
    (chooser,) = _people(dataset, own.others.usable("valid"))
    report, _ = surprised(chooser)
    assert report.caveat == says


def test_no_fold_is_empty_where_everyone_shows_one_emotion(dataset: Dataset) -> None:
    shown = {f"person {number}": SHOWN[number % 2] for number in range(6)}
    rows = zip(dataset.column("subject"), dataset.column("label"), strict=True)
    why = [None if shown.get(who) == label else "not asked" for who, label in rows]
    cut = cut_folds(dataset.with_column("excluded", why), None, validation=0.1)
    assert [len(fold.rows) for fold in cut] == [1] * 6


@pytest.mark.parametrize(("shown", "chooses"), [("sadness", True), ("surprise", False)])
def test_of_few_people_the_one_of_fewest_images_chooses_if_others_show_them_too(
    dataset: Dataset, shown: str, chooses: bool
) -> None:
    """One has two images, of happiness and this; three have three each, happy and sad."""
    why, labels = dataset.column("excluded"), dataset.column("label")
    for row, (who, label) in enumerate(zip(dataset.column("subject"), labels, strict=True)):
        if who > "person 3" or (who == "person 3" and label not in {"happiness", shown}):
            why[row] = "not asked"
        elif who < "person 3" and label == "surprise":
            labels[row] = "sadness"
    changed = dataset.with_column("excluded", why).with_column("label", labels)
    cut = cut_folds(changed, None, validation=0.1)
    chosen_by = [_people(dataset, fold.others.usable("valid")) for fold in cut]
    assert chosen_by.count({"person 3"}) == (3 if chooses else 0)
    assert all(chosen_by)


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


@pytest.mark.parametrize("way", BEFORE)
@pytest.mark.parametrize(
    ("fingerprint", "made_of", "source", "knows"),
    [
        ("own", "csv", "csv", True),
        ("own fold 2/3 0123abcd", "csv", "csv", True),
        ("elsewhere", "csv", "csv", False),
        ("elsewhere", "join", "join", False),
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
    learnt = {"fingerprint": fingerprint, "source_format": made_of}
    recipe = _recipe_with_model(monkeypatch, {"dataset": learnt}, way)
    if not knows:
        report, _ = _judged(monkeypatch, dataset, tmp_path, config=recipe)
        assert report.caveat.startswith("The networks go on from, or learn from, m.onnx, of other")
        assert report.card.learnt_from == {dataset.info["fingerprint"], "elsewhere"}
        return
    with pytest.raises(UsageError, match="has learnt from pictures that it would be judged by"):
        _judged(monkeypatch, dataset, tmp_path, config=recipe)


@pytest.mark.parametrize(("fingerprint", "made_of"), [("own", "csv"), ("elsewhere", "ferplus")])
def test_a_model_knows_what_its_dataset_was_joined_of(
    monkeypatch: pytest.MonkeyPatch,
    dataset: Dataset,
    tmp_path: Path,
    fingerprint: str,
    made_of: str,
) -> None:
    part = {
        "fingerprint": fingerprint.replace("own", dataset.info["fingerprint"]),
        "source_format": made_of,
    }
    learnt = {"fingerprint": "of both", "source_format": "join", "parts": [part]}
    recipe = _recipe_with_model(monkeypatch, {"dataset": learnt}, "start_from")
    dataset = replace(dataset, info={**dataset.info, "source_format": "fer2013"})
    with pytest.raises(UsageError, match="has learnt from pictures that it would be judged by"):
        _judged(monkeypatch, dataset, tmp_path, config=recipe)


@pytest.mark.parametrize("judged", ["what it was cleaned from", "another that was cleaned from it"])
def test_a_model_knows_what_its_dataset_was_cleaned_from(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset, tmp_path: Path, judged: str
) -> None:
    own = dataset.info["fingerprint"]
    learnt = {"fingerprint": "cleaned", "source_format": "csv", "cleaned_from": [own]}
    recipe = _recipe_with_model(monkeypatch, {"dataset": learnt}, "start_from")
    if judged.startswith("another"):
        info = {**dataset.info, "fingerprint": "sibling", "cleaned": [{"from": own}]}
        dataset = replace(dataset, info=info)
    with pytest.raises(UsageError, match="has learnt from pictures that it would be judged by"):
        _judged(monkeypatch, dataset, tmp_path, config=recipe)


@pytest.mark.parametrize("generations", [1, 2, 3])
@pytest.mark.parametrize("way", [*BEFORE.values(), "averaged"])
@pytest.mark.parametrize(("fingerprint", "made_of"), [("own", "csv"), ("elsewhere", "ferplus")])
def test_what_the_model_before_it_has_learnt_from_counts_as_known(
    monkeypatch: pytest.MonkeyPatch,
    dataset: Dataset,
    tmp_path: Path,
    way: str,
    fingerprint: str,
    made_of: str,
    generations: int,
) -> None:
    info = {**dataset.info, "source_format": "fer2013"}
    learnt = {
        "fingerprint": fingerprint.replace("own", info["fingerprint"]),
        "source_format": made_of,
    }
    training: dict[str, Any] = {"dataset": learnt}
    for generation in range(generations):
        before = CARD.model_copy(update={"training": training}).lineage()
        own = {"fingerprint": f"of generation {generation}", "source_format": "csv"}
        training = {"dataset": own, way: [before]}
    recipe = _recipe_with_model(monkeypatch, training)
    with pytest.raises(UsageError, match="has learnt from pictures that it would be judged by"):
        _judged(monkeypatch, replace(dataset, info=info), tmp_path, config=recipe)


def test_runs_are_asked_what_they_have_learnt_from(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset, tmp_path: Path
) -> None:
    learnt = {"fingerprint": dataset.info["fingerprint"], "source_format": "csv"}
    run = SimpleNamespace(card=CARD.model_copy(update={"training": {"dataset": learnt}}))
    monkeypatch.setattr("mien.training.foreknowledge.open_run", lambda _: run)
    recipe = QUICK.model_copy(update={"start_from": str(tmp_path)})
    with pytest.raises(UsageError, match="has learnt from pictures that it would be judged by"):
        _judged(monkeypatch, dataset, tmp_path / "out", config=recipe)


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
    seen = {"fingerprint": "before", "source_format": "fer2013"}
    recipe = _recipe_with_model(monkeypatch, {"dataset": seen})
    changed = replace(dataset, info={**dataset.info, **made})
    with pytest.raises(UsageError, match="has learnt from pictures that it would be judged by"):
        _judged(monkeypatch, changed, tmp_path, config=recipe)


def test_another_question_in_the_same_folder_is_refused(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset, tmp_path: Path
) -> None:
    recipe = _recipe_with_model(monkeypatch, {})
    _judged(monkeypatch, dataset, tmp_path, config=recipe)
    longer = recipe.model_copy(update={"epochs": 2})
    with pytest.raises(UsageError, match="begun with recipe epochs = 1, now it is 2"):
        _judged(monkeypatch, dataset, tmp_path, config=longer)
    with pytest.raises(UsageError, match="begun with folds = 3, now it is 'people'"):
        _judged(monkeypatch, dataset, tmp_path, config=recipe, folds=None)
    other = replace(dataset, info={**dataset.info, "fingerprint": "other"})
    with pytest.raises(UsageError, match=r"begun with data = '.*', now it is 'other'"):
        _judged(monkeypatch, other, tmp_path, config=recipe)
    with monkeypatch.context() as patched:
        patched.setattr("mien.training.foreknowledge.weights_digest", lambda _: "1")
        with pytest.raises(UsageError, match=r"begun with weights m\.onnx = '0', now it is '1'"):
            _judged(monkeypatch, dataset, tmp_path, config=recipe)
    before = json.loads((tmp_path / ASKED_NAME).read_text(encoding="utf-8"))
    del before["recipe"]["epochs"]
    (tmp_path / ASKED_NAME).write_text(json.dumps(before), encoding="utf-8")
    with pytest.raises(UsageError, match="begun with recipe epochs = None, now it is 1"):
        _judged(monkeypatch, dataset, tmp_path, config=recipe)
    with alone_in(tmp_path, kind="", known_by=ASKED_NAME), pytest.raises(AtWorkError):
        _judged(monkeypatch, dataset, tmp_path)
    (tmp_path / "photo").mkdir()
    (tmp_path / "photo" / "mine.png").touch()
    with pytest.raises(UsageError, match="is not empty and no cross-validation"):
        _judged(monkeypatch, dataset, tmp_path / "photo")


@pytest.mark.parametrize("told", ["{", "[1]"])
def test_a_damaged_note_of_the_question_is_told(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset, tmp_path: Path, told: str
) -> None:
    (tmp_path / "fold-1").mkdir()
    (tmp_path / ASKED_NAME).write_text(told, encoding="utf-8")
    with pytest.raises(ModelError, match=r"cross-validation\.json: damaged .* another --out"):
        _judged(monkeypatch, dataset, tmp_path)


def test_what_training_refused_at_once_may_be_asked_otherwise(
    monkeypatch: pytest.MonkeyPatch, dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="there is no colour"):
        cross_validate(
            dataset, QUICK.model_copy(update={"channels": 3}), tmp_path, name="quick", folds=3
        )
    _judged(monkeypatch, dataset, tmp_path)


def test_folds_do_not_follow_the_order_of_the_rows(dataset: Dataset) -> None:
    def cut(order: slice) -> list[dict[str, str]]:
        rows = np.arange(len(dataset))[order]
        turned = replace(dataset, manifest=dataset.manifest.take(rows))
        folds = (fold.others for fold in cut_folds(turned, 3, validation=0.1))
        return [dict(zip(f.column("id"), f.column("split"), strict=True)) for f in folds]

    assert cut(slice(None)) == cut(slice(None, None, -1))


def test_runs_of_folds_that_were_cut_otherwise_are_not_gone_on_with(dataset: Dataset) -> None:
    one, again, other = (
        cut_folds(dataset, 3, validation=share)[0].others.info["fingerprint"]
        for share in (0.1, 0.1, 0.5)
    )
    assert one == again != other


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


def test_the_command_hands_on_what_it_is_told(
    mien: Command, monkeypatch: pytest.MonkeyPatch, dataset: Dataset, tmp_path: Path
) -> None:
    judge = Judge()
    monkeypatch.setattr("mien.training.crossval.judge_fold", judge)
    recipe = tmp_path / "mine.toml"
    recipe.write_text('network = "mini"\n', encoding="utf-8")
    command = ("cross-validate", "--data", dataset.path, "--recipe", recipe)
    told = ("--set", "epochs=3", "--folds", "people", "--device", "cpu", "--json", "-")
    ran = mien(*command, *told, "--out", tmp_path / "out")
    found = json.loads(ran.out)
    assert (found["model"], len(found["cross_validation"]["folds"])) == ("mine", PEOPLE)
    for config, options in judge.told:
        assert (config.network, config.epochs) == ("mini", 3)
        assert (options["device"], options["on_epoch"]) == ("cpu", print_epoch)
        assert options["progress"] is not silent
    ran = mien(*command, "--out", tmp_path / "ten")
    assert (ran.status, "10 folds of 7 people" in ran.err) == (1, True)


@pytest.mark.parametrize("folds", ["1", "0", "-2", "many", "2.5"])
def test_folds_that_are_no_number_of_two_or_more_are_refused(
    mien: Command, dataset: Dataset, tmp_path: Path, folds: str
) -> None:
    ran = mien("cross-validate", "--data", dataset.path, "--out", tmp_path, f"--folds={folds}")
    assert (ran.status, ran.err) == (2, f"mien: --folds '{folds}': expected 2 or more, or people\n")
