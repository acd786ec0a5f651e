"""Signals that would end a program end what it has begun; what ignores them goes on doing so."""

import signal
import threading

import pytest

from mien.termination import interrupts_held, on_termination


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
