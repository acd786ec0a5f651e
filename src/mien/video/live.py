"""Faces as they come: camera, tracker and window tied together in one loop.

The window is passed in, so that everything runs without one, too. Files are written only where the
user asked: a recording, snapshots.
"""

import math
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from mien.annotate import annotate
from mien.atomic import numbered
from mien.errors import VideoError
from mien.images import write_image
from mien.records import Face, Prediction
from mien.termination import on_termination
from mien.video.camera import Camera, Shot
from mien.video.files import VideoCopy
from mien.video.overlay import Notice, Overlay
from mien.video.track import LIVE_SHARE, Reader, Tracker

__all__ = ["KEYS", "Live", "LiveResult", "Surface"]

KEYS: Final = {
    "m": "mirror",
    "s": "snapshot",
    "r": "record",
    "p": "pause",
    "h": "help",
    "q": "quit",
}
_WAITING: Final = 0.1
_RECORD_RATE: Final = 30.0
_LONGEST_GAP: Final = 5.0
"""Seconds; filling more with the frame before would keep the window from its keys."""

_LEAST_ROOM: Final = 64 << 20
"""Bytes that a recording leaves free: enough for the index, which comes last."""

_ROOM_EVERY: Final = 2.0
"""Seconds of a recording."""

_RATE_OVER: Final = 30
_MESSAGE_S: Final = 2.5


class Surface(Protocol):
    """Something to show frames on."""

    def show(self, pixels: NDArray[np.uint8]) -> str | None:
        """Show a frame, RGB (H, W, 3), uint8; return the key that was pressed, if any.

        The name of a key is its character; ``quit`` where the window was closed.
        """


@dataclass(frozen=True, slots=True)
class LiveResult:
    """What a run of `Live` came to.

    Attributes:
        frames: how many were read for faces.
        seconds: from the first to the last.
        problem: what ended it, None where the user or the end of a file did.
        files: what was written.
    """

    frames: int
    seconds: float
    problem: str | None
    files: tuple[Path, ...]

    @property
    def rate(self) -> float:
        """Frames a second."""
        return (self.frames - 1) / self.seconds if self.frames > 1 and self.seconds > 0 else 0.0


@dataclass(slots=True)
class Live:
    """Reads faces of a camera until it ends, the user quits or enough frames were read.

    SIGINT (Ctrl-C), SIGTERM and SIGHUP end it as the user does, so that a recording is whole. What
    a key began and cannot be written is told, and reading goes on. A recording ends, too, where the
    disk is nearly full.

    Args:
        recogniser: finds and reads faces.
        camera: an open camera.
        surface: shows frames and takes keys; None: nothing is shown.
        mirror: whether left and right are swapped at first, as in a mirror.
        record: a file to which what is shown is recorded, from the start.
        folder: where snapshots go, and recordings that are begun by key.
        max_frames: stop after so many; 0 goes on.
        say: is told in a line what happens.
        seen: is handed each frame's faces, as they are in the unmirrored picture. Frames are
            numbered from 0, and numbers are missing where frames were left out; their times are
            seconds from the first.
    """

    recogniser: Reader
    camera: Camera
    surface: Surface | None = None
    mirror: bool = False
    record: Path | None = None
    folder: Path = field(default_factory=Path)
    max_frames: int = 0
    say: Callable[[str], None] = lambda text: None
    seen: Callable[[Prediction], None] = lambda prediction: None
    _overlay: Overlay = field(default_factory=Overlay)
    _copy: VideoCopy | None = None
    _copy_began: float = 0.0
    _room_known: float = 0.0
    _paused: bool = False
    _stopped: bool = False
    _help: bool = False
    _notice: Notice = field(default_factory=lambda: Notice(_MESSAGE_S))
    _clean: NDArray[np.uint8] | None = None
    _files: list[Path] = field(default_factory=list)
    _times: deque[float] = field(default_factory=lambda: deque(maxlen=_RATE_OVER))

    def run(self) -> LiveResult:
        """Go on until the end.

        Raises:
            VideoError: the source never gave a frame, ``record`` cannot be written, or a recording
                that was still going on cannot be finished.
        """
        tracker = Tracker(self.recogniser, most_share=LIVE_SHARE)
        frames, number = 0, 0
        first: Shot | None = None
        last_s = 0.0
        told: str | None = None
        with ExitStack() as closing:
            closing.enter_context(on_termination(self._stop))
            closing.callback(self._stop_recording)
            if self.record:
                self._start_recording(self.record)
            while not (self._stopped or (self.max_frames and frames >= self.max_frames)):
                shot = self.camera.newest(after=number, timeout_s=_WAITING)
                problem = self.camera.problem
                if problem and problem != told and not self.camera.ended:
                    self.say(f"{problem}; trying again")
                told = problem
                if shot is not None and not self._paused:
                    number = shot.number
                    faces = tracker.update(shot.pixels, shot.time_s)
                    first = first or shot
                    last_s = shot.time_s - first.time_s
                    self.seen(self._prediction(shot, faces, shot.number - first.number, last_s))
                    self._take(shot, faces)
                    frames += 1
                elif shot is not None:
                    number = shot.number
                elif self.camera.ended:
                    break
                if self._copy is not None and (self._paused or problem):
                    self._copy.pause()
                if not self._present(problem):
                    break
        problem = self.camera.problem if self.camera.ended else None
        if not frames and problem:
            raise VideoError(problem)
        return LiveResult(frames, last_s, problem, tuple(self._files))

    def _prediction(
        self, shot: Shot, faces: tuple[Face, ...], frame: int, time_s: float
    ) -> Prediction:
        height, width = shot.pixels.shape[:2]
        name = self.camera.name
        return Prediction(name, width, height, faces, frame=frame, time_s=round(time_s, 6))

    def _take(self, shot: Shot, faces: Iterable[Face]) -> None:
        """Draw a frame's faces, and record it."""
        self._times.append(time.monotonic())
        if self.surface is None and self._copy is None:
            return
        pixels = shot.pixels
        if self.mirror:
            width = pixels.shape[1]
            pixels = np.ascontiguousarray(pixels[:, ::-1])
            faces = [_mirrored(face, width) for face in faces]
        self._clean = annotate(pixels, faces)
        if self._copy is not None:
            self._record(self._copy, self._clean, shot.time_s)

    def _record(self, copy: VideoCopy, pixels: NDArray[np.uint8], now: float) -> None:
        self._copy_began = self._copy_began or now
        self._room_known = self._room_known or now
        try:
            copy.add(pixels, now - self._copy_began)
            if now - self._room_known >= _ROOM_EVERY:
                self._room_known = now
                if _free_bytes(copy.path.parent) < _LEAST_ROOM:
                    self._stop_recording()
                    self._tell(f"{copy.path}: the recording ended, as the disk is nearly full")
        except VideoError as error:
            if copy.path == self.record:
                raise
            self._copy = None
            self._tell(str(error))

    def _present(self, problem: str | None) -> bool:
        """Show what there is and obey a key; whether to go on."""
        if self.surface is None:
            return True
        frame = self._overlay.draw(
            self._clean,
            status=self._status(),
            message=self._notice.text or self._waiting_for(problem),
            help_lines=[f"{key}  {action}" for key, action in KEYS.items()] if self._help else [],
        )
        key = self.surface.show(frame)
        return key is None or self._obey(key)

    def _waiting_for(self, problem: str | None) -> str:
        if problem:
            return problem if self.camera.ended else f"{problem}; trying again"
        return "" if self._clean is not None else "waiting for the camera"

    def _status(self) -> list[str]:
        seconds = self._times[-1] - self._times[0] if len(self._times) > 1 else 0.0
        rate = [f"{(len(self._times) - 1) / seconds:.0f} fps"] if seconds > 0 else []
        flags = {"paused": self._paused, "● rec": self._copy is not None}
        return [*rate, *(flag for flag, on in flags.items() if on)]

    def _obey(self, key: str) -> bool:
        if (key := key.lower()) in {"q", "quit", "\x1b"}:
            return False
        try:
            self._do(key)
        except VideoError as error:
            self._tell(str(error))
        except OSError as error:
            self._tell(f"{error.strerror or error}: {error.filename or self.folder}")
        return True

    def _do(self, key: str) -> None:
        match key:
            case "m":
                self.mirror = not self.mirror
            case "p":
                self._paused = not self._paused
            case "h":
                self._help = not self._help
            case "s" if self._clean is not None:
                path = self._new_file("png")
                write_image(path, self._clean)
                self._wrote(path, "saved")
            case "r" if self._copy is not None:
                self._stop_recording()
            case "r":
                self._start_recording(self._new_file("mp4"))

    def _stop(self) -> None:
        self._stopped = True

    def _start_recording(self, path: Path) -> None:
        longest = round(_LONGEST_GAP * _RECORD_RATE)
        self._copy = VideoCopy(path, rate=_RECORD_RATE, most_repeats=longest)
        self._copy_began = self._room_known = 0.0

    def _stop_recording(self) -> None:
        if self._copy is not None:
            copy, self._copy = self._copy, None
            copy.close()
            if copy.frames:
                self._wrote(copy.path, "recorded")

    def _wrote(self, path: Path, done: str) -> None:
        self._files.append(path)
        self._notice.show(f"{done} {path.name}")
        self.say(f"wrote {path}")

    def _tell(self, text: str) -> None:
        """Show and say what went wrong."""
        self._notice.show(text)
        self.say(text)

    def _new_file(self, suffix: str) -> Path:
        return numbered(self.folder / f"mien-{time.strftime('%Y%m%d-%H%M%S')}.{suffix}")


def _free_bytes(folder: Path) -> float:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return math.inf  # whoever ends the recording is told why


def _mirrored(face: Face, width: int) -> Face:
    box = face.box
    return replace(face, box=box._replace(x=width - box.x - box.width))
