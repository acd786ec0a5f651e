"""Recipes over several seeds: python -m benchmarks.recipes --data DATASET RECIPE [RECIPE ...].

Trains each recipe once a seed, epochs chosen and confidence calibrated on validation, and gives
mean and spread (standard deviation over seeds) of the figures on validation and on test. Runs lie
in --runs and go on where they were stopped; `mien runs` shows them one by one.

With --published the images that the import left out as copies of held-out ones are used, too, as
they are in every paper that trains on the set as published. Such figures are for standing beside
those papers' alone.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev

from mien.config import load_recipe
from mien.data.dataset import Dataset
from mien.data.writer import COPY_OF
from mien.judging.asking import ask_for_rows
from mien.metrics import evaluate_probabilities
from mien.training.runs import TorchModel, open_run
from mien.training.train import train

Figures = dict[str, float]


def with_copies(dataset: Dataset) -> Dataset:
    """Take the images back in that the import left out as copies of held-out ones."""
    reasons = [
        None if reason and reason.startswith(COPY_OF) else reason
        for reason in dataset.column("excluded")
    ]
    return dataset.with_column("excluded", reasons)


def figures_of(model: TorchModel, dataset: Dataset) -> Iterator[tuple[str, Figures]]:
    """Ask a model about validation and test; give each one's name and figures."""
    for split in ("valid", "test"):
        rows = dataset.usable(split)
        found = ask_for_rows(model, dataset, rows)
        labels = dataset.labels(rows, model.card.labels)
        figures = evaluate_probabilities(found, labels, model.card.labels)
        yield (
            f"{split}, n = {len(rows):,}",
            {
                "accuracy": figures.accuracy,
                "macro recall": figures.macro_recall,
                "NLL": figures.nll,
                "calibration error": figures.calibration_error,
            },
        )


def spread(name: str, values: Sequence[float]) -> str:
    """Say a figure's mean over seeds and its standard deviation."""
    shape = ".4f" if name == "NLL" else ".2%"
    around = f" ± {stdev(values):{shape}}" if len(values) > 1 else ""
    return f"{name} {mean(values):{shape}}{around}"


def told(found: Sequence[Figures]) -> str:
    """Say mean and spread of each of several runs' figures."""
    return "; ".join(spread(key, [figures[key] for figures in found]) for key in found[0])


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.recipes")
    parser.add_argument("recipes", nargs="+", metavar="RECIPE")
    parser.add_argument("--data", type=Path, required=True, metavar="DATASET")
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--published", action="store_true", help="with copies of test images")
    parser.add_argument("--runs", type=Path, default=Path("runs/recipes"), metavar="DIR")
    asked = parser.parse_args()
    if not asked.data.is_dir():
        print(f"recipes: skipped, {asked.data} is not there ('mien data import' makes it)")
        return
    held = Dataset.open(asked.data)
    dataset = with_copies(held) if asked.published else held
    count = len(dataset.usable("train"))
    which = "as published, copies of held-out images among them" if asked.published else "clean"
    print(f"{held.info['source_format']}, {count:,} training images, {which}")
    for recipe in asked.recipes:
        per_split: dict[str, list[Figures]] = {}
        for seed in asked.seeds:
            name = f"{Path(recipe).stem}-{'published' if asked.published else 'clean'}-{seed}"
            config = load_recipe(recipe, (*asked.set, f"seed={seed}"))
            train(dataset, config, asked.runs / name, resume=True)
            for split, figures in figures_of(open_run(asked.runs / name), held):
                per_split.setdefault(split, []).append(figures)
        for split, found in per_split.items():
            seeds = f"{len(found)} seed{'' if len(found) == 1 else 's'}"
            print(f"{recipe}, {seeds}, {split}: {told(found)}", flush=True)


if __name__ == "__main__":
    main()
