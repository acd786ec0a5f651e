"""Tests of the temperature: found again where it is known, harmless where it is not needed."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mien.card import ModelCard
from mien.data.dataset import Dataset
from mien.judging.calibration import COLDEST, HOTTEST, fit_temperature, fit_tilt
from mien.metrics import negative_log_likelihood
from mien.model import OnnxModel, load_model
from mien.preprocess import to_batch
from mien.training.checkpoint import BEST_NAME, read_weights, write_weights
from mien.training.export import export_run
from mien.training.runs import TorchModel, open_run
from mien.training.teachers import open_teacher


def _drawn(temperature: float, n: int = 40_000) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Labels drawn from the softmax of logits, which are then multiplied by the temperature."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(n, 8)) * 2
    gumbel = random.gumbel(size=logits.shape)
    return logits * temperature, (logits + gumbel).argmax(axis=1).astype(np.int64)


def _tempered(
    probabilities: NDArray[np.floating[Any]], temperature: float
) -> NDArray[np.floating[Any]]:
    """What probabilities (n, k), or any multiples of them, become at a temperature."""
    powers = probabilities ** (1 / temperature)
    found: NDArray[np.floating[Any]] = powers / powers.sum(axis=1, keepdims=True)
    return found


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_found_again(temperature: float) -> None:
    assert fit_temperature(*_drawn(temperature)) == pytest.approx(temperature, rel=0.03)


@pytest.mark.parametrize("n", [5, 20, 500])
def test_it_is_the_most_probable_there_is(n: int) -> None:
    logits, labels = _drawn(1.7, n=n)
    best = fit_temperature(logits, labels)

    def improbable(temperature: float) -> float:
        loss = negative_log_likelihood(_tempered(np.exp(logits), temperature), labels)
        return n * loss + math.log(temperature) ** 2 / (2 * 0.5**2)

    tried = np.geomspace(COLDEST, HOTTEST, 2000)
    assert improbable(best) <= min(improbable(float(t)) for t in tried) + 1e-9


def test_of_many_images_it_has_the_lowest_loss() -> None:
    logits, labels = _drawn(1.7)
    losses = [
        negative_log_likelihood(_tempered(np.exp(logits), factor * 1.7), labels)
        for factor in (0.97, fit_temperature(logits, labels) / 1.7, 1.03)
    ]
    assert min(losses) == losses[1]


def test_a_few_images_that_are_all_right_do_not_make_it_sure_of_everything() -> None:
    labels = np.arange(20) % 8
    scores = np.where(np.eye(8)[labels] == 1, 4.0, 0.0)
    assert 0.5 < fit_temperature(scores, labels) < 1
    assert fit_temperature(np.tile(scores, (500, 1)), np.tile(labels, 500)) < 0.35


TILT = np.log([8.0, 2.0, 1.0, 0.5])


def _tilted(share: float, factor: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits of 20,000 images that hold a share of a tilt, then times a factor; and the labels."""
    chance = np.random.default_rng(0)
    truth = chance.dirichlet(np.ones(4), 20_000)
    labels = (truth.cumsum(axis=1) > chance.random((len(truth), 1))).argmax(axis=1)
    return (np.log(truth) + share * TILT) * factor, labels


@pytest.mark.parametrize("factor", [0.7, 1.0, 2.0])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_tilt_is_found_however_sure_the_network_is(share: float, factor: float) -> None:
    logits, labels = _tilted(share, factor)
    left, temperature = fit_tilt(logits, labels, TILT)
    assert left == pytest.approx(share, abs=0.11)
    assert temperature == pytest.approx(factor, rel=0.06)

    def lost(level: NDArray[np.float64]) -> float:
        return negative_log_likelihood(_tempered(np.exp(level), 1.0), labels)

    best = lost(logits / factor - share * TILT)
    assert lost(logits / temperature - left * TILT) == pytest.approx(best, abs=0.002)


def test_what_is_never_right_stays_in_bounds() -> None:
    labels = np.arange(64) % 8
    assert fit_temperature(np.eye(8)[labels] * -9.0, labels) == pytest.approx(HOTTEST)


def test_run_and_file_apply_what_was_fitted(
    tiny_run: Path, drawn_dataset: Dataset, tmp_path: Path
) -> None:
    _, card = read_weights(tiny_run / BEST_NAME)
    assert card.temperature != 1.0
    run = open_run(tiny_run)
    plain = TorchModel(run.network, card.model_copy(update={"temperature": 1.0}))
    crops = list(drawn_dataset.images(drawn_dataset.usable("valid")))
    expected = _tempered(plain.probabilities(crops), card.temperature)
    np.testing.assert_allclose(run.probabilities(crops), expected, atol=1e-5)
    (tmp_path / "run").mkdir()
    hot = card.model_copy(update={"temperature": 3.0})
    write_weights(tmp_path / "run" / BEST_NAME, run.network, hot)
    export_run(tmp_path / "run", tmp_path / "hot.onnx")
    found = OnnxModel(tmp_path / "hot.onnx")
    assert found.card.temperature == 3.0
    expected = _tempered(plain.probabilities(crops), 3.0)
    np.testing.assert_allclose(found.probabilities(crops), expected, atol=1e-4)


def test_run_and_file_apply_offsets_and_a_teacher_does_not(
    tiny_run: Path, drawn_dataset: Dataset, tmp_path: Path
) -> None:
    run = open_run(tiny_run)
    crops = list(drawn_dataset.images(drawn_dataset.usable("valid")))
    offsets = tuple(np.linspace(-2.0, 0.0, len(run.card.labels)).tolist())
    scores = np.log(run.probabilities(crops)) + offsets
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    card = run.card.model_copy(update={"offsets": offsets})
    (tmp_path / "run").mkdir()
    write_weights(tmp_path / "run" / BEST_NAME, run.network, card)
    moved = open_run(tmp_path / "run")
    np.testing.assert_allclose(moved.probabilities(crops), expected, atol=1e-5)
    export_run(tmp_path / "run", tmp_path / "moved.onnx")
    found = OnnxModel(tmp_path / "moved.onnx")
    assert found.card.offsets == offsets
    np.testing.assert_allclose(found.probabilities(crops), expected, atol=1e-4)
    ask, _ = open_teacher(str(tmp_path / "run"), card.spec, card.labels, torch.device("cpu"))
    pixels = torch.from_numpy(to_batch(crops, card.spec))
    np.testing.assert_allclose(ask(pixels).numpy(), run.probabilities(crops), atol=1e-5)


def test_older_files_have_the_temperature_of_one_and_no_offsets() -> None:
    card = load_model("base").card
    assert card.temperature < 1
    older = {
        key: value
        for key, value in card.model_dump(mode="json").items()
        if key not in ("temperature", "offsets")
    }
    read = ModelCard.model_validate(older)
    assert (read.temperature, read.offsets) == (1.0, ())
