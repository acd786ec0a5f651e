"""Faces as they come over a WebSocket: frames in, one JSON line an answer out.

The newest frame wins: while one is read, those that arrive push each other out, so an answer is
never late and nothing piles up. Each stream has its own tracker, as `mien live` does.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

from starlette.websockets import WebSocket, WebSocketDisconnect

from mien.errors import ImageError
from mien.images import read_image
from mien.predictor import Recogniser
from mien.records import Prediction
from mien.serve.limits import Limits, Workers
from mien.video.track import LIVE_SHARE, Tracker

__all__ = ["TRY_LATER", "Stream"]

TRY_LATER: Final = 1013
_ENDED: Final = 1000
_NOT_BINARY: Final = 1003
_TOO_BIG: Final = 1009
_SEND_S: Final = 10.0


class _Frame(NamedTuple):
    number: int
    time_s: float  # since the first
    file: bytes


class Stream:
    """One open stream.

    Args:
        socket: accepted already.
        recogniser: reads the frames.
        workers: lends the threads.
        limits: size and rate of the frames.
    """

    def __init__(
        self, socket: WebSocket, recogniser: Recogniser, workers: Workers, limits: Limits
    ) -> None:
        self._socket = socket
        self._tracker = Tracker(recogniser, most_share=LIVE_SHARE)
        self._workers = workers
        self._limits = limits
        self._newest = _Frame(0, 0.0, b"")
        self._arrived = asyncio.Event()

    async def run(self) -> None:
        """Answer frames until the client goes, breaks the rules or falls silent."""
        tasks = [asyncio.create_task(self._receive()), asyncio.create_task(self._answer())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            # Not gather: it would forget who cancelled this, should somebody do so now.
            await asyncio.wait(tasks)
        end = next(iter(done)).result()
        if end is not None:
            # The client may have left by now: servers raise one or the other of these.
            with suppress(WebSocketDisconnect, RuntimeError):
                await self._socket.close(*end)

    async def _receive(self) -> tuple[int, str] | None:
        """Keep the newest frame; return why there will be no more, None where the client left."""
        limits, count, began = self._limits, 0, 0.0
        while True:
            try:
                message = await asyncio.wait_for(self._socket.receive(), limits.idle_s)
            except TimeoutError:
                return _ENDED, f"no frame for {limits.idle_s:g} s"
            if message["type"] == "websocket.disconnect":
                return None
            frame = message.get("bytes")
            if frame is None:
                return _NOT_BINARY, "expected frames as binary messages: JPEG, PNG or WebP files"
            if len(frame) > limits.frame_bytes:
                return _TOO_BIG, f"a frame of {len(frame):,} bytes: at most {limits.frame_bytes:,}"
            now = time.monotonic()
            began = began or now
            self._newest = _Frame(count, now - began, frame)
            self._arrived.set()
            count += 1

    async def _answer(self) -> None:
        """Read the newest frame, again and again; end where nobody takes the answers."""
        answered = -1
        with suppress(WebSocketDisconnect, TimeoutError):
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                began, frame = time.monotonic(), self._newest
                seen = await self._workers.run(partial(self._read, frame))
                answer = seen.to_json() | {"dropped": frame.number - answered - 1}
                answered = frame.number
                await asyncio.wait_for(self._socket.send_json(answer), _SEND_S)
                spent = time.monotonic() - began
                await asyncio.sleep(max(0.0, 1 / self._limits.stream_rate - spent))

    def _read(self, frame: _Frame) -> Prediction:
        seen = Prediction("stream", frame=frame.number, time_s=round(frame.time_s, 3))
        try:
            pixels = read_image(frame.file, max_pixels=self._limits.frame_pixels)
        except ImageError as error:
            return replace(seen, error=str(error))
        except MemoryError:
            return replace(seen, error="too little memory for this frame now")
        height, width = pixels.shape[:2]
        faces = self._tracker.update(pixels, frame.time_s)
        return replace(seen, width=width, height=height, faces=faces)
