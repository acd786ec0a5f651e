"""The browser that tests open pages in."""

import shutil
from typing import Final

import pytest

__all__ = ["CHROMIUM", "FLAGS", "in_browser"]

CHROMIUM: Final = next(
    (
        path
        for name in ("chromium", "google-chrome", "chromium-browser")
        if (path := shutil.which(name))
    ),
    None,
)

FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
)

in_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: 'make browser' installs one")
