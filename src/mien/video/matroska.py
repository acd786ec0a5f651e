"""Whether a Matroska or WebM file is all there.

It is made of elements, each an id, a size and what it holds (RFC 9559 and 8794).
"""

from pathlib import Path
from typing import IO, Final

__all__ = ["is_cut_off"]

_HEADER: Final = b"\x1a\x45\xdf\xa3"
_SEGMENT: Final = b"\x18\x53\x80\x67"


def is_cut_off(path: Path) -> bool | None:
    """Return whether a file ends before its one segment does; None: it is no such file.

    Where a segment does not say how long it is, as in streams, nothing is missed.
    """
    try:
        with path.open("rb") as file:
            if file.read(4) != _HEADER:
                return None
            file.seek(_size(file) or 0, 1)
            if file.read(4) != _SEGMENT:
                return None
            size = _size(file)
            return size is not None and file.tell() + size > path.stat().st_size
    except (OSError, IndexError):
        return None


def _size(file: IO[bytes]) -> int | None:
    """Read the size of an element; None: it is not known yet.

    The zeros that the first byte begins with say how many bytes follow it.
    """
    first = file.read(1)[0]
    length = 8 - first.bit_length()
    size = int.from_bytes(bytes([first]) + file.read(length)) & ((1 << 7 * (length + 1)) - 1)
    return None if size == (1 << 7 * (length + 1)) - 1 else size
