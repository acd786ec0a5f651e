"""Tests of the live loop: the newest frame wins, keys are obeyed, a lost camera is tried again."""

import errno
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

import mien.video.camera
from filmed import Actor, Pixels, film
from mien.errors import UsageError, VideoError
from mien.records import Prediction
from mien.video.camera import Camera
from mien.video.files import Frame, Video, VideoCopy
from mien.video.live import KEYS, Live
from mien.video.overlay import Overlay
from mien.video.window import Window, _try_screen
from screens import BOX, Screen, Scripted, Seer


class Flaky:
    """In the place of `Video`: cameras that are not there, or pulled out after some frames."""

    expected_frames = 0
    ends_early = None

    def __init__(self, *frames_of_each_try: int | None) -> None:
        self.tries = 0
        self._plan: Sequence[int | None] = frames_of_each_try

    def __call__(self, source: str | int) -> "Flaky":
        plan = self._plan[min(self.tries, len(self._plan) - 1)]
        self.tries += 1
        if plan is None:
            raise VideoError(f"camera {source}: there is none, or another program is using it")
        self._count = plan
        return self

    def __enter__(self) -> "Flaky":
        return self

    def __exit__(self, *raised: object) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        for number in range(self._count):
            time.sleep(0.005)
            yield Frame(number, number / 100, np.full((240, 320, 3), number, np.uint8))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    with VideoCopy(path, rate=30) as copy:
        for shot in film([Actor(3, lambda t: (0.3, 0.5), 0.4)], seconds=1, fps=30):
            copy.add(shot.pixels, shot.time_s)
    return path


def test_a_file_plays_at_its_own_pace_and_ends(clip: Path) -> None:
    screen = Screen()
    began = time.monotonic()
    with Camera(str(clip)) as camera:
        result = Live(Seer(), camera, screen).run()
    assert time.monotonic() - began > 0.9
    assert 1 <= result.frames <= 30, "a busy machine may leave frames out, and only leave out"
    assert result.problem is None
    assert screen.frames[-1].shape == (240, 320, 3)


class Film(Flaky):
    """In the place of `Video`: a film at an address, a third of a second long."""

    expected_frames = 10

    def __iter__(self) -> Iterator[Frame]:
        for number in range(10):
            yield Frame(number, number / 30, np.zeros((240, 320, 3), np.uint8))


def test_a_film_at_an_address_plays_at_its_own_pace_and_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mien.video.camera, "Video", film_at_address := Film(10))
    began = time.monotonic()
    with Camera("http://host/clip.mp4", backoff=(0.01,)) as camera:
        result = Live(Seer(), camera).run()
    assert time.monotonic() - began > 0.25
    assert (result.problem, film_at_address.tries) == (None, 1)


def test_frames_are_handed_on_as_they_are_read() -> None:
    seen: list[Prediction] = []
    camera = Scripted([0, 0.1, None, 0.4])
    Live(Seer(), camera, Screen(), mirror=True, seen=seen.append).run()
    assert [(p.source, p.frame, p.time_s) for p in seen] == [
        ("camera 0", 0, 0.0),
        ("camera 0", 1, 0.1),
        ("camera 0", 3, 0.4),
    ]
    assert all((p.width, p.height) == (64, 48) for p in seen)
    assert seen[0].faces[0].track == 1
    assert seen[0].faces[0].box == BOX, "as it is in the camera's picture, not in the mirror"


def test_who_is_slow_gets_the_newest_frame(clip: Path) -> None:
    with Camera(str(clip)) as camera:
        result = Live(Seer(delay_s=0.15), camera).run()
    assert result.frames <= 9, "not all thirty, late"


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> Camera:
    """A camera whose pictures are even, each a little lighter than the one before."""
    monkeypatch.setattr(mien.video.camera, "Video", Flaky(100_000))
    return Camera(0)


def test_max_frames_and_a_recording_from_the_start(endless: Camera, tmp_path: Path) -> None:
    out = tmp_path / "record.mp4"
    said: list[str] = []
    with endless as camera:
        result = Live(Seer(), camera, record=out, max_frames=5, say=said.append, mirror=True).run()
    assert (result.frames, result.files) == (5, (out,))
    assert said == [f"wrote {out}"]
    with Video(out) as video:
        first = next(iter(video)).pixels.astype(float)
    # Mirrored: the box that begins at 40 of 320 ends at 280, and there is its line.
    left, right = 320 - round(BOX.x + BOX.width), 320 - round(BOX.x)
    for edge in (left, right):
        assert (
            first[90:130, edge - 3 : edge + 3].max()
            > first[90:130, left + 20 : left + 60].max() + 60
        )
    assert first[90:130, 40 : left - 12].max() < 60, "nothing where it would be unmirrored"


def test_keys(endless: Camera, tmp_path: Path) -> None:
    screen = Screen({3: "s", 5: "h", 7: "m", 9: "r", 14: "r", 16: "Q"})
    with endless as camera:
        result = Live(Seer(), camera, screen, folder=tmp_path).run()
    assert len(screen.frames) == 16, "Q quits, too"
    picture, recording = result.files
    assert (picture.suffix, recording.suffix) == (".png", ".mp4")
    assert picture.stat().st_size > 0 and recording.stat().st_size > 0
    corner = np.s_[:100, 240:]
    plain, helped, mirrored = (screen.frames[n].astype(int) for n in (3, 5, 7))
    assert helped[corner].max() > plain[corner].max() + 60, "help is shown"
    beyond = np.s_[120:150, 250:300]
    assert mirrored[beyond].max() > helped[beyond].max() + 60, "the box's line moved here"


def test_pause_holds_the_picture_still(endless: Camera) -> None:
    screen = Screen({4: "p", 12: "p", 20: "\x1b"})
    with endless as camera:
        result = Live(Seer(), camera, screen).run()
    assert result.frames <= 12
    middle = np.s_[150:, 200:]
    assert all((f[middle] == screen.frames[5][middle]).all() for f in screen.frames[5:11])
    assert (screen.frames[-1][middle] != screen.frames[5][middle]).any(), "and then goes on"


TEN = [n / 30 for n in range(10)]
LATER = [100 + n / 30 for n in range(10)]


@pytest.mark.parametrize(
    ("times", "keys", "frames"),
    [
        pytest.param([*TEN, 30, 60, 90, *LATER], {10: "p", 13: "p"}, 20, id="paused"),
        pytest.param([*TEN, 0.5, *[0.6 + t for t in TEN]], {10: "p", 11: "p"}, 20, id="briefly"),
        pytest.param([*TEN, None, None, *LATER], {}, 20, id="unplugged"),
        pytest.param([*TEN, *LATER], {}, 20, id="asleep"),
        pytest.param([0, 2, 4, 6], {}, 181, id="slow-but-steady"),
    ],
)
def test_a_recording_leaves_out_when_nothing_came(
    tmp_path: Path, times: list[float | None], keys: dict[int, str], frames: int
) -> None:
    out = tmp_path / "a.mp4"
    Live(Seer(), Scripted(times), Screen(keys), record=out).run()
    with Video(out) as video:
        assert len(list(video)) == frames


def test_a_second_interrupt_waits_for_the_recording_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupting(Screen):
        def show(self, pixels: Pixels) -> str | None:
            if len(self.frames) == 4:
                signal.raise_signal(signal.SIGINT)
            return super().show(pixels)

    def again(copy: VideoCopy, count: Callable[[VideoCopy], None] = VideoCopy._count) -> None:
        signal.raise_signal(signal.SIGINT)
        count(copy)

    monkeypatch.setattr(VideoCopy, "_count", again)
    before = signal.getsignal(signal.SIGINT)
    out = tmp_path / "a.mp4"
    result = Live(Seer(), Scripted([n / 30 for n in range(30)]), Interrupting(), record=out).run()
    assert (result.frames, result.problem, result.files) == (5, None, (out,))
    assert [*tmp_path.iterdir()] == [out]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_recording_ends_before_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = Scripted([n / 10 for n in range(60)])

    def usage(folder: Path) -> object:
        assert folder == tmp_path
        return shutil._ntuple_diskusage(2 << 30, 0, 1 << (30 if camera._asked < 20 else 25))

    monkeypatch.setattr(shutil, "disk_usage", usage)
    out, said = tmp_path / "a.mp4", list[str]()
    result = Live(Seer(), camera, record=out, say=said.append).run()
    assert said == [f"wrote {out}", f"{out}: the recording ended, as the disk is nearly full"]
    assert (result.frames, result.files) == (60, (out,))
    with Video(out) as video:
        assert len(list(video)) == 61, "two seconds at 30 frames a second"


def test_where_nobody_knows_how_full_the_disk_is_recording_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(folder: Path) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(shutil, "disk_usage", unknown)
    camera, said = Scripted([n / 10 for n in range(60)]), list[str]()
    Live(Seer(), camera, record=tmp_path / "a.mp4", say=said.append).run()
    assert said == [f"wrote {tmp_path / 'a.mp4'}"]


def test_a_recording_that_was_asked_for_ends_the_run_where_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(copy: VideoCopy, pixels: object, time_s: float) -> None:
        raise VideoError(f"{copy.path}: cannot be written: no space left")

    monkeypatch.setattr(VideoCopy, "add", full)
    live = Live(Seer(), Scripted([n / 30 for n in range(9)]), record=tmp_path / "a.mp4")
    with pytest.raises(VideoError, match=r"a\.mp4: cannot be written"):
        live.run()


def test_a_key_that_cannot_be_obeyed_does_not_end_the_session(tmp_path: Path) -> None:
    nowhere, said = tmp_path / "nowhere", list[str]()
    camera, screen = Scripted([n / 30 for n in range(12)]), Screen({2: "s", 5: "r"})
    result = Live(Seer(), camera, screen, folder=nowhere, say=said.append).run()
    assert (result.frames, result.files) == (12, ())
    snapshot, recording = said
    assert "No such file or directory" in snapshot and ".png" in snapshot
    assert "cannot be written: No such file or directory" in recording and ".mp4" in recording
    assert (screen.frames[-1] != screen.frames[0]).any(), "it is shown, too"


def test_nothing_recorded_is_not_told_as_recorded(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"another")
    result = Live(Seer(), Scripted([]), record=tmp_path / "a.mp4").run()
    assert result.files == ()


def test_every_key_is_explained() -> None:
    assert set(KEYS) == set("msrphq")


@pytest.mark.parametrize("patient", [False, True])
def test_a_camera_that_is_never_there_is_given_up(
    monkeypatch: pytest.MonkeyPatch, patient: bool
) -> None:
    flaky = Flaky(None)
    monkeypatch.setattr(mien.video.camera, "Video", flaky)
    said: list[str] = []
    camera = Camera(0, patient=patient, backoff=(0.25, 0.25))
    with camera, pytest.raises(VideoError, match="camera 0: there is none"):
        Live(Seer(), camera, Screen(), say=said.append).run()
    assert flaky.tries == 3
    assert said == ["camera 0: there is none, or another program is using it; trying again"]


def test_a_camera_that_comes_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    flaky = Flaky(None, None, 50)
    monkeypatch.setattr(mien.video.camera, "Video", flaky)
    with Camera(0, backoff=(0.02, 0.04, 0.05)) as camera:
        result = Live(Seer(), camera, max_frames=3).run()
    assert (result.frames, flaky.tries) == (3, 3)


def test_a_camera_that_is_pulled_out_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    flaky = Flaky(5, None, None, None, 100)
    monkeypatch.setattr(mien.video.camera, "Video", flaky)
    screen, said = Screen(), list[str]()
    with Camera(0, patient=True, backoff=(0.02, 0.02)) as camera:
        Live(Seer(), camera, screen, say=said.append, max_frames=12).run()
    assert flaky.tries == 5, "tried again although it failed more often than a new camera may"
    assert "camera 0: no more frames come; was it unplugged?; trying again" in said


def test_a_stream_at_an_address_that_breaks_off_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flaky = Flaky(5, None, 100)
    monkeypatch.setattr(mien.video.camera, "Video", flaky)
    with Camera("rtsp://host/stream", patient=True, backoff=(0.02, 0.02)) as camera:
        Live(Seer(), camera, Screen(), max_frames=9).run()
    assert flaky.tries == 3


def test_a_film_at_an_address_that_breaks_off_is_not_begun_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Torn(Film):
        def __iter__(self) -> Iterator[Frame]:
            yield next(super().__iter__())
            raise VideoError("cut off")

    monkeypatch.setattr(mien.video.camera, "Video", torn := Torn(10))
    with Camera("http://host/a.mp4", patient=True, backoff=(0.01,)) as camera:
        result = Live(Seer(), camera, max_frames=5).run()
    assert (result.problem, torn.tries) == ("cut off", 1)


def test_without_a_window_a_lost_camera_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mien.video.camera, "Video", Flaky(5, None))
    with Camera(0, backoff=(0.02, 0.02)) as camera:
        result = Live(Seer(), camera).run()
    assert 1 <= result.frames <= 5
    assert result.problem is not None and "there is none" in result.problem


def test_who_quits_while_the_camera_is_away_has_no_problem() -> None:
    camera = Scripted([0, 0.1, *[None] * 100])
    result = Live(Seer(), camera, Screen({10: "q"})).run()
    assert (result.frames, result.problem) == (2, None)


def test_a_missing_file_is_told_at_once() -> None:
    began = time.monotonic()
    camera = Camera("gone.mp4", backoff=(60.0,))
    with camera, pytest.raises(VideoError, match="no such file"):
        Live(Seer(), camera).run()
    assert time.monotonic() - began < 30, "a file is not waited for"


@pytest.mark.parametrize(
    ("source", "error", "says"),
    [
        ("a" * 300 + ".mp4", None, "cannot be opened: File name too long"),
        ("a.mp4", OSError(5, "Input/output error"), "a.mp4: cannot be read: .*Input/output error"),
        ("a.mp4", cv2.error("what\nOpenCV\nsays"), "a.mp4: cannot be read: what OpenCV says"),
    ],
)
def test_no_error_of_the_camera_is_waited_out(
    monkeypatch: pytest.MonkeyPatch, source: str, error: Exception | None, says: str
) -> None:
    def fails(source: str | int) -> None:
        raise error or AssertionError

    if error:
        monkeypatch.setattr(mien.video.camera, "Video", fails)
    with Camera(source) as camera, pytest.raises(VideoError, match=says):
        Live(Seer(), camera).run()


def test_the_waits_between_tries_are_those_that_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float | None] = []

    class Impatient(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            return False

    monkeypatch.setattr(mien.video.camera, "Video", Flaky(None))
    camera = Camera(0)
    camera._stop = Impatient()
    with camera, pytest.raises(VideoError, match="there is none"):
        Live(Seer(), camera).run()
    assert waits == [0.5, 1.0, 2.0, 4.0]


@pytest.mark.skipif(sys.platform != "linux", reason="so Linux names cameras")
def test_a_device_is_a_camera() -> None:
    assert not Camera("/dev/null").is_file
    assert Camera(__file__).is_file


@pytest.mark.parametrize(("source", "at_once"), [(0, True), ("a.mp4", False)])
def test_macos_asks_for_the_camera_in_the_main_thread(
    monkeypatch: pytest.MonkeyPatch, source: str | int, at_once: bool
) -> None:
    asked: list[bool] = []

    def opened(source: str | int) -> None:
        asked.append(threading.current_thread() is threading.main_thread())
        raise VideoError("not allowed")

    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr(mien.video.camera, "Video", opened)
    with Camera(source, backoff=(0.01,)) as camera, pytest.raises(VideoError, match="not allowed"):
        Live(Seer(), camera).run()
    assert asked[0] is at_once


def test_leaving_ends_the_thread(clip: Path) -> None:
    with Camera(str(clip)) as camera:
        assert camera.newest(timeout_s=2.0) is not None
    assert not camera._thread.is_alive()


@pytest.mark.parametrize(
    ("code", "key"),
    [
        (-1, None),
        (ord("q"), "q"),
        (0x10_0000 | ord("R"), "R"),
        (0x1B, "quit"),
        (0xFF1B, "quit"),
        *((arrow, None) for arrow in (0xFF50, 0xFF51, 0xFF52, 0xFF53, 0x25_0000, 0xF700)),
    ],
)
def test_only_characters_and_escape_are_keys(
    monkeypatch: pytest.MonkeyPatch, code: int, key: str | None
) -> None:
    """An arrow of X11 ends in the byte of a letter: R would record, Q quit."""
    for name in ("resizeWindow", "imshow"):
        monkeypatch.setattr(cv2, name, lambda *_: None)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: 1.0)
    monkeypatch.setattr(cv2, "waitKeyEx", lambda _: code)
    assert Window().show(np.zeros((8, 8, 3), np.uint8)) == key


def test_no_screen_no_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with (
        pytest.raises(UsageError, match=r"no screen.*; try something else"),
        Window(instead="try something else"),
    ):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="only there a missing screen ends it all")
@pytest.mark.parametrize("screen", [{"DISPLAY": ":77"}, {"WAYLAND_DISPLAY": "wayland-77"}], ids=str)
def test_a_screen_that_does_not_answer_is_told(
    monkeypatch: pytest.MonkeyPatch, screen: dict[str, str]
) -> None:
    monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in screen.items():
        monkeypatch.setenv(name, value)
    says = rf"no window .*\(DISPLAY is {screen.get('DISPLAY', 'not set')}\); try something else"
    with pytest.raises(UsageError, match=says), Window(instead="try something else"):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="only there a missing screen ends it all")
def test_a_screen_that_never_answers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":78")
    monkeypatch.setattr("mien.video.window._TRIAL", "import time; time.sleep(60)")
    monkeypatch.setattr("mien.video.window._TRIAL_S", 0.2)
    with pytest.raises(UsageError, match=r"no window can be opened .*:78"):
        _try_screen("")


@pytest.mark.skipif(sys.platform != "linux", reason="only there a missing screen ends it all")
def test_what_lies_in_the_working_folder_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cv2.py").write_text("open('taken', 'w')\nimport os; os.abort()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISPLAY", ":77")
    with pytest.raises(UsageError, match="no window can be opened"):
        _try_screen("")
    assert not (tmp_path / "taken").exists()


def test_a_window_fits_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, int]] = []
    monkeypatch.setattr(cv2, "imshow", lambda *_: None)
    monkeypatch.setattr(cv2, "waitKeyEx", lambda _: -1)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: 1.0)
    monkeypatch.setattr(cv2, "resizeWindow", lambda _, *size: sizes.append(size))
    window = Window()
    for height, width in ((480, 640), (480, 640), (720, 1280), (1920, 1080)):
        window.show(np.zeros((height, width, 3), np.uint8))
    assert sizes == [(640, 480), (1280, 720), (405, 720)]


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        pytest.param({"status": ["30 fps"]}, np.s_[:40, :100], id="status"),
        pytest.param({"status": [], "message": "hello"}, np.s_[440:, 200:440], id="message"),
        pytest.param({"status": [], "help_lines": ["q  quit"]}, np.s_[:60, 540:], id="help"),
    ],
)
def test_overlay_writes_in_its_place_only(
    changes: dict[str, list[str]], where: tuple[slice, slice]
) -> None:
    pixels = np.full((480, 640, 3), 120, np.uint8)
    drawn = Overlay().draw(pixels, **changes)  # type: ignore[arg-type]
    assert (pixels == 120).all(), "the given frame is left as it is"
    different = (drawn != pixels).any(axis=2)
    assert different[where].any()
    different[where] = False
    assert not different.any()


def test_overlay_on_small_frames_and_none() -> None:
    long: Callable[[int], str] = lambda n: " ".join(["words"] * n)  # noqa: E731
    for pixels in (None, np.zeros((20, 30, 3), np.uint8)):
        drawn = Overlay().draw(pixels, status=["30 fps", "● rec"], message=long(40))
        assert drawn.dtype == np.uint8
        assert drawn.shape == ((480, 640, 3) if pixels is None else pixels.shape)
