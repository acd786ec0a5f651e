"""Servers that tests start as a user does."""

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["begun_upload", "running"]


class running:  # noqa: N801
    """`mien serve` in a process of its own: its address, and itself."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        command = [sys.executable, "-c", "from mien.cli import main; main()", "serve", *arguments]
        self.process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self) -> tuple[str, subprocess.Popen[str]]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"https?://\S+", line)
        if found is None:
            _, said = self.process.communicate(timeout=10)
            raise AssertionError(f"no address: {line}{said}")
        return found[0], self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def begun_upload(address: str) -> Iterator[socket.socket]:
    """A connection over which the first of a picture has gone to a server."""
    port = int(address.rstrip("/").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as upload:
        head = "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
        upload.sendall(head.encode() + bytes(1000))
        time.sleep(0.3)
        yield upload
