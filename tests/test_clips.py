"""Pictures of videos as training data: which, in which split, and what figures make of them."""

import json
import shutil
import zipfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from commands import Command
from filmed import person
from labelled import cvat_image, write_cvat
from layouts import LAYOUTS, Pixels, draw_image, film, imported, write_text
from mien.data.audit.auditor import audit_dataset
from mien.data.clips import Clip, clip_of, moment
from mien.data.dataset import Dataset
from mien.data.importers import import_dataset, recognise
from mien.data.source import FileTree
from mien.drawn import draw_portrait
from mien.errors import DatasetError, ImageError
from mien.judging.groups import figures_of_videos
from mien.people import chosen_by, number_people
from mien.video.files import Video, VideoCopy

RAMP = tuple(range(20, 220, 10))
"""Greys of twenty frames."""


def _greys(root: Path, count: int, path: str = "c.mp4") -> list[float]:
    with FileTree(root) as tree:
        assert tree.clips == [path]
        return [round(float(frame.pixels.mean()), -1) for frame in Clip(tree, path).pictures(count)]


@pytest.mark.parametrize(
    ("count", "greys"),
    [
        (1, [120]),
        (2, [70, 170]),
        (5, [40, 80, 120, 160, 200]),
        (20, [*RAMP]),
        (50, [*RAMP]),
    ],
)
def test_pictures_are_from_the_middles_of_equal_parts(
    tmp_path: Path, count: int, greys: list[int]
) -> None:
    film(tmp_path / "c.mp4", *RAMP)
    assert _greys(tmp_path, count) == greys


def test_a_video_of_one_frame_gives_it(tmp_path: Path) -> None:
    film(tmp_path / "c.mp4", 100)
    assert _greys(tmp_path, 1) == _greys(tmp_path, 4) == [100]


def test_what_counts_no_frames_is_read_to_its_end_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(tmp_path / "c.mp4", *RAMP)
    monkeypatch.setattr("mien.data.clips.Video.length_s", 0.0)
    assert _greys(tmp_path, 2) == [60, 160]


def test_of_a_video_that_is_cut_off_there_is_what_there_is(tmp_path: Path) -> None:
    film(tmp_path / "c.mkv", *RAMP)
    whole = (tmp_path / "c.mkv").read_bytes()
    (tmp_path / "c.mkv").write_bytes(whole[: len(whole) // 2])
    # Not the last frame, which is often torn.
    assert _greys(tmp_path, 5, "c.mkv") == [40, 80]
    assert _greys(tmp_path, 20, "c.mkv") == [*RAMP[:8]]
    with FileTree(tmp_path) as tree, pytest.raises(ImageError, match="before a picture of it was"):
        next(Clip(tree, "c.mkv").pictures(1))


def test_what_is_no_video_is_told(tmp_path: Path) -> None:
    (tmp_path / "c.mp4").write_bytes(b"no video")
    with FileTree(tmp_path) as tree, pytest.raises(ImageError, match="not a readable video"):
        next(Clip(tree, "c.mp4").pictures(1))


def test_paths_of_moments() -> None:
    path = moment("a/c.mp4", 1.25)
    assert path == "a/c.mp4#t=1.250"
    assert clip_of(path) == clip_of(f"{path}#2") == "a/c.mp4"
    assert clip_of("a/c.mp4") is None
    assert clip_of("a/c.png#1") is None


def _clips(root: Path, each: int = 10) -> Path:
    """A folder of emotions that hold videos, in each of which the grey hardly changes."""
    for place, emotion in enumerate(("angry", "happy", "sad")):
        for number in range(each):
            shade = 20 + 60 * place + 3 * number
            film(root / emotion / f"{number}.mp4", *(shade + i // 4 for i in range(8)))
    return root


def test_folders_of_videos(tmp_path: Path) -> None:
    source = _clips(tmp_path / "s")
    draw_image(source / "happy/photo.png", 1)
    found, why = recognise(source)
    assert (found, "anger, happiness, sadness" in why) == ("folder", True)
    rows = imported("folder", source, frames=4)
    assert len(rows) == 30 * 4 + 1
    assert {row["excluded"] for row in rows.values()} == {None}
    first = [path for path in rows if path.startswith("happy/0.mp4")]
    assert first == [f"happy/0.mp4#t=0.{i}00" for i in (1, 3, 5, 7)]
    assert {rows[path]["label"] for path in first} == {"happiness"}
    splits: dict[str | None, set[str]] = {}
    for path, row in rows.items():
        splits.setdefault(clip_of(path), set()).add(row["split"])
    assert {len(of) for of in splits.values()} == {1}
    assert set.union(*splits.values()) == {"train", "valid", "test"}


def test_videos_in_an_archive_are_those_of_the_folder(tmp_path: Path) -> None:
    source = _clips(tmp_path / "s", each=2)
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        for path in sorted(source.rglob("*.mp4")):
            archive.write(path, path.relative_to(source))
    infos = [
        import_dataset("folder", of, tmp_path / f"of {of.name}", frames=2)
        for of in (source, tmp_path / "z.zip")
    ]
    assert infos[0]["fingerprint"] == infos[1]["fingerprint"]
    assert infos[0]["rows"] == 12


def test_without_frames_videos_are_left_out_and_told(tmp_path: Path) -> None:
    source = _clips(tmp_path / "s", each=1)
    with pytest.raises(DatasetError, match="3 videos, and no image: --frames 5 takes five"):
        imported("folder", source)
    for number, emotion in enumerate(("angry", "happy")):
        draw_image(source / emotion / "photo.png", number)
    info = import_dataset("folder", source, tmp_path / "with")
    assert Dataset.open(tmp_path / "with").column("path") == ["angry/photo.png", "happy/photo.png"]
    assert (
        "Videos that were passed over: 3, such as angry/0.mp4. --frames 5 takes five pictures of "
        "each."
    ) in info["notes"]
    for path in source.rglob("*.mp4"):
        path.unlink()
    alone = import_dataset("folder", source, tmp_path / "without")
    assert alone["fingerprint"] == info["fingerprint"]


def test_a_broken_video_is_one_row_and_the_others_go_on(tmp_path: Path) -> None:
    source = _clips(tmp_path / "s", each=2)
    (source / "happy/broken.mp4").write_bytes(b"no video")
    (source / "elsewhere").mkdir()
    film(source / "elsewhere/c.mp4", 9, 9)
    rows = imported("folder", source, frames=3)
    left_out = {path: row["excluded"] for path, row in rows.items() if row["excluded"]}
    assert left_out == {
        "elsewhere/c.mp4": "folder 'elsewhere' names no emotion",
        "happy/broken.mp4": "unreadable: not a readable video (unknown format, damaged, or cut off "
        "at its end)",
    }
    assert len(rows) == 6 * 3 + 2


@pytest.mark.parametrize("name", ["c.mp4", "c.png"])
def test_pointers_to_files_elsewhere_are_told(tmp_path: Path, name: str) -> None:
    source = _clips(tmp_path / "s", each=1)
    (source / "happy" / name).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256")
    rows = imported("folder", source, frames=1)
    assert rows[f"happy/{name}"]["excluded"] == (
        "unreadable: a pointer of Git LFS, not the file: 'git lfs pull' fetches it"
    )


def test_videos_of_fewer_pictures_are_told(tmp_path: Path) -> None:
    source = _clips(tmp_path / "s", each=2)
    film(source / "happy/short.mp4", 99)
    (source / "happy/empty.mp4").touch()
    notes = import_dataset("folder", source, tmp_path / "d", frames=3)["notes"]
    assert any(note.startswith("19 pictures were taken of 7 videos") for note in notes)
    assert (
        "Of 2 videos there are fewer than 3, such as of happy/empty.mp4: they are short, cut off "
        "or damaged."
    ) in notes


def test_the_draw_depends_on_videos_not_on_the_pictures_taken(tmp_path: Path) -> None:
    source = _clips(tmp_path / "s")
    drawn = []
    for frames in (1, 2, 3, 5):
        rows = imported("folder", source, frames=frames)
        drawn.append({clip_of(path): row["split"] for path, row in rows.items()})
        shutil.rmtree(tmp_path / "s of folder")
    assert {*drawn[0].values()} == {"train", "valid", "test"}
    assert all(each == drawn[0] for each in drawn)


def test_a_part_of_a_held_out_video_keeps_all_of_it_from_training(tmp_path: Path) -> None:
    film(tmp_path / "s/test/happy/whole.mp4", 50, 60, 70, 80, 90, 100, 110, 120)
    film(tmp_path / "s/train/happy/part.mp4", 70, 80, 90, 100)
    film(tmp_path / "s/train/happy/other.mp4", 200, 210, 220, 230)
    for number in range(3):  # what begins black is not one video for that
        film(tmp_path / f"s/train/sad/{number}.mp4", 0, 0, 30 + number, 150 + number)
    film(tmp_path / "s/test/sad/9.mp4", 0, 0, 40, 180)
    rows = imported("folder", tmp_path / "s", frames=4)
    reasons = {path: row["excluded"] for path, row in rows.items() if row["split"] == "train"}
    of_part = [why for path, why in reasons.items() if "part.mp4" in path]
    copies = "same pixels as a test image"
    assert {*of_part} == {copies, f"{copies} elsewhere in its video"}
    left_out = {path for path, why in reasons.items() if why and "part.mp4" not in path}
    assert left_out and all("#t=0.0" in path or "#t=0.1" in path for path in left_out)


def test_pictures_of_one_video_are_no_copies_of_each_other(tmp_path: Path) -> None:
    drawn = [draw_portrait(person(seed), size=96) for seed in (1, 2, 3)]
    for place, portrait in enumerate(drawn):
        path = tmp_path / "s" / ("happy", "sad", "sad")[place] / f"{place}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        with VideoCopy(path, rate=10) as copy:
            for number in range(6):
                copy.add(portrait, number / 10)
    shutil.copy(tmp_path / "s/happy/0.avi", tmp_path / "s/sad/again.avi")
    import_dataset("folder", tmp_path / "s", tmp_path / "d", frames=3)
    found = audit_dataset(Dataset.open(tmp_path / "d")).findings
    alike = [f for f in found if f.kind in {"duplicate", "near_duplicate", "label_conflict"}]
    assert {f.kind for f in alike} >= {"duplicate", "label_conflict"}
    for finding in alike:
        videos = {clip_of(path) for path in finding.paths}
        assert videos == {"happy/0.avi", "sad/again.avi"}


def test_a_csv_may_name_videos(tmp_path: Path) -> None:
    for number in range(4):
        film(tmp_path / f"s/clips/{number}.mp4", 30 * number, 30 * number, 30 * number + 9)
    rows = [f"clips/{i}.mp4,{'happy' if i % 2 else 'sad'},p{i},train" for i in range(5)]
    write_text(tmp_path / "s/labels.csv", "file,emotion,person,split", *rows)
    assert recognise(tmp_path / "s")[0] == "csv"
    found = imported("csv", tmp_path / "s", frames=3)
    assert [row["subject"] for row in found.values()] == [f"p{i // 3}" for i in range(12)] + ["p4"]
    assert found["clips/4.mp4"]["excluded"] == "missing: no such image in the source"
    assert found["clips/3.mp4#t=0.200"]["label"] == "happiness"
    film(tmp_path / "s/clips/unnamed.mp4", 9, 9)
    without = import_dataset("csv", tmp_path / "s/labels.csv", tmp_path / "d", frames=1)
    assert without["rows"] == 5
    shutil.rmtree(tmp_path / "s of csv")
    found = imported("csv", tmp_path / "s", frames=1)
    assert found["clips/unnamed.mp4"]["problem"] == "unlisted"
    shutil.rmtree(tmp_path / "s of csv")
    with pytest.raises(DatasetError, match="4 a video: --frames says how many"):
        imported("csv", tmp_path / "s")


@pytest.mark.parametrize("column", ["video", "video_path", "video_name", "clip"])
def test_columns_of_videos(tmp_path: Path, column: str) -> None:
    for number in range(3):
        film(tmp_path / f"s/{number}.mp4", 30 * number, 30 * number)
    rows = [f"{i}.mp4,{('happy', 'sad', 'happy')[i]}" for i in range(3)]
    write_text(tmp_path / "s/labels.csv", f"{column},emotion", *rows)
    assert recognise(tmp_path / "s")[0] == "csv"
    assert len(imported("csv", tmp_path / "s", frames=1)) == 3
    # Where it names no videos it is no path.
    write_text(tmp_path / "s/labels.csv", f"{column},frame,emotion", "007,1,happy", "007,2,sad")
    with pytest.raises(DatasetError, match="column 'path' is missing"):
        imported("csv", tmp_path / "s")


def test_ids_without_a_suffix_find_their_file(tmp_path: Path) -> None:
    for number in range(4):
        film(tmp_path / f"s/clip/{number}.mp4", 30 * number, 30 * number)
    draw_image(tmp_path / "s/clip/photo.v2.png", 5)
    draw_image(tmp_path / "s/clip/twice.png", 6)
    draw_image(tmp_path / "s/clip/twice.jpg", 7)
    names = ["0", "clip/1", "CLIP/2", "3.mp4", "photo.v2", "twice", "9"]
    write_text(tmp_path / "s/t.csv", "path,label", *(f"{name},happy" for name in names))
    rows = imported("csv", tmp_path / "s", frames=1)
    used = {path.partition("#")[0] for path, row in rows.items() if row["excluded"] is None}
    assert used == {*(f"clip/{n}.mp4" for n in range(4)), "clip/photo.v2.png"}
    assert rows["twice"]["excluded"].startswith("missing: several")
    assert rows["9"]["excluded"] == "missing: no such image in the source"


@pytest.mark.parametrize(
    ("columns", "first", "second"),
    [
        ("start,end", "0,1", "1.0,2.0"),
        ("Start (s),End (s)", "0:00,0:01", "0:00:01,0:02"),
        ("onset,offset", '"0,0","1,0"', '"1,0","2,0"'),
    ],
)
def test_rows_may_be_of_parts_of_a_video(
    tmp_path: Path, columns: str, first: str, second: str
) -> None:
    film(tmp_path / "s/a.mp4", *RAMP)
    film(tmp_path / "s/b.mp4", *RAMP[::-1])
    rows = [f"a.mp4,{first},happy", f"a.mp4,{second},sad", "b.mp4,,,angry", "b.mp4,9,2,angry"]
    write_text(tmp_path / "s/t.csv", f"video,{columns},emotion", *rows)
    info = import_dataset("csv", tmp_path / "s", tmp_path / "d", frames=2)
    found = {r["path"]: r for r in Dataset.open(tmp_path / "d").manifest.to_pylist()}
    labels = {path: row["label"] for path, row in found.items() if not row["excluded"]}
    assert labels == {
        "a.mp4#t=0.200": "happiness",
        "a.mp4#t=0.700": "happiness",
        "a.mp4#t=1.200": "sadness",
        "a.mp4#t=1.700": "sadness",
        "b.mp4#t=0.500": "anger",
        "b.mp4#t=1.500": "anger",
    }
    assert found["b.mp4"]["excluded"] == (
        "'9' to '2' is no part of a video: expected seconds, or times as 1:02.5"
    )
    assert any(note.startswith("Parts of videos by columns") for note in info["notes"])


def test_parts_end_with_their_video(tmp_path: Path) -> None:
    film(tmp_path / "s/a.mp4", *RAMP)
    write_text(tmp_path / "s/t.csv", "video,start,end,emotion", "a.mp4,1,9,sad", "a.mp4,9,10,happy")
    found = imported("csv", tmp_path / "s", frames=2)
    assert {path: row["excluded"] for path, row in found.items()} == {
        "a.mp4#t=1.200": None,
        "a.mp4#t=1.700": None,
        "a.mp4": "unreadable: it is over after 2.0 s, before its part begins",
    }


def test_whole_videos_of_several_labels_are_left_out(tmp_path: Path) -> None:
    for name in "abc":
        film(tmp_path / f"s/{name}.mp4", *RAMP)
    rows = ["a.mp4,1,happy", "a.mp4,2,sad", "b.mp4,1,happy", "b.mp4,2,happy", "c.mp4,1,sad"]
    write_text(tmp_path / "s/t.csv", "video,frame,emotion", *rows)
    import_dataset("csv", tmp_path / "s", tmp_path / "d", frames=1)
    found = Dataset.open(tmp_path / "d").manifest.to_pylist()
    left_out = [(row["path"], row["excluded"]) for row in found if row["excluded"]]
    assert [path for path, _ in left_out] == ["a.mp4", "a.mp4"]
    assert "columns start and end, in seconds, say what part" in left_out[0][1]


def test_parts_that_overlap_with_other_emotions_are_left_out(tmp_path: Path) -> None:
    for name in "abcd":
        film(tmp_path / f"s/{name}.mp4", *RAMP)
    rows = ["a.mp4,,,happy", "a.mp4,1,2,sad", "b.mp4,0,1,happy", "b.mp4,1,2,sad"]
    rows += ["c.mp4,0,1.5,happy", "c.mp4,0:00,0:01.5,sad", "d.mp4,0,1,sad", "d.mp4,0.5,2,sad"]
    write_text(tmp_path / "s/t.csv", "video,start,end,emotion", *rows)
    import_dataset("csv", tmp_path / "s", tmp_path / "d", frames=1)
    found = Dataset.open(tmp_path / "d").manifest.to_pylist()
    left_out = [row["path"] for row in found if row["excluded"]]
    assert left_out == ["a.mp4", "a.mp4", "c.mp4", "c.mp4"]


def test_marked_faces_of_a_video_have_its_moments(tmp_path: Path) -> None:
    film(tmp_path / "s/a.mp4", *RAMP)
    shapes = [("happy", (0, 0, 40, 40)), ("sad", (40, 40, 90, 90))]
    write_cvat(tmp_path / "s/annotations.xml", cvat_image("a.mp4", shapes, side=96))
    found = imported("cvat", tmp_path / "s", frames=2)
    assert {*map(clip_of, found)} == {"a.mp4"}
    assert {path.partition("#t=")[2][:5] for path in found} == {"0.500", "1.500"}
    assert len(found) == 4


def test_long_videos_are_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film(tmp_path / "c.mp4", *([20] * 100), *([120] * 100), *([220] * 100))
    read = Counter[str]()
    real = Video._read

    def counted(video: Video) -> Pixels | None:
        read["frames"] += 1
        return real(video)

    monkeypatch.setattr(Video, "_read", counted)
    assert _greys(tmp_path, 3) == [20, 120, 220]
    assert read["frames"] < 60


def test_faces_of_a_video_have_its_moments(tmp_path: Path) -> None:
    film(tmp_path / "s/a.mp4", *RAMP)
    film(tmp_path / "s/b.mp4", *RAMP[::-1])
    boxes = ["a.mp4,0,0,40,40,happy", "a.mp4,40,40,50,50,sad", "b.mp4,0,0,50,50,sad"]
    write_text(tmp_path / "s/t.csv", "video,x,y,w,h,emotion", *boxes)
    import_dataset("csv", tmp_path / "s", tmp_path / "d", frames=2)
    dataset = Dataset.open(tmp_path / "d")
    assert {*map(clip_of, dataset.column("path"))} == {"a.mp4", "b.mp4"}
    assert any("6 pictures were taken of 2 videos" in note for note in dataset.info["notes"])
    assert {*dataset.column("excluded")} == {None}


def test_videos_of_one_name_in_two_archives_are_two(tmp_path: Path) -> None:
    for name in "cd":
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr("happy/1.mp4", name)
            archive.writestr(f"happy/cover {name}.png", name)
    with FileTree(tmp_path) as tree:
        assert tree.clips == ["c/happy/1.mp4", "d/happy/1.mp4"]


def test_no_room_for_a_video_of_an_archive_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("happy/1.mp4", bytes(2048))
        archive.writestr("sad/1.mp4", bytes(1))
    monkeypatch.setattr("mien.data.source.shutil.disk_usage", lambda _: SimpleNamespace(free=1024))
    with pytest.raises(DatasetError, match=r"no room to unpack happy/1\.mp4 .* TMPDIR names"):
        imported("folder", tmp_path / "z.zip", frames=1)


def test_a_table_of_files_whose_names_say_the_emotion_goes_before_the_names(
    tmp_path: Path,
) -> None:
    LAYOUTS["rafd"](tmp_path / "s")
    names = sorted(path.name for path in (tmp_path / "s").iterdir())
    assert recognise(tmp_path / "s")[0] == "rafd"
    write_text(tmp_path / "s/SentenceFilenames.csv", "Stimulus_Number,Filename", f"1,{names[0]}")
    assert recognise(tmp_path / "s")[0] == "rafd"
    few = [f"{name},fear" for name in names[:3]]
    write_text(tmp_path / "s/SentenceFilenames.csv", "Filename,Emotion", *few)
    assert recognise(tmp_path / "s")[0] == "rafd"
    write_text(tmp_path / "s/SentenceFilenames.csv", "Filename,Emotion", *(f"{n},3" for n in names))
    assert recognise(tmp_path / "s")[0] == "rafd"
    rows = [f"{name},{('fear', 'sad')[n % 2]}" for n, name in enumerate(names)]
    write_text(tmp_path / "s/SentenceFilenames.csv", "Filename,Emotion", *rows)
    assert recognise(tmp_path / "s")[0] == "csv"
    found = imported("csv", tmp_path / "s")
    assert {row["label"] for row in found.values()} == {"fear", "sadness"}
    assert {row["subject"] for row in found.values()} == {"01", "65"}


def test_images_of_one_video_are_not_independent(tmp_path: Path) -> None:
    import_dataset("folder", _clips(tmp_path / "s"), tmp_path / "d", frames=3)
    dataset = Dataset.open(tmp_path / "d")
    rows = dataset.usable("test")
    shown, who = dataset.shown(rows)
    people = number_people(shown)
    assert len(rows) == 3 * len(np.unique(people))
    assert chosen_by(people, who) == "videos"
    assert chosen_by(people[:3], who) == "images of one video"
    names: list[str | None] = [None] * len(dataset)
    names[rows[0]] = "me"
    shown, who = dataset.with_column("subject", names).shown(rows)
    assert (shown[0], who) == ("me", "person")
    assert len({*shown}) == len({*people.tolist()}) + 1


def test_figures_of_videos_are_those_of_the_mean_of_their_pictures() -> None:
    found = np.array(
        [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.4, 0.6], [0.5, 0.5], [0.1, 0.9]], np.float32
    )
    truth = np.array([0, 0, 1, 1, 1, 0])
    videos = ["a", "a", "b", "b", None, "c"]
    figures = figures_of_videos(found, truth, ("anger", "fear"), videos, [None] * 6)
    assert figures is not None
    assert (figures["n"], figures["accuracy"]) == (3, pytest.approx(2 / 3))
    assert figures["macro_recall"] == pytest.approx(0.75)
    assert figures["nll"] == pytest.approx(-np.log([0.55, 0.65, 0.1]).mean(), rel=1e-5)
    low, high = figures["intervals"]["accuracy"]
    assert low < 2 / 3 < high
    of_one = figures_of_videos(found, truth, ("anger", "fear"), videos, ["p", "p", *[None] * 4])
    assert of_one == figures  # no person has two videos
    assert figures_of_videos(found, truth, ("anger", "fear"), [None] * 6, [None] * 6) is None


def test_a_video_has_the_label_of_most_of_its_pictures() -> None:
    found = np.array([[0.9, 0.1], [0.2, 0.8], [0.8, 0.2]], np.float32)
    truth = np.array([0, 1, 0])
    figures = figures_of_videos(found, truth, ("anger", "fear"), ["a"] * 3, [None] * 3)
    assert figures is not None
    assert (figures["n"], figures["accuracy"]) == (1, 1.0)


def test_videos_of_one_person_are_not_independent() -> None:
    right = np.repeat([True] * 10 + [False] * 10, 2)
    found = np.where(right[:, None], [[0.9, 0.1]], [[0.1, 0.9]]).astype(np.float32)
    truth = np.zeros(40, dtype=np.int64)
    videos = [f"v{n // 2}" for n in range(40)]
    people = [f"p{n // 10}" for n in range(40)]
    apart, of_people = (
        figures_of_videos(found, truth, ("anger", "fear"), videos, who)
        for who in ([None] * 40, people)
    )
    assert apart is not None and of_people is not None
    assert of_people["n"] == apart["n"] == 20
    assert of_people["intervals"]["accuracy"][0] < apart["intervals"]["accuracy"][0] - 0.1


def test_an_evaluation_tells_of_videos(tmp_path: Path, mien: Command) -> None:
    import_dataset("folder", _clips(tmp_path / "s"), tmp_path / "d", frames=3)
    ran = mien(
        *("eval", "nano", "--data", tmp_path / "d", "--split", "train"),
        *("--out", tmp_path / "e", "--json", tmp_path / "e.json"),
    )
    assert ran.status == 0
    report = json.loads((tmp_path / "e.json").read_text())
    dataset = Dataset.open(tmp_path / "d")
    videos = {*map(clip_of, dataset.column("path", dataset.usable("train")))}
    assert report["videos"]["n"] == len(videos) == report["n"] / 3
    assert report["intervals_by"] == "videos"
    assert (report["people"], report["nameless"]) == (None, report["n"])
    compared = mien(
        *("compare", "nano", "base", "--data", tmp_path / "d", "--split", "train"),
        *("--out", tmp_path / "c", "--json", tmp_path / "c.json"),
    )
    assert compared.status == 0
    found = json.loads((tmp_path / "c.json").read_text())
    assert found["models"][1]["against_first"]["by"] == "videos"
    assert "over images and that over videos" in (tmp_path / "c/comparison.html").read_text("utf-8")
    percent = f"{100 * report['videos']['accuracy']:.2f}"
    told = f"mean of its pictures, n = {len(videos)}: accuracy {percent}%"
    assert f"each video once, by the {told}" in ran.out
    page, card = (
        " ".join((tmp_path / "e" / name).read_text(encoding="utf-8").split())
        for name in ("evaluation.html", "model_card.md")
    )
    assert f'(n = {len(videos)}): <span class="whole">accuracy {percent} % (' in page
    assert f"pictures (n = {len(videos)}) | {percent} % (" in card


def test_the_command_takes_frames(tmp_path: Path, mien: Command) -> None:
    source, out = _clips(tmp_path / "s", each=2), tmp_path / "d"
    ran = mien("data", "import", "auto", source, "--out", out, "--frames", "2")
    assert ran.status == 0
    assert len(Dataset.open(out)) == 12
    notes = Dataset.open(out).info["notes"]
    assert "12 pictures were taken of 6 videos; those of one video are drawn into one split." in (
        notes
    )
    assert any(note.startswith("Nothing says who is shown in the videos") for note in notes)


def test_frames_without_any_video_change_nothing_which_is_told(tmp_path: Path) -> None:
    for number, emotion in enumerate(("angry", "happy")):
        draw_image(tmp_path / "s" / emotion / "photo.png", number)
    notes = import_dataset("folder", tmp_path / "s", tmp_path / "d", frames=5)["notes"]
    assert "No video is among what was imported, so --frames changed nothing." in notes
