"""The true layouts of the formats, each with a few images of noise."""

import io
import json
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from labelled import Shape, cvat_image, labelme_file, studio_task, via_image, write_cvat
from mien.data.dataset import Dataset
from mien.data.importers import import_dataset
from mien.images import write_image
from mien.labels import EMOTIONS, FERPLUS_VOTE_COLUMNS
from mien.video.files import VideoCopy

Pixels = NDArray[np.uint8]
LANDMARKS = ";".join(f"{i}.5;{i}.25" for i in range(68))
AFFECTNET_ORDER = (
    "neutral",
    "happiness",
    "sadness",
    "surprise",
    "fear",
    "disgust",
    "anger",
    "contempt",
)
FER_ORDER = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
YOLO_ORDER = (
    "anger",
    "contempt",
    "disgust",
    "fear",
    "happiness",
    "neutral",
    "sadness",
    "surprise",
)
RAFDB_ORDER = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")


def random_pixels(seed: int, side: int = 32) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def draw_image(path: Path, seed: int, side: int = 32) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, random_pixels(seed, side))


def write_text(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def pixel_cell(seed: int) -> str:
    values = np.random.default_rng(seed).integers(0, 256, 48 * 48)
    return " ".join(map(str, values))


def affectnet(root: Path) -> None:
    header = (
        "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,"
        "expression,valence,arousal"
    )
    rows = [f"1/{i}.jpg,4,5,20,22,{LANDMARKS},{i},0.{i},-0.{i}" for i in range(11)]
    rows.append(f"1/11.jpg,4,5,20,22,{LANDMARKS},12,-2,-2")
    write_text(root / "training.csv", header, *rows)
    # The table of validation has been seen without its header.
    write_text(root / "validation.csv", f"2/v.jpg,0,0,32,32,{LANDMARKS},1,-2,-2")
    for i in range(12):
        draw_image(root / f"Manually_Annotated_Images/1/{i}.jpg", i)
    draw_image(root / "Manually_Annotated_Images/2/v.jpg", 50)


def affectnet_npy(root: Path) -> None:
    for split, count in (("train_set", 8), ("val_set", 1)):
        for i in range(count):
            draw_image(root / split / "images" / f"{i}.jpg", 20 * count + i)
            notes = root / split / "annotations"
            notes.mkdir(exist_ok=True)
            np.save(notes / f"{i}_exp.npy", np.array(str(i)) if i % 2 else np.array(i))
            np.save(notes / f"{i}_val.npy", np.array("0.5"))
            np.save(notes / f"{i}_aro.npy", np.array(-2))
            np.save(notes / f"{i}_lnd.npy", np.arange(136.0))
    np.save(root / "train_set/annotations/99_exp.npy", np.array(1))
    draw_image(root / "train_set/images/77.jpg", 777)


def affectnet_kaggle(root: Path) -> None:
    write_text(
        root / "labels.csv",
        ",pth,label,relFCs,subset",
        "0,anger/image1.jpg,surprise,0.87,",
        "1,anger/image2.jpg,anger,0.81,",
        "2,happy/image1.jpg,happy,0.75,",
        "3,sad/moved.jpg,sad,0.7,",
        "4,sad/gone.jpg,sad,0.7,",
        "5,sad/odd.jpg,grumpy,,",
        "6,../outside.jpg,sad,0.7,",
    )
    draw_image(root / "Train/Anger/image1.jpg", 1)
    draw_image(root / "Test/Anger/image2.jpg", 2)
    draw_image(root / "Train/Happy/image1.jpg", 3)
    draw_image(root / "Test/Fear/moved.jpg", 4)
    draw_image(root / "Train/Sad/odd.jpg", 5)
    draw_image(root / "Train/Disgust/nobody.jpg", 6)
    draw_image(root.parent / "outside.jpg", 7)


def yolo(root: Path) -> None:
    affectnet_yolo(root)
    write_text(root / "data.yaml", f"{{nc: 8, names: {[*AFFECTNET_ORDER]}}}")


def affectnet_yolo(root: Path) -> None:
    write_text(root / "data.yaml", "nc: 8", f"names: {[*YOLO_ORDER]}")
    for i in range(8):
        draw_image(root / f"train/images/{i}.png", i, side=40)
        write_text(root / f"train/labels/{i}.txt", f"{i} 0.5 0.5 0.5 0.25")
    draw_image(root / "valid/images/two.png", 31)
    write_text(root / "valid/labels/two.txt", "0 0.25 0.25 0.5 0.5", "4 0.75 0.75 0.5 0.5")
    draw_image(root / "test/images/none.png", 32)
    write_text(root / "test/labels/none.txt", "")
    draw_image(root / "test/images/lost.png", 33)
    draw_image(root / "test/images/bad.png", 34)
    write_text(root / "test/labels/bad.txt", "9 0.5 0.5 1 1")


def coco(root: Path) -> None:
    names = ("emotions", *YOLO_ORDER)
    categories = [{"id": i, "name": name} for i, name in enumerate(names)]
    for split, count in (("train", 8), ("valid", 2)):
        images = [{"id": i, "file_name": f"{i}.png", "height": 40} for i in range(count)]
        marks = [
            {"id": i, "image_id": i, "category_id": i + 1, "bbox": [1, 2, 30, 20.5]}
            for i in range(count)
        ]
        about = {"info": {}, "images": images, "annotations": marks, "categories": categories}
        for i in range(count):
            draw_image(root / split / f"{i}.png", 20 * count + i, side=40)
        (root / split / "_annotations.coco.json").write_text(json.dumps(about))
    draw_image(root / "valid/stray.png", 99)


def voc_xml(*faces: str) -> str:
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>31</xmax>"
        "<ymax>22.5</ymax></bndbox></object>"
        for name in faces
    )
    return f"<annotation><filename>renamed since.jpg</filename>{objects}</annotation>"


def voc(root: Path) -> None:
    for split, count in (("train", 8), ("valid", 2)):
        for i in range(count):
            draw_image(root / split / f"{i}.png", 20 * count + i, side=40)
            write_text(root / split / f"{i}.xml", voc_xml(YOLO_ORDER[i]))
    draw_image(root / "valid/stray.png", 99)


def draw_for_tool(root: Path) -> dict[str, list[Shape]]:
    """Draw the images of a labelling tool, and return what is marked in each."""
    draw_image(root / "valid/stray.png", 99)
    marked: dict[str, list[Shape]] = {}
    for split, count in (("train", 8), ("valid", 2)):
        for i in range(count):
            draw_image(root / split / f"{i}.png", 20 * count + i, side=40)
            marked[f"{split}/{i}.png"] = [(YOLO_ORDER[i], (1, 2, 31, 22.5))]
    return marked


def labelme(root: Path) -> None:
    for path, shapes in draw_for_tool(root).items():
        labelme_file((root / path).with_suffix(".json"), shapes)


def cvat(root: Path) -> None:
    images = [cvat_image(path, shapes) for path, shapes in draw_for_tool(root).items()]
    write_cvat(root / "annotations.xml", *images)


def labelstudio(root: Path) -> None:
    tasks = [
        studio_task(f"/data/local-files/?d=study/faces/{path}", shapes)
        for path, shapes in draw_for_tool(root).items()
    ]
    write_text(root / "project-1-at-2026-11-28.json", json.dumps(tasks))


def via(root: Path) -> None:
    images = [via_image(path, shapes) for path, shapes in draw_for_tool(root).items()]
    about = {"_via_settings": {}, "_via_img_metadata": dict(chain(*map(dict.items, images)))}
    write_text(root / "via_project.json", json.dumps(about))


def rafdb(root: Path) -> None:
    names = [f"train_{i:05d}" for i in range(1, 8)] + ["test_0001"]
    codes = [*range(1, 8), 4]
    rows = [f"{n}.jpg {c}" for n, c in zip(names, codes, strict=True)]
    write_text(root / "EmoLabel/list_patition_label.txt", *rows, "test_0002.jpg 9x")
    for seed, name in enumerate([*names, "test_0002"]):
        draw_image(root / f"Image/aligned/{name}_aligned.jpg", seed)


def expw(root: Path) -> None:
    faces = [f"crowd.jpg {i} {2 * i} {i} {i + 20} {2 * i + 20} 60.5 {i}" for i in range(7)]
    write_text(root / "label/label.lst", *faces, "alone.jpg 0 0 0 30 30 12.25 3")
    draw_image(root / "image/origin/crowd.jpg", 1, side=64)
    draw_image(root / "image/origin/alone.jpg", 2)


def ckplus(root: Path) -> None:
    rows = [f"{i},{pixel_cell(i)},Training" for i in range(8)]
    write_text(
        root / "ckextended.csv", "emotion,pixels,Usage", *rows, f"3,{pixel_cell(99)},PrivateTest"
    )


def fer2013(root: Path) -> None:
    rows = [f"{i},{pixel_cell(i)},Training" for i in range(7)]
    write_text(root / "fer2013.csv", "emotion,pixels,Usage", *rows)


def ferplus(root: Path) -> None:
    header = f"Usage,Image name,{','.join(FERPLUS_VOTE_COLUMNS)},unknown,NF"
    write_text(root / "fer2013new.csv", header, "Training,fer0.png,10,0,0,0,0,0,0,0,0,0")
    draw_image(root / "FER2013Train/fer0.png", 1)


def kdef(root: Path) -> None:
    number = 0
    for person in ("F01", "M35"):
        for session in "AB":
            for emotion in ("AF", "AN", "DI", "HA", "NE", "SA", "SU"):
                name = f"{session}{person}{emotion}{('S', 'HL', 'HR', 'FL', 'FR')[number % 5]}.JPG"
                draw_image(root / f"KDEF/{session}{person}/{name}", number)
                number += 1


def jaffe(root: Path) -> None:
    number = 0
    for person in ("KA", "UY"):
        for emotion in ("AN", "DI", "FE", "HA", "NE", "SA", "SU"):
            number += 1
            draw_image(root / f"jaffe/{person}.{emotion}1.{number}.tiff", number)


def rafd(root: Path) -> None:
    emotions = ("angry", "contemptuous", "disgusted", "fearful", "happy", "neutral", "sad")
    for number, emotion in enumerate(2 * (*emotions, "surprised")):
        who = "01_Caucasian_female" if number < 8 else "65_Moroccan_male"
        gaze = ("frontal", "left", "right")[number % 3]
        draw_image(root / f"Rafd{45 * (number % 5):03d}_{who}_{emotion}_{gaze}.jpg", number)


def cfd(root: Path) -> None:
    for number, code in enumerate(["N", "A", "F", "HC", "HO", "N", "A", "HO"]):
        who = "WF-001" if number < 5 else "BM-203"
        draw_image(root / f"CFD/{who}/CFD-{who}-{number:03d}-{code}.jpg", number)


def nimstim(root: Path) -> None:
    codes = ["AN_C", "CA_O", "DI_O", "FE_O", "HA_X", "NE_C", "SA_C", "SP_O"]
    for number, code in enumerate(2 * codes):
        draw_image(root / f"{'01F' if number < 8 else '45M'}_{code}.BMP", number)


def faces(root: Path) -> None:
    for number, code in enumerate("adfhns" * 2):
        who = "004_o_m" if number < 6 else "182_y_f"
        draw_image(root / f"{who}_{code}_{'ab'[number % 2]}.jpg", number)


def film(path: Path, *shades: int, rate: int = 10, side: int = 96) -> None:
    """Write a video whose frames are each of one grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoCopy(path, rate=rate) as copy:
        for number, shade in enumerate(shades):
            copy.add(np.full((side, side, 3), shade, np.uint8), number / rate)


def ravdess(root: Path) -> None:
    for number in range(1, 9):
        for actor in ("07", "12"):
            name = f"02-01-{number:02d}-0{1 + number % 2}-01-01-{actor}.mp4"
            shade = 20 * number + int(actor)
            film(root / f"Video_Speech_Actor_{actor}/{name}", shade, shade)


def crema_d(root: Path) -> None:
    for number, code in enumerate(["ANG", "DIS", "FEA", "HAP", "NEU", "SAD"]):
        for actor in (1001, 1091):
            name = f"{actor}_DFA_{code}_{('LO', 'MD', 'HI', 'XX')[number % 4]}.avi"
            shade = 30 * number + actor % 1000 // 9
            film(root / "VideoFlash" / name, shade, shade)


def folder(root: Path) -> None:
    for i, emotion in enumerate(EMOTIONS):
        draw_image(root / emotion / f"{i}.png", i)


def csv_table(root: Path) -> None:
    write_text(
        root / "faces.csv",
        "path,label,split,subject,weight,votes,box,sharpness,comment",
        "a/1.png,Happy,train,p1,2,0 9 0 1 0 0 0 0,4 4 20 20,0.5,x",
        "a/2.png,3,train,p1,,,,0.4,x",
        "a/3.png,SAD,test,p2,,,,0.3,x",
        "../outside.png,sad,train,p3,,,,0.2,x",
        "a/4.png,angry,val,p4,,,,,x",
    )
    for i in range(1, 5):
        draw_image(root / f"a/{i}.png", i)
    draw_image(root.parent / "outside.png", 9)


def parquet(root: Path) -> None:
    def encoded(seed: int) -> bytes:
        file = io.BytesIO()
        Image.fromarray(random_pixels(seed)).save(file, "PNG")
        return file.getvalue()

    names = ["fear", "joy", "nonsense"]
    about = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    for name, seed in (("train-00000-of-00001", 0), ("test-00000-of-00001", 10)):
        images = [{"bytes": encoded(seed + i), "path": None} for i in range(3)]
        table = pa.table({"image": images, "label": pa.array([0, 1, 2], pa.int64())})
        table = table.replace_schema_metadata({"huggingface": json.dumps(about)})
        root.mkdir(exist_ok=True)
        pq.write_table(table, root / f"{name}.parquet")


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "affectnet": affectnet,
    "affectnet-npy": affectnet_npy,
    "affectnet-kaggle": affectnet_kaggle,
    "affectnet-yolo": affectnet_yolo,
    "yolo": yolo,
    "coco": coco,
    "voc": voc,
    "cvat": cvat,
    "labelme": labelme,
    "labelstudio": labelstudio,
    "via": via,
    "fer2013": fer2013,
    "ferplus": ferplus,
    "rafdb": rafdb,
    "expw": expw,
    "ckplus": ckplus,
    "kdef": kdef,
    "jaffe": jaffe,
    "rafd": rafd,
    "cfd": cfd,
    "nimstim": nimstim,
    "faces": faces,
    "ravdess": ravdess,
    "crema-d": crema_d,
    "folder": folder,
    "csv": csv_table,
    "parquet": parquet,
}


def lay_out(name: str, tmp_path: Path) -> Path:
    root = tmp_path / "source"
    root.mkdir()
    LAYOUTS[name](root)
    return root


def imported(name: str, root: Path, **options: Any) -> dict[str, dict[str, Any]]:
    """Import a source and return the rows of its manifest by their paths."""
    out = root.with_name(f"{root.name} of {name}")
    import_dataset(name, root, out, **options)
    return {row["path"]: row for row in Dataset.open(out).manifest.to_pylist()}
