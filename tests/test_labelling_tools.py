"""Tests of what labelling tools export: CVAT, Labelme, Label Studio and VIA."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from labelled import cvat_image, labelme_file, studio_task, via_image, write_cvat
from layouts import draw_image, imported
from mien.data.dataset import Dataset
from mien.data.formats import FORMATS
from mien.data.importers import import_dataset, recognise
from mien.errors import DatasetError
from mien.labels import EMOTIONS, read_codes

WHOLE_FACE = (1, 2, 31, 22.5)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8-sig")


def rows_of(name: str, source: Path, **options: Any) -> list[dict[str, Any]]:
    return [*imported(name, source, **options).values()]


def marks_in(name: str, root: Path, shapes: list[Any], words: list[str]) -> None:
    """Write one image in which faces are marked, and which is called something itself."""
    draw_image(root / "a.png", 0, side=40)
    if name == "labelme":
        labelme_file(root / "a.json", shapes, flags=words)
    elif name == "cvat":
        tags = "".join(f'<tag label="{word}" source="manual"></tag>' for word in words)
        write_cvat(root / "annotations.xml", cvat_image("a.png", shapes, tags=tags))
    elif name == "labelstudio":
        task = studio_task("/data/upload/3/0a1b2c3d-a.png", [*shapes, *words])
        write_json(root / "project.json", [task])
    else:
        about = {"emotions": dict.fromkeys(words, True)}
        write_json(root / "via.json", via_image("a.png", shapes, **about))


TOOLS = ["labelme", "cvat", "labelstudio", "via"]


@pytest.mark.parametrize("name", TOOLS)
def test_an_image_without_marks_is_what_it_is_called(tmp_path: Path, name: str) -> None:
    marks_in(name, tmp_path / "s", [], ["Happy"])
    assert recognise(tmp_path / "s")[0] == name
    (row,) = rows_of(name, tmp_path / "s")
    assert (row["label"], row["given"], row["box"]) == ("happiness", "Happy", None)


@pytest.mark.parametrize("name", TOOLS)
def test_a_single_face_may_go_by_what_its_image_is_called(tmp_path: Path, name: str) -> None:
    marks_in(name, tmp_path / "s", [("face", WHOLE_FACE)], ["Happy"])
    (row,) = rows_of(name, tmp_path / "s")
    assert (row["label"], row["box"]) == ("happiness", [1, 2, 30, 20.5])
    boxes = [("face", WHOLE_FACE), ("sad", (9, 9, 39, 39)), ("angry", (0, 0, 9, 9))]
    marks_in(name, tmp_path / "more", boxes, ["Happy"])
    rows = rows_of(name, tmp_path / "more")
    assert [(row["label"], row["excluded"]) for row in rows] == [
        (None, "label 'face' names no emotion"),
        ("sadness", None),
        ("anger", None),
    ]


@pytest.mark.parametrize("name", ["labelme", "cvat", "labelstudio"])
def test_an_image_of_several_emotions_or_of_none_is_left_out(tmp_path: Path, name: str) -> None:
    marks_in(name, tmp_path / "s", [], ["happy", "sad"])
    draw_image(tmp_path / "s/b.png", 1, side=40)
    with pytest.raises(DatasetError, match="1 label 'happy, sad' names several emotions"):
        rows_of(name, tmp_path / "s")
    boxes = [("angry", WHOLE_FACE), ("sad", (9, 9, 39, 39)), ("blurred", WHOLE_FACE)]
    marks_in(name, tmp_path / "s", boxes, [])
    assert [row["excluded"] for row in rows_of(name, tmp_path / "s")] == [
        None,
        None,
        "label 'blurred' names no emotion",
        "no row in the table names this file",
    ]


@pytest.mark.parametrize("name", TOOLS)
def test_names_of_ones_own_need_codes(tmp_path: Path, name: str) -> None:
    marks_in(name, tmp_path / "s", [("wut", WHOLE_FACE)], [])
    with pytest.raises(DatasetError, match="no layout that mien knows"):
        recognise(tmp_path / "s")
    with pytest.raises(DatasetError, match="is called wut, and no emotion; --codes says"):
        rows_of(name, tmp_path / "s")
    (row,) = rows_of(name, tmp_path / "s", codes=read_codes("wut=anger"))
    assert row["label"] == "anger"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("labelme", "no Labelme files here; expected x.json beside x.jpg"),
        ("cvat", "no file of CVAT's here; expected an annotations.xml"),
        ("labelstudio", "no export of Label Studio's here; expected its JSON or JSON-MIN"),
        ("via", "no file of VIA's here; expected its project or annotations as JSON"),
    ],
)
def test_what_is_no_such_file_is_told(tmp_path: Path, name: str, says: str) -> None:
    draw_image(tmp_path / "s/a.png", 0, side=40)
    write_json(tmp_path / "s/a.json", {"x": 1})
    (tmp_path / "s/a.xml").write_text("<annotations", encoding="utf-16")
    with pytest.raises(DatasetError, match=says):
        rows_of(name, tmp_path / "s")


@pytest.mark.parametrize(
    ("name", "file", "text", "says"),
    [
        ("cvat", "a.xml", "<annotations><image", "a.xml: broken XML ("),
        ("labelstudio", "a.json", '[{"data": {}, "annotations": 3, "result": 1}]', "0.annotations"),
        ("labelstudio", "a.json", '[{"annotation_id": ', "invalid JSON"),
        ("via", "a.json", '{"a": {"filename": 1, "regions": 0, "file_attributes": 0}}', "filename"),
    ],
)
def test_a_broken_table_is_refused(
    tmp_path: Path, name: str, file: str, text: str, says: str
) -> None:
    draw_image(tmp_path / "s/a.png", 0, side=40)
    (tmp_path / "s" / file).write_text(text)
    with pytest.raises(DatasetError, match=re.escape(says)):
        rows_of(name, tmp_path / "s")
    found, why = recognise(tmp_path / "s")
    assert found == name
    assert says in why
    for number, emotion in enumerate(("happy", "sad")):
        draw_image(tmp_path / f"s/{emotion}/{number}.png", number)
    assert recognise(tmp_path / "s")[0] == "folder"


def test_a_broken_file_of_labelme_leaves_out_its_image(tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        draw_image(tmp_path / f"s/{name}.png", number, side=40)
        labelme_file(tmp_path / f"s/{name}.json", [("happy", WHOLE_FACE)])
    (tmp_path / "s/b.json").write_text('{"shapes": 3, "imagePath": "b.png"}')
    kept, left_out = rows_of("labelme", tmp_path / "s")
    assert kept["label"] == "happiness"
    assert (left_out["path"], left_out["problem"]) == ("b.png", "bad_label")
    says = "its label file is broken (shapes: input should be a valid array)"
    assert left_out["excluded"] == says


@pytest.mark.parametrize(
    ("own", "box"),
    [
        ({"points": [[31, 22.5], [1, 2]]}, [1, 2, 30, 20.5]),
        ({"shape_type": "polygon", "points": [[5, 2], [31, 9], [1, 22.5]]}, [1, 2, 30, 20.5]),
        ({"shape_type": "circle", "points": [[16, 12.25], [16, 2]]}, [5.75, 2, 20.5, 20.5]),
        ({"shape_type": "lasso"}, None),
        ({"points": [[1, 2]]}, None),
        ({"points": []}, None),
    ],
)
def test_shapes_of_labelme(tmp_path: Path, own: dict[str, Any], box: list[float] | None) -> None:
    draw_image(tmp_path / "s/a.png", 0, side=40)
    labelme_file(tmp_path / "s/a.json", [("happy", WHOLE_FACE)], **own)
    draw_image(tmp_path / "s/b.png", 1, side=40)
    labelme_file(tmp_path / "s/b.json", [("sad", WHOLE_FACE)])
    row = rows_of("labelme", tmp_path / "s")[0]
    assert row["box"] == box
    assert row["excluded"] == (None if box else "its face box is no box")


@pytest.mark.parametrize(
    "own", [{"flags": {"glasses": False, "happy": True}}, {"attributes": {"emotion": "happy"}}]
)
def test_labelme_says_it_by_flags_and_attributes(tmp_path: Path, own: dict[str, Any]) -> None:
    draw_image(tmp_path / "s/a.png", 0, side=40)
    labelme_file(tmp_path / "s/a.json", [("face", WHOLE_FACE)], **own)
    assert rows_of("labelme", tmp_path / "s")[0]["label"] == "happiness"


def test_boxes_are_scaled_to_the_image_as_it_is_here(tmp_path: Path) -> None:
    draw_image(tmp_path / "s/a.png", 0, side=40)
    labelme_file(tmp_path / "s/a.json", [("happy", (2, 4, 62, 45))], side=80)
    assert rows_of("labelme", tmp_path / "s")[0]["box"] == [1, 2, 30, 20.5]


def test_cvat_of_a_project(tmp_path: Path) -> None:
    """Its images lie in a folder beside; subsets are splits, attributes may tell the emotion."""
    told = '<attribute name="emotion">happy</attribute><attribute name="light">calm</attribute>'
    for number, split in enumerate(("Train", "Validation")):
        draw_image(tmp_path / f"s/images/{split}/a.png", number, side=40)
    polygon = '<polygon label="sad" points="5.0,2.0;31.0,9.0;1.0,22.5"></polygon>'
    write_cvat(
        tmp_path / "s/annotations.xml",
        cvat_image("a.png", [(f"face|{told}", WHOLE_FACE)], subset="Train"),
        cvat_image("a.png", [], subset="Validation", tags=polygon),
        cvat_image("gone.png", [("sad", WHOLE_FACE)], subset="Validation"),
    )
    assert recognise(tmp_path / "s")[0] == "cvat"
    rows = rows_of("cvat", tmp_path / "s")
    assert [(row["path"], row["label"], row["split"], row["problem"]) for row in rows] == [
        ("images/Train/a.png", "happiness", "train", None),
        ("images/Validation/a.png", "sadness", "valid", None),
        ("gone.png", "sadness", "valid", "missing"),
    ]
    assert rows[1]["box"] == [1, 2, 30, 20.5]


def test_cvat_by_itself_leaves_other_images_alone(tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        draw_image(tmp_path / f"s/{name}.png", number, side=40)
    write_cvat(tmp_path / "s/faces.xml", cvat_image("a.png", [("sad", WHOLE_FACE)]))
    assert recognise(tmp_path / "s/faces.xml")[0] == "cvat"
    import_dataset("cvat", tmp_path / "s/faces.xml", tmp_path / "d")
    assert Dataset.open(tmp_path / "d").column("path") == ["a.png"]


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("/data/upload/1/0a1b2c3d-my_face.png", "my_face.png"),
        ("/data/upload/1/0a1b2c3d-my_face.png", "0a1b2c3d-my_face.png"),
        ("/data/upload/0a1b2c3d-my%20face.png", "my face.png"),
        ("/data/upload/2/0a1b2c3d-my_Face_1.png", "My face (1).png"),
        ("http://localhost:8080/data/upload/1/0a1b2c3d-a.png", "a.png"),
        ("/data/local-files/?d=study%2Ffaces/day%201/a.png", "faces/day 1/a.png"),
        ("s3://bucket/study/faces/a.png", "faces/a.png"),
        ("https://bucket.example/faces/a.png?X-Amz-Expires=3600&X-Amz-Signature=5b", "faces/a.png"),
        ("a.png", "faces/a.png"),
    ],
)
def test_label_studio_finds_its_images(tmp_path: Path, address: str, file: str) -> None:
    draw_image(tmp_path / "s" / file, 0, side=40)
    draw_image(tmp_path / "s/face.png", 1, side=40)
    write_json(tmp_path / "s/project.json", [studio_task(address, ["Happy"])])
    assert recognise(tmp_path / "s")[0] == "labelstudio"
    row = rows_of("labelstudio", tmp_path / "s")[0]
    assert (row["path"], row["label"], row["problem"]) == (file, "happiness", None)


def test_a_csv_of_label_studio_finds_its_images_too(tmp_path: Path) -> None:
    draw_image(tmp_path / "s/my face.png", 0, side=40)
    (tmp_path / "s/project.csv").write_text(
        "annotation_id,annotator,choice,created_at,id,image,lead_time,updated_at\n"
        "1,1,Happy,2026-11-28T10:00:00Z,1,/data/upload/1/0a1b2c3d-my%20face.png,2.5,x\n"
    )
    assert recognise(tmp_path / "s")[0] == "csv"
    (row,) = rows_of("csv", tmp_path / "s")
    assert (row["path"], row["label"]) == ("my face.png", "happiness")


def test_what_several_annotators_of_label_studio_say_are_votes(tmp_path: Path) -> None:
    for number in range(4):
        draw_image(tmp_path / f"s/{number}.png", number, side=40)
    tasks = [
        studio_task("0.png", ["Happy"], ["happy"], ["Sad"]),
        studio_task("1.png", ["Happy"], ["Sad"]),
        studio_task(
            "2.png",
            [("Angry", (1, 2, 21, 22)), ("Sad", (20, 20, 39, 39))],
            [("sad", (21, 19, 39, 39)), ("Angry", (0, 1, 22, 22)), ("Fear", (30, 0, 39, 9))],
        ),
        studio_task("3.png", ["Blurred"], ["Fear"]),
    ]
    tasks[3]["annotations"] += [{"result": [], "was_cancelled": True}, {"result": []}]
    write_json(tmp_path / "s/project.json", tasks)
    rows = rows_of("labelstudio", tmp_path / "s")
    assert [(row["path"], row["label"], row["excluded"]) for row in rows] == [
        ("0.png", "happiness", None),
        ("1.png", None, "no emotion has the most votes"),
        ("2.png#0", "anger", None),
        ("2.png#1", "sadness", None),
        ("2.png#2", "fear", None),
        ("3.png", "fear", None),
    ]
    happy, sad = EMOTIONS.index("happiness"), EMOTIONS.index("sadness")
    assert [rows[0]["votes"][each] for each in (happy, sad)] == pytest.approx([2 / 3, 1 / 3])
    assert rows[2]["box"] == [1, 2, 20, 20]
    assert rows[3]["votes"][sad] == 1
    assert (rows[4]["votes"], rows[5]["votes"]) == (None, None)


def test_a_choice_for_a_region_of_label_studio_is_its_emotion(tmp_path: Path) -> None:
    draw_image(tmp_path / "s/a.png", 0, side=40)
    task = studio_task("a.png", [("Face", WHOLE_FACE), "Happy", ("Face", (9, 9, 39, 39)), "Sad"])
    for number, result in enumerate(task["annotations"][0]["result"]):
        result["id"] = f"face {number // 2}"
    write_json(tmp_path / "s/project.json", [task])
    rows = rows_of("labelstudio", tmp_path / "s")
    assert [(row["label"], row["box"]) for row in rows] == [
        ("happiness", [1, 2, 30, 20.5]),
        ("sadness", [9, 9, 30, 30]),
    ]


def test_polygons_of_label_studio(tmp_path: Path) -> None:
    draw_image(tmp_path / "s/a.png", 0, side=40)
    task = studio_task("a.png", [("Happy", WHOLE_FACE)])
    points = [[12.5, 5], [77.5, 22.5], [2.5, 56.25]]
    task["annotations"][0]["result"][0]["value"] = {"points": points, "polygonlabels": ["Happy"]}
    write_json(tmp_path / "s/project.json", [task])
    assert rows_of("labelstudio", tmp_path / "s")[0]["box"] == [1, 2, 30, 20.5]


def test_label_studio_in_short(tmp_path: Path) -> None:
    """JSON-MIN has an object for each annotation, with its answers beside the data."""
    for number in range(3):
        draw_image(tmp_path / f"s/{number}.png", number, side=40)
    shape = studio_task("0.png", [("Sad", WHOLE_FACE)])["annotations"][0]["result"][0]
    shape |= shape.pop("value")
    angry = {**shape, "rectanglelabels": ["Angry"]}
    about = {"created_at": "2026-11-28T10:00:00Z", "lead_time": 2.5, "updated_at": "x"}
    rows = [
        {"image": "/data/upload/1/0a1b2c3d-0.png", "id": 1, "face": [shape]},
        {"image": "/data/upload/1/0a1b2c3d-2.png", "id": 3, "face": [angry]},
        {"image": "/data/upload/1/0a1b2c3d-1.png", "id": 2, "emotion": "Happy"},
        {"image": "/data/upload/1/0a1b2c3d-1.png", "id": 2, "emotion": {"choices": ["Fear"]}},
        {"image": "/data/upload/1/0a1b2c3d-1.png", "id": 2, "emotion": "Fear"},
    ]
    rows = [{**row, **about, "annotation_id": n, "annotator": n} for n, row in enumerate(rows)]
    write_json(tmp_path / "s/project-min.json", rows)
    assert recognise(tmp_path / "s")[0] == "labelstudio"
    sad, angry, fear = rows_of("labelstudio", tmp_path / "s")
    assert angry["label"] == "anger"
    assert (sad["label"], sad["box"], sad["votes"]) == ("sadness", [1, 2, 30, 20.5], None)
    assert (fear["label"], fear["box"]) == ("fear", None)
    assert fear["votes"][EMOTIONS.index("fear")] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        ({"name": "polygon", "all_points_x": [5, 31, 1], "all_points_y": [2, 9, 22.5]}, True),
        ({"name": "lasso", "cx": 9, "cy": 9}, False),
        ({"name": "polygon", "all_points_x": 5, "all_points_y": [2, 9, 22]}, False),
        ({"name": "rect", "x": 1, "y": 2, "width": "wide", "height": 20}, False),
        ({}, False),
    ],
)
def test_shapes_of_via(tmp_path: Path, shape: dict[str, Any], box: bool) -> None:
    draw_image(tmp_path / "s/a.png", 0, side=40)
    about = via_image("a.png", [("happy", WHOLE_FACE), ("sad", WHOLE_FACE)])
    about["a.png77"]["regions"][0]["shape_attributes"] = shape
    write_json(tmp_path / "s/via.json", about)
    first = rows_of("via", tmp_path / "s")[0]
    assert first["box"] == ([1, 2, 30, 20.5] if box else None)
    assert first["excluded"] == (None if box else "its face box is no box")


@pytest.mark.parametrize(
    ("said", "label"),
    [
        ({"name": "happy"}, None),
        ({"emotion": {"happy": True, "sad": False}}, "happiness"),
        ({"light": "normal", "emotion": "happy"}, "happiness"),
        ({"light": "normal", "hair": "red"}, None),
        ({}, None),
    ],
)
def test_attributes_of_via(tmp_path: Path, said: dict[str, Any], label: str | None) -> None:
    draw_image(tmp_path / "s/a.png", 0, side=40)
    about = via_image("a.png", [("happy", WHOLE_FACE), ("sad", (9, 9, 39, 39))])
    about["a.png77"]["regions"][0]["region_attributes"] = said
    older = {str(n): region for n, region in enumerate(about["a.png77"]["regions"])}
    about["a.png77"]["regions"] = older
    write_json(tmp_path / "s/via.json", about)
    first = rows_of("via", tmp_path / "s")[0]
    assert first["label"] == label
    assert first["excluded"] == (None if label else "no label")


# --- what is said of a face ---------------------------------------------------------------------


@pytest.mark.parametrize("name", TOOLS)
def test_a_face_of_which_several_emotions_are_said_is_left_out(tmp_path: Path, name: str) -> None:
    marks_in(name, tmp_path / "s", [("face", WHOLE_FACE)], ["happy", "sad"])
    draw_image(tmp_path / "s/b.png", 1)
    with pytest.raises(DatasetError, match="1 label 'happy, sad' names several emotions"):
        rows_of(name, tmp_path / "s")


@pytest.mark.parametrize(
    ("emotion", "light", "label"),
    [("Angry", "Normal", "anger"), ("Unclear", "Normal", None), ("Angry", "Dark", "anger")],
)
def test_that_the_light_is_normal_makes_nobody_neutral(
    tmp_path: Path, emotion: str, light: str, label: str | None
) -> None:
    for number in range(2):
        draw_image(tmp_path / f"s/{number}.png", number)
    tasks = [studio_task("0.png", [emotion, light]), studio_task("1.png", ["Sad", "Normal"])]
    for task in tasks:
        task["annotations"][0]["result"][1]["from_name"] = "lighting"
    write_json(tmp_path / "s/project.json", tasks)
    first = rows_of("labelstudio", tmp_path / "s")[0]
    assert first["label"] == label
    said = [
        {"image": "0.png", "id": 1, "emotion": emotion, "lighting": light},
        {"image": "1.png", "id": 2, "emotion": "Sad", "lighting": "Normal"},
    ]
    short = [{**answers, "annotator": 1, "annotation_id": 3} for answers in said]
    write_json(tmp_path / "short/project.json", short)
    for number in range(2):
        draw_image(tmp_path / f"short/{number}.png", number)
    first = rows_of("labelstudio", tmp_path / "short")[0]
    assert first["label"] == label


@pytest.mark.parametrize(
    ("region", "file", "label"),
    [
        ({"emotion": "", "lighting": "normal"}, {}, None),
        ({"pose": "normal"}, {"emotion": "angry"}, "anger"),
        ({"facial_expression": "angry", "lighting": "normal"}, {}, "anger"),
        ({}, {"quality": "normal"}, None),
        ({"emotion": {"angry": True, "sad": True}}, {}, None),
    ],
)
def test_attributes_of_via_that_are_of_something_else(
    tmp_path: Path, region: dict[str, Any], file: dict[str, Any], label: str | None
) -> None:
    for number in range(2):
        draw_image(tmp_path / f"s/{number}.png", number, side=40)
    one = via_image("0.png", [("", WHOLE_FACE)], **file)
    one["0.png77"]["regions"][0]["region_attributes"] = region
    write_json(tmp_path / "s/via.json", one | via_image("1.png", [("sad", WHOLE_FACE)]))
    first = rows_of("via", tmp_path / "s")[0]
    assert (first["label"], first["box"]) == (label, [1, 2, 30, 20.5])


@pytest.mark.parametrize("key", ["Emotion", "facial_expression", "emotion_class"])
def test_attributes_of_cvat_that_ask_for_the_emotion(tmp_path: Path, key: str) -> None:
    draw_image(tmp_path / "s/a.png", 0, side=40)
    for told in (
        f'<attribute name="{key}">happy</attribute>',
        '<attribute name="happy">true</attribute>',
    ):
        write_cvat(
            tmp_path / "s/annotations.xml", cvat_image("a.png", [(f"face|{told}", WHOLE_FACE)])
        )
        (row,) = FORMATS["cvat"].read(tmp_path / "s").items
        assert row[0].label == "happiness"


def test_own_words_in_attributes_are_named_for_codes(tmp_path: Path) -> None:
    draw_image(tmp_path / "s/a.png", 0, side=40)
    told = '<attribute name="emotion">froh</attribute>'
    write_cvat(tmp_path / "s/annotations.xml", cvat_image("a.png", [(f"face|{told}", WHOLE_FACE)]))
    with pytest.raises(DatasetError, match="what is marked is called froh, and no emotion"):
        rows_of("cvat", tmp_path / "s")
    (row,) = rows_of("cvat", tmp_path / "s", codes=read_codes("froh=happy"))
    assert row["label"] == "happiness"


def test_an_annotator_who_only_chooses_speaks_of_the_face_that_another_marks(
    tmp_path: Path,
) -> None:
    for number in range(4):
        draw_image(tmp_path / f"s/{number}.png", number, side=40)
    boxes = [("Sad", WHOLE_FACE), ("Angry", (30, 30, 39, 39))]
    nothing = ("Sad", (9, 9, 9, 9))
    tasks = [
        studio_task("0.png", boxes[:1], ["Happy"], ["Happy"]),
        studio_task("1.png", boxes, ["Happy"]),
        studio_task("2.png", [("Face", WHOLE_FACE)], ["Happy"]),
        studio_task("3.png", [nothing], ["Happy"]),
    ]
    write_json(tmp_path / "s/project.json", tasks)
    rows = rows_of("labelstudio", tmp_path / "s")
    # Of two faces the choice tells nothing, nor of one whose box is none.
    says = "its face box is no box"
    assert [(row["label"], row["box"], row["excluded"]) for row in rows] == [
        ("happiness", [1, 2, 30, 20.5], None),
        ("sadness", [1, 2, 30, 20.5], None),
        ("anger", [30, 30, 9, 9], None),
        ("happiness", [1, 2, 30, 20.5], None),
        ("sadness", None, says),
    ]


# --- shapes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [0, 90, 180])
def test_a_box_of_label_studio_is_turned_by_its_first_corner(tmp_path: Path, degrees: int) -> None:
    draw_image(tmp_path / "s/a.png", 0, side=40)
    task = studio_task("a.png", [("Happy", WHOLE_FACE)])
    value = task["annotations"][0]["result"][0]["value"]
    # Its middle is that of the whole face, wherever its first corner is then.
    middle = (16, 12.25)
    half = (15, 10.25)
    turned = {0: half, 90: (-half[1], half[0]), 180: (-half[0], -half[1])}[degrees]
    x, y = middle[0] - turned[0], middle[1] - turned[1]
    value |= {"x": 100 * x / 40, "y": 100 * y / 40, "rotation": degrees}
    write_json(tmp_path / "s/project.json", [task])
    assert rows_of("labelstudio", tmp_path / "s")[0]["box"] == pytest.approx([1, 2, 30, 20.5])


def test_options_of_via_may_have_ids(tmp_path: Path) -> None:
    draw_image(tmp_path / "s/a.png", 1, side=40)
    draw_image(tmp_path / "s/b.png", 2, side=40)
    asked = {
        "region": {
            "mood": {"type": "radio", "options": {"1": "Happy", "2": "sad", "sad": "not glad"}},
            "remark": {"type": "text", "options": ""},
        },
        "file": {"expression": {"type": "dropdown", "options": {"f1": "anger"}}},
    }
    about = via_image("a.png", [("", WHOLE_FACE), ("", (9, 9, 39, 39)), ("", (0, 0, 20, 20))])
    regions = next(iter(about.values()))["regions"]
    for region, chosen in zip(regions, ("2", "1", "sad"), strict=True):
        region["region_attributes"] = {"mood": chosen, "remark": "1"}
    about |= via_image("b.png", [])
    next(entry for key, entry in about.items() if key.startswith("b.png"))["file_attributes"] = {
        "expression": "f1"
    }
    write_json(tmp_path / "s/p.json", {"_via_attributes": asked, "_via_img_metadata": about})
    labels = [row["label"] for row in rows_of("via", tmp_path / "s")]
    assert labels == ["sadness", "happiness", "sadness", "anger"]
    write_json(
        tmp_path / "s/p.json",
        {"_via_attributes": {"file": None, "region": None}, "_via_img_metadata": about},
    )
    with pytest.raises(DatasetError, match="called 1, f1, and no emotion"):
        rows_of("via", tmp_path / "s")


@pytest.mark.parametrize("tool", ["cvat", "labelstudio", "via"])
def test_ellipses(tmp_path: Path, tool: str) -> None:
    draw_image(tmp_path / "s/a.png", 0, side=40)
    if tool == "cvat":
        shape = '<ellipse label="happy" cx="16" cy="12.25" rx="15" ry="10.25"></ellipse>'
        write_cvat(tmp_path / "s/annotations.xml", cvat_image("a.png", [], tags=shape))
    elif tool == "via":
        about = via_image("a.png", [("happy", WHOLE_FACE)])
        shape_of = about["a.png77"]["regions"][0]["shape_attributes"]
        shape_of |= {"name": "ellipse", "cx": 16, "cy": 12.25, "rx": 15, "ry": 10.25}
        write_json(tmp_path / "s/via.json", about)
    else:
        task = studio_task("a.png", [("Happy", WHOLE_FACE)])
        ellipse = {
            "x": 40,
            "y": 30.625,
            "radiusX": 37.5,
            "radiusY": 25.625,
            "ellipselabels": ["Happy"],
        }
        task["annotations"][0]["result"][0]["value"] = ellipse
        write_json(tmp_path / "s/project.json", [task])
    assert rows_of(tool, tmp_path / "s")[0]["box"] == pytest.approx([1, 2, 30, 20.5])


def test_a_scene_is_no_face_where_the_face_is_painted(tmp_path: Path) -> None:
    """A mask of Label Studio's has no box; key points are none of a face's own."""
    for number in range(2):
        draw_image(tmp_path / f"s/{number}.png", number, side=40)
    painted = studio_task("0.png", [("Face", WHOLE_FACE), "Happy"])
    painted["annotations"][0]["result"][0]["value"] = {
        "format": "rle",
        "rle": [1],
        "brushlabels": ["Face"],
    }
    pointed = studio_task("1.png", [("Face", WHOLE_FACE), ("Eye", WHOLE_FACE), "Sad"])
    pointed["annotations"][0]["result"][1]["value"] = {
        "x": 1,
        "y": 1,
        "width": 1,
        "keypointlabels": ["Eye"],
    }
    write_json(tmp_path / "s/project.json", [painted, pointed])
    rows = rows_of("labelstudio", tmp_path / "s")
    assert [(row["excluded"], row["box"]) for row in rows] == [
        ("its face box is no box", None),
        (None, [1, 2, 30, 20.5]),
    ]


@pytest.mark.parametrize(
    "value",
    [
        {"points": None},
        {"points": 3},
        {"points": [1, 2, 3]},
        {"points": [["a", 1]]},
        {"height": 1e300},
    ],
)
def test_nonsense_in_shapes_is_no_mistake_of_miens(tmp_path: Path, value: dict[str, Any]) -> None:
    for number in range(2):
        draw_image(tmp_path / f"s/{number}.png", number, side=40)
    odd, good = (studio_task(f"{number}.png", [("Happy", WHOLE_FACE)]) for number in range(2))
    odd["annotations"][0]["result"][0]["value"] = {
        "rectanglelabels": ["Happy"],
        **value,
    }
    write_json(tmp_path / "s/project.json", [odd, good])
    assert rows_of("labelstudio", tmp_path / "s")[0]["excluded"] == "its face box is no box"


@pytest.mark.parametrize("name", ["labelme", "labelstudio"])
def test_sizes_beyond_all_measure_are_none(tmp_path: Path, name: str) -> None:
    draw_image(tmp_path / "s/a.png", 0, side=40)
    huge = 10**400
    if name == "labelme":
        labelme_file(tmp_path / "s/a.json", [("happy", WHOLE_FACE)], side=huge)
        assert rows_of(name, tmp_path / "s")[0]["box"] == [1, 2, 30, 20.5]
    else:
        task = studio_task("a.png", [("Happy", WHOLE_FACE)])
        task["annotations"][0]["result"][0] |= {"original_width": huge}
        write_json(tmp_path / "s/project.json", [task])
        with pytest.raises(DatasetError, match="1 its face box is no box"):
            rows_of(name, tmp_path / "s")


# --- which image --------------------------------------------------------------------------------


@pytest.mark.parametrize("here", ["images/", ""])
def test_two_tasks_of_the_same_names_have_their_own_images(tmp_path: Path, here: str) -> None:
    for task, emotion in (("task1", "happy"), ("task2", "sad")):
        draw_image(tmp_path / f"s/{task}/{here}0.png", len(emotion), side=40)
        write_cvat(
            tmp_path / f"s/{task}/annotations.xml", cvat_image("0.png", [(emotion, WHOLE_FACE)])
        )
    assert [(row["path"], row["label"]) for row in rows_of("cvat", tmp_path / "s")] == [
        (f"task1/{here}0.png", "happiness"),
        (f"task2/{here}0.png", "sadness"),
    ]
    (tmp_path / f"s/task2/{here}0.png").unlink()
    found, lost = FORMATS["cvat"].read(tmp_path / "s").items
    assert (found[0].path, found[0].label) == (f"task1/{here}0.png", "happiness")
    assert (lost[0].path, lost[0].located) == ("task2/0.png", None)


def test_an_address_takes_no_image_that_another_fits_better(tmp_path: Path) -> None:
    draw_image(tmp_path / "s/day1/0.png", 0, side=40)
    tasks = [
        studio_task(f"s3://bucket/day{day}/0.png", [said])
        for day, said in ((2, "Sad"), (1, "Happy"))
    ]
    write_json(tmp_path / "s/project.json", tasks)
    rows = rows_of("labelstudio", tmp_path / "s")
    assert [(row["label"], row["problem"]) for row in rows] == [
        ("sadness", "missing"),
        ("happiness", None),
    ]


def test_two_exports_of_one_project_are_no_two_faces(tmp_path: Path) -> None:
    for number in range(2):
        draw_image(tmp_path / f"s/{number}.png", number, side=40)
    for month, emotion in (("01", "Happy"), ("02", "Sad")):
        boxes = [[("Angry", WHOLE_FACE)], [(emotion, WHOLE_FACE)]]
        tasks = [studio_task(f"{number}.png", box) for number, box in enumerate(boxes)]
        write_json(tmp_path / f"s/project-at-2026-{month}.json", tasks)
    info = import_dataset("labelstudio", tmp_path / "s", tmp_path / "d")
    dataset = Dataset.open(tmp_path / "d")
    assert dataset.column("excluded") == [None, "no emotion has the most votes"]
    assert any(
        "Images that several files, or several entries of one, mark: 2." in n for n in info["notes"]
    )


def test_an_example_beside_the_image_is_not_what_is_labelled(tmp_path: Path) -> None:
    for name in ("example", "0", "1"):
        draw_image(tmp_path / f"s/{name}.png", len(name), side=40)
    tasks = [studio_task(f"{number}.png", ["Happy"]) for number in range(2)]
    for task in tasks:
        task["data"] = {"guide": "example.png", **task["data"], "split": "test"}
    write_json(tmp_path / "s/project.json", tasks)
    rows = rows_of("labelstudio", tmp_path / "s")
    assert [(row["path"], row["label"], row["split"]) for row in rows[:2]] == [
        ("0.png", "happiness", "test"),
        ("1.png", "happiness", "test"),
    ]


def test_frames_of_a_film_in_cvat_have_no_suffix(tmp_path: Path) -> None:
    draw_image(tmp_path / "s/images/frame_000000.PNG", 0, side=40)
    write_cvat(tmp_path / "s/annotations.xml", cvat_image("frame_000000", [("sad", WHOLE_FACE)]))
    (row,) = rows_of("cvat", tmp_path / "s")
    assert (row["path"], row["label"]) == ("images/frame_000000.PNG", "sadness")


def test_subsets_of_cvat_that_are_no_splits_are_folders(tmp_path: Path) -> None:
    images = []
    for subset, emotion in (("batch a", "happy"), ("batch b", "sad")):
        draw_image(tmp_path / f"s/images/{subset}/0.png", len(emotion), side=40)
        images.append(cvat_image("0.png", [(emotion, WHOLE_FACE)], subset=subset))
    write_cvat(tmp_path / "s/annotations.xml", *images)
    assert [(row["path"], row["label"]) for row in rows_of("cvat", tmp_path / "s")] == [
        ("images/batch a/0.png", "happiness"),
        ("images/batch b/0.png", "sadness"),
    ]


def test_labelme_takes_the_image_beside_it_and_that_it_names(tmp_path: Path) -> None:
    for number, folder in enumerate(("1/2", "2/1")):
        draw_image(tmp_path / f"s/{folder}/a.png", number, side=40)
        labelme_file(tmp_path / f"s/{folder}/a.json", [(("happy", "sad")[number], WHOLE_FACE)])
    draw_image(tmp_path / "s/2/1/a.jpg", 5, side=40)
    about = json.loads((tmp_path / "s/2/1/a.json").read_text())
    write_json(tmp_path / "s/2/1/a.json", about | {"imagePath": "a.jpg"})
    rows = imported("labelme", tmp_path / "s")
    assert {path: row["label"] for path, row in rows.items()} == {
        "1/2/a.png": "happiness",
        "2/1/a.jpg": "sadness",
        "2/1/a.png": None,
    }


def test_labels_of_labelme_without_their_image_say_whose_they_took(tmp_path: Path) -> None:
    draw_image(tmp_path / "s/day1/a.png", 0, side=40)
    labelme_file(tmp_path / "s/day2/a.json", [("happy", WHOLE_FACE)])
    info = import_dataset("labelme", tmp_path / "s", tmp_path / "d")
    assert Dataset.open(tmp_path / "d").column("located") == ["name"]
    assert any("found by their names, or by the end of their paths: 1" in n for n in info["notes"])


# --- other files beside it ----------------------------------------------------------------------


def test_a_broken_file_beside_a_good_export_is_told(tmp_path: Path) -> None:
    draw_image(tmp_path / "s/a.png", 0, side=40)
    write_json(tmp_path / "s/other.json", {"annotation_id": 5})
    write_json(tmp_path / "s/project.json", [studio_task("a.png", ["Happy"])])
    assert recognise(tmp_path / "s")[0] == "labelstudio"
    info = import_dataset("labelstudio", tmp_path / "s", tmp_path / "d")
    assert any("Left out: " in note and "other.json" in note for note in info["notes"])


def test_folders_of_emotions_are_no_export_for_one_file_in_them(tmp_path: Path) -> None:
    for number in range(6):
        draw_image(tmp_path / f"s/{('happy', 'sad')[number % 2]}/{number}.png", number)
    write_json(tmp_path / "s/project.json", [studio_task("happy/0.png", ["Angry"])])
    assert recognise(tmp_path / "s")[0] == "folder"


@pytest.mark.parametrize(
    ("changed", "label"),
    [({"skipped": True}, None), ({"was_cancelled": None}, "happiness"), ({}, "happiness")],
)
def test_label_studio_before_its_first_version(
    tmp_path: Path, changed: dict[str, Any], label: str | None
) -> None:
    for number in range(2):
        draw_image(tmp_path / f"s/{number}.png", number)
    tasks = [studio_task(f"{number}.png", ["Happy"]) for number in range(2)]
    tasks[0]["annotations"][0] |= changed
    old = [{**task, "completions": task["annotations"]} for task in tasks]
    for task in old:
        del task["annotations"]
    write_json(tmp_path / "s/project.json", old)
    assert rows_of("labelstudio", tmp_path / "s")[0]["label"] == label


@pytest.mark.parametrize("file", ["faces.json", "via.json", "annotations.xml"])
def test_a_file_about_few_images_is_not_what_a_source_is(tmp_path: Path, file: str) -> None:
    for number in range(6):
        draw_image(tmp_path / f"s/{number}.png", number)
    lines = [f"{number}.png,{('happy', 'sad')[number % 2]}" for number in range(6)]
    (tmp_path / "s/labels.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    if file == "faces.json":
        labelme_file(tmp_path / "s/0.json", [("happy", WHOLE_FACE)])
    elif file == "via.json":
        write_json(tmp_path / "s" / file, via_image("0.png", [("happy", WHOLE_FACE)]))
    else:
        write_cvat(tmp_path / "s" / file, cvat_image("0.png", [("happy", WHOLE_FACE)]))
    assert recognise(tmp_path / "s")[0] == "csv"


@pytest.mark.parametrize(
    ("said", "split"),
    [
        ([{"split": "test"}, {}], "test"),
        ([{"split": "test"}, {"split": "train"}], "test"),
        ([{"split": "", "subset": "val"}, {}], "valid"),
        ([{"subset": "web"}, {}], "train"),
        ([{"split": "holdout"}, {}], None),
    ],
)
def test_the_split_that_data_name(
    tmp_path: Path, said: list[dict[str, str]], split: str | None
) -> None:
    """Of two tasks about one image; what one holds out, no other may learn from."""
    for number in range(2):
        draw_image(tmp_path / f"s/train/{number}.png", number)
    tasks = [studio_task("train/0.png", ["Happy"]) for _ in said]
    for task, words in zip(tasks, said, strict=True):
        task["data"] |= words
    write_json(tmp_path / "s/project.json", [*tasks, studio_task("train/1.png", ["Sad"])])
    first = rows_of("labelstudio", tmp_path / "s")[0]
    if split:
        assert (first["split"], first["excluded"]) == (split, None)
    else:
        assert first["excluded"] == "split 'holdout' is none of train, valid and test"
    about = via_image("0.png", [("happy", WHOLE_FACE)], **said[0])
    draw_image(tmp_path / "v/train/0.png", 0, side=40)
    write_json(tmp_path / "v/train/via.json", about)
    image = FORMATS["via"].read(tmp_path / "v")
    ((sample, _),) = image.items
    assert sample.excluded == first["excluded"]
    assert split is None or sample.split == split


def test_labelme_follows_the_path_that_it_says(tmp_path: Path) -> None:
    for number in (1, 2):
        draw_image(tmp_path / f"s/img/{number}.png", number, side=40)
        file = tmp_path / f"s/ann/{number}.json"
        labelme_file(file, [(("happy", "sad")[number - 1], WHOLE_FACE)])
        about = json.loads(file.read_text())
        write_json(file, {**about, "imagePath": f"../img/{3 - number}.png"})
    rows = imported("labelme", tmp_path / "s")
    assert (rows["img/2.png"]["label"], rows["img/1.png"]["label"]) == ("happiness", "sadness")


def test_points_within_a_face_are_no_faces(tmp_path: Path) -> None:
    draw_image(tmp_path / "s/a.png", 0, side=40)
    labelme_file(tmp_path / "s/a.json", [("eye", WHOLE_FACE)], flags=["happy"], shape_type="point")
    (row,) = rows_of("labelme", tmp_path / "s")
    assert (row["label"], row["box"]) == ("happiness", None)


def test_an_address_means_its_path_and_not_its_query(tmp_path: Path) -> None:
    for number in range(2):
        draw_image(tmp_path / f"s/day {number}/a.png", number)
    tasks = [
        studio_task(f"/data/local-files/?d=x%2Fday%20{number}%2Fa.png", [said])
        for number, said in enumerate(("Happy", "Sad"))
    ]
    write_json(tmp_path / "s/project.json", tasks)
    rows = imported("labelstudio", tmp_path / "s")
    assert {path: row["label"] for path, row in rows.items()} == {
        "day 0/a.png": "happiness",
        "day 1/a.png": "sadness",
    }


def test_labelme_takes_the_image_beside_it_in_its_own_case_first(tmp_path: Path) -> None:
    """Without a path, as other programs write its files."""
    for number, name in enumerate(("one/a.png", "one/A.jpg", "two/a.PNG", "three/A.png")):
        draw_image(tmp_path / "s" / name, number, side=40)
    for folder, emotion in (("one", "happy"), ("three", "sad")):
        labelme_file(tmp_path / f"s/{folder}/a.json", [(emotion, WHOLE_FACE)])
    rows = imported("labelme", tmp_path / "s")
    assert {path: row["label"] for path, row in rows.items() if row["label"]} == {
        "one/a.png": "happiness",
        "three/A.png": "sadness",
    }


def test_an_export_about_other_things_is_not_recognised(tmp_path: Path) -> None:
    for number in range(4):
        draw_image(tmp_path / f"s/{number}.png", number)
    words = ("happy", "cat", "dog", "sad person")
    tasks = [studio_task(f"{number}.png", [word]) for number, word in enumerate(words)]
    write_json(tmp_path / "s/project.json", tasks)
    with pytest.raises(DatasetError, match="no layout that mien knows"):
        recognise(tmp_path / "s")
    assert rows_of("labelstudio", tmp_path / "s")[0]["label"] == "happiness"
