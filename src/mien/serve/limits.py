"""How much one client, and all of them together, may ask for."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

__all__ = ["BusyError", "LeftError", "Limits", "Rates", "Room", "Workers"]

T = TypeVar("T")
_CLIENTS: Final = 10_000
"""As many clients' rates are remembered; the one that was silent longest goes first."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server takes on.

    Attributes:
        picture_bytes: size of a picture's file.
        picture_pixels: its width times its height.
        frame_bytes: size of one frame of a stream.
        frame_pixels: its width times its height.
        upload_s: seconds that a picture may take to arrive.
        rate: requests a second of one client; twice as many may come at once.
        at_once: pictures and frames that are worked on at the same time, each in its thread; 0: one
            a core.
        waiting: pictures that may wait for their turn. As many and one more, of the largest size,
            may be in memory.
        streams: streams that may be open.
        stream_rate: frames a second that are read of one stream; others are passed over.
        idle_s: seconds after which a stream that sends nothing is closed.
    """

    picture_bytes: int = 16 * 2**20
    picture_pixels: int = 25_000_000
    frame_bytes: int = 4 * 2**20
    frame_pixels: int = 4_200_000
    upload_s: float = 20.0
    rate: float = 20.0
    at_once: int = 0
    waiting: int = 16
    streams: int = 16
    stream_rate: float = 30.0
    idle_s: float = 60.0


class Rates:
    """Counts the requests of each client: a token bucket of two seconds' worth.

    Args:
        rate: requests a second.
        clock: seconds since any fixed moment.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """Count a request; return 0, or the seconds after which the client may ask again."""
        now = self._clock()
        most = max(1.0, 2 * self._rate)
        left, since = self._clients.pop(client, (most, now))
        left = min(most, left + (now - since) * self._rate)
        allowed = left >= 1
        self._clients[client] = (left - 1 if allowed else left, now)
        if len(self._clients) > _CLIENTS:
            self._clients.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._rate


class BusyError(Exception):
    """As many wait as may wait."""


class LeftError(Exception):
    """Whoever asked left before the turn came."""


class Room:
    """Counts the bytes of the pictures that are in memory: arriving, waiting or being read.

    Args:
        most: bytes of all of them together.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0

    @contextmanager
    def place(self) -> Iterator[Callable[[int], None]]:
        """Lend what takes in so many bytes more, until the end; it raises `BusyError` if full."""
        held = 0

        def take_in(size: int) -> None:
            nonlocal held
            if self._held + size > self._most:
                raise BusyError
            self._held += size
            held += size

        try:
            yield take_in
        finally:
            self._held -= held


class Workers:
    """Threads for the work that would keep the event loop from answering others.

    Args:
        at_once: calls that run at the same time.
        waiting: calls that may wait besides.
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self._at_once = at_once
        self._pool = self._new_pool()
        self._most = at_once + waiting
        self._asked = 0

    async def take(self, call: Callable[[], T], left: Awaitable[object]) -> T:
        """Run a call, or refuse it at once.

        Args:
            call: what is run. Once it runs, it runs to its end.
            left: is done when whoever asked has left.

        Raises:
            BusyError: too many wait already.
            LeftError: whoever asked left before the call was run.
        """
        leaving = asyncio.ensure_future(left)
        try:
            if self._asked >= self._most:
                raise BusyError
            work = self._pool.submit(call)
            leaving.add_done_callback(lambda _: work.cancel())
            self._asked += 1
            try:
                return await asyncio.wrap_future(work)
            except asyncio.CancelledError:
                # Either the call was called off while it waited, or whoever awaits it is.
                if work.cancelled() and leaving.done():
                    raise LeftError from None
                raise
            finally:
                self._asked -= 1
        finally:
            leaving.cancel()

    async def run(self, call: Callable[[], T]) -> T:
        """Run a call of somebody who has a place already, such as an open stream."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        """Let what runs end, and drop what waits; a server that starts again begins anew."""
        ended, self._pool = self._pool, self._new_pool()
        ended.shutdown(wait=False, cancel_futures=True)

    def _new_pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._at_once, thread_name_prefix="mien")
