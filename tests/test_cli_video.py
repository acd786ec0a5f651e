"""`mien predict` on videos and `mien live`, as people and scripts use them."""

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import IO, cast

import numpy as np
import pytest

from commands import Command
from disks import small_files
from filmed import Actor, film
from mien import load
from mien.cli.recognition import _Copies, _Reports
from mien.images import write_image
from mien.progress import silent
from mien.records import Prediction
from mien.video.files import Frame, Video, VideoCopy
from mien.video.live import LiveResult
from screens import Seer


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a happy drawn person who walks by."""
    path = tmp_path_factory.mktemp("clips") / "clip.avi"
    walker = Actor(8, lambda t: (0.35 + 0.1 * t, 0.5), 0.5, "happiness")
    with VideoCopy(path, rate=15) as copy:
        for shot in film([walker], seconds=2, fps=15, size=(480, 360)):
            copy.add(shot.pixels, shot.time_s)
    return path


def test_predict_reads_videos_beside_images(mien: Command, clip: Path, tmp_path: Path) -> None:
    shot = next(film([Actor(8, lambda t: (0.5, 0.5), 0.5, "happiness")], seconds=1, fps=1))
    write_image(tmp_path / "photo.png", shot.pixels)
    out = tmp_path / "out"
    ran = mien("predict", tmp_path / "photo.png", clip, "--json", "-", "--out", out)
    assert ran.status == 0
    lines = [json.loads(line) for line in ran.out.splitlines()]
    photo, video = lines[0], lines[1:]
    assert [line["frame"] for line in video] == list(range(30))
    assert [line["time_s"] for line in video] == pytest.approx(
        [n / 15 for n in range(30)], abs=2e-3
    )
    assert all(line["error"] is None for line in lines)
    assert "track" not in photo["faces"][0], "a line of an image is as it always was"
    faces = [face for line in video for face in line["faces"]]
    assert {face["track"] for face in faces if face["emotion"] == "happiness"} == {1}
    assert len(faces) >= 28
    names = {"photo.jpg", "clip.mp4", "clip-timeline.png", "clip-timeline.html"}
    assert {path.name for path in out.iterdir()} == names
    with Video(out / "clip.mp4") as copy:
        assert len(list(copy)) == 30


def test_predict_sums_a_video_up_in_words(mien: Command, clip: Path) -> None:
    ran = mien("predict", clip)
    assert ran.status == 0
    first, second = ran.out.splitlines()
    assert first.endswith("clip.avi: 30 frames, 2.0 s, 1 face")
    assert second == "  face 1: 1.9 s, happiness 100%"


def test_predict_keeps_what_it_read_of_broken_videos(
    mien: Command, clip: Path, tmp_path: Path
) -> None:
    cut, no_video = tmp_path / "cut.avi", tmp_path / "no.mp4"
    cut.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    no_video.write_text("no video")
    ran = mien("predict", cut, no_video, clip, "--json", "-", "--detector", "none")
    assert ran.status == 1
    lines = [json.loads(line) for line in ran.out.splitlines()]
    of_cut = [line for line in lines if line["source"] == str(cut)]
    assert len(of_cut) > 5
    assert [line["error"] is None for line in of_cut] == [True] * (len(of_cut) - 1) + [False]
    assert of_cut[-1]["time_s"] == of_cut[-2]["time_s"] > 0
    assert [line["faces"] for line in lines if line["source"] == str(no_video)] == [[]]
    assert sum(line["source"] == str(clip) for line in lines) == 30, "the rest goes on"
    complaints = ran.err.splitlines()
    assert len(complaints) == 2
    assert "cut off or damaged after" in complaints[0]
    assert "not a readable video" in complaints[1]


def test_predict_on_a_full_disk_says_so_and_leaves_no_half_copy(
    mien: Command, clip: Path, tmp_path: Path
) -> None:
    with small_files(9_000):
        ran = mien("predict", clip, "--out", tmp_path / "out", "--detector", "none", "--json", "-")
    assert ran.status == 1
    copy, timeline = ran.err.splitlines()
    assert "clip.mp4: cannot be written: File too large" in copy
    assert "File too large" in timeline
    assert list((tmp_path / "out").iterdir()) == []
    lines = [json.loads(line) for line in ran.out.splitlines()]
    with Video(clip) as video:
        assert len(lines) == video.expected_frames
    assert not any(line["error"] for line in lines), "the video itself was read"


def test_live_on_a_full_disk_says_so(mien: Command, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "seen.mp4"
    with small_files(1_000):
        ran = mien("live", "--source", clip, "--no-window", "--max-frames", "2", "--record", out)
    assert ran.status == 1
    assert "seen.mp4: cannot be written: File too large" in ran.err
    assert len(ran.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_live_recording_that_is_terminated_is_whole(tmp_path: Path, name: str) -> None:
    source, out = tmp_path / "long.mp4", tmp_path / "seen.mp4"
    with VideoCopy(source, rate=10) as copy:
        for number in (0, 3000):
            copy.add(np.zeros((96, 128, 3), np.uint8), number / 10)
    command = [sys.executable, "-m", "mien", "live", "--no-window"]
    process = subprocess.Popen(
        [*command, "--source", source, "--record", out], stderr=subprocess.PIPE, text=True
    )
    give_up = time.monotonic() + 60
    while process.poll() is None and not [*tmp_path.glob(".*.mp4")] and time.monotonic() < give_up:
        time.sleep(0.05)
    process.send_signal(getattr(signal, name))
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    with Video(out) as video:
        assert len(list(video)) >= 1


def test_live_without_a_window(mien: Command, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "seen.mp4"
    ran = mien("live", "--source", clip, "--no-window", "--max-frames", "2", "--record", out)
    assert ran.status == 0
    assert ran.out.startswith("2 frames, ")
    with Video(out) as video:
        assert len(list(video)) >= 1


class Watcher(Seer):
    """Reads videos as a recogniser does; at frame 20 a signal comes."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__()
        self._number = number

    def video(self, video: Video) -> Iterator[tuple[Prediction, object]]:
        frame: Frame
        for frame in video:
            if frame.number == 20:
                signal.raise_signal(self._number)
            height, width = frame.pixels.shape[:2]
            yield Prediction(video.name, width, height, time_s=frame.time_s), frame.pixels


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_who_interrupts_a_stream_keeps_what_was_seen(
    mien: Command, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("mien.load", lambda *_, **__: Watcher(signal.Signals[name]))
    out = tmp_path / "out"
    ran = mien("predict", clip.as_uri(), "--out", out)
    assert ran.status == 130
    assert "clip.avi: 20 frames, 1.3 s, no faces" in ran.out
    names = {"clip.mp4", "clip-timeline.png", "clip-timeline.html"}
    assert {path.name for path in out.iterdir()} == names
    with Video(out / "clip.mp4") as copy:
        assert len(list(copy)) == 20


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_who_interrupts_a_file_keeps_the_copy_of_before(
    mien: Command, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("mien.load", lambda *_, **__: Watcher(signal.Signals[name]))
    (tmp_path / "clip.mp4").write_bytes(b"yesterday's")
    assert mien("predict", clip, "--out", tmp_path).status == 130
    assert [*tmp_path.iterdir()] == [tmp_path / "clip.mp4"]
    assert (tmp_path / "clip.mp4").read_bytes() == b"yesterday's"


def test_who_stops_to_listen_keeps_the_copy_of_before(clip: Path, tmp_path: Path) -> None:
    class Closed(io.StringIO):
        def flush(self) -> None:
            if self.getvalue().count("\n") > 3:
                raise BrokenPipeError

    (before := tmp_path / "clip.mp4").write_text("whole")
    report = _Reports(Closed(), _Copies(tmp_path, [str(clip)]), say=False)
    with pytest.raises(BrokenPipeError):
        report.video(load("nano", detector="none"), str(clip), silent)
    assert before.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [before]


def test_a_line_is_written_at_once() -> None:
    raw = io.BytesIO()
    lines = cast(IO[str], io.TextIOWrapper(io.BufferedWriter(cast(io.RawIOBase, raw))))
    _Reports(lines, None, say=False)._line(Prediction("a.jpg"))
    assert json.loads(raw.getvalue())["source"] == "a.jpg"


@pytest.mark.parametrize(
    ("first", "second"), [("IMG_1", "img_1"), ("img_1", "IMG_1"), ("IMG_1", "IMG_1")]
)
def test_names_that_differ_in_case_at_most_do_not_meet(
    tmp_path: Path, first: str, second: str
) -> None:
    copies = _Copies(tmp_path, [])
    names = [copies.take(source, ".jpg").name for source in (f"a/{first}.jpg", f"b/{second}.jpg")]
    assert names == [f"{first}.jpg", f"{second}-2.jpg"]


def test_a_copy_is_not_named_after_a_password(tmp_path: Path) -> None:
    copy = _Copies(tmp_path, []).take("rtsp://me:secret@camera:554", ".mp4")
    assert copy == tmp_path / "camera.mp4"


def test_live_hands_its_lines_to_other_programs(
    mien: Command, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.load", lambda *_, **__: Seer())
    ran = mien("live", "--source", clip, "--no-window", "--max-frames", "3", "--json", "-")
    assert ran.status == 0
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert [line["faces"][0]["track"] for line in lines] == [1, 1, 1]
    assert (lines[0]["source"], lines[0]["frame"], lines[0]["time_s"]) == (str(clip), 0, 0.0)
    assert (lines[0]["width"], lines[0]["height"], lines[0]["error"]) == (480, 360, None)
    assert lines[1]["time_s"] < lines[2]["time_s"]
    assert ran.err.startswith("3 frames, ")


@pytest.mark.parametrize(
    ("arguments", "mirrored"),
    [
        (("--source", "0"), True),
        (("--source", "0", "--no-mirror"), False),
        (("--source", "0", "--no-window"), False),
        (("--source", "0", "--no-window", "--mirror"), True),
        (("--source", "a.mp4"), False),
        (("--source", "a.mp4", "--mirror"), True),
    ],
)
def test_a_mirror_is_for_who_looks_into_it(
    mien: Command, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], mirrored: bool
) -> None:
    class Still:
        def __init__(self, *_: object, mirror: bool, **__: object) -> None:
            assert mirror is mirrored

        def run(self) -> LiveResult:
            return LiveResult(0, 0.0, None, ())

    monkeypatch.setattr("mien.load", lambda *_, **__: Seer())
    monkeypatch.setattr("mien.video.live.Live", Still)
    monkeypatch.setattr("mien.video.camera.Camera", lambda *_, **__: nullcontext())
    monkeypatch.setattr("mien.video.window.Window", lambda **_: nullcontext())
    assert mien("live", *arguments).status == 0


def test_live_does_not_record_over_its_source(mien: Command, clip: Path) -> None:
    before = clip.read_bytes()
    ran = mien("live", "--source", clip, "--no-window", "--max-frames", "2", "--record", clip)
    assert ran.status == 2
    assert "that is the source itself" in ran.err
    assert clip.read_bytes() == before


def test_predict_goes_on_where_a_copy_cannot_be_written(
    mien: Command, clip: Path, tmp_path: Path
) -> None:
    long = clip.with_name(f"{'a' * 240}.mp4")
    clip.rename(long)
    out = tmp_path / "out"
    assert mien("predict", long, "--out", out).status == 0
    assert sorted(path.suffix for path in out.iterdir()) == [".html", ".mp4", ".png"]
    photo = tmp_path / "photo.png"
    write_image(photo, np.zeros((64, 64, 3), np.uint8))
    (out / "photo.jpg").mkdir()
    short = long.rename(long.with_name("short.mp4"))
    (out / "short.mp4").mkdir()
    ran = mien("predict", photo, short, "--out", out, "--json", "-")
    assert ran.status == 1
    assert "Is a directory" in ran.err and "a folder; expected the name of a file" in ran.err
    assert (out / "short-timeline.png").exists()
    assert {json.loads(line)["source"] for line in ran.out.splitlines()} == {str(photo), str(short)}


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("--source", "gone.mp4", "--no-window"), 1, "no such file: 'gone.mp4'"),
        (("--source", "gone.mp4"), 2, "there is no screen"),
        (("--source", "gone.mp4", "--no-window", "--record", "a.gif"), 2, "cannot write .gif"),
        (("--source", "x", "--no-window", "--detector", "hog"), 2, "unknown detector 'hog'"),
    ],
)
def test_live_says_what_is_wrong(
    mien: Command,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    status: int,
    says: str,
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    ran = mien("live", *arguments)
    assert ran.status == status
    assert says in ran.err
    assert len(ran.err.splitlines()) == 1
