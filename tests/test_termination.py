"""Signals that would end a program end what it has begun; what ignores them goes on doing so."""

import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from mien import termination
from mien.cli.terminal import show_progress
from mien.termination import interrupts_held, on_termination, terminations_interrupt


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_every_command_ends_by_them_as_by_ctrl_c(tmp_path: Path, name: str) -> None:
    draw = [sys.executable, "-m", "mien", "data", "draw"]
    call = [*draw, "--count", "9999", "--out", str(tmp_path / "d")]
    with subprocess.Popen(call, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while time.monotonic() < until and process.poll() is None and not [*tmp_path.iterdir()]:
            time.sleep(0.05)
        process.send_signal(getattr(signal, name))
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (130, "mien: interrupted\n")
    assert [*tmp_path.iterdir()] == []


def test_a_signal_that_ends_is_held_like_an_interrupt() -> None:
    went_on = []
    with pytest.raises(KeyboardInterrupt), interrupts_held() as heed:
        signal.raise_signal(signal.SIGTERM)
        went_on.append("to the end of the step")
        heed()
    assert went_on == ["to the end of the step"]


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_what_ignores_a_signal_goes_on_ignoring_it(name: str) -> None:
    """As below nohup, or in a script's background."""
    number = getattr(signal, name, None)
    if number is None:
        pytest.skip("this system has no such signal")
    ended: list[str] = []
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with on_termination(lambda: ended.append(name)):
            signal.raise_signal(number)
    finally:
        signal.signal(number, before)
    assert ended == []


def test_other_threads_set_no_signals() -> None:
    problems: list[BaseException] = []

    def begin() -> None:
        try:
            with on_termination(lambda: None):
                pass
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=begin)
    thread.start()
    thread.join()
    assert problems == []


def test_an_interrupt_waits_until_it_is_heeded() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts_held() as heed:
        heed()
        signal.raise_signal(signal.SIGINT)
        done.append("went on")
        heed()
        done.append("was not stopped")
    assert done == ["went on"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_that_nothing_heeded_is_not_lost() -> None:
    with pytest.raises(KeyboardInterrupt), interrupts_held():
        signal.raise_signal(signal.SIGINT)


def test_a_second_interrupt_does_not_wait() -> None:
    went_on = []
    with pytest.raises(KeyboardInterrupt), interrupts_held():
        signal.raise_signal(signal.SIGINT)
        went_on.append("after the first")
        signal.raise_signal(signal.SIGINT)
        went_on.append("after the second")
    assert went_on == ["after the first"]


def test_what_fails_after_an_interrupt_is_an_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt), interrupts_held():
        signal.raise_signal(signal.SIGINT)
        raise RuntimeError("a peer is gone")
    with pytest.raises(RuntimeError, match="for another reason"), interrupts_held():
        raise RuntimeError("for another reason")


def test_an_interrupt_that_a_library_drops_is_raised_again() -> None:
    """As pybind11's do, which clear what is raised where they call Python back."""
    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}
    done = []
    try:
        terminations_interrupt()
        with show_progress() as show, pytest.raises(KeyboardInterrupt):
            for number in show(range(9), total=9, doing="drawing"):
                with suppress(KeyboardInterrupt):
                    done.append(number)
                    signal.raise_signal(signal.SIGTERM)
    finally:
        termination._asked.clear()
        for name, handler in before.items():
            signal.signal(name, handler)
    assert done == [0]
