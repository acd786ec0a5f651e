"""Pictures of long videos: python -m benchmarks.clips [MINUTES], 5 by default.

Writes a film that grows brighter (640x480, 25 frames a second) in each encoding that mien writes,
takes five pictures of it as `mien data import --frames 5` does, once with frames that are far off
skipped and once with all of them read, and says how long each took and whether the pictures are the
same.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mien.data import clips
from mien.data.source import FileTree
from mien.video.files import CODECS, VideoCopy

RATE = 25
PICTURES = 5


def write_film(path: Path, minutes: float) -> None:
    """Write a film in which every frame is another than its neighbours."""
    across, down = np.meshgrid(np.linspace(0, 255, 640), np.linspace(0, 255, 480))
    still = np.stack([across, down, across[:, ::-1]], axis=2).astype(np.uint8)
    with VideoCopy(path, rate=RATE) as copy:
        for number in range(round(60 * RATE * minutes)):
            shade = still // 2 + np.uint8(number % 128)
            copy.add(shade, number / RATE)


def pictures(path: Path, *, far_s: float) -> tuple[list[tuple[float, bytes]], float]:
    """Return when each picture is shown, and its pixels, and the seconds that all took."""
    clips._FAR_S = far_s  # type: ignore[misc]
    began = time.perf_counter()
    with FileTree(path.parent) as tree:
        taken = [
            (frame.time_s, frame.pixels.tobytes())
            for frame in clips.Clip(tree, path.name).pictures(PICTURES)
        ]
    return taken, time.perf_counter() - began


def main() -> None:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    usual = clips._FAR_S
    for suffix in CODECS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"film{suffix}")
            write_film(path, minutes)
            skipped, quick_s = pictures(path, far_s=usual)
            read, whole_s = pictures(path, far_s=float("inf"))
        same = "the same" if skipped == read else "OTHER"
        print(
            f"{suffix}, {minutes:g} min: {quick_s:.2f} s, all read {whole_s:.2f} s; {same} "
            f"{len(read)} pictures"
        )


if __name__ == "__main__":
    main()
