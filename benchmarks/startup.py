"""From process start to the first answer: python -m benchmarks.startup.

Each line is the median, lowest and highest of several runs of the whole process.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from PIL import Image
from skimage import data

RUNS = 7


def _time(command: list[str]) -> list[float]:
    seconds = []
    for _ in range(RUNS):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - started)
    return seconds


def main() -> None:
    mien = str(Path(sys.executable).with_name("mien"))
    with tempfile.TemporaryDirectory() as folder:
        photo = str(Path(folder) / "astronaut.png")
        Image.fromarray(data.astronaut()).save(photo)
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "import mien": [sys.executable, "-c", "import mien"],
            "mien predict, one photo": [mien, "predict", photo, "--json", "-"],
        }
        for name, command in commands.items():
            seconds = _time(command)
            print(
                f"{name}: median {median(seconds):.2f} s, {min(seconds):.2f} to "
                f"{max(seconds):.2f} s (n = {RUNS})"
            )


if __name__ == "__main__":
    main()
