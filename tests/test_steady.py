"""Tests of the filter over time: it stands still under noise, and it cannot be late."""

import numpy as np
import pytest

from mien.video.steady import LEAD, PATIENCE, WINDOW, Steady


def _row(happiness: float) -> np.ndarray:
    return np.array([1 - happiness, happiness])


@pytest.mark.parametrize("fps", [10, 15, 24, 30, 60])
@pytest.mark.parametrize("after", [0.62, 0.8, 1.0], ids=["just-the-lead", "clear", "sure"])
def test_a_real_change_is_named_within_300_ms(fps: int, after: float) -> None:
    assert after >= LEAD * (1 - after)
    steady = Steady()
    for frame in range(2 * fps):
        # However sure the old expression was.
        _, named = steady.update(frame / fps, _row(0.0))
        assert named == 0
    changed_at = (2 * fps - 1) / fps  # at worst right after that frame was taken
    for frame in range(2 * fps, 3 * fps):
        mean, named = steady.update(frame / fps, _row(after))
        if named == 1:
            assert frame / fps - changed_at <= 0.3 + 1e-9
            return
    pytest.fail(f"never named; the mean is {mean}")


@pytest.mark.parametrize("fps", [10, 30])
def test_two_that_are_level_do_not_take_turns(fps: int) -> None:
    noise = np.random.default_rng(0).normal(0.5, 0.1, 20 * fps).clip(0, 1)
    raw = noise > 0.5
    steady = Steady()
    named = np.array([steady.update(n / fps, _row(p))[1] for n, p in enumerate(noise)])
    raw_changes, changes = (np.count_nonzero(np.diff(x.astype(int))) for x in (raw, named))
    assert raw_changes > 3 * fps, "the raw names flicker, or the test shows nothing"
    assert changes * 10 <= raw_changes


def test_the_mean_is_that_of_the_last_window_whatever_the_rate() -> None:
    times = [0.0, 0.01, 0.5, 0.55, 0.61, 0.7]
    values = [0.1, 0.9, 0.2, 0.4, 0.6, 0.8]
    steady = Steady()
    for number, (time_s, value) in enumerate(zip(times, values, strict=True)):
        mean, _ = steady.update(time_s, _row(value))
        recent = [v for t, v in zip(times, values, strict=True) if time_s - WINDOW <= t <= time_s]
        assert mean[1] == pytest.approx(np.mean(recent)), number
        assert mean.sum() == pytest.approx(1)


def test_the_first_frame_is_told_as_it_is() -> None:
    mean, named = Steady().update(7.0, _row(0.55))
    assert (mean.tolist(), named) == ([pytest.approx(0.45), pytest.approx(0.55)], 1)


@pytest.mark.parametrize("fps", [10, 30])
def test_a_slight_change_that_lasts_is_named_too(fps: int) -> None:
    assert LEAD * 0.39 > 0.61
    steady = Steady()
    for frame in range(fps):
        steady.update(frame / fps, _row(0.0))
    names = [steady.update(1 + frame / fps, _row(0.61))[1] for frame in range(2 * fps)]
    named_after = (names.index(1) + 1) / fps
    assert 1.0 < named_after <= PATIENCE + 0.3
    assert set(names[names.index(1) :]) == {1}


def test_a_lead_of_exactly_the_patience_is_enough() -> None:
    steady = Steady()
    times = ((0.0, 0.0), (10.0, 0.6), (10.0 + PATIENCE - 1e-6, 0.6))
    assert [steady.update(time_s, _row(share))[1] for time_s, share in times] == [0, 0, 1]
