"""A connection as uvicorn has it, which does not wait for ever."""

import asyncio
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["Connection"]

HEAD_S: Final = 10.0


class Connection(H11Protocol):
    """Closes itself where the head of a request does not arrive within `HEAD_S` seconds.

    Nor does it wait longer for the rest of a body that was answered before it had arrived. How long
    others may take, the routes know; that no head begins after an answer, uvicorn minds.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._deadline: asyncio.TimerHandle | None = None
        self._awaited: type[h11.IDLE | h11.SEND_BODY] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._mind()

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a head, or no longer."""
        super().data_received(data)
        self._mind()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._forget()
        super().connection_lost(exc)

    def _mind(self) -> None:
        theirs = self.conn.their_state
        answered = self.conn.our_state in {h11.DONE, h11.MUST_CLOSE}
        if theirs is not self._awaited:
            self._forget()
        if self._deadline is None and (
            theirs is h11.IDLE or (theirs is h11.SEND_BODY and answered)
        ):
            self._awaited = theirs
            self._deadline = self.loop.call_later(HEAD_S, self.transport.close)

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = self._awaited = None
