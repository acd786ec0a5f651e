"""What a user or a system sends to end a program, taken for a wish: what is begun is finished."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["on_termination"]


@contextmanager
def on_termination(end: Callable[[], None]) -> Iterator[None]:
    """Call a function where a signal would end the program; in the main thread only.

    What handles or ignores these signals already, such as nohup, goes on doing so.
    """
    numbers = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")]
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in numbers if main and number}
    usual = (signal.SIG_DFL, signal.default_int_handler)
    caught = {number: handler for number, handler in before.items() if handler in usual}
    for number in caught:
        signal.signal(number, lambda *of_signal: end())
    try:
        yield
    finally:
        for number, handler in caught.items():
            signal.signal(number, handler)
