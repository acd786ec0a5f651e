"""Keeping OpenCV and its FFmpeg off standard error: what is wrong is said in one line."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import cv2

__all__ = ["quiet_opencv"]


class _Holders:
    """Counts who wants silence: OpenCV has one level for all threads, so the last resets it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._level = 0

    def enter(self) -> None:
        logging = cv2.utils.logging
        with self._lock:
            if not self._count:
                self._level = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
            self._count += 1

    def leave(self) -> None:
        with self._lock:
            self._count -= 1
            if not self._count:
                cv2.utils.logging.setLogLevel(self._level)


_holders = _Holders()


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Silence OpenCV for a while; FFmpeg for good, unless the environment says otherwise."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    _holders.enter()
    try:
        yield
    finally:
        _holders.leave()
