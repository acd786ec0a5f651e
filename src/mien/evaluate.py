"""Judging a model on a split of a dataset, and the report it leaves. No torch of its own."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien import plots
from mien.atomic import write_text
from mien.data.dataset import Dataset
from mien.errors import DatasetError
from mien.metrics import Evaluation, bootstrap_intervals, evaluate_probabilities
from mien.model import EmotionModel
from mien.preprocess import InputSpec, fit
from mien.progress import Progress, silent
from mien.records import Split

__all__ = ["REPORT_NAME", "Report", "ask_for_rows", "evaluate"]

REPORT_NAME = "evaluation.json"
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of a model on a split, and what they stand on.

    Attributes:
        model: the name on the model's card.
        split: train, valid or test.
        dataset: fingerprint and source format of the data.
        evaluation: the figures.
        left_out: images whose label the model does not know, by label.
        intervals: 95 % bootstrap intervals of accuracy, macro recall and nll.
    """

    model: str
    split: str
    dataset: dict[str, Any]
    evaluation: Evaluation
    left_out: dict[str, int]
    intervals: dict[str, tuple[float, float]]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "model": self.model,
            "split": self.split,
            "dataset": self.dataset,
            "left_out": self.left_out,
            **self.evaluation.to_json(),
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
        }

    def save(self, folder: Path) -> list[Path]:
        """Write ``evaluation.json`` and its pictures and return their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        report, matrix, sure = (
            folder / name for name in (REPORT_NAME, "confusion.png", "calibration.png")
        )
        write_text(report, json.dumps(self.to_json(), indent=2) + "\n")
        figures = self.evaluation
        title = (
            f"{self.model} on {self.dataset['source_format']} {self.split} "
            f"(n = {figures.count:,}): accuracy {figures.accuracy:.1%}"
        )
        plots.save_confusion(matrix, figures, title=title)
        plots.save_calibration(sure, figures, title=title)
        return [report, matrix, sure]


def evaluate(
    model: EmotionModel,
    dataset: Dataset,
    split: Split,
    *,
    progress: Progress = silent,
) -> Report:
    """Ask a model for every usable image of a split and compute its figures.

    Images whose label the model does not know (contempt, for one trained on FER2013) are left out
    and counted.

    Raises:
        DatasetError: nothing is left to evaluate.
    """
    labels = model.card.labels
    rows, left_out = _known(dataset, split, labels)
    if len(rows) == 0:
        raise DatasetError(
            f"{dataset.path}: split {split!r} has no usable image with a label among "
            f"{', '.join(labels)}"
        )
    found = ask_for_rows(model.probabilities, dataset, rows, model.card.spec, progress=progress)
    truth = dataset.labels(rows, labels)
    return Report(
        model=model.card.name,
        split=split,
        dataset={key: dataset.info[key] for key in ("fingerprint", "source_format")},
        evaluation=evaluate_probabilities(found, truth, labels),
        left_out=left_out,
        intervals=bootstrap_intervals(found, truth),
    )


def ask_for_rows(
    ask: Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.float32]],
    dataset: Dataset,
    rows: NDArray[np.int64],
    spec: InputSpec,
    *,
    progress: Progress = silent,
) -> NDArray[np.float32]:
    """Put some rows of a dataset to a model, batch by batch.

    Args:
        ask: maps fitted faces to probabilities, as `EmotionModel.probabilities` does.
        dataset: holds the images.
        rows: numbers of rows in the manifest; at least one.
        spec: what the model sees.
        progress: wraps the batches to show how far it is.

    Returns:
        float32 (n, labels), in the order of ``rows``.
    """
    starts = progress(
        range(0, len(rows), _BATCH), total=-(-len(rows) // _BATCH), doing="asking the model"
    )
    batches = (rows[start : start + _BATCH] for start in starts)
    parts = [ask([fit(image, spec) for image in dataset.images(b)]) for b in batches]
    return np.concatenate(parts)


def _known(
    dataset: Dataset, split: Split, labels: tuple[str, ...]
) -> tuple[NDArray[np.int64], dict[str, int]]:
    rows = dataset.usable(split)
    names = np.array(dataset.column("label"), dtype=object)[rows]
    known = np.isin(names.astype(str), labels)
    unknown, counts = np.unique(names[~known].astype(str), return_counts=True)
    return rows[known], {str(n): int(c) for n, c in zip(unknown, counts, strict=True)}
