"""Models side by side: exact tests against scipy, answers of commands, what counts as wrong."""

import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from mien.compare import Contender, compare, judge, mcnemar, paired_bootstrap
from mien.data.dataset import Dataset
from mien.errors import DataError, UsageError
from mien.labels import EMOTIONS
from mien.model import OnnxModel
from mien.peers import ask_peer

PICTURES = [np.full((8, 8, 1), value, np.uint8) for value in (0, 100, 200)]


def _answers(n: int, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    draw = np.random.default_rng(seed)
    return draw.random(n) < 0.8, draw.random(n) < 0.7


@pytest.mark.parametrize(("n", "seed"), [(1, 0), (30, 1), (500, 2), (3153, 3)])
def test_mcnemar_agrees_with_scipy(n: int, seed: int) -> None:
    ours, theirs = _answers(n, seed)
    better, worse = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    expected = binomtest(better, better + worse).pvalue if better + worse else 1.0
    assert mcnemar(ours, theirs) == pytest.approx(expected, rel=1e-9)


def test_equal_answers_are_no_difference() -> None:
    ours, _ = _answers(100, 4)
    assert mcnemar(ours, ours) == 1.0
    assert paired_bootstrap(ours, ours) == (0.0, 0.0)


def test_bootstrap_interval_agrees_with_drawing_images() -> None:
    ours, theirs = _answers(400, 5)
    difference = ours.astype(float) - theirs
    rows = np.random.default_rng(9).integers(0, 400, (10_000, 400))
    expected = np.percentile(difference[rows].mean(axis=1), (2.5, 97.5))
    np.testing.assert_allclose(paired_bootstrap(ours, theirs), expected, atol=0.006)


def _contender(name: str, labels: tuple[str, ...], answers: list[str | None]) -> Contender:
    shares = np.zeros((len(answers), 8))
    for row, answer in enumerate(answers):
        if answer is not None:
            shares[row, EMOTIONS.index(answer)] = 1
    return Contender(name, labels, shares, 1.0, "median", None)


def test_what_counts_as_wrong() -> None:
    truth = np.array([EMOTIONS.index(e) for e in ("neutral", "fear", "contempt", "contempt")])
    eight = _contender("eight", EMOTIONS, ["neutral", "fear", "contempt", "neutral"])
    seven = _contender("seven", EMOTIONS[:7], ["neutral", None, "neutral", "anger"])
    found = judge([eight, seven], truth)
    assert (found["n"], found["n_shared"], found["shared"]) == (4, 2, list(EMOTIONS[:7]))
    first, second = found["models"]
    assert (first["all"]["accuracy"], first["shared"]["accuracy"]) == (0.75, 1.0)
    assert (second["all"]["accuracy"], second["shared"]["accuracy"]) == (0.25, 0.5)
    assert second["no_face"] == 1
    assert second["shared"]["nll"] == 0
    assert second["against_first"]["difference"] == -0.5
    assert json.dumps(found, allow_nan=False)


def test_shared_probabilities_are_scaled() -> None:
    shares = np.zeros((1, 8))
    shares[0, [0, 1, 7]] = 0.2, 0.2, 0.6
    eight = Contender("eight", EMOTIONS, shares, 1.0, "median", 1)
    seven = _contender("seven", EMOTIONS[:7], ["neutral"])
    figures = judge([eight, seven], np.array([0]))["models"][0]
    assert figures["all"]["accuracy"] == 0
    assert figures["shared"]["accuracy"] == 1
    assert figures["shared"]["nll"] == pytest.approx(np.log(2))


def _command(folder: Path, body: str) -> str:
    script = folder / "peer.py"
    script.write_text(f"import json, sys\npaths = [l.strip() for l in sys.stdin]\n{body}\n")
    return shlex.join([sys.executable, str(script)])


TWO_FACES = """
for number, path in enumerate(paths):
    faces = [{"box": [0, 0, 2, 2], "probabilities": {"happy": 1.0}},
             {"box": [0, 0, 9, 9], "probabilities": {"Angry": 3, "sad": 1}}]
    print(json.dumps({"source": path, "faces": faces if number else [], "ms": number}))
"""


def test_answers_of_a_command(tmp_path: Path) -> None:
    said = ask_peer("two", _command(tmp_path, TWO_FACES), PICTURES)
    assert said.labels == ("sadness", "anger")
    assert said.probabilities[0].sum() == 0
    assert said.probabilities[1, EMOTIONS.index("anger")] == 0.75
    assert (said.milliseconds, said.timed) == (1.0, "peer")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param("", "0 answers to 3 images, exit status 0", id="silent"),
        pytest.param("sys.exit('no weights')", "exit status 1: no weights", id="fails"),
        pytest.param("print('hello')", "wrote 'hello', expected lines", id="no-json"),
        pytest.param("print([1])", "expected lines like", id="no-object"),
        pytest.param(
            "[print(json.dumps({'source': 'x', 'faces': []})) for p in paths]",
            "answered 'x' where",
            id="other-order",
        ),
        pytest.param(
            "[print(json.dumps({'faces': [{'probabilities': {'sleepy': 1}}]})) for p in paths]",
            "'sleepy', which mien does not know",
            id="unknown-emotion",
        ),
        pytest.param(
            "[print(json.dumps({'faces': [{'probabilities': {'sad': -1}}]})) for p in paths]",
            "the probability -1",
            id="negative",
        ),
    ],
)
def test_bad_answers_get_one_line(tmp_path: Path, body: str, says: str) -> None:
    with pytest.raises(DataError, match=r"^peer bad: ") as caught:
        ask_peer("bad", _command(tmp_path, body), PICTURES)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_command() -> None:
    with pytest.raises(UsageError, match="cannot run 'no-such-program'"):
        ask_peer("gone", "no-such-program", PICTURES)


def _itself(model: Path) -> str:
    """A command's body that asks the model itself."""
    return (
        "from mien import load\n"
        f"ask = load({str(model)!r}, detector='none')\n"
        "for prediction, _ in ask.predict_files(paths):\n"
        "    print(json.dumps(prediction.to_json()))"
    )


def test_a_model_beside_its_own_command(
    drawn_dataset: Dataset, tiny_onnx: Path, tmp_path: Path
) -> None:
    models = {"tiny": (OnnxModel(tiny_onnx, threads=1), tiny_onnx.stat().st_size)}
    found = compare(models, {"same": _command(tmp_path, _itself(tiny_onnx))}, drawn_dataset, "test")
    ours, theirs = found["models"]
    assert theirs["all"]["accuracy"] == ours["all"]["accuracy"]
    assert theirs["all"]["nll"] == pytest.approx(ours["all"]["nll"], abs=1e-3)
    assert theirs["against_first"]["mcnemar_p"] == 1.0
    with pytest.raises(UsageError, match="at least two"):
        compare(models, {}, drawn_dataset, "test")


def test_a_peer_that_fails_is_told_and_the_others_go_on(
    drawn_dataset: Dataset, tiny_onnx: Path
) -> None:
    model = (OnnxModel(tiny_onnx, threads=1), 1)
    found = compare(
        {"one": model, "two": model}, {"gone": "no-such-program"}, drawn_dataset, "test"
    )
    assert [entry["name"] for entry in found["models"]] == ["one", "two"]
    assert "no-such-program" in found["failed"]["gone"]
    with pytest.raises(DataError, match="no-such-program"):
        compare({"one": model}, {"gone": "no-such-program"}, drawn_dataset, "test")


def test_environments_of_a_command_are_those_of_the_model(
    drawn_dataset: Dataset, tiny_onnx: Path, tmp_path: Path
) -> None:
    models = {"tiny": (OnnxModel(tiny_onnx, threads=1), 1)}
    peers = {"same": _command(tmp_path, _itself(tiny_onnx))}
    found = compare(models, peers, drawn_dataset, "test", environments=5)
    ours, theirs = (entry["environments"] for entry in found["models"])
    assert ours["n"] == 5
    assert ours["middle"] == pytest.approx(theirs["middle"])
    assert ours["flips"] == theirs["flips"]
    assert {len(entries) for entries in ours["conditions"].values()} == {1}
