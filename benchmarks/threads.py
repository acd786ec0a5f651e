"""Many threads that share one recogniser: python -m benchmarks.threads [THREADS...], or 1 8 40.

A new process for each number: how much memory it holds before and after so many threads have asked
about scikit-image's astronaut, five times each, and how long a call takes, over all of them.
"""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from skimage.data import astronaut

import mien

CALLS = 5


def held() -> float:
    """Return the megabytes of memory that this process holds."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def measure(threads: int) -> str:
    """Ask from so many threads, and say what it took."""
    recogniser, picture = mien.load(threads=1), astronaut()
    recogniser(picture)
    before, began = held(), time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(recogniser, [picture] * CALLS * threads))
    seconds = (time.perf_counter() - began) / (CALLS * threads)
    return f"{threads:>3} threads: {before:,.0f} to {held():,.0f} MB, {seconds:.3f} s a call"


def main(*numbers: str) -> None:
    if len(numbers) == 1:
        print(measure(int(numbers[0])))
        return
    for number in numbers or ("1", "8", "40"):
        subprocess.run([sys.executable, "-m", "benchmarks.threads", number], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
