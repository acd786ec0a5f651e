"""Tests of following faces, on films of drawn people whose places are known."""

import math
import threading
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest

from filmed import Actor, FixedReader, Pixels, Shot, TrueDetector, film
from mien.records import Box, Detection, Face
from mien.video.looks import likeness, look_of
from mien.video.motion import follow, glance, is_cut
from mien.video.track import Tracker


def _iou(a: Box, b: Box) -> float:
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    shared = max(0.0, width) * max(0.0, height)
    return shared / (a.width * a.height + b.width * b.height - shared)


class Run:
    """A tracker on a film: who bore which number when, and how well the boxes lay."""

    def __init__(self, shots: Sequence[Shot], *, tremble: float = 0.03) -> None:
        self.detector = TrueDetector(tremble=tremble)
        tracker = Tracker(FixedReader(self.detector))
        self.numbers: dict[int, list[int]] = {}
        self.fits: list[float] = []
        self.extra = 0
        for shot in shots:
            self.detector.shot = shot
            faces = tracker.update(shot.pixels, shot.time_s)
            assert [f.box.x for f in faces] == sorted(f.box.x for f in faces)
            self._note(shot, faces)

    def _note(self, shot: Shot, faces: tuple[Face, ...]) -> None:
        taken = set()
        for index, box in sorted(shot.faces.items(), reverse=True):
            free = [face for face in faces if face.track not in taken]
            best = max(free, key=lambda face: _iou(face.box, box), default=None)
            if best is not None and _iou(best.box, box) > 0.3 and best.track is not None:
                taken.add(best.track)
                self.fits.append(_iou(best.box, box))
                self.numbers.setdefault(index, []).append(best.track)
        self.extra += len(faces) - len(taken)


@pytest.mark.parametrize("fps", [10, 30])
def test_a_moving_face_keeps_its_number_and_box(fps: int) -> None:
    wander = Actor(3, lambda t: (0.5 + 0.3 * math.sin(2.5 * t), 0.5 + 0.1 * math.cos(3 * t)))
    run = Run(list(film([wander], seconds=4, fps=fps)))
    assert set(run.numbers[0]) == {1}
    assert len(run.fits) == 4 * fps, "it is never lost"
    assert np.mean(run.fits) > 0.85
    assert run.extra == 0
    assert run.detector.calls == pytest.approx(20, abs=2), "every 0.2 s, whatever the frame rate"


def test_three_faces_have_three_numbers() -> None:
    cast = [
        Actor(3, lambda t: (0.2 + 0.1 * math.sin(t), 0.5), 0.25),
        Actor(8, lambda t: (0.5 + 0.1 * math.sin(2 * t), 0.4), 0.25),
        Actor(11, lambda t: (0.8, 0.5 + 0.1 * math.sin(3 * t)), 0.3),
    ]
    run = Run(list(film(cast, seconds=3, fps=15)))
    assert [set(run.numbers[index]) for index in range(3)] == [{1}, {2}, {3}]


@pytest.mark.parametrize("seeds", [(3, 8), (0, 20), (5, 25)], ids=str)
def test_crossing_faces_keep_their_numbers(seeds: tuple[int, int]) -> None:
    behind = Actor(seeds[0], lambda t: (0.1 + 0.2 * t, 0.5))
    before = Actor(seeds[1], lambda t: (0.9 - 0.2 * t, 0.52))
    run = Run(list(film([behind, before], seconds=4, fps=15, size=(480, 360))))
    assert set(run.numbers[1]) == {run.numbers[1][0]}
    assert run.numbers[0][0] == run.numbers[0][-1] != run.numbers[1][0]


@pytest.mark.parametrize(("away", "same"), [(1.0, True), (3.0, False)], ids=["1-s", "3-s"])
def test_a_face_that_comes_back_soon_gets_its_number_back(away: float, same: bool) -> None:
    still = Actor(3, lambda t: (0.3, 0.5))
    blinks = Actor(8, lambda t: (0.7, 0.5) if t < 1 or t > 1 + away else None)
    run = Run(list(film([still, blinks], seconds=away + 2, fps=10)))
    assert set(run.numbers[0]) == {1}
    assert (run.numbers[1][-1] == 2) is same


def test_somebody_else_in_the_same_place_gets_a_new_number() -> None:
    first = Actor(3, lambda t: (0.5, 0.5) if t < 1.5 else None)
    second = Actor(8, lambda t: (0.5, 0.5) if t >= 1.5 else None)
    run = Run(list(film([first, second], seconds=3, fps=15)))
    assert (set(run.numbers[0]), set(run.numbers[1])) == ({1}, {2})


def test_a_cut_gives_new_people_new_numbers_and_looks_at_once() -> None:
    one = list(film([Actor(3, lambda t: (0.5, 0.5))], seconds=1.05, fps=20, seed=1))
    two = list(film([Actor(8, lambda t: (0.5, 0.5))], seconds=1, fps=20, seed=2))
    assert is_cut(glance(one[-1].pixels), glance(two[0].pixels))
    later = [replace(shot, time_s=shot.time_s + 1.05) for shot in two]
    before = Run(one).detector.calls
    run = Run([*one, *later[:1]])
    assert run.detector.calls == before + 1, "on the very frame after the cut"
    assert Run([*one, *later]).numbers[0][-1] == 2


def test_light_that_is_switched_on_is_no_cut() -> None:
    shots = list(film([Actor(3, lambda t: (0.5, 0.5))], seconds=2, fps=10))
    dim = [
        replace(shot, pixels=(shot.pixels * 0.5).astype(np.uint8)) if shot.time_s < 1 else shot
        for shot in shots
    ]
    assert not is_cut(glance(dim[9].pixels), glance(dim[10].pixels))
    assert set(Run(dim).numbers[0]) == {1}


@pytest.mark.parametrize("next_time", [0.0, 99.0], ids=["back", "far-ahead"])
def test_time_that_jumps_begins_anew(next_time: float) -> None:
    (shot,) = film([Actor(3, lambda t: (0.5, 0.5))], seconds=1, fps=1)
    detector = TrueDetector()
    detector.shot = shot
    tracker = Tracker(FixedReader(detector))
    assert [f.track for f in tracker.update(shot.pixels, 5.0)] == [1]
    assert [f.track for f in tracker.update(shot.pixels, 5.1)] == [1]
    assert [f.track for f in tracker.update(shot.pixels, next_time)] == [2]


def test_a_false_alarm_does_not_stay() -> None:
    class Once(TrueDetector):
        def __call__(self, image: Pixels) -> list[Detection]:
            found = super().__call__(image)
            ghost = Detection(Box(10, 10, 60, 60), 0.6)
            return [ghost, *found] if self.calls == 3 else found

    detector = Once()
    tracker = Tracker(FixedReader(detector))
    shown = []
    for shot in film([Actor(3, lambda t: (0.6, 0.5))], seconds=2, fps=20):
        detector.shot = shot
        shown.append(len(tracker.update(shot.pixels, shot.time_s)))
    assert 1 <= shown.count(2) <= 4, "at most until the detector looks again, 0.2 s later"
    assert shown[-1] == 1


def test_what_is_taken_whole_stays_whole_and_steady() -> None:
    class Whole:
        def __call__(self, image: Pixels) -> list[Detection]:
            return [Detection(Box(0, 0, 320, 240), None)]

    class Flickering(FixedReader):
        def read(self, image: Pixels, detections: Sequence[Detection]) -> tuple[Face, ...]:
            return tuple(
                replace(face, probabilities={"neutral": 0.45, "happiness": 0.55})
                if self.turn() % 2
                else replace(face, probabilities={"neutral": 0.55, "happiness": 0.45})
                for face in super().read(image, detections)
            )

        def turn(self) -> int:
            self.count = getattr(self, "count", 0) + 1
            return self.count

    reader = Flickering(TrueDetector())
    reader.detector = Whole()  # type: ignore[assignment]
    tracker = Tracker(reader)
    names = set()
    for shot in film([Actor(3, lambda t: (0.3 + 0.1 * t, 0.5))], seconds=2, fps=20):
        (face,) = tracker.update(shot.pixels, shot.time_s)
        assert (face.box, face.track) == (Box(0, 0, 320, 240), 1)
        assert face.confidence == face.probabilities[face.emotion]
        names.add(face.emotion)
    assert len(names) == 1


def test_eyes_travel_with_the_box_and_tremble_less_than_found() -> None:
    class WithEyes(TrueDetector):
        def __call__(self, image: Pixels) -> list[Detection]:
            return [
                replace(d, eyes=((d.box.x + 20, d.box.y + 30), (d.box.x + 50, d.box.y + 30)))
                for d in super().__call__(image)
            ]

    class Remembering(FixedReader):
        seen: list[Detection]

        def read(self, image: Pixels, detections: Sequence[Detection]) -> tuple[Face, ...]:
            self.seen = list(detections)
            return super().read(image, detections)

    reader = Remembering(WithEyes(tremble=0.02))
    tracker = Tracker(reader)
    boxes = []
    for shot in film([Actor(3, lambda t: (0.5, 0.5))], seconds=4, fps=10):
        reader.detector.shot = shot
        tracker.update(shot.pixels, shot.time_s)
        (found,) = reader.seen
        assert found.eyes is not None
        assert found.eyes[0][0] - found.box.x == pytest.approx(20, abs=2)
        boxes.append(found.box.x)
    assert np.std(boxes[5:]) < 0.7 * 0.02 * found.box.width


def test_frames_of_other_sizes_and_grey_ones_do_not_stop_it() -> None:
    detector = TrueDetector()
    tracker = Tracker(FixedReader(detector))
    (shot,) = film([Actor(3, lambda t: (0.5, 0.5))], seconds=1, fps=1)
    grey = shot.pixels.mean(axis=2).astype(np.uint8)
    for number, pixels in enumerate((shot.pixels, grey, shot.pixels[:200, :300], grey[:8, :8])):
        detector.shot = replace(shot, pixels=pixels)
        tracker.update(pixels, number * 0.05)


def test_trackers_share_a_recogniser_across_threads() -> None:
    class Shared(FixedReader):
        def __init__(self) -> None:
            self.detector = self.find  # type: ignore[assignment]

        def find(self, image: Pixels) -> list[Detection]:
            return [Detection(Box(float(image[0, 0, 0]), 20, 60, 60), 0.9)]

    reader, problems = Shared(), []

    def watch(place: int) -> None:
        tracker = Tracker(reader)
        pixels = np.random.default_rng(place).integers(0, 256, (120, 160, 3), dtype=np.uint8)
        pixels[0, 0] = place
        for frame in range(60):
            faces = tracker.update(pixels, frame / 30)
            if [(f.track, round(f.box.x)) for f in faces] != [(1, place)]:
                problems.append((place, frame, faces))

    threads = [threading.Thread(target=watch, args=(10 * n,)) for n in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_flow_follows_shift_and_growth() -> None:
    (shot,) = film([Actor(3, lambda t: (0.5, 0.5))], seconds=1, fps=1)
    box = shot.faces[0]
    moved = cv2.warpAffine(shot.pixels, np.array([[1.1, 0, 4], [0, 1.1, -12.0]]), (320, 240))
    (found,) = follow(glance(shot.pixels), glance(np.asarray(moved, np.uint8)), [box])
    assert found is not None
    expected = (1.1 * box.x + 4, 1.1 * box.y - 12, 1.1 * box.width, 1.1 * box.height)
    assert found == pytest.approx(expected, abs=0.03 * box.width)


def test_flow_says_where_it_lost_a_box() -> None:
    (shot,) = film([Actor(3, lambda t: (0.5, 0.5))], seconds=1, fps=1)
    noise = np.random.default_rng(0).integers(0, 256, shot.pixels.shape, dtype=np.uint8)
    assert follow(glance(shot.pixels), glance(noise), [shot.faces[0]]) == [None]
    assert follow(glance(shot.pixels), glance(noise), []) == []


def test_likeness_knows_the_same_person_with_another_expression() -> None:
    def looks(emotion: str, jump: float) -> list[np.ndarray]:
        shots = [
            next(film([Actor(s, lambda t: (0.5 + jump, 0.5), 0.4, emotion)], seconds=1, fps=1))
            for s in range(12)
        ]
        return [look_of(shot.pixels, shot.faces[0]) for shot in shots]

    neutral, happy = looks("neutral", 0.0), looks("happiness", 0.01)
    same = [likeness(a, b) for a, b in zip(neutral, happy, strict=True)]
    others = [likeness(a, b) for i, a in enumerate(neutral) for b in happy[:i]]
    assert np.median(same) > 0.5
    assert np.median(others) < 0.3


def test_a_film_of_few_frames_is_of_one_scene() -> None:
    """Where each comes seconds after the one before, only the first of these is a surprise."""
    still = Actor(3, lambda t: (0.5, 0.5))
    (shot,) = film([still], seconds=1, fps=1)
    times = (0, 5, 10, 15, 21, 33)
    run = Run([replace(shot, time_s=float(time_s)) for time_s in times])
    assert run.numbers[0] == [1, 2, 2, 2, 2, 2]


def test_a_face_in_sight_is_kept_however_seldom_it_is_looked_for() -> None:
    detector = TrueDetector()
    tracker = Tracker(FixedReader(detector), detect_every_s=4)
    for shot in film([Actor(3, lambda t: (0.5, 0.5))], seconds=6, fps=5):
        detector.shot = shot
        assert [f.track for f in tracker.update(shot.pixels, shot.time_s)] == [1], shot.time_s
