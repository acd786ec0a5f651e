"""Tests of suspect labels: on made noise whose truth is known, and the file they travel in."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from mien.data.audit.auditor import audit_dataset
from mien.data.audit.suspects import SUSPECT, OutOfFold
from mien.data.dataset import Dataset
from mien.errors import DatasetError
from mien.labels import EMOTIONS

N, WRONG = 4000, 0.2


def _noisy(confused: bool) -> tuple[OutOfFold, NDArray[np.bool_]]:
    """Labels of which a fifth are wrong, at random or fear for surprise, and a fair classifier."""
    random = np.random.default_rng(0)
    true = random.integers(0, 8, N)
    wrong = random.random(N) < WRONG
    if confused:
        true[wrong] = EMOTIONS.index("surprise")
        given = np.where(wrong, EMOTIONS.index("fear"), true)
    else:
        given = np.where(wrong, (true + random.integers(1, 8, N)) % 8, true)
    logits = random.normal(size=(N, 8))
    logits[np.arange(N), true] += 2.5
    found = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    ids = tuple(f"{i:05d}" for i in range(N))
    made = OutOfFold(ids, EMOTIONS, given, found.astype(np.float32), {"folds": 4})
    return made, given != true


def _area(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """The area under the ROC curve by its definition: pairs in the right order."""
    order = np.argsort(np.argsort(scores))[positive]
    count = positive.sum()
    return float((order.sum() - count * (count - 1) / 2) / (count * (~positive).sum()))


@pytest.mark.parametrize("confused", [False, True])
def test_it_orders_better_than_the_bare_probability(confused: bool) -> None:
    made, wrong = _noisy(confused)
    rows = np.arange(N)
    bare = _area(1 - made.probabilities[rows, made.given].astype(float), wrong)
    weighed = _area(1 - made.true_emotion[rows, made.given], wrong)
    assert weighed > 0.9
    assert weighed > bare + (0.01 if confused else -0.01)


def test_probabilities_of_the_truth_sum_to_one() -> None:
    made, _ = _noisy(True)
    np.testing.assert_allclose(made.true_emotion.sum(axis=1), 1)
    assert made.true_emotion.min() >= 0


def test_suspects_come_worst_first_and_name_another_emotion() -> None:
    made, wrong = _noisy(True)
    labels = [EMOTIONS[i] for i in made.given]
    found = made.suspects(made.ids, labels)
    assert len(found) > 100
    assert [s.suspicion for s in found] == sorted((s.suspicion for s in found), reverse=True)
    assert found[-1].suspicion >= SUSPECT
    assert all(s.rather != labels[s.row] for s in found)
    assert np.mean([wrong[s.row] for s in found]) > 0.9


def test_a_label_that_was_set_right_is_suspect_no_more() -> None:
    made, _ = _noisy(True)
    worst = made.suspects(made.ids, [EMOTIONS[i] for i in made.given])[0]
    assert made.suspects([made.ids[worst.row]], [worst.rather]) == []


@pytest.mark.parametrize(("ids", "labels"), [(["unknown"], ["fear"]), (["00000"], [None])])
def test_rows_of_which_nothing_is_known_are_passed_over(
    ids: list[str], labels: list[str | None]
) -> None:
    made, _ = _noisy(False)
    assert made.suspects(ids, labels) == []


def test_sure_emotions_are_right() -> None:
    made, wrong = _noisy(True)
    sure = made.sure(0.95)
    agree = [
        sure[made.ids[i]] == EMOTIONS[made.given[i]]
        for i in np.flatnonzero(~wrong)[:500]
        if made.ids[i] in sure
    ]
    assert np.mean(agree) > 0.97


def test_merged_emotions_are_sure_together() -> None:
    found = np.array([[0.55, 0, 0, 0, 0.4, 0, 0, 0.05], [0.98, 0.02, 0, 0, 0, 0, 0, 0]], np.float32)
    made = OutOfFold(("a", "b"), EMOTIONS, np.array([0, 0]), found, {})
    unmerged = made.true_emotion[0]
    assert unmerged.max() < 0.9 < unmerged[0] + unmerged[4]
    assert made.sure(0.9).keys() == {"b"}
    merged = made.merged({EMOTIONS[0]: EMOTIONS[4]})
    assert merged.sure(0.9) == {"a": EMOTIONS[4], "b": EMOTIONS[4]}
    assert made.merged({}).sure(0.9) == made.sure(0.9)


def test_a_merged_label_is_not_suspect() -> None:
    made, _ = _noisy(True)
    contempt = EMOTIONS.index("contempt")
    labels = ["disgust" if i == contempt else EMOTIONS[i] for i in made.given]
    unmerged = {suspect.row for suspect in made.suspects(made.ids, labels)}
    found = made.merged({"contempt": "disgust"}).suspects(made.ids, labels)
    of_contempt = np.flatnonzero(made.given == contempt)
    assert len(unmerged & set(of_contempt)) > 0.5 * len(of_contempt)
    assert len({suspect.row for suspect in found} & set(of_contempt)) < 0.5 * len(of_contempt)


def test_networks_that_have_learnt_nothing_suspect_nothing() -> None:
    made, _ = _noisy(True)
    labels = [EMOTIONS[i] for i in made.given]
    assert made.learnt and made.suspects(made.ids, labels)
    agreement = (made.probabilities.argmax(axis=1) == made.given).mean()
    assert f"agree with {agreement:.1%} of the labels: the fewer" in made.says
    # Whoever says nothing but the commonest emotion is right often, and knows nothing.
    most = np.bincount(made.given).argmax()
    blind = replace(made, probabilities=np.tile(np.eye(8, dtype=np.float32)[most], (N, 1)))
    assert not blind.learnt
    assert blind.suspects(made.ids, labels) == []
    assert blind.sure(0.5) == {}
    assert "hardly more than guesses would: no label is suspected" in blind.says


@pytest.mark.parametrize("learnt", [True, False])
def test_what_networks_that_know_nothing_did_not_doubt_is_not_called_sound(
    drawn_dataset: Dataset, learnt: bool
) -> None:
    given = drawn_dataset.labels(np.arange(len(drawn_dataset)), EMOTIONS)
    found = np.eye(8, dtype=np.float32)[given if learnt else given * 0]
    made = OutOfFold(tuple(drawn_dataset.column("id")), EMOTIONS, given, found, {})
    audit = audit_dataset(drawn_dataset, predictions=made)
    assert ("label_suspect" in audit.summary) == learnt
    assert audit.networks == made.says


def test_a_lower_threshold_suspects_more_the_most_suspect_first() -> None:
    made, _ = _noisy(True)
    labels = [EMOTIONS[i] for i in made.given]
    few, more, all_of_them = (
        made.suspects(made.ids, labels, least=least) for least in (SUSPECT, 0.3, 0.0)
    )
    assert few == made.suspects(made.ids, labels)
    assert len(few) < len(more) < len(all_of_them) == N
    assert more[: len(few)] == few
    assert min(suspect.suspicion for suspect in more) >= 0.3


def test_labels_that_nothing_is_sure_of() -> None:
    """An emotion with one image, and one with none."""
    found = np.full((3, 8), 0.125, np.float32)
    made = OutOfFold(("a", "b", "c"), EMOTIONS, np.array([0, 0, 7]), found, {})
    assert np.isfinite(made.true_emotion).all()


def test_file_keeps_everything(tmp_path: Path) -> None:
    made, _ = _noisy(False)
    made.save(tmp_path / "p.parquet")
    read = OutOfFold.open(tmp_path / "p.parquet")
    assert (read.ids, read.emotions, read.about) == (made.ids, made.emotions, made.about)
    np.testing.assert_array_equal(read.given, made.given)
    np.testing.assert_array_equal(read.probabilities, made.probabilities)
    assert [f.name for f in tmp_path.iterdir()] == ["p.parquet"]


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no table")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    for name in ("text", "other", "absent"):
        with pytest.raises(DatasetError, match="no out-of-fold predictions"):
            OutOfFold.open(tmp_path / f"{name}.parquet")
