"""What a video showed, summed up: who was seen when, and how the emotions went.

Memory stays flat however long the video is: time is kept in at most `MAX_BINS` bins, and when they
are full, each two become one; of more than `MAX_PEOPLE`, those shortest in sight are only counted.
Whoever was gone when faces were looked for again is left out, as a detector's false alarms are.
Draws nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.preprocess import InputSpec, face_crop
from mien.records import Face, Prediction
from mien.video.track import DETECT_EVERY

__all__ = ["Person", "Timeline", "clock", "moment", "ticks"]

MAX_BINS: Final = 1024
MAX_PEOPLE: Final = 500
_MAY_RETURN: Final = 10.0
"""Seconds, well above what trackers remember, after which no face comes back with its number."""

_FIRST_BIN: Final = 0.05
_LONGEST_FRAME: Final = 1.0
"""Seconds that one frame stands for at most."""

_BREAK: Final = 10.0
"""Seconds without a frame that are no film's."""

_TOLERANCE: Final = 1e-3
"""Seconds: time stamps are rounded."""

_TICKS: Final = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
_MOST_TICKS: Final = 9

_PORTRAIT: Final = InputSpec(size=96, channels=3, margin=0.15)


@dataclass(slots=True)
class Person:
    """One face of a video.

    Attributes:
        number: the face's track.
        first_s: when it was first seen, seconds.
        last_s: when it was last seen.
        seconds: how long each emotion was named.
        portrait: the clearest view of it, RGB (96, 96, 3), uint8.
    """

    number: int
    first_s: float
    last_s: float
    portrait: NDArray[np.uint8]
    seconds: dict[str, float] = field(default_factory=dict)
    clarity: float = 0.0
    bins: dict[int, tuple[NDArray[np.float64], int]] = field(default_factory=dict)

    @property
    def seen_s(self) -> float:
        """How long the face was in sight, seconds."""
        return sum(self.seconds.values())

    def shares(self) -> dict[str, float]:
        """Return the share of the time in sight of each named emotion, the largest first."""
        ranked = sorted(self.seconds.items(), key=lambda item: -item[1])
        return {emotion: seconds / self.seen_s for emotion, seconds in ranked}


class Timeline:
    """Gathers the frames of one video.

    Attributes:
        source: the video's name.
        frames: how many were added.
        duration_s: from the first to the end of the last.
        labels: the emotions that the model knows; empty until a face was found.
        dropped: how many faces are counted only, because others were longer in sight.
        bin_s: over so many seconds probabilities are averaged; it grows with the video.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.frames = 0
        self.duration_s = 0.0
        self.labels: tuple[str, ...] = ()
        self.dropped = 0
        self.bin_s = _FIRST_BIN
        self._people: dict[int, Person] = {}
        self._with_frames: set[int] = set()  # bins
        self._last_s: float | None = None

    def add(self, prediction: Prediction, pixels: NDArray[np.uint8]) -> None:
        """Take in the next frame, and the pixels it was read from."""
        now = prediction.time_s
        lasted = 0.0 if self._last_s is None else min(now - self._last_s, _LONGEST_FRAME)
        self._last_s = now
        self.frames += 1
        self.duration_s = now + lasted
        while now / self.bin_s >= MAX_BINS:
            self._halve()
        self._with_frames.add(int(now / self.bin_s))
        for face in prediction.faces:
            if face.track is not None:
                self._note(face, face.track, now, lasted, pixels)

    @property
    def faces(self) -> int:
        """How many faces were seen, those dropped among them."""
        return len(self.people()) + self.dropped

    def people(self) -> list[Person]:
        """Return everyone who is kept, those longest in sight first."""
        return [person for person in self._ranked() if self._was_there(person)]

    def series(self, person: Person) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the times, (n,), seconds, and the mean probabilities, (n, labels), of a face.

        A reading stands until the next one; where the face was out of sight stands one row of NaN.
        """
        empty = np.full(len(self.labels), np.nan)
        times: list[float] = []
        rows: list[NDArray[np.float64]] = []
        before: int | None = None
        usual_s = self.duration_s / max(self.frames, 1)
        lasts = max(usual_s, self.bin_s)

        def end(at: float) -> None:
            times.append(min(at, max(self.duration_s, _TOLERANCE)))
            rows.append(rows[-1])

        for index in sorted(person.bins):
            if before is not None and self._away(before, index):
                end(times[-1] + lasts)
                times.append(times[-1])
                rows.append(empty)
            total, count = person.bins[index]
            times.append(index * self.bin_s)
            rows.append(total / count)
            before = index
        if rows:
            end(max(times[-1] + lasts, person.last_s + usual_s))
        return np.array(times), np.array(rows).reshape(len(rows), len(self.labels))

    def _away(self, before: int, index: int) -> bool:
        """Whether a face that is in two bins, and in none between, was out of sight there.

        That is where frames lack it for more than a quarter second; a low or varying rate leaves
        bins empty. Of long breaks, as of a stream, nobody knows.
        """
        between = range(before + 1, index)
        if len(between) * self.bin_s > max(_BREAK, 3 * self.duration_s / self.frames):
            return True
        shortest = max(2, round(0.25 / self.bin_s) + 1)
        return len(between) >= shortest and not self._with_frames.isdisjoint(between)

    def _note(
        self, face: Face, number: int, now: float, lasted: float, pixels: NDArray[np.uint8]
    ) -> None:
        self.labels = self.labels or tuple(face.probabilities)
        clarity = (face.detection or 0.0) * face.box.width
        person = self._people.get(number)
        if person is None:
            portrait = face_crop(pixels, face.box, _PORTRAIT)
            person = self._people[number] = Person(number, now, now, portrait, clarity=clarity)
            self._drop_shortest(now)
        elif clarity > 1.2 * person.clarity:
            person.portrait, person.clarity = face_crop(pixels, face.box, _PORTRAIT), clarity
        person.last_s = now
        # Above 0, so that the very first frame counts for something, too.
        named = person.seconds.get(face.emotion, 0.0) + max(lasted, 1e-6)
        person.seconds[face.emotion] = named
        index = int(now / self.bin_s)
        total, count = person.bins.get(index, (np.zeros(len(self.labels)), 0))
        person.bins[index] = (total + _row(face.probabilities), count + 1)

    def _drop_shortest(self, now: float) -> None:
        excess = len(self._people) - MAX_PEOPLE
        if excess <= 0:
            return
        gone = [person for person in self._ranked() if now - person.last_s > _MAY_RETURN]
        for person in gone[-excess:]:
            del self._people[person.number]
            self.dropped += self._was_there(person)

    def _ranked(self) -> list[Person]:
        return sorted(self._people.values(), key=lambda person: (-person.seen_s, person.number))

    def _was_there(self, person: Person) -> bool:
        """Whether a search for faces may have confirmed somebody; in a film without one, always."""
        if self._last_s is None or self._last_s < DETECT_EVERY:
            return True
        return person.last_s - person.first_s >= DETECT_EVERY - _TOLERANCE

    def _halve(self) -> None:
        self.bin_s *= 2
        self._with_frames = {index // 2 for index in self._with_frames}
        for person in self._people.values():
            merged: dict[int, tuple[NDArray[np.float64], int]] = {}
            for index, (total, count) in person.bins.items():
                other, others = merged.get(index // 2, (np.zeros(len(self.labels)), 0))
                merged[index // 2] = (other + total, others + count)
            person.bins = merged


def _row(probabilities: Mapping[str, float]) -> NDArray[np.float64]:
    return np.array(list(probabilities.values()))


def clock(seconds: float) -> str:
    """Return seconds as people read them: 0:07, 12:30, 1:02:30."""
    whole = int(seconds + _TOLERANCE)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def moment(seconds: float, duration_s: float) -> str:
    """Return a moment of a duration as people read it: 2.5 s of a short one, else as a clock."""
    return f"{seconds:.3g} s" if duration_s < _MOST_TICKS else clock(seconds)


def ticks(duration_s: float) -> list[tuple[float, str]]:
    """Return at most ten round moments of a duration, seconds, and how they are written."""
    fitting = (step for step in _TICKS if duration_s / step <= _MOST_TICKS)
    step = next(fitting, duration_s / _MOST_TICKS)
    moments = [number * step for number in range(int(duration_s / step) + 1)]
    return [(s, moment(s, duration_s)) for s in moments]
