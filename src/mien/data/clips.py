"""Videos as data: a few pictures of each, evenly over its length. Knows nothing of labels."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mien.data.source import FileTree
from mien.errors import ImageError, VideoError
from mien.video.files import Frame, Video

__all__ = ["Clip", "clip_of", "moment"]

_FAR_S: Final = 2.0
"""Frames of so many seconds are sooner read than skipped."""
_MOMENT: Final = re.compile(r"(.+)#t=\d+\.\d{3}(?:#.*)?", re.DOTALL)


def moment(path: str, time_s: float) -> str:
    """Return the path of a picture of a video (W3C 2012, Media Fragments URI 1.0, 4.2.1)."""
    return f"{path}#t={time_s:.3f}"


def clip_of(path: str) -> str | None:
    """Return the video that a path is a `moment` of, or None."""
    match = _MOMENT.fullmatch(path)
    return match[1] if match else None


@dataclass(frozen=True)
class Clip:
    """A video of a source.

    Attributes:
        tree: the files; open.
        path: of the video, one of its ``clips``.
        part: the first and last second of what is meant of it; None: all.
    """

    tree: FileTree
    path: str
    part: tuple[float, float] | None = None

    def pictures(self, count: int) -> Iterator[Frame]:
        """Decode the pictures in the middles of so many equal lengths of it, or of its part.

        There are fewer where it has fewer frames, or is cut off.

        Raises:
            ImageError: it cannot be read, or ends before the first of them or its part.
        """
        with self.tree.on_disk(self.path) as file:
            try:
                length = _length(file)
                start, end = self.part or (0.0, length)
                if start >= length:
                    raise ImageError(f"it is over after {length:.1f} s, before its part begins")
                each = (min(end, length) - start) / count
                yield from _shown_at([start + (n + 0.5) * each for n in range(count)], file)
            except VideoError as error:
                # Without the path, which of an archive's member is that of a copy.
                said = str(error).replace(f"{file}: ", "").replace(f": {file}", "")
                raise ImageError(said) from None


def _length(file: Path) -> float:
    """Return how long a video is, seconds; what says nothing of it is read to its end."""
    with Video(file) as video:
        if length := video.length_s:
            return length
        return max(frame.time_s for frame in video) or 1 / video.rate


def _shown_at(times: Sequence[float], file: Path) -> Iterator[Frame]:
    """Give the frames that are shown at some times, seconds, rising; each frame once."""
    with Video(file) as video:
        shown, left = None, times
        for frame in video:
            if shown is not None and left[0] < frame.time_s:
                yield shown
                left = [time for time in left if time >= frame.time_s]
                if not left:
                    return
            shown = frame
            if left[0] > frame.time_s + _FAR_S:
                video.skip_to(left[0])
        if not video.ends_early and shown is not None:
            yield shown
        elif left == times:  # The last frame of a file that is cut off is often torn.
            raise VideoError(f"{file}: cut off or damaged before a picture of it was due")
