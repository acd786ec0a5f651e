"""Tests of judging a model on a split, with a made-up model that knows the answers."""

import json
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from mien.card import ModelCard
from mien.cli.printing import print_report
from mien.data.dataset import Dataset
from mien.data.importers import import_dataset
from mien.data.join import join_datasets
from mien.errors import DatasetError, UsageError
from mien.judging import plots
from mien.judging.caveats import caveat_of
from mien.judging.evaluate import REPORT_NAME, evaluate
from mien.judging.evaluation_page import render_evaluation
from mien.judging.model_card import render_model_card
from mien.labels import EMOTIONS
from mien.metrics import confidence_intervals, evaluate_probabilities
from mien.people import number_people
from mien.records import SPLITS
from remembering import Remembers

T = TypeVar("T")


def test_a_model_that_knows_everything(ferplus_dataset: Dataset) -> None:
    report = evaluate(Remembers(ferplus_dataset, EMOTIONS), ferplus_dataset, "test")
    figures = report.evaluation
    assert (figures.accuracy, figures.macro_recall, figures.count) == (1.0, 1.0, 24)
    assert figures.nll == pytest.approx(-np.log(0.9), abs=1e-6)
    assert figures.support == dict.fromkeys(EMOTIONS, 3)
    assert report.left_out == {}
    assert (report.model, report.split) == ("remembers", "test")
    assert report.dataset == {
        "name": "ferplus",
        "fingerprint": ferplus_dataset.info["fingerprint"],
        "source_format": "ferplus",
    }


def test_labels_in_another_order_and_one_confusion(ferplus_dataset: Dataset) -> None:
    labels = EMOTIONS[::-1]
    model = Remembers(ferplus_dataset, labels, wrong={"fear": "surprise"})
    report = evaluate(model, ferplus_dataset, "test")
    figures = report.evaluation
    assert figures.labels == labels
    assert figures.recall == {name: 0.0 if name == "fear" else 1.0 for name in labels}
    assert figures.accuracy == pytest.approx(21 / 24)
    assert figures.confusion[labels.index("fear"), labels.index("surprise")] == 3
    answers = report.answers.to_pylist()
    assert {(row["label"], row["answer"]) for row in answers} == {
        (name, "surprise" if name == "fear" else name) for name in EMOTIONS
    }
    assert all(row["answer"] == max(labels, key=lambda name: row[name]) for row in answers)


def test_unknown_labels_are_left_out_and_counted(ferplus_dataset: Dataset) -> None:
    labels = tuple(e for e in EMOTIONS if e not in {"contempt", "fear"})
    report = evaluate(Remembers(ferplus_dataset, labels), ferplus_dataset, "valid")
    assert report.left_out == {"contempt": 2, "fear": 2}
    assert (report.evaluation.count, report.evaluation.accuracy) == (12, 1.0)
    assert report.to_json()["left_out"] == {"contempt": 2, "fear": 2}


def test_batches_do_not_change_the_figures(
    monkeypatch: pytest.MonkeyPatch, ferplus_dataset: Dataset
) -> None:
    model = Remembers(ferplus_dataset, EMOTIONS, wrong={"anger": "disgust"})
    whole = evaluate(model, ferplus_dataset, "test").to_json()
    monkeypatch.setattr("mien.data.dataset.BATCH", 7)
    shown: list[int] = []

    def progress(items: Iterable[T], *, total: int, doing: str) -> Iterable[T]:
        for item in items:
            shown.append(total)
            yield item

    assert evaluate(model, ferplus_dataset, "test", progress=progress).to_json() == whole
    assert model.asked == [24, 7, 7, 7, 3]
    assert shown == [4, 4, 4, 4]


class Blind:
    """Answers the same for all and remembers the shapes that it was given."""

    def __init__(self, size: int, channels: int) -> None:
        values = {"size": size, "channels": channels}
        self.card = ModelCard.model_validate(
            {"name": "b", "network": "none", "labels": EMOTIONS, "parameters": 0} | values
        )
        self.shapes: set[tuple[int, ...]] = set()

    def probabilities(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        self.shapes |= {crop.shape for crop in crops}
        return np.full((len(crops), 8), 1 / 8, dtype=np.float32)


@pytest.mark.parametrize(("size", "channels"), [(48, 1), (48, 3), (32, 1), (64, 3)])
def test_images_are_fitted_to_the_model(ferplus_dataset: Dataset, size: int, channels: int) -> None:
    model = Blind(size, channels)
    report = evaluate(model, ferplus_dataset, "test")
    assert model.shapes == {(size, size, channels)}
    assert report.evaluation.nll == pytest.approx(np.log(8))


def test_excluded_images_are_not_asked_for(tmp_path: Path, ferplus_source: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(ferplus_source, source)
    table = source / "fer2013new.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    name = lines[-1].split(",")[1]
    lines[-1] = f"PrivateTest,{name},5,5,0,0,0,0,0,0,0,0"  # no majority
    table.write_text("\n".join(lines), encoding="utf-8")
    import_dataset("ferplus", source, tmp_path / "d")
    dataset = Dataset.open(tmp_path / "d")
    assert evaluate(Blind(48, 1), dataset, "test").evaluation.count == 23


@pytest.mark.parametrize(
    ("labels", "split", "learnt"),
    [
        pytest.param(("anger", "fear"), "train", 0, id="no-label-known"),
        pytest.param(EMOTIONS, "valid", 2, id="empty-split"),
    ],
)
def test_nothing_to_evaluate(
    tmp_path: Path, labels: tuple[str, ...], split: Any, learnt: int
) -> None:
    for number, emotion in enumerate(("happy", "sad")):
        folder = tmp_path / "faces" / "train" / emotion
        folder.mkdir(parents=True)
        Image.new("L", (20, 20), 50 + number).save(folder / "a.png")
    import_dataset("folder", tmp_path / "faces", tmp_path / "d", size=48, channels=1)
    dataset = Dataset.open(tmp_path / "d")
    model = Remembers(dataset, labels)
    with pytest.raises(
        DatasetError,
        match=rf"split '{split}' has no usable image with a label among .*; "
        rf"of such images there are {learnt} in train, 0 in valid, 0 in test",
    ):
        evaluate(model, dataset, split)
    assert model.asked == []


def test_files_of_a_report(tmp_path: Path, ferplus_dataset: Dataset) -> None:
    labels = EMOTIONS[:7]
    report = evaluate(Remembers(ferplus_dataset, labels), ferplus_dataset, "test")
    written = report.save(tmp_path / "deep" / "report", ferplus_dataset)
    assert [path.name for path in written] == [
        "evaluation.html",
        "model_card.md",
        REPORT_NAME,
        "answers.parquet",
        "confusion.png",
        "calibration.png",
    ]
    assert sorted(written) == sorted((tmp_path / "deep" / "report").iterdir())
    content = json.loads(written[2].read_text(encoding="utf-8"))
    assert content == report.to_json()
    assert content["left_out"] == {"contempt": 3}
    assert content["n"] == 21
    answers = pq.read_table(written[3]).to_pylist()
    assert len(answers) == 21
    for row in answers:
        assert row["answer"] == row["label"] == max(labels, key=lambda label: row[label])
        assert row[row["label"]] == pytest.approx(0.9)
    ids = ferplus_dataset.column("id")
    paths = dict(zip(ids, ferplus_dataset.column("path"), strict=True))
    assert all(paths[row["id"]] == row["path"] for row in answers)
    with Image.open(written[4]) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 500


def test_a_folder_of_any_name_is_told_as_it_is(tmp_path: Path, ferplus_dataset: Dataset) -> None:
    """No formula begins by a dollar, and a letter that the font lacks warns of nothing."""
    named = replace(ferplus_dataset, path=tmp_path / "a$b_{$ \N{CJK UNIFIED IDEOGRAPH-8868}<b>")
    report = evaluate(Remembers(named, EMOTIONS), named, "test")
    page, *_ = report.save(tmp_path / "report", named)
    told = "remembers on a$b_{$ \N{CJK UNIFIED IDEOGRAPH-8868}&lt;b&gt; test"
    assert f"<h1>{told}</h1>" in page.read_text(encoding="utf-8")


def test_only_charts_are_turned_round_on_a_dark_page(
    tmp_path: Path, ferplus_dataset: Dataset
) -> None:
    report = evaluate(Remembers(ferplus_dataset, EMOTIONS), ferplus_dataset, "test")
    report.save(tmp_path, ferplus_dataset)
    pictures = [tmp_path / f"{name}.png" for name in ("calibration", "conditions")]
    shutil.copy(pictures[0], pictures[1])
    text = render_evaluation(report, ferplus_dataset, pictures)
    shown = re.findall(r'<img class="(picture[^"]*)"', text)
    assert shown == ["picture chart", "picture"]


def test_environments_are_kept_while_the_answers_stay(
    tmp_path: Path, ferplus_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They take long, and need torch; those of other weights or images are no longer true."""
    monkeypatch.setitem(sys.modules, "mien.judging.robustness", None)
    report = evaluate(Remembers(ferplus_dataset, EMOTIONS), ferplus_dataset, "test")
    shares = {"mean_share_of_clean": 1.0, "worst": "mask", "worst_share_of_clean": 1.0}
    measured = {
        "n": 21,
        "clean": {"accuracy": 1.0, "macro_recall": 1.0, "nll": 0.1},
        "conditions": {
            "mask": [
                {"strength": each, "accuracy": 1.0, "macro_recall": 1.0, "nll": 0.1}
                for each in (0.25, 0.5, 1.0)
            ]
        },
        "middle": {**shares, "mean_accuracy": 1.0},
        "flips": 0.0,
    }
    kept = report.to_json() | {"environments": measured}
    elsewhere = kept | {"dataset": report.dataset | {"fingerprint": "elsewhere"}}
    (tmp_path / REPORT_NAME).write_text(json.dumps(elsewhere), encoding="utf-8")
    report.save(tmp_path, ferplus_dataset)
    content = json.loads((tmp_path / REPORT_NAME).read_text(encoding="utf-8"))
    assert content["environments"] is None
    (tmp_path / REPORT_NAME).write_text(json.dumps(kept), encoding="utf-8")
    for name in ("environments.png", "conditions.png"):
        (tmp_path / name).touch()
    other = Remembers(ferplus_dataset, EMOTIONS, wrong={"fear": "surprise"})
    report.save(tmp_path, ferplus_dataset)
    content = json.loads((tmp_path / REPORT_NAME).read_text(encoding="utf-8"))
    assert content["environments"] == measured
    assert "with mask" in (tmp_path / "model_card.md").read_text(encoding="utf-8")
    evaluate(other, ferplus_dataset, "test").save(tmp_path, ferplus_dataset)
    content = json.loads((tmp_path / REPORT_NAME).read_text(encoding="utf-8"))
    assert content["environments"] is None
    assert not (tmp_path / "environments.png").exists()
    assert not (tmp_path / "conditions.png").exists()


@pytest.mark.parametrize(
    ("before", "unsure", "taught"),
    [
        ({}, False, False),
        ({"started_from": ["here"]}, False, False),
        ({"started_from": ["elsewhere"]}, True, False),
        ({"averaged": ["here", "elsewhere"]}, True, False),
        ({"averaged": [{"taught_by": ["here"]}, {"taught_by": ["here"]}]}, False, True),
        ({"taught_by": ["here"]}, False, True),
        ({"taught_by": ["here", "elsewhere"]}, True, True),
        ({"started_from": [{"taught_by": ["elsewhere"]}]}, True, False),
        ({"started_from": [{"averaged": [{"started_from": ["elsewhere"]}]}]}, True, False),
    ],
)
def test_who_may_have_learnt_what_is_held_out_is_told(
    ferplus_dataset: Dataset, before: dict[str, Any], unsure: bool, taught: bool
) -> None:
    model = Remembers(ferplus_dataset, EMOTIONS[:7])

    def made(of: str | dict[str, Any]) -> ModelCard:
        """The card of a model that learnt here or elsewhere, or here after others."""
        here = isinstance(of, dict) or of == "here"
        at = ferplus_dataset.info["fingerprint"] if here else of
        known_by = {"source_format": "ferplus" if here else "folder", "fingerprint": at}
        data = {**known_by, "train": 9, "valid": 3}
        ways = of.items() if isinstance(of, dict) else ()
        told = {way: [made(each).lineage() for each in others] for way, others in ways}
        return model.card.model_copy(update={"training": {"dataset": data, **told}})

    model.card = made(before)
    report = evaluate(model, ferplus_dataset, "test")
    card = render_model_card(report)
    page = " ".join(render_evaluation(report, ferplus_dataset, []).split())
    for told in (card, report.caveat, page):
        assert ("nobody has checked" in told) == unsure
    assert ("no pretrained weights" in card) == ({"started_from", "averaged"}.isdisjoint(before))
    assert (f"from the mean opinion of `{model.card.name}`." in card) == taught


def test_figures_of_other_splits_and_data_carry_a_word(ferplus_dataset: Dataset) -> None:
    model = Remembers(ferplus_dataset, EMOTIONS)
    assert evaluate(model, ferplus_dataset, "valid").caveat == ""  # nothing is known of it
    data = {key: ferplus_dataset.info[key] for key in ("source_format", "fingerprint")}
    model.card = model.card.model_copy(update={"training": {"dataset": data}})
    caveats = {split: evaluate(model, ferplus_dataset, split).caveat for split in SPLITS}
    assert "learnt from these images" in caveats["train"]
    assert "chosen on these images" in caveats["valid"]
    assert caveats["test"] == ""
    before = {"dataset": {"fingerprint": "x", "source_format": "folder"}, "learnt_from": ["x"]}
    after = {"training": {"dataset": data, "started_from": [before]}}
    model.card = model.card.model_copy(update=after)
    for split in SPLITS:
        told = evaluate(model, ferplus_dataset, split).caveat
        assert ("learnt from these" in told) == (split == "train")
        assert ("chosen on these" in told) == (split == "valid")
        assert "nobody has checked" in told
    elsewhere = {"dataset": {"fingerprint": "elsewhere", "source_format": "folder"}}
    model.card = model.card.model_copy(update={"training": elsewhere})
    assert "nobody has checked" in evaluate(model, ferplus_dataset, "test").caveat


FOLDER = {"source_format": "folder"}


@pytest.mark.parametrize(
    ("learnt", "judged"),
    [
        ({"fingerprint": "raw", **FOLDER}, {"cleaned": [{"from": "raw"}], **FOLDER}),
        ({"fingerprint": "x", "cleaned_from": ["own"], **FOLDER}, {"fingerprint": "own", **FOLDER}),
        ({"fingerprint": "x", "parts": [{"fingerprint": "own", **FOLDER}], **FOLDER}, FOLDER),
        ({"fingerprint": "x", "source_format": "fer2013"}, {"source_format": "ferplus"}),
    ],
    ids=["cleaned since", "cleaned before", "joined", "the same public set"],
)
def test_another_form_of_what_was_learnt_carries_a_word(
    ferplus_dataset: Dataset, learnt: dict[str, Any], judged: dict[str, Any]
) -> None:
    model = Remembers(ferplus_dataset, EMOTIONS)
    model.card = model.card.model_copy(update={"training": {"dataset": learnt}})
    info = {**ferplus_dataset.info, "fingerprint": "own", **judged}
    told = evaluate(model, replace(ferplus_dataset, info=info), "test").caveat
    assert "learnt from another form of this dataset" in told
    # Also where it has gone on since, from or by such a model, with the dataset itself.
    before = {"dataset": learnt}
    own = {key: info[key] for key in ("fingerprint", "source_format")}
    for way in ("started_from", "taught_by"):
        lineage = model.card.model_copy(update={"training": before}).lineage()
        card = model.card.model_copy(update={"training": {"dataset": own, way: [lineage]}})
        of_both = Remembers(ferplus_dataset, EMOTIONS)
        of_both.card = card
        said = evaluate(of_both, replace(ferplus_dataset, info=info), "test").caveat
        assert "learnt from another form of this dataset" in said
    other = replace(ferplus_dataset, info={**info, "fingerprint": "other", "cleaned": [], **FOLDER})
    assert "nobody has checked" in evaluate(model, other, "test").caveat


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ({"label_from": "model", "drop": []}, True),
        ({"label_from": None, "drop": ["flat", "label_suspect"]}, True),
        ({"label_from": "votes", "drop": ["flat"]}, False),
    ],
)
@pytest.mark.parametrize("joined", [False, True])
def test_labels_that_networks_chose_carry_a_word(
    ferplus_dataset: Dataset, step: dict[str, Any], told: bool, joined: bool
) -> None:
    cleaned = {"cleaned": [{"from": "raw", **step}]}
    parts = {"parts": [{"fingerprint": "a", **FOLDER, **cleaned}]}
    dataset = replace(
        ferplus_dataset, info={**ferplus_dataset.info, **(parts if joined else cleaned)}
    )
    model = Remembers(ferplus_dataset, EMOTIONS)
    for split in ("valid", "test"):
        said = evaluate(model, dataset, split).caveat
        assert ("cleaned by what networks say" in said) == told
    assert evaluate(model, dataset, "train").caveat == ""


def test_the_model_card_tells_figures_and_limits(ferplus_dataset: Dataset) -> None:
    model = Remembers(ferplus_dataset, EMOTIONS[:7], wrong={"fear": "surprise"})
    report = evaluate(model, ferplus_dataset, "test")
    assert report.agreement == pytest.approx(0.7)
    entry = {"strength": 0.5, "accuracy": 0.75}
    environments = {
        "n": 21,
        "clean": {"accuracy": 0.857},
        "conditions": {"low_resolution": [entry]},
        "middle": {
            "mean_share_of_clean": 0.875,
            "worst": "low_resolution",
            "worst_share_of_clean": 0.875,
        },
        "flips": 0.04,
    }
    card = render_model_card(replace(report, environments=environments))
    for line in (
        "| accuracy | 85.71 %",
        "n = 21, without 3 of contempt, which it does not know",
        "| fear | 3 | 0.0 % | - | 0.0 % |",
        "| low resolution | 75.0 % |",
        "fewer than half of the faces that show fear (0 %).",
        "article 5(1)(f)",
        "2013",
    ):
        assert line in card
    assert "Not measured here" in render_model_card(report)
    assert "rare emotions count" not in card
    offsets = (-2.0, -2.5, -1.0, -1.0, 0.0, -0.1, -0.2)
    decided = render_model_card(
        replace(report, card=report.card.model_copy(update={"offsets": offsets, "worth": 2.0}))
    )
    assert "rare emotions count: by macro recall + 2 " in decided
    assert "fear 0.00, disgust -0.10, anger -0.20. So its probabilities" in decided


def test_the_surest_mistakes_come_first(ferplus_dataset: Dataset) -> None:
    wrong = {"fear": "surprise", "anger": "disgust"}
    model = Remembers(ferplus_dataset, EMOTIONS, wrong=wrong)
    mistakes = evaluate(model, ferplus_dataset, "test").mistakes
    assert len(mistakes) == 6
    assert {(m.label, m.answer) for m in mistakes} == set(wrong.items())
    for mistake in mistakes:
        assert ferplus_dataset.column("path")[mistake.row] == mistake.path
        assert ferplus_dataset.column("label")[mistake.row] == mistake.label
        assert mistake.confidence == pytest.approx(0.9)
        assert mistake.of_label == pytest.approx(0.1 / 7)


def test_numbers_that_agree_in_their_first_digits_are_told_apart(ferplus_dataset: Dataset) -> None:
    times = pa.array(100_001 + np.arange(len(ferplus_dataset.manifest)))
    dataset = replace(
        ferplus_dataset, manifest=ferplus_dataset.manifest.append_column("frame", times)
    )
    groups = evaluate(Remembers(dataset, EMOTIONS), dataset, "test", by="frame").groups["frame"]
    assert len(groups) == 4
    assert all(" to 100" in name for name in groups)


def test_intervals_are_of_people_where_they_are_named(ferplus_dataset: Dataset) -> None:
    rows = ferplus_dataset.usable("test")
    names = [f"who shows {label}" for label in ferplus_dataset.column("label")]
    named = ferplus_dataset.with_column("subject", names)
    model = Remembers(ferplus_dataset, EMOTIONS, wrong={"fear": "surprise"})
    apart, of_people = (evaluate(model, data, "test") for data in (ferplus_dataset, named))
    assert (apart.people, of_people.people) == (None, 8)
    assert of_people.to_json()["people"] == 8
    asked = np.stack([of_people.answers[label].to_numpy() for label in EMOTIONS], axis=1)
    truth, people = named.labels(rows, EMOTIONS), number_people([names[row] for row in rows])
    assert of_people.intervals == confidence_intervals(asked, truth, people)
    assert apart.intervals == confidence_intervals(asked, truth) != of_people.intervals
    assert (apart.intervals_by, of_people.intervals_by) == ("images", "people")
    assert "24 images of 8 people, 8 emotions." in render_evaluation(of_people, named, [])
    assert "by the choice of these people alone" in render_evaluation(of_people, named, [])
    assert "by the choice of these images alone" in render_evaluation(apart, named, [])


def test_images_that_name_nobody_are_of_nobody_who_is_named(ferplus_dataset: Dataset) -> None:
    rows = set(ferplus_dataset.usable("test")[:5].tolist())
    names = ["me" if row in rows else None for row in range(len(ferplus_dataset))]
    named = ferplus_dataset.with_column("subject", names)
    report = evaluate(Remembers(ferplus_dataset, EMOTIONS), named, "test")
    assert (report.to_json()["people"], report.to_json()["nameless"]) == (1, 19)
    assert "24 images, 5 of them of 1 person, 8 emotions." in render_evaluation(report, named, [])


def test_the_mistakes_of_a_joined_set_say_which_part_they_are_of(
    ferplus_dataset: Dataset, drawn_dataset: Dataset, tmp_path: Path
) -> None:
    join_datasets([ferplus_dataset, drawn_dataset], tmp_path / "both")
    both = Dataset.open(tmp_path / "both")
    model = Remembers(both, EMOTIONS, wrong={"fear": "surprise"})
    page = render_evaluation(evaluate(model, both, "test"), both, [])
    shown = re.findall(r'class="part">(.*?)</span>\s*<span class="file" title="(.*?)/', page)
    assert {part for part, _ in shown} == set(both.parts)
    assert all(part == begins for part, begins in shown)
    page = render_evaluation(evaluate(model, ferplus_dataset, "test"), ferplus_dataset, [])
    assert 'class="part"' not in page


def test_images_of_one_person_are_said_to_be(
    ferplus_dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    named = ferplus_dataset.with_column("subject", ["me"] * len(ferplus_dataset))
    report = evaluate(Remembers(ferplus_dataset, EMOTIONS), named, "test")
    assert "by the choice of these images of one person alone" in render_evaluation(
        report, named, []
    )
    print_report(report)
    assert "95 % intervals by images of one person: accuracy" in capsys.readouterr().out


def test_people_whom_the_model_learnt_from_are_told(ferplus_dataset: Dataset) -> None:
    """Where they are shown in what it is judged by, too."""
    names = [f"person {row % 5}" for row in range(len(ferplus_dataset))]
    named = ferplus_dataset.with_column("subject", names)
    apart = ferplus_dataset.with_column("subject", ferplus_dataset.column("split"))
    model = Remembers(ferplus_dataset, EMOTIONS)
    training = {"dataset": {"fingerprint": named.info["fingerprint"], "source_format": "ferplus"}}
    learnt = model.card.model_copy(update={"training": training})
    elsewhere = {"dataset": {"fingerprint": "elsewhere", "source_format": "kdef"}}
    shown = {names[row] for row in named.usable("test")}
    told = (
        f"Of the {len(shown)} people who are shown, {len(shown)} are shown in its training images"
    )
    assert told in caveat_of(learnt, named, "test")
    assert told in caveat_of(learnt, named, "valid")
    assert "people who are shown" not in caveat_of(learnt, named, "train")
    for card, dataset in (
        (learnt, apart),
        (learnt, ferplus_dataset),
        (model.card.model_copy(update={"training": elsewhere}), named),
    ):
        assert "people who are shown" not in caveat_of(card, dataset, "test")


def test_groups_of_numbers_rise_and_others_begin_with_the_largest(
    ferplus_dataset: Dataset,
) -> None:
    ages = [(None, 30.0, 5.0, 100.0)[row % 4] for row in range(len(ferplus_dataset))]
    words = [("b|c", None, "a", "a")[row % 4] for row in range(len(ferplus_dataset))]
    manifest = ferplus_dataset.manifest
    for name, column in (("age", pa.array(ages)), ("word", pa.array(words))):
        manifest = manifest.append_column(name, column)
    dataset = replace(ferplus_dataset, manifest=manifest)
    model = Remembers(dataset, EMOTIONS, wrong={"fear": "surprise"})
    report = evaluate(model, dataset, "test", by=["age", "word"])
    assert list(report.groups["age"]) == ["5", "30", "100", "(no value)"]
    assert list(report.groups["word"]) == ["a", "b|c", "(no value)"]
    for group in report.groups["word"].values():
        low, high = group["accuracy_interval"]
        assert 0 < low < group["accuracy"] <= high <= 1
    card = render_model_card(report)
    shares = report.groups["word"]["b|c"]
    low, high = (100 * end for end in shares["accuracy_interval"])
    told = f"| {shares['n']} | {100 * shares['accuracy']:.1f} % | {low:.1f} % to {high:.1f} % |"
    assert f"| b\\|c {told}" in card
    assert "| age | images | accuracy | 95 % interval | macro recall |" in card
    assert f"<td>{low:.1f} % to {high:.1f} %</td>" in render_evaluation(report, dataset, [])


def test_large_whole_numbers_stay_apart_and_groups_know_who_is_shown(
    ferplus_dataset: Dataset,
) -> None:
    stamps = [1_700_000_000_001.0 + row % 3 for row in range(len(ferplus_dataset))]
    manifest = ferplus_dataset.manifest.append_column("stamp", pa.array(stamps))
    dataset = replace(ferplus_dataset, manifest=manifest)
    model = Remembers(dataset, EMOTIONS, wrong={"fear": "surprise", "anger": "disgust"})
    groups = evaluate(model, dataset, "test", by="stamp").groups["stamp"]
    assert list(groups) == ["1700000000001", "1700000000002", "1700000000003"]
    # Of few people, whose images are not independent, the ends lie further out.
    few = dataset.with_column("subject", list(dataset.column("label")))
    of_few = evaluate(model, few, "test", by="split").groups["split"]["test"]
    plain = evaluate(model, dataset, "test", by="split").groups["split"]["test"]
    assert of_few["accuracy"] == plain["accuracy"]
    assert of_few["accuracy_interval"][0] < plain["accuracy_interval"][0] - 0.05


def test_figures_by_columns(ferplus_dataset: Dataset) -> None:
    model = Remembers(ferplus_dataset, EMOTIONS, wrong={"fear": "surprise"})
    report = evaluate(model, ferplus_dataset, "test", by=["label", "split"])
    assert set(report.groups["label"]) == set(EMOTIONS)
    assert report.groups["label"]["fear"]["accuracy"] == 0
    assert report.groups["label"]["anger"] == {
        "n": 3,
        "accuracy": 1.0,
        "accuracy_interval": (pytest.approx(0.4385, abs=1e-4), 1.0),
        "macro_recall": 1.0,
        "nll": pytest.approx(-np.log(0.9), abs=1e-6),
    }
    assert report.groups["split"]["test"]["n"] == 24
    assert report.to_json()["by"] == report.groups
    page = render_evaluation(report, ferplus_dataset, [])
    assert "<h2>By label</h2>" in page and "<h2>By split</h2>" in page


def test_many_numbers_are_put_into_quarters(ferplus_dataset: Dataset) -> None:
    numbers = [None if i % 10 == 0 else i / 7 for i in range(len(ferplus_dataset))]
    column = pa.array(numbers, type=pa.float64())
    dataset = replace(
        ferplus_dataset, manifest=ferplus_dataset.manifest.append_column("quality", column)
    )
    model = Remembers(ferplus_dataset, EMOTIONS)
    groups = evaluate(model, dataset, "test", by=["quality"]).groups["quality"]
    quarters = {name: group["n"] for name, group in groups.items() if name != "(no value)"}
    assert len(quarters) == 4
    assert max(quarters.values()) - min(quarters.values()) <= 1
    assert sum(group["n"] for group in groups.values()) == 24


def test_a_column_that_is_not_there(ferplus_dataset: Dataset) -> None:
    model = Remembers(ferplus_dataset, EMOTIONS)
    with pytest.raises(UsageError, match=r"--by 'age': expected a column .*subject"):
        evaluate(model, ferplus_dataset, "test", by=["label", "age"])


def test_the_page_holds_everything_and_trusts_no_name(
    tmp_path: Path, ferplus_dataset: Dataset
) -> None:
    hostile = "<script>alert(1)</script>\u202e.png"
    paths = [hostile] * len(ferplus_dataset)
    dataset = ferplus_dataset.with_column("path", paths)
    model = Remembers(ferplus_dataset, EMOTIONS, wrong={"fear": "surprise"})
    report = evaluate(model, dataset, "test", by=["path"])
    history = [
        {"epoch": e, "train_loss": 1 / e, "valid_loss": 1.1 / e}
        | {"valid_accuracy": 0.5, "valid_macro_recall": 0.4}
        for e in (1, 2)
    ]
    report.save(tmp_path, dataset, history=history)
    page = (tmp_path / "evaluation.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert 'src="http' not in page
    assert page.count("data:image/png;base64,") == 3 + 2
    assert "87.50 %" in page
    assert "Every epoch of the run" in page


def test_people_are_those_of_the_rows_and_whoever_is_not_named_does_not_count(
    ferplus_dataset: Dataset,
) -> None:
    names: list[str | None] = [None] * len(ferplus_dataset)
    rows = ferplus_dataset.usable("test")
    for row in rows[:4]:
        names[row] = str(row // 2)
    for row in ferplus_dataset.usable("train"):
        names[row] = "of train"
    named = ferplus_dataset.with_column("subject", names)
    report = evaluate(Remembers(named, EMOTIONS), named, "test")
    assert report.people == len({names[row] for row in rows[:4]})


def test_a_picture_of_calibration_makes_no_mountains_of_few_images(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr("mien.judging.plots.save_figure", lambda figure, path: drawn.append(figure))
    sure = np.array([0.98] * 500 + [0.7] * 4)
    labels = np.zeros(504, dtype=np.int64)
    labels[:5] = 1  # five are wrong
    found = evaluate_probabilities(np.stack([sure, 1 - sure], axis=1), labels, EMOTIONS[:2])
    plots.save_calibration(tmp_path / "c.png", found, title="a title")
    (figure,) = drawn
    right, coverage = figure.axes
    assert "pale: fewer than 10 images" in right.get_xlabel()
    bars = [bar for bar in right.patches if isinstance(bar, Rectangle) and bar.get_height() > 0]
    pale, full = (bar.get_facecolor() for bar in bars)
    assert pale != full
    low, high = coverage.get_ylim()
    assert high - low >= 0.1
