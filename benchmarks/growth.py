"""How import and audit grow: python -m benchmarks.growth [N ...], 10,000 to 100,000 by default.

Makes trees of PNG files in folders, each picture the mean of two FER+ faces drawn at random, and
imports and audits them in processes of their own. Then opens and filters a manifest of a million
rows. MIEN_FERPLUS names the FER+ folder.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.ferplus import SOURCE
from mien.data.dataset import MANIFEST_SCHEMA, Dataset
from mien.data.importers import import_dataset
from mien.data.writer import write_description
from mien.images import write_image
from mien.labels import EMOTIONS

SIZES = (10_000, 30_000, 100_000)
ROWS = 1_000_000


def _make_tree(folder: Path, faces: Dataset, count: int) -> None:
    random = np.random.default_rng(0)
    rows = faces.usable("train")
    for number in range(count):
        first, second = faces.images(random.choice(rows, 2))[..., 0].astype(np.uint16)
        emotion = folder / EMOTIONS[number % 8]
        emotion.mkdir(parents=True, exist_ok=True)
        write_image(emotion / f"{number:06d}.png", ((first + second) // 2).astype(np.uint8))


def _run(*arguments: str | Path) -> str:
    """Run a command of mien; say how long it took and how much memory it held at most."""
    mien = str(Path(sys.executable).with_name("mien"))
    started = time.perf_counter()
    child = subprocess.Popen([mien, *map(str, arguments)], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"mien {' '.join(map(str, arguments))} ended with {status}")
    seconds = time.perf_counter() - started
    return (
        f"{seconds:6.1f} s ({used.ru_utime + used.ru_stime:6.1f} s of processor time), "
        f"{used.ru_maxrss / 1024:5.0f} MB"
    )


def _many_rows(folder: Path) -> None:
    random = np.random.default_rng(0)
    given = {
        "id": [f"{i:016x}" for i in range(ROWS)],
        "path": [f"train/{i % 1000}/{i}.jpg" for i in range(ROWS)],
        "split": random.choice(["train", "valid", "test"], ROWS, p=[0.8, 0.1, 0.1]),
        "label": random.choice(EMOTIONS, ROWS),
        # Rows without an image, so that nothing but the manifest is measured.
        "excluded": np.where(random.random(ROWS) < 0.5, "made without an image", "no image either"),
    }
    columns = [
        pa.array(given[field.name], type=field.type)
        if field.name in given
        else pa.nulls(ROWS, type=field.type)
        for field in MANIFEST_SCHEMA
    ]
    table = pa.table(columns, schema=MANIFEST_SCHEMA)
    about = {"image_size": 48, "image_channels": 1, "shards": 0, "values": [], "source": "made"}
    folder.mkdir()
    write_description(folder, table, {**about, "source_format": "made"})
    started = time.perf_counter()
    dataset = Dataset.open(folder)
    opened = time.perf_counter()
    chosen = sum(len(dataset.usable(split)) for split in ("train", "valid", "test"))
    fear = [row for row, label in enumerate(dataset.column("label")) if label == "fear"]
    filtered = time.perf_counter()
    print(
        f"manifest of {ROWS:,} rows: opened in {opened - started:.2f} s, filtered by split and by "
        f"emotion in {filtered - opened:.2f} s ({chosen} usable, {len(fear):,} fear)"
    )


def main(sizes: tuple[int, ...] = SIZES) -> None:
    if not (SOURCE / "fer2013new.csv").exists():
        print(f"growth: skipped, {SOURCE} is not there (set MIEN_FERPLUS)")
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        import_dataset("ferplus", SOURCE, folder / "ferplus")
        faces = Dataset.open(folder / "ferplus")
        for count in sizes:
            tree, dataset = folder / f"tree-{count}", folder / f"dataset-{count}"
            _make_tree(tree, faces, count)
            size = ("--size", "48", "--channels", "1")
            print(f"{count:,} images")
            print("  import", _run("data", "import", "folder", tree, "--out", dataset, *size))
            print("  audit ", _run("data", "audit", dataset, "--json", folder / "audit.json"))
        _many_rows(folder / "many")


if __name__ == "__main__":
    main(tuple(map(int, sys.argv[1:])) or SIZES)
