"""Taking pictures of one's own face: which are kept, where, and what keys do."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from mien.cli import app
from mien.data.dataset import Dataset
from mien.data.importers import import_dataset
from mien.errors import VideoError
from mien.images import read_image
from mien.labels import EMOTIONS
from mien.preprocess import InputSpec, face_crop
from mien.records import Box, Detection
from mien.video.camera import Shot
from mien.video.collect import Collecting
from screens import Screen, Scripted

NEAR, FAR = Box(20, 30, 90, 80), Box(200, 100, 40, 40)
PIXELS = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)


class Booth(Scripted):
    """Gives one picture again and again, and ends after some."""

    def __init__(self, frames: int = 60) -> None:
        super().__init__([number / 10 for number in range(frames)])

    def newest(self, *, after: int = 0, timeout_s: float = 0.1) -> Shot | None:
        shot = super().newest(after=after, timeout_s=timeout_s)
        return shot and Shot(shot.number, shot.time_s, PIXELS)


@dataclass
class Sitting:
    """Somebody who presses keys, one a frame, and what came of it."""

    folder: Path
    faces: Sequence[Box] = (NEAR, FAR)
    wanted: int = 2
    emotions: Sequence[str] = ("happiness", "sadness")
    said: list[str] = field(default_factory=list)

    def press(self, *keys: str) -> dict[str, int]:
        self.screen = Screen(dict(enumerate([*keys, "q"], start=1)))
        return Collecting(
            Booth(),
            self.screen,
            lambda image: [Detection(box, 0.9) for box in self.faces],
            self.folder,
            self.emotions,
            self.wanted,
            say=self.said.append,
        ).run()


@pytest.fixture(autouse=True)
def _time_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.video.collect._APART_S", 0.0)


def test_a_picture_is_the_largest_face_as_recognition_cuts_it(tmp_path: Path) -> None:
    assert Sitting(tmp_path).press(" ") == {"happiness": 1, "sadness": 0}
    (file,) = (tmp_path / "happiness").iterdir()
    spec = InputSpec(size=90, channels=3)
    np.testing.assert_array_equal(read_image(file), face_crop(PIXELS, NEAR, spec))


@pytest.mark.parametrize(("side", "kept"), [(20, 48), (130, 130)])
def test_faces_keep_their_size_but_for_tiny_ones(tmp_path: Path, side: int, kept: int) -> None:
    Sitting(tmp_path, faces=[Box(10, 10, side, side)]).press(" ")
    (file,) = (tmp_path / "happiness").iterdir()
    assert read_image(file).shape == (kept, kept, 3)


def test_with_enough_of_one_emotion_the_next_is_asked_for_and_at_last_it_ends(
    tmp_path: Path,
) -> None:
    sitting = Sitting(tmp_path)
    assert sitting.press(" ", " ", " ", " ", "x", "x") == {"happiness": 2, "sadness": 2}
    assert len(sitting.screen.frames) == 4
    assert sitting.press() == {"happiness": 2, "sadness": 2}
    assert len(sitting.screen.frames) == 0


def test_pictures_of_before_count(tmp_path: Path) -> None:
    Sitting(tmp_path).press(" ")
    assert Sitting(tmp_path).press(" ", " ") == {"happiness": 2, "sadness": 1}


def test_emotions_are_chosen_and_the_last_picture_undone(tmp_path: Path) -> None:
    sitting = Sitting(tmp_path)
    assert sitting.press("n", " ", "b", " ", "u", "u", "u") == {"happiness": 0, "sadness": 0}
    assert sitting.said == [
        "removed the last of happiness",
        "removed the last of sadness",
        "nothing of this sitting to undo",
    ]
    assert Sitting(tmp_path).press("n", " ", "n", "n", " ") == {"happiness": 0, "sadness": 2}


def test_no_face_no_picture(tmp_path: Path) -> None:
    sitting = Sitting(tmp_path, faces=[])
    assert sitting.press(" ") == {"happiness": 0, "sadness": 0}
    assert sitting.said == ["no face found: more light, or nearer?"]


def test_a_held_key_takes_no_picture_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.video.collect._APART_S", 60.0)
    assert Sitting(tmp_path).press(" ", " ", " ")["happiness"] == 1


def test_a_camera_that_stands_still_gives_no_picture_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Scripted.newest

    def stalled(self: Booth, **asked: Any) -> Shot | None:
        shot = real(self, **asked)
        return shot if shot and shot.number < 3 else None

    monkeypatch.setattr(Scripted, "newest", stalled)
    assert Sitting(tmp_path, wanted=9).press(" ", " ", " ", " ")["happiness"] == 2


def test_what_cannot_be_written_is_told_and_it_goes_on(tmp_path: Path) -> None:
    (tmp_path / "happiness").touch()
    sitting = Sitting(tmp_path)
    assert sitting.press(" ", "n", " ")["sadness"] == 1
    assert "happiness" in sitting.said[0]


def test_the_shown_picture_is_mirrored_and_has_a_frame(tmp_path: Path) -> None:
    sitting = Sitting(tmp_path)
    sitting.press("x")
    (shown,) = sitting.screen.frames[:1]
    left = PIXELS.shape[1] - 1 - round(NEAR.x + NEAR.width)
    assert (shown[100, left - 1 : left + 2] == (92, 200, 218)).all(axis=1).any()
    np.testing.assert_array_equal(shown[150:180, 240:300], PIXELS[150:180, ::-1][:, 240:300])


def test_a_camera_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Booth, "problem", "camera 0: there is none")
    sitting = Sitting(tmp_path)
    monkeypatch.setattr("test_collect.Booth.__init__", lambda self: Scripted.__init__(self, [0.0]))
    with pytest.raises(VideoError, match="there is none"):
        sitting.press(*"xxxxxx")


def test_what_the_command_is_told_is_handed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    class Noted:
        def __init__(self, camera: object, window: object, *what: Any, **how: Any) -> None:
            asked.extend([camera, *what[1:], how["mirror"]])

        def run(self) -> dict[str, int]:
            return {"happiness": 1234, "fear": 0}

    monkeypatch.setattr("mien.video.window.Window", lambda **_: nullcontext())
    monkeypatch.setattr("mien.video.camera.Camera", nullcontext)
    monkeypatch.setattr("mien.video.collect.Collecting", Noted)
    command = ["data", "collect", "--out", str(tmp_path)]
    ran = CliRunner().invoke(app, command)
    assert (ran.exit_code, ran.output) == (0, f"1,234 happiness, 0 fear: {tmp_path}\n")
    assert asked == [0, tmp_path, EMOTIONS, 24, True]
    asked.clear()
    more = "--emotion happy --emotion scared --emotion joy --wanted 5 --source /dev/v --no-mirror"
    assert CliRunner().invoke(app, [*command, *more.split()]).exit_code == 0
    assert asked == ["/dev/v", tmp_path, ("happiness", "fear"), 5, False]


def test_without_a_screen_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    ran = CliRunner().invoke(app, ["data", "collect", "--out", str(tmp_path / "out")])
    assert str(ran.exception) == "there is no screen to open a window on"
    assert not (tmp_path / "out").exists()


def test_what_was_taken_is_imported_as_a_folder(tmp_path: Path) -> None:
    Sitting(tmp_path / "faces", wanted=10).press(*[" "] * 20)
    import_dataset("folder", tmp_path / "faces", tmp_path / "set", size=48, channels=1)
    labels = Dataset.open(tmp_path / "set").column("label")
    assert (labels.count("happiness"), labels.count("sadness")) == (10, 10)


def test_pictures_of_one_second_do_not_replace_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.video.collect.time.strftime", lambda form: "now")
    Sitting(tmp_path, wanted=5).press(" ", " ", " ")
    assert {file.name for file in (tmp_path / "happiness").iterdir()} == {
        "now.png",
        "now-2.png",
        "now-3.png",
    }


def test_a_face_that_is_turned_is_kept_upright_and_not_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def crop(*args: object, roll: float) -> np.ndarray:
        asked.append((args[2].size, roll))  # type: ignore[attr-defined]
        return face_crop(*args, roll=roll)  # type: ignore[arg-type]

    monkeypatch.setattr("mien.video.collect.face_crop", crop)
    wide = NEAR._replace(width=900.0, height=900.0)
    screen = Screen({1: " ", 2: "q"})
    tilted = Detection(wide, 0.9, eyes=((40, 60), (80, 100)))
    Collecting(Booth(), screen, lambda image: [tilted], tmp_path, ("fear",), 9).run()
    assert asked == [(256, tilted.roll)]
    assert tilted.roll


def test_after_one_that_was_skipped_to_comes_the_one_behind_it(tmp_path: Path) -> None:
    sitting = Sitting(tmp_path, wanted=1, emotions=("fear", "anger", "sadness"))
    assert sitting.press("n", " ", " ") == {"fear": 0, "anger": 1, "sadness": 1}


def test_whoever_quits_while_the_camera_is_unplugged_is_told_of_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = [0.0, None, None, None]
    monkeypatch.setattr(Booth, "__init__", lambda self: Scripted.__init__(self, times))
    assert Sitting(tmp_path).press(" ", "x") == {"happiness": 1, "sadness": 0}
