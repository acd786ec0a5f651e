"""Tests of the formats in which faces are marked: YOLO's, COCO's and Pascal VOC's."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from labelled import write_coco
from layouts import (
    LAYOUTS,
    YOLO_ORDER,
    draw_image,
    imported,
    lay_out,
    random_pixels,
    voc_xml,
    write_text,
)
from mien.data.dataset import Dataset
from mien.data.importers import import_dataset, recognise
from mien.errors import DatasetError
from mien.images import write_image
from mien.labels import AFFECTNET_YOLO_CODES, EMOTIONS, read_codes
from mien.records import SPLITS


def test_affectnet_yolo(tmp_path: Path) -> None:
    rows = imported("affectnet-yolo", lay_out("affectnet-yolo", tmp_path))
    assert [rows[f"train/images/{i}.png"]["label"] for i in range(8)] == list(YOLO_ORDER)
    # Relative to 40 pixels: centre 20, 20, half as wide, a quarter as high.
    assert rows["train/images/3.png"]["box"] == [10, 15, 20, 10]
    assert rows["valid/images/two.png#0"]["label"] == "anger"
    assert rows["valid/images/two.png#1"]["label"] == "happiness"
    assert rows["valid/images/two.png#1"]["split"] == "valid"
    assert rows["test/images/none.png"]["excluded"] == "no face marked"
    assert rows["test/images/lost.png"]["problem"] == "unlisted"
    assert rows["test/images/bad.png"]["problem"] == "bad_label"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("data.yaml", "names: [angry, happy, person]"),
        ("data.yaml", "names: [angry, # first\n happy, person]\nnc: 3"),
        ("data.yaml", "nc: 3\nnames: # three\n\n- angry\n# and\n\n- happy\n- person\n"),
        ("data.yml", "names: &n ['angry', 'happy', 'person']"),
        ("data.yaml", "names:\n  '0': angry\n  '1': happy\n  '2': person\ntrain: images"),
        ("faces.yaml", "names: [angry, happy, person]\ntrain: images"),
        ("data.yaml", 'nc: 3\n"names" : [\'angry\', "happy", person] # three'),
        ("data.yaml", "{nc: 3, names: [angry, happy, person]}"),
        ("dataset.yml", "names:\n  0: angry\n  1: happy\n  2: person\n"),
        ("classes.txt", "angry\nhappy\nperson\n"),
        ("train/labels/classes.txt", "angry\r\nhappy\r\nperson\r\n"),
        ("obj.names", "angry\nhappy\nperson"),
        ("data.yaml", "names: [angry, 'happy', \"person\"] # ok\nnames_of_others: [x, y]\n"),
        (
            "data.yaml",
            "names: [angry, happy, person]\nnc: '3'\nwhen: !!timestamp x\nv: !of/mine {}",
        ),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_yolo_takes_its_ids_from_where_they_are_named(
    tmp_path: Path, file: str, text: str, encoding: str
) -> None:
    for i in range(3):
        draw_image(tmp_path / f"s/train/images/{i}.png", i)
        write_text(tmp_path / f"s/train/labels/{i}.txt", f"{i} 0.5 0.5 0.5 0.25")
    (tmp_path / "s/docker.yaml").write_text("services: {web: {ports: [80]}}\n")
    (tmp_path / "s/yolov5s.yaml").write_text("nc: 80\nbackbone: []\n")
    (tmp_path / "s/ci.yaml").write_text("jobs:\n  names: [a, b]\ntrain: no\n")
    (tmp_path / "s" / file).write_bytes(text.encode(encoding))
    assert recognise(tmp_path / "s")[0] == "yolo"
    import_dataset("yolo", tmp_path / "s", tmp_path / "out")
    dataset = Dataset.open(tmp_path / "out")
    assert dataset.column("label") == ["anger", "happiness", None]
    assert dataset.column("excluded")[2] == "id '2' is 'person', which names no emotion"
    with pytest.raises(DatasetError, match=r"named angry, happy, person; .* by its own names"):
        import_dataset("affectnet-yolo", tmp_path / "s", tmp_path / "wrong")


def test_yolo_names_may_hold_commas(tmp_path: Path) -> None:
    for i in range(3):
        draw_image(tmp_path / f"s/train/images/{i}.png", i)
        write_text(tmp_path / f"s/train/labels/{i}.txt", f"{i} 0.5 0.5 0.5 0.25")
    write_text(tmp_path / "s/data.yaml", 'names: ["tired, maybe", "happy", "sad"]')
    import_dataset("yolo", tmp_path / "s", tmp_path / "d")
    assert Dataset.open(tmp_path / "d").column("label") == [None, "happiness", "sadness"]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"data.yaml": "nc: 7"}, "no name for each id that can be read"),
        ({"data.yaml": "nc: 3\nnames: [angry, happy]"}, "no name for each id that can be read"),
        ({"data.yaml": "names: ["}, "no YAML that can be read .*expected the node content"),
        ({"data.yaml": "names: " + "[" * 5000}, "no YAML that can be read"),
        ({"data.yaml": "names: [[angry], [happy]]"}, "no name for each id that can be read"),
        ({"data.yaml": "names: angry"}, "no name for each id that can be read"),
        ({"data.yaml": "names: {a: angry}"}, "no name for each id that can be read"),
        ({"data.yaml": "names: [angry]", "classes.txt": "happy"}, "names the ids otherwise than"),
    ],
)
def test_yolo_ids_that_nobody_explains_are_refused(
    tmp_path: Path, files: dict[str, str], says: str
) -> None:
    draw_image(tmp_path / "s/train/images/0.png", 0)
    write_text(tmp_path / "s/train/labels/0.txt", "0 0.5 0.5 0.5 0.25")
    with pytest.raises(DatasetError, match="nothing here says which ids are emotions"):
        import_dataset("yolo", tmp_path / "s", tmp_path / "out")
    for name, text in files.items():
        (tmp_path / "s" / name).write_text(text)
    for name in ("yolo", "affectnet-yolo"):
        with pytest.raises(DatasetError, match=says):
            import_dataset(name, tmp_path / "s", tmp_path / "out")
    with pytest.raises(DatasetError, match="no layout that mien knows"):
        recognise(tmp_path / "s")


@pytest.mark.parametrize("name", ["coco", "voc", "cvat", "labelme", "labelstudio", "via"])
def test_each_marked_face_is_cropped_by_its_box(tmp_path: Path, name: str) -> None:
    rows = imported(name, lay_out(name, tmp_path))
    assert [rows[f"train/{i}.png"]["label"] for i in range(8)] == list(YOLO_ORDER)
    assert [rows[f"valid/{i}.png"]["split"] for i in range(2)] == ["valid", "valid"]
    assert rows["train/3.png"]["box"] == [1, 2, 30, 20.5]
    assert rows["train/3.png"]["given"] == YOLO_ORDER[3]
    assert rows["valid/stray.png"]["problem"] == "unlisted"


def test_coco_of_images_that_are_called_alike_in_each_split(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "val")):
        draw_image(tmp_path / f"s/images/{split}/0.png", number, side=40)
        write_coco(tmp_path / f"s/annotations/instances_{split}2017.json")
    assert recognise(tmp_path / "s")[0] == "coco"
    import_dataset("coco", tmp_path / "s", tmp_path / "d")
    rows = Dataset.open(tmp_path / "d").manifest.to_pylist()
    assert [(row["path"], row["label"], row["split"], row["problem"]) for row in rows] == [
        ("images/train/0.png#0", "happiness", "train", None),
        ("images/train/0.png#1", "sadness", "train", None),
        ("annotations/gone.png", None, "train", None),
        ("images/val/0.png#0", "happiness", "valid", None),
        ("images/val/0.png#1", "sadness", "valid", None),
        ("annotations/gone.png", None, "valid", None),
    ]
    assert all(row["excluded"] == "no face marked" for row in rows if "gone" in row["path"])


@pytest.mark.parametrize(
    ("mark", "says"),
    [
        ({"category_id": 3}, "id '3' is none of its categories"),
        ({"bbox": []}, "its face box is no box"),
        ({"bbox": None}, "its face box is no box"),
        ({"bbox": [0, 0, "wide", 3]}, "its face box is no box"),
        ({"bbox": [500, 500, 20, 20]}, "box 20x20 at 500, 500 does not lie on the image of 40x40"),
    ],
)
def test_coco_leaves_out_what_it_cannot_use(
    tmp_path: Path, mark: dict[str, Any], says: str
) -> None:
    draw_image(tmp_path / "s/0.png", 1, side=40)
    good = {"image_id": 7, "category_id": 1, "bbox": [0, 0, 20, 20]}
    elsewhere = {**good, "image_id": 99}
    write_coco(tmp_path / "s/faces.json", annotations=[good, {**good, **mark}, elsewhere])
    (tmp_path / "s/package.json").write_text("{}")
    info = import_dataset("coco", tmp_path / "s", tmp_path / "d")
    excluded = Dataset.open(tmp_path / "d").column("excluded")
    assert excluded[:2] == [None, says]
    assert any("annotations of images that it does not list: 1" in n for n in info["notes"])


def test_coco_that_has_another_form_is_refused(tmp_path: Path) -> None:
    draw_image(tmp_path / "s/0.png", 1)
    write_coco(tmp_path / "s/faces.json", images=[{"id": 1}])
    with pytest.raises(DatasetError, match=r"faces\.json: images\.0\.file_name: field required"):
        import_dataset("coco", tmp_path / "s", tmp_path / "d")
    (tmp_path / "s/faces.json").write_text('{"images": [], "annotations": "categories": ')
    with pytest.raises(DatasetError, match=r"faces\.json: all of it: invalid JSON"):
        import_dataset("coco", tmp_path / "s", tmp_path / "d")
    with pytest.raises(DatasetError, match="no layout that mien knows"):
        recognise(tmp_path / "s")


@pytest.mark.parametrize("name", ["coco", "voc"])
def test_marks_by_names_of_ones_own(tmp_path: Path, name: str) -> None:
    draw_image(tmp_path / "s/0.png", 1, side=40)
    named = [{"id": 1, "name": "wut"}, {"id": 2, "name": "froh"}]
    if name == "coco":
        write_coco(tmp_path / "s/faces.json", categories=named)
    else:
        write_text(tmp_path / "s/0.xml", voc_xml("wut", "froh"))
    with pytest.raises(DatasetError, match="is called froh, wut, and no emotion; --codes says"):
        import_dataset(name, tmp_path / "s", tmp_path / "d")
    codes = read_codes("wut=anger,froh=happy")
    import_dataset(name, tmp_path / "s", tmp_path / "d", codes=codes)
    assert Dataset.open(tmp_path / "d").column("label")[:2] == ["anger", "happiness"]


def test_coco_by_itself_leaves_other_images_alone(tmp_path: Path) -> None:
    for seed, name in enumerate(("0", "other")):
        draw_image(tmp_path / f"s/{name}.png", seed, side=40)
    write_coco(tmp_path / "s/faces.json")
    assert recognise(tmp_path / "s/faces.json")[0] == "coco"
    import_dataset("coco", tmp_path / "s/faces.json", tmp_path / "d")
    paths = Dataset.open(tmp_path / "d").column("path")
    assert paths == ["0.png#0", "0.png#1", "gone.png"]


def test_voc_of_three_folders(tmp_path: Path) -> None:
    root = tmp_path / "s"
    for i, name in enumerate(("a", "b", "c")):
        draw_image(root / f"JPEGImages/{name}.jpg", i, side=40)
        write_text(root / f"Annotations/{name}.xml", voc_xml("happy", "person"))
    write_text(root / "Annotations/lost.xml", voc_xml("sad"))
    write_text(root / "Annotations/none.xml", "<annotation></annotation>")
    draw_image(root / "JPEGImages/none.jpg", 9)
    write_text(root / "Annotations/bad.xml", "<annotation><object>")
    draw_image(root / "JPEGImages/bad.jpg", 10)
    write_text(root / "project.xml", "<project><object/></project>")
    write_text(root / "ImageSets/Main/train.txt", "a", "lost")
    write_text(root / "ImageSets/Main/val.txt", "b")
    write_text(root / "ImageSets/Main/test.txt", "c")
    assert recognise(root)[0] == "voc"
    import_dataset("voc", root, tmp_path / "d")
    rows = {row["path"]: row for row in Dataset.open(tmp_path / "d").manifest.to_pylist()}
    assert {name: rows[f"JPEGImages/{name}.jpg#0"]["split"] for name in "abc"} == {
        "a": "train",
        "b": "valid",
        "c": "test",
    }
    assert rows["JPEGImages/a.jpg#1"]["excluded"] == "label 'person' names no emotion"
    assert rows["Annotations/lost.xml"]["problem"] == "missing"
    assert rows["JPEGImages/none.jpg"]["excluded"] == "no face marked"
    assert rows["JPEGImages/bad.jpg"]["excluded"].startswith("its label file is broken (no element")


def test_voc_finds_the_image_of_its_own_split(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "valid")):
        draw_image(tmp_path / f"s/{split}/images/0.png", number, side=40)
        write_text(tmp_path / f"s/{split}/labels/0.xml", voc_xml(("angry", "sad")[number]))
    write_text(tmp_path / "s/test/labels/0.xml", voc_xml("happy"))
    import_dataset("voc", tmp_path / "s", tmp_path / "d")
    rows = {row["path"]: row for row in Dataset.open(tmp_path / "d").manifest.to_pylist()}
    assert {path: (row["label"], row["problem"]) for path, row in rows.items()} == {
        "train/images/0.png": ("anger", None),
        "valid/images/0.png": ("sadness", None),
        "test/labels/0.xml": ("happiness", "missing"),
    }


@pytest.mark.parametrize("names", ["classes.txt", "obj.names"])
def test_yolo_with_labels_beside_the_images(tmp_path: Path, names: str) -> None:
    """As LabelImg writes them, and CVAT with lists of what is in which split."""
    root = tmp_path / "s"
    for i in range(4):
        draw_image(root / f"pics/{i}.png", i, side=40)
        write_text(root / f"pics/{i}.txt", f"{i % 2} 0.5 0.5 0.5 0.25")
    draw_image(root / "obj_Test_data/4.png", 4, side=40)
    write_text(root / "obj_Test_data/4.txt", "1 0.5 0.5 0.5 0.25")
    write_text(root / names, "angry", "happy")
    write_text(root / "train.txt", "data/pics/0.png", "/home/me/pics/1.png", "data/pics/4.png")
    write_text(root / "valid.txt", "data/pics/2.png", "pics/3 1")
    assert recognise(root)[0] == "yolo"
    rows = imported("yolo", root)
    assert [rows[f"pics/{i}.png"]["label"] for i in range(4)] == ["anger", "happiness"] * 2
    assert rows["pics/2.png"]["box"] == [10, 15, 20, 10]
    splits = [rows[f"pics/{i}.png"]["split"] for i in range(4)]
    assert splits == ["train", "train", "valid", "valid"]
    assert rows["obj_Test_data/4.png"]["split"] == "test"


def test_yolo_folders_go_before_lists_and_descriptions(tmp_path: Path) -> None:
    for i, folder in enumerate(("train", "valid", "test")):
        draw_image(tmp_path / f"s/{folder}/images/{i}.png", i)
        write_text(tmp_path / f"s/{folder}/labels/{i}.txt", "0 0.5 0.5 0.5 0.5")
    write_text(tmp_path / "s/train.txt", "0.png", "1.png", "2.png")
    write_text(
        tmp_path / "s/data.yaml",
        "train: ../train/images", "val: ../test/images", "names: [happy, sad]",
        "root: {{ROOT}}", 'path: "C:\\data\\my"',
    )  # fmt: skip
    rows = imported("yolo", tmp_path / "s")
    assert {path.partition("/")[0]: row["split"] for path, row in rows.items()} == {
        split: split for split in SPLITS
    }


def test_yolo_landmarks_are_no_polygon_and_captions_no_labels(tmp_path: Path) -> None:
    marks = "0.4 0.45 0.6 0.45 0.5 0.5 0.45 0.55 0.55 0.55"
    draw_image(tmp_path / "s/train/images/0.png", 0, side=40)
    write_text(tmp_path / "s/train/images/0.txt", "a woman smiles")
    write_text(tmp_path / "s/train/labels/0.txt", f"0 0.5 0.5 0.5 0.25 {marks}")
    write_text(tmp_path / "s/data.yaml", "names: [happy, sad]")
    (row,) = imported("yolo", tmp_path / "s").values()
    assert (row["label"], row["box"]) == ("happiness", [10, 15, 20, 10])


def test_yolo_polygons_and_confidences_have_boxes(tmp_path: Path) -> None:
    lines = ("0 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.5", "1 0.5 0.5 0.5 0.25 0.9", "1 0.1 0.2")
    for i, line in enumerate(lines):
        draw_image(tmp_path / f"s/train/images/{i}.png", i, side=40)
        write_text(tmp_path / f"s/train/labels/{i}.txt", line)
    write_text(tmp_path / "s/data.yaml", "names: [wut, froh]")
    rows = imported("yolo", tmp_path / "s", codes=read_codes("wut=anger,froh=happy"))
    assert [row["box"] for row in rows.values()] == [[10, 10, 20, 20], [10, 15, 20, 10], None]
    assert rows["train/images/2.png"]["excluded"] == "its face box is no box"


def test_yolo_splits_by_the_folders_that_are_named(tmp_path: Path) -> None:
    for i, folder in enumerate("abc"):
        draw_image(tmp_path / f"s/images/{folder}/x.png", i)
        write_text(tmp_path / f"s/labels/{folder}/x.txt", "0 0.5 0.5 0.5 0.5")
    write_text(
        tmp_path / "s/data.yaml",
        "train: ./images/a", "val: [../images/b]", "test: images/c", "names: [happy, sad]",
    )  # fmt: skip
    rows = imported("yolo", tmp_path / "s")
    assert [rows[f"images/{folder}/x.png"]["split"] for folder in "abc"] == [*SPLITS]


def _sized_voc(size: str) -> str:
    return voc_xml("happy").replace("<object>", f"<size>{size}</size><object>", 1)


def test_voc_attributes_and_namespaces(tmp_path: Path) -> None:
    draw_image(tmp_path / "s/0.png", 1, side=40)
    told = "".join(
        f"<attribute><name>{name}</name><value>{value}</value></attribute>"
        for name, value in (("light", "normal"), ("emotion", "angry"))
    )
    written = voc_xml("face").replace("</object>", f"<attributes>{told}</attributes></object>")
    write_text(tmp_path / "s/0.xml", written.replace("<annotation>", '<annotation xmlns="urn:x">'))
    assert recognise(tmp_path / "s")[0] == "voc"
    (row,) = imported("voc", tmp_path / "s").values()
    assert (row["label"], row["given"]) == ("anger", "angry")


def test_coco_of_shares_polygons_attributes_and_two_files(tmp_path: Path) -> None:
    for i in range(3):
        draw_image(tmp_path / f"s/pics/{i}.png", i, side=40)
    categories = [{"id": 1, "name": "face"}]
    marks = [
        {"image_id": 0, "category_id": 1, "bbox": [0.25, 0.25, 0.5, 0.5]},
        {"image_id": 1, "category_id": 1, "segmentation": [[0, 0, 0.5, 0, 0.5, 0.5, 0, 0.25]]},
        {"image_id": 2, "category_id": 1, "bbox": [0.25, 0.25, 0.5, 0.5]},
    ]
    for mark, emotion in zip(marks, ("happy", "sad", "angry"), strict=True):
        mark["attributes"] = {"light": "normal", "occluded": False, "Emotion": emotion}
    images = [{"id": i, "file_name": f"pics/{i}.png"} for i in range(3)]
    for name in ("ann/instances_train.json", "ann/keypoints_train.json"):
        write_coco(tmp_path / "s" / name, images=images, annotations=marks, categories=categories)
    (tmp_path / "s/other.json").write_text('{"images": 1, "annotations": 2, "categories": 3}')
    with pytest.raises(DatasetError, match=r"other\.json: images: input should be a valid array"):
        import_dataset("coco", tmp_path / "s", tmp_path / "d")
    (tmp_path / "s/other.json").unlink()
    rows = imported("coco", tmp_path / "s")
    assert {path: (row["label"], row["box"]) for path, row in rows.items()} == {
        "pics/0.png": ("happiness", [10, 10, 20, 20]),
        "pics/1.png": ("sadness", [0, 0, 20, 20]),
        "pics/2.png": ("anger", [10, 10, 20, 20]),
    }


def test_coco_of_several_files_learns_from_nothing_that_one_holds_out(tmp_path: Path) -> None:
    for i in range(3):
        draw_image(tmp_path / f"s/pics/{i}.png", i, side=40)
    mark = {"category_id": 1, "bbox": [1, 2, 30, 20]}
    for name, of in (("all", (0, 1, 2)), ("instances_train", (0, 1)), ("instances_test", (1, 2))):
        images = [{"id": i, "file_name": f"pics/{i}.png"} for i in of]
        marks = [{**mark, "image_id": i} for i in of]
        write_coco(tmp_path / f"s/{name}.json", images=images, annotations=marks)
    rows = imported("coco", tmp_path / "s")
    assert [rows[f"pics/{i}.png"]["split"] for i in (1, 2)] == ["test", "test"]
    assert rows["pics/0.png"]["split"] in {"train", "valid"}


def test_voc_takes_no_image_that_is_anothers(tmp_path: Path) -> None:
    draw_image(tmp_path / "s/p2/img/0.png", 1, side=40)
    for part, emotion in (("p1", "happy"), ("p2", "sad")):
        write_text(tmp_path / f"s/{part}/ann/0.xml", voc_xml(emotion))
    rows = imported("voc", tmp_path / "s")
    assert {path: (row["label"], row["problem"]) for path, row in rows.items()} == {
        "p1/ann/0.xml": ("happiness", "missing"),
        "p2/img/0.png": ("sadness", None),
    }


def _yolo_within_images(root: Path) -> None:
    LAYOUTS["affectnet-yolo"](root)
    for path in [*root.glob("*/*/*")]:
        split, kind, name = path.relative_to(root).parts
        (root / kind / split).mkdir(parents=True, exist_ok=True)
        path.rename(root / kind / split / name)


def _yolo_with_validation(root: Path) -> None:
    LAYOUTS["affectnet-yolo"](root)
    (root / "valid").rename(root / "validation")


@pytest.mark.parametrize("lay", [_yolo_within_images, _yolo_with_validation])
def test_affectnet_yolo_lists_every_image_wherever_its_split_is_named(
    tmp_path: Path, lay: Callable[[Path], None]
) -> None:
    root = tmp_path / "s"
    lay(root)
    draw_image(root / "preview.png", 99)
    assert recognise(root)[0] == "affectnet-yolo"
    import_dataset("affectnet-yolo", root, tmp_path / "d")
    rows = Dataset.open(tmp_path / "d").manifest.to_pylist()
    assert {row["path"].partition("#")[0] for row in rows} == {
        path.relative_to(root).as_posix() for path in root.rglob("*.png")
    }
    two = [row for row in rows if "two.png" in row["path"]]
    assert [(row["label"], row["split"]) for row in two] == [
        ("anger", "valid"),
        ("happiness", "valid"),
    ]
    (stray,) = (row for row in rows if row["path"] == "preview.png")
    assert stray["problem"] == "unlisted"


def test_affectnet_yolo_lists_labels_without_an_image_in_their_split(tmp_path: Path) -> None:
    draw_image(tmp_path / "s/train/images/a.png", 1)
    for split, name in (("train", "a"), ("test", "gone")):
        write_text(tmp_path / f"s/{split}/labels/{name}.txt", "0 0.5 0.5 0.5 0.5")
    import_dataset("affectnet-yolo", tmp_path / "s", tmp_path / "d")
    rows = Dataset.open(tmp_path / "d").manifest.to_pylist()
    assert {row["path"].partition("#")[0]: (row["split"], row["problem"]) for row in rows} == {
        "train/images/a.png": ("train", None),
        "test/images/gone.jpg": ("test", "missing"),
    }


def test_affectnet_yolo_tells_names_apart_by_case(tmp_path: Path) -> None:
    for number, name in enumerate(("A", "a", "B", "C", "c")):
        draw_image(tmp_path / f"s/train/images/{name}.png", number)
    for name, code in (("A", 4), ("a", 6), ("b", 1), ("c", 2)):
        write_text(tmp_path / f"s/train/labels/{name}.txt", f"{code} 0.5 0.5 0.9 0.9")
    import_dataset("affectnet-yolo", tmp_path / "s", tmp_path / "d")
    rows = {row["path"]: row["label"] for row in Dataset.open(tmp_path / "d").manifest.to_pylist()}
    codes = {"A": 4, "a": 6, "B": 1, "c": 2}
    labelled = {f"train/images/{n}.png": AFFECTNET_YOLO_CODES[c] for n, c in codes.items()}
    assert rows == {**labelled, "train/images/C.png": None}


@pytest.mark.parametrize(
    "line", ["my pic", '"my pic"', "my pic.png", "JPEGImages/my pic", "./JPEGImages/my pic.png"]
)
def test_lists_of_splits_name_images_in_many_ways(tmp_path: Path, line: str) -> None:
    for i, name in enumerate(("my pic", "other")):
        draw_image(tmp_path / f"s/JPEGImages/{name}.png", i, side=40)
        write_text(tmp_path / f"s/Annotations/{name}.xml", voc_xml("happy"))
    write_text(tmp_path / "s/ImageSets/Layout/train.txt", "other", line)
    write_text(tmp_path / "s/ImageSets/Layout/test.txt", line)
    rows = imported("voc", tmp_path / "s")
    assert rows["JPEGImages/my pic.png"]["split"] == "test"
    assert rows["JPEGImages/other.png"]["split"] == "train"


@pytest.mark.parametrize("name", ["coco", "voc"])
@pytest.mark.parametrize(
    ("width", "height", "box"),
    [(40, 40, [1, 2, 30, 20.5]), (80, 80, [0.5, 1, 15, 10.25]), (40, 30, None)],
)
def test_boxes_of_another_size_are_scaled_or_left_out(
    tmp_path: Path, name: str, width: int, height: int, box: list[float] | None
) -> None:
    draw_image(tmp_path / "s/0.png", 1, side=40)
    if name == "voc":
        size = f"<width>{width}</width><height>{height}</height>"
        write_text(tmp_path / "s/0.xml", _sized_voc(size))
    else:
        image = {"id": 7, "file_name": "0.png", "width": width, "height": height}
        mark = {"image_id": 7, "category_id": 1, "bbox": [1, 2, 30, 20.5]}
        write_coco(tmp_path / "s/faces.json", images=[image], annotations=[mark])
    if box is None:
        with pytest.raises(DatasetError, match="1 its box is of an image of 40x30, which is 40x40"):
            import_dataset(name, tmp_path / "s", tmp_path / "d")
        return
    (row,) = imported(name, tmp_path / "s").values()
    assert row["box"] == box


def test_faces_of_one_image_stay_together_beside_one_that_shows_nothing(tmp_path: Path) -> None:
    marks = []
    for i in range(30):
        pixels = random_pixels(i, 60)
        pixels[:20, :20] = 0
        (tmp_path / "s").mkdir(exist_ok=True)
        write_image(tmp_path / f"s/{i}.png", pixels)
        marks += [(i, [0, 0, 20, 20]), (i, [30, 30, 20, 20])]
    images = [{"id": i, "file_name": f"{i}.png"} for i in range(30)]
    made = [{"image_id": i, "category_id": 1 + i % 2, "bbox": box} for i, box in marks]
    write_coco(tmp_path / "s/faces.json", images=images, annotations=made)
    rows = imported("coco", tmp_path / "s")
    assert {row["excluded"] for row in rows.values()} == {None}


def test_a_turned_rectangle_of_yolo_is_a_polygon(tmp_path: Path) -> None:
    draw_image(tmp_path / "s/train/images/0.png", 0, side=100)
    write_text(tmp_path / "s/train/labels/0.txt", "0 0.5 0.6 0.7 0.61 0.69 0.81 0.49 0.8")
    write_text(tmp_path / "s/data.yaml", "names: [happy, sad]")
    (row,) = imported("yolo", tmp_path / "s").values()
    assert row["box"] == pytest.approx([49, 60, 21, 21])


@pytest.mark.parametrize(
    ("name", "attributes", "label"),
    [
        ("sad", {"smiling": True}, "sadness"),
        ("sad", {"expression_intensity": "normal"}, "sadness"),
        ("sad", {"emotion": "happy"}, "sadness"),
        ("face", {"smiling": True}, "happiness"),
        ("face", {"Facial Expression": "happy", "calm": True}, "happiness"),
        ("face", {"expression_intensity": "normal"}, None),
    ],
)
def test_the_class_goes_before_attributes_and_these_before_ticks(
    tmp_path: Path, name: str, attributes: dict[str, Any], label: str | None
) -> None:
    for number in range(2):
        draw_image(tmp_path / f"s/{number}.png", number, side=40)
    mark = {"bbox": [1, 2, 30, 20], "attributes": attributes}
    write_coco(
        tmp_path / "s/faces.json",
        images=[{"id": i, "file_name": f"{i}.png"} for i in range(2)],
        categories=[{"id": i, "name": each} for i, each in enumerate((name, "angry"))],
        annotations=[{"image_id": i, "category_id": i, **mark} for i in range(2)],
    )
    first = next(iter(imported("coco", tmp_path / "s").values()))
    assert first["label"] == label


# --- several files about one image --------------------------------------------------------------


def _said(path: Path, file_name: str, *faces: tuple[int, Sequence[float]]) -> None:
    """Write what one says of an image: 1 happy, 2 sad, each with a box."""
    marks = [{"image_id": 7, "category_id": kind, "bbox": box} for kind, box in faces]
    write_coco(path, images=[{"id": 7, "file_name": file_name}], annotations=marks)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0.png", "images/0.png"),
        ("images/0.png", "IMAGES/0.PNG"),
        ("/home/anna/set/images/0.png", "C:\\Users\\ben\\images\\0.png"),
        ("/home/anna/IMAGES/0.PNG", "C:\\ben\\images\\0.png"),
        ("./0.png", "labels: ../images/0.png"),
        ("images/0.png", "labels: 0.png"),
    ],
)
def test_files_may_spell_an_image_differently(tmp_path: Path, one: str, other: str) -> None:
    draw_image(tmp_path / "s/images/0.png", 0, side=40)
    for name, spelt in (("anna", one), ("ben", other)):
        place, apart, path = spelt.partition(": ")
        file = tmp_path / "s" / (place if apart else "") / f"{name}.json"
        _said(file, path or spelt, (1, [1, 2, 30, 20]))
    rows = imported("coco", tmp_path / "s")
    assert {path: row["label"] for path, row in rows.items()} == {"images/0.png": "happiness"}


def test_what_most_files_say_of_a_face_is_its_label(tmp_path: Path) -> None:
    draw_image(tmp_path / "s/0.png", 0, side=40)
    for name, kind in (("anna", 1), ("ben", 1), ("cleo", 2)):
        _said(tmp_path / f"s/{name}.json", "0.png", (kind, [1, 2, 30, 20]))
    (row,) = imported("coco", tmp_path / "s").values()
    assert row["label"] == "happiness"
    assert row["votes"][EMOTIONS.index("happiness")] == pytest.approx(2 / 3)


@pytest.mark.parametrize(("shift", "faces"), [(0, 1), (9, 1), (11, 2)])
def test_boxes_that_overlap_by_half_are_of_one_face(tmp_path: Path, shift: int, faces: int) -> None:
    """Of boxes 30 wide, moved by a third, half is in both."""
    draw_image(tmp_path / "s/0.png", 0, side=60)
    _said(tmp_path / "s/a.json", "0.png", (1, [1, 2, 30, 30]))
    _said(tmp_path / "s/b.json", "0.png", (1, [1 + shift, 2, 30, 30]))
    rows = [*imported("coco", tmp_path / "s").values()]
    assert [row["box"] for row in rows] == [[1 + n * shift, 2, 30, 30] for n in range(faces)]


def test_of_two_faces_of_one_annotator_none_is_the_other(tmp_path: Path) -> None:
    draw_image(tmp_path / "s/0.png", 0, side=60)
    _said(tmp_path / "s/a.json", "0.png", (1, [1, 2, 30, 30]))
    _said(tmp_path / "s/b.json", "0.png", (2, [3, 2, 30, 30]), (2, [1, 4, 30, 30]))
    assert [row["label"] for row in imported("coco", tmp_path / "s").values()] == [None, "sadness"]


def test_marks_that_are_no_boxes_stay_left_out_where_files_are_put_together(tmp_path: Path) -> None:
    draw_image(tmp_path / "s/0.png", 0, side=60)
    both = ((1, [1, 2, 20, 20]), (2, [30, 30, 20, 20]))
    _said(tmp_path / "s/a.json", "0.png", *both, (1, []))
    _said(tmp_path / "s/b.json", "0.png", *both, *both)
    rows = [*imported("coco", tmp_path / "s").values()]
    assert [(row["label"], row["excluded"]) for row in rows] == [
        ("happiness", None),
        ("sadness", None),
        ("happiness", "its face box is no box"),
    ]


def test_a_tie_is_told_as_one_though_no_face_is_left(tmp_path: Path) -> None:
    draw_image(tmp_path / "s/0.png", 0, side=40)
    for name, kind in (("anna", 1), ("ben", 2)):
        _said(tmp_path / f"s/{name}.json", "0.png", (kind, [1, 2, 30, 20]))
    with pytest.raises(DatasetError, match="1 no emotion has the most votes"):
        imported("coco", tmp_path / "s")
