"""Following faces through a video: the same number for the same face, and readings that hold still.

Faces are looked for every so often; in between, optical flow carries their boxes along. Every frame
is read, and each face's readings are steadied over time (see `steady`). Knows nothing of files,
cameras or windows.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mien.detect import Detector, careful
from mien.images import checked_pixels
from mien.records import Box, Detection, Face, Point
from mien.video.looks import Look, likeness, look_of
from mien.video.motion import Glance, follow, glance, is_cut
from mien.video.steady import Steady

__all__ = ["DETECT_EVERY", "LIVE_SHARE", "REMEMBER", "REST_AT_MOST", "Reader", "Tracker"]

DETECT_EVERY: Final = 0.2
"""Seconds from one search for faces to the next."""

REMEMBER: Final = 2.0
"""Seconds after which a face that is gone is forgotten."""

LIVE_SHARE: Final = 0.4
"""Of the time, for the search in live pictures; the rest is for reading and showing them."""

REST_AT_MOST: Final = 1.0
"""Seconds that a slow search for faces may be put off."""

_HOLD: Final = 0.65
"""Seconds that flow may carry a face that the detector does not see any more."""

_OVERLAP: Final = 0.25
"""Intersection over union from which a detection may be the face that was followed there."""

_HIDING: Final = 0.1
"""Intersection over union from which one face is taken to stand before another."""

_ALIKE: Final = 0.4
_ALIKE_AFAR: Final = 0.5
"""Likeness from which a detection may be a face that was out of sight, near where it should be and
anywhere else."""

_SOMEWHAT_ALIKE: Final = 0.2
"""Likeness from which a detection may be the face that the flow has just lost in this place."""

_NEAR: Final = 1.5
"""Sides of the box."""

_REST: Final = 0.35
_JUMP: Final = 0.12
"""A detection this far off, as a share of the side, is believed at once; a nearer one to the share
`_REST` only, because a detector's boxes tremble."""


class Reader(Protocol):
    """What a tracker needs of a recogniser."""

    @property
    def detector(self) -> Detector:
        """Finds faces."""

    def read(self, image: NDArray[np.uint8], detections: Sequence[Detection]) -> tuple[Face, ...]:
        """Name the emotions of faces that are found already."""


_State = Literal["seen", "lost", "covered", "gone"]
"""In sight; lost by the flow in this very frame; behind another face; out of sight."""


@dataclass(slots=True, eq=False)
class _Track:
    number: int
    found: Detection  # where the face is now, or was last seen
    look: Look
    time_s: float  # of the last detection
    confirmed: Box  # as that detection left it
    velocity: Point = (0.0, 0.0)  # pixels a second
    hits: int = 1
    state: _State = "seen"
    steady: Steady = field(default_factory=Steady)

    @property
    def visible(self) -> bool:
        return self.state in {"seen", "lost"}

    def expected(self, time_s: float) -> Box:
        """Where the face should be: where flow carried it, or on its way behind what hides it."""
        if self.visible:
            return self.found.box
        seconds = time_s - self.time_s
        x, y, width, height = self.confirmed
        return Box(x + self.velocity[0] * seconds, y + self.velocity[1] * seconds, width, height)


class Tracker:
    """Follows the faces of one video or camera.

    A tracker remembers: use one for each stream, from one thread at a time. Many trackers may
    share one recogniser and run in threads of their own.

    Args:
        recogniser: finds and reads faces.
        detect_every_s: seconds from one search for faces to the next. A cut, and a face lost from
            sight, are followed by a search at once.
        remember_s: seconds after which a face that is gone is forgotten. One that comes back
            earlier and looks the same gets its number back.
        most_share: for live pictures, the share of the time that the search for faces may take,
            0..1: where it is slow, it is done less often, but at least every `REST_AT_MOST`
            seconds. None does it when it is due, so that what comes out of a file does not depend
            on the machine.
    """

    def __init__(
        self,
        recogniser: Reader,
        *,
        detect_every_s: float = DETECT_EVERY,
        remember_s: float = REMEMBER,
        most_share: float | None = None,
    ) -> None:
        self._reader = recogniser
        self._detect_every = detect_every_s
        self._most_share = most_share
        self._detect_took = 0.0
        self._remember = remember_s
        self._tracks: list[_Track] = []
        self._last: Glance | None = None
        self._time = 0.0
        self._gap = 0.0
        self._detected_at = 0.0
        self._given = 0

    def update(self, image: NDArray[np.uint8], time_s: float) -> tuple[Face, ...]:
        """Return the faces of the next frame, left to right, each with its number.

        Args:
            image: RGB (H, W, 3) or grey (H, W), uint8, upright.
            time_s: seconds since any fixed moment. Time that runs backwards, or stands still for
                longer than ``remember_s`` and twice as long as before, begins a new scene: everyone
                is forgotten.

        Raises:
            ImageError: the array has another shape or type.
        """
        image = checked_pixels(image)
        now, before = glance(image), self._last
        gap = 0.0 if before is None else time_s - self._time
        # Of a film with few frames a minute, each comes after a long time.
        if not 0 <= gap <= max(self._remember, 2 * self._gap):
            self._tracks, before = [], None
        self._last, self._time, self._gap = now, time_s, max(gap, 0.0)
        lost = self._moved(before, now, image.shape)
        if before is None or self._is_due(time_s, self._detect_every if not lost else 0.0):
            started = time.perf_counter()
            found = list(careful(self._reader.detector)(image))
            self._detect_took = time.perf_counter() - started
            self._detected_at = time_s
            self._match(image, found, time_s)
        # Who is in sight is not gone, however long ago the last search was.
        self._tracks = [t for t in self._tracks if t.visible or time_s - t.time_s <= self._remember]
        shown = sorted((t for t in self._tracks if t.visible), key=lambda t: t.found.box.x)
        faces = self._reader.read(image, [track.found for track in shown])
        return tuple(
            _steadied(track, face, time_s) for track, face in zip(shown, faces, strict=True)
        )

    def _is_due(self, time_s: float, every: float) -> bool:
        if self._most_share is not None:
            every = max(every, min(self._detect_took / self._most_share, REST_AT_MOST))
        return time_s - self._detected_at >= every - 1e-6

    def _moved(self, before: Glance | None, now: Glance, shape: tuple[int, ...]) -> bool:
        """Carry the visible faces along; whether they must be looked for at once."""
        if before is None:
            return True
        if is_cut(before, now):
            for track in self._tracks:
                track.state, track.velocity = "gone", (0.0, 0.0)
            return True
        # What was taken whole stays whole.
        moving = [t for t in self._tracks if t.visible and t.found.score is not None]
        places = follow(before, now, [track.found.box for track in moving])
        for track, place in zip(moving, places, strict=True):
            if place is None or not _middle_within(place, shape):
                track.state = "lost"
            else:
                track.found = _carried(track.found, place)
        return any(track.state == "lost" for track in moving)

    def _match(
        self, image: NDArray[np.uint8], detections: Sequence[Detection], time_s: float
    ) -> None:
        """Give each detection to the face that it most probably is, or to a new one."""
        looks = [look_of(image, detection.box) for detection in detections]
        pairs = sorted(
            (
                (_agreement(track, detection, look, time_s), t, d)
                for t, track in enumerate(self._tracks)
                for d, (detection, look) in enumerate(zip(detections, looks, strict=True))
            ),
            reverse=True,
        )
        owner: dict[int, _Track] = {}
        matched: set[int] = set()
        for agreement, t, d in pairs:
            if agreement > 0 and t not in matched and d not in owner:
                matched.add(t)
                owner[d] = self._tracks[t]
        self._miss([t for i, t in enumerate(self._tracks) if i not in matched], owner, time_s)
        for d, (detection, look) in enumerate(zip(detections, looks, strict=True)):
            others = [other.box for o, other in enumerate(detections) if o != d]
            alone = all(detection.box.overlap(other) < _HIDING for other in others)
            if d in owner:
                _confirm(owner[d], detection, look if alone else None, time_s)
            else:
                self._given += 1
                new = _Track(self._given, detection, look, time_s, detection.box)
                self._tracks.append(new)

    def _miss(self, missed: Sequence[_Track], owner: dict[int, _Track], time_s: float) -> None:
        """Hide faces that the detector does not see, unless it only blinked."""
        seen = list(owner.values())
        for track in (track for track in missed if track.visible):
            box = track.found.box
            if any(box.overlap(other.found.box) > _HIDING for other in seen):
                track.state = "covered"
            elif track.state == "lost" or time_s - track.time_s > _HOLD:
                track.state = "gone"
        # What was seen once and never again was no face.
        gone = [track for track in missed if track.hits == 1]
        self._tracks = [track for track in self._tracks if track not in gone]


def _agreement(track: _Track, detection: Detection, look: Look, time_s: float) -> float:
    """How well a detection fits a track: above 0 where it may be the same face."""
    expected, found = track.expected(time_s), detection.box
    overlap, alike = expected.overlap(found), likeness(track.look, look)
    if overlap >= _OVERLAP:
        if track.state == "seen" or (track.state == "lost" and alike > _SOMEWHAT_ALIKE):
            return 2 + overlap + alike
        if track.state == "covered":
            # Whoever comes out from behind another is at first half covered: looks say little.
            return 1 + overlap
    apart = float(np.hypot(*np.subtract(found.middle, expected.middle))) / _side(expected)
    if alike < (_ALIKE if apart < _NEAR else _ALIKE_AFAR):
        return 0.0
    return alike + 1 / (1 + apart)


def _confirm(track: _Track, detection: Detection, look: Look | None, time_s: float) -> None:
    """Take in a detection; ``look`` is None where somebody else may be in the picture."""
    if not track.visible:
        track.steady = Steady()
    elif detection.score is not None:
        detection = _blended(track.found, detection)
    box = detection.box
    seconds = time_s - track.time_s
    if seconds > 0:
        speed = np.subtract(box.middle, track.confirmed.middle) / seconds
        x, y = (np.asarray(track.velocity) + speed) / 2
        track.velocity = (float(x), float(y))
    if look is not None:
        track.look = track.look + 0.3 * (look - track.look)
    track.found = detection
    track.time_s, track.confirmed = time_s, box
    track.hits += 1
    track.state = "seen"


def _blended(old: Detection, new: Detection) -> Detection:
    """Return a detection between where a face was followed to and where it was found."""
    apart = np.subtract(new.box, old.box)
    share = float(np.clip(np.abs(apart).max() / (_JUMP * _side(new.box)), _REST, 1.0))
    box = Box(*(np.asarray(old.box) + share * apart).tolist())
    new, old = _carried(new, box), _carried(old, box)
    if new.eyes is None or old.eyes is None:
        return new
    before = np.asarray(old.eyes)
    left, right = (before + share * (np.asarray(new.eyes) - before)).tolist()
    return replace(new, eyes=((left[0], left[1]), (right[0], right[1])))


def _carried(found: Detection, box: Box) -> Detection:
    """Return a detection moved to another box, its eyes with it."""
    if found.eyes is None:
        return replace(found, box=box)
    x, y, width, height = found.box
    left, right = (
        (box.x + (eye[0] - x) / width * box.width, box.y + (eye[1] - y) / height * box.height)
        for eye in found.eyes
    )
    return replace(found, box=box, eyes=(left, right))


def _steadied(track: _Track, face: Face, time_s: float) -> Face:
    labels = list(face.probabilities)
    mean, named = track.steady.update(time_s, np.array(list(face.probabilities.values())))
    return replace(
        face,
        emotion=labels[named],
        confidence=float(mean[named]),
        probabilities=dict(zip(labels, mean.tolist(), strict=True)),
        track=track.number,
    )


def _side(box: Box) -> float:
    return max(box.width, box.height, 1.0)


def _middle_within(box: Box, shape: tuple[int, ...]) -> bool:
    x, y = box.middle
    return 0 <= x < shape[1] and 0 <= y < shape[0]
