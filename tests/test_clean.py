"""Tests of cleaning: each rule, the record, and that cleaning twice changes nothing."""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from mien.data.audit.auditor import audit_dataset
from mien.data.audit.suspects import OutOfFold
from mien.data.clean import clean_dataset
from mien.data.dataset import Dataset
from mien.data.importers import import_dataset
from mien.data.rules import Rules, read_rules
from mien.data.writer import NO_IMAGE
from mien.drawn import draw_face, sample_parameters
from mien.errors import DatasetError, UsageError
from mien.images import write_image
from mien.labels import EMOTIONS
from mien.records import SPLITS


def _face(number: int) -> NDArray[np.uint8]:
    return draw_face(sample_parameters(EMOTIONS[number % 8], seed=600 + number), size=48)


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Sixty faces in Kaggle's layout, with a copy, a mirrored leak, disagreements and a gap."""
    root = tmp_path_factory.mktemp("dirty") / "source"
    lines = [",pth,label,relFCs"]

    def add(place: str, pixels: NDArray[np.uint8], label: str, flatness: float) -> None:
        file = root / place
        file.parent.mkdir(parents=True, exist_ok=True)
        write_image(file, pixels)
        lines.append(f"{len(lines)},{place.partition('/')[2]},{label},{flatness}")

    for number in range(60):
        emotion, split = EMOTIONS[number % 8], "Test" if number >= 48 else "Train"
        add(f"{split}/{emotion}/{number:02d}.png", _face(number), emotion, number / 60)
    add("Train/fear/copy.png", _face(4), "fear", 0.1)
    add("Train/neutral/mirrored.png", _face(48)[:, ::-1], "neutral", 0.1)
    add("Train/sadness/disagrees.png", _face(61), "anger", 0.1)
    write_image(root / "Train/sadness/unlisted.png", _face(62))
    lines.append("99,fear/gone.png,fear,0.1")
    (root / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    import_dataset("affectnet-kaggle", root, root.parent / "dataset", size=48, channels=1)
    return Dataset.open(root.parent / "dataset")


def _clean(dataset: Dataset, out: Path, rules: Rules) -> tuple[Dataset, list[dict[str, Any]]]:
    clean_dataset(dataset, out, rules)
    lines = (out / "changes.jsonl").read_text(encoding="utf-8").splitlines()
    return Dataset.open(out), [json.loads(line) for line in lines]


RULES = {
    "one-of-each": Rules(drop=("duplicate", "near_duplicate")),
    "leaks": Rules(drop=("leak",)),
    "files": Rules(drop=("missing", "unlisted", "folder_label_disagree")),
    "folder": Rules(label_from="folder"),
    "filter": Rules(where=("relFCs<0.5", "relFCs >= 0.05")),
    "merge": Rules(label_from="folder", merge={"contempt": "disgust"}),
    "without": Rules(without=("contempt", "sad")),
    "split": Rules(split=(60, 20, 20), seed=3),
    "all": Rules(
        drop=("missing", "near_duplicate", "leak", "duplicate"),
        label_from="folder",
        where=("relFCs<0.9",),
        split=(80, 10, 10),
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_cleaning_twice_changes_nothing(dirty: Dataset, tmp_path: Path, name: str) -> None:
    once, changes = _clean(dirty, tmp_path / "once", RULES[name])
    assert changes
    twice, more = _clean(once, tmp_path / "twice", RULES[name])
    assert more == []
    assert twice.manifest.equals(once.manifest)


@pytest.mark.parametrize("name", RULES)
def test_the_record_leads_from_the_source_to_the_result(
    dirty: Dataset, tmp_path: Path, name: str
) -> None:
    dirty = dirty.with_column("votes", [[0.0] * 5 + [0.25, 0.0, 0.75]] * len(dirty))
    cleaned, changes = _clean(dirty, tmp_path / "out", RULES[name])
    columns = {"relabel": "label", "split": "split", "votes": "votes"}
    columns |= {"include": "excluded", "exclude": "excluded"}
    rows = {row["id"]: row for row in dirty.manifest.to_pylist()}
    for change in changes:
        if change["change"] == "drop":
            del rows[change["id"]]
        else:
            column = columns[change["change"]]
            assert rows[change["id"]][column] == change["from"]
            rows[change["id"]][column] = change["to"]
    for row in cleaned.manifest.to_pylist():
        replayed = rows.pop(row["id"])
        assert {key: row[key] for key in columns.values()} == {
            key: replayed[key] for key in columns.values()
        }
    assert not rows


@pytest.mark.parametrize("name", RULES)
def test_every_change_is_on_record(dirty: Dataset, tmp_path: Path, name: str) -> None:
    before = {row["id"]: row for row in dirty.manifest.to_pylist()}
    cleaned, changes = _clean(dirty, tmp_path / "out", RULES[name])
    after = {row["id"]: row for row in cleaned.manifest.to_pylist()}
    dropped = {change["id"]: change for change in changes if change["change"] == "drop"}
    assert set(before) - set(after) == set(dropped)
    assert set(after) <= set(before)
    for change in changes:
        assert change["reason"]
        if change["change"] == "relabel" and change["id"] in after:
            assert before[change["id"]]["label"] == change["from"]
            assert after[change["id"]]["label"] == change["to"]
    moved = {c["id"] for c in changes if c["change"] == "split"}
    assert moved >= {i for i, row in after.items() if before[i]["split"] != row["split"]}


def test_a_number_that_is_too_high_is_told_in_four_digits(dirty: Dataset, tmp_path: Path) -> None:
    _, changes = _clean(dirty, tmp_path / "out", RULES["filter"])
    reasons = {change["path"]: change["reason"] for change in changes}
    assert reasons["Train/contempt/31.png"] == "relFCs is 0.5167, not relFCs<0.5"


def test_dropped_kinds_are_gone(dirty: Dataset, tmp_path: Path) -> None:
    kinds = ("missing", "unlisted", "folder_label_disagree", "duplicate", "near_duplicate", "leak")
    found = audit_dataset(dirty).summary
    assert all(found[kind] for kind in kinds)
    cleaned, _ = _clean(dirty, tmp_path / "out", Rules(drop=kinds))
    left = audit_dataset(cleaned).summary
    assert not any(left[kind] for kind in kinds)


def test_the_test_image_stays_and_its_copy_goes(dirty: Dataset, tmp_path: Path) -> None:
    cleaned, _ = _clean(dirty, tmp_path / "out", Rules(drop=("leak",)))
    paths = set(cleaned.column("path"))
    assert "Test/neutral/48.png" in paths
    assert "Train/neutral/mirrored.png" not in paths


def test_what_nobody_is_judged_by_takes_no_picture_from_training(
    dirty: Dataset, tmp_path: Path
) -> None:
    """As a near copy of a test image on whose emotion nobody agreed."""
    excluded = [
        "no majority" if path == "Test/neutral/48.png" else why
        for path, why in zip(dirty.column("path"), dirty.column("excluded"), strict=True)
    ]
    unjudged = dirty.with_column("excluded", excluded)
    for kind in ("leak", "near_duplicate"):
        cleaned, _ = _clean(unjudged, tmp_path / kind, Rules(drop=(kind,)))
        assert "Train/neutral/mirrored.png" in cleaned.column("path")
        assert "Test/neutral/48.png" not in cleaned.column("path")


def test_leaks_take_not_all_that_trains(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    lines = ["path,label,split,subject"]
    for number in range(24):
        write_image(tmp_path / f"s/{number}.png", _face(number))
        lines.append(f"{number}.png,{EMOTIONS[number % 8]},{SPLITS[number % 3]},p{number // 3}")
    (tmp_path / "s/faces.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    import_dataset("csv", tmp_path / "s", tmp_path / "d", size=48, channels=1)
    everybody = Dataset.open(tmp_path / "d")
    with pytest.raises(DatasetError, match="expected --split 80/10/10"):
        clean_dataset(everybody, tmp_path / "out", Rules(drop=("leak",)))
    assert not (tmp_path / "out").exists()
    cleaned, _ = _clean(everybody, tmp_path / "out", Rules(split=(80, 10, 10)))
    assert audit_dataset(cleaned).summary["leak"] == 0 and len(cleaned.usable("train"))


def test_folder_gives_unlisted_files_their_label(dirty: Dataset, tmp_path: Path) -> None:
    cleaned, _ = _clean(dirty, tmp_path / "out", Rules(label_from="folder"))
    rows = {row["path"]: row for row in cleaned.manifest.to_pylist()}
    for name in ("disagrees", "unlisted"):
        row = rows[f"Train/sadness/{name}.png"]
        assert (row["label"], row["problem"], row["excluded"]) == ("sadness", None, None)


@pytest.mark.parametrize(
    ("places", "told"),
    [
        ([""], "in no split that mien knows. Splits 80/10/10"),
        (["", "test/"], "where the others are: theirs was drawn."),
        (["train/", "test/"], "a ninth of train was drawn."),
        (["train/", "valid/empty", "test/"], "are as if it were not there."),
    ],
)
def test_notes_of_splits_go_where_splits_are_drawn_anew(
    tmp_path: Path, places: list[str], told: str
) -> None:
    source = tmp_path / "source"
    for number, (place, emotion) in enumerate(product(places, EMOTIONS[:4] * 3)):
        split = place.removesuffix("empty")
        file = source / split / emotion / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        if split == place:
            write_image(file, _face(number))
        else:
            file.write_bytes(b"no image")
    import_dataset("folder", source, tmp_path / "dataset")
    about = json.loads((tmp_path / "dataset/dataset.json").read_text())
    about["notes"].append("Hair was hand drawn.")
    (tmp_path / "dataset/dataset.json").write_text(json.dumps(about))
    dataset = Dataset.open(tmp_path / "dataset")
    assert any(told in note for note in dataset.info["notes"])
    for rules, stays in ((Rules(without=("neutral",)), True), (Rules(split=(60, 20, 20)), False)):
        out = tmp_path / f"{stays}"
        clean_dataset(dataset, out, rules)
        notes = Dataset.open(out).info["notes"]
        assert any(told in note for note in notes) == stays
        assert "Hair was hand drawn." in notes
        drawn = "Splits 60/20/20 of each emotion were drawn."
        assert (drawn in notes) != stays


def test_drawn_splits_keep_pictures_together(dirty: Dataset, tmp_path: Path) -> None:
    cleaned, _ = _clean(dirty, tmp_path / "out", Rules(split=(60, 20, 20), seed=3))
    assert audit_dataset(cleaned).summary["leak"] == 0


def test_an_empty_split_is_told_as_long_as_it_is_empty(dirty: Dataset, tmp_path: Path) -> None:
    empty, _ = _clean(dirty, tmp_path / "empty", Rules(split=(1, 0, 0)))
    kept = [note for note in dirty.info["notes"] if not note.endswith("drawn.")]
    drawn = "Splits 1/0/0 of each emotion were drawn."
    assert empty.info["notes"] == [NO_IMAGE["valid"], NO_IMAGE["test"], *kept, drawn]
    assert "mien data clean --split" in NO_IMAGE["test"]
    again, _ = _clean(empty, tmp_path / "again", Rules(split=(0, 50, 50)))
    assert again.info["counts"]["valid"] and again.info["counts"]["test"]
    assert not {NO_IMAGE["valid"], NO_IMAGE["test"]} & {*again.info["notes"]}


def test_images_still_belong_to_their_rows(dirty: Dataset, tmp_path: Path) -> None:
    cleaned, _ = _clean(dirty, tmp_path / "out", RULES["all"])
    before = {path: i for i, path in enumerate(dirty.column("path"))}
    for i, path in enumerate(cleaned.column("path")):
        if cleaned.column("shard")[i] is not None:
            np.testing.assert_array_equal(
                cleaned.images(np.array([i])), dirty.images(np.array([before[path]]))
            )


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"drop": ("ugly",)}, "drop ugly: expected one of missing"),
        ({"without": ("joyless",)}, "joyless"),
        ({"merge": {"contempt": "disgust", "disgust": "anger"}}, "cannot both go and receive"),
        ({"confidence": 1.5}, "confidence 1.5: expected 0 to 1"),
        ({"where": ("relFCs",)}, "expected COLUMN<NUMBER"),
        ({"where": ("=1",)}, "expected COLUMN<NUMBER"),
        ({"where": ("relFCs<1.2.3",)}, "expected COLUMN<NUMBER"),
        ({"split": (0.0, 0.0, 0.0)}, "three shares"),
    ],
)
def test_wrong_rules_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Rules(**wrong)


def test_merged_emotions_take_their_votes_along(dirty: Dataset, tmp_path: Path) -> None:
    votes = [[0.0, 0.0, 0.0, 0.0, 0.0, 0.25, 0.0, 0.75] for _ in range(len(dirty))]
    cleaned, _ = _clean(
        dirty.with_column("votes", votes), tmp_path / "out", Rules(merge={"contempt": "disgust"})
    )
    assert "contempt" not in cleaned.emotions
    assert cleaned.column("votes")[0] == [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]


def test_a_copy_of_a_test_image_that_gets_a_label_stays_out(tmp_path: Path) -> None:
    lines = [",pth,label,relFCs"]
    for number in range(16):
        emotion, split = EMOTIONS[number % 8], "Test" if number >= 8 else "Train"
        place = f"{split}/{emotion}/{number:02d}.png"
        (tmp_path / "s" / place).parent.mkdir(parents=True)
        write_image(tmp_path / "s" / place, _face(number))
        lines.append(f"{number},{place.partition('/')[2]},{emotion},0.1")
    write_image(tmp_path / "s/Train/neutral/unlisted.png", _face(8))
    (tmp_path / "s/labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    import_dataset("affectnet-kaggle", tmp_path / "s", tmp_path / "d", size=48, channels=1)
    cleaned, changes = _clean(
        Dataset.open(tmp_path / "d"), tmp_path / "out", Rules(label_from="folder")
    )
    (row,) = (r for r in cleaned.manifest.to_pylist() if r["path"].endswith("unlisted.png"))
    assert (row["label"], row["excluded"]) == ("neutral", "same pixels as a test image")
    assert [change["change"] for change in changes] == ["relabel", "include", "exclude"]


def test_drawn_splits_keep_the_faces_of_one_picture_together(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    lines = ["path,label,x,y,w,h"]
    for number in range(24):
        pair = np.concatenate([_face(2 * number), _face(2 * number + 1)], axis=1)
        write_image(tmp_path / f"s/{number}.png", pair)
        lines += [f"{number}.png,{EMOTIONS[(number + x) % 8]},{48 * x},0,48,48" for x in (0, 1)]
    (tmp_path / "s/faces.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    import_dataset("csv", tmp_path / "s", tmp_path / "d", size=48, channels=1)
    cleaned, _ = _clean(Dataset.open(tmp_path / "d"), tmp_path / "out", Rules(split=(60, 20, 20)))
    paths, splits = cleaned.column("path"), cleaned.column("split")
    assert set(splits) == set(SPLITS)
    assert len(set(zip(paths, splits, strict=True))) == 24
    apart = ["train", "test"] * 24
    leaks = audit_dataset(cleaned.with_column("split", apart)).of_kind("leak")
    assert {leak.evidence["by"] for leak in leaks} >= {"other faces of the picture"}


def test_splits_drawn_anew_tell_persons_with_a_black_frame_apart(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    lines = ["path,label,subject"]
    for number in range(24):
        noise = np.random.default_rng(number).integers(0, 256, (48, 48), dtype=np.uint8)
        for name, pixels in (("face", noise), ("black", np.zeros((48, 48), np.uint8))):
            write_image(tmp_path / f"s/{name}{number}.png", pixels)
            lines.append(f"{name}{number}.png,{EMOTIONS[number % 8]},p{number}")
    (tmp_path / "s/faces.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    import_dataset("csv", tmp_path / "s", tmp_path / "d", size=48, channels=1)
    rules = Rules(split=(60, 20, 20), seed=3)
    cleaned, _ = _clean(Dataset.open(tmp_path / "d"), tmp_path / "once", rules)
    people, splits = cleaned.column("subject"), cleaned.column("split")
    assert set(splits) == set(SPLITS)
    assert len(set(zip(people, splits, strict=True))) == 24
    assert _clean(cleaned, tmp_path / "twice", rules)[1] == []


@pytest.mark.parametrize(
    "rest", [{"drop": ("duplicate",)}, {"split": (80, 10, 10)}, {}], ids=["drop", "split", "alone"]
)
def test_rules_that_leave_nothing(dirty: Dataset, tmp_path: Path, rest: dict[str, Any]) -> None:
    with pytest.raises(DatasetError, match="these rules leave no usable row"):
        nothing = Rules(label_from="folder", without=EMOTIONS, **rest)
        clean_dataset(dirty, tmp_path / "out", nothing)
    assert not (tmp_path / "out").exists()


def test_nought_counts_more_than_a_file(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text('drop = ["flat"]\nseed = 5\nconfidence = 0.5\n')
    read = read_rules(tmp_path / "rules.toml", {"seed": 0, "confidence": 0.0})
    assert (read.seed, read.confidence) == (0, 0.0)


@pytest.mark.parametrize("shares", [(np.nan, 1, 1), (np.inf, 1, 1), (0, 0, 0), (1, -1, 1)])
def test_shares_that_are_none(shares: tuple[float, float, float]) -> None:
    with pytest.raises(UsageError, match="expected three shares"):
        Rules(split=shares)


def test_rules_of_a_file_and_those_given_over_them(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(
        'drop = ["flat"]\nwithout = ["Contempt"]\nsplit = [8, 1, 1]\nmerge.fearful = "surprise"\n'
    )
    read = read_rules(file, {"drop": ["dark"], "seed": None, "without": []})
    assert read == Rules(
        drop=("dark",), without=("contempt",), split=(8.0, 1.0, 1.0), merge={"fear": "surprise"}
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('drops = ["flat"]', "drops = .*expected keys label_from"),
        ('drop = "flat"', "drop = 'flat'"),
        ('label_from = "neighbour"', "label_from = 'neighbour'"),
        ("drop = [", "not readable as TOML"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "rules.toml").write_text(text)
    with pytest.raises(UsageError, match=says):
        read_rules(tmp_path / "rules.toml", {})


def _predictions(dataset: Dataset, wrong: str) -> OutOfFold:
    """Networks that agree with every label but those of one folder, which are anger to them."""
    rows = np.concatenate([dataset.usable(split) for split in SPLITS])
    ids, paths = dataset.column("id"), dataset.column("path")
    given = dataset.labels(rows, EMOTIONS)
    seen = np.where([paths[row].startswith(wrong) for row in rows], EMOTIONS.index("anger"), given)
    return OutOfFold(
        ids=tuple(ids[row] for row in rows),
        emotions=EMOTIONS,
        given=given,
        probabilities=(np.eye(8)[seen] * 0.92 + 0.01).astype(np.float32),
        about={"fingerprint": dataset.info["fingerprint"]},
    )


@pytest.mark.parametrize(
    "rules", [Rules(label_from="model", confidence=0.8), Rules(drop=("label_suspect",))]
)
def test_networks_correct_or_remove_labels(dirty: Dataset, tmp_path: Path, rules: Rules) -> None:
    predictions = _predictions(dirty, "Train/surprise")
    clean_dataset(dirty, tmp_path / "once", rules, predictions=predictions)
    once = Dataset.open(tmp_path / "once")
    kept = {
        label
        for path, label in zip(once.column("path"), once.column("label"), strict=True)
        if path.startswith("Train/surprise")
    }
    assert kept == ({"anger"} if rules.label_from else set())
    _, changes = clean_dataset(once, tmp_path / "twice", rules, predictions=predictions)
    assert changes == {}


def test_another_suspicion_drops_more_or_fewer(dirty: Dataset, tmp_path: Path) -> None:
    predictions = _predictions(dirty, "Train/surprise")
    suspects = predictions.suspects(dirty.column("id"), dirty.column("label"), least=0)
    middle = suspects[len(suspects) // 2].suspicion
    for least in (0.0, middle, 1.0):
        rules = Rules(drop=("label_suspect",), suspicion=least)
        expected = sum(suspect.suspicion >= least for suspect in suspects)
        if expected == len(suspects):
            with pytest.raises(DatasetError, match="no usable row"):
                clean_dataset(dirty, tmp_path / "0", rules, predictions=predictions)
            continue
        _, changes = clean_dataset(dirty, tmp_path / f"{least}", rules, predictions=predictions)
        assert changes.get("drop", 0) == expected


def test_only_merges_since_the_answers_apply_to_them(dirty: Dataset, tmp_path: Path) -> None:
    """What is called disgust by then was contempt, which is not anger."""
    first, _ = _clean(dirty, tmp_path / "1", Rules(merge={"disgust": "anger"}))
    second, _ = _clean(first, tmp_path / "2", Rules(merge={"contempt": "disgust"}))
    predictions = _predictions(second, "none")
    rules = Rules(label_from="model", confidence=0.5)
    _, changes = clean_dataset(second, tmp_path / "3", rules, predictions=predictions)
    assert "relabel" not in changes


def test_answers_about_other_images_are_refused(dirty: Dataset, tmp_path: Path) -> None:
    """Images of another source may have the same paths, and so the same ids."""
    predictions = replace(_predictions(dirty, "Train/surprise"), about={"fingerprint": "f" * 16})
    with pytest.raises(UsageError, match=r"--predictions: of dataset ffff.*; expected those of "):
        clean_dataset(dirty, tmp_path / "out", Rules(label_from="model"), predictions=predictions)


def _labelled_by_votes(root: Path, *rows: str) -> Dataset:
    for number in range(len(rows)):
        write_image(root / f"{number}.png", _face(number))
    lines = ["path,label,box,votes", *(f"{number}.png,{row}" for number, row in enumerate(rows))]
    (root / "t.csv").write_text("\n".join(lines) + "\n")
    import_dataset("csv", root, root / "dataset")
    return Dataset.open(root / "dataset")


def test_votes_of_merged_emotions_count_together(tmp_path: Path) -> None:
    dataset = _labelled_by_votes(tmp_path, *["fear,,0 0 3 3 4 0 0 0"] * 9)
    rules = Rules(label_from="votes", merge={"surprise": "sadness"})
    once, _ = _clean(dataset, tmp_path / "once", rules)
    assert set(once.column("label")) == {"sadness"}
    _, changes = _clean(once, tmp_path / "twice", rules)
    assert changes == []


def test_votes_against_a_new_label_go_as_they_would_be_learnt(tmp_path: Path) -> None:
    rows = ["fear,,0 1 0 0 9 0 0 0"] * 7 + ["happy,,0 1 0 0 9 0 0 0"]
    rows += ["fear,,0 9 0 0 1 0 0 0"] * 2
    dataset = _labelled_by_votes(tmp_path, *rows)
    ids, happy = dataset.column("id"), EMOTIONS.index("happiness")
    predictions = OutOfFold(
        ids=tuple(ids),
        emotions=EMOTIONS,
        given=np.array([EMOTIONS.index("fear")] * 7 + [happy] + [EMOTIONS.index("fear")] * 2),
        probabilities=np.tile((np.eye(8)[happy] * 0.92 + 0.01).astype(np.float32), (10, 1)),
        about={"fingerprint": dataset.info["fingerprint"]},
    )
    rules = Rules(label_from="model", confidence=0.8)
    _, changes = clean_dataset(dataset, tmp_path / "out", rules, predictions=predictions)
    assert changes == {"relabel": 9, "votes": 8}
    cleaned = Dataset.open(tmp_path / "out")
    assert set(cleaned.column("label")) == {"happiness"}
    assert [votes is None for votes in cleaned.column("votes")] == [True] * 8 + [False] * 2
    targets = cleaned.targets(np.arange(10), EMOTIONS)
    assert targets.argmax(axis=1).tolist() == [happy] * 10


def test_votes_for_what_a_label_is_merged_into_stay(tmp_path: Path) -> None:
    dataset = _labelled_by_votes(tmp_path, *["anger,,0 0 0 0 0 0 0 9"] * 10)
    rows = [row | {"folder_label": "contempt"} for row in dataset.manifest.to_pylist()]
    manifest = pa.Table.from_pylist(rows, schema=dataset.manifest.schema)
    rules = Rules(label_from="folder", merge={"contempt": "disgust"})
    cleaned, _ = _clean(replace(dataset, manifest=manifest), tmp_path / "out", rules)
    assert set(cleaned.column("label")) == {"disgust"}
    assert None not in cleaned.column("votes")


def test_a_vote_gives_a_label_but_no_box(tmp_path: Path) -> None:
    boxed = ["happy,0 0 9 9,0 9 0 0 0 0 0 0"] * 9
    dataset = _labelled_by_votes(
        tmp_path, *boxed, "happy,1 2 3,0 1 5 0 0 0 0 0", "grin,,0 1 5 0 0 0 0 0"
    )
    cleaned, _ = _clean(dataset, tmp_path / "out", Rules(label_from="votes"))
    *_, boxless, unnamed = cleaned.manifest.to_pylist()
    assert (boxless["label"], boxless["excluded"]) == ("sadness", "its face box is no box")
    assert (unnamed["label"], unnamed["excluded"], unnamed["problem"]) == ("sadness", None, None)


def test_asking_networks_needs_their_answers(dirty: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected --predictions FILE"):
        clean_dataset(dirty, tmp_path / "out", Rules(label_from="model"))


def test_failure_leaves_nothing_behind(dirty: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="own numbers are relFCs"):
        clean_dataset(dirty, tmp_path / "out", Rules(where=("beauty>3",)))
    with pytest.raises(DatasetError, match="leave no usable row"):
        clean_dataset(dirty, tmp_path / "out", Rules(where=("relFCs>5",), drop=("unlisted",)))
    assert list(tmp_path.iterdir()) == []
