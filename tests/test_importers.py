"""Tests of the importers: protocols row by row, leaks, damage, half-finished imports."""

import csv
import json
import os
import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from layouts import YOLO_ORDER
from mien.cli import app
from mien.data.audit.auditor import audit_dataset
from mien.data.clean import clean_dataset
from mien.data.dataset import MANIFEST_SCHEMA, Dataset
from mien.data.drawn_folder import draw_folder
from mien.data.formats import FORMATS
from mien.data.importers import import_dataset, recognise
from mien.data.rules import Rules
from mien.data.writer import sample_id
from mien.detect import Whole
from mien.errors import ConfigError, DatasetError, UsageError
from mien.images import read_image, write_image
from mien.labels import EMOTIONS, FERPLUS_VOTE_COLUMNS, read_codes
from mien.preprocess import InputSpec, face_crop, fit
from mien.records import Box, Detection

T = TypeVar("T")

HEADER = f"Usage,Image name,{','.join(FERPLUS_VOTE_COLUMNS)},unknown,NF"
CLEAR = "9,1,0,0,0,0,0,0,0,0"
FOLDERS = {"Training": "FER2013Train", "PublicTest": "FER2013Valid", "PrivateTest": "FER2013Test"}
FACE = "PrivateTest,safe.png,0,9,0,0,0,0,0,0,0,0"
"""A row that is always usable, so that an import does not fail for want of images."""


def _image(seed: int, shape: tuple[int, ...] = (48, 48)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _ferplus(source: Path, rows: list[str], *, images: dict[str, int] | None = None) -> Path:
    """Write a vote table, and for each named image the pixels of its seed (its own by default)."""
    source.mkdir(parents=True, exist_ok=True)
    (source / "fer2013new.csv").write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    for number, row in enumerate(rows):
        usage, name = row.split(",")[:2]
        if usage in FOLDERS and name:
            seed = (images or {}).get(name, 1000 + number)
            file = source / FOLDERS[usage] / name
            file.parent.mkdir(exist_ok=True)
            write_image(file, _image(seed))
    return source


def _rows(dataset: Dataset) -> dict[str, dict[str, Any]]:
    return {row["path"].rpartition("/")[2]: row for row in dataset.manifest.to_pylist()}


def _picture(dataset: Dataset, name: str) -> NDArray[np.uint8]:
    """The packed image of the file of a name."""
    return dataset.images(np.array([list(_rows(dataset)).index(name)])).squeeze(0)


def _import(name: str, source: Path, **options: Any) -> Dataset:
    out = source.parent / f"{source.name}.dataset"
    import_dataset(name, source, out, **options)
    return Dataset.open(out)


# --- any format ---------------------------------------------------------------------------------


class _Bright:
    """Takes the lit squares of a dark image for faces, of 40 pixels at x = 20 and 10 at x = 120.

    It is surer of the smaller.
    """

    def __call__(self, image: NDArray[np.uint8]) -> list[Detection]:
        boxes = (Box(20, 30, 40, 40), Box(120, 30, 10, 10))
        lit = (box for box in boxes if image[int(box.y), int(box.x)].max() > 0)
        return [Detection(box, 1 - box.width / 100) for box in lit]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Photos of 300x200 with no, one and two faces; a table gives one a box, one no emotion."""
    made = {"auto": _Bright(), "none": Whole()}
    monkeypatch.setattr("mien.data.taking.make_detector", made.__getitem__)
    source = tmp_path / "photos"
    source.mkdir()
    faces = {"none": (), "one": (40,), "two": (40, 10), "boxed": (40,), "odd": ()}
    for name, widths in faces.items():
        image = np.zeros((200, 300, 3), np.uint8)
        for width, left in zip(widths, (20, 120), strict=False):
            image[30 : 30 + width, left : left + width] = _image(width, (width, width, 3)) | 1
        write_image(source / f"{name}.png", image)
    rows = ("none.png,happiness,,,,", "one.png,sadness,,,,", "two.png,fear,,,,")
    more = ("boxed.png,anger,1,2,50,60", "odd.png,odd,,,,")
    (source / "labels.csv").write_text("\n".join(("path,label,x,y,w,h", *rows, *more)))
    return source


def test_a_detector_finds_the_face_where_there_is_no_box(photos: Path) -> None:
    dataset = _import("csv", photos, size=40, channels=3, detector="auto")
    rows = _rows(dataset)
    assert rows["one.png"]["box"] == rows["two.png"]["box"] == [20, 30, 40, 40]
    assert rows["boxed.png"]["box"] == [1, 2, 50, 60]
    assert {name: row["excluded"] for name, row in rows.items() if row["excluded"]} == {
        "none.png": "no face found",
        "odd.png": "label 'odd' names no emotion",
    }
    face = read_image(photos / "one.png")[30:70, 20:60]
    np.testing.assert_array_equal(_picture(dataset, "one.png"), face)
    (note,) = (note for note in dataset.info["notes"] if "looked for" in note)
    assert note.startswith("Faces were looked for by auto (_Bright) in 4 images without a box: ")
    assert "none was found in 2; in 1 the largest of several was taken." in note


@pytest.mark.parametrize(("asked", "found"), [((), 0), (("--detector", "auto"), 2)])
def test_the_command_looks_for_faces_only_where_it_is_told_to(
    photos: Path, asked: tuple[str, ...], found: int
) -> None:
    out = photos.parent / "out"
    command = ["data", "import", "csv", str(photos), "--out", str(out), *asked]
    assert CliRunner().invoke(app, command).exit_code == 0
    boxes = {name: row["box"] for name, row in _rows(Dataset.open(out)).items() if row["box"]}
    assert boxes.pop("boxed.png") == [1, 2, 50, 60]
    assert list(boxes.values()) == [[20, 30, 40, 40]] * found


def test_a_found_box_is_in_pixels_where_those_of_the_source_are_shares(photos: Path) -> None:
    source = photos.parent / "yolo"
    for folder in ("images", "labels"):
        (source / "train" / folder).mkdir(parents=True)
    for name in ("one", "boxed"):
        shutil.copy(photos / f"{name}.png", source / "train" / "images")
    (source / "train" / "labels" / "boxed.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    rows = _rows(_import("affectnet-yolo", source, detector="auto"))
    assert rows["one.png"]["box"] == [20, 30, 40, 40]
    assert rows["boxed.png"]["box"] == [120, 80, 60, 40]


def test_what_is_left_out_takes_no_place_in_drawn_splits(tmp_path: Path) -> None:
    """Of ten of an emotion one validates and one tests, however many beside them are unreadable."""
    for number in range(40):
        file = tmp_path / "s" / ("happy" if number % 2 else "sad") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"") if number >= 20 else write_image(file, _image(number))
    dataset = _import("folder", tmp_path / "s")
    for split, count in (("train", 8), ("valid", 1), ("test", 1)):
        assert dataset.info["counts"][split] == {"happiness": count, "sadness": count}
    assert None not in dataset.column("split")


def test_a_found_face_is_turned_upright_as_in_recognition(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box, eyes = Box(20, 30, 40, 40), ((30.0, 40.0), (50.0, 60.0))
    monkeypatch.setattr(
        "mien.data.taking.make_detector", lambda _: lambda _: [Detection(box, 0.9, eyes)]
    )
    dataset = _import("csv", photos, size=40, channels=3, detector="auto")
    turned = face_crop(read_image(photos / "one.png"), box, InputSpec(40, 3), roll=45)
    np.testing.assert_array_equal(_picture(dataset, "one.png"), turned)


def test_found_faces_are_not_enlarged_either(photos: Path) -> None:
    (photos / "boxed.png").unlink()  # Its box of 60 pixels is no found one.
    dataset = _import("csv", photos, detector="auto")
    assert dataset.spec.size == 48
    assert any("packed as 48x48, not 96x96" in note for note in dataset.info["notes"])


def test_what_a_detector_takes_whole_has_no_box(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.data.taking.make_detector", lambda _: Whole())
    dataset = _import("csv", photos, detector="auto")
    assert [name for name, row in _rows(dataset).items() if row["box"]] == ["boxed.png"]


def test_large_images_without_boxes_ask_for_a_detector(photos: Path) -> None:
    (note,) = (note for note in _import("csv", photos).info["notes"] if "taken whole" in note)
    assert note.startswith("Half of the images are 300 pixels or longer")
    assert note.endswith("import them with --detector auto.")
    small = photos.parent / "small"
    (small / "happy").mkdir(parents=True)
    for number, shape in enumerate([(48, 48), (256, 200), (300, 300)]):
        write_image(small / "happy" / f"{number}.png", _image(number, shape))
    assert not any("--detector" in note for note in _import("folder", small).info["notes"])


@pytest.mark.parametrize("box", ["0,0,30,30000", "90,5,20,20", "-40,0,20,20"])
def test_a_box_that_cannot_be_a_face_is_left_out(tmp_path: Path, box: str) -> None:
    source = tmp_path / "s"
    source.mkdir()
    write_image(source / "a.png", _image(1))
    write_image(source / "b.png", _image(2))
    head = "path,label,x,y,w,h\n"
    (source / "t.csv").write_text(f"{head}a.png,happiness,{box}\nb.png,sadness,-2,1,40,40\n")
    rows = _rows(_import("csv", source))
    assert "does not lie on the image of 48x48" in rows["a.png"]["excluded"]
    assert rows["b.png"]["excluded"] is None


def test_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown format 'imagenet': expected one of ferplus, "):
        import_dataset("imagenet", tmp_path, tmp_path / "out")


def test_whole_dataset_of_ferplus(ferplus_dataset: Dataset, ferplus_source: Path) -> None:
    info = ferplus_dataset.info
    assert info["rows"] == 72
    assert info["counts"] == {
        "train": dict.fromkeys(EMOTIONS, 4),
        "valid": dict.fromkeys(EMOTIONS, 2),
        "test": dict.fromkeys(EMOTIONS, 3),
    }
    assert info["excluded"] == {"train": {}, "valid": {}, "test": {}}
    assert (info["image_size"], info["image_channels"], info["source_format"]) == (48, 1, "ferplus")
    schema = pq.read_schema(ferplus_dataset.path / "manifest.parquet")
    assert (schema.names, schema.types) == (MANIFEST_SCHEMA.names, MANIFEST_SCHEMA.types)
    every = np.arange(len(ferplus_dataset))
    packed = ferplus_dataset.images(every)
    for row, path in zip(every, ferplus_dataset.column("path"), strict=True):
        np.testing.assert_array_equal(packed[row, ..., 0], read_image(ferplus_source / path))


def test_ids_and_fingerprint_are_stable(
    tmp_path: Path, ferplus_source: Path, ferplus_dataset: Dataset
) -> None:
    info = import_dataset("ferplus", ferplus_source, tmp_path / "again")
    again = Dataset.open(tmp_path / "again")
    assert again.manifest.equals(ferplus_dataset.manifest)
    assert info == ferplus_dataset.info
    ids = again.column("id")
    assert len(set(ids)) == len(ids)
    assert ids[0] == sample_id("ferplus", again.column("path")[0])


def test_zip_gives_the_same_dataset(
    tmp_path: Path, ferplus_source: Path, ferplus_dataset: Dataset
) -> None:
    source = tmp_path / "zipped"
    source.mkdir()
    shutil.copy(ferplus_source / "fer2013new.csv", source)
    with zipfile.ZipFile(source / "images.zip", "w") as archive:
        for file in ferplus_source.rglob("*.png"):
            archive.write(file, file.relative_to(ferplus_source).as_posix())
    dataset = _import("ferplus", source)
    assert dataset.manifest.equals(ferplus_dataset.manifest)


@pytest.mark.parametrize(("size", "channels"), [(32, 1), (48, 3), (None, None)])
def test_size_and_channels(
    tmp_path: Path, ferplus_source: Path, size: int | None, channels: int | None
) -> None:
    import_dataset("ferplus", ferplus_source, tmp_path / "d", size=size, channels=channels)
    found = Dataset.open(tmp_path / "d").images(np.array([0, 71]))
    assert found.shape == (2, size or 48, size or 48, channels or 1)


@pytest.mark.parametrize(
    "options", [{"size": 0}, {"size": 9999}, {"channels": 0}, {"channels": 2}], ids=str
)
def test_bad_size_or_channels(
    tmp_path: Path, ferplus_source: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        import_dataset("ferplus", ferplus_source, tmp_path / "d", **options)
    assert list(tmp_path.iterdir()) == []


def test_out_exists(tmp_path: Path, ferplus_source: Path) -> None:
    out = tmp_path / "d"
    out.mkdir()
    (out / "precious").write_text("x", encoding="utf-8")
    with pytest.raises(UsageError, match="exists already"):
        import_dataset("ferplus", ferplus_source, out)
    assert [p.name for p in out.iterdir()] == ["precious"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_interrupted_import_leaves_nothing_and_starts_again(
    tmp_path: Path, ferplus_source: Path, error: type[BaseException]
) -> None:
    def interrupt(items: Iterable[T], *, total: int, doing: str) -> Iterable[T]:
        for number, item in enumerate(items):
            if number == total // 2:
                raise error
            yield item

    with pytest.raises(error):
        import_dataset("ferplus", ferplus_source, tmp_path / "d", progress=interrupt)
    assert list(tmp_path.iterdir()) == []
    import_dataset("ferplus", ferplus_source, tmp_path / "d")
    assert len(Dataset.open(tmp_path / "d")) == 72


@pytest.mark.parametrize("name", FORMATS)
def test_missing_source(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match="nowhere"):
        import_dataset(name, tmp_path / "nowhere", tmp_path / "d")
    assert list(tmp_path.iterdir()) == []


# --- ferplus ------------------------------------------------------------------------------------

NO_FACE, NO_MAJORITY = "voted unknown or no face", "no emotion has a majority of the votes"
NO_VOTES = "no choice has two votes"

PROTOCOL = [
    # Columns: neutral happiness surprise sadness anger disgust fear contempt unknown NF.
    pytest.param("10,0,0,0,0,0,0,0,0,0", "neutral", None, None, {"neutral": 1}, id="all-agree"),
    pytest.param("0,0,8,0,0,0,2,0,0,0", "surprise", None, None, {"surprise": 0.8, "fear": 0.2},
                 id="clear-majority"),
    pytest.param("0,0,0,7,1,1,1,0,0,0", "sadness", None, None, {"sadness": 1},
                 id="single-votes-are-noise"),
    pytest.param("5,4,1,0,0,0,0,0,0,0", "neutral", None, None,
                 {"neutral": 5 / 9, "happiness": 4 / 9},
                 id="majority-once-the-single-vote-is-gone"),
    pytest.param("4,3,0,0,3,0,0,0,0,0", "neutral", None, NO_MAJORITY,
                 {"neutral": 0.4, "happiness": 0.3, "anger": 0.3}, id="plurality-only"),
    pytest.param("5,5,0,0,0,0,0,0,0,0", "neutral", None, NO_MAJORITY,
                 {"neutral": 0.5, "happiness": 0.5}, id="exactly-half-is-no-majority"),
    pytest.param("0,0,0,5,0,0,0,0,5,0", None, NO_FACE, NO_FACE, {}, id="as-many-for-unknown"),
    pytest.param("0,0,0,4,0,0,0,2,4,0", None, NO_FACE, NO_FACE, {}, id="unknown-among-the-most"),
    pytest.param("0,0,0,4,0,0,0,3,3,0", "sadness", None, NO_MAJORITY,
                 {"sadness": 4 / 7, "contempt": 3 / 7}, id="unknown-counts-against-a-majority"),
    pytest.param("0,6,0,0,0,0,0,0,4,0", "happiness", None, None, {"happiness": 1},
                 id="unknown-is-no-soft-label"),
    pytest.param("6,0,0,0,0,0,0,0,1,3", "neutral", None, None, {"neutral": 1},
                 id="some-saw-no-face"),
    pytest.param("0,0,0,0,0,0,0,0,0,10", None, NO_FACE, NO_FACE, {}, id="no-face"),
    pytest.param("0,0,0,0,0,0,0,0,10,0", None, NO_FACE, NO_FACE, {}, id="unknown"),
    pytest.param("1,1,1,1,1,1,1,1,1,1", None, NO_VOTES, NO_VOTES, {}, id="only-single-votes"),
    pytest.param("0,0,0,0,0,0,0,0,0,0", None, NO_VOTES, NO_VOTES, {}, id="no-votes"),
    pytest.param("0,0,0,0,0,0,0,2,0,0", "contempt", None, None, {"contempt": 1},
                 id="two-votes-are-enough"),
]  # fmt: skip


@pytest.mark.parametrize("usage", FOLDERS)
@pytest.mark.parametrize(("votes", "label", "train", "judged", "shares"), PROTOCOL)
def test_ferplus_protocol(
    tmp_path: Path,
    usage: str,
    votes: str,
    label: str | None,
    train: str | None,
    judged: str | None,
    shares: dict[str, float],
) -> None:
    row = _rows(_import("ferplus", _ferplus(tmp_path / "s", [FACE, f"{usage},x.png,{votes}"])))
    found = row["x.png"]
    assert found["label"] == label
    assert found["excluded"] == (train if usage == "Training" else judged)
    assert found["split"] == {"Training": "train", "PublicTest": "valid"}.get(usage, "test")
    expected = [shares.get(emotion, 0.0) for emotion in EMOTIONS] if shares else None
    assert found["votes"] == (expected and pytest.approx(expected, abs=1e-6))
    assert found["sha256"], "excluded images are packed too"


def test_rows_without_an_image_name_stay_listed(tmp_path: Path) -> None:
    source = _ferplus(tmp_path / "s", [FACE, f"Training,,{CLEAR}", f"PublicTest,,{CLEAR}"])
    dataset = _import("ferplus", source)
    nameless = [r for r in dataset.manifest.to_pylist() if r["path"].startswith("(row")]
    assert [(r["split"], r["excluded"], r["shard"]) for r in nameless] == [
        ("train", "no image in the vote table", None),
        ("valid", "no image in the vote table", None),
    ]
    assert len({r["id"] for r in nameless}) == 2


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        pytest.param("missing", "missing: no such image in the source", id="missing"),
        pytest.param("text", "unreadable: not a readable image: the data", id="text"),
        pytest.param("empty", "unreadable: not a readable image: the data", id="empty"),
        pytest.param("cut", "unreadable: not a readable image: the data", id="cut"),
    ],
)
def test_bad_image_is_excluded_with_the_reason(tmp_path: Path, kind: str, reason: str) -> None:
    source = _ferplus(tmp_path / "s", [FACE, f"Training,x.png,{CLEAR}", f"Training,y.png,{CLEAR}"])
    for name in ("x.png", "y.png"):
        file = source / "FER2013Train" / name
        whole = file.read_bytes()
        file.unlink()
        if kind != "missing":
            content = {"text": b"I am a text", "empty": b"", "cut": whole[:300]}[kind]
            file.write_bytes(content)
    dataset = _import("ferplus", source)
    found = _rows(dataset)["x.png"]
    assert found["excluded"].startswith(reason)
    assert found["label"] == "neutral"
    assert [found[key] for key in ("sha256", "width", "height", "shard", "row")] == [None] * 5
    assert list(dataset.info["excluded"]["train"].values()) == [2], "equal reasons are one count"
    assert dataset.usable("train").tolist() == []


def test_unreadable_images_do_not_move_the_fingerprint(tmp_path: Path) -> None:
    source = _ferplus(tmp_path / "s", [FACE, f"Training,x.png,{CLEAR}"])
    (source / "FER2013Train" / "x.png").write_bytes(b"I am a text")
    prints = {import_dataset("ferplus", source, tmp_path / f"{i}")["fingerprint"] for i in range(3)}
    assert len(prints) == 1


@pytest.mark.parametrize(
    ("header", "says"),
    [
        pytest.param(HEADER.replace("Usage,", "Use,"), "column 'Usage' is missing", id="usage"),
        pytest.param(HEADER.replace(",NF", ""), "column 'NF' is missing", id="nf"),
        pytest.param(
            HEADER.replace("fear,contempt", "x,y"), "column 'fear', 'contempt' is missing", id="two"
        ),
        pytest.param("", "found an empty file", id="empty"),
    ],
)
def test_missing_column_is_named(tmp_path: Path, header: str, says: str) -> None:
    source = _ferplus(tmp_path / "s", [FACE])
    (source / "fer2013new.csv").write_text(header and f"{header}\n{FACE}\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=says) as caught:
        import_dataset("ferplus", source, tmp_path / "d")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("row", "says"),
    [
        pytest.param(
            f"Train,x.png,{CLEAR}", "line 3: Usage 'Train', expected Training", id="usage"
        ),
        pytest.param(f",x.png,{CLEAR}", "line 3: Usage '', expected", id="no-usage"),
        pytest.param(
            "Training,x.png,a,1,0,0,0,0,0,0,0,0", "line 3: votes .*ten numbers", id="text"
        ),
        pytest.param("Training,x.png,,1,0,0,0,0,0,0,0,0", "line 3: votes .*ten", id="empty-vote"),
        pytest.param("Training,x.png,9,1", "line 3: votes .*ten numbers", id="short-row"),
        pytest.param("Training,x.png,-1,9,0,0,0,0,0,0,0,0", "line 3: .*0 or more", id="negative"),
        pytest.param("Training,x.png,nan,9,0,0,0,0,0,0,0,0", "line 3: .*0 or more", id="nan"),
        pytest.param("Training,x.png,inf,9,0,0,0,0,0,0,0,0", "line 3: .*0 or more", id="inf"),
    ],
)
def test_bad_row_of_the_vote_table(tmp_path: Path, row: str, says: str) -> None:
    source = _ferplus(tmp_path / "s", [FACE, row])
    with pytest.raises(DatasetError, match=says):
        import_dataset("ferplus", source, tmp_path / "d")
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_table_as_spreadsheets_write_it(tmp_path: Path) -> None:
    source = _ferplus(tmp_path / "s", [FACE])
    text = HEADER.replace("Usage", " Usage ") + f"\n{FACE}\n\n"
    table = "\ufeff" + text.replace("\n", "\r\n")
    (source / "fer2013new.csv").write_bytes(table.encode())
    assert _rows(_import("ferplus", source))["safe.png"]["label"] == "happiness"


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        pytest.param("no-table", "no fer2013new.csv here; expected a folder", id="no-table"),
        pytest.param("file", "no fer2013new.csv here", id="source-is-the-table"),
        pytest.param("latin", "cannot be read as UTF-8", id="not-utf-8"),
        pytest.param("rows", "none of 0 rows is usable .no rows", id="no-rows"),
        pytest.param("no-images", "none of 1 rows is usable .1 missing: no such", id="no-images"),
    ],
)
def test_nothing_to_import(tmp_path: Path, kind: str, says: str) -> None:
    source = _ferplus(tmp_path / "s", [FACE])
    table = source / "fer2013new.csv"
    if kind == "no-table":
        table.unlink()
    elif kind == "file":
        source = table
    elif kind == "latin":
        table.write_bytes(HEADER.encode() + b"\nPrivateTest,\xe9.png,9,1,0,0,0,0,0,0,0,0\n")
    elif kind == "rows":
        table.write_text(HEADER + "\n", encoding="utf-8")
    else:
        shutil.rmtree(source / "FER2013Test")
    with pytest.raises(DatasetError, match=says):
        import_dataset("ferplus", source, tmp_path / "d")
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


# --- leaks --------------------------------------------------------------------------------------

LIKE_TEST, LIKE_VALID = "same pixels as a test image", "same pixels as a valid image"
UNCLEAR = "4,3,0,0,3,0,0,0,0,0"


def test_copies_leave_training_and_validation(tmp_path: Path) -> None:
    """The number after a name's letter is the image's pixels."""
    rows = {
        "a1.png": ("PrivateTest", CLEAR, None),
        "b1.png": ("PrivateTest", CLEAR, None),  # a copy within a split stays
        "c1.png": ("PublicTest", CLEAR, LIKE_TEST),
        "d1.png": ("Training", CLEAR, LIKE_TEST),
        "e2.png": ("PublicTest", CLEAR, None),
        "f2.png": ("Training", CLEAR, LIKE_VALID),
        "g2.png": ("Training", CLEAR, LIKE_VALID),
        "h3.png": ("PrivateTest", UNCLEAR, NO_MAJORITY),
        "i3.png": ("Training", CLEAR, LIKE_TEST),  # of an excluded test image
        "j3.png": ("PublicTest", CLEAR, LIKE_TEST),
        "k4.png": ("PublicTest", UNCLEAR, NO_MAJORITY),
        "l4.png": ("Training", CLEAR, LIKE_VALID),  # of an excluded validation image
        "m5.png": ("Training", CLEAR, None),
        "n5.png": ("Training", CLEAR, None),
        "o1.png": ("Training", "0,0,0,0,0,0,0,0,0,9", NO_FACE),  # its own reason stays
    }
    lines = [f"{usage},{name},{votes}" for name, (usage, votes, _) in rows.items()]
    images = {name: int(name[1]) for name in rows}
    dataset = _import("ferplus", _ferplus(tmp_path / "s", lines, images=images))
    found = {name: row["excluded"] for name, row in _rows(dataset).items()}
    assert found == {name: reason for name, (_, _, reason) in rows.items()}
    assert dataset.info["excluded"]["train"] == {LIKE_TEST: 2, LIKE_VALID: 3, NO_FACE: 1}
    assert dataset.info["excluded"]["valid"] == {LIKE_TEST: 2, NO_MAJORITY: 1}
    assert dataset.info["counts"]["train"] == {"neutral": 2}
    hashes = {
        split: {dataset.column("sha256")[row] for row in dataset.usable(split)}
        for split in ("train", "valid", "test")
    }
    assert not hashes["train"] & hashes["test"]
    assert not hashes["train"] & hashes["valid"]
    assert not hashes["valid"] & hashes["test"]


def test_a_copy_in_another_file_format_is_a_copy(tmp_path: Path) -> None:
    grey = _image(1)
    colour = np.repeat(grey[..., None], 3, axis=2)
    for place, name, pixels in (
        ("test/sad", "a.png", grey),
        ("train/sad", "b.bmp", colour),
        ("train/sad", "c.png", grey[:, ::-1]),
    ):
        (tmp_path / "s" / place).mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "s" / place / name, pixels)
    found = _rows(_import("folder", tmp_path / "s"))
    assert {n: r["excluded"] for n, r in found.items()} == {
        "a.png": None,
        "b.bmp": LIKE_TEST,
        "c.png": None,
    }


# --- what a table knows besides ------------------------------------------------------------------


def _described(source: Path, text: str, count: int = 8) -> Dataset:
    source.mkdir()
    for number in range(count):
        write_image(source / f"{number}.png", _image(number))
    (source / "t.csv").write_text(text)
    return _import("csv", source)


def test_words_of_a_table_are_kept_and_are_conditions(tmp_path: Path) -> None:
    rows = ["img,expression,gender,age,glasses,remark"]
    for number in range(8):
        gender = ("female", "male", "", "female")[number % 4]
        rows.append(
            f"{number}.png,{('happy', 'sad')[number % 2]},{gender},{20 + number},no,r{number}"
        )
    dataset = _described(tmp_path / "s", "\n".join(rows) + "\n")
    assert (dataset.values, dataset.words) == (("age",), ("gender", "glasses", "remark"))
    assert dataset.column("gender")[:4] == ["female", "male", None, "female"]
    for condition, left in (
        ("gender=female", [0, 2, 3, 4, 6, 7]),  # and whoever has none
        ("gender != female", [1, 2, 5, 6]),
        ("age=23", [3]),
        ("age!=23", [0, 1, 2, 4, 5, 6, 7]),
        ("age>=26", [6, 7]),
        ("gender!=nobody", [0, 1, 2, 3, 4, 5, 6, 7]),
    ):
        out = tmp_path / condition.replace(" ", "")
        clean_dataset(dataset, out, Rules(where=(condition,)))
        cleaned = Dataset.open(out)
        assert sorted(int(path[0]) for path in cleaned.column("path")) == left
        assert cleaned.words == dataset.words
    for condition, says in (
        ("gender=femal", "the values of gender are female, male"),
        ("sex=female", "the dataset's own words and numbers are gender, glasses, remark, age"),
        ("age=old", "the values of age are 20.0, 21.0"),
        ("gender<3", "the dataset's own numbers are age"),
    ):
        with pytest.raises(UsageError, match=re.escape(f"{condition}: {says}")):
            clean_dataset(dataset, tmp_path / "no", Rules(where=(condition,)))


def test_labels_against_their_votes_are_told_until_they_agree(tmp_path: Path) -> None:
    rows = [f"{n}.png,{('happy', 'sad')[n % 2]},{9 - n % 2 * 8},{1 + n % 2 * 8}" for n in range(7)]
    text = "\n".join(["path,label,happiness,sadness", *rows, "7.png,sad,9,1"]) + "\n"
    dataset = _described(tmp_path / "s", text)
    (note,) = (note for note in dataset.info["notes"] if "most of their votes" in note)
    assert note.startswith("Images whose label is not what most of their votes say: 1. Training")
    clean_dataset(dataset, tmp_path / "agreed", Rules(label_from="votes"))
    notes = Dataset.open(tmp_path / "agreed").info["notes"]
    assert not any("most of their votes" in note for note in notes)


def test_columns_of_emotions_with_gaps_are_no_votes(tmp_path: Path) -> None:
    rows = [f"{n}.png,{('happy', 'sad')[n % 2]},{9 - n},{'n/a' if n == 3 else n}" for n in range(8)]
    text = "\n".join(["path,label,happiness,sadness", *rows]) + "\n"
    dataset = _described(tmp_path / "s", text)
    assert dataset.column("excluded") == [None] * 8
    assert dataset.column("votes") == [None] * 8


def test_a_number_that_is_not_known_may_be_said_to_be_none(tmp_path: Path) -> None:
    cells = ("20", "n/a", "", "NaN", "-", "31.5", "null", "NA")
    rows = [
        f"{number}.png,{('happy', 'sad')[number % 2]},{cell}" for number, cell in enumerate(cells)
    ]
    dataset = _described(tmp_path / "s", "\n".join(["path,label,age", *rows]) + "\n")
    assert (dataset.values, dataset.words) == (("age",), ())
    ages = dict(zip(dataset.column("path"), dataset.column("age"), strict=True))
    assert {path: age for path, age in ages.items() if age is not None} == {
        "0.png": 20.0,
        "5.png": 31.5,
    }


@pytest.mark.parametrize("head", ["path;label", "sep=;\npath;label", '"sep=;"\r\nImage Path;Label'])
def test_a_table_as_excel_writes_it(tmp_path: Path, head: str) -> None:
    rows = "\n".join(f"{n}.png;{('happy', 'sad')[n % 2]}" for n in range(4))
    source = tmp_path / "s"
    source.mkdir()
    for number in range(4):
        write_image(source / f"{number}.png", _image(number))
    (source / "faces.txt").write_text(f"{head}\n{rows}\n")
    import_dataset("csv", source / "faces.txt", tmp_path / "d")
    assert Dataset.open(tmp_path / "d").column("label") == ["happiness", "sadness"] * 2


def test_a_line_without_an_end_is_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.data.formats.tables._LONGEST_LINE", 100)
    (tmp_path / "t.csv").write_text("path,label\n" + "x" * 200)
    with pytest.raises(DatasetError, match=r"t\.csv: a line of over 100 characters: no table"):
        import_dataset("csv", tmp_path / "t.csv", tmp_path / "d")


def test_lines_are_counted_from_the_top_of_the_file(tmp_path: Path) -> None:
    rows = "\n".join(f"{n}.png;happy;{'old' if n == 2 else n}" for n in range(20))
    dataset = _described(tmp_path / "s", f"sep=;\npath;label;age\n{rows}\n", count=20)
    assert any("'old' in line 5:" in note for note in dataset.info["notes"])


def test_a_path_from_another_machine_means_the_image_that_it_ends_in(tmp_path: Path) -> None:
    source = _faces(tmp_path / "s", ["imgs/a.png", "more/a.png", "imgs/b.png", "c.png"])
    rows = ("C:\\Users\\L\\imgs\\a.png,happy", "/home/l/b.png,sad", "/x/a.png,sad", "no/c.png,sad")
    (source / "t.csv").write_text("\n".join(("path,label", *rows)))
    dataset = _import("csv", source)
    found = [row for row in dataset.manifest.to_pylist() if row["problem"] != "unlisted"]
    assert [(row["path"], row["located"], row["problem"]) for row in found] == [
        ("imgs/a.png", "name", None),
        ("imgs/b.png", "name", None),
        ("a.png", None, "missing"),  # of which there are two
        ("no/c.png", None, "missing"),
    ]
    (note,) = (note for note in dataset.info["notes"] if note.startswith("Paths at which"))
    assert note.startswith("Paths at which there is no image: 2, the first 'a.png'. ")


def test_a_column_that_a_few_cells_keep_from_being_numbers_is_told(tmp_path: Path) -> None:
    rows = [
        f"{n}.png,{('happy', 'sad')[n % 2]},{age},{n or 'n/a'},{n if n % 3 else 'x'}"
        for n in range(20)
        for age in ("old" if n in (4, 9) else n,)
    ]
    text = "\n".join(["path,label,age,fear,mixed", *rows]) + "\n"
    dataset = _described(tmp_path / "s", text, count=20)
    assert (dataset.values, dataset.column("votes")) == ((), [None] * 20)
    end = ": so it is not read as numbers."
    told = [note for note in dataset.info["notes"] if note.endswith(end)]
    assert told == [
        f"Column 'fear' holds numbers but for 'n/a' in line 2{end}",
        f"Column 'age' holds numbers but for 'old' in line 6 and 1 more{end}",
    ]


def test_a_row_whose_split_is_none_is_left_out(tmp_path: Path) -> None:
    """Left open, it might land in the wrong one."""
    rows = [
        "path,label,split",
        "0.png,happy,tset",
        "1.png,sad,train",
        "2.png,happy,Val",
        "3.png,sad,",
    ]
    dataset = _described(tmp_path / "s", "\n".join(rows) + "\n", count=4)
    reasons = dict(zip(dataset.column("path"), dataset.column("excluded"), strict=True))
    assert reasons.pop("0.png") == "split 'tset' is none of train, valid and test"
    assert set(reasons.values()) == {None}


def test_ids_beside_words_that_are_no_emotions_are_the_labels(tmp_path: Path) -> None:
    rows = ["path,label,expression"]
    rows += [f"{n}.png,{n % 2},{('posed', 'spontaneous')[n % 2]}" for n in range(4)]
    source = tmp_path / "s"
    source.mkdir()
    for number in range(4):
        write_image(source / f"{number}.png", _image(number))
    (source / "t.csv").write_text("\n".join(rows) + "\n")
    info = import_dataset("csv", source, tmp_path / "d", codes={"0": "happiness", "1": "sadness"})
    assert info["labels"] == ["happiness", "sadness"]
    assert info["words"] == ["expression"]


def test_files_that_several_rows_name_are_told(tmp_path: Path) -> None:
    rows = ["path,label", "0.png,happy", "1.png,sad", "./1.png,happy", "0.png,happy", "2.png,sad"]
    dataset = _described(tmp_path / "s", "\n".join(rows) + "\n", count=3)
    assert any(
        note.startswith("Files that several rows name: 2;") for note in dataset.info["notes"]
    )


def test_people_in_several_splits_are_told_until_splits_are_drawn_anew(tmp_path: Path) -> None:
    rows = ["path,label,subject,split"]
    for number in range(24):
        place = ("train", "valid", "test")[number % 3]
        person = f"p{number // 2}" if number < 12 else f"q{number % 6}"
        rows.append(f"{number}.png,{('happy', 'sad')[number % 2]},{person},{place}")
    dataset = _described(tmp_path / "s", "\n".join(rows) + "\n", count=24)
    (note,) = (note for note in dataset.info["notes"] if note.startswith("People who are shown"))
    assert note.startswith("People who are shown in several splits: 6 of 12. What is measured")
    for rules, stays in ((Rules(without=("anger",)), True), (Rules(split=(50, 25, 25)), False)):
        clean_dataset(dataset, tmp_path / f"{stays}", rules)
        assert (note in Dataset.open(tmp_path / f"{stays}").info["notes"]) == stays


def test_columns_of_many_or_long_words_are_left_out(tmp_path: Path) -> None:
    rows = ["path,label,few,many,long"]
    rows += [f"{n}.png,{('happy', 'sad')[n % 2]},f{n % 50},m{n},{'w' * 61}" for n in range(51)]
    dataset = _described(tmp_path / "s", "\n".join(rows) + "\n", count=51)
    assert dataset.words == ("few",)
    assert any(note.startswith("Columns left out: many, long.") for note in dataset.info["notes"])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-8-sig"])
def test_a_table_in_the_encodings_of_spreadsheets(tmp_path: Path, encoding: str) -> None:
    write_image(tmp_path / "é.png", _image(0))
    write_image(tmp_path / "b.png", _image(1))
    text = "path\tlabel\né.png\thappy\nb.png\tsad\n"
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "t.csv").write_bytes((mark + text).encode(encoding))
    assert _rows(_import("csv", tmp_path)).keys() == {"é.png", "b.png"}


# --- fer2013 ------------------------------------------------------------------------------------

USAGES = ("Training", "PublicTest", "PrivateTest")


def _cell(seed: int) -> str:
    return " ".join(map(str, _image(seed).ravel()))


def _fer2013(source: Path, rows: list[str], header: str = "emotion,pixels,Usage") -> Path:
    source.mkdir(parents=True)
    text = "\n".join([header, *rows]) + "\n"
    (source / "fer2013.csv").write_text(text, encoding="utf-8")
    return source


@pytest.mark.parametrize("given", ["folder", "table"])
def test_fer2013_comes_back(tmp_path: Path, given: str) -> None:
    rows = [f"{i % 7},{_cell(i)},{USAGES[i % 3]}" for i in range(21)]
    source = _fer2013(tmp_path / "s", rows)
    dataset = _import("fer2013", source if given == "folder" else source / "fer2013.csv")
    names = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
    assert dataset.column("label") == [names[i % 7] for i in range(21)]
    assert dataset.column("split") == [("train", "valid", "test")[i % 3] for i in range(21)]
    assert dataset.column("path")[0] == "fer2013.csv/00002"
    assert set(dataset.column("width") + dataset.column("height")) == {48}
    assert dataset.emotions == tuple(e for e in EMOTIONS if e != "contempt")
    found = dataset.images(np.arange(21))[..., 0]
    np.testing.assert_array_equal(found, [_image(i) for i in range(21)])


def test_fer2013_of_the_challenge_names_no_splits(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    rows = [f"{i % 7},{_cell(i)}" for i in range(70)]
    (tmp_path / "s/train.csv").write_text("emotion,pixels\n" + "\n".join(rows) + "\n")
    (tmp_path / "s/test.csv").write_text(f"pixels\n{_cell(99)}\n")
    assert recognise(tmp_path / "s")[0] == "fer2013"
    dataset = _import("fer2013", tmp_path / "s")
    assert len(dataset.emotions) == 7
    assert Counter(dataset.column("split")) == {"train": 56, "valid": 7, "test": 7}


GOOD = f"0,{_cell(1)},Training"


@pytest.mark.parametrize(
    ("row", "label", "reason"),
    [
        pytest.param(f"7,{_cell(2)},Training", None, "emotion '7' is none", id="no-such-code"),
        pytest.param(f"-1,{_cell(2)},Training", None, "emotion '-1' is none", id="negative"),
        pytest.param(f"happy,{_cell(2)},Training", None, "emotion 'happy' is none", id="a-name"),
        pytest.param(f",{_cell(2)},Training", None, "emotion '' is none", id="no-code"),
        pytest.param("3,1 2 3,Training", "happiness", "unreadable: 3 pixels, ex", id="few-pixels"),
        pytest.param("3,,Training", "happiness", "unreadable: 0 pixels, expected 2304", id="none"),
        pytest.param(f"3,{_cell(2)} 5,Training", "happiness", "unreadable: 2305", id="many"),
        pytest.param("3,a b c,Training", "happiness", "unreadable: pixels are not", id="letters"),
        pytest.param("3,1.5,Training", "happiness", "unreadable: pixels are not", id="fractions"),
        pytest.param(f"3,{'9' * 30},Training", "happiness", "unreadable: pixels", id="overflow"),
        pytest.param(
            f"3,{'256 ' * 2304},Training", "happiness", "unreadable: 2304 pixels, ", id="over-255"
        ),
        pytest.param(
            f"3,{'-1 ' * 2304},Training", "happiness", "unreadable: 2304 pixels, ", id="below-0"
        ),
    ],
)
def test_fer2013_defect_is_excluded(
    tmp_path: Path, row: str, label: str | None, reason: str
) -> None:
    dataset = _import("fer2013", _fer2013(tmp_path / "s", [GOOD, row]))
    assert dataset.column("label")[1] == label
    assert dataset.column("excluded")[1].startswith(reason)
    assert dataset.usable("train").tolist() == [0]


@pytest.mark.parametrize(
    ("rows", "header", "says"),
    [
        pytest.param([GOOD], "emotion,pixel,Usage", "column 'pixels' is missing", id="column"),
        pytest.param([GOOD], "emotion,pixels,usage", "column 'Usage' is missing", id="no-usage"),
        pytest.param([GOOD, f"1,{_cell(2)},Test"], None, "line 3: Usage 'Test'", id="usage"),
        pytest.param([GOOD, "1,1 2 3"], None, "line 3: Usage ''", id="short-row"),
        pytest.param(["Training"], "Usage,emotion,pixels", "none of 1 rows", id="only-a-usage"),
        # None of the challenge's files, whose splits are drawn.
        pytest.param([GOOD], "emotion,pixels", "column 'Usage' is missing", id="no-column-of-it"),
    ],
)
def test_fer2013_broken_table(
    tmp_path: Path, rows: list[str], header: str | None, says: str
) -> None:
    source = _fer2013(tmp_path / "s", rows, header or "emotion,pixels,Usage")
    with pytest.raises(DatasetError, match=says):
        import_dataset("fer2013", source, tmp_path / "d")
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


# --- folder -------------------------------------------------------------------------------------


def _faces(source: Path, paths: Iterable[str]) -> Path:
    for number, path in enumerate(paths):
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        write_image(source / path, _image(number, (20, 30, 3)))
    return source


@pytest.mark.parametrize(
    ("path", "split", "label"),
    [
        pytest.param("train/happy/a.png", "train", "happiness", id="plain"),
        pytest.param("Training/Sad/a.png", "train", "sadness", id="capitals"),
        pytest.param("val/ANGRY/a.png", "valid", "anger", id="val"),
        pytest.param("validation/surprised/a.png", "valid", "surprise", id="validation"),
        pytest.param("PublicTest/fear/a.png", "valid", "fear", id="fer2013-valid"),
        pytest.param("PrivateTest/disgusted/a.png", "test", "disgust", id="fer2013-test"),
        pytest.param("test/contempt/person_1/a.png", "test", "contempt", id="folders-below"),
        pytest.param("faces/v2/test/no_emotion/a.png", "test", "neutral", id="folders-above"),
        pytest.param("happy/test/a.png", "test", "happiness", id="emotion-around-split"),
        pytest.param("Val_Aligned_Faces_new/Happy/a.png", "valid", "happiness", id="sfew"),
        pytest.param("test data/happy/a.png", "test", "happiness", id="first-word"),
        pytest.param("testset/happy/a.png", "test", "happiness", id="one-word"),
        pytest.param("trainset/sad/a.png", "train", "sadness", id="one-word-of-train"),
        pytest.param("valset/sad/a.png", "valid", "sadness", id="one-word-of-valid"),
        pytest.param("eval/sad/a.png", "valid", "sadness", id="eval"),
        pytest.param("test_set/sad/a.png", "test", "sadness", id="two-words"),
        pytest.param("Test_Aligned_Faces/sad/a.png", "test", "sadness", id="sfew-test"),
        pytest.param("train_data/test/happy/a.png", "test", "happiness", id="whole-name-first"),
        pytest.param("train_test_split/test/sad/a.png", "test", "sadness", id="two-splits"),
        pytest.param("happy/test/Dev Patel/a.png", "test", "happiness", id="no-split-of-a-name"),
    ],
)
def test_folder_with_splits(tmp_path: Path, path: str, split: str, label: str) -> None:
    source = _faces(tmp_path / "s", ["train/anger/safe.png", path, "readme/a.png"])
    rows = {r["path"]: r for r in _import("folder", source).manifest.to_pylist()}
    assert (rows[path]["split"], rows[path]["label"], rows[path]["excluded"]) == (
        split,
        label,
        None,
    )
    assert (rows[path]["width"], rows[path]["height"]) == (30, 20)
    with FORMATS["folder"].read(source) as reading:
        assert {sample.path: sample.split for sample, _ in reading.items}[path] == split
    outside = rows["readme/a.png"]
    assert (outside["label"], outside["excluded"], outside["problem"]) == (
        None,
        "folder 'readme' names no emotion",
        "bad_label",
    )


def test_folders_with_names_of_ones_own(tmp_path: Path) -> None:
    names = [f"{folder}/{n}.png" for folder in ("wütend", "FROH", "calm", "x/2021") for n in "ab"]
    source = _faces(tmp_path / "s", [*names, "happy/a.png", "top.png"])
    dataset = _import("folder", source)
    assert set(dataset.column("label")) == {"neutral", "happiness", None}
    (note,) = (n for n in dataset.info["notes"] if n.startswith("Folders that name no emotion: "))
    assert all(f"{name!r} (2)" in note for name in ("wütend", "FROH", "2021"))
    assert _rows(dataset)["top.png"]["excluded"] == "in no emotion's folder"
    codes = read_codes("Wütend=anger,froh=happy,calm=sad,x=fear")
    import_dataset("folder", source, tmp_path / "d", codes=codes)
    found = Dataset.open(tmp_path / "d")
    told = dict(zip(found.column("path"), found.column("label"), strict=True))
    assert [
        told[f"{folder}/a.png"] for folder in ("wütend", "FROH", "calm", "x/2021", "happy")
    ] == [
        "anger",
        "happiness",
        "sadness",
        "fear",
        "happiness",
    ]


@pytest.mark.parametrize(
    ("path", "subject"),
    [
        ("P{who:03d}/{emotion}/{n}.png", "P{who:03d}"),
        ("{emotion}/{who:09d}/{n:03d}.png", "{who:09d}"),
        ("NI/Strong/P{who:03d}/{emotion}/{n}.png", "P{who:03d}"),
        ("M{who:03d}/video/front/{emotion}/level_{n}/1.png", "M{who:03d}"),
    ],
)
def test_folders_of_people_or_sequences_stay_in_one_split(
    tmp_path: Path, path: str, subject: str
) -> None:
    named = {}
    for who in range(20):
        for n, emotion in enumerate(("angry", "happy", "sad", "happy")):
            given = {"who": who, "emotion": emotion, "n": n}
            named[path.format(**given)] = subject.format(**given)
    info = import_dataset("folder", _faces(tmp_path / "s", named), tmp_path / "d")
    rows = Dataset.open(tmp_path / "d").manifest.to_pylist()
    assert {row["path"]: row["subject"] for row in rows} == named
    assert len({(row["subject"], row["split"]) for row in rows}) == 20
    assert {row["split"] for row in rows} == {"train", "valid", "test"}
    first = min(named.values())
    assert any(
        f"20 folders that name neither an emotion nor a split, such as '{first}'" in note
        for note in info["notes"]
    )


def test_people_around_named_splits_are_the_same_in_all(tmp_path: Path) -> None:
    kinds = product(range(12), ("train", "test"), ("angry", "happy"))
    paths = [f"P{n:02d}/{split}/{emotion}/1.png" for n, split, emotion in kinds]
    import_dataset("folder", _faces(tmp_path / "s", paths), tmp_path / "d")
    assert set(Dataset.open(tmp_path / "d").column("subject")) == {f"P{n:02d}" for n in range(12)}


def test_the_outermost_folders_of_many_are_the_people(tmp_path: Path) -> None:
    kinds = product(range(10), ("angry", "happy"), range(12))
    paths = [f"P{who}/{emotion}/{take:03d}/1.png" for who, emotion, take in kinds]
    import_dataset("folder", _faces(tmp_path / "s", paths), tmp_path / "d")
    assert set(Dataset.open(tmp_path / "d").column("subject")) == {f"P{who}" for who in range(10)}


def test_a_person_may_be_called_as_a_split_begins(tmp_path: Path) -> None:
    names = ["Dev Patel", "Val Kilmer", "Test Person", *(f"Ann {n}" for n in range(9))]
    kinds = product(("angry", "happy"), names, range(2))
    paths = [f"{emotion}/{name}/{n}.png" for emotion, name, n in kinds]
    import_dataset("folder", _faces(tmp_path / "s", paths), tmp_path / "d")
    rows = Dataset.open(tmp_path / "d").manifest.to_pylist()
    assert {row["subject"] for row in rows} == {*names}
    assert len({(row["subject"], row["split"]) for row in rows}) == len(names)


def test_people_of_named_splits_are_others_of_the_same_name(tmp_path: Path) -> None:
    kinds = product(("train", "test"), range(10), ("angry", "happy", "sad"))
    paths = [f"{split}/{emotion}/{who:03d}/1.png" for split, who, emotion in kinds]
    info = import_dataset("folder", _faces(tmp_path / "s", paths), tmp_path / "d")
    rows = Dataset.open(tmp_path / "d").manifest.to_pylist()
    assert {row["subject"] for row in rows if row["split"] == "test"} == {
        f"test/{who:03d}" for who in range(10)
    }
    assert len({(row["subject"], row["split"]) for row in rows}) == 20
    assert {row["split"] for row in rows} == {"train", "valid", "test"}
    assert not any("shown in several splits" in note for note in info["notes"])


@pytest.mark.parametrize(
    "folders",
    [
        ["google", "bing", "flickr"] * 8,  # few
        [f"{('angry', 'happy')[n % 2]} {n // 12}" for n in range(72)],  # few of each emotion
        ["rest"] * 12 + [f"P{who}" for who in range(9)] + ["P0", "P1", "P2"],  # one has most
        [f"{n}" for n in range(24)],  # one image in each
    ],
)
def test_other_folders_are_of_nobody(tmp_path: Path, folders: Sequence[str]) -> None:
    paths = [f"{('angry', 'happy')[n % 2]}/{folder}/{n}.png" for n, folder in enumerate(folders)]
    import_dataset("folder", _faces(tmp_path / "s", paths), tmp_path / "d")
    assert set(Dataset.open(tmp_path / "d").column("subject")) == {None}


def test_folder_without_splits_is_split_80_10_10(tmp_path: Path) -> None:
    names = [f"{emotion}/{i:02d}.png" for emotion in ("happy", "sad") for i in range(20)]
    source = _faces(tmp_path / "s", names)
    dataset = _import("folder", source)
    for label in ("happiness", "sadness"):
        rows = [r for r in dataset.manifest.to_pylist() if r["label"] == label]
        assert Counter(r["split"] for r in rows) == {"train": 16, "valid": 2, "test": 2}
    import_dataset("folder", source, tmp_path / "again")
    assert Dataset.open(tmp_path / "again").column("split") == dataset.column("split")
    # Not simply the first ones in the alphabet.
    assert dataset.usable("test").tolist() != [0, 1, 20, 21]
    assert dataset.spec.channels == 3


@pytest.mark.parametrize(
    ("side", "asked", "packed"), [(30, None, 48), (60, None, 60), (97, None, 96), (60, 96, 96)]
)
def test_small_faces_are_not_enlarged_beyond_what_networks_see(
    tmp_path: Path, side: int, asked: int | None, packed: int
) -> None:
    """Enlarged and reduced again they would be blurred, as recognition never sees them."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, side, side, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        smaller = image if number == 7 else image[: side - 9, : side - 11]
        file = tmp_path / "s" / ("happy", "sad")[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_image(file, smaller)
    info = import_dataset("folder", tmp_path / "s", tmp_path / "d", size=asked)
    assert info["image_size"] == packed
    told = f"packed as {packed}x{packed}, not 96x96"
    assert any(told in note for note in info["notes"]) == (packed < 96)


def test_what_is_no_face_makes_no_face_larger(tmp_path: Path) -> None:
    """A file that no row names, a box with a wrong digit."""
    for number in range(10):
        write_image(tmp_path / f"{number}.png", np.full((60, 50), 20 * number, np.uint8))
    write_image(tmp_path / "overview.png", np.full((300, 300), 7, np.uint8))
    rows = [f"{number}.png,{('happy', 'sad')[number % 2]},0 0 50 52" for number in range(9)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,box", *rows, "9.png,sad,0 0 6000 60"]))
    assert import_dataset("csv", tmp_path, tmp_path / "d")["image_size"] == 52


def test_boxes_as_shares_are_measured_in_pixels(tmp_path: Path) -> None:
    (tmp_path / "s/train/images").mkdir(parents=True)
    (tmp_path / "s/train/labels").mkdir()
    for number in range(10):
        write_image(
            tmp_path / f"s/train/images/{number}.png", np.full((200, 300), number * 20, np.uint8)
        )
        (tmp_path / f"s/train/labels/{number}.txt").write_text(f"{number % 8} 0.5 0.5 0.2 0.2\n")
    (tmp_path / "s/data.yaml").write_text(f"names: {[*YOLO_ORDER]}\n")
    assert import_dataset("affectnet-yolo", tmp_path / "s", tmp_path / "d")["image_size"] == 60


@pytest.mark.parametrize("side", [32, 48])
def test_no_note_tells_of_what_is_as_always(tmp_path: Path, side: int) -> None:
    for number in range(10):
        name = f"{('happy', 'anger')[number % 2]}/S{number:03d}_004_0000001{number}.png"
        (tmp_path / "s" / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "s" / name, _image(number, (side, side)))
    info = import_dataset("ckplus", tmp_path / "s", tmp_path / "d")
    assert info["image_size"] == 48
    assert not any("packed as" in note for note in info["notes"])


def test_the_largest_box_counts_not_the_largest_picture(tmp_path: Path) -> None:
    for number in range(10):
        write_image(tmp_path / f"{number}.png", np.full((200, 200), number, np.uint8))
    boxes = [f"10 10 {50 + number} 40" for number in range(10)]
    rows = [
        f"{number}.png,{('happy', 'sad')[number % 2]},{box}" for number, box in enumerate(boxes)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,box", *rows]) + "\n")
    assert import_dataset("csv", tmp_path, tmp_path / "d")["image_size"] == 59


def test_what_an_import_packs_is_what_recognition_sees(tmp_path: Path) -> None:
    """Of pictures as FER2013 has them, in the folders in which they are handed around."""
    spec = InputSpec(size=48, channels=1)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 48, 48), dtype=np.uint8)
    for number, image in enumerate(pixels):
        file = tmp_path / "s" / ("happy", "sad")[number % 2] / f"{number:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_image(file, image)
    import_dataset("folder", tmp_path / "s", tmp_path / "d")
    dataset = Dataset.open(tmp_path / "d")
    rows = np.arange(len(dataset))
    for row, packed in zip(rows, dataset.images(rows), strict=True):
        own = pixels[int(Path(dataset.column("path")[row]).stem)]
        assert np.array_equal(fit(packed, spec), fit(own, spec))


def test_people_of_a_named_split_draw_their_open_rows_along(tmp_path: Path) -> None:
    source = _faces(tmp_path / "s", [f"{i:02d}.png" for i in range(40)])
    rows = [
        f"{i:02d}.png,{('happy', 'sad')[i % 4 // 2]},{'test' if i % 4 == 0 else ''},p{i // 2}"
        for i in range(40)
    ]
    (source / "t.csv").write_text("path,label,split,subject\n" + "\n".join(rows) + "\n")
    dataset = _import("csv", source)
    splits, people = dataset.column("split"), dataset.column("subject")
    assert len(set(zip(splits, people, strict=True))) == 20
    assert Counter(splits)["test"] == 20 and set(splits) == {"train", "valid", "test"}
    assert "30 of 40 images are in no split that mien knows" in dataset.info["notes"][-1]


def test_a_link_of_any_name_is_told(tmp_path: Path) -> None:
    source = _faces(tmp_path / "s", ["happy/0.png", "sad/1.png"])
    (source / os.fsdecode(b"\xff")).symlink_to(tmp_path)
    notes = _import("folder", source).info["notes"]
    assert any("a link to a folder" in note for note in notes)


def _counts(dataset: Dataset) -> list[int]:
    return [sum(of_split.values()) for of_split in dataset.info["counts"].values()]


def test_drawing_all_splits_is_told(tmp_path: Path) -> None:
    dataset = _import("folder", _faces(tmp_path / "s", ["happy/0.png", "sad/1.png"]))
    drawn = (
        "The images are in no split that mien knows. Splits 80/10/10 of each emotion were drawn."
    )
    assert dataset.info["notes"][-1] == drawn
    kept, _ = clean_dataset(dataset, tmp_path / "kept", Rules())
    assert kept["notes"][-1] == drawn
    for name, split in (("anew", (70, 15, 15)), ("again", (1, 1, 2.5))):
        clean_dataset(dataset, tmp_path / name, Rules(split=split))
        dataset = Dataset.open(tmp_path / name)
        told = [note for note in dataset.info["notes"] if "drawn" in note]
        assert told == [f"Splits {'/'.join(map(str, split))} of each emotion were drawn."]


def test_a_split_of_unusable_images_alone_is_drawn_as_if_it_were_not_there(tmp_path: Path) -> None:
    names = [f"{emotion}/{i:02d}.png" for emotion in ("happy", "sad") for i in range(20)]
    dataset = _import("folder", _faces(tmp_path / "s", [*names, "test/me.png"]))
    assert _counts(dataset) == [32, 4, 4]
    assert "has a test split, but of its 1 images none is usable" in dataset.info["notes"][-2]


def test_a_validation_split_that_is_not_there_is_drawn_from_train(tmp_path: Path) -> None:
    usages = ["Training"] * 18 + ["PublicTest"] * 2 + ["PrivateTest"] * 2
    rows = [f"{usage},{i:02d}.png,{CLEAR}" for i, usage in enumerate(usages)]
    source = _ferplus(tmp_path / "s", rows)
    shutil.rmtree(source / "FER2013Valid")
    dataset = _import("ferplus", source)
    assert _counts(dataset) == [16, 2, 2]
    *_, why, drawn = dataset.info["notes"]
    assert "has a valid split, but of its 2 images none is usable" in why
    assert "a ninth of train was drawn" in drawn


def test_folders_of_different_emotions_are_left_out_and_told(tmp_path: Path) -> None:
    paths = ["angry/Joy/1.png", "angry/normal/2.png", "angry/strong/3.png", "sad/Dev Patel/4.png"]
    dataset = _import("folder", _faces(tmp_path / "s", paths))
    rows = _rows(dataset)
    assert [rows[f"{n}.png"]["label"] for n in (1, 2, 3, 4)] == [None, None, "anger", "sadness"]
    assert rows["2.png"]["excluded"] == "folders 'angry' and 'normal' mean different emotions"
    assert rows["2.png"]["problem"] == "bad_label"
    (told,) = (note for note in dataset.info["notes"] if "different emotions" in note)
    assert "left out: 2, such as those in 'angry/Joy/'" in told
    persons = _faces(tmp_path / "p", [f"{e}/{p}/{e}{p}.png" for e in (0, 1) for p in (0, 1, 9)])
    coded = _rows(_import("folder", persons, codes=read_codes("affectnet")))
    kept = {name: row["label"] for name, row in coded.items() if row["excluded"] is None}
    assert kept == {
        "00.png": "neutral", "09.png": "neutral", "11.png": "happiness", "19.png": "happiness"
    }  # fmt: skip


def test_files_that_are_passed_over_are_told(tmp_path: Path) -> None:
    source = _faces(tmp_path / "s", ["sad/0.png", "happy/1.png"])
    for name in ("sad/2.tga", "sad/.DS_Store", "happy/3", "more.tar.gz", "docs/readme.md"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes(b"x")
    notes = _import("folder", source).info["notes"]
    (told,) = (note for note in notes if "passed over" in note)
    assert told.endswith("passed over: no suffix 1, .tga 1.")
    assert any("more.tar.gz: an archive that is no zip" in note for note in notes)


def _table(tmp_path: Path, header: str, rows: Sequence[str]) -> Dataset:
    """Import a csv whose rows begin with the name of a picture each, 0.png and so on."""
    source = tmp_path / "s"
    for number in range(len(rows)):
        file = source / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_image(file, _image(number, (20, 20, 3)))
    lines = [f"{number}.png,{row}" for number, row in enumerate(rows)]
    (source / "t.csv").write_text("\n".join([header, *lines]) + "\n")
    return _import("csv", source)


def test_a_csv_over_folders_of_splits_and_emotions_heeds_them(tmp_path: Path) -> None:
    source = _faces(tmp_path / "s", ["train/sad/0.png", "valid/sad/1.png", "test/happy/2.png"])
    rows = ["train/sad/0.png,sad", "valid/sad/1.png,anger", "test/happy/2.png,happy"]
    (source / "t.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    dataset = _import("csv", source)
    assert dataset.column("split") == ["train", "valid", "test"]
    assert dataset.column("folder_label") == ["sadness", "sadness", "happiness"]
    assert audit_dataset(dataset).summary["folder_label_disagree"] == 1


@pytest.mark.parametrize(
    ("names", "before"),
    [
        (("train.csv", "val.csv", "test.csv"), "images/"),
        (("train/metadata.csv", "valid/metadata.csv", "test/metadata.csv"), ""),
    ],
)
def test_csvs_of_splits_are_one_source(tmp_path: Path, names: Sequence[str], before: str) -> None:
    source = tmp_path / "s"
    for number, name in enumerate(names):
        table = source / name
        for face in range(2):
            file = table.parent / before / f"{number}{face}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            write_image(file, _image(2 * number + face, (20, 20, 3)))
        rows = [f"{before}{number}{face}.png,{face},{('sad', 'joy')[face]}" for face in range(2)]
        table.write_text("\n".join(["file_name,age,label", *rows]) + "\n")
    assert recognise(source)[0] == "csv"
    dataset = _import("csv", source)
    splits = {name[0]: row["split"] for name, row in _rows(dataset).items()}
    assert splits == {"0": "train", "1": "valid", "2": "test"}
    assert dataset.column("label") == ["sadness", "happiness"] * 3
    assert dataset.column("age") == [0.0, 1.0] * 3
    assert not dataset.info["excluded"]["test"]
    (source / names[1]).write_text("file_name,emotion\n")
    with pytest.raises(DatasetError, match="other columns than"):
        import_dataset("csv", source, tmp_path / "out")


@pytest.mark.parametrize("column", ["Set", "partition", "fold"])
def test_columns_that_name_nothing_but_splits_are_splits(tmp_path: Path, column: str) -> None:
    dataset = _table(tmp_path, f"path,label,{column}", ["sad,val", "sad,Train", "happy,TEST"])
    assert dataset.column("split") == ["valid", "train", "test"]
    assert f"Splits by column '{column}'." in dataset.info["notes"]


def test_columns_of_other_words_are_no_splits(tmp_path: Path) -> None:
    dataset = _table(tmp_path, "path,label,set", ["sad,train", "sad,a", "happy,test"])
    assert dataset.column("set") == ["train", "a", "test"]


@pytest.mark.parametrize("column", ["subject_id", "Person", "actor"])
def test_people_have_columns_of_several_names(tmp_path: Path, column: str) -> None:
    dataset = _table(tmp_path, f"path,label,{column}", ["sad,a", "sad,b", "happy,b"])
    assert dataset.column("subject") == ["a", "b", "b"]
    assert any(f"by column '{column}'" in note for note in dataset.info["notes"])


@pytest.mark.parametrize("cells", ["1,1,1", "0.5,0.25,0.75"])
def test_what_counts_or_measures_people_names_none(tmp_path: Path, cells: str) -> None:
    one, two, three = cells.split(",")
    rows = [f"sad,{one},a", f"sad,{two},b", f"happy,{three},b"]
    dataset = _table(tmp_path, "path,label,person,actor", rows)
    assert dataset.column("subject") == ["a", "b", "b"]
    assert "person" in dataset.info["values"]


def test_a_column_of_one_split_alone_is_none(tmp_path: Path) -> None:
    dataset = _table(tmp_path, "path,label,dataset", ["sad,test", "sad,test", "happy,test"])
    assert dataset.column("dataset") == ["test"] * 3


def test_boxes_that_do_not_reach_beyond_1_are_shares(tmp_path: Path) -> None:
    dataset = _table(
        tmp_path, "path,label,x,y,w,h", ["sad,0.2,0.2,0.6,0.5", "sad,,,,", "happy,0,0,1,1"]
    )
    assert dataset.column("box") == [[4, 4, 12, 10], None, [0, 0, 20, 20]]
    assert any("read as shares" in note for note in dataset.info["notes"])


def test_a_few_columns_called_like_emotions_are_no_votes(tmp_path: Path) -> None:
    rows = ["disgust,1,0", "sad,0,1", "happy,0,0"]
    dataset = _table(tmp_path, "path,label,smiling,neutral", rows)
    assert dataset.column("votes") == [None] * 3
    assert dataset.info["values"] == ["smiling", "neutral"]


def test_votes_for_all_labels_in_use_are_votes(tmp_path: Path) -> None:
    dataset = _table(tmp_path, "path,label,sad,happy", ["sad,3,1", "happy,0,2"])
    assert dataset.column("votes")[0][EMOTIONS.index("sadness")] == pytest.approx(0.75)
    assert "Votes by columns happy, sad." in dataset.info["notes"]


def test_a_path_from_another_machine_leads_into_no_other_split(tmp_path: Path) -> None:
    source = _faces(tmp_path / "s", ["test/0.png", "train/1.png", "2.png"])
    rows = ["/home/jo/data/train/0.png,sad", "C:\\dev\\train\\1.png,happy", "/joy/val/2.png,happy"]
    (source / "t.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    dataset = _import("csv", source)
    assert dataset.column("problem") == ["missing", None, None, "unlisted"]
    assert any("by the end of its path: 2 " in note for note in dataset.info["notes"])


@pytest.mark.parametrize("kind", ["black", "blue", "dim"])
def test_flat_frames_join_no_persons(tmp_path: Path, kind: str) -> None:
    """As of a closed lens, of a player without a signal, of a sensor in the dark."""
    flat = np.zeros((20, 20, 3), np.uint8)
    if kind == "blue":
        flat[..., 2] = 255
    elif kind == "dim":
        flat = _image(0, flat.shape) // 52
    source = tmp_path / "s"
    source.mkdir()
    rows = []
    for person in range(20):
        for frame in range(4):
            name = f"{person:02d}-{frame}.png"
            write_image(source / name, _image(10 * person + frame, flat.shape) if frame else flat)
            rows.append(f"{name},{('happy', 'sad')[person % 2]},p{person}")
    (source / "t.csv").write_text("path,label,subject\n" + "\n".join(rows) + "\n")
    dataset = _import("csv", source)
    splits, people = dataset.column("split"), dataset.column("subject")
    assert len(set(zip(splits, people, strict=True))) == 20, "each person in one split"
    assert set(splits) == {"train", "valid", "test"}
    # A flat frame that a test image equals is still not learnt.
    copies = Counter(reason for reason in dataset.column("excluded") if reason)
    assert copies == {LIKE_TEST: 18}


def test_a_column_may_have_the_name_of_any_field(tmp_path: Path) -> None:
    source = _faces(tmp_path / "s", ["a.png", "b.png"])
    (source / "t.csv").write_text("path,label,values\na.png,happy,1.5\nb.png,sad,2\n")
    assert _import("csv", source).column("values") == [1.5, 2.0]


def test_folders_that_name_no_split_beside_such_that_do(tmp_path: Path) -> None:
    names = [f"{s}/happy/{i}.png" for s in ("training_set", "dev_set", "holdout") for i in range(9)]
    dataset = _import("folder", _faces(tmp_path / "s", [*names, "training_set/sad/9.png"]))
    given = dict(zip(dataset.column("path"), dataset.column("split"), strict=True))
    assert {given[name] for name in names if name.startswith("dev_set")} == {"valid"}
    assert "9 of 28 images are in no split that mien knows" in dataset.info["notes"][-1]


def test_folder_without_a_validation_split_gets_one_from_train_alone(tmp_path: Path) -> None:
    names = [
        f"{s}/{e}/{i:02d}.png"
        for s in ("train", "test")
        for e in ("sad", "fear")
        for i in range(20)
    ]
    dataset = _import("folder", _faces(tmp_path / "s", names))
    rows = dataset.manifest.to_pylist()
    for label in ("sadness", "fear"):
        splits = Counter(r["split"] for r in rows if r["label"] == label)
        assert splits == {"train": 18, "valid": 2, "test": 20}
    assert all(r["path"].startswith("test") == (r["split"] == "test") for r in rows)
    told = "The source has no usable validation image: a ninth of train was drawn."
    assert told in dataset.info["notes"]
    more = [*names, "valid/sad/0.png", "valid/fear/0.png"]
    assert told not in _import("folder", _faces(tmp_path / "t", more)).info["notes"]


def test_numbers_are_no_emotions(tmp_path: Path) -> None:
    source = _faces(tmp_path / "s", ["0/a.png", "1/b.png"])
    with pytest.raises(
        DatasetError, match="2 images and videos, none in a folder named after an emotion"
    ):
        import_dataset("folder", source, tmp_path / "d")
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_folder_with_only_broken_images(tmp_path: Path) -> None:
    file = tmp_path / "s" / "happy" / "a.jpg"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"I am a text")
    with pytest.raises(DatasetError, match=r"none of 1 rows is usable \(1 unreadable"):
        import_dataset("folder", tmp_path / "s", tmp_path / "d")
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_source_of_any_name(tmp_path: Path) -> None:
    source = _faces(tmp_path / "not-utf-8-\udcff", ["train/happy/a.png"])
    info = import_dataset("folder", source, tmp_path / "d")
    assert json.loads((tmp_path / "d/dataset.json").read_text(encoding="utf-8")) == info
    assert info["source"].endswith("not-utf-8-?")


# --- drawn folder -------------------------------------------------------------------------------


def test_drawn_folder_imports_evenly(drawn_dataset: Dataset) -> None:
    assert drawn_dataset.info["counts"] == {
        "train": dict.fromkeys(EMOTIONS, 14),
        "valid": dict.fromkeys(EMOTIONS, 3),
        "test": dict.fromkeys(EMOTIONS, 3),
    }
    assert len(set(drawn_dataset.column("sha256"))) == 160, "no face is drawn twice"


def test_drawn_folder_follows_its_seed(tmp_path: Path) -> None:
    def drawn(name: str, seed: int) -> dict[str, bytes]:
        draw_folder(tmp_path / name, count=8, size=32, seed=seed)
        files = (tmp_path / name).rglob("*.png")
        return {f.relative_to(tmp_path / name).as_posix(): f.read_bytes() for f in files}

    first = drawn("first", 3)
    assert drawn("again", 3) == first
    other = drawn("other", 4)
    assert other.keys() == first.keys()
    assert not set(other.values()) & set(first.values())
    assert {Path(path).parent.name for path in first} == set(EMOTIONS)
    assert read_image(tmp_path / "first" / min(first)).shape == (32, 32, 3)
    with pytest.raises(UsageError, match="exists already"):
        drawn("first", 3)


@pytest.fixture
def two_tables(tmp_path: Path, ferplus_source: Path) -> Path:
    """FER+ as its authors publish it: votes, beside FER2013's table with the pixels."""
    root = tmp_path / "tables"
    root.mkdir()
    shutil.copy(ferplus_source / "fer2013new.csv", root)
    write_image(root / "FER+vsFER.png", np.zeros((8, 8), np.uint8))  # as their folder has it
    with (
        (root / "fer2013new.csv").open(newline="") as votes,
        (root / "fer2013.csv").open("w") as out,
    ):
        out.write("emotion,pixels,Usage\n")
        for row in csv.DictReader(votes):
            folder = {"Training": "Train", "PublicTest": "Valid", "PrivateTest": "Test"}
            image = ferplus_source / f"FER2013{folder[row['Usage']]}" / row["Image name"]
            pixels = read_image(image).ravel() if row["Image name"] else [0] * 48 * 48
            out.write(f"0,{' '.join(map(str, pixels))},{row['Usage']}\n")
    return root


def test_ferplus_from_both_tables_is_that_from_images(
    tmp_path: Path, two_tables: Path, ferplus_dataset: Dataset
) -> None:
    assert recognise(two_tables)[0] == "ferplus"
    info = import_dataset("ferplus", two_tables, tmp_path / "d")
    assert info["fingerprint"] == ferplus_dataset.info["fingerprint"]
    np.testing.assert_array_equal(
        Dataset.open(tmp_path / "d").images(np.arange(len(ferplus_dataset))),
        ferplus_dataset.images(np.arange(len(ferplus_dataset))),
    )


def test_ferplus_takes_images_before_the_pixels_of_a_table(
    tmp_path: Path, ferplus_source: Path, ferplus_dataset: Dataset
) -> None:
    """Which may be another table than that of the votes."""
    root = shutil.copytree(ferplus_source, tmp_path / "s/data").parent
    (root / "data/fer2013new.csv").rename(root / "fer2013new.csv")
    (root / "fer2013.csv").write_text(f"emotion,pixels,Usage\n{GOOD}\n")
    assert _import("ferplus", root).column("sha256") == ferplus_dataset.column("sha256")


def test_ferplus_as_its_repository_lays_it_out(
    tmp_path: Path, ferplus_source: Path, ferplus_dataset: Dataset
) -> None:
    root = tmp_path / "s"
    root.mkdir()
    shutil.copy(ferplus_source / "fer2013new.csv", root)
    for folder in FOLDERS.values():
        shutil.copytree(ferplus_source / folder, root / "data" / folder.upper())
    shutil.rmtree(root / "data/FER2013VALID")
    assert recognise(root)[0] == "ferplus"
    dataset = _import("ferplus", root)
    for row, usual in zip(
        dataset.manifest.to_pylist(), ferplus_dataset.manifest.to_pylist(), strict=True
    ):
        assert row["label"] == usual["label"]
        if usual["split"] == "valid":
            assert (row["id"], row["problem"]) == (usual["id"], "missing")
        else:
            assert (row["path"].lower(), row["sha256"]) == (
                f"data/{usual['path'].lower()}",
                usual["sha256"],
            )


@pytest.mark.parametrize("rows", [slice(0, -1), slice(None, None, -1)], ids=["fewer", "another"])
def test_ferplus_tables_that_do_not_go_together_are_refused(
    tmp_path: Path, two_tables: Path, rows: slice
) -> None:
    table = two_tables / "fer2013.csv"
    first, *rest = table.read_text().splitlines()
    table.write_text("\n".join([first, *rest[rows]]) + "\n")
    with pytest.raises(DatasetError, match=r"row \d+ has Usage \w+, in .* expected both tables"):
        import_dataset("ferplus", two_tables, tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_what_is_left_out_of_a_person_goes_where_the_others_are_and_moves_none(
    tmp_path: Path,
) -> None:
    splits = []
    for name, more in (("few", 0), ("more", 3)):
        (source := tmp_path / name).mkdir()
        lines = ["path,label,subject"]
        for number in range(40):
            write_image(source / f"{number}.png", _image(number))
            label = ("happy", "sad", "fear")[number % 3]
            lines.append(f"{number}.png,{label},{number}")
            lines += [f"gone-{number}-{i}.png,sad,{number}" for i in range(number % 2 * more)]
        (source / "labels.csv").write_text("\n".join(lines) + "\n")
        dataset = _import("csv", source)
        of = dict(zip(dataset.column("path"), dataset.column("split"), strict=True))
        splits.append({path: split for path, split in of.items() if "gone" not in path})
        for path, split in of.items():
            if path.startswith("gone"):
                assert split == of[f"{path.split('-')[1]}.png"]
    assert splits[0] == splits[1]
