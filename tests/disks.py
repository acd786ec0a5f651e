"""Disks that are full."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

__all__ = ["small_files"]


@contextmanager
def small_files(most_bytes: int) -> Iterator[None]:
    """Let no file become larger, which to whoever writes it is as a disk that becomes full."""
    resource = pytest.importorskip("resource", reason="limits are Unix's")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
