"""Suspect labels on real noise: python -m benchmarks.suspects.

FER2013's own labels as they were given, seven emotions; as truth the emotion with most of the FER+
votes, of several with as many the first of mien's order. Cross-fits the labels (four folds; hours
on two cores, in MIEN_SUSPECT_RUNS, suspect-runs if not set, and taken up again where it stopped),
then compares orders of suspicion on the same out-of-fold probabilities: mien's, and cleanlab's
(2.9) where it is installed.

MIEN_FERPLUS names a folder with fer2013new.csv, fer2013_labels.csv and images.zip.
"""

import csv
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks.ferplus import SOURCE
from mien.config import load_recipe
from mien.data.audit.suspects import OutOfFold
from mien.data.dataset import Dataset
from mien.data.importers import import_dataset
from mien.labels import EMOTIONS, FER2013_CODES
from mien.training.crossfit import cross_fit

RUNS = Path(os.environ.get("MIEN_SUSPECT_RUNS", "suspect-runs"))
TABLE = "fer2013_labels.csv"
FIRST = (1000, 5000)

Scores = NDArray[np.float64]


def _with_given_labels(dataset: Dataset) -> Dataset:
    """Put FER2013's labels in the place of the votes' majority."""
    with (SOURCE / TABLE).open(newline="", encoding="utf-8") as file:
        given = {
            row["Image name"]: FER2013_CODES[int(row["emotion"])] for row in csv.DictReader(file)
        }
    labels = [
        None if shard is None else given.get(Path(path).name)
        for path, shard in zip(dataset.column("path"), dataset.column("shard"), strict=True)
    ]
    excluded = [None if label else "no label" for label in labels]
    fingerprint = f"fer2013-on-{dataset.info['fingerprint']}"
    info = {**dataset.info, "labels": list(EMOTIONS[:7]), "fingerprint": fingerprint}
    relabelled = dataset.with_column("label", labels).with_column("excluded", excluded)
    return replace(relabelled, info=info)


def _orders(found: OutOfFold) -> Iterator[tuple[str, Scores]]:
    rows = np.arange(len(found.ids))
    yield "mien", 1 - found.true_emotion[rows, found.given]
    try:
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        print("cleanlab: skipped, not installed")
        return
    for method in ("self_confidence", "normalized_margin"):
        quality = get_label_quality_scores(found.given, found.probabilities, method=method)
        yield f"cleanlab {method}", 1 - np.asarray(quality, dtype=np.float64)


def main() -> None:
    if not (SOURCE / TABLE).exists():
        print(f"suspects: skipped, no {TABLE} in {SOURCE} (set MIEN_FERPLUS)")
        return
    RUNS.mkdir(parents=True, exist_ok=True)
    if not (RUNS / "dataset").exists():
        import_dataset("ferplus", SOURCE, RUNS / "dataset")
    dataset = Dataset.open(RUNS / "dataset")
    config = load_recipe("fast", ("batch_size=64", "epochs=10"))
    found = cross_fit(_with_given_labels(dataset), config, RUNS / "fer2013")
    truth = dict(zip(dataset.column("id"), dataset.column("label"), strict=True))
    known = np.array([truth[key] is not None for key in found.ids])
    given = [found.emotions[i] for i in found.given]
    wrong = np.array([truth[k] != g for k, g in zip(found.ids, given, strict=True)])[known]
    right = (found.probabilities.argmax(axis=1) == found.given).mean()
    print(
        f"FER2013 labels, {len(known):,} images; of {known.sum():,} with a majority of FER+ votes "
        f"{wrong.mean():.1%} are wrong; out-of-fold accuracy against the labels {right:.1%}"
    )
    for name, suspicion in _orders(found):
        ordered = wrong[np.argsort(-suspicion[known], kind="stable")]
        first = ", ".join(f"precision at {n:,} {ordered[:n].mean():.1%}" for n in FIRST)
        print(f"{name}: AUROC {roc_auc_score(wrong, suspicion[known]):.3f}, {first}")


if __name__ == "__main__":
    main()
