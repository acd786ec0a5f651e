"""Faces as they come: camera, tracker and window tied together in one loop.

The window is passed in, so that everything runs without one, too. Files are written only where the
user asked: a recording, snapshots.
"""

import math
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from mien.annotate import annotate
from mien.camera import Camera, Shot
from mien.errors import VideoError
from mien.images import write_image
from mien.overlay import Overlay
from mien.records import Face
from mien.track import LIVE_SHARE, Reader, Tracker
from mien.video import VideoCopy

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

    SIGTERM and SIGHUP end it as the user does, so that a recording is whole.

    Args:
        recogniser: finds and reads faces.
        camera: an open camera.
        surface: shows frames and takes keys; None: nothing is shown.
        mirror: whether left and right are swapped at first, as in a mirror.
        record: a file to which what is shown is recorded, from the start.
        folder: where snapshots go, and recordings that are begun by key.
        max_frames: stop after so many; 0 goes on.
        say: is told in a line what happens.
    """

    recogniser: Reader
    camera: Camera
    surface: Surface | None = None
    mirror: bool = False
    record: Path | None = None
    folder: Path = field(default_factory=Path)
    max_frames: int = 0
    say: Callable[[str], None] = lambda text: None
    _overlay: Overlay = field(default_factory=Overlay)
    _copy: VideoCopy | None = None
    _copy_began: float = 0.0
    _paused: bool = False
    _stopped: bool = False
    _help: bool = False
    _message: tuple[str, float] = ("", -math.inf)
    _clean: NDArray[np.uint8] | None = None
    _files: list[Path] = field(default_factory=list)
    _times: deque[float] = field(default_factory=lambda: deque(maxlen=_RATE_OVER))

    def run(self) -> LiveResult:
        """Go on until the end.

        Raises:
            VideoError: the source never gave a frame, or a recording cannot be written.
        """
        tracker = Tracker(self.recogniser, most_share=LIVE_SHARE)
        frames, number, first_s, last_s = 0, 0, 0.0, 0.0
        told: str | None = None
        with ExitStack() as closing:
            closing.enter_context(_on_termination(self._stop))
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
                    self._take(shot, tracker.update(shot.pixels, shot.time_s))
                    first_s, last_s = (first_s if frames else shot.time_s), shot.time_s
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
        return LiveResult(frames, last_s - first_s, problem, tuple(self._files))

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
            self._copy_began = self._copy_began or shot.time_s
            self._copy.add(self._clean, shot.time_s - self._copy_began)

    def _present(self, problem: str | None) -> bool:
        """Show what there is and obey a key; whether to go on."""
        if self.surface is None:
            return True
        frame = self._overlay.draw(
            self._clean,
            status=self._status(),
            message=self._current_message() or self._waiting_for(problem),
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
        match key.lower():
            case "q" | "quit" | "\x1b":
                return False
            case "m":
                self.mirror = not self.mirror
            case "p":
                self._paused = not self._paused
            case "h":
                self._help = not self._help
            case "s" if self._clean is not None:
                path = self._new_file("png")
                write_image(path, self._clean)
                self._tell(f"saved {path.name}", path)
            case "r" if self._copy is not None:
                self._stop_recording()
            case "r":
                self._start_recording(self._new_file("mp4"))
        return True

    def _stop(self) -> None:
        self._stopped = True

    def _start_recording(self, path: Path) -> None:
        longest = round(_LONGEST_GAP * _RECORD_RATE)
        self._copy = VideoCopy(path, rate=_RECORD_RATE, most_repeats=longest)
        self._copy_began = 0.0

    def _stop_recording(self) -> None:
        if self._copy is not None:
            copy, self._copy = self._copy, None
            copy.close()
            if copy.frames:
                self._tell(f"recorded {copy.path.name}", copy.path)

    def _tell(self, text: str, path: Path) -> None:
        self._files.append(path)
        self._message = (text, time.monotonic())
        self.say(f"wrote {path}")

    def _current_message(self) -> str:
        text, since = self._message
        return text if time.monotonic() - since < _MESSAGE_S else ""

    def _new_file(self, suffix: str) -> Path:
        stem = f"mien-{time.strftime('%Y%m%d-%H%M%S')}"
        path, number = self.folder / f"{stem}.{suffix}", 1
        while path.exists():
            number += 1
            path = self.folder / f"{stem}-{number}.{suffix}"
        return path


@contextmanager
def _on_termination(end: Callable[[], None]) -> Iterator[None]:
    """Call a function where a signal would end the program; in the main thread only.

    What handles or ignores these signals already, such as nohup, goes on doing so.
    """
    numbers = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")]
    main = threading.current_thread() is threading.main_thread()
    caught = [n for n in numbers if main and n and signal.getsignal(n) is signal.SIG_DFL]
    for number in caught:
        signal.signal(number, lambda *of_signal: end())
    try:
        yield
    finally:
        for number in caught:
            signal.signal(number, signal.SIG_DFL)


def _mirrored(face: Face, width: int) -> Face:
    box = face.box
    return replace(face, box=box._replace(x=width - box.x - box.width))
