"""Judging a model on a split of a dataset, and the report it leaves. No torch of its own."""

import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mien.atomic import replacing, write_text
from mien.card import ModelCard
from mien.data.dataset import Dataset
from mien.errors import DatasetError, UsageError
from mien.judging import plots
from mien.judging.asking import ask_for_rows
from mien.judging.caveats import caveat_of
from mien.judging.evaluation_page import render_evaluation
from mien.judging.groups import Groups, figures_of_videos, groups_by
from mien.judging.model_card import render_model_card
from mien.labels import EMOTIONS
from mien.metrics import (
    Evaluation,
    confidence_intervals,
    evaluate_probabilities,
)
from mien.model import EmotionModel
from mien.people import chosen_by, number_people
from mien.progress import Progress, silent
from mien.records import SPLITS, Split

__all__ = [
    "REPORT_NAME",
    "Mistake",
    "Report",
    "evaluate",
    "known_rows",
    "report_on",
]

REPORT_NAME = "evaluation.json"
_OF_ENVIRONMENTS = ("environments.png", "conditions.png")
_MISTAKES = 48


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong answer.

    Attributes:
        row: of the manifest.
        path: the image's path in its source.
        label: what it should have been.
        answer: what the model said.
        confidence: how sure it was, 0..1.
        of_label: the probability that it gave the label, 0..1.
    """

    row: int
    path: str
    label: str
    answer: str
    confidence: float
    of_label: float


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of a model on a split, and what they stand on.

    Attributes:
        card: the model's.
        split: train, valid or test; ``cross-validation`` where the answers are those of a fold's
            network each.
        dataset: name, fingerprint and source format of the data.
        caveat: why the figures may flatter, see `caveat_of`; of folds, or do injustice.
        evaluation: the figures.
        left_out: images whose label the model does not know, by label.
        agreement: mean share of the annotators' votes that the label got, 0..1; None without votes.
        people: how many are named among those shown; None where nobody is.
        nameless: how many images name nobody.
        intervals: 95 % intervals of accuracy, macro recall and nll, see
            `mien.metrics.confidence_intervals`.
        intervals_by: by whose choice these may move, see `mien.people.chosen_by`.
        answers: of every image, in order of the manifest: id, path, subject where people are named,
            label, answer, and the probability of each emotion under its name, 0..1.
        mistakes: the wrong answers that the model was surest of, the surest first.
        groups: for each column that was asked for, figures of the images by its value.
        videos: where there are any, see `mien.judging.groups.figures_of_videos`.
        environments: where asked for, what `mien.judging.robustness.judge_environments` found.
        cross_validation: of a cross-validation, what `mien.training.crossval.cross_validate` tells
            of its folds.
    """

    card: ModelCard
    split: str
    dataset: dict[str, Any]
    caveat: str
    evaluation: Evaluation
    left_out: dict[str, int]
    agreement: float | None
    people: int | None
    nameless: int
    intervals: dict[str, tuple[float, float]]
    intervals_by: str
    answers: pa.Table
    mistakes: tuple[Mistake, ...] = ()
    groups: dict[str, Groups] = field(default_factory=dict)
    videos: dict[str, Any] | None = None
    environments: dict[str, Any] | None = None
    cross_validation: dict[str, Any] | None = None

    @property
    def model(self) -> str:
        """The model's name."""
        return self.card.name

    @property
    def title(self) -> str:
        """Model, data, number of images and accuracy in one line."""
        figures = self.evaluation
        return (
            f"{self.model} on {self.dataset['name']} {self.split} "
            f"(n = {figures.count:,}): accuracy {figures.accuracy:.1%}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "model": self.model,
            "best_epoch": self.card.training.get("best_epoch"),
            "split": self.split,
            "dataset": self.dataset,
            "caveat": self.caveat,
            "left_out": self.left_out,
            "agreement": self.agreement,
            "people": self.people,
            "nameless": self.nameless,
            **self.evaluation.to_json(),
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            "intervals_by": self.intervals_by,
            "by": self.groups,
            "videos": self.videos,
            "environments": self.environments,
            "cross_validation": self.cross_validation,
            "mistakes": [asdict(mistake) for mistake in self.mistakes],
        }

    def save(
        self,
        folder: str | os.PathLike[str],
        dataset: Dataset,
        *,
        history: Sequence[Mapping[str, Any]] = (),
    ) -> list[Path]:
        """Write the figures, every answer, pictures, a page, and of one model a card.

        Environments that were measured before, of the same answers to the same images, are kept.

        Args:
            folder: made where it is not there.
            dataset: that was evaluated, for the pictures of the mistakes.
            history: of the model's run, where there is one: one entry an epoch.

        Returns:
            The paths of what was written.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        report = folder / REPORT_NAME
        if self.environments is None and (before := self._environments_before(report)):
            kept = replace(self, environments=before)
            return kept.save(folder, dataset, history=history)
        write_text(report, json.dumps(self.to_json(), indent=2) + "\n")
        answers = folder / "answers.parquet"
        with replacing(answers) as partial:
            pq.write_table(self.answers, partial, compression="zstd")
        confusion, calibration = folder / "confusion.png", folder / "calibration.png"
        plots.save_confusion(confusion, self.evaluation, title=self.title)
        plots.save_calibration(calibration, self.evaluation, title=self.title)
        pictures = [calibration]
        if history:
            pictures.append(folder / "epochs.png")
            plots.save_curves(pictures[-1], history)
        if self.environments is None:
            for name in _OF_ENVIRONMENTS:  # of other weights, as they were not kept
                (folder / name).unlink(missing_ok=True)
        else:
            pictures += self._save_environments(folder, self.environments)
        page = folder / "evaluation.html"
        write_text(page, render_evaluation(self, dataset, pictures))
        written = [page]
        if self.cross_validation is None:
            written.append(folder / "model_card.md")
            write_text(written[-1], render_model_card(self))
        return [*written, report, answers, confusion, *pictures]

    def _environments_before(self, report: Path) -> dict[str, Any] | None:
        try:
            before = json.loads(report.read_text(encoding="utf-8"))
            same_data = before["dataset"]["fingerprint"] == self.dataset["fingerprint"]
            same = same_data and math.isclose(before["nll"], self.evaluation.nll, rel_tol=1e-6)
            found: dict[str, Any] | None = before["environments"] if same else None
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return found

    def _save_environments(self, folder: Path, found: Mapping[str, Any]) -> list[Path]:
        figures, faces = (folder / name for name in _OF_ENVIRONMENTS)
        plots.save_environments(figures, found, title=self.title)
        if not faces.exists():
            from mien.judging.robustness import picture_conditions  # needs torch

            plots.save_conditions(faces, picture_conditions())
        return [figures, faces]


def evaluate(
    model: EmotionModel,
    dataset: Dataset,
    split: Split,
    *,
    by: str | Sequence[str] = (),
    progress: Progress = silent,
) -> Report:
    """Ask a model for every usable image of a split and compute its figures.

    Images whose label the model does not know (contempt, for one trained on FER2013) are left out
    and counted.

    Args:
        model: knows some emotions.
        dataset: holds the images.
        split: train, valid or test.
        by: a column of the manifest, or several, whose values get their own figures.
        progress: shows how far it is.

    Raises:
        DatasetError: nothing is left to evaluate.
        UsageError: no such column.
    """
    labels = model.card.labels
    columns, known = [by] if isinstance(by, str) else by, dataset.manifest.column_names
    if missing := [column for column in columns if column not in known]:
        raise UsageError(
            f"--by {missing[0]!r}: expected a column of the manifest, one of {', '.join(known)}"
        )
    rows, left_out = known_rows(dataset, split, labels)
    found = ask_for_rows(model, dataset, rows, progress=progress)
    caveat = caveat_of(model.card, dataset, split)
    report = report_on(found, model.card, dataset, rows, split, caveat, by=columns)
    return replace(report, left_out=left_out)


def report_on(
    found: NDArray[np.float32],
    card: ModelCard,
    dataset: Dataset,
    rows: NDArray[np.int64],
    split: str,
    caveat: str,
    *,
    by: Sequence[str] = (),
) -> Report:
    """Return the figures of answers that were given to some rows of a dataset.

    Args:
        found: (n, k), the probability of each of the card's emotions, rows summing to 1.
        card: of what answered.
        dataset: holds the images.
        rows: int (n,), in order of the manifest; at least one, all of emotions that the card knows.
        split: what the rows are called.
        caveat: why the figures may flatter; empty: nothing is known.
        by: columns of the manifest whose values get their own figures.
    """
    labels = card.labels
    truth = dataset.labels(rows, labels)
    subjects = dataset.column("subject", rows)
    shown, who = dataset.shown(rows)
    people = number_people(shown)
    return Report(
        card=card,
        split=split,
        dataset=dataset.identity,
        caveat=caveat,
        evaluation=evaluate_probabilities(found, truth, labels),
        left_out={},
        agreement=_agreement(dataset, rows),
        people=len({*subjects} - {None}) or None,
        nameless=subjects.count(None),
        intervals=confidence_intervals(found, truth, people),
        intervals_by=chosen_by(people, who),
        answers=_answers(found, truth, rows, dataset, labels),
        mistakes=_mistakes(found, truth, rows, dataset, labels),
        groups={
            column: groups_by(dataset.column(column, rows), found, truth, labels, people)
            for column in by
        },
        videos=figures_of_videos(found, truth, labels, dataset.videos(rows), subjects),
    )


def known_rows(
    dataset: Dataset, split: Split, labels: tuple[str, ...]
) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Return the usable rows of a split with one of some labels, and how many have another.

    Raises:
        DatasetError: there is none.
    """
    known = {
        of: np.array(
            [label in labels for label in dataset.column("label", dataset.usable(of))], bool
        )
        for of in SPLITS
    }
    if not known[split].any():
        raise DatasetError(
            f"{dataset.path}: split {split!r} has no usable image with a label among "
            f"{', '.join(labels)}; of such images there are "
            + ", ".join(f"{np.count_nonzero(of):,} in {name}" for name, of in known.items())
            + ": ask --split valid, or draw splits anew by 'mien data clean --split 70/15/15'"
        )
    rows = dataset.usable(split)
    others = Counter(map(str, dataset.column("label", rows[~known[split]])))
    return rows[known[split]], dict(sorted(others.items()))


def _agreement(dataset: Dataset, rows: NDArray[np.int64]) -> float | None:
    votes = dataset.manifest.column("votes").take(rows).to_pylist()
    labels = dataset.labels(rows, EMOTIONS)
    shares = [given[label] for given, label in zip(votes, labels, strict=True) if given]
    return float(np.mean(shares)) if shares else None


def _answers(
    found: NDArray[np.float32],
    truth: NDArray[np.int64],
    rows: NDArray[np.int64],
    dataset: Dataset,
    labels: tuple[str, ...],
) -> pa.Table:
    names = np.array(labels)
    about = dataset.manifest.select(["id", "path", "subject"]).take(rows)
    if about.column("subject").null_count == len(rows):
        about = about.drop_columns(["subject"])
    columns = {"label": names[truth], "answer": names[found.argmax(axis=1)]}
    columns |= dict(zip(labels, found.T, strict=True))
    for name, values in columns.items():
        about = about.append_column(name, pa.array(values))
    return about


def _mistakes(
    found: NDArray[np.float32],
    truth: NDArray[np.int64],
    rows: NDArray[np.int64],
    dataset: Dataset,
    labels: tuple[str, ...],
) -> tuple[Mistake, ...]:
    answers, sure = found.argmax(axis=1), found.max(axis=1)
    wrong = np.flatnonzero(answers != truth)
    wrong = wrong[np.argsort(-sure[wrong], kind="stable")][:_MISTAKES]
    paths = dataset.column("path")
    return tuple(
        Mistake(
            row=int(rows[i]),
            path=paths[rows[i]],
            label=labels[truth[i]],
            answer=labels[answers[i]],
            confidence=float(sure[i]),
            of_label=float(found[i, truth[i]]),
        )
        for i in wrong
    )
