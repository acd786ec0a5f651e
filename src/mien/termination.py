"""What a user or a system sends to end a program, taken for a wish: what is begun is finished."""

import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

__all__ = ["heed_lost", "interrupts_held", "on_termination", "terminations_interrupt"]


_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


def terminations_interrupt() -> None:
    """Let SIGTERM and SIGHUP raise a KeyboardInterrupt, as Ctrl-C does; see `heed_lost`.

    What handles or ignores them already goes on doing so; in the main thread only.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in filter(None, (getattr(signal, name, None) for name in _NAMES)):
        if signal.getsignal(number) in {signal.SIG_DFL, signal.default_int_handler}:
            signal.signal(number, _interrupt)


_asked = threading.Event()


def _interrupt(*of_signal: object) -> None:
    _asked.set()
    raise KeyboardInterrupt


def heed_lost() -> None:
    """Raise a KeyboardInterrupt again that an extension module dropped on its way.

    Those that call Python back clear what is raised there; then a command would go on.
    """
    if _asked.is_set():
        raise KeyboardInterrupt


@contextmanager
def on_termination(end: Callable[[], None], *, names: Collection[str] = _NAMES) -> Iterator[None]:
    """Call a function where a signal would end the program; in the main thread only.

    What handles or ignores these signals already, such as nohup, goes on doing so.
    """
    numbers = [getattr(signal, name, None) for name in names]
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in numbers if main and number}
    usual = (signal.SIG_DFL, signal.default_int_handler, _interrupt)
    caught = {number: handler for number, handler in before.items() if handler in usual}
    for number in caught:
        signal.signal(number, lambda *of_signal: end())
    try:
        yield
    finally:
        for number, handler in caught.items():
            signal.signal(number, handler)


@contextmanager
def interrupts_held() -> Iterator[Callable[[], None]]:
    """Hold a signal to end until the function that this yields is called; a second comes at once.

    Where it comes within an extension module that calls Python back, as those made by pybind11 do
    to convert arguments, the KeyboardInterrupt is dropped there or becomes a TypeError.

    Raises:
        KeyboardInterrupt: by that function, and in place of any error after the signal, such as
            that of a process whose peers have ended by it.
    """
    held = False

    def hold() -> None:
        nonlocal held
        if held:
            raise KeyboardInterrupt
        held = True

    def heed() -> None:
        if held:
            raise KeyboardInterrupt

    with on_termination(hold):
        try:
            yield heed
        except Exception:
            heed()
            raise
        heed()
