"""What the leak in FER+ does to a measured accuracy: python -m benchmarks.leak [SEED ...].

Trains the same recipe on two training sets made of FER+, of the same size, so that they differ by
the leak alone:

    clean       without any exact or near twin of a test or validation image
    leaked      as published, twins left in, without as many images drawn among those that have none

and measures each run on the majority test, on its images with a twin in training and on the rest.
Runs lie in MIEN_LEAK_RUNS (leak-runs, about 5 MB each) and go on where they were stopped.
MIEN_FERPLUS names the FER+ folder.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.ferplus import SOURCE
from benchmarks.recipes import spread, with_copies
from mien.config import load_recipe
from mien.data.audit.auditor import audit_dataset
from mien.data.dataset import Dataset
from mien.data.importers import import_dataset
from mien.judging.asking import ask_for_rows
from mien.training.runs import open_run
from mien.training.train import train

RUNS = Path(os.environ.get("MIEN_LEAK_RUNS", "leak-runs"))
RECIPE, SETTINGS = "fast", ("epochs=20", "batch_size=64")
SEEDS = (0, 1, 2)


def _twins(dataset: Dataset) -> NDArray[np.bool_]:
    """Say of each row whether a picture of it lies on the other side of the training split."""
    splits = np.array(dataset.column("split"))
    twin = np.zeros(len(dataset), dtype=bool)
    for finding in audit_dataset(dataset).of_kind("leak"):
        rows = np.array(finding.rows)
        learns = splits[rows] == "train"
        twin[rows[learns]] |= bool((~learns).any())
        twin[rows[~learns]] |= bool(learns.any())
    return twin


def _without(dataset: Dataset, rows: NDArray[np.int64]) -> Dataset:
    reasons = dataset.column("excluded")
    for row in rows:
        reasons[row] = "taken out"
    return dataset.with_column("excluded", reasons)


def _training_sets(
    dataset: Dataset, twin: NDArray[np.bool_], seed: int
) -> Iterator[tuple[str, Dataset]]:
    published = with_copies(dataset)
    rows = published.usable("train")
    leaked, others = rows[twin[rows]], rows[~twin[rows]]
    drawn = np.random.default_rng(seed).choice(others, size=len(leaked), replace=False)
    yield "clean", _without(published, leaked)
    yield "leaked", _without(published, drawn)


def _accuracies(run: Path, dataset: Dataset, twin: NDArray[np.bool_]) -> dict[str, float]:
    model = open_run(run)
    rows = dataset.usable("test")
    found = ask_for_rows(model, dataset, rows)
    right = found.argmax(axis=1) == dataset.labels(rows, model.card.labels)
    return {
        "all": float(right.mean()),
        "with a twin": float(right[twin[rows]].mean()),
        "without": float(right[~twin[rows]].mean()),
    }


def _print_table(dataset: Dataset, twin: NDArray[np.bool_], sizes: Mapping[str, int]) -> None:
    rows = dataset.usable("test")
    print(
        f"FER+ majority test, n = {len(rows):,}: {twin[rows].sum():,} with a twin in the "
        f"published training set; recipe {RECIPE} with {', '.join(SETTINGS)}"
    )
    for name, size in sizes.items():
        figures = [
            _accuracies(run, dataset, twin)
            for run in sorted(RUNS.glob(f"{name}-*"))
            if (run / "finished").exists()
        ]
        if figures:
            shown = "; ".join(spread(key, [f[key] for f in figures]) for key in figures[0])
            print(f"{name} ({size:,} images, {len(figures)} seeds): {shown}")


def main(seeds: tuple[int, ...] = SEEDS) -> None:
    if not (SOURCE / "fer2013new.csv").exists():
        print(f"leak: skipped, {SOURCE} is not there (set MIEN_FERPLUS)")
        return
    RUNS.mkdir(parents=True, exist_ok=True)
    folder = RUNS / "dataset"
    if not folder.exists():
        import_dataset("ferplus", SOURCE, folder)
    dataset = Dataset.open(folder)
    twin = _twins(dataset)
    sizes = {}
    for seed in seeds:
        for name, training in _training_sets(dataset, twin, seed):
            sizes[name] = len(training.usable("train"))
            run = RUNS / f"{name}-{seed}"
            config = load_recipe(RECIPE, (*SETTINGS, f"seed={seed}"))
            train(training, config, run, resume=True)
            (run / "finished").touch()
    _print_table(dataset, twin, sizes)


if __name__ == "__main__":
    main(tuple(map(int, sys.argv[1:])) or SEEDS)
