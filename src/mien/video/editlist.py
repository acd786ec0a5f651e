"""What an MP4 or QuickTime file shows of its video, where it was trimmed without encoding it anew.

All frames are still in such a file, and a list says which of them are to be seen (ISO/IEC
14496-12, 8.6.6).
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

__all__ = ["shown_seconds"]

_MOST_BYTES: Final = 1 << 26
"""The list of an hour's frames takes about a megabyte."""


def shown_seconds(path: Path) -> float | None:
    """Return how many seconds of its video a file shows; None where no list says it."""
    try:
        with path.open("rb") as file:
            movie = _movie(file)
        scale = _time_scale(dict(_boxes(movie))[b"mvhd"])
        track = next(track for track in _tracks(movie) if _is_video(track))
        return _duration(dict(_boxes(track[b"edts"]))[b"elst"]) / scale or None
    except (OSError, KeyError, StopIteration, struct.error, ArithmeticError, ValueError):
        return None


def _movie(file: IO[bytes]) -> bytes:
    """Return what is in the box that tells of all tracks."""
    while head := file.read(8):
        size, kind = struct.unpack(">I4s", head)
        header = 8
        if size == 1:
            (size,), header = struct.unpack(">Q", file.read(8)), 16
        if kind == b"moov":
            return file.read(min(size - header, _MOST_BYTES) if size else _MOST_BYTES)
        if size < header:
            break
        file.seek(size - header, 1)
    raise KeyError(b"moov")


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 0
    while place + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        if size < 8:
            break
        yield kind, data[place + 8 : place + size]
        place += size


def _tracks(movie: bytes) -> Iterator[dict[bytes, bytes]]:
    return (dict(_boxes(box)) for kind, box in _boxes(movie) if kind == b"trak")


def _is_video(track: dict[bytes, bytes]) -> bool:
    return dict(_boxes(track[b"mdia"]))[b"hdlr"][8:12] == b"vide"


def _time_scale(header: bytes) -> int:
    """Return how many units a second has."""
    (scale,) = struct.unpack_from(">I", header, 20 if header[:1] == b"\1" else 12)
    return int(scale)


def _duration(edits: bytes) -> int:
    """Return the sum of the segments that show something."""
    entry = struct.Struct(">Qqi" if edits[:1] == b"\1" else ">Iii")
    (count,) = struct.unpack_from(">I", edits, 4)
    listed = entry.iter_unpack(edits[8 : 8 + count * entry.size])
    return sum(duration for duration, begins, _ in listed if begins >= 0)
