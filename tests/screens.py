"""In the place of cameras, screens and readers, for tests of what runs live."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from filmed import FixedReader, Pixels
from mien.records import Box, Detection
from mien.video.camera import Camera, Shot

__all__ = ["BOX", "Screen", "Scripted", "Seer"]

BOX = Box(40, 40, 100, 100)


class Seer(FixedReader):
    """Sees one face in the same place of every frame."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.detector = lambda image: [Detection(BOX, 0.9)]  # type: ignore[assignment]
        self.delay_s = delay_s

    def read(self, image, detections):  # type: ignore[no-untyped-def]
        time.sleep(self.delay_s)
        return super().read(image, detections)


@dataclass
class Screen:
    """Keeps what it is shown and presses keys: each at the frame of its number."""

    keys: dict[int, str] = field(default_factory=dict)
    frames: list[Pixels] = field(default_factory=list)

    def show(self, pixels: Pixels) -> str | None:
        self.frames.append(pixels)
        return self.keys.get(len(self.frames))


class Scripted(Camera):
    """Gives a frame for each time, and none for None, as if it were unplugged."""

    def __init__(self, times: Sequence[float | None]) -> None:
        super().__init__(0)
        self._times = times
        self._asked = 0

    def newest(self, *, after: int = 0, timeout_s: float = 0.1) -> Shot | None:
        self._asked += 1
        time_s = None if self.ended else self._times[self._asked - 1]
        if time_s is None:
            return None
        return Shot(self._asked, 5000 + time_s, np.zeros((48, 64, 3), np.uint8))

    @property
    def problem(self) -> str | None:
        return None if self.ended or self._times[self._asked - 1] is not None else "unplugged"

    @property
    def ended(self) -> bool:
        return self._asked > len(self._times)
