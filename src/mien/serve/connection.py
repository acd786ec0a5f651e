"""A connection as uvicorn has it, which does not wait for ever."""

import asyncio
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["Connection"]

HEAD_S: Final = 10.0


def _most() -> int:
    """Return how many connections leave the process enough files to open."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows, where sockets are no files
        return 4096
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 65_536 if files == resource.RLIM_INFINITY else max(16, files - 128)


MOST: Final = _most()
"""Connections at a time. Where files run out, no more can be accepted, which asyncio tells at
length, many times a second.
"""


class Connection(H11Protocol):
    """Closes itself where the head of a request does not arrive within `HEAD_S` seconds.

    Nor does it wait longer for the rest of a body that was answered before it had arrived, or for a
    client to take what it asked for. How long others may take, the routes know; that no head begins
    after an answer, uvicorn minds.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._deadline: asyncio.TimerHandle | None = None
        self._awaited: type[h11.IDLE | h11.SEND_BODY] | None = None
        self._untaken: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request; of more connections than there may be, hang up."""
        super().connection_made(transport)
        if len(self.connections) > MOST:
            transport.abort()
        self._mind()

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a head, or no longer."""
        super().data_received(data)
        self._mind()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._forget()
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for a client that does not take its answers."""
        super().pause_writing()
        self._untaken = self._untaken or self.loop.call_later(HEAD_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Wait no longer: it does."""
        super().resume_writing()
        if self._untaken is not None:
            self._untaken.cancel()
            self._untaken = None

    def timeout_keep_alive_handler(self) -> None:
        """Close after an answer; what nobody takes then would keep it open for ever."""
        super().timeout_keep_alive_handler()
        self._end()

    def _mind(self) -> None:
        theirs = self.conn.their_state
        answered = self.conn.our_state in {h11.DONE, h11.MUST_CLOSE}
        if theirs is not self._awaited:
            self._forget()
        if self._deadline is None and (
            theirs is h11.IDLE or (theirs is h11.SEND_BODY and answered)
        ):
            self._awaited = theirs
            self._deadline = self.loop.call_later(HEAD_S, self._end)

    def _end(self) -> None:
        self.transport.close()
        self.loop.call_later(HEAD_S, self.transport.abort)

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = self._awaited = None
