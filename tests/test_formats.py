"""Tests of the formats beside FER+, FER2013 and folders: each in its true layout."""

import io
import json
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from layouts import (
    AFFECTNET_ORDER,
    FER_ORDER,
    LAYOUTS,
    RAFDB_ORDER,
    draw_image,
    imported,
    lay_out,
    random_pixels,
    write_text,
)
from mien import cli
from mien.data.audit.auditor import audit_dataset
from mien.data.dataset import Dataset
from mien.data.formats import FORMATS
from mien.data.importers import import_dataset, recognise
from mien.errors import DatasetError, UsageError
from mien.labels import EMOTIONS, read_codes

# --- every format -------------------------------------------------------------------------------


def test_every_format_has_a_layout_here() -> None:
    assert set(LAYOUTS) == set(FORMATS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_auto_recognises_each_as_itself(tmp_path: Path, name: str) -> None:
    found, why = recognise(lay_out(name, tmp_path))
    assert found == name
    assert why
    assert "\n" not in why


@pytest.mark.parametrize("name", LAYOUTS)
def test_auto_recognises_what_it_can_import(tmp_path: Path, name: str) -> None:
    info = import_dataset(name, lay_out(name, tmp_path), tmp_path / "dataset", frames=1)
    assert sum(sum(split.values()) for split in info["counts"].values()) > 0
    assert info["source_format"] == name


def test_auto_says_where_several_tables_lie(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("path,label\n0.png,happy\n")
    with pytest.raises(DatasetError, match=r"2 tables \(a\.csv, b\.csv\): name the one"):
        recognise(tmp_path)


def test_auto_tells_what_there_is_instead(tmp_path: Path) -> None:
    for name in ("a.json", "b.json", "faces.tar", "readme"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(DatasetError) as raised:
        recognise(tmp_path)
    told = str(raised.value)
    assert "found 2 .json, 1 .tar, 1 without a suffix; " in told
    assert "faces.tar: an archive that is no zip: unpack it first; a csv" in told
    write_text(tmp_path / "annotation.csv", "order,label", "1,happy")
    with pytest.raises(
        DatasetError, match=r"annotation\.csv has the columns 'order, label'; a csv"
    ):
        recognise(tmp_path)


def test_auto_knows_nothing_of_strange_folders(tmp_path: Path) -> None:
    draw_image(tmp_path / "holiday/beach.png", 1)
    with pytest.raises(DatasetError, match="no layout that mien knows"):
        recognise(tmp_path)


@pytest.mark.parametrize("name", LAYOUTS)
def test_empty_folder_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError) as caught:
        import_dataset(name, tmp_path / "empty", tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


# --- each format --------------------------------------------------------------------------------


def test_affectnet(tmp_path: Path) -> None:
    rows = imported("affectnet", lay_out("affectnet", tmp_path))
    folder_ = "Manually_Annotated_Images"
    assert [rows[f"{folder_}/1/{i}.jpg"]["label"] for i in range(8)] == list(AFFECTNET_ORDER)
    for i, why in ((8, "none"), (9, "uncertain"), (10, "no face")):
        row = rows[f"{folder_}/1/{i}.jpg"]
        assert why in row["excluded"]
        assert row["problem"] is None
    assert rows[f"{folder_}/1/11.jpg"]["problem"] == "bad_label"
    assert rows[f"{folder_}/1/11.jpg"]["valence"] is None
    assert rows[f"{folder_}/2/v.jpg"]["split"] == "test"
    first = rows[f"{folder_}/1/3.jpg"]
    assert first["box"] == [4, 5, 20, 22]
    assert (first["valence"], first["arousal"]) == (0.3, -0.3)
    assert first["landmarks"][:2] == [0.5, 0.25]
    assert len(first["landmarks"]) == 136


def test_affectnet_npy(tmp_path: Path) -> None:
    rows = imported("affectnet-npy", lay_out("affectnet-npy", tmp_path))
    labels = [rows[f"train_set/images/{i}.jpg"]["label"] for i in range(8)]
    assert labels == list(AFFECTNET_ORDER)
    assert rows["val_set/images/0.jpg"]["split"] == "test"
    assert rows["train_set/images/99.jpg"]["problem"] == "missing"
    assert rows["train_set/images/77.jpg"]["problem"] == "unlisted"
    assert rows["train_set/images/1.jpg"]["valence"] == 0.5
    assert rows["train_set/images/1.jpg"]["arousal"] is None


def test_affectnet_kaggle(tmp_path: Path) -> None:
    rows = imported("affectnet-kaggle", lay_out("affectnet-kaggle", tmp_path))
    seen = {
        path: (row["label"], row["folder_label"], row["located"], row["problem"])
        for path, row in rows.items()
    }
    assert seen == {
        "Train/Anger/image1.jpg": ("surprise", "anger", "path", None),
        "Test/Anger/image2.jpg": ("anger", "anger", "path", None),
        "Train/Happy/image1.jpg": ("happiness", "happiness", "path", None),
        "Test/Fear/moved.jpg": ("sadness", "fear", "name", None),
        "sad/gone.jpg": ("sadness", None, None, "missing"),
        "Train/Sad/odd.jpg": (None, "sadness", "path", "bad_label"),
        "../outside.jpg": ("sadness", None, None, "missing"),
        "Train/Disgust/nobody.jpg": (None, "disgust", None, "unlisted"),
    }
    assert rows["Test/Fear/moved.jpg"]["split"] == "test"
    assert rows["Train/Anger/image1.jpg"]["relFCs"] == 0.87
    assert rows["Train/Sad/odd.jpg"]["relFCs"] is None


def test_affectnet_kaggle_leaves_out_a_row_whose_split_is_none(tmp_path: Path) -> None:
    """Where the file's folder says the split, that counts."""
    rows = ("0,anger/one.jpg,anger,,trian", "1,two.jpg,anger,,trian", "2,three.jpg,fear,,Testing")
    write_text(tmp_path / "s/labels.csv", ",pth,label,relFCs,subset", *rows)
    for seed, path in enumerate(("Test/anger/one.jpg", "two.jpg", "three.jpg")):
        draw_image(tmp_path / "s" / path, seed)
    import_dataset("affectnet-kaggle", tmp_path / "s", tmp_path / "d")
    dataset = Dataset.open(tmp_path / "d")
    told = zip(*(dataset.column(name) for name in ("split", "problem", "excluded")), strict=True)
    assert dict(zip(dataset.column("path"), told, strict=True)) == {
        "Test/anger/one.jpg": ("test", None, None),
        "two.jpg": ("train", "bad_label", "subset 'trian' is none of train, valid and test"),
        "three.jpg": ("test", None, None),
    }


def test_affectnet_kaggle_says_how_files_were_found(tmp_path: Path) -> None:
    LAYOUTS["affectnet-kaggle"](tmp_path / "s")
    table = next((tmp_path / "s").rglob("*.csv"))
    for number, source in enumerate((tmp_path / "s", table)):
        info = import_dataset("affectnet-kaggle", source, tmp_path / f"{number}")
        assert any("were located by path" in note for note in info["notes"])
        assert (info["values"], info["words"]) == (["relFCs"], [])
        assert audit_dataset(Dataset.open(tmp_path / f"{number}")).summary["unlisted"] == 1


def _table_of(root: Path, name: str, *lines: str) -> list[dict[str, Any]]:
    for i in range(4):
        draw_image(root / f"{i}.png", i)
    write_text(root / name, *lines)
    assert recognise(root)[0] == "csv"
    import_dataset("csv", root, root.parent / "d")
    rows: list[dict[str, Any]] = Dataset.open(root.parent / "d").manifest.to_pylist()
    return rows


def test_csv_of_ones_under_the_emotions_names(tmp_path: Path) -> None:
    # As Roboflow writes classes, blanks and all.
    rows = _table_of(
        tmp_path / "s",
        "_classes.csv",
        "filename, Angry, Happy, Sad, Unlabeled",
        "0.png, 1, 0, 0, 0",
        "1.png, 0, 1, 0, 0",
        "2.png, 0, 1, 1, 0",
        "3.png, 0, 0, 0, 1",
    )
    assert [row["label"] for row in rows] == ["anger", "happiness", None, None]
    assert [row["excluded"] for row in rows[2:]] == ["no emotion has the most votes"] * 2
    notes = Dataset.open(tmp_path / "d").info["notes"]
    assert "No column says the label: it is the emotion that has the most votes." in notes


def test_opinions_of_several_annotators_are_votes(tmp_path: Path) -> None:
    rows = _table_of(
        tmp_path / "s",
        "ratings.csv",
        "image,rater,emotion,split",
        "0.png,ann,angry,train",
        "1.png,ann,happy,test",
        "0.png,bob,angry,train",
        "0.png,cem,sad,train",
        "1.png,bob,sad,test",
        "2.png,ann,unsure,test",
        "2.png,bob,fear,test",
        "0.png,cem,fear,train",
        "3.png,cem,no idea,train",
    )
    assert [row["path"] for row in rows] == ["0.png", "1.png", "2.png", "3.png"]
    assert [row["label"] for row in rows] == ["anger", None, "fear", None]
    votes = dict(zip(EMOTIONS, rows[0]["votes"], strict=True))
    assert [votes[name] for name in ("anger", "sadness", "fear")] == [0.5, 0.25, 0.25]
    assert rows[1]["excluded"] == "no emotion has the most votes"
    assert rows[3]["excluded"] == "label 'no idea' names no emotion"
    (note,) = (n for n in Dataset.open(tmp_path / "d").info["notes"] if "rater" in n)
    assert note.startswith("What several say of a face, by column 'rater', are its votes: 8 of 3")


def test_opinions_of_two_faces_of_one_image_stay_apart(tmp_path: Path) -> None:
    rows = _table_of(
        tmp_path / "s",
        "ratings.csv",
        "image,rater,emotion,x,y,w,h",
        *(f"0.png,{who},angry,0,0,15,15" for who in "ab"),
        *(f"0.png,{who},happy,16,0,15,15" for who in "ab"),
    )
    assert [row["label"] for row in rows[:2]] == ["anger", "happiness"]
    assert [row["box"][0] for row in rows[:2]] == [0, 16]
    assert len(rows) == 2 + 3


def test_one_annotator_an_image_gives_no_votes(tmp_path: Path) -> None:
    rows = _table_of(
        tmp_path / "s", "r.csv", "image,rater,emotion", "0.png,ann,angry", "1.png,bob,sad"
    )
    assert [row["label"] for row in rows[:2]] == ["anger", "sadness"]
    assert [row["rater"] for row in rows[:2]] == ["ann", "bob"]
    assert rows[0]["votes"] is None


def test_csv_of_boxes_as_roboflow_writes_it(tmp_path: Path) -> None:
    rows = _table_of(
        tmp_path / "s",
        "_annotations.csv",
        "filename,width,height,class,xmin,ymin,xmax,ymax",
        "0.png,32,32,angry,2,3,22,31",
    )
    assert (rows[0]["label"], rows[0]["box"]) == ("anger", [2, 3, 20, 28])


def test_a_table_may_name_what_is_hidden(tmp_path: Path) -> None:
    draw_image(tmp_path / "s/.faces/1.png", 1)
    draw_image(tmp_path / "s/.faces/2.png", 2)
    write_text(tmp_path / "s/t.csv", "path,label", ".faces/1.png,happy")
    assert recognise(tmp_path / "s")[0] == "csv"
    info = import_dataset("csv", tmp_path / "s", tmp_path / "d")
    rows = Dataset.open(tmp_path / "d").manifest.to_pylist()
    assert [(row["path"], row["excluded"]) for row in rows] == [(".faces/1.png", None)]
    assert not any("no image" in note for note in info["notes"])


def test_json_lines_are_a_table(tmp_path: Path) -> None:
    rows = _table_of(
        tmp_path / "s",
        "metadata.jsonl",
        '{"file_name": "0.png", "label": "angry", "box": [2, 3, 20, 28], "split": "train"}',
        "",
        '{"file_name": "1.png", "label": "Happy", "split": "test", "mood": "odd"}',
        '{"label": null, "file_name": "2.png"}',
    )
    assert [row["label"] for row in rows] == ["anger", "happiness", None, None]
    assert [row["split"] for row in rows[:2]] == ["train", "test"]
    assert rows[0]["box"] == [2, 3, 20, 28]
    assert rows[2]["excluded"] == "no label"


def test_json_lines_that_are_none_name_the_line(tmp_path: Path) -> None:
    table = tmp_path / "faces.jsonl"
    for broken in ("[1, 2]", '{"file_name": ', "[" * 100_000):
        write_text(table, '{"file_name": "0.png", "label": "sad"}', broken)
        with pytest.raises(DatasetError, match=r"faces\.jsonl line 2: no JSON object"):
            import_dataset("csv", table, tmp_path / "out")


def test_tables_of_splits_may_be_called_after_more(tmp_path: Path) -> None:
    for i, name in enumerate(("train_labels", "test_labels")):
        draw_image(tmp_path / f"s/{i}.png", i)
        write_text(tmp_path / f"s/{name}.csv", "file,label", f"{i}.png,happy")
    assert recognise(tmp_path / "s")[0] == "csv"
    import_dataset("csv", tmp_path / "s", tmp_path / "out")
    rows = Dataset.open(tmp_path / "out").manifest.to_pylist()
    assert {row["path"]: row["split"] for row in rows} == {"0.png": "train", "1.png": "test"}


def test_rows_take_no_image_of_another_split(tmp_path: Path) -> None:
    """Equal names in each split, and images of test that are not there."""
    root = tmp_path / "s"
    for i in range(2):
        draw_image(root / f"train/{i}.png", i)
        draw_image(root / f"valid/{i}.png", 10 + i)
    for split in ("train", "valid", "test"):
        write_text(root / f"{split}.csv", "filename,label", "0.png,happy", "1.png,sad")
    rows = list(imported("csv", root).values())
    assert {row["path"] for row in rows if row["problem"] is None} == {
        f"{split}/{i}.png" for split in ("train", "valid") for i in range(2)
    }
    missing = [row for row in rows if row["problem"] == "missing"]
    assert {(row["split"], row["label"]) for row in missing} <= {
        ("test", "happiness"), ("test", "sadness")
    }  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "cells", "box"),
    [
        ("bbox", '"[2, 3, 20, 28]"', [2, 3, 20, 28]),
        ("bbox_x1,bbox_y1,bbox_x2,bbox_y2", "2,3,22,31", [2, 3, 20, 28]),
        ("x0,y0,x1,y1", "2,3,22,31", [2, 3, 20, 28]),
        ("xmin,ymin,width,height", "2,3,20,28", [2, 3, 20, 28]),
        ("x_center,y_center,width,height", "12,17,20,28", [2, 3, 20, 28]),
        ("face_left,face_top,face_right,face_bottom", "2,3,22,31", [2, 3, 20, 28]),
        ("cx,cy,w,h", "0.5,0.5,0.5,0.25", [8, 12, 16, 8]),
    ],
)
def test_csv_boxes_by_many_names(tmp_path: Path, columns: str, cells: str, box: list[int]) -> None:
    rows = _table_of(tmp_path / "s", "t.csv", f"path,label,{columns}", f"0.png,happy,{cells}")
    assert rows[0]["box"] == box


def test_csv_columns_that_may_be_of_boxes_are_told(tmp_path: Path) -> None:
    _table_of(tmp_path / "s", "t.csv", "path,label,bbox_middle,xmin", "0.png,happy,3,4")
    notes = Dataset.open(tmp_path / "d").info["notes"]
    assert any(note.startswith("Columns that may be of boxes, and are none") for note in notes)


@pytest.mark.parametrize("columns", [("bbox",), ("xmin", "ymin", "xmax", "ymax")])
@pytest.mark.parametrize("unit", [1, 32])
def test_parquet_boxes(tmp_path: Path, columns: tuple[str, ...], unit: int) -> None:
    file = io.BytesIO()
    Image.fromarray(random_pixels(1)).save(file, "PNG")
    edges = [8 / unit, 8 / unit, 24 / unit, 16 / unit]
    if len(columns) > 1:
        held: dict[str, list[Any]] = {c: [edge, 0] for c, edge in zip(columns, edges, strict=True)}
    else:
        held = {"bbox": [[*edges[:2], 16 / unit, 8 / unit], [1.0]]}
    table = pa.table({"image": [file.getvalue()] * 2, "label": ["happy", "sad"], **held})
    (tmp_path / "s").mkdir()
    pq.write_table(table, tmp_path / "s/train.parquet")
    good, bad = imported("parquet", tmp_path / "s").values()
    assert good["box"] == [8, 8, 16, 8]
    assert bad["excluded"] == "its face box is no box"


def test_all_images_in_one_folder_of_a_split_are_found(tmp_path: Path) -> None:
    """As Kaggle's competitions have them: train.csv and valid.csv of what lies in train/."""
    root = tmp_path / "s"
    for i in range(4):
        draw_image(root / f"train/{i}:{i}.png", i)
    for name, at in (("train", (0, 1)), ("valid", (2, 3))):
        write_text(root / f"{name}.csv", "filename,label", *(f"{i}:{i}.png,happy" for i in at))
    rows = imported("csv", root)
    assert {path: row["split"] for path, row in rows.items()} == {
        **dict.fromkeys(("train/0:0.png", "train/1:1.png"), "train"),
        **dict.fromkeys(("train/2:2.png", "train/3:3.png"), "valid"),
    }


def test_a_missing_image_of_a_folder_is_not_another_folders(tmp_path: Path) -> None:
    draw_image(tmp_path / "s/day1/img/1.png", 1)
    draw_image(tmp_path / "s/backup/day1/img/0.png", 2)
    write_text(tmp_path / "s/t.csv", "path,label", "day1/img/0.png,happy", "day1/img/1.png,sad")
    rows = imported("csv", tmp_path / "s")
    assert rows["day1/img/0.png"]["problem"] == "missing"


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("metadata.csv", ("path,category", "happy/0.png,indoor")),
        ("metadata.csv", ("path,surprise", "happy/0.png,0.5")),
        ("faces.json", ('{"images": [], "annotations": [], "categories": ['
                        '{"id": 1, "name": "normal"}, {"id": 2, "name": "neutral"}]}',)),
        ("classes.txt", ("angry", "happy")),
    ],
)  # fmt: skip
def test_side_files_do_not_hide_folders_of_emotions(
    tmp_path: Path, name: str, lines: tuple[str, ...]
) -> None:
    for i, emotion in enumerate(("happy", "sad")):
        draw_image(tmp_path / f"s/{emotion}/{i}.png", i)
        write_text(tmp_path / f"s/{emotion}/{i}.txt", "a caption of five words or more")
    write_text(tmp_path / "s" / name, *lines)
    assert recognise(tmp_path / "s")[0] == "folder"


def test_another_edition_of_a_table_is_no_part_of_it(tmp_path: Path) -> None:
    draw_image(tmp_path / "s/0.png", 1)
    for name in ("train", "train_old", "test"):
        write_text(tmp_path / f"s/{name}.csv", "path,label", "0.png,happy")
    with pytest.raises(DatasetError, match="expected one csv here"):
        import_dataset("csv", tmp_path / "s", tmp_path / "d")


def test_classes_of_schools_are_no_labels(tmp_path: Path) -> None:
    rows = _table_of(
        tmp_path / "s", "t.csv", "path,class,happy,sad", "0.png,3B,2,1", "1.png,3B,0,4"
    )
    assert [row["label"] for row in rows[:2]] == ["happiness", "sadness"]


def test_one_face_that_two_saw_makes_no_votes_of_the_others(tmp_path: Path) -> None:
    rows = _table_of(
        tmp_path / "s", "t.csv", "path,rater,label,split",
        *("0.png,a,happy,Train", "0.png,b,happy,train", "1.png,a,sad,val"),
    )  # fmt: skip
    assert [row["votes"] is None for row in rows[:2]] == [False, True]
    assert (rows[0]["split"], rows[1]["given"]) == ("train", "sad")


@pytest.mark.parametrize("cell", ["17", "None", '"{""x"": 3}"'])
def test_a_column_called_box_that_holds_none_is_left_out(tmp_path: Path, cell: str) -> None:
    rows = _table_of(tmp_path / "s", "t.csv", "path,label,bbox", f"0.png,happy,{cell}")
    assert (rows[0]["label"], rows[0]["box"], rows[0]["excluded"]) == ("happiness", None, None)
    notes = " ".join(Dataset.open(tmp_path / "d").info["notes"])
    assert "Columns that may be of boxes, and are none by the names that are known: bbox" in notes


def test_participants_who_label_are_annotators(tmp_path: Path) -> None:
    rows = _table_of(
        tmp_path / "s",
        "crowd.csv",
        "image,participant_id,emotion",
        *(f"{i}.png,{who},{'happy' if who < 'c' else 'sad'}" for i in range(4) for who in "abc"),
    )
    assert [row["label"] for row in rows] == ["happiness"] * 4
    assert {row["subject"] for row in rows} == {None}


def test_people_shown_together_are_no_annotators(tmp_path: Path) -> None:
    rows = _table_of(
        tmp_path / "s",
        "t.csv",
        "image,person,emotion,x,y,w,h",
        *(f"{i}.png,p{i}{n},happy,{16 * n},0,15,15" for i in range(4) for n in range(2)),
    )
    assert [row["subject"] for row in rows] == [f"p{i}{n}" for i in range(4) for n in range(2)]


def test_a_face_is_where_one_of_its_annotators_puts_it(tmp_path: Path) -> None:
    rows = _table_of(
        tmp_path / "s",
        "r.csv",
        "image,rater,emotion,split",
        *("0.png,a,happy,", "0.png,b,happy,test", "1.png,a,sad,train", "1.png,b,sad,test"),
        *("2.png,a,sad,train", "2.png,b,sad,train"),
    )
    assert [row["split"] for row in rows[::2]] == ["test", "train"]
    assert rows[1]["excluded"] == "split 'test and train' is none of train, valid and test"
    assert "rater" not in rows[0]


def test_nameless_annotators_count_one_by_one(tmp_path: Path) -> None:
    rows = _table_of(
        tmp_path / "s",
        "r.csv",
        "image,rater,emotion",
        *(f"0.png,,{e}" for e in ("happy", "happy", "sad")),
    )
    assert rows[0]["label"] == "happiness"
    assert max(rows[0]["votes"]) == pytest.approx(2 / 3)


def test_json_lines_may_have_other_keys_each(tmp_path: Path) -> None:
    rows = _table_of(
        tmp_path / "s",
        "m.jsonl",
        '{"file_name": "0.png"}',
        '{"file_name": "1.png", "label": "sad", "split": "test"}',
        '{"file_name": "2.png", "label": "\\ud800"}',
    )
    assert rows[1]["split"] == "test"
    assert rows[2]["given"] == "?"


def test_a_table_of_another_kind_beside_a_csv_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s/log.jsonl").write_text('{"epoch": 1}\n')
    rows = _table_of(tmp_path / "s", "labels.csv", "path,label", "0.png,happy")
    assert rows[0]["label"] == "happiness"


def test_augmented_versions_of_one_picture_stay_together(tmp_path: Path) -> None:
    for i in range(40):
        for version in range(3):
            name = f"{i}_jpg.rf.{i:08x}{version}.png"
            draw_image(tmp_path / f"s/{'happy' if i % 2 else 'sad'}/{name}", 3 * i + version)
    rows = imported("folder", tmp_path / "s")
    splits: dict[str, set[str]] = {}
    for path, row in rows.items():
        splits.setdefault(path.partition(".rf.")[0], set()).add(row["split"])
    assert len(splits) == 40 and all(len(of) == 1 for of in splits.values())


def test_rafdb_counted_from_0_is_refused(tmp_path: Path) -> None:
    for i in range(7):
        draw_image(tmp_path / f"s/{i}/train_0000{i}_aligned.jpg", i)
    with pytest.raises(DatasetError, match="count from 0, RAF-DB's from 1 to 7"):
        import_dataset("rafdb", tmp_path / "s", tmp_path / "out")
    with pytest.raises(DatasetError, match="its folders are numbers"):
        recognise(tmp_path / "s")
    source = lay_out("rafdb", tmp_path)
    table = next(source.rglob("list_patition_label.txt"))
    table.write_text(table.read_text() + "train_00001.jpg 0\n")
    with pytest.raises(DatasetError, match="ids from 0, RAF-DB's go from 1 to 7"):
        import_dataset("rafdb", source, tmp_path / "out")


def test_rafdb(tmp_path: Path) -> None:
    rows = imported("rafdb", lay_out("rafdb", tmp_path))
    labels = [rows[f"Image/aligned/train_{i:05d}_aligned.jpg"]["label"] for i in range(1, 8)]
    assert labels == list(RAFDB_ORDER)
    test = rows["Image/aligned/test_0001_aligned.jpg"]
    assert (test["split"], test["label"]) == ("test", "happiness")
    assert rows["Image/aligned/test_0002_aligned.jpg"]["problem"] == "bad_label"


def test_rafdb_as_its_authors_hand_it_out(tmp_path: Path) -> None:
    root = lay_out("rafdb", tmp_path)
    shutil.make_archive(str(root / "Image/aligned"), "zip", root / "Image", "aligned")
    shutil.rmtree(root / "Image/aligned")
    assert recognise(root)[0] == "rafdb"
    import_dataset("rafdb", root, tmp_path / "d")
    rows = {row["path"]: row for row in Dataset.open(tmp_path / "d").manifest.to_pylist()}
    row = rows["Image/aligned/train_00004_aligned.jpg"]
    assert (row["label"], row["given"], row["excluded"]) == ("happiness", "4", None)


def test_rafdb_in_folders(tmp_path: Path) -> None:
    root = tmp_path / "s"
    for split, count in (("train", 2), ("test", 1)):
        for number in range(7 * count):
            code = number % 7 + 1
            name = f"{split}_{number:05d}_aligned.jpg"
            draw_image(root / f"DATASET/{split}/{code}/{name}", 100 * count + number)
    draw_image(root / "DATASET/train/4/holiday.jpg", 999)
    write_text(root / "train_labels.csv", "image,label", "train_00000_aligned.jpg,1")
    write_text(root / "test_labels.csv", "image,label", "test_00000_aligned.jpg,1")
    assert recognise(root)[0] == "rafdb"
    import_dataset("rafdb", root, tmp_path / "d")
    rows = {row["path"]: row for row in Dataset.open(tmp_path / "d").manifest.to_pylist()}
    tested = [rows[f"DATASET/test/{i + 1}/test_{i:05d}_aligned.jpg"] for i in range(7)]
    assert [row["label"] for row in tested] == list(RAFDB_ORDER)
    assert {row["split"] for row in rows.values() if "/test/" in row["path"]} == {"test"}
    assert rows["DATASET/train/4/holiday.jpg"]["problem"] == "bad_label"


def test_numbered_folders_of_other_names_are_not_rafdbs(tmp_path: Path) -> None:
    for code in range(1, 8):
        draw_image(tmp_path / f"s/train/{code}/{code}.jpg", code)
    with pytest.raises(DatasetError, match=r"its folders are numbers \(1, 2, 3, 4, 5, 6, 7\)"):
        recognise(tmp_path / "s")
    with pytest.raises(DatasetError, match=r"no list_patition_label\.txt here"):
        import_dataset("rafdb", tmp_path / "s", tmp_path / "d")


def test_expw(tmp_path: Path) -> None:
    rows = imported("expw", lay_out("expw", tmp_path))
    crowd = [rows[f"image/origin/crowd.jpg#{i}"] for i in range(7)]
    assert [row["label"] for row in crowd] == list(FER_ORDER)
    assert crowd[3]["box"] == [3, 6, 20, 20]
    assert crowd[3]["confidence"] == 60.5
    assert len({row["split"] for row in crowd}) == 1


def test_ckplus(tmp_path: Path) -> None:
    rows = imported("ckplus", lay_out("ckplus", tmp_path))
    labels = [row["label"] for row in rows.values()]
    assert labels[:8] == [*FER_ORDER, "contempt"]


def test_ckplus_folders_keep_people_together(tmp_path: Path) -> None:
    for person in range(12):
        for frame in range(3):
            name = f"S{person:03d}_001_{frame:08d}.png"
            draw_image(tmp_path / "s" / EMOTIONS[person % 4] / name, 100 * person + frame)
    assert recognise(tmp_path / "s")[0] == "ckplus"
    import_dataset("ckplus", tmp_path / "s", tmp_path / "d")
    rows = Dataset.open(tmp_path / "d").manifest.to_pylist()
    for person in range(12):
        of_person = {row["split"] for row in rows if row["subject"] == f"S{person:03d}"}
        assert len(of_person) == 1


def test_ckplus_as_its_authors_hand_it_out(tmp_path: Path) -> None:
    root = tmp_path / "s"
    number = 0
    for person in range(10):
        for frame in range(1, 8):
            number += 1
            name = f"S{person:03d}_001_{frame:08d}.png"
            draw_image(root / f"cohn-kanade-images/S{person:03d}/001/{name}", number)
        if person < 8:
            label = root / f"Emotion/S{person:03d}/001/S{person:03d}_001_00000007_emotion.txt"
            write_text(label, f"   {person + 1:.7e}")
    write_text(root / "Emotion/S099/001/S099_001_00000009_emotion.txt", "   1.0000000e+00")
    assert recognise(root)[0] == "ckplus"
    import_dataset("ckplus", root, tmp_path / "d")
    rows = Dataset.open(tmp_path / "d").manifest.to_pylist()
    codes = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
    for person in range(10):
        own = [row for row in rows if row["subject"] == f"S{person:03d}"]
        peak = [codes[person]] * 3 if person < 7 else [None] * 3
        assert [row["label"] for row in own] == [
            "neutral" if person < 7 else None,
            *[None] * 3,
            *peak,
        ]
        assert len({row["split"] for row in own}) == 1
        problem = None if person < 7 else "bad_label" if person < 8 else "unlisted"
        assert {row["problem"] for row in own} == {problem}
    between = {row["excluded"] for row in rows if row["subject"] == "S000" and not row["label"]}
    assert between == {"between the neutral face and the peak of the emotion"}
    assert (rows[-1]["path"], rows[-1]["problem"]) == ("S099_001_00000009.png", "missing")


def _sequence(root: Path, frames: int, peak: int, *, below: str = "Emotion") -> None:
    for frame in range(1, frames + 1):
        draw_image(root / f"images/S001/001/S001_001_{frame:08d}.png", frame)
    write_text(root / f"{below}/S001_001_{peak:08d}_emotion.txt", "   3.0000000e+00")


@pytest.mark.parametrize(
    ("frames", "peak", "labels"),
    [
        pytest.param(3, 3, ["neutral", *["disgust"] * 2], id="a-short-sequence"),
        pytest.param(
            8, 6, ["neutral", *[None] * 2, *["disgust"] * 3, *[None] * 2], id="beyond-the-peak"
        ),
    ],
)
def test_in_ckplus_neutral_comes_first_and_the_emotion_up_to_its_peak(
    tmp_path: Path, frames: int, peak: int, labels: list[str | None]
) -> None:
    _sequence(tmp_path / "s", frames, peak)
    import_dataset("ckplus", tmp_path / "s", tmp_path / "d")
    assert Dataset.open(tmp_path / "d").column("label") == labels


def test_two_emotions_of_one_sequence_are_refused(tmp_path: Path) -> None:
    _sequence(tmp_path / "s", 8, 8)
    _sequence(tmp_path / "s", 8, 6, below="Emotion/old")
    with pytest.raises(DatasetError, match="two files of the emotion of S001_001; keep one"):
        import_dataset("ckplus", tmp_path / "s", tmp_path / "d")


@pytest.mark.parametrize(
    ("name", "path", "row"),
    [
        (
            "rafd",
            "Rafd045_01_Caucasian_female_contemptuous_left.jpg",
            ("contempt", "01", {"camera": 45, "group": "caucasian", "gender": "female"}),
        ),
        (
            "rafd",
            "Rafd045_65_Moroccan_male_fearful_right.jpg",
            ("fear", "65", {"camera": 45, "group": "moroccan", "gaze": "right"}),
        ),
        (
            "cfd",
            "CFD/WF-001/CFD-WF-001-003-HC.jpg",
            ("happiness", "WF-001", {"ethnicity": "white", "gender": "female"}),
        ),
        (
            "cfd",
            "CFD/BM-203/CFD-BM-203-006-A.jpg",
            ("anger", "BM-203", {"ethnicity": "black", "gender": "male"}),
        ),
        ("nimstim", "45M_SP_O.BMP", ("surprise", "45M", {"gender": "male", "mouth": "open"})),
        ("faces", "004_o_m_d_b.jpg", ("disgust", "004", {"age": "old", "gender": "male"})),
        (
            "ravdess",
            "Video_Speech_Actor_12/02-01-06-01-01-01-12.mp4#t=0.100",
            ("fear", "12", {"intensity": 1, "gender": "female"}),
        ),
        (
            "crema-d",
            "VideoFlash/1091_DFA_HAP_XX.avi#t=0.100",
            ("happiness", "1091", {"level": "unspecified"}),
        ),
    ],
)
def test_file_names_say_emotion_person_and_more(
    tmp_path: Path,
    name: str,
    path: str,
    row: tuple[str, str, dict[str, object]],
) -> None:
    root = lay_out(name, tmp_path)
    rows = imported(name, root, frames=1)
    label, subject, others = row
    assert rows[path]["given"] in path
    assert (rows[path]["label"], rows[path]["subject"]) == (label, subject)
    assert {key: rows[path][key] for key in others} == others
    # What is left out is calm, which is none of the eight.
    left_out = {row["path"]: row["excluded"] for row in rows.values() if row["excluded"]}
    assert set(left_out.values()) <= {"calm is none of the eight emotions"}
    assert len(left_out) == (2 if name in {"nimstim", "ravdess"} else 0)
    assert len({(row["subject"], row["split"]) for row in rows.values()}) == 2


NAMINGS = {
    "ckplus": "S{person:03d}_001_{frame:08d}.png",
    "kdef": "{session}F{person:02d}{emotion}S.JPG",
    "jaffe": "{first}A.{emotion}{frame}.{person}.png",
}


@pytest.mark.parametrize("naming", NAMINGS)
def test_folders_of_emotions_keep_the_persons_of_names_together(
    tmp_path: Path, naming: str
) -> None:
    persons = {}
    for person in range(12):
        for frame in range(3):
            name = NAMINGS[naming].format(
                person=person,
                frame=frame,
                session="AB"[frame % 2],
                emotion=("AN", "HA", "SA")[frame],
                first="ABCDEFGHIJKL"[person],
            )
            persons[name] = person
            draw_image(tmp_path / "s" / ("anger", "joy", "sad")[frame] / name, 100 * person + frame)
    draw_image(tmp_path / "s/anger/stray.png", 9999)
    found, _ = recognise(tmp_path / "s")
    assert found == ("ckplus" if naming == "ckplus" else "folder")
    for name in {found, "folder"}:
        import_dataset(name, tmp_path / "s", tmp_path / name)
        rows = Dataset.open(tmp_path / name).manifest.to_pylist()
        of_person = {(persons.get(Path(r["path"]).name, -1), r["split"]) for r in rows}
        assert len(of_person) == 13
        assert {split for _, split in of_person} == {"train", "valid", "test"}


def test_kdef(tmp_path: Path) -> None:
    rows = imported("kdef", lay_out("kdef", tmp_path))
    first = [rows[path] for path in sorted(rows) if path.startswith("KDEF/AF01/")]
    assert [(row["given"], row["label"], row["angle"]) for row in first] == [
        ("AF", "fear", 0),
        ("AN", "anger", -45),
        ("DI", "disgust", 45),
        ("HA", "happiness", -90),
        ("NE", "neutral", 90),
        ("SA", "sadness", 0),
        ("SU", "surprise", -45),
    ]
    assert len({(row["subject"], row["split"]) for row in rows.values()}) == 2
    assert {(row["subject"], row["gender"]) for row in rows.values()} == {
        ("F01", "female"),
        ("M35", "male"),
    }


def test_jaffe(tmp_path: Path) -> None:
    rows = imported("jaffe", lay_out("jaffe", tmp_path))
    labels = [row["label"] for path, row in rows.items() if path.startswith("jaffe/KA")]
    assert sorted(labels) == sorted({*EMOTIONS} - {"contempt"})
    assert rows["jaffe/KA.FE1.3.tiff"]["label"] == "fear"
    assert len({(row["subject"], row["split"]) for row in rows.values()}) == 2


def test_a_stray_image_among_jaffes_is_listed(tmp_path: Path) -> None:
    LAYOUTS["jaffe"](tmp_path / "s")
    draw_image(tmp_path / "s/jaffe/logo.png", 99)
    assert recognise(tmp_path / "s")[0] == "jaffe"
    import_dataset("jaffe", tmp_path / "s", tmp_path / "d")
    rows = {row["path"]: row for row in Dataset.open(tmp_path / "d").manifest.to_pylist()}
    assert rows["jaffe/logo.png"]["excluded"] == "no name of JAFFE, as KA.AN1.39.tiff is"


def test_a_few_names_of_jaffes_make_no_jaffe(tmp_path: Path) -> None:
    for number in range(5):
        draw_image(tmp_path / f"s/KA.AN1.{number}.png", number)
        draw_image(tmp_path / f"s/holiday-{number}.png", 10 + number)
    with pytest.raises(DatasetError, match="no layout that mien knows"):
        recognise(tmp_path / "s")


def test_csv(tmp_path: Path) -> None:
    rows = imported("csv", lay_out("csv", tmp_path))
    first = rows["a/1.png"]
    assert (first["label"], first["split"], first["subject"]) == ("happiness", "train", "p1")
    assert (first["weight"], first["box"]) == (2.0, [4, 4, 20, 20])
    assert first["votes"] == pytest.approx([0, 0.9, 0, 0.1, 0, 0, 0, 0])
    assert first["sharpness"] == 0.5
    assert rows["a/2.png"]["problem"] == "bad_label"
    assert "write the emotion's name" in rows["a/2.png"]["excluded"]
    assert rows["a/4.png"]["split"] == "valid"
    outside = rows["../outside.png"]
    assert outside["problem"] == "missing"
    assert outside["shard"] is None


def test_parquet(tmp_path: Path) -> None:
    rows = imported("parquet", lay_out("parquet", tmp_path))
    test = [row for path, row in rows.items() if path.startswith("test")]
    assert [row["label"] for row in test] == ["fear", "happiness", None]
    assert {row["split"] for row in test} == {"test"}
    assert test[2]["problem"] == "bad_label"


def _saved_to_disk(parquet: Path) -> None:
    """Write a table as `Dataset.save_to_disk` does, in place of a Parquet file."""
    table = pq.read_table(parquet)
    folder = parquet.parent / parquet.name.partition("-")[0]
    folder.mkdir()
    with pa.ipc.new_stream(folder / "data-00000-of-00001.arrow", table.schema) as stream:
        stream.write_table(table, max_chunksize=2)
    with pa.ipc.new_stream(folder / "cache-0a1b2c.arrow", pa.schema({"indices": "uint64"})):
        pass
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-0"}]}))
    parquet.unlink()


def test_arrow_as_it_is_saved_to_disk(tmp_path: Path) -> None:
    as_parquet = imported("parquet", lay_out("parquet", tmp_path))
    saved = (tmp_path / "source").rename(tmp_path / "saved")
    for path in saved.glob("*.parquet"):
        _saved_to_disk(path)
    found, why = recognise(saved)
    assert (found, why) == ("parquet", "test/data-00000-of-00001.arrow holds images and labels")
    rows = imported("parquet", saved)
    assert [*rows] == [
        f"{s}/data-00000-of-00001.arrow/{n:05d}" for s in ("test", "train") for n in range(3)
    ]
    for one, other in zip(rows.values(), as_parquet.values(), strict=True):
        assert {"split", "label", "excluded", "sha256"} <= {k for k in one if one[k] == other[k]}


@pytest.mark.parametrize("share", [0.01, 0.5])
def test_arrow_that_is_cut_off_is_refused(tmp_path: Path, share: float) -> None:
    for path in lay_out("parquet", tmp_path).glob("*.parquet"):
        _saved_to_disk(path)
    file = tmp_path / "source/train/data-00000-of-00001.arrow"
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(DatasetError, match=r"arrow: (damaged|cannot be read)"):
        import_dataset("parquet", tmp_path / "source", tmp_path / "d")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train-00000-of-00001.parquet", "train"),
        ("fer2013-validation-00000-of-00001.parquet", "valid"),
        ("fer_test.parquet", "test"),
        ("TEST.PARQUET", "test"),
        ("train_and_test.parquet", None),
        ("val_part/0001.parquet", "valid"),
        ("faces.parquet", None),
    ],
)
def test_the_split_that_a_parquet_file_names(tmp_path: Path, name: str, split: str | None) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"image": [b"x"], "label": ["joy"]}), tmp_path / name)
    with FORMATS["parquet"].read(tmp_path) as reading:
        assert [sample.split for sample, _ in reading.items] == [split]


def test_parquet_columns_of_splits_and_people(tmp_path: Path) -> None:
    columns = {
        "image": [b"x"] * 3,
        "label": ["joy"] * 3,
        "split": ["test", "", "unknown"],
        "Subject_ID": [7, 7, None],
        "age": [1.5] * 3,
    }
    pq.write_table(pa.table(columns), tmp_path / "train.parquet")
    with FORMATS["parquet"].read(tmp_path) as reading:
        samples = [sample for sample, _ in reading.items]
    assert [sample.split for sample in samples] == ["test", "train", None]
    assert [sample.subject for sample in samples] == ["7", "7", None]
    assert samples[2].excluded == "split 'unknown' is none of train, valid and test"
    assert reading.notes == ("Columns left out: age.",)


def test_parquet_columns_that_say_nothing_of_splits_or_people(tmp_path: Path) -> None:
    columns = {"image": [b"x"] * 2, "label": ["joy"] * 2, "subset": ["web", "lab"]}
    pq.write_table(pa.table(columns | {"subject": ["", ""]}), tmp_path / "train.parquet")
    with FORMATS["parquet"].read(tmp_path) as reading:
        samples = [sample for sample, _ in reading.items]
    assert [(each.split, each.subject, each.excluded) for each in samples] == [
        ("train", None, None)
    ] * 2
    assert reading.notes == ("Columns left out: subset.",)


@pytest.mark.parametrize("name", ["image", "img", "img_bytes", "image_bytes"])
def test_the_names_of_a_parquet_images_column(tmp_path: Path, name: str) -> None:
    pq.write_table(pa.table({name: [b"x"], "label": ["joy"]}), tmp_path / "train.parquet")
    with FORMATS["parquet"].read(tmp_path) as reading:
        assert [sample.label for sample, _ in reading.items] == ["happiness"]


def test_a_number_column_hides_no_names_in_parquet(tmp_path: Path) -> None:
    table = pa.table({"img_bytes": [b"x"], "label": [3], "emotion": ["joy"]})
    pq.write_table(table, tmp_path / "train.parquet")
    with FORMATS["parquet"].read(tmp_path) as reading:
        assert [sample.label for sample, _ in reading.items] == ["happiness"]


def test_parquet_ids_without_names_are_refused(tmp_path: Path) -> None:
    table = pa.table({"image": [b"x"], "label": [3]})
    (tmp_path / "s").mkdir()
    pq.write_table(table, tmp_path / "s/train.parquet")
    with pytest.raises(DatasetError, match="without names"):
        import_dataset("parquet", tmp_path / "s", tmp_path / "out")


def test_one_file_in_two_rows_keeps_two_ids(tmp_path: Path) -> None:
    draw_image(tmp_path / "s/a.png", 1)
    write_text(tmp_path / "s/t.csv", "path,label", "a.png,happy", "a.png,sad")
    import_dataset("csv", tmp_path / "s", tmp_path / "d")
    rows = Dataset.open(tmp_path / "d").manifest.to_pylist()
    assert len({row["id"] for row in rows}) == 2


def test_what_a_mac_adds_to_archives_is_no_image(tmp_path: Path) -> None:
    LAYOUTS["folder"](tmp_path / "s")
    draw_image(tmp_path / "s/__MACOSX/fear/1.png", 1)
    write_text(tmp_path / "s/fear/._1.png", "resource fork")
    info = import_dataset("folder", tmp_path / "s", tmp_path / "d")
    assert info["rows"] == 8


def test_accents_are_the_same_however_they_are_composed(tmp_path: Path) -> None:
    names = [f"Ren\u00e9 {number}.png" for number in range(4)]
    for number, name in enumerate(names):
        draw_image(tmp_path / "s" / unicodedata.normalize("NFD", name), number)
    write_text(tmp_path / "s/t.csv", "path,label", *(f"{name},happy" for name in names))
    import_dataset("csv", tmp_path / "s", tmp_path / "d")
    assert Dataset.open(tmp_path / "d").column("excluded") == [None] * 4


def test_csv_of_a_column_for_each_rater(tmp_path: Path) -> None:
    for i in range(4):
        draw_image(tmp_path / f"s/{i}.png", i)
    write_text(
        tmp_path / "s/study.csv",
        "image,Rater 1,Rater 2,Rater 3,age_1,rater_4",
        "0.png,happy,Joy,sad,20,2.5",
        "1.png,happy,,happy,21,1.5",
        "2.png,happy,sad,unsure,22,1.5",
        "3.png,?,,unsure,23,1.5",
    )
    assert recognise(tmp_path / "s")[0] == "csv"
    info = import_dataset("csv", tmp_path / "s", tmp_path / "d")
    rows = Dataset.open(tmp_path / "d").manifest.to_pylist()
    none = "no emotion has the most votes"
    assert [(row["label"], row["excluded"]) for row in rows] == [
        ("happiness", None), ("happiness", None), (None, none), (None, none)
    ]  # fmt: skip
    happy, sad = EMOTIONS.index("happiness"), EMOTIONS.index("sadness")
    assert [rows[0]["votes"][each] for each in (happy, sad)] == pytest.approx([2 / 3, 1 / 3])
    assert [row["rater_4"] for row in rows] == [2.5, 1.5, 1.5, 1.5]
    assert any("by columns Rater 1, Rater 2, Rater 3, are its votes" in n for n in info["notes"])


def test_a_label_stands_above_columns_of_raters(tmp_path: Path) -> None:
    for i in range(2):
        draw_image(tmp_path / f"s/{i}.png", i)
    lines = ("0.png,angry,happy,happy", "1.png,sad,sad,angry")
    write_text(tmp_path / "s/study.csv", "image,label,annotator_1_label,annotator_2_label", *lines)
    first, second = imported("csv", tmp_path / "s").values()
    assert (first["label"], first["votes"][EMOTIONS.index("happiness")]) == ("anger", 1)
    assert (second["label"], second["votes"][EMOTIONS.index("sadness")]) == ("sadness", 0.5)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(['1.png,"sad', "2.png,sad", "3.png,sad"], id="never closed"),
        pytest.param(['"1.png,sad', "2.png,sad", '3".png,sad'], id="closed in another row"),
        pytest.param(['1.png,"sad'], id="in the last row"),
    ],
)
def test_a_stray_quote_swallows_no_rows(tmp_path: Path, rows: list[str]) -> None:
    for number in range(4):
        draw_image(tmp_path / f"s/{number}.png", number)
    write_text(tmp_path / "s/t.csv", "path,label", "0.png,happy", *rows)
    with pytest.raises(DatasetError, match=r"t\.csv: broken csv in the row .* line 3 "):
        import_dataset("csv", tmp_path / "s", tmp_path / "d")


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_quotes_within_and_any_end_of_a_csv(tmp_path: Path, end: str) -> None:
    for number in range(3):
        draw_image(tmp_path / f"s/{number}.png", number)
    note = '"he said "no" twice, 5" apart"'
    rows = ["path,label,note", f"0.png,happy,{note}", '1.png,"sad","two\nlines"']
    (tmp_path / "s/t.csv").write_text("\n".join([*rows, "2.png,fear,"]) + end, encoding="utf-8")
    import_dataset("csv", tmp_path / "s", tmp_path / "d")
    assert Dataset.open(tmp_path / "d").column("label") == ["happiness", "sadness", "fear"]


def test_a_cell_of_several_lines_is_read_by_the_tables_delimiter(tmp_path: Path) -> None:
    for number in range(2):
        draw_image(tmp_path / f"s/{number}.png", number)
    note = '"""what, if\nanything"";"'
    write_text(tmp_path / "s/t.csv", "note;path;label", f"{note};0.png;happy", "x;1.png;sad")
    import_dataset("csv", tmp_path / "s", tmp_path / "d")
    assert Dataset.open(tmp_path / "d").column("label") == ["happiness", "sadness"]


@pytest.mark.parametrize(
    ("where", "train", "test"),
    [
        ("folders", "Training Set", "Test-Set"),
        ("archives", "Training Set", "Test-Set"),
        ("archives", "Train_Faces", "test_faces"),
    ],
)
def test_splits_with_a_blank_or_in_the_names_of_archives(
    tmp_path: Path, where: str, train: str, test: str
) -> None:
    number = 0
    for name, count in ((train, 12), (test, 6)):
        for _ in range(count):
            label = EMOTIONS[number % 2]
            draw_image(tmp_path / f"s/{name}/{label}/{number:02d}.png", number)
            number += 1
        if where == "archives":
            shutil.make_archive(str(tmp_path / "s" / name), "zip", tmp_path / "s" / name)
            shutil.rmtree(tmp_path / "s" / name)
    import_dataset("folder", tmp_path / "s", tmp_path / "d")
    dataset = Dataset.open(tmp_path / "d")
    is_test = [int(path[-6:-4]) >= 12 for path in dataset.column("path")]
    assert [split == "test" for split in dataset.column("split")] == is_test


@pytest.mark.parametrize(
    ("columns", "cells"),
    [
        ("xmin,ymin,xmax,ymax", "2,2,8,8"),
        ("x_min,y_min,x_max,y_max", "2,2,8,8"),
        ("x1,y1,x2,y2", "2,2,8,8"),
        ("Left,Top,Right,Bottom", "2,2,8,8"),
        ("x1,x2,y1,y2", "2,8,2,8"),
        ("face_x,face_y,face_width,face_height", "2,2,6,6"),
        ("left,top,width,height", "2,2,6,6"),
    ],
)
def test_the_names_of_columns_say_how_a_box_is_given(
    tmp_path: Path, columns: str, cells: str
) -> None:
    for number, name in enumerate("abc"):
        draw_image(tmp_path / f"s/{name}.png", number)
    rows = (f"a.png,happy,{cells}", "b.png,sad,8,8,2,", "c.png,sad,,,,")
    write_text(tmp_path / "s/t.csv", f"path,label,{columns}", *rows)
    import_dataset("csv", tmp_path / "s", tmp_path / "d")
    dataset = Dataset.open(tmp_path / "d")
    assert dataset.column("box") == [[2, 2, 6, 6], None, None]
    assert dataset.column("excluded") == [None, "its face box is no box", None]
    assert dataset.values == ()


def test_a_number_column_hides_no_names_in_a_csv(tmp_path: Path) -> None:
    draw_image(tmp_path / "s/a.png", 1)
    write_text(tmp_path / "s/t.csv", "path,label,emotion", "a.png,0,Happy")
    import_dataset("csv", tmp_path / "s", tmp_path / "d")
    assert Dataset.open(tmp_path / "d").column("label") == ["happiness"]


@pytest.mark.parametrize(
    "table",
    [
        pytest.param("file_name,label", id="file_name"),
        pytest.param("image_name,label", id="image_name"),
        pytest.param("label,image_path", id="image_path"),
        pytest.param("filepath;label", id="semicolons"),
        pytest.param("\npath\tlabel", id="tabs-below-a-blank-line"),
    ],
)
def test_csvs_as_people_write_them(tmp_path: Path, table: str) -> None:
    for number in range(3):
        draw_image(tmp_path / f"s/images/{number}.png", number)
    delimiter = next(sign for sign in ",;\t" if sign in table)
    rows = [[f"{number}.png", ("happy", "sad", "fear")[number]] for number in range(3)]
    if table.startswith("label"):
        rows = [row[::-1] for row in rows]
    write_text(tmp_path / "s/labels.csv", table, *(delimiter.join(row) for row in rows))
    assert recognise(tmp_path / "s")[0] == "csv"
    import_dataset("csv", tmp_path / "s", tmp_path / "d")
    dataset = Dataset.open(tmp_path / "d")
    assert dataset.column("label") == ["happiness", "sadness", "fear"]
    assert dataset.column("path") == [f"images/{number}.png" for number in range(3)]
    assert dataset.column("located") == ["name"] * 3


def test_folders_of_emotions_stay_folders_beside_a_table_of_bare_names(tmp_path: Path) -> None:
    LAYOUTS["folder"](tmp_path / "s")
    write_text(tmp_path / "s/labels.csv", "image,label", *(f"{i}.png,happy" for i in range(8)))
    assert recognise(tmp_path / "s")[0] == "folder"


def test_a_bare_name_that_two_files_bear_stays_missing(tmp_path: Path) -> None:
    for number, path in enumerate(("a/0.png", "b/0.png", "a/1.png", "a/b/2.png")):
        draw_image(tmp_path / "s" / path, number)
    write_text(tmp_path / "s/t.csv", "path,label", "0.png,happy", "1.png,sad", "b/2.png,sad")
    import_dataset("csv", tmp_path / "s", tmp_path / "d")
    dataset = Dataset.open(tmp_path / "d")
    assert dataset.column("problem") == ["missing", None, "missing", *["unlisted"] * 3]
    assert dataset.column("excluded")[0] == "missing: several images fit its path"


@pytest.mark.parametrize("alone", [False, True], ids=["folder", "csv alone"])
def test_files_that_no_row_names_are_found_beside_a_csv(tmp_path: Path, alone: bool) -> None:
    """But not where the csv alone is the source: anything may lie around it."""
    for number, path in enumerate(("train/happy/0.png", "1.png", "test/sad/2.png")):
        draw_image(tmp_path / "s" / path, number)
    write_text(tmp_path / "s/t.csv", "path,label", "train/happy/0.png,happy", "1.png,sad")
    source = tmp_path / "s" / "t.csv" if alone else tmp_path / "s"
    import_dataset("csv", source, tmp_path / "d")
    dataset = Dataset.open(tmp_path / "d")
    found = {row["path"]: row for row in dataset.manifest.to_pylist() if row["problem"]}
    audit = audit_dataset(dataset)
    if alone:
        assert found == {} and "unlisted" not in audit.checked
        return
    (row,) = found.values()
    assert (row["problem"], row["split"], row["folder_label"]) == ("unlisted", "test", "sadness")
    assert row["excluded"] == "no row in the table names this file"
    assert audit.summary["unlisted"] == 1


def test_where_there_is_no_table_nothing_lies_beside_one(tmp_path: Path) -> None:
    for number, emotion in enumerate(("happy", "sad", "happy")):
        draw_image(tmp_path / "s" / emotion / f"{number}.png", number)
    import_dataset("folder", tmp_path / "s", tmp_path / "d")
    assert "unlisted" not in audit_dataset(Dataset.open(tmp_path / "d")).summary


def _coded_folder(root: Path) -> None:
    for number in range(4):
        draw_image(root / f"{number}/{number}.png", number)


def _coded_csv(root: Path) -> None:
    for number in range(4):
        draw_image(root / f"{number}.png", number)
    write_text(root / "t.csv", "path,label", "0.png,0", "1.png,1.0", "2.png,2", "3.png,3")


def _coded_parquet(root: Path) -> None:
    _coded_folder(root)
    images = [path.read_bytes() for path in sorted(root.rglob("*.png"))]
    pq.write_table(pa.table({"image": images, "label": [0, 1, 2, 3]}), root / "faces.parquet")


@pytest.mark.parametrize(
    ("name", "lay"), [("folder", _coded_folder), ("csv", _coded_csv), ("parquet", _coded_parquet)]
)
def test_numbers_mean_what_the_user_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, lay: Callable[[Path], None]
) -> None:
    lay(tmp_path / "s")
    command = ["mien", "data", "import", name, str(tmp_path / "s"), "--out", str(tmp_path / "d")]
    monkeypatch.setattr("sys.argv", [*command, "--codes", "0=anger,1=happy,2=fear"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code in {0, None}
    dataset = Dataset.open(tmp_path / "d")
    assert dataset.column("label") == ["anger", "happiness", "fear", None]
    assert dataset.column("excluded")[3]


def test_a_folder_that_names_an_emotion_goes_before_a_number_within(tmp_path: Path) -> None:
    for number, path in enumerate(("happy/0/a.png", "1/b.png")):
        draw_image(tmp_path / "s" / path, number)
    codes = read_codes("0=anger,1=fear")
    import_dataset("folder", tmp_path / "s", tmp_path / "d", codes=codes)
    dataset = Dataset.open(tmp_path / "d")
    assert dict(zip(dataset.column("path"), dataset.column("label"), strict=True)) == {
        "happy/0/a.png": "happiness",
        "1/b.png": "fear",
    }


def test_codes_are_refused_where_a_format_has_its_own(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"codes are for yolo, coco, .*, parquet, csv, folder: rafdb knows"
    ):
        import_dataset(
            "rafdb", lay_out("rafdb", tmp_path), tmp_path / "d", codes=read_codes("fer2013")
        )


def test_a_file_whose_name_is_no_images_is_not_called_missing(tmp_path: Path) -> None:
    for number in range(3):
        draw_image(tmp_path / f"s/{number}.png", number)
    (tmp_path / "s/0.png").rename(tmp_path / "s/0.jp2")
    write_text(
        tmp_path / "s/t.csv", "path,label", "0.jp2,happy", "1.png,sad", "2.png,sad", "3.png,sad"
    )
    import_dataset("csv", tmp_path / "s", tmp_path / "d")
    rows = {row["path"]: row for row in Dataset.open(tmp_path / "d").manifest.to_pylist()}
    assert rows["0.jp2"]["problem"] == "unreadable"
    assert rows["0.jp2"]["excluded"].startswith("unreadable: its name ends in none of .avif")
    assert rows["3.png"]["problem"] == "missing"


def test_landmarks_and_sizes_beside_a_box_are_none(tmp_path: Path) -> None:
    for number, (columns, cells, box) in enumerate(
        (
            ("box,x1,y1,x2,y2", "2 3 20 28,5,6,9,9", [2, 3, 20, 28]),
            ("x,y,w,h,x1,y1,x2,y2,x3,y3", "2,3,20,28,5,6,9,9,7,7", [2, 3, 20, 28]),
            ("x1,y1,x2,y2,x3,y3", "5,6,9,9,7,7", None),
            ("width,height,xmin,ymin,xmax,ymax", "32,32,2,3,22,31", [2, 3, 20, 28]),
        )
    ):
        root = tmp_path / f"{number}/s"
        rows = _table_of(root, "t.csv", f"path,label,{columns}", f"0.png,happy,{cells}")
        assert rows[0]["box"] == box


@pytest.mark.parametrize(
    "beside", ["emotion_1,emotion_2", "rater_1_comment,rater_2_comment", "rater_1"]
)
def test_numbered_columns_of_something_else_are_no_votes(tmp_path: Path, beside: str) -> None:
    draw_image(tmp_path / "s/0.png", 0)
    cells = ",".join(["happy", "sad"][: beside.count(",") + 1])
    write_text(tmp_path / "s/t.csv", f"image,label,{beside}", f"0.png,angry,{cells}")
    (row,) = imported("csv", tmp_path / "s").values()
    assert (row["label"], row["votes"]) == ("anger", None)


def test_counted_votes_go_before_columns_of_raters(tmp_path: Path) -> None:
    draw_image(tmp_path / "s/0.png", 0)
    line = "0.png,happy,0 9 0 1 0 0 0 0,sad,sad"
    write_text(tmp_path / "s/t.csv", "path,label,votes,rater_1,rater_2", line)
    (row,) = imported("csv", tmp_path / "s").values()
    assert (row["votes"][EMOTIONS.index("happiness")], row["rater_1"]) == (
        pytest.approx(0.9),
        "sad",
    )


def test_raters_who_seldom_name_an_emotion_are_none(tmp_path: Path) -> None:
    for i in range(3):
        draw_image(tmp_path / f"s/{i}.png", i)
    lines = ("0.png,happy,fine,happy", "1.png,sad,good,bad", "2.png,sad,happy,bad")
    write_text(tmp_path / "s/t.csv", "image,label,rater_1,rater_2", *lines)
    assert {row["votes"] for row in imported("csv", tmp_path / "s").values()} == {None}


def test_folders_of_emotions_are_no_csv_for_columns_of_workers(tmp_path: Path) -> None:
    for i in range(4):
        draw_image(tmp_path / f"s/{('happy', 'sad')[i % 2]}/{i}.png", i)
    lines = ("happy/0.png,anna,ben", "sad/1.png,ben,cleo")
    write_text(tmp_path / "s/meta.csv", "file,worker_1,worker_2", *lines)
    assert recognise(tmp_path / "s")[0] == "folder"


def test_arrow_beside_parquet_is_a_copy_or_an_index(tmp_path: Path) -> None:
    source = lay_out("parquet", tmp_path)
    table = pq.read_table(source / "train-00000-of-00001.parquet")
    for name, content in (("copy", table), ("indices", pa.table({"indices": [0, 1]}))):
        with pa.ipc.new_stream(source / f"{name}.arrow", content.schema) as stream:
            stream.write_table(content)
    assert recognise(source)[0] == "parquet"
    assert len(imported("parquet", source)) == 6
    for path in source.glob("*.parquet"):
        path.unlink()
    assert [*imported("parquet", source.rename(tmp_path / "alone"))] == [
        f"copy.arrow/{n:05d}" for n in range(3)
    ]


def test_a_table_in_a_folder_of_one_split_names_images_of_another(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "val")):
        draw_image(tmp_path / f"s/{split}/x/0.png", number)
    lines = ("0.png,happy,train", "0.png,sad,val")
    write_text(tmp_path / "s/train/labels.csv", "path,label,split", *lines)
    rows = imported("csv", tmp_path / "s")
    assert {path: row["label"] for path, row in rows.items()} == {
        "train/x/0.png": "happiness",
        "val/x/0.png": "sadness",
    }
