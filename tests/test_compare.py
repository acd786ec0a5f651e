"""Models side by side: exact tests against scipy, answers of commands, what counts as wrong."""

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.card import ModelCard
from mien.cli import main
from mien.cli.printing import print_comparison
from mien.data.dataset import Dataset
from mien.environments import CONDITIONS
from mien.errors import DataError, UsageError
from mien.judging.compare import Contender, compare, judge, paired_bootstrap, save_comparison
from mien.judging.comparison_page import render_comparison
from mien.judging.peers import ask_peer
from mien.labels import EMOTIONS
from mien.model import OnnxModel, load_model
from mien.people import Who, sums_over_people

PICTURES = [np.full((8, 8, 1), value, np.uint8) for value in (0, 100, 200)]


def _answers(n: int, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    draw = np.random.default_rng(seed)
    return draw.random(n) < 0.8, draw.random(n) < 0.7


def test_equal_answers_are_no_difference() -> None:
    ours, _ = _answers(100, 4)
    assert paired_bootstrap(ours, ours) == (0.0, 0.0)


def test_images_of_one_person_do_not_count_as_many_people() -> None:
    """Forty images of four people: of one of them ours gets ten more right."""
    truth = np.zeros(40, dtype=np.int64)
    wrong: list[str | None] = ["anger"] * 40
    first = _contender("first", EMOTIONS, [*wrong[:10], *[EMOTIONS[0]] * 30])
    ours = _contender("ours", EMOTIONS, [EMOTIONS[0]] * 40)
    people = np.repeat(np.arange(4), 10)
    apart, of_people = (judge([first, ours], truth, who)["models"][1] for who in (None, people))
    for against in ("against_first", "against_first_shared"):
        assert apart[against]["p"] == pytest.approx(2 / 2**10)
        assert apart[against]["interval"][0] > 0.1
        assert apart[against]["by"] == "images"
        assert of_people[against]["p"] == 1.0
        assert of_people[against]["interval"][0] == 0.0
        assert of_people[against]["by"] == "people"


@pytest.mark.parametrize(
    ("people", "printed", "on_page"),
    [
        ([0, 1, 2, 3], None, "p: exact McNemar test."),
        ([0, 0, 1, 1], "p by people", "Both by people, whose images are not independent"),
        ([0] * 4, "p by images of one person", "of one person alone, they say nothing of others"),
    ],
)
def test_a_comparison_says_by_what_it_judges(
    capsys: pytest.CaptureFixture[str], people: list[int], printed: str | None, on_page: str
) -> None:
    models = [_contender(name, EMOTIONS, ["neutral"] * 4) for name in ("one", "two")]
    about = {"name": "mine", "source_format": "folder", "fingerprint": "f"}
    found = {
        "split": "test",
        "dataset": about,
        "seeds": [],
        "failed": {},
        **judge(models, np.zeros(4, dtype=np.int64), np.array(people)),
    }
    print_comparison(found)
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if line.startswith("p by")] == ([printed] if printed else [])
    assert on_page in render_comparison(found)


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


def test_an_answer_that_is_not_shared_is_none_of_the_shared() -> None:
    truth = np.array([EMOTIONS.index("neutral")])
    eight = _contender("eight", EMOTIONS, ["contempt"])
    seven = _contender("seven", EMOTIONS[:7], ["neutral"])
    found = judge([eight, seven], truth)
    assert [entry["shared"]["accuracy"] for entry in found["models"]] == [0.0, 1.0]


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
        pytest.param("sys.stdout.buffer.write(b'\\xff')", "expected lines like", id="no-text"),
        pytest.param(
            "sys.stderr.buffer.write(b'Error: \\xff'); sys.exit(1)",
            "exit status 1: Error: \ufffd",
            id="fails-without-text",
        ),
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
        *(
            pytest.param(
                f"[print(json.dumps({{'faces': [{face}]}})) for p in paths]",
                "expected lines like",
                id=why,
            )
            for why, face in {
                "face-is-text": "'x'",
                "no-box": "{'box': None, 'probabilities': {'sad': 1}}",
                "half-a-box": "{'box': [0, 0], 'probabilities': {'sad': 1}}",
                "box-of-text": "{'box': list('0022'), 'probabilities': {'sad': 1}}",
                "box-without-end": "{'box': [0, 0, 2, 1e999], 'probabilities': {'sad': 1}}",
                "box-of-many-digits": "{'box': [0, 0, 2, 10**999], 'probabilities': {'sad': 1}}",
                "unnamed-probabilities": "{'probabilities': [0.1, 0.9]}",
                "no-probabilities": "{'probabilities': None}",
            }.items()
        ),
        pytest.param(
            "[print(json.dumps({'faces': [{'probabilities': {'sad': '1'}}]})) for p in paths]",
            "gave sad the probability '1'",
            id="probability-is-text",
        ),
        pytest.param(
            "[print(json.dumps({'faces': [{'probabilities': {'sad': 10**999}}]})) for p in paths]",
            "gave sad the probability inf",
            id="probability-of-many-digits",
        ),
    ],
)
def test_bad_answers_get_one_line(tmp_path: Path, body: str, says: str) -> None:
    with pytest.raises(DataError, match=r"^peer bad: ") as caught:
        ask_peer("bad", _command(tmp_path, body), PICTURES)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_times_that_are_no_numbers_do_not_count(tmp_path: Path) -> None:
    body = """
for path, ms in zip(paths, (float("nan"), 3, "fast")):
    print(json.dumps({"faces": [], "ms": ms}))
"""
    said = ask_peer("odd", _command(tmp_path, body), PICTURES)
    assert (said.milliseconds, said.timed) == (3.0, "peer")


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
    assert theirs["against_first"]["p"] == 1.0
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


FACELESS = 'for path in paths: print(json.dumps({"faces": []}))'
HALF_BLIND = """
for number, path in enumerate(paths):
    face = {"probabilities": {"sad": 0.5, "happy": 0.5}}
    line = {"faces": [face]} if number % 2 else {"faces": [], "error": "cannot decode"}
    print(json.dumps(line))
"""


def test_a_peer_that_never_sees_a_face_does_not_end_the_comparison(
    drawn_dataset: Dataset, tiny_onnx: Path, tmp_path: Path
) -> None:
    model = (OnnxModel(tiny_onnx, threads=1), 1)
    peers = {"faceless": _command(tmp_path, FACELESS)}
    found = compare({"one": model, "two": model}, peers, drawn_dataset, "test")
    assert [entry["name"] for entry in found["models"]] == ["one", "two"]
    assert "named no emotion" in found["failed"]["faceless"]


def test_what_a_peer_could_not_read_is_told(
    drawn_dataset: Dataset, tiny_onnx: Path, tmp_path: Path
) -> None:
    peers = {"half": _command(tmp_path, HALF_BLIND)}
    models = {"one": (OnnxModel(tiny_onnx, threads=1), 1)}
    found = compare(models, peers, drawn_dataset, "test")
    n = found["n"]
    assert found["models"][1]["no_face"] == n - n // 2
    says = f"peer half: could not read {n - n // 2} of {n} images: cannot decode"
    assert found["failed"] == {"half": says}


def test_who_learnt_from_other_data_is_told(drawn_dataset: Dataset, tiny_onnx: Path) -> None:
    models = {"tiny": (OnnxModel(tiny_onnx, threads=1), 1), "nano": (load_model("nano"), 1)}
    found = compare(models, {}, drawn_dataset, "test")
    assert found["models"][0]["caveat"] == ""
    assert "nobody has checked" in found["models"][1]["caveat"]
    assert "<b>nano</b>: It, a model that it started from" in render_comparison(found)


def test_images_are_taken_a_batch_at_a_time(
    drawn_dataset: Dataset, tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million of them fit into no memory."""
    taken: list[int] = []
    images = Dataset.images

    def watched(self: Dataset, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        taken.append(len(rows))
        return images(self, rows)

    monkeypatch.setattr(Dataset, "images", watched)
    monkeypatch.setattr("mien.data.dataset.BATCH", 5)
    monkeypatch.setattr("mien.judging.compare._TIMED_FACES", 1)
    peers = {"blind": _command(tmp_path, _of_all_emotions(BLIND))}
    compare({"one": (OnnxModel(tiny_onnx, threads=1), 1)}, peers, drawn_dataset, "test")
    assert max(taken) == 5


@pytest.fixture
def three_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each of them a command is started anew."""
    few = {name: CONDITIONS[name] for name in ("dark", "mask", "low_resolution")}
    monkeypatch.setattr("mien.judging.robustness.CONDITIONS", few)


@pytest.mark.usefixtures("three_conditions")
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


TIRES = """
from pathlib import Path
calls = Path(__file__).with_suffix(".calls")
calls.write_text(calls.read_text() + "x" if calls.exists() else "x")
if len(calls.read_text()) > 2:
    sys.exit("RuntimeError: out of memory")
for path in paths:
    print(json.dumps({"faces": [{"probabilities": dict.fromkeys(NAMES, 0.125)}]}))
"""
BLIND = """
for number, path in enumerate(paths):
    face = {"probabilities": dict.fromkeys(NAMES, 0.1) | {"anger": 0.3}}
    print(json.dumps({"faces": [] if number else [face]}))
"""


def _of_all_emotions(body: str) -> str:
    return f"NAMES = {EMOTIONS!r}\n{body}"


@pytest.mark.usefixtures("three_conditions")
def test_in_environments_too_no_face_is_wrong(
    drawn_dataset: Dataset, tiny_onnx: Path, tmp_path: Path
) -> None:
    """The peer sees a face in the first image only. All are neutral, the first of the emotions."""
    dataset = drawn_dataset.with_column("label", ["neutral"] * len(drawn_dataset))
    models = {"tiny": (OnnxModel(tiny_onnx, threads=1), 1)}
    peers = {"blind": _command(tmp_path, _of_all_emotions(BLIND))}
    found = compare(models, peers, dataset, "test", environments=5)
    blind = found["models"][1]
    assert blind["all"]["accuracy"] == 0
    environments = blind["environments"]
    assert {
        (entry["accuracy"], entry["macro_recall"])
        for entries in ([environments["clean"]], *environments["conditions"].values())
        for entry in entries
    } == {(0.0, 0.0)}
    assert environments["clean"]["nll"] == pytest.approx(np.log(10))
    assert environments["flips"] == 0


def test_a_peer_that_fails_in_the_environments_keeps_its_other_figures(
    drawn_dataset: Dataset, tiny_onnx: Path, tmp_path: Path
) -> None:
    models = {"tiny": (OnnxModel(tiny_onnx, threads=1), 1)}
    peers = {"tires": _command(tmp_path, _of_all_emotions(TIRES))}
    found = compare(models, peers, drawn_dataset, "test", environments=5)
    ours, theirs = found["models"]
    assert ours["environments"]["n"] == 5
    assert theirs["name"] == "tires"
    assert "environments" not in theirs
    assert list(found["failed"]) == ["tires"]
    assert found["failed"]["tires"].endswith("exit status 1: RuntimeError: out of memory")


def test_models_that_differ_by_their_seed_are_summed_up(
    drawn_dataset: Dataset, tiny_onnx: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not those of another recipe, nor unfinished ones, and of one seed only the first."""

    class Seeded(OnnxModel):
        def __init__(self, seed: int, shift: int, **recipe: Any) -> None:
            super().__init__(tiny_onnx)
            told = {**super().card.training, "recipe": {"seed": seed, "epochs": 3, **recipe}}
            if seed == 4:
                told["epochs_done"] = 2
            self.seeded = super().card.model_copy(update={"training": told})
            self.shift = shift

        @property
        def card(self) -> ModelCard:
            return self.seeded

        def probabilities(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
            return np.roll(super().probabilities(crops), self.shift, axis=1)

    size = tiny_onnx.stat().st_size
    models = {
        "two": (Seeded(2, 1), size),
        "zero": (Seeded(0, 0), size),
        "again": (Seeded(2, 3), size),
        "small": (Seeded(1, 2), size // 4),
        "run": (Seeded(1, 2), None),
        "longer": (Seeded(5, 0, epochs=9), size),
        "begun": (Seeded(4, 2), None),
        "nano": (load_model("nano"), 1),
    }
    found = compare(models, {}, drawn_dataset, "test")
    (group,) = found["seeds"]
    assert (group["models"], group["seeds"]) == (["zero", "run", "two"], [0, 1, 2])
    figures = {entry["name"]: entry["all"] for entry in found["models"]}
    for key in ("accuracy", "macro_recall", "nll", "brier", "calibration_error"):
        values = [figures[name][key] for name in group["models"]]
        assert group["mean"][key] == pytest.approx(np.mean(values))
        assert group["deviation"][key] == pytest.approx(np.std(values, ddof=1))
        assert group["deviation"][key] > 0
    print_comparison(found)
    told = f"NLL {group['mean']['nll']:.3f} ± {group['deviation']['nll']:.3f}"
    said = capsys.readouterr().out
    assert "zero, run, two differ by their seed (0, 1, 2), mean ± standard deviation: acc" in said
    assert told in said
    page = render_comparison(found)
    assert "<h2>3 seeds</h2>" in page and told.removeprefix("NLL ") in page


def test_the_command_leaves_the_figures_and_a_page(
    drawn_dataset: Dataset,
    tiny_onnx: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    peer = _command(tmp_path, _of_all_emotions(TIRES))
    out = tmp_path / "deep" / "comparison"
    arguments = [str(tiny_onnx), "--data", str(drawn_dataset.path), "--peer", f"tires={peer}"]
    arguments += ["--environments", "5", "--out", str(out), "--json", str(tmp_path / "it.json")]
    monkeypatch.setattr(sys, "argv", ["mien", "compare", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert "".join(said.err.split()).count("wrote") == 2
    assert "mien: peer tires:" in said.err
    assert "in environments" in said.out
    assert sorted(path.name for path in out.iterdir()) == ["comparison.html", "comparison.json"]
    assert (out / "comparison.json").read_bytes() == (tmp_path / "it.json").read_bytes()
    page = (out / "comparison.html").read_text(encoding="utf-8")
    assert "RuntimeError: out of memory" in page
    assert "low resolution" in page


def test_all_is_saved_before_anything_is_printed(
    drawn_dataset: Dataset, tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is printed may go into a pipe that has ended."""

    def ends(found: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("mien.cli.judging.print_comparison", ends)
    out, file = tmp_path / "comparison", tmp_path / "it.json"
    arguments = [str(tiny_onnx), "nano", "--data", str(drawn_dataset.path)]
    arguments += ["--out", str(out), "--json", str(file)]
    monkeypatch.setattr(sys, "argv", ["mien", "compare", *arguments])
    with pytest.raises(SystemExit):
        main()
    assert (out / "comparison.json").read_bytes() == file.read_bytes()
    assert (out / "comparison.html").exists()


class _Tables(HTMLParser):
    """The text of every cell, by table and row."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.tags: set[str] = set()
        self._in_cell = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"th", "td"}:
            self.tables[-1][-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self._in_cell &= tag not in {"th", "td"}

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.tables[-1][-1][-1] += data.strip()


def _found(*contenders: Contender) -> dict[str, Any]:
    truth = np.array([EMOTIONS.index(e) for e in ("neutral", "fear", "contempt", "contempt")])
    about = {"name": "mine", "fingerprint": "abc", "source_format": "folder"}
    return {
        "split": "test",
        "dataset": about,
        "failed": {},
        "seeds": [],
        **judge(contenders, truth),
    }


def test_the_page_holds_every_figure_and_trusts_no_name(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>"
    eight = _contender(hostile, EMOTIONS, ["neutral", "fear", "contempt", "neutral"])
    seven = _contender("seven", EMOTIONS[:7], [None] * 4)
    found = _found(eight, seven)
    found["failed"] = {hostile: hostile}
    save_comparison(found, tmp_path)
    text = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    page = _Tables(text)
    assert "script" not in page.tags
    figures, against = page.tables
    assert figures[1] == [
        *(hostile, "75.00 %", "", "100.00 %", "83.33 %", "4.030", "25.00 %", "0.500", "1.00", "-")
    ]
    assert figures[2] == [
        *("sevenno face in 4 images", "0.00 %", "", "0.00 %", "0.00 %", "-", "-", "-", "1.00", "-")
    ]
    # Not the loss of the one: the other, of whom nothing is known, is no comparison.
    assert text.count('class="best"') == 3
    # Told among the two images whose emotion both know; of four the difference would be 75 points.
    assert found["models"][1]["against_first"]["difference"] == -0.75
    assert against[1] == ["seven", "\u2212100.0", "", "\u2212100.0 to \u2212100.0", "0.500"]
    assert "Over the 2 images of emotions that all of them know" in text


def test_an_emotion_that_one_never_learnt_does_not_decide() -> None:
    eight = _contender("eight", EMOTIONS, ["neutral", "fear", "contempt", "contempt"])
    seven = _contender("seven", EMOTIONS[:7], ["neutral", "fear", "anger", "anger"])
    entry = _found(eight, seven)["models"][1]
    assert entry["against_first"]["difference"] == -0.5
    assert entry["against_first_shared"] == {
        "difference": 0.0,
        "interval": [0.0, 0.0],
        "p": 1.0,
        "by": "images",
    }


def test_what_p_calls_chance_is_not_coloured() -> None:
    """Four answers of 300 differ, all the same way: the interval leaves out 0, p is 0.125."""
    truth = np.zeros(300, dtype=np.int64)
    answers: list[str | None] = ["neutral"] * 300
    mistaken: list[str | None] = ["fear"] * 4
    worse = _contender("worse", EMOTIONS, mistaken + answers[4:])
    about = {"name": "mine", "fingerprint": "abc", "source_format": "folder"}
    found = judge([worse, _contender("better", EMOTIONS, answers)], truth)
    low, _ = found["models"][1]["against_first"]["interval"]
    assert low > 0
    page = render_comparison(
        {"split": "test", "dataset": about, "failed": {}, "seeds": [], **found}
    )
    assert '<tr class="open"><th>better' in page


@pytest.mark.parametrize("second", ["worse", "better"])
def test_better_and_worse_are_not_swapped(second: str) -> None:
    answers: list[str | None] = ["neutral"] * 40 if second == "better" else ["fear"] * 40
    others: list[str | None] = ["fear"] * 40 if second == "better" else ["neutral"] * 40
    contenders = [_contender("first", EMOTIONS, others), _contender("second", EMOTIONS, answers)]
    about = {"name": "mine", "fingerprint": "abc", "source_format": "folder"}
    found = judge(contenders, np.zeros(40, dtype=np.int64))
    page = render_comparison(
        {"split": "test", "dataset": about, "failed": {}, "seeds": [], **found}
    )
    assert f'<tr class="{second}"><th>second' in page


def test_what_is_printed_is_tested_among_the_shared_emotions(
    capsys: pytest.CaptureFixture[str],
) -> None:
    eight = _contender("eight", EMOTIONS, ["neutral", "fear", "contempt", "contempt"])
    found = _found(eight, _contender("seven", EMOTIONS[:7], [None] * 4))
    entry = found["models"][1]
    entry["against_first"]["p"], entry["against_first_shared"]["p"] = 0.111, 0.222
    entry["caveat"] = "It learnt from other data."
    print_comparison(found)
    said = capsys.readouterr().out
    assert "0.22" in said and "0.11" not in said
    assert "seven: It learnt from other data." in said


def test_a_run_is_said_to_be_timed_by_pytorch(capsys: pytest.CaptureFixture[str]) -> None:
    file = _contender("file", EMOTIONS, ["neutral", "fear", "contempt", "contempt"])
    found = _found(file, replace(file, name="mine", timed="run", bytes=None))
    print_comparison(found)
    assert "mine: timed as a run, by PyTorch" in capsys.readouterr().out
    page = render_comparison(found)
    assert "<small>PyTorch</small>" in page and "PyTorch: a run" in page
    assert "PyTorch" not in render_comparison(_found(file, replace(file, name="other")))


def test_people_are_those_of_the_images_that_decide(capsys: pytest.CaptureFixture[str]) -> None:
    """Two people, of whom one alone shows what both models know."""
    eight = _contender("eight", EMOTIONS, ["neutral", "neutral", "contempt"])
    seven = _contender("seven", EMOTIONS[:7], ["neutral", "fear", None])
    truth = np.array([EMOTIONS.index(name) for name in ("neutral", "neutral", "contempt")])
    found = judge([eight, seven], truth, np.array([0, 0, 1]))
    about = {"name": "mine", "source_format": "folder", "fingerprint": "f"}
    found = {"split": "test", "dataset": about, "failed": {}, "seeds": [], **found}
    assert found["models"][1]["against_first"]["by"] == "people"
    print_comparison(found)
    assert "p by images of one person" in capsys.readouterr().out
    assert "by the choice of images of one person alone" in render_comparison(found)


def test_few_people_have_wider_ends_than_what_was_drawn() -> None:
    truth = np.zeros(50, dtype=np.int64)
    right = np.arange(50) % 10 < np.repeat([1, 3, 5, 7, 9], 10)
    first = _contender("first", EMOTIONS, [None] * 50)
    ours = _contender("ours", EMOTIONS, ["neutral" if each else "fear" for each in right])
    people = np.repeat(np.arange(5), 10)
    (low, high) = judge([first, ours], truth, people)["models"][1]["against_first"]["interval"]
    drawn = sums_over_people(right[:, None] * 1.0, people, resamples=10_000)[:, 0] / 40
    least, most = np.percentile(drawn, (2.5, 97.5))
    assert low < least - 0.02 and high > most + 0.02


def test_a_page_of_models_that_answer_alike(tmp_path: Path) -> None:
    answers: list[str | None] = ["neutral", "fear", "contempt", "contempt"]
    found = _found(_contender("one", EMOTIONS, answers), _contender("two", EMOTIONS, answers))
    assert [path.name for path in save_comparison(found, tmp_path)] == [
        "comparison.html",
        "comparison.json",
    ]
    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert _Tables(page).tables[1][1] == ["two", "+0.0", "", "+0.0 to +0.0", "1.000"]
    assert 'class="best"' not in page


@pytest.mark.filterwarnings("error")
def test_people_who_show_no_shared_emotion_do_not_count_among_the_shared() -> None:
    """Of eight people three show what the second knows; all that it gets wrong are of one."""
    truth = np.tile([2, 2, 2, 2, 2, 0, 0, 0], 10)
    people = np.tile(np.arange(8), 10)
    right = [EMOTIONS[label] for label in truth]
    wrong = [
        "happiness" if who == 6 else emotion for who, emotion in zip(people, right, strict=True)
    ]
    first = _contender("first", EMOTIONS, right)
    ours = _contender("ours", EMOTIONS[:2], wrong)
    of_shared = judge([first, ours], truth, people)["models"][1]["against_first_shared"]
    assert of_shared["interval"] == pytest.approx([-1, 0])


def test_who_is_shown_is_told_by_rows_of_the_split(
    monkeypatch: pytest.MonkeyPatch, drawn_dataset: Dataset, tiny_onnx: Path
) -> None:
    told: list[list[int]] = []
    real = judge

    def heard(contenders: Any, truth: Any, people: NDArray[np.int64], who: Who) -> Any:
        told.append(people.tolist())
        return real(contenders, truth, people, who)

    monkeypatch.setattr("mien.judging.compare.judge", heard)
    rows = drawn_dataset.usable("test")
    names: list[str | None] = [None] * len(drawn_dataset)
    for row in rows:
        names[row] = "the same"
    named = drawn_dataset.with_column("subject", names)
    model = load_model(tiny_onnx)
    compare({"a": (model, 1), "b": (model, 1)}, {}, named, "test")
    assert told == [[0] * len(rows)]


def test_people_who_are_alike_make_no_interval_narrower() -> None:
    """Everybody's two images, of which each of two models gets one right."""
    truth = np.zeros(40, dtype=np.int64)
    first = _contender("first", EMOTIONS, ["neutral", "anger"] * 20)
    ours = _contender("ours", EMOTIONS, ["anger", "neutral"] * 20)
    apart, of_people = (
        judge([first, ours], truth, who)["models"][1]["against_first"]["interval"]
        for who in (None, np.repeat(np.arange(20), 2))
    )
    assert apart == of_people
    assert apart[0] < -0.1
