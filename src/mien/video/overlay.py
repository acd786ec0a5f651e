"""What lies over a live picture beside the faces: the rate, what is going on, the keys.

Each piece of writing is drawn once and kept, because it is the same for many frames.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["Notice", "Overlay"]

_COLUMN: Final = "  "
_EMPTY: Final = (480, 640)
_PANEL: Final = (20, 24, 29, 205)
_TEXT: Final = (243, 245, 247, 255)
_ALARM: Final = (255, 123, 114, 255)
_EMPTY_COLOUR: Final = (27, 32, 39)


@dataclass(slots=True)
class Notice:
    """A line that stands over the picture for a while.

    Args:
        seconds: how long.
    """

    seconds: float
    _said: str = ""
    _since: float = -math.inf

    def show(self, text: str) -> None:
        """Show a line from now on; an empty one takes away what stands there."""
        self._said, self._since = text, time.monotonic()

    @property
    def text(self) -> str:
        """What stands there now, empty: nothing."""
        return self._said if time.monotonic() - self._since < self.seconds else ""


class Overlay:
    """Lays writing on frames."""

    def draw(
        self,
        pixels: NDArray[np.uint8] | None,
        *,
        status: Sequence[str],
        message: str = "",
        help_lines: Sequence[str] = (),
    ) -> NDArray[np.uint8]:
        """Return a copy with writing on it.

        Args:
            pixels: RGB (H, W, 3), uint8; None: there is no picture yet, an empty one is made.
            status: short words for the upper left corner.
            message: a line for the lower edge.
            help_lines: lines for the upper right corner.
        """
        under = np.full((*_EMPTY, 3), _EMPTY_COLOUR, np.uint8) if pixels is None else pixels
        frame = under.copy()
        unit = max(12.0, min(frame.shape[:2]) / 36)
        gap = round(unit / 2)
        left = gap
        for word in status:
            label = _label((word,), unit, frame.shape[1])
            _lay(frame, label, left, gap)
            left += label.shape[1] + gap
        if help_lines:
            panel = _label(tuple(help_lines), unit, frame.shape[1])
            _lay(frame, panel, frame.shape[1] - panel.shape[1] - gap, gap)
        if message:
            label = _label((message,), unit, frame.shape[1] - 2 * gap)
            top = frame.shape[0] - label.shape[0] - gap
            _lay(frame, label, (frame.shape[1] - label.shape[1]) // 2, top)
        return frame


@lru_cache(maxsize=128)
def _label(lines: tuple[str, ...], unit: float, widest: int) -> NDArray[np.uint8]:
    """Draw lines on a rounded panel: RGBA (h, w, 4), uint8."""
    font = ImageFont.load_default(unit)
    lines = tuple(part for line in lines for part in _wrapped(line, font, widest - 1.2 * unit))
    indent = 0.7 * unit if any(_COLUMN in line for line in lines) else 0.0
    width = round(max(font.getlength(line) for line in lines) + 1.2 * unit + indent)
    height = round(1.35 * unit * len(lines) + 0.35 * unit)
    image = Image.new("RGBA", (width, height), (*_PANEL[:3], 0))
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((0, 0, width - 1, height - 1), unit / 2, fill=_PANEL)
    for number, line in enumerate(lines):
        middle = 0.175 * unit + 1.35 * unit * (number + 0.5)
        if line.startswith("●"):
            # The font that Pillow brings has no dot.
            radius = 0.32 * unit
            centre = 0.6 * unit + radius
            draw.ellipse(
                (centre - radius, middle - radius, centre + radius, middle + radius), fill=_ALARM
            )
            draw.text((0.6 * unit + 3 * radius, middle), line[2:], _TEXT, font, anchor="lm")
        else:
            # Of two columns the second begins at the same place in every line.
            first, _, second = line.partition(_COLUMN)
            draw.text((0.6 * unit, middle), first, _TEXT, font, anchor="lm")
            draw.text((1.9 * unit, middle), second, _TEXT, font, anchor="lm")
    return np.asarray(image)


def _wrapped(
    line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, widest: float
) -> list[str]:
    lines = [""]
    for word in line.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and font.getlength(longer) > widest:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _lay(frame: NDArray[np.uint8], label: NDArray[np.uint8], left: int, top: int) -> None:
    """Lay an RGBA label on a frame, in place; what reaches over its edge is cut off."""
    left, top = max(0, left), max(0, top)
    under = frame[top : top + label.shape[0], left : left + label.shape[1]]
    label = label[: under.shape[0], : under.shape[1]]
    share = label[..., 3:].astype(np.uint16)
    mixed = label[..., :3] * share + under * (255 - share)
    under[...] = (mixed // 255).astype(np.uint8)
