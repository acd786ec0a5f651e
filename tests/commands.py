"""The command line, called within the tests' own process."""

import sys
from pathlib import Path

import pytest

from mien.cli import main

__all__ = ["Command", "Ran"]


class Ran:
    """What a command printed and how it ended."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


class Command:
    """Calls ``mien``; an error must be told in lines, not as a traceback."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: str | Path) -> Ran:
        self._monkeypatch.setattr(sys, "argv", ["mien", *map(str, arguments)])
        status = 0
        try:
            main()
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 0
        out, err = self._capsys.readouterr()
        assert "Traceback" not in err
        return Ran(status, out, err)
