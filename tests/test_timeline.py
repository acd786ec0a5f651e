"""Tests of the summary of a video, its picture and its page."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image, ImageColor

from mien.annotate import PRINT_COLOURS
from mien.labels import EMOTIONS
from mien.records import Box, Face, Prediction
from mien.video.timeline import MAX_BINS, MAX_PEOPLE, Timeline, clock, ticks
from mien.video.timeline_page import MOST_PEOPLE, render_timeline
from mien.video.timeline_picture import save_timeline

PIXELS = np.full((100, 200, 3), 90, np.uint8)


def _face(track: int, emotion: str, score: float = 0.9) -> Face:
    row = dict.fromkeys(EMOTIONS, 0.02) | {emotion: 0.86}
    return Face(Box(20 * track, 20, 30, 30), score, emotion, 0.86, row, track)


def _timeline(name: str = "clip.mp4", fps: float = 10) -> Timeline:
    """Four seconds: face 1 is happy, then sad; face 2 is seen from 1 s to 2 s."""
    timeline = Timeline(name)
    for number in range(round(4 * fps)):
        now = number / fps
        faces = [_face(1, "happiness" if now < 3 else "sadness")]
        faces += [_face(2, "anger")] if 1 <= now < 2 else []
        timeline.add(Prediction(name, 200, 100, tuple(faces), frame=number, time_s=now), PIXELS)
    return timeline


@pytest.mark.parametrize("fps", [5, 10, 30])
def test_it_knows_who_was_seen_how_long_and_how(fps: float) -> None:
    timeline = _timeline(fps=fps)
    first, second = timeline.people()
    assert timeline.frames == 4 * fps
    assert timeline.duration_s == pytest.approx(4, abs=1e-6)
    assert (first.number, second.number) == (1, 2)
    assert first.shares() == pytest.approx({"happiness": 0.75, "sadness": 0.25}, abs=0.06)
    assert second.shares() == {"anger": 1.0}
    assert (second.first_s, second.last_s) == pytest.approx((1, 2), abs=1 / fps + 1e-6)
    assert second.seen_s == pytest.approx(1, abs=1 / fps)


@pytest.mark.parametrize("fps", [0.5, 2, 3])
def test_who_is_seen_in_every_frame_of_a_slow_film_is_not_out_of_sight(fps: float) -> None:
    timeline = Timeline("a")
    for number in range(40):
        now = number / fps
        timeline.add(Prediction("a", 1, 1, (_face(1, "fear"),), time_s=now), PIXELS)
    times, rows = timeline.series(timeline.people()[0])
    assert len(times) == 41
    assert times[-1] == timeline.duration_s, "the last frame stands until the end"
    assert not np.isnan(rows).any()


@pytest.mark.parametrize(("pause", "gaps"), [(0.6, 0), (1.9, 0), (30.0, 1)])
def test_who_is_in_every_frame_of_a_film_of_varying_rate_is_in_sight(
    pause: float, gaps: int
) -> None:
    timeline = Timeline("a")
    for now in (0.0, 0.1, 0.2, 0.3, 0.3 + pause, 0.4 + pause):
        timeline.add(Prediction("a", 1, 1, (_face(1, "fear"),), time_s=now), PIXELS)
    _, rows = timeline.series(timeline.people()[0])
    assert np.count_nonzero(np.isnan(rows).all(axis=1)) == gaps


def test_series_hold_the_probabilities_and_gaps() -> None:
    timeline = Timeline("a")
    for now in (0.0, 0.1, 0.2, 0.9, 2.0, 2.1):
        faces = () if now == 0.9 else (_face(1, "fear"),)
        timeline.add(Prediction("a", 1, 1, faces, time_s=now), PIXELS)
    (person,) = timeline.people()
    times, rows = timeline.series(person)
    gaps = np.isnan(rows).all(axis=1)
    assert np.count_nonzero(gaps) == 1
    assert 0.2 < times[gaps][0] < 2.0
    assert times[-1] == timeline.duration_s
    assert rows[~gaps][:, EMOTIONS.index("fear")] == pytest.approx(0.86)
    assert np.nansum(rows, axis=1)[~gaps] == pytest.approx(1.0)


def test_hours_take_no_more_memory_than_minutes() -> None:
    timeline = Timeline("long")
    for second in range(3 * 3600):
        emotion = "surprise" if second < 5400 else "neutral"
        prediction = Prediction("long", 1, 1, (_face(1, emotion),), time_s=float(second))
        timeline.add(prediction, PIXELS)
    (person,) = timeline.people()
    assert len(person.bins) <= MAX_BINS
    times, rows = timeline.series(person)
    assert not np.isnan(rows).any(), "a frame a second leaves no gaps"
    surprise = rows[:, EMOTIONS.index("surprise")]
    assert surprise[times < 5300] == pytest.approx(0.86)
    assert surprise[times > 5500] == pytest.approx(0.02)


def test_of_very_many_people_those_shortest_in_sight_are_only_counted() -> None:
    """One after another, each for 2 to 4 moments a second apart; the first stays throughout."""
    timeline = Timeline("street")
    now, seen = 0.0, dict[int, int]()
    for track in range(2, MAX_PEOPLE + 102):
        seen[track] = 2 + track % 3
        for _ in range(seen[track]):
            faces = (_face(1, "fear"), _face(track, "anger"))
            timeline.add(Prediction("street", 1, 1, faces, time_s=now), PIXELS)
            now += 1
    people = timeline.people()
    assert len(people) == MAX_PEOPLE
    assert (timeline.faces, timeline.dropped) == (MAX_PEOPLE + 101, 101)
    assert people[0].number == 1
    assert people[0].seen_s == pytest.approx(now - 1, abs=1e-3), "kept without a break"
    kept = {person.number for person in people[1:]}
    assert {track for track in seen if seen[track] > 2} <= kept
    assert {*seen} - kept <= {track for track in seen if seen[track] == 2}
    assert f"{MAX_PEOPLE + 101 - MOST_PEOPLE} more faces" in render_timeline(timeline)


def test_a_crowd_in_sight_is_kept_whole() -> None:
    timeline = Timeline("crowd")
    for now in (0.0, 1.0):
        faces = tuple(_face(track, "fear") for track in range(1, MAX_PEOPLE + 11))
        timeline.add(Prediction("crowd", 1, 1, faces, time_s=now), PIXELS)
    assert (timeline.faces, timeline.dropped) == (MAX_PEOPLE + 10, 0)


def test_false_alarms_are_nobody() -> None:
    """Each fourth search for faces finds one more, which the next one does not."""
    timeline = Timeline("a")
    for number in range(20 * 30):
        now, search = number / 30, number // 6
        faces = [_face(1, "fear"), *([_face(2 + search, "anger")] if search % 4 == 3 else [])]
        timeline.add(Prediction("a", 1, 1, tuple(faces), time_s=now), PIXELS)
    assert timeline.faces == 1
    assert [person.number for person in timeline.people()] == [1]


def test_rounded_times_cost_nobody_a_place() -> None:
    """Searches are 0.2 s apart; time stamps are rounded, and so may be a hair less."""
    timeline = Timeline("a")
    for number in range(30):
        faces = (_face(1, "fear"), *((_face(2, "anger"),) if 10 <= number <= 12 else ()))
        now = round(number / 10 - (1e-6 if number == 12 else 0), 6)
        timeline.add(Prediction("a", 1, 1, faces, time_s=now), PIXELS)
    assert timeline.faces == 2


def test_more_false_alarms_than_people_fit_are_not_counted_either() -> None:
    timeline = Timeline("a")
    for number in range(2 * MAX_PEOPLE):
        faces = (_face(1, "fear"), _face(2 + number, "anger"))
        timeline.add(Prediction("a", 1, 1, faces, time_s=number / 10), PIXELS)
    assert (timeline.faces, timeline.dropped) == (1, 0)


def test_in_a_film_of_a_moment_everyone_counts() -> None:
    timeline = Timeline("a")
    for now in (0.0, 0.1):
        faces = (_face(1, "fear"), *((_face(2, "anger"),) if now else ()))
        timeline.add(Prediction("a", 1, 1, faces, time_s=now), PIXELS)
    assert timeline.faces == len(timeline.people()) == 2


def test_the_portrait_is_the_clearest_view() -> None:
    timeline = Timeline("a")
    for now, score, level in ((0.0, 0.4, 10), (0.1, 0.9, 200), (0.2, 0.5, 90)):
        pixels = np.full((100, 200, 3), level, np.uint8)
        timeline.add(Prediction("a", 1, 1, (_face(1, "fear", score),), time_s=now), pixels)
    (person,) = timeline.people()
    assert (person.portrait == 200).all()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (7.9, "0:07"), (3.9999999999999996, "0:04"), (750, "12:30"), (3750, "1:02:30")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize("duration", [0.0, 0.4, 8.9, 9, 60, 1000, 5000, 90_000])
def test_ticks_are_few_and_within(duration: float) -> None:
    moments = ticks(duration)
    assert 1 <= len(moments) <= 10
    assert moments[0][0] == 0
    assert all(at <= duration for at, _ in moments)
    assert len({text for _, text in moments}) == len(moments)


@pytest.mark.parametrize("name", ["clip.mp4", "$x^2$\n<b>.mp4", "http://host/a?b=1"])
def test_the_picture_is_drawn(tmp_path: Path, name: str) -> None:
    save_timeline(tmp_path / "t.png", _timeline(name))
    with Image.open(tmp_path / "t.png") as image:
        colours = np.asarray(image.convert("RGB")).reshape(-1, 3)
    for emotion in ("happiness", "sadness", "anger"):
        colour = ImageColor.getrgb(PRINT_COLOURS[emotion])
        assert (colours == colour).all(axis=1).sum() > 500, "happiness, sadness and anger show"


def test_nobody_seen_is_drawn_and_written_too(tmp_path: Path) -> None:
    timeline = Timeline("a.mp4")
    timeline.add(Prediction("a.mp4", 1, 1), PIXELS)
    save_timeline(tmp_path / "t.png", timeline)
    assert "No face was seen" in render_timeline(timeline)


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.paths: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for key, value in attrs:
            if tag == "path" and key == "d":
                self.paths.append(value or "")
            if key in {"src", "href"}:
                self.addresses.append(value or "")


def test_the_page_is_one_file_that_asks_no_one() -> None:
    page = _Page(render_timeline(_timeline("<script>alert(1)</script>.mp4")))
    assert "script" not in page.tags
    assert all(address.startswith("data:") for address in page.addresses)
    assert len([path for path in page.paths if path]) == 2 * len(EMOTIONS)
    for path in page.paths:
        points = [point.split(",") for point in path.strip("MZ").split()]
        assert all(0 <= float(x) <= 1001 and -0.1 <= float(y) <= 100.1 for x, y in points)


def test_a_page_of_hours_stays_small() -> None:
    timeline = Timeline("long")
    for tenth in range(20_000):
        prediction = Prediction("long", 1, 1, (_face(1, "fear"),), time_s=tenth / 10)
        timeline.add(prediction, PIXELS)
    page = render_timeline(timeline)
    assert len(page) < 200_000
    assert timeline.bin_s > 1
    assert f"a mean over {timeline.bin_s:g} seconds" in page


def test_an_address_keeps_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    write = Figure.text

    def noted(self: Figure, x: float, y: float, s: str, **more: Any) -> Any:
        written.append(s)
        return write(self, x, y, s, **more)

    monkeypatch.setattr(Figure, "text", noted)
    timeline = Timeline("rtsp://me:secret@host:554")
    timeline.add(Prediction(timeline.source, 1, 1), PIXELS)
    save_timeline(tmp_path / "t.png", timeline)
    for told in (render_timeline(timeline), " ".join(written)):
        assert "host" in told and "secret" not in told
