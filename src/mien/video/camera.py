"""A camera, file or address read in a thread of its own: whoever asks gets the newest frame.

What is slow therefore falls behind in frames, never in time. A camera that is missing, busy or
pulled out is tried again, ever less often. Knows nothing of faces or windows.
"""

import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import VideoError
from mien.video.files import Video, is_address, is_camera

__all__ = ["BACKOFF", "Camera", "Shot"]

BACKOFF: Final = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each new try; then a camera that never worked is given up."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame of a camera.

    Attributes:
        number: from 1; numbers are missing where frames were left out.
        time_s: when it was taken, seconds of a clock that never runs backwards.
        pixels: RGB (H, W, 3), uint8.
    """

    number: int
    time_s: float
    pixels: NDArray[np.uint8]


class Camera:
    """The newest frame of a source: a context manager that always ends its thread.

    A film, in a file or at an address, is played at its own pace and ends; a camera or a stream
    does not. Safe to ask from several threads.

    Args:
        source: a camera's number or device, a file or an address.
        patient: whether a camera that has worked before is tried again for ever, or given up like
            one that never worked.
        backoff: seconds before each new try.

    Attributes:
        name: what is read.
        is_file: whether it is neither a camera nor an address.
    """

    def __init__(
        self,
        source: str | int,
        *,
        patient: bool = False,
        backoff: tuple[float, ...] = BACKOFF,
    ) -> None:
        self.name = f"camera {source}" if isinstance(source, int) else source
        self.is_file = not is_camera(source) and not is_address(self.name)
        self._source = source
        self._patient = patient
        self._backoff = backoff
        self._news = threading.Condition()
        self._stop = threading.Event()
        self._newest: Shot | None = None
        self._problem: str | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)

    def __enter__(self) -> Self:
        if sys.platform == "darwin" and is_camera(self._source):
            # macOS asks whether a program may use the camera in its main thread only.
            with suppress(VideoError):
                Video(self._source).close()
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        # A driver that hangs in a read must not hang the program: the thread is a daemon.
        self._thread.join(timeout=2.0)

    @property
    def problem(self) -> str | None:
        """What keeps frames from coming right now, or None."""
        with self._news:
            return self._problem

    @property
    def ended(self) -> bool:
        """Whether no more frames will come: a film is over, or a camera was given up."""
        with self._news:
            return self._ended

    def newest(self, *, after: int = 0, timeout_s: float = 0.1) -> Shot | None:
        """Return the newest frame with a number above ``after``, or None if none comes in time."""
        with self._news:
            self._news.wait_for(lambda: self._is_newer(after) or self._ended, timeout_s)
            return self._newest if self._is_newer(after) else None

    def _is_newer(self, after: int) -> bool:
        return self._newest is not None and self._newest.number > after

    def _run(self) -> None:
        tries = 0
        while not self._stop.is_set():
            before = self._newest
            over, problem = self._play()
            worked = self._newest is not before
            tries = 0 if worked else tries + 1
            give_up = tries > len(self._backoff) and not (self._patient and self._newest)
            with self._news:
                self._problem = problem
                self._ended = over or give_up
                self._news.notify_all()
            if self._ended:
                return
            self._stop.wait(self._backoff[min(max(0, tries - 1), len(self._backoff) - 1)])

    def _play(self) -> tuple[bool, str | None]:
        """Publish frames until the source ends.

        Returns:
            Whether it is not to be tried again, and what went wrong, None where nothing did.
        """
        is_film = self.is_file
        try:
            with Video(self._source) as video:
                # Of streams nobody knows how long they are.
                is_film |= is_address(self.name) and video.expected_frames > 0
                began = time.monotonic()
                for frame in video:
                    if is_film:
                        self._stop.wait(max(0.0, began + frame.time_s - time.monotonic()))
                    if self._stop.is_set():
                        return is_film, None
                    self._publish(frame.pixels)
                if is_film:
                    return True, video.ends_early
                return False, f"{self.name}: no more frames come; was it unplugged?"
        except VideoError as error:
            return is_film, str(error)
        except (OSError, cv2.error) as error:
            # Whoever waits for a frame would wait for ever if the thread just died.
            return is_film, f"{self.name}: cannot be read: {' '.join(str(error).split())}"

    def _publish(self, pixels: NDArray[np.uint8]) -> None:
        with self._news:
            number = self._newest.number + 1 if self._newest else 1
            self._newest = Shot(number, time.monotonic(), pixels)
            self._problem = None
            self._news.notify_all()
