"""Tests of video in and out, on films that are drawn, cut off, turned and slowed down here."""

import os
import shutil
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

import mien
import mien.video.files
from disks import small_files
from filmed import Actor, Pixels, film
from mien.errors import UsageError, VideoError
from mien.quiet import quiet_opencv
from mien.records import Box, Detection
from mien.video.editlist import shown_seconds
from mien.video.files import CODECS, MOST_REPEATS, Video, VideoCopy, is_video, title
from mien.video.matroska import is_cut_off

FPS = 20


def _number(pixels: Pixels) -> int:
    """The frame number that `numbered` painted: sixteen levels of grey stay apart in any codec."""
    high, low = (round(float(pixels[20:44, x : x + 24].mean()) / 16 - 0.5) for x in (20, 60))
    return high * 16 + low


def numbered(path: Path, count: int = 40, size: tuple[int, int] = (128, 96)) -> Path:
    """Write a film whose frames show their numbers."""
    with VideoCopy(path, rate=FPS) as copy:
        for number in range(count):
            pixels = np.full((size[1], size[0], 3), 128, np.uint8)
            pixels[12:52, 12:52] = 16 * (number // 16) + 8
            pixels[12:52, 52:92] = 16 * (number % 16) + 8
            copy.add(pixels, number / FPS)
    return path


def test_two_that_write_one_copy_do_not_write_into_one_file(tmp_path: Path) -> None:
    path = tmp_path / "copy.mp4"
    with VideoCopy(path, rate=FPS) as one, VideoCopy(path, rate=FPS) as other:
        for number in range(10):
            for copy, level in ((one, 40), (other, 200)):
                copy.add(np.full((96, 128, 3), level, np.uint8), number / FPS)
        assert len(list(tmp_path.iterdir())) == 2
    assert [*tmp_path.iterdir()] == [path]
    with Video(path) as whole:
        assert {round(float(frame.pixels.mean()), -1) for frame in whole} == {40.0}


@pytest.mark.parametrize("suffix", CODECS)
def test_skipping_leaves_out_frames_and_tells_the_right_times(tmp_path: Path, suffix: str) -> None:
    with Video(numbered(tmp_path / f"c{suffix}", count=160)) as video:
        frames = iter(video)
        assert _number(next(frames).pixels) == 0
        for time_s in (2.0, 5.0):
            video.skip_to(time_s)
            after = next(frames)
            assert time_s - 1 < after.time_s <= time_s
            assert _number(after.pixels) == round(after.time_s * FPS)
        video.skip_to(1.0)  # never back
        assert _number(next(frames).pixels) == round(after.time_s * FPS) + 1


def test_what_cannot_be_skipped_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Video(numbered(tmp_path / "c.mp4")) as video:
        frames = iter(video)
        assert [_number(next(frames).pixels) for _ in range(3)] == [0, 1, 2]
        monkeypatch.setattr("mien.video.files._BEFORE_S", -9.0)  # an index that leads too far
        video.skip_to(1.5)
        assert [_number(frame.pixels) for frame in frames] == [*range(3, 40)]


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes of an MP4 between two places: name, begin, end."""
    while start < end:
        (length,) = struct.unpack_from(">I", data, start)
        yield data[start + 4 : start + 8], start, start + length
        start += length


def _find(data: bytes, *names: bytes) -> tuple[int, int]:
    start, end = 0, len(data)
    for name in names:
        start, end = next((b, e) for n, b, e in _boxes(data, start, end) if n == name)
        start += 8
    return start, end


def slowed(path: Path, deltas: list[int]) -> Path:
    """Give each frame of an MP4 a duration of its own, in the track's units of time."""
    data = path.read_bytes()
    way = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
    start, end = _find(data, *way, b"stts")
    (count,) = struct.unpack_from(">I", data, start + 8)
    assert len(deltas) == count
    entries = b"".join(struct.pack(">II", 1, delta) for delta in deltas)
    table = struct.pack(">II", 0, len(deltas)) + entries
    grown = len(table) - (end - start)
    changed = bytearray(data[:start] + table + data[end:])
    assert _find(data, b"moov")[0] > _find(data, b"mdat")[0], "places of frames stay right"
    for depth in range(1, len(way) + 1):
        place = _find(data, *way[:depth])[0] - 8
        (length,) = struct.unpack_from(">I", changed, place)
        struct.pack_into(">I", changed, place, length + grown)
    struct.pack_into(">I", changed, start - 8, 8 + len(table))
    # The edit list would end the film where it ended before.
    edits = _find(bytes(changed), b"moov", b"trak", b"edts")[0] - 4
    changed[edits : edits + 4] = b"free"
    path.write_bytes(changed)
    return path


def turned(path: Path) -> Path:
    """Note in an MP4 that the camera was held on its side: show it a quarter turn clockwise."""
    data = bytearray(path.read_bytes())
    start, _ = _find(bytes(data), b"moov", b"trak", b"tkhd")
    one = 0x10000
    height = struct.unpack_from(">I", data, start + 80)[0]
    struct.pack_into(">9i", data, start + 40, 0, one, 0, -one, 0, 0, height, 0, 0x40000000)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", sorted(CODECS))
def test_what_is_written_is_read_again(tmp_path: Path, suffix: str) -> None:
    path = numbered(tmp_path / f"a{suffix}")
    with Video(path) as video:
        assert video.rate == pytest.approx(FPS)
        frames = list(video)
        assert video.ends_early is None
    assert [_number(frame.pixels) for frame in frames] == list(range(40))
    assert [frame.number for frame in frames] == list(range(40))
    assert [frame.time_s for frame in frames] == pytest.approx(
        [n / FPS for n in range(40)], abs=2e-3
    )
    assert frames[0].pixels.shape == (96, 128, 3)


def test_colours_are_rgb(tmp_path: Path) -> None:
    path = tmp_path / "red.mp4"
    with VideoCopy(path, rate=FPS) as copy:
        copy.add(np.full((64, 64, 3), (220, 30, 30), np.uint8), 0.0)
    with Video(path) as video:
        (frame,) = video
    assert frame.pixels.mean(axis=(0, 1)) == pytest.approx((220, 30, 30), abs=12)


def test_a_variable_rate_keeps_its_times_and_the_copy_keeps_time(tmp_path: Path) -> None:
    path = numbered(tmp_path / "a.mp4", count=20)
    with Video(path) as video:
        step = round(list(video)[1].time_s * FPS)
    assert step == 1
    data = path.read_bytes()
    start, _ = _find(data, b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts")
    (unit,) = struct.unpack_from(">I", data, start + 12)
    deltas = [unit] * 10 + [6 * unit] * 10
    slowed(path, deltas)
    expected = np.concatenate([[0], np.cumsum(deltas)[:-1]]) / unit / FPS
    with Video(path) as video:
        frames = list(video)
        assert video.ends_early is None
    assert [frame.time_s for frame in frames] == pytest.approx(expected.tolist(), abs=2e-3)
    with VideoCopy(tmp_path / "copy.mp4", rate=10) as copy:
        for frame in frames:
            copy.add(frame.pixels, frame.time_s)
    with Video(tmp_path / "copy.mp4") as video:
        shown = {round(frame.time_s, 1): _number(frame.pixels) for frame in video}
    assert max(shown) == pytest.approx(expected[-1], abs=0.051)
    for moment in (1.0, 1.7, 2.0, 2.5):
        # What a player of the first file would show.
        assert shown[moment] == np.searchsorted(expected, moment + 0.01, side="right") - 1, moment


def test_slow_motion_is_not_taken_for_cut_off(tmp_path: Path) -> None:
    with VideoCopy(tmp_path / "fast.avi", rate=240) as copy:
        for number in range(480):
            copy.add(np.zeros((32, 32, 3), np.uint8), number / 240)
    with Video(tmp_path / "fast.avi") as video:
        assert video.rate == 120
        assert len(list(video)) == 480
        assert video.ends_early is None


def test_a_film_of_few_frames_is_not_taken_for_cut_off(tmp_path: Path) -> None:
    with VideoCopy(tmp_path / "slow.avi", rate=0.5) as copy:
        for number in range(5):
            copy.add(np.zeros((32, 32, 3), np.uint8), 2 * number)
    with Video(tmp_path / "slow.avi") as video:
        assert [frame.time_s for frame in video] == [0, 2, 4, 6, 8]
        assert video.ends_early is None


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
def test_a_film_whose_sound_goes_on_is_not_taken_for_cut_off(tmp_path: Path, suffix: str) -> None:
    path = numbered(tmp_path / f"a{suffix}")
    data = bytearray(path.read_bytes())
    duration = data.index(b"\x44\x89\x88") + 3
    assert struct.unpack_from(">d", data, duration) == (2000,)
    struct.pack_into(">d", data, duration, 6000)
    path.write_bytes(data)
    with Video(path) as video:
        assert video.expected_frames == 6 * FPS
        assert len(list(video)) == 40
        assert video.ends_early is None


@pytest.mark.parametrize(
    ("content", "cut"),
    [
        (b"", None),
        (b"\x1a\x45\xdf\xa3", None),
        (b"\x1a\x45\xdf\xa3\x81.\x1f\x43\xb6\x75\x80", None),
        (b"\x1a\x45\xdf\xa3\x81.\x18\x53\x80\x67\x83abc", False),
        (b"\x1a\x45\xdf\xa3\x81.\x18\x53\x80\x67\x84abc", True),
        (b"\x1a\x45\xdf\xa3\x40\x01.\x18\x53\x80\x67\x01\0\0\0\0\0\0\4abc", True),
        (b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xffabc", False),
    ],
)
def test_matroska_says_how_long_it_is(tmp_path: Path, content: bytes, cut: bool | None) -> None:
    (tmp_path / "a.mkv").write_bytes(content)
    assert is_cut_off(tmp_path / "a.mkv") is cut


def test_a_phone_held_on_its_side_is_turned_upright(tmp_path: Path) -> None:
    upright = np.zeros((96, 128, 3), np.uint8)
    upright[:, :64] = 200
    with VideoCopy(tmp_path / "a.mp4", rate=FPS) as copy:
        for number in range(5):
            copy.add(upright, number / FPS)
    with Video(turned(tmp_path / "a.mp4")) as video:
        frame = next(iter(video))
    assert frame.pixels.shape == (128, 96, 3)
    top, bottom = frame.pixels[:60].mean(), frame.pixels[68:].mean()
    assert top > 180 and bottom < 20, "what was left is up after a quarter turn clockwise"


@pytest.mark.parametrize("suffix", [".avi", ".mkv", ".webm"])
def test_a_file_that_is_cut_off_keeps_what_came_before(tmp_path: Path, suffix: str) -> None:
    path = numbered(tmp_path / f"a{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 55 // 100])
    with Video(path) as video:
        frames = list(video)
        told = video.ends_early
    assert 5 < len(frames) < 39
    assert [_number(frame.pixels) for frame in frames[:-1]] == list(range(len(frames) - 1))
    assert told is not None and f"after {len(frames)} frames" in told and "2.0 seconds" in told


@pytest.mark.parametrize(
    ("name", "make", "says"),
    [
        pytest.param("gone.mp4", None, "no such file: '.*gone.mp4'", id="missing"),
        pytest.param("empty.mp4", lambda p: p.write_bytes(b""), "the file is empty", id="empty"),
        pytest.param("text.mp4", lambda p: p.write_text("hi" * 99), "not a readable", id="text"),
        pytest.param("folder.mp4", lambda p: p.mkdir(), "a folder; expected a video", id="folder"),
        pytest.param(
            "headless.mp4",
            lambda p: p.write_bytes(numbered(p).read_bytes()[:4000]),
            "not a readable video: .*cut off",
            id="cut-off-before-its-index",
        ),
    ],
)
def test_what_cannot_be_opened_is_told_in_a_line(
    tmp_path: Path,
    name: str,
    make: Callable[[Path], object] | None,
    says: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if make:
        make(tmp_path / name)
    with pytest.raises(VideoError, match=says) as raised:
        Video(tmp_path / name)
    assert "\n" not in str(raised.value)
    assert capfd.readouterr().err == "", "OpenCV and FFmpeg are silent"


def test_a_name_that_no_file_can_have_is_told_in_a_line() -> None:
    with pytest.raises(VideoError, match=r"a\.mp4: cannot be opened: File name too long$"):
        Video("a" * 300 + ".mp4")


def test_any_name_that_is_utf_8_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    numbered(Path("clip.mp4")).rename("2026-11-24T12:30:00.mp4")
    with Video("2026-11-24T12:30:00.mp4") as video:
        assert len(list(video)) == video.expected_frames > 0
    shutil.copy("2026-11-24T12:30:00.mp4", odd := os.fsdecode(b"caf\xe9.mp4"))
    with pytest.raises(VideoError, match="not UTF-8, so OpenCV cannot open it: rename it"):
        Video(odd)
    Path(folder := os.fsdecode(b"o\xe9")).mkdir()
    with (
        VideoCopy(Path(folder, "a.mp4"), rate=25) as copy,
        pytest.raises(VideoError, match="not UTF-8"),
    ):
        copy.add(np.zeros((8, 8, 3), np.uint8), 0.0)


def _trimmed(path: Path, begins_s: float, lasts_s: float) -> None:
    """Change which of its frames a film shows, as trimming without encoding does."""
    data = bytearray(path.read_bytes())
    movie, track, edits = (data.index(kind) + 4 for kind in (b"mvhd", b"mdhd", b"elst"))
    of_movie, of_track = (struct.unpack_from(">I", data, p + 12)[0] for p in (movie, track))
    shown = round(lasts_s * of_movie), round(begins_s * of_track)
    struct.pack_into(">Ii", data, edits + 8, *shown)
    path.write_bytes(data)


def test_a_trimmed_film_is_not_taken_for_cut_off(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    with VideoCopy(film, rate=25) as copy:
        for number in range(150):
            copy.add(np.full((64, 64, 3), number, np.uint8), number / 25)
    _trimmed(film, 3, 3)
    assert shown_seconds(film) == pytest.approx(3)
    with Video(film) as video:
        assert len(list(video)) < 100
        assert video.ends_early is None
    # Cut off, though: fewer frames than the list shows.
    _trimmed(film, 3, 30)
    with Video(film) as video:
        list(video)
        assert video.ends_early


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\0\x20ftypmp42",
        b"\0\0\0\x10moov" + b"\1" * 8,
        b"\0\0\0\2moov" + b"\1" * 8,
        b"\0\0\0\1free" + b"\xff" * 9,
    ],
)
def test_files_without_a_list_of_what_is_shown(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    assert shown_seconds(tmp_path / "a.mp4") is None


@pytest.mark.parametrize("rate", [73.213, 119.88012, 23.976024])
def test_any_rate_is_written(tmp_path: Path, rate: float) -> None:
    with VideoCopy(tmp_path / "a.mp4", rate=rate) as copy:
        for number in range(30):
            copy.add(np.zeros((64, 64, 3), np.uint8), number / rate)
    with Video(tmp_path / "a.mp4") as video:
        assert video.expected_frames == 30
        assert video.rate == pytest.approx(rate, rel=1e-3)


def test_a_film_without_frames_says_so(tmp_path: Path) -> None:
    path = numbered(tmp_path / "a.avi")
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"movi") + 4])
    with pytest.raises(VideoError, match=r"not a readable video|no frame of it can be read"):
        list(Video(path))


def test_a_camera_that_is_not_there(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(VideoError, match="camera 97: there is none, or another program"):
        Video(97)
    assert capfd.readouterr().err == ""


class _Dark:
    """In the place of OpenCV: opens whatever it is asked for, and gives no picture."""

    asked: tuple[object, ...]

    def __call__(self, *asked: object) -> "_Dark":
        self.asked = asked
        return self

    def isOpened(self) -> bool:  # noqa: N802, OpenCV's name
        return True

    def read(self) -> tuple[bool, None]:
        return False, None

    def release(self) -> None:
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="so Linux names cameras")
def test_a_device_is_a_camera_and_no_empty_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", dark := _Dark())
    Video("/dev/null")
    assert dark.asked == ("/dev/null", cv2.CAP_V4L2)


def test_a_camera_without_a_picture_is_not_taken_for_a_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", _Dark())
    with pytest.raises(VideoError, match="camera 0: it opens but gives no picture; is another"):
        next(iter(Video(0)))


def test_macos_users_are_told_where_a_camera_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(VideoError, match="System Settings, Privacy & Security, Camera"):
        Video(97)


def test_copies_refuse_what_they_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot write \.gif; expected one of \.mp4"):
        VideoCopy(tmp_path / "a.gif", rate=10)
    copy = VideoCopy(tmp_path / "nowhere" / "a.mp4", rate=10)
    with pytest.raises(VideoError, match="cannot be written: No such file or directory"):
        copy.add(np.zeros((10, 10, 3), np.uint8), 0.0)


@pytest.mark.parametrize("most_bytes", [0, 9_000])
@pytest.mark.parametrize("suffix", sorted(CODECS))
def test_a_full_disk_is_told_and_leaves_what_was_there(
    tmp_path: Path, suffix: str, most_bytes: int, capfd: pytest.CaptureFixture[str]
) -> None:
    path = numbered(tmp_path / f"a{suffix}", count=3)
    before = path.read_bytes()
    says = r"a\.\w+: cannot be written: File too large; nothing of it was kept$"
    with pytest.raises(VideoError, match=says), small_files(most_bytes):
        numbered(path, count=200)
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_bytes() == before
    assert "WARN" not in capfd.readouterr().err, "OpenCV is silent"


def test_frames_that_are_lost_on_the_way_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a disk was full for a while."""
    monkeypatch.setattr(mien.video.files, "_grow", lambda path: None)
    with pytest.raises(VideoError, match="not all of its 200 frames"), small_files(20_000):
        numbered(tmp_path / "a.mp4", count=200)
    assert [*tmp_path.iterdir()] == []


def test_a_copy_has_its_name_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with VideoCopy(path, rate=FPS) as copy:
        copy.add(np.zeros((32, 32, 3), np.uint8), 0.0)
        assert not path.exists()
    assert [*tmp_path.iterdir()] == [path]


def test_who_does_not_wait_for_the_end_does_not_lose_the_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(copy: VideoCopy) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(VideoCopy, "_count", interrupted)
    with pytest.raises(KeyboardInterrupt):
        numbered(tmp_path / "a.mp4")
    (left,) = tmp_path.iterdir()
    with Video(left) as video:
        assert len(list(video)) == 40


def test_a_copy_that_is_given_up_leaves_what_was_there(tmp_path: Path) -> None:
    path = numbered(tmp_path / "a.mp4")
    before = path.read_bytes()
    with VideoCopy(path, rate=FPS) as copy:
        copy.add(np.zeros((32, 32, 3), np.uint8), 0.0)
        copy.drop()
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_bytes() == before


def test_a_folder_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").mkdir()
    with (
        pytest.raises(VideoError, match=r"a\.mp4: a folder"),
        VideoCopy(tmp_path / "a.mp4", rate=FPS) as copy,
    ):
        copy.add(np.zeros((32, 32, 3), np.uint8), 0.0)
    assert [*tmp_path.iterdir()] == [tmp_path / "a.mp4"]


def test_silence_lasts_until_the_last_of_several_threads_leaves() -> None:
    logging = cv2.utils.logging
    before = logging.getLogLevel()
    first, second = quiet_opencv(), quiet_opencv()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert logging.getLogLevel() == logging.LOG_LEVEL_SILENT
    second.__exit__(None, None, None)
    assert logging.getLogLevel() == before != logging.LOG_LEVEL_SILENT


@pytest.mark.parametrize(
    ("rate", "most", "times", "frames"),
    [
        pytest.param(20, 30, [0, 0.1, 50, 50.1, 80, 80.1], 9, id="jumps-are-cut-out"),
        pytest.param(20, 30, [0, 1.5, 3.0], 61, id="what-may-be-repeated-is"),
        pytest.param(20, 30, [7, 7.1], 3, id="begins-at-the-first-frame"),
        pytest.param(25, MOST_REPEATS, [0, 2, 4, 6], 151, id="a-frame-each-two-seconds"),
        pytest.param(1, MOST_REPEATS, [0, 600], 601, id="a-frame-each-ten-minutes"),
        pytest.param(25, MOST_REPEATS, [0, 95_443.68, 95_443.72], 3, id="time-stamps-wrap"),
    ],
)
def test_gaps_keep_their_time_unless_they_are_jumps(
    tmp_path: Path, rate: int, most: int, times: list[float], frames: int
) -> None:
    with VideoCopy(tmp_path / "a.mp4", rate=rate, most_repeats=most) as copy:
        for time_s in times:
            copy.add(np.zeros((32, 32, 3), np.uint8), time_s)
    assert copy.frames == frames
    with Video(tmp_path / "a.mp4") as video:
        assert len(list(video)) == frames


def test_time_stands_still_in_a_pause(tmp_path: Path) -> None:
    with VideoCopy(tmp_path / "a.mp4", rate=10) as copy:
        for time_s in (0.0, 0.1, 0.2, 5.0, 5.1, 5.4):
            if time_s == 5.0:
                copy.pause()
            copy.add(np.zeros((32, 32, 3), np.uint8), time_s)
    assert copy.frames == 8, "five, and two repeated before the last"


def test_what_no_encoder_takes_is_told(tmp_path: Path) -> None:
    copy = VideoCopy(tmp_path / "a.webm", rate=10)
    with pytest.raises(VideoError, match=r"a\.webm: OpenCV cannot encode 20000x2 at 10 fps"):
        copy.add(np.zeros((2, 20_000, 3), np.uint8), 0.0)
    assert [*tmp_path.iterdir()] == []


def test_odd_and_changing_sizes_are_fitted(tmp_path: Path) -> None:
    with VideoCopy(tmp_path / "a.mp4", rate=10) as copy:
        copy.add(np.zeros((51, 33, 3), np.uint8), 0.0)
        copy.add(np.zeros((100, 60, 3), np.uint8), 0.1)
    with Video(tmp_path / "a.mp4") as video:
        assert [frame.pixels.shape for frame in video] == [(50, 32, 3)] * 2


@pytest.mark.parametrize(
    ("source", "video"),
    [("a.mp4", True), ("b.MOV", True), ("rtsp://host/1", True), ("c.gif", False), ("d", False)],
)
def test_what_counts_as_a_video(source: str, video: bool) -> None:
    assert is_video(source) is video


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("films/a?b.mp4", "a?b.mp4"),
        ("http://me:secret@host/films/a.mp4?key=secret", "a.mp4"),
        ("rtsp://me:secret@192.168.0.2:554", "192.168.0.2"),
        ("rtsp://[::1", "stream"),
    ],
)
def test_a_title_holds_no_secrets(source: str, name: str) -> None:
    assert title(source) == name


def _films_faces(path: Path) -> None:
    with VideoCopy(path, rate=10) as copy:
        for shot in film([Actor(3, lambda t: (0.4 + 0.1 * t, 0.5), 0.5)], seconds=2, fps=10):
            copy.add(shot.pixels, shot.time_s)


def test_recogniser_reads_a_video_and_reports_its_early_end(tmp_path: Path) -> None:
    def one_face(image: Pixels) -> list[Detection]:
        return [Detection(Box(100, 60, 100, 100), 0.9)]

    path = tmp_path / "a.avi"
    _films_faces(path)
    recogniser = mien.load(detector=one_face)
    read = list(recogniser.video(path))
    assert [prediction.frame for prediction, _ in read] == list(range(20))
    assert [prediction.time_s for prediction, _ in read] == pytest.approx(np.arange(20) / 10)
    assert all(p.faces[0].track == 1 and p.to_json()["faces"][0]["track"] == 1 for p, _ in read)
    assert all(pixels is not None and pixels.shape == (240, 320, 3) for _, pixels in read)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    *kept, (last, nothing) = recogniser.video(path)
    assert len(kept) > 5
    assert nothing is None and last.error is not None and "cut off" in last.error


def test_leaving_a_video_early_releases_it(tmp_path: Path) -> None:
    video = Video(numbered(tmp_path / "a.mp4"))
    frames = mien.load(detector="none").video(video)
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert not video._capture.isOpened()


@pytest.mark.parametrize("number", [-1, -2])
def test_cameras_count_from_0(number: int) -> None:
    """OpenCV ends the process where it is asked for any camera and there is none."""
    with pytest.raises(VideoError, match=r"expected a camera's number, from 0"):
        Video(number)
