"""An OpenCV window: shows frames, hands keys on. Knows nothing of what it shows."""

import os
import subprocess
import sys
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import UsageError

__all__ = ["Window"]

_ESCAPES: Final = frozenset({0x1B, 0xFF1B})
"""Escape, as a character and as X11 names the key."""

_LARGEST: Final = (1280, 720)
"""Pixels of a window at first, width and height: screens that are smaller are rare."""

_TRIAL: Final = "import cv2; cv2.namedWindow('mien')"
_TRIAL_S: Final = 30.0


class Window:
    """A context manager that always closes its window. For the main thread only.

    Args:
        title: of the window.
        instead: what whoever has no screen is told to do, behind what is wrong.

    Raises:
        UsageError: there is no screen, it does not answer, or OpenCV was built without windows.
    """

    def __init__(self, title: str = "mien", *, instead: str = "") -> None:
        self._title = title
        self._instead = f"; {instead}" if instead else ""
        self._open = False
        self._shape: tuple[int, ...] = ()

    def __enter__(self) -> Self:
        screens = ("DISPLAY", "WAYLAND_DISPLAY")
        if sys.platform.startswith("linux") and not any(os.environ.get(s) for s in screens):
            raise UsageError(f"there is no screen to open a window on{self._instead}")
        # OpenCV's wheels bring Qt for X11 only, and no fonts; without these it says so each time.
        os.environ.setdefault("QT_QPA_PLATFORM", "xcb")
        os.environ.setdefault("QT_LOGGING_RULES", "*=false")
        _try_screen(self._instead)
        try:
            flags = cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL
            cv2.namedWindow(self._title, flags)
        except cv2.error:
            raise UsageError(
                "this OpenCV cannot open windows (opencv-python-headless?); pip install "
                f"opencv-python brings them{self._instead}"
            ) from None
        self._open = True
        return self

    def __exit__(self, *raised: object) -> None:
        if self._open:
            cv2.destroyAllWindows()
            self._open = False

    def show(self, pixels: NDArray[np.uint8]) -> str | None:
        """Show a frame, RGB (H, W, 3), uint8; return the key that was pressed, if any."""
        if pixels.shape != self._shape:
            self._shape = pixels.shape
            height, width = pixels.shape[:2]
            scale = min(1.0, _LARGEST[0] / width, _LARGEST[1] / height)
            cv2.resizeWindow(self._title, round(width * scale), round(height * scale))
        cv2.imshow(self._title, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        code = cv2.waitKeyEx(1)
        if cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
            return "quit"
        return _key(code)


def _try_screen(instead: str) -> None:
    """Open a window in another process first: where Qt finds no screen, it ends the whole process.

    Raises:
        UsageError: the other process was ended so, or waits for ever.
    """
    if not sys.platform.startswith("linux"):
        return
    # -P: what lies in the working folder is not to be taken for OpenCV.
    command = [sys.executable, "-P", "-c", _TRIAL]
    try:
        status = subprocess.run(
            command, capture_output=True, timeout=_TRIAL_S, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        status = -1
    # Above 0 it was Python that ended, as where OpenCV has no windows.
    if status < 0:
        screen = os.environ.get("DISPLAY")
        raise UsageError(
            f"no window can be opened on this screen (DISPLAY is {screen or 'not set'}){instead}"
        )


def _key(code: int) -> str | None:
    """Return what OpenCV's code of a key means; None: no key, or one that is no character.

    Without the upper byte of an arrow's code, the arrow would be a letter.
    """
    code = -1 if code < 0 else code & 0xFFFF  # above that stand shift and the like
    if code in _ESCAPES:
        return "quit"
    return chr(code) if 0 < code <= 0xFF else None
