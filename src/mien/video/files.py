"""Video in and out: files, addresses and cameras frame by frame, and copies that keep the time.

One frame is in memory at a time, however long the video is. Sound is not read and not copied.
Knows nothing of faces.
"""

import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import UsageError, VideoError
from mien.quiet import quiet_opencv
from mien.video.editlist import shown_seconds
from mien.video.matroska import is_cut_off

__all__ = [
    "CODECS",
    "MOST_REPEATS",
    "VIDEO_SUFFIXES",
    "Frame",
    "Video",
    "VideoCopy",
    "is_address",
    "is_camera",
    "is_video",
    "title",
]

VIDEO_SUFFIXES: Final = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp"}
    | {".mts", ".m2ts", ".ogv"}
)

CODECS: Final = {".mp4": "mp4v", ".mkv": "mp4v", ".avi": "MJPG", ".webm": "VP80"}
"""What a copy is encoded with, by its suffix: the encoders that opencv-python's wheels have on
every system (MPEG-4 part 2, Motion JPEG, VP8). They have none for H.264."""

MOST_REPEATS: Final = 10_000
"""How often in a row a copy repeats a frame, almost seven minutes at 25 frames a second: longer
than films stand still, shorter than time stamps jump where a stream or a broken file does."""

_USUAL_RATE: Final = 25.0
_RATES: Final = (1.0, 120.0)
_BEFORE_S: Final = 0.5
"""So many seconds before a time frames are read again that are skipped."""
_SHORTFALL: Final = 0.05
_SHORTFALL_S: Final = 0.5
"""A file that ends this share and this many seconds before its container says is cut off."""


def is_address(source: str) -> bool:
    """Whether a source is an address (http://, rtsp://, ...) and not a file."""
    return "://" in source


def is_camera(source: str | os.PathLike[str] | int) -> bool:
    """Whether a source is a camera: its number, or its device as Linux names it (/dev/video0)."""
    return isinstance(source, int) or stat.S_ISCHR(_mode(source))


def is_video(source: str) -> bool:
    """Whether a source is a video by its suffix, or an address."""
    return is_address(source) or Path(source).suffix.lower() in VIDEO_SUFFIXES


def title(source: str) -> str:
    """Return what others may see of a source's name: a file's name, an address's last part or host.

    The rest of an address may hold a password or a key.
    """
    if not is_address(source):
        return Path(source).name
    try:
        parts = urlsplit(source)
    except ValueError:
        return "stream"
    return Path(parts.path).name or parts.hostname or "stream"


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a video.

    Attributes:
        number: from 0.
        time_s: seconds from the first frame, as the container says.
        pixels: RGB (H, W, 3), uint8, upright.
    """

    number: int
    time_s: float
    pixels: NDArray[np.uint8]


class Video:
    """An open video: a context manager that yields its frames once, in their order.

    Frames come upright where the container says how the camera was held, and with the container's
    time stamps, so a variable frame rate does no harm. For one thread at a time.

    Args:
        source: a file, an address that OpenCV's FFmpeg understands, or a camera's number or device.

    Raises:
        VideoError: there is no such file or camera, or it is no readable video.
    """

    def __init__(self, source: str | os.PathLike[str] | int) -> None:
        self.name = f"camera {source}" if isinstance(source, int) else os.fspath(source)
        if isinstance(source, int) and source < 0:  # which ends the process, in OpenCV
            raise VideoError(f"{self.name}: expected a camera's number, from 0")
        if not isinstance(source, int) and not is_address(self.name):
            _check_file(self.name)
        self._is_camera = is_camera(source)
        with quiet_opencv():
            self._capture = _open(source, camera=self._is_camera)
        if not self._capture.isOpened():
            self._capture.release()
            raise VideoError(_why_closed(self.name, camera=self._is_camera))
        self.read_frames = 0
        self._first_s: float | None = None
        self._last_s = 0.0
        self._cannot_skip = False
        self._grabbed = False  # whether the next frame is decoded already

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file or camera."""
        self._capture.release()

    @property
    def rate(self) -> float:
        """Mean frames a second as the container says, within 1 to 120; 25 where it says none."""
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        return min(max(rate, _RATES[0]), _RATES[1]) if rate > 0 else _USUAL_RATE

    @property
    def expected_frames(self) -> int:
        """How many frames there should be; 0 where nobody can know."""
        return max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    @property
    def length_s(self) -> float:
        """How many seconds of a file there should be; 0 where nobody can know."""
        # Not `rate`, which is kept within what a copy can have: slow motion goes beyond.
        expected = self.expected_frames / (self._capture.get(cv2.CAP_PROP_FPS) or self.rate)
        shown = shown_seconds(Path(self.name)) if self._is_file else None
        return expected if shown is None else min(expected, shown)

    @property
    def _is_file(self) -> bool:
        """Whether it can be read again: no address, camera or pipe."""
        return not is_address(self.name) and stat.S_ISREG(_mode(self.name))

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames that can be read.

        Raises:
            VideoError: not one frame can be read.
        """
        while (pixels := self._read()) is not None:
            stamp = self._stamp_s()
            self._first_s = stamp if self._first_s is None else self._first_s
            self._last_s = self._time(stamp - self._first_s)
            yield Frame(self.read_frames, self._last_s, pixels)
            self.read_frames += 1
        if not self.read_frames:
            raise VideoError(_why_empty(self.name, camera=self._is_camera))

    @property
    def ends_early(self) -> str | None:
        """After the last frame: a line on a file that is cut off, else None."""
        # These count no frames, and last as long as the longest of picture, sound and titles.
        if self._is_file and is_cut_off(Path(self.name)) is False:
            return None
        expected = self.length_s
        got = self._last_s + 1 / (self._capture.get(cv2.CAP_PROP_FPS) or self.rate)
        if got >= expected * (1 - _SHORTFALL) or got >= expected - _SHORTFALL_S:
            return None
        return (
            f"{self.name}: cut off or damaged after {self.read_frames} frames, {got:.1f} of "
            f"{expected:.1f} seconds; what came before is kept"
        )

    def skip_to(self, time_s: float) -> None:
        """Leave out frames of a file that are shown before a time, seconds, but for the last ones.

        Nothing is left out where the file cannot tell where its frames are. From then on the
        numbers of frames count those that were read.
        """
        if self._first_s is None or self._cannot_skip or not self._is_file:
            return
        before = self._last_s
        with quiet_opencv():
            # A little before, as its decoders count frames by their mean rate.
            wanted = self._first_s + max(0.0, time_s - _BEFORE_S)
            self._capture.set(cv2.CAP_PROP_POS_MSEC, 1000 * wanted)
            there = self._capture.grab()
        if there and before < self._stamp_s() - self._first_s <= time_s:
            self._grabbed = True
            return
        # An index that is missing or wrong: begin anew, and go on from where it was.
        self._cannot_skip = True
        self._capture.release()
        with quiet_opencv():
            self._capture = _open(self.name, camera=False)
            while self._capture.grab() and self._stamp_s() - self._first_s < before:
                pass

    def _stamp_s(self) -> float:
        """Return when the last frame that was decoded is shown, as the container says, seconds."""
        return float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000

    def _read(self) -> NDArray[np.uint8] | None:
        with quiet_opencv():
            there, pixels = self._capture.retrieve() if self._grabbed else self._capture.read()
        self._grabbed = False
        if not there:
            return None
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)

    def _time(self, stamp: float) -> float:
        """Return the time stamp; where a container or camera has none, count frames."""
        if self.read_frames and stamp <= self._last_s:
            return round(self._last_s + 1 / self.rate, 6)
        return round(stamp, 6)


class VideoCopy:
    """Writes a video: a context manager that always closes its file.

    Frames are put at their times: the copy has a constant rate, and repeats or leaves out frames of
    a source whose rate varies. Gaps that would take too many repeats are cut out: the copy goes on
    right after them. Without sound. The file has its name once it is whole.

    Args:
        path: its suffix chooses the encoding, see `CODECS`.
        rate: frames a second.
        most_repeats: how often in a row a frame is repeated.

    Attributes:
        rate: frames a second, rounded to what the encodings can say.
        frames: how many were written, repeated ones among them.

    Raises:
        UsageError: no encoding is known for the suffix.
        VideoError: the file cannot be written.
    """

    def __init__(self, path: Path, *, rate: float, most_repeats: int = MOST_REPEATS) -> None:
        if path.suffix.lower() not in CODECS:
            raise UsageError(
                f"{path}: cannot write {path.suffix or 'a video without a suffix'}; expected one "
                f"of {', '.join(CODECS)}"
            )
        self.path = path
        # MPEG-4 counts time in at most 65,535 steps a second.
        self.rate = round(rate, 3 if rate < 65 else 2)
        self.frames = 0
        # OpenCV chooses the container by the suffix. Short, as a name may be as long as it can be.
        self._partial = path.with_name(f".{secrets.token_hex(4)}.partial{path.suffix}")
        self._most_repeats = most_repeats
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._cut = 0
        self._paused = False
        self._before: cv2.typing.MatLike | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish the file.

        Raises:
            VideoError: it does not hold what was written; nothing of it is left.
        """
        if not self._release():
            return
        with self._leaving_nothing_half():
            _grow(self._partial)
            self._count()
            self._partial.replace(self.path)

    def drop(self) -> None:
        """Give the file up: nothing of it is left, and what had its name before stays."""
        if self._release():
            self._unlink()

    def add(self, pixels: NDArray[np.uint8], time_s: float) -> None:
        """Write a frame, RGB (H, W, 3), uint8, at its time; until then the one before stays.

        Frames of another size than the first are fitted to it.

        Raises:
            VideoError: the file cannot be opened.
        """
        if self._writer is None:
            # Encoders that share colour between pixels take even sides only.
            self._size = (max(2, pixels.shape[1] // 2 * 2), max(2, pixels.shape[0] // 2 * 2))
            self._writer = self._open()
        if (pixels.shape[1], pixels.shape[0]) != self._size:
            pixels = np.asarray(cv2.resize(pixels, self._size, interpolation=cv2.INTER_AREA))
        frame = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        place = round(time_s * self.rate) - self._cut
        gap = place - self.frames
        if gap > 0 and (self._paused or gap > self._most_repeats):
            self._cut += gap
            place = self.frames
        self._paused = False
        with quiet_opencv():
            while self.frames < place:
                self._writer.write(frame if self._before is None else self._before)
                self.frames += 1
            if self.frames == place:
                self._writer.write(frame)
                self.frames += 1
        self._before = frame

    def pause(self) -> None:
        """Let time stand still until the next frame: it comes right after the one before."""
        self._paused = True

    def _release(self) -> bool:
        """Let the encoder go; whether there was one."""
        if self._writer is None:
            return False
        with quiet_opencv():
            self._writer.release()
        self._writer = None
        return True

    def _open(self) -> cv2.VideoWriter:
        if self.path.is_dir():
            raise VideoError(f"{self.path}: a folder; expected the name of a file")
        _check_name(self._partial)
        code = cv2.VideoWriter.fourcc(*CODECS[self.path.suffix.lower()])
        name = str(self._partial.absolute())
        with quiet_opencv():
            writer = cv2.VideoWriter(name, cv2.CAP_FFMPEG, code, self.rate, self._size)
        if not writer.isOpened():
            with self._leaving_nothing_half():
                _grow(self._partial)
                size = "x".join(map(str, self._size))
                raise VideoError(f"{self.path}: OpenCV cannot encode {size} at {self.rate:g} fps")
        return writer

    @contextmanager
    def _leaving_nothing_half(self) -> Iterator[None]:
        """Unlink the file where it cannot be whole, but not where a user is tired of waiting."""
        try:
            yield
        except OSError as error:
            self._unlink()
            raise VideoError(
                f"{self.path}: cannot be written: {error.strerror}; nothing of it was kept"
            ) from error
        except VideoError:
            self._unlink()
            raise

    def _unlink(self) -> None:
        with suppress(OSError):
            self._partial.unlink()

    def _count(self) -> None:
        """Read the file again and see that every frame has arrived."""
        try:
            with Video(self._partial) as video:
                kept = video.expected_frames
        except VideoError:
            kept = 0
        if kept < self.frames:
            raise VideoError(
                f"{self.path}: not all of its {self.frames:,} frames arrived on the disk; nothing "
                "of it was kept; make room there and try again"
            )


def _grow(path: Path) -> None:
    """Write one byte more and take it back: OpenCV tells neither that a write failed nor why."""
    with path.open("ab", buffering=0) as file:
        end = file.tell()
        file.write(b"\0")
        file.truncate(end)
        os.fsync(file.fileno())


def _check_file(name: str) -> None:
    path = Path(name)
    try:
        _check_name(path)
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise VideoError(f"no such file: {name!r}") from None
    except OSError as error:
        raise VideoError(f"{name}: cannot be opened: {error.strerror}") from None
    if stat.S_ISDIR(found.st_mode):
        raise VideoError(f"{name}: a folder; expected a video file")
    # Pipes and devices have no size.
    if stat.S_ISREG(found.st_mode) and found.st_size == 0:
        raise VideoError(f"{name}: the file is empty")


def _mode(source: str | os.PathLike[str]) -> int:
    """Return the kind of a file, as `stat` tells it; 0: there is none, or nobody can know."""
    try:
        return Path(source).stat().st_mode
    except (OSError, ValueError):
        return 0


def _check_name(path: Path) -> None:
    """OpenCV ends the process where it is given a name that is not UTF-8."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        raise VideoError(f"{path}: not UTF-8, so OpenCV cannot open it: rename it") from None


def _open(source: str | os.PathLike[str] | int, *, camera: bool) -> cv2.VideoCapture:
    if isinstance(source, int):
        return cv2.VideoCapture(source)
    name = os.fspath(source)
    if camera and sys.platform == "linux":
        return cv2.VideoCapture(name, cv2.CAP_V4L2)
    # Whole, as FFmpeg takes what stands before a colon for the kind of an address.
    whole = name if is_address(name) else str(Path(name).absolute())
    return cv2.VideoCapture(whole, cv2.CAP_FFMPEG)


def _why_closed(name: str, *, camera: bool) -> str:
    if camera and sys.platform == "darwin":
        return (
            f"{name}: there is none, another program is using it, or this one may not: see System "
            "Settings, Privacy & Security, Camera"
        )
    if camera:
        return f"{name}: there is none, or another program is using it"
    if is_address(name):
        return f"{name}: nothing answers there that can be played"
    return f"not a readable video: {name} (unknown format, damaged, or cut off at its end)"


def _why_empty(name: str, *, camera: bool) -> str:
    if camera:
        return f"{name}: it opens but gives no picture; is another program using it?"
    return f"{name}: no frame of it can be read; is the file damaged?"
