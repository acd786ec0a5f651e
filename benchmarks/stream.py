"""Reading a stream: python -m benchmarks.stream [IMAGES ...], 100,000 and 300,000 by default.

Drawn faces of 48x48 pixels are written as tar files and linked under as many names as make a stream
of so many images; an epoch of it is read in batches of 128, as training would. Whether memory grows
with the stream is what matters; each size is read by a process of its own.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from mien.data.dataset import Dataset
from mien.data.drawn_folder import draw_folder
from mien.data.importers import import_dataset
from mien.data.stream import STREAM_NAME, Stream, write_stream
from mien.training.streaming import StreamedSplit

SIZES = (100_000, 300_000)
FACES = 5_200
PER_SHARD = 4_000


def _grow(few: Path, many: Path, images: int) -> None:
    """Link the one whole training file of a stream under as many names as hold so many images."""
    many.mkdir()
    told = json.loads((few / STREAM_NAME).read_text(encoding="utf-8"))
    first = told["shards"]["train"][0]
    told["shards"]["train"] = []
    for number in range(images // first["images"]):
        name = f"train-{number:06d}.tar"
        os.link(few / first["name"], many / name)
        told["shards"]["train"].append(first | {"name": name})
    (many / STREAM_NAME).write_text(json.dumps(told), encoding="utf-8")


def _read(place: str) -> None:
    stream = Stream(place)
    split = StreamedSplit(stream, stream.spec, soft=True, device=torch.device("cpu"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    seen = sum(len(batch.pixels) for batch in split.batches(128, len(split) // 128, seed=1))
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"stream of {len(split):,} images: {seen:,} read, {seen / seconds:,.0f} a second, "
        f"{(peak - before) / 1024:,.0f} MB more memory than before",
        flush=True,
    )


def main(*sizes: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        draw_folder(folder / "faces", count=FACES, size=48, seed=1)
        import_dataset("folder", folder / "faces", folder / "dataset", size=48, channels=1)
        dataset = Dataset.open(folder / "dataset")
        write_stream(dataset, str(folder / "few"), images_per_shard=PER_SHARD)
        for images in sizes or SIZES:
            many = folder / str(images)
            _grow(folder / "few", many, images)
            subprocess.run([sys.executable, "-m", "benchmarks.stream", "read", many], check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["read"]:
        _read(sys.argv[2])
    else:
        main(*map(int, sys.argv[1:]))
