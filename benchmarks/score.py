"""Scoring many images: speed by workers, growth, and kills: python -m benchmarks.score [IMAGES].

Draws 64 faces, repeats them in a Parquet table of IMAGES rows (default 100,000) and scores it with
`mien score --detector none`: with one and two workers of each engine on a tenth of it, whole with
two, and whole once more while workers and the command itself are killed at random moments.
"""

import io
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mien.drawn import draw_face, sample_parameters
from mien.labels import EMOTIONS

_RATE = re.compile(r"([\d,]+) a second")
_FACES = 64
_KILLS = 20


def _table(path: Path, rows: int) -> Path:
    files = []
    for number in range(_FACES):
        face = draw_face(sample_parameters(EMOTIONS[number % 8], seed=number), size=96)
        out = io.BytesIO()
        Image.fromarray(face).save(out, "JPEG", quality=90)
        files.append(out.getvalue())
    with pq.ParquetWriter(path, pa.schema([("image", pa.binary())])) as writer:
        for start in range(0, rows, 8192):
            stop = min(start + 8192, rows)
            writer.write_table(pa.table({"image": [files[n % _FACES] for n in range(start, stop)]}))
    return path


def _command(source: Path, out: Path, engine: str, workers: int) -> list[str]:
    program = str(Path(sys.executable).with_name("mien"))
    options = ["--detector", "none", "--engine", engine, "--workers", str(workers)]
    return [program, "score", str(source), "--out", str(out), *options]


def _run(source: Path, out: Path, engine: str, workers: int) -> tuple[float, float]:
    """Return seconds from start to end and images a second of the scoring itself."""
    began = time.perf_counter()
    ran = subprocess.run(
        _command(source, out, engine, workers),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    found = _RATE.search(ran.stdout)
    assert found is not None, ran.stdout
    return time.perf_counter() - began, float(found[1].replace(",", ""))


def _descendants(pid: int) -> list[int]:
    """The processes that do the work, below a command: their memory holds the model."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        waiting += below
        found += below
    marks = (b"spawn_main", b"ray::score_part")
    return [child for child in found if any(mark in _cmdline(child) for mark in marks)]


def _cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _killed_all_the_way(source: Path, out: Path, engine: str, rows: int) -> str:
    """Score while killing; return what was killed and what came out."""
    draw = random.Random(0)
    workers = commands = 0
    while True:
        running = subprocess.Popen(
            _command(source, out, engine, 2),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while running.poll() is None and workers + commands < _KILLS:
            if not (prey := _descendants(running.pid)):
                time.sleep(0.05)
                continue
            time.sleep(draw.uniform(0.0, 3.0))
            if draw.random() < 0.7:
                with suppress(ProcessLookupError):
                    os.kill(draw.choice(prey), signal.SIGKILL)
                    workers += 1
            elif running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)
                commands += 1
                break
        if running.wait() == 0:
            break
    found = pq.read_table(out).column("row").to_pylist()
    assert sorted(found) == list(range(rows)), "an image was lost or done twice"
    return f"{workers} workers and {commands} commands killed; {len(found):,} rows, each once"


def main(images: int = 100_000) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tenth = _table(folder / "tenth.parquet", images // 10)
        whole = _table(folder / "whole.parquet", images)
        for engine in ("local", "ray"):
            for workers in (1, 2):
                took, rate = _run(tenth, folder / f"{engine}{workers}", engine, workers)
                print(
                    f"{engine}, {workers} workers, {images // 10:,} images: "
                    f"{rate:,.0f} a second, {took:.1f} s with start and end"
                )
        for rows, source in ((images // 10, tenth), (images, whole)):
            took, rate = _run(source, folder / f"grow{rows}", "local", 2)
            print(f"local, 2 workers, {rows:,} images: {rate:,.0f} a second, {took:.1f} s")
        for engine in ("local", "ray"):
            print(f"{engine}: {_killed_all_the_way(whole, folder / f'k{engine}', engine, images)}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
