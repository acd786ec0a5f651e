"""Signals that would end a program end what it has begun; what ignores them goes on doing so."""

import signal
import threading

import pytest

from mien.termination import on_termination


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
