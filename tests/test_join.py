"""Tests of joining: what rows keep, what leaks, how packed images meet, what is refused."""

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from mien.cli import app
from mien.data.audit.auditor import audit_dataset
from mien.data.audit.page import render_page
from mien.data.clean import clean_dataset
from mien.data.conditions import Condition
from mien.data.dataset import MANIFEST_SCHEMA, PART, Dataset
from mien.data.importers import import_dataset
from mien.data.join import join_datasets
from mien.data.rules import Rules
from mien.data.stream import write_stream
from mien.data.writer import NO_IMAGE
from mien.errors import ConfigError, DatasetError, UsageError
from mien.images import write_image
from mien.preprocess import InputSpec, fit
from mien.records import SPLITS
from mien.training.labelled import Labelled

CHANGED = {"id", "path", "split", "subject", "excluded", "shard", "row"}


def _add_faces(source: Path, rows: Sequence[str]) -> None:
    """Write a table, and a picture of 40x40 RGB for each of its rows that has none."""
    generator = np.random.default_rng(11)
    for row in rows:
        name = source / row.partition(",")[0]
        if not name.exists() and not name.name.startswith("gone"):
            write_image(name, generator.integers(0, 256, (40, 40, 3), dtype=np.uint8))
    table = ("path,label,split,subject,weight,age,x,y,w,h", *rows)
    (source / "labels.csv").write_text("\n".join(table) + "\n")


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory, ferplus_source: Path) -> Dataset:
    """Faces with persons, weights, ages and a box; some have the pixels of others in FER+."""
    source = tmp_path_factory.mktemp("mine") / "photos"
    source.mkdir()
    copied = {
        "of-test": ("Test", 0),
        "of-test-too": ("Test", 1),
        "of-valid": ("Valid", 0),
        "of-train": ("Train", 0),
        "boxed": ("Train", 1),
    }
    for name, (folder, number) in copied.items():
        published = sorted((ferplus_source / f"FER2013{folder}").glob("*.png"))
        shutil.copy(published[number], source / f"{name}.png")
    learnt = [f"{i}.png,happiness,train,{1 + i % 2},0.5,{20 + i},,,," for i in range(4)]
    held_out = ["4.png,sadness,valid,3,,,,,,", "5.png,anger,test,4,,,,,,"]
    _add_faces(
        source,
        [
            *learnt,
            *held_out,
            "boxed.png,fear,train,1,,,2,3,30,31",
            "gone.png,fear,train,1,,,,,,",
            "of-test.png,neutral,train,,,,,,,",
            "of-test-too.png,neutral,valid,,,,,,,",
            "of-valid.png,neutral,train,,,,,,,",
            "of-train.png,neutral,test,,,,,,,",
        ],
    )
    import_dataset("csv", source, source.parent / "mine", size=32, channels=3)
    return Dataset.open(source.parent / "mine")


def _joined(parts: Sequence[Dataset], out: Path, **options: Any) -> Dataset:
    join_datasets(parts, out, **options)
    return Dataset.open(out)


@pytest.fixture(scope="module")
def joined(
    tmp_path_factory: pytest.TempPathFactory, ferplus_dataset: Dataset, mine: Dataset
) -> Dataset:
    """The made-up FER+ and `mine` as one dataset."""
    return _joined([ferplus_dataset, mine], tmp_path_factory.mktemp("joined") / "both")


def _rows(dataset: Dataset) -> dict[str, dict[str, Any]]:
    return {row["path"]: row for row in dataset.manifest.to_pylist()}


def _why(dataset: Dataset, part: str) -> dict[str, str]:
    """Return why rows of a part are left out, by the names of their files."""
    rows = _rows(dataset).values()
    return {
        Path(row["path"]).stem: row["excluded"]
        for row in rows
        if row["path"].startswith(f"{part}/") and row["excluded"]
    }


def _without(dataset: Dataset, path: str, why: str) -> Dataset:
    rows = dataset.manifest.to_pylist()
    return dataset.with_column(
        "excluded", [why if row["path"] == path else row["excluded"] for row in rows]
    )


def test_rows_keep_all_that_their_part_says(
    joined: Dataset, ferplus_dataset: Dataset, mine: Dataset
) -> None:
    found = _rows(joined)
    for part in (ferplus_dataset, mine):
        for path, before in _rows(part).items():
            row = found.pop(f"{part.path.name}/{path}")
            for column in before.keys() - CHANGED:
                assert row[column] == before[column], column
            assert row["split"] == before["split"]
            assert (row["excluded"] is None) <= (before["excluded"] is None)
            assert row["age"] == before.get("age")
            assert row["part"] == part.path.name
    assert not found
    assert joined.values == ("age",)
    assert joined.manifest.column_names == [*MANIFEST_SCHEMA.names, PART.name, "age"]
    assert any(row["votes"] for row in _rows(joined).values())
    assert any(row["box"] for row in _rows(joined).values())


@pytest.mark.parametrize(
    ("asked", "spec"),
    [
        ({}, InputSpec(32, 1)),
        ({"size": 40}, InputSpec(40, 1)),
        ({"channels": 3}, InputSpec(32, 3)),
        ({"size": 64, "channels": 3}, InputSpec(64, 3)),
    ],
)
def test_pictures_stay_with_their_rows_and_are_fitted(
    tmp_path: Path,
    ferplus_dataset: Dataset,
    mine: Dataset,
    asked: dict[str, int],
    spec: InputSpec,
) -> None:
    joined = _joined([mine, ferplus_dataset], tmp_path / "out", **asked)
    assert joined.spec == spec
    place = {path: i for i, path in enumerate(joined.column("path"))}
    for part in (mine, ferplus_dataset):
        for i, path in enumerate(part.column("path")):
            if part.column("shard")[i] is not None:
                expected = fit(part.images(np.array([i]))[0], spec)
                row = np.array([place[f"{part.path.name}/{path}"]])
                np.testing.assert_array_equal(joined.images(row)[0], expected)


def test_notes_say_how_packed_images_changed(
    tmp_path: Path, joined: Dataset, ferplus_dataset: Dataset, mine: Dataset
) -> None:
    assert "ferplus was packed as 48x48 grey, and is 32x32 grey here." in joined.info["notes"]
    notes = _joined([mine, ferplus_dataset], tmp_path / "out", size=48, channels=3).info["notes"]
    assert (
        "ferplus was packed as 48x48 grey, and is 48x48 RGB here, in three equal channels." in notes
    )
    assert (
        "mine was packed as 32x32 RGB, and is 48x48 RGB here, enlarged without new detail." in notes
    )


def test_notes_pass_over_what_did_not_change(
    tmp_path: Path, ferplus_dataset: Dataset, mine: Dataset
) -> None:
    notes = _joined([mine, ferplus_dataset], tmp_path / "out", size=48).info["notes"]
    assert any(note.startswith("mine was packed") for note in notes)
    assert not any(note.startswith("ferplus was packed") for note in notes)
    # One copy of each is left out, or another face of the picture.
    assert not any("several parts" in note for note in notes)


def test_a_copy_of_a_held_out_image_leaves_what_learns_in_all_parts(joined: Dataset) -> None:
    why = _why(joined, "mine")
    assert why.pop("gone").startswith("missing")
    assert why == {
        "of-test": "same pixels as a test image",
        "of-test-too": "same pixels as a test image",
        "of-valid": "same pixels as a valid image",
    }
    assert list(_why(joined, "ferplus").values()) == ["same pixels as a test image"]
    (note,) = (note for note in joined.info["notes"] if "copies of held-out" in note)
    assert note == (
        "Left out when they were joined, as copies of held-out images of another part: 4."
    )


def test_a_part_for_training_only_leaves_the_figures_to_the_others(
    tmp_path: Path, ferplus_dataset: Dataset, mine: Dataset
) -> None:
    # As its user may write it, another way than at first.
    place = mine.path.parent / "nowhere" / ".." / mine.path.name
    joined = _joined([ferplus_dataset, mine], tmp_path / "out", train_only=[place])
    for split in ("valid", "test"):
        assert joined.info["counts"][split] == ferplus_dataset.info["counts"][split]
    assert {row["split"] for path, row in _rows(joined).items() if path.startswith("mine/")} == {
        "train"
    }
    assert _why(joined, "mine").keys() == {"gone", "of-test", "of-test-too", "of-valid"}
    assert not _why(joined, "ferplus")
    (note,) = (note for note in joined.info["notes"] if note.startswith("mine is for training"))
    assert "its 2 validation and 2 test images went to train" in note
    assert [part["train_only"] for part in joined.info["parts"]] == [False, True]
    clean_dataset(joined, tmp_path / "anew", Rules(split=(60, 20, 20)))
    assert note not in Dataset.open(tmp_path / "anew").info["notes"]


def test_what_a_part_left_out_stays_left_out(
    tmp_path: Path, ferplus_dataset: Dataset, mine: Dataset
) -> None:
    marked = _without(mine, "0.png", "same pixels as a test image")
    joined = _joined([ferplus_dataset, marked], tmp_path / "out", train_only=[mine.path])
    assert _why(joined, "mine")["0"] == "same pixels as a test image"


def test_a_copy_of_what_is_left_out_of_a_former_test_split_still_trains(
    tmp_path: Path, ferplus_dataset: Dataset, mine: Dataset
) -> None:
    marked = _without(mine, "of-train.png", "unsure")
    joined = _joined([ferplus_dataset, marked], tmp_path / "out", train_only=[mine.path])
    assert not _why(joined, "ferplus")
    (note,) = (note for note in joined.info["notes"] if note.startswith("mine is for training"))
    assert "its 2 validation and 1 test images went to train" in note


def test_the_first_person_of_two_parts_is_two_people(joined: Dataset, mine: Dataset) -> None:
    told = {subject for subject in mine.column("subject") if subject}
    found = {subject for subject in joined.column("subject") if subject}
    assert found == {f"mine/{subject}" for subject in told}


def test_names_of_people_that_parts_share_are_told(
    mine: Dataset, ferplus_dataset: Dataset, tmp_path: Path
) -> None:
    told = {subject for subject in mine.column("subject") if subject}
    shared = [*sorted(told)[:1], "nobody else"]
    names = [shared[i % 2] for i in range(len(ferplus_dataset))]
    info = join_datasets([mine, ferplus_dataset.with_column("subject", names)], tmp_path / "shared")
    (note,) = (note for note in info["notes"] if note.startswith("Names of people"))
    assert "several parts have: 1. They count as different people" in note
    apart = join_datasets([mine, ferplus_dataset], tmp_path / "apart")
    assert not any("Names of people" in note for note in apart["notes"])


def test_ids_are_unique_and_follow_from_the_part(
    tmp_path: Path, joined: Dataset, ferplus_dataset: Dataset, mine: Dataset
) -> None:
    again = _joined([mine, ferplus_dataset], tmp_path / "again")
    assert again.manifest.equals(joined.manifest)
    assert again.info == joined.info
    assert len(set(joined.column("id"))) == len(joined)


def test_parts_of_one_name_are_told_apart_in_any_order(
    tmp_path: Path, drawn_dataset: Dataset
) -> None:
    for number, folder in enumerate(("a", "b")):
        dropped = Rules(without=(drawn_dataset.emotions[number],))
        clean_dataset(drawn_dataset, tmp_path / folder / "faces", dropped)
    parts = [Dataset.open(tmp_path / folder / "faces") for folder in ("a", "b")]
    joined = [_joined(order, tmp_path / f"out-{i}") for i, order in enumerate((parts, parts[::-1]))]
    assert joined[0].manifest.equals(joined[1].manifest)
    names = {f"faces-{part.info['fingerprint']}" for part in parts}
    assert {path.partition("/")[0] for path in joined[0].column("path")} == names
    assert len(set(joined[0].column("id"))) == sum(len(part) for part in parts)
    shared = set(parts[0].column("sha256")) & set(parts[1].column("sha256"))
    assert any(f"they were joined: {len(shared)};" in note for note in joined[0].info["notes"])


def test_a_part_is_called_as_its_folder_is_however_it_is_written(
    tmp_path: Path, ferplus_dataset: Dataset, mine: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(mine.path, place)
    monkeypatch.chdir(place)
    joined = _joined([Dataset.open("."), ferplus_dataset], tmp_path / "out")
    assert joined.parts == ("caf?", "ferplus")


def test_the_description_says_what_the_parts_are(
    joined: Dataset, ferplus_dataset: Dataset, mine: Dataset
) -> None:
    for part, told in zip((ferplus_dataset, mine), joined.info["parts"], strict=True):
        for key in ("rows", "source", "source_format", "fingerprint"):
            assert told[key] == part.info[key]
    fingerprints = [part.info["fingerprint"] for part in (ferplus_dataset, mine)]
    assert joined.info["source"] == "ferplus (ferplus {}) + mine (csv {})".format(*fingerprints)


@pytest.mark.parametrize(
    ("condition", "left"), [("part=mine", {"mine"}), (" part != mine ", {"ferplus"})]
)
def test_cleaning_keeps_or_drops_a_part(
    tmp_path: Path, joined: Dataset, condition: str, left: set[str]
) -> None:
    rules = Rules(where=(condition,))
    _, changes = clean_dataset(joined, tmp_path / "out", rules)
    cleaned = Dataset.open(tmp_path / "out")
    assert set(cleaned.column("part")) == left
    parts = joined.column("part")
    assert changes == {"drop": sum(part not in left for part in parts)}
    reason = (tmp_path / "out" / "changes.jsonl").read_text().splitlines()[0]
    assert f'"part is {({*parts} - left).pop()}, not {condition.strip()}"' in reason
    assert clean_dataset(cleaned, tmp_path / "again", rules)[1] == {}


def test_a_name_of_several_parts_is_of_them_all() -> None:
    for part, of in (("both", True), ("both/mine", True), ("bothers", False), ("mine/both", False)):
        assert Condition.parse("part=both")(part) == of
        assert Condition.parse("part!=both")(part) != of


def test_training_learns_from_one_part(joined: Dataset) -> None:
    of_mine = Labelled.of(joined, "train", joined.spec, joined.emotions, where=["part=mine"])
    assert {joined.column("part")[row] for row in of_mine.rows} == {"mine"}


def test_a_part_that_is_none_is_refused(
    tmp_path: Path, joined: Dataset, drawn_dataset: Dataset
) -> None:
    rules = Rules(where=("part=mien",))
    for dataset, known in ((joined, "ferplus, mine"), (drawn_dataset, "none, it was not joined")):
        with pytest.raises(UsageError, match=f"part=mien: the dataset's parts are {known}"):
            clean_dataset(dataset, tmp_path / "out", rules)


def test_words_of_the_parts_are_those_of_the_whole(
    tmp_path: Path, ferplus_dataset: Dataset, mine: Dataset
) -> None:
    column = pa.array(["female"] * len(mine))
    worded = replace(
        mine,
        manifest=mine.manifest.append_column("gender", column),
        info={**mine.info, "words": ["gender"]},
    )
    joined = _joined([ferplus_dataset, worded], tmp_path / "out")
    assert joined.words == ("gender",)
    parts = joined.column("part")
    assert joined.column("gender") == ["female" if part == "mine" else None for part in parts]
    numbered = replace(ferplus_dataset, info={**ferplus_dataset.info, "values": ["gender"]})
    with pytest.raises(
        UsageError, match=r"mine: gender is words, and numbers in .*ferplus: rename"
    ):
        _joined([numbered, worded], tmp_path / "no")


def test_numbers_called_as_the_column_of_parts_are_refused(
    tmp_path: Path, ferplus_dataset: Dataset, mine: Dataset
) -> None:
    numbered = replace(mine, info={**mine.info, "values": ["part"]})
    with pytest.raises(UsageError, match="mine: its source has a column part"):
        join_datasets([ferplus_dataset, numbered], tmp_path / "out")


def test_a_joined_set_without_the_column_of_parts_is_damaged(
    tmp_path: Path, joined: Dataset
) -> None:
    shutil.copytree(joined.path, tmp_path / "old")
    pq.write_table(joined.manifest.drop_columns(PART.name), tmp_path / "old" / "manifest.parquet")
    with pytest.raises(DatasetError, match="the manifest lacks part; import or join it again"):
        Dataset.open(tmp_path / "old")


def test_an_empty_split_is_told_of_the_whole_not_of_its_parts(
    tmp_path: Path, drawn_dataset: Dataset, mine: Dataset
) -> None:
    halves = [drawn_dataset.emotions[:4], drawn_dataset.emotions[4:]]
    for name, gone in zip("ab", halves, strict=True):
        clean_dataset(drawn_dataset, tmp_path / name, Rules(without=gone, split=(90, 10, 0)))
    a, b = (Dataset.open(tmp_path / name) for name in "ab")
    told = _joined([a, b], tmp_path / "without").info["notes"]
    assert [note for note in told if "in test" in note] == [NO_IMAGE["test"]]
    told = _joined([a, mine], tmp_path / "with").info["notes"]
    assert not any("in test" in note for note in told)


def test_notes_name_emotions_that_only_some_parts_have(joined: Dataset) -> None:
    (note,) = (note for note in joined.info["notes"] if note.startswith("Not all parts"))
    assert note == (
        "Not all parts had these emotions when they were joined: surprise (ferplus), disgust "
        "(ferplus), contempt (ferplus)."
    )


def test_notes_of_parts_stay(joined: Dataset, ferplus_dataset: Dataset) -> None:
    told = ferplus_dataset.info["notes"]
    assert told
    assert {f"ferplus: {note}" for note in told} <= set(joined.info["notes"])


def test_a_joined_set_is_joined_audited_cleaned_and_streamed(
    tmp_path: Path, joined: Dataset, drawn_dataset: Dataset, mine: Dataset
) -> None:
    # Below 200 images, where the audit begins to look for pictures without a face.
    clean_dataset(drawn_dataset, tmp_path / "drawn", Rules(without=drawn_dataset.emotions[:3]))
    drawn = Dataset.open(tmp_path / "drawn")
    wider = _joined([drawn, joined], tmp_path / "wider")
    assert [part["name"] for part in wider.info["parts"]] == ["both", "drawn"]
    assert wider.info["parts"][1]["cleaned"] == drawn.info["cleaned"]
    assert [part["name"] for part in wider.info["parts"][0]["parts"]] == ["ferplus", "mine"]
    assert "both/mine/0.png" in wider.column("path")
    assert "both/mine/1" in wider.column("subject")
    assert set(wider.column("part")) == {"both/ferplus", "both/mine", "drawn"}
    assert wider.parts == ("both", "both/ferplus", "both/mine", "drawn")
    page = render_page(audit_dataset(wider), wider)
    assert f"drawn (folder {drawn.info['fingerprint']})" in page
    clean_dataset(wider, tmp_path / "cleaned", Rules(drop=("leak",)))
    cleaned = Dataset.open(tmp_path / "cleaned")
    assert audit_dataset(cleaned).summary["leak"] == 0
    assert cleaned.info["parts"] == wider.info["parts"]
    assert cleaned.parts == wider.parts
    assert write_stream(wider, str(tmp_path / "stream")).info["source_format"] == "join"
    with pytest.raises(UsageError, match="expected each once"):
        join_datasets([mine, wider], tmp_path / "twice")


@pytest.mark.parametrize(
    ("parts", "options", "says"),
    [
        (["mine"], {}, "1 dataset: expected two or more"),
        (["mine", "mine"], {}, "expected each once"),
        (["ferplus", "mine"], {"train_only": ["other"]}, "--train-only other: expected one of"),
        (["ferplus", "mine"], {"train_only": ["ferplus", "mine"]}, "names all parts"),
        (["ferplus", "mine"], {"size": 8}, "size 8: expected 16"),
        (["ferplus", "mine"], {"channels": 2}, "channels 2: expected 1"),
    ],
)
def test_what_cannot_be_joined_is_refused(
    tmp_path: Path,
    ferplus_dataset: Dataset,
    mine: Dataset,
    parts: list[str],
    options: dict[str, Any],
    says: str,
) -> None:
    known = {"ferplus": ferplus_dataset, "mine": mine}
    if names := options.get("train_only"):
        paths = [known[name].path if name in known else Path(name) for name in names]
        options = {"train_only": paths}
    with pytest.raises((UsageError, ConfigError), match=says):
        join_datasets([known[name] for name in parts], tmp_path / "out", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, ferplus_dataset: Dataset, mine: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    def to_nowhere(self: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        return real(Path("/dev/full") if mode == "wb" else self, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", to_nowhere)
    with pytest.raises(OSError, match="No space left on device"):
        join_datasets([ferplus_dataset, mine], tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_the_command_says_how_many_images_there_are(
    tmp_path: Path, ferplus_dataset: Dataset, mine: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[int, int, str]] = []

    @contextmanager
    def show() -> Iterator[Any]:
        def progress(items: Iterable[Path], *, total: int, doing: str) -> Iterator[Path]:
            listed = list(items)
            shown.append((len(listed), total, doing))
            yield from listed

        yield progress

    monkeypatch.setattr("mien.cli.data.show_progress", show)
    out = tmp_path / "out"
    paths = [str(ferplus_dataset.path), str(mine.path)]
    options = ["--train-only", paths[1], "--size", "24", "--channels", "3", "--out", str(out)]
    ran = CliRunner().invoke(app, ["data", "join", *paths, *options])
    assert ran.exit_code == 0, ran.output
    joined = Dataset.open(out)
    assert joined.spec == InputSpec(24, 3)
    assert shown == [(2, 2, "joining")]
    assert joined.info["counts"]["test"] == ferplus_dataset.info["counts"]["test"]
    counts = [sum(joined.info["counts"][split].values()) for split in SPLITS]
    (line,) = (line for line in ran.stdout.splitlines() if line.split()[:1] == ["all"])
    assert line.split()[1:] == [str(count) for count in counts]
