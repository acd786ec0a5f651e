"""Faces of one's own, taken by the webcam: an emotion is asked for, a key takes the picture.

What is kept of a frame is the face as recognition cuts it out, so that a network learns from what
it will be asked about. The window is passed in, so that everything runs without one, too.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.atomic import numbered
from mien.detect import Detector
from mien.errors import VideoError
from mien.images import write_image
from mien.preprocess import InputSpec, face_crop
from mien.records import Detection
from mien.termination import on_termination
from mien.video.camera import Camera, Shot
from mien.video.live import Surface
from mien.video.overlay import Notice, Overlay

__all__ = ["KEYS", "Collecting"]

KEYS: Final = {"space": "take it", "n": "next", "b": "back", "u": "undo", "q": "quit"}
_WAITING: Final = 0.1
_APART_S: Final = 0.4
"""Seconds between two pictures, however long a key is held: the next would be the same."""

_MESSAGE_S: Final = 2.0
_SIDES: Final = (48, 256)
_FRAME: Final = (92, 200, 218)
"""RGB."""


@dataclass(slots=True)
class Collecting:
    """Takes pictures of faces until there are enough of each emotion, or the user quits.

    Pictures of ``folder/EMOTION`` that are there already count. SIGINT (Ctrl-C), SIGTERM and SIGHUP
    end it as the user does.

    Args:
        camera: an open camera.
        surface: shows frames and takes keys.
        detector: finds faces; of several the largest counts.
        folder: where pictures go, ``EMOTION/TIME.png``, as ``mien data import folder`` takes them.
        emotions: in the order in which they are asked for.
        wanted: pictures of each.
        mirror: whether the picture is shown as in a mirror; it is never kept so.
        say: is told in a line what happens.
    """

    camera: Camera
    surface: Surface
    detector: Detector
    folder: Path
    emotions: Sequence[str]
    wanted: int
    mirror: bool = True
    say: Callable[[str], None] = lambda text: None
    _overlay: Overlay = field(default_factory=Overlay)
    _place: int = 0
    _shot: Shot | None = None
    _face: Detection | None = None
    _taken: list[Path] = field(default_factory=list)
    _taken_at: float = -math.inf
    _taken_of: int = 0
    _notice: Notice = field(default_factory=lambda: Notice(_MESSAGE_S))
    _stopped: bool = False

    def run(self) -> dict[str, int]:
        """Go on until the end; return how many pictures of each emotion there are.

        Raises:
            VideoError: the camera never gave a frame, or is gone for good.
        """
        self._go_on()
        with on_termination(self._stop):
            while not self._stopped:
                after = self._shot.number if self._shot else 0
                shot = self.camera.newest(after=after, timeout_s=_WAITING)
                if shot is not None:
                    faces = self.detector(shot.pixels)
                    self._shot = shot
                    self._face = max(faces, key=lambda face: face.box.area, default=None)
                elif self.camera.ended:
                    break
                key = self.surface.show(self._drawn())
                if key is not None:
                    self._obey(key.lower())
        if self.camera.ended and self.camera.problem:
            raise VideoError(self.camera.problem)
        return {emotion: self._count(emotion) for emotion in self.emotions}

    @property
    def _asked(self) -> str:
        return self.emotions[self._place]

    def _count(self, emotion: str) -> int:
        return sum(1 for _ in (self.folder / emotion).glob("*.png"))

    def _go_on(self) -> None:
        """Ask for the next emotion of which there are too few; end where there is none."""
        order = [*range(self._place, len(self.emotions)), *range(self._place)]
        few = [place for place in order if self._count(self.emotions[place]) < self.wanted]
        if few:
            self._place = few[0]
        else:
            self._stop()

    def _stop(self) -> None:
        self._stopped = True

    def _drawn(self) -> NDArray[np.uint8]:
        pixels = None
        if self._shot is not None:
            pixels = self._shot.pixels.copy()
            if self._face is not None:
                x, y, width, height = (round(side) for side in self._face.box)
                thickness = max(2, min(pixels.shape[:2]) // 160)
                cv2.rectangle(pixels, (x, y), (x + width, y + height), _FRAME, thickness)
            if self.mirror:
                pixels = np.ascontiguousarray(pixels[:, ::-1])
        waiting = "waiting for the camera"
        if pixels is not None:
            waiting = f"show {self._asked}, then press space"
        return self._overlay.draw(
            pixels,
            status=[self._asked, f"{self._count(self._asked)} of {self.wanted}"],
            message=self._notice.text or self.camera.problem or waiting,
            help_lines=[f"{key}: {action}" for key, action in KEYS.items()],
        )

    def _obey(self, key: str) -> None:
        try:
            match key:
                case "q" | "quit" | "\x1b":
                    self._stop()
                case " " if self._shot is not None and self._shot.number != self._taken_of:
                    self._taken_of = self._shot.number
                    self._take(self._shot.pixels)
                case "n" | "b":
                    step = 1 if key == "n" else -1
                    self._place = (self._place + step) % len(self.emotions)
                    self._notice.show("")
                case "u":
                    self._undo()
        except OSError as error:
            self._tell(f"{error.strerror or error}: {error.filename or self.folder}")

    def _take(self, pixels: NDArray[np.uint8]) -> None:
        face = self._face
        if time.monotonic() - self._taken_at < _APART_S:
            return
        if face is None:
            self._tell("no face found: more light, or nearer?")
            return
        least, most = _SIDES
        side = min(max(round(max(face.box.width, face.box.height)), least), most)
        crop = face_crop(pixels, face.box, InputSpec(size=side, channels=3), roll=face.roll)
        path = numbered(self.folder / self._asked / f"{time.strftime('%Y%m%d-%H%M%S')}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, crop)
        self._taken.append(path)
        self._taken_at = time.monotonic()
        count = self._count(self._asked)
        self._notice.show(f"{self._asked}: {count}")
        if count >= self.wanted:
            self._go_on()

    def _undo(self) -> None:
        if not self._taken:
            self._tell("nothing of this sitting to undo")
            return
        path = self._taken.pop()
        path.unlink(missing_ok=True)
        self._place = self.emotions.index(path.parent.name)
        self._tell(f"removed the last of {path.parent.name}")

    def _tell(self, text: str) -> None:
        self._notice.show(text)
        self.say(text)
