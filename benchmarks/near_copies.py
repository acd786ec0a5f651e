"""The models that ship, on test images without a near copy: python -m benchmarks.near_copies.

An import leaves pixel-exact copies of test images out of training; near ones (re-encoded, resized,
mirrored) stay. Here the audit finds them, and FER+'s majority test is judged in two parts: images
that have a near copy, or a copy of one, among those that were trained on, and all others.
"""

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.ferplus import SOURCE
from mien.data.audit.auditor import audit_dataset
from mien.data.dataset import Dataset
from mien.data.importers import import_dataset
from mien.judging.asking import ask_for_rows
from mien.metrics import confidence_intervals, evaluate_probabilities
from mien.model import load_model, shipped_models


def _copied(dataset: Dataset) -> NDArray[np.bool_]:
    """Tell of each row whether the audit finds one picture with one that training uses."""
    trained_on = set(dataset.usable("train").tolist())
    copied = np.zeros(len(dataset), dtype=np.bool_)
    for finding in audit_dataset(dataset).of_kind("leak"):
        if not trained_on.isdisjoint(finding.rows):
            copied[list(finding.rows)] = True
    return copied


def main() -> None:
    """Print the figures of each shipped model on either part."""
    if not (SOURCE / "fer2013new.csv").exists():
        print(f"passed over: no fer2013new.csv in {SOURCE}; set MIEN_FERPLUS to the FER+ folder")
        return
    with tempfile.TemporaryDirectory() as folder:
        import_dataset("ferplus", SOURCE, Path(folder) / "ferplus")
        dataset = Dataset.open(Path(folder) / "ferplus")
        rows = dataset.usable("test")
        copied = _copied(dataset)[rows]
        for name in shipped_models():
            model = load_model(name)
            labels = model.card.labels
            truth = dataset.labels(rows, labels)
            found = ask_for_rows(model, dataset, rows)
            for part, chosen in (("with", copied), ("without", ~copied)):
                figures = evaluate_probabilities(found[chosen], truth[chosen], labels)
                ends = confidence_intervals(found[chosen], truth[chosen])["macro_recall"]
                print(
                    f"{name}: {part} a near copy in training, n = {figures.count:,}: accuracy "
                    f"{figures.accuracy:.2%}, macro recall {figures.macro_recall:.2%} "
                    f"({ends[0]:.1%} to {ends[1]:.1%}), NLL {figures.nll:.4f}"
                )


if __name__ == "__main__":
    main()
