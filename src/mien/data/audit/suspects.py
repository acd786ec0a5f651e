"""Labels that are probably wrong, by what networks say that were not trained on them.

Out-of-fold probabilities come in (`mien.training.crossfit` makes them), the probability of every
emotion given the picture *and* its label comes out. Knows neither pictures nor networks.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mien.atomic import replacing
from mien.errors import DatasetError
from mien.metrics import accuracy, macro_recall_of_right

__all__ = ["SUSPECT", "OutOfFold", "Suspect"]

SUSPECT: Final = 0.7
"""A label is suspect from this probability on that it is wrong, unless another is asked for."""

_LEARNT: Final = 1.5
"""Networks whose macro recall is not so many times that of guessing have learnt nothing."""

_METADATA = b"mien"


class Suspect(NamedTuple):
    """A row whose label is probably wrong.

    Attributes:
        row: its number in the manifest.
        rather: the most probable emotion instead.
        suspicion: the probability that its label is wrong, 0..1.
    """

    row: int
    rather: str
    suspicion: float


@dataclass(frozen=True)
class OutOfFold:
    """What networks said of images that they were not trained on.

    Attributes:
        ids: of the images, as in the manifest.
        emotions: the k emotions, in the order of the columns.
        given: int (n,), the label that each image had, an index into ``emotions``.
        probabilities: float32 (n, k), rows summing to 1.
        about: the data and the recipe that they come from, as JSON values.
    """

    ids: tuple[str, ...]
    emotions: tuple[str, ...]
    given: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    about: Mapping[str, Any]

    def save(self, path: Path) -> None:
        """Write a Parquet file: ``id``, ``given``, and a column for each emotion."""
        columns = {
            "id": pa.array(self.ids),
            "given": pa.array([self.emotions[i] for i in self.given]),
            **{name: self.probabilities[:, i] for i, name in enumerate(self.emotions)},
        }
        table = pa.table(columns).replace_schema_metadata({_METADATA: json.dumps(self.about)})
        with replacing(path) as partial:
            pq.write_table(table, partial, compression="zstd")

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "OutOfFold":
        """Read what `save` wrote.

        Raises:
            DatasetError: it is no such file.
        """
        try:
            table = pq.read_table(path)
            emotions = tuple(table.column_names[2:])
            return cls(
                ids=tuple(table.column("id").to_pylist()),
                emotions=emotions,
                given=np.array([emotions.index(x) for x in table.column("given").to_pylist()]),
                probabilities=np.stack([table.column(name).to_numpy() for name in emotions], 1),
                about=json.loads(table.schema.metadata[_METADATA]),
            )
        except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise DatasetError(
                f"{path}: no out-of-fold predictions ({error}); expected the file that 'mien data "
                "audit --suspects' writes"
            ) from None

    @property
    def learnt(self) -> bool:
        """Whether the networks know anything, by the mean over emotions of what they recall."""
        right = self.probabilities.argmax(axis=1) == self.given
        return macro_recall_of_right(right, self.given) > _LEARNT / len(self.emotions)

    @property
    def says(self) -> str:
        """How much the networks agree with the labels, and what their doubts are worth by that."""
        agreement = accuracy(self.probabilities, self.given)
        told = f"Networks that had not seen an image agree with {agreement:.1%} of the labels"
        if self.learnt:
            told += ": the fewer, the less their doubts are worth."
        else:
            told += ", hardly more than guesses would: no label is suspected on their word."
        return f"{told} {self.about.get('caveat', '')}".rstrip()

    @cached_property
    def true_emotion(self) -> NDArray[np.float64]:
        """The probability of every emotion given picture and label: (n, k), rows summing to 1."""
        return _posterior(self.probabilities.astype(np.float64), self.given)

    def merged(self, merge: Mapping[str, str]) -> "OutOfFold":
        """Return what would have been said if some emotions had been others from the start."""
        meant = [merge.get(emotion, emotion) for emotion in self.emotions]
        left = tuple(dict.fromkeys(meant))
        becomes = np.array([[name == other for other in left] for name in meant])
        return replace(
            self,
            emotions=left,
            given=becomes.argmax(axis=1)[self.given],
            probabilities=self.probabilities @ becomes.astype(np.float32),
        )

    def sure(self, confidence: float) -> dict[str, str]:
        """Return the emotion of each image for which one is at least so probable, by id.

        There are none where the networks have not `learnt` anything.
        """
        if not self.learnt:
            return {}
        best = self.true_emotion.argmax(axis=1)
        chosen = np.flatnonzero(self.true_emotion.max(axis=1) >= confidence)
        return {self.ids[i]: self.emotions[best[i]] for i in chosen}

    def suspects(
        self, ids: Sequence[str], labels: Sequence[str | None], *, least: float = SUSPECT
    ) -> list[Suspect]:
        """Return the rows of a manifest whose labels are probably wrong, the most suspect first.

        There are none where the networks have not `learnt` anything.

        Args:
            ids: of every row.
            labels: of every row; None: there is none.
            least: how probable it must be that a label is wrong, 0..1.
        """
        if not self.learnt:
            return []
        place = {key: i for i, key in enumerate(self.ids)}
        found = []
        for row, (key, label) in enumerate(zip(ids, labels, strict=True)):
            if key in place and label in self.emotions:
                chances = self.true_emotion[place[key]].copy()
                suspicion = 1 - chances[self.emotions.index(label)]
                if suspicion >= least:
                    chances[self.emotions.index(label)] = 0
                    rather = self.emotions[int(chances.argmax())]
                    found.append(Suspect(row, rather, float(suspicion)))
        return sorted(found, key=lambda suspect: (-suspect.suspicion, suspect.row))


def _posterior(probabilities: NDArray[np.float64], given: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weigh what the picture says by how often each emotion is given such a label.

    By Bayes' rule P(true = j | picture, given = i) is proportional to P(true = j | picture) times
    P(given = i | true = j), if labels go wrong by emotion and not by picture. The first factor is
    the out-of-fold probability, the second comes of the confident joint.
    """
    weighed = probabilities * _chances_of_labels(probabilities, given)[given]
    return np.asarray(weighed / weighed.sum(axis=1, keepdims=True).clip(1e-12))


def _chances_of_labels(
    probabilities: NDArray[np.float64], given: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Estimate P(given = i | true = j): float (k, k), columns summing to 1.

    The confident joint (Northcutt, Jiang & Chuang 2021, arXiv:1911.00068, eq. 1): an image counts
    for the emotion of which it is more sure than images given that emotion are on average; each
    row is then scaled to the number of images that bear its label.
    """
    count, emotions = probabilities.shape
    labelled = np.bincount(given, minlength=emotions)
    own = np.bincount(given, probabilities[np.arange(count), given], emotions)
    sure = probabilities >= own / labelled.clip(1)
    joint = np.zeros((emotions, emotions))
    chosen = sure.any(axis=1)
    best = np.where(sure, probabilities, -1.0).argmax(axis=1)
    np.add.at(joint, (given[chosen], best[chosen]), 1.0)
    # A label that no image is sure of is taken to be right.
    empty = joint.sum(axis=1) == 0
    joint[empty, empty] = 1.0
    joint *= (labelled / joint.sum(axis=1))[:, None]
    return np.asarray((joint + np.eye(emotions) * 1e-9) / (joint.sum(axis=0) + 1e-9))
