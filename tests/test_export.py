"""A model file answers as its run does, carries its card, and never stands half written."""

import io
import json
import shutil
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from mien.data.dataset import Dataset
from mien.errors import ModelError
from mien.judging.evaluate import evaluate
from mien.model import OnnxModel
from mien.onnx.quantise import drawn_crops
from mien.preprocess import InputSpec
from mien.training import export
from mien.training.checkpoint import BEST_NAME, write_weights
from mien.training.export import TOLERANCE, export_int8, export_run, note_figures
from mien.training.networks import NETWORKS, build
from mien.training.runs import TorchModel, open_run


@pytest.fixture
def told_before(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take what torch says of the run from its file, for tests of what becomes of it."""
    monkeypatch.setattr(export, "_exported", lambda *_: onnx.load_model(str(tiny_onnx)))


@pytest.fixture(scope="module")
def small_onnx(tmp_path_factory: pytest.TempPathFactory, tiny_run: Path) -> Path:
    """The finished run as a file of 8 bits."""
    out = tmp_path_factory.mktemp("small") / "small.onnx"
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patched, redirect_stdout(said):
        patched.setattr("mien.onnx.quantise._FACES", 32)
        patched.setattr(export, "_COMPARED", 64)
        _, agreed = export_int8(tiny_run, out)
    assert said.getvalue() == ""  # ONNX Runtime prints how it looks for ranges.
    assert agreed >= 0.9
    return out


def test_file_answers_as_the_run_does(tiny_run: Path, tiny_onnx: Path) -> None:
    rng = np.random.default_rng(1)
    crops = [rng.integers(0, 256, (48, 48, 1), dtype=np.uint8) for _ in range(33)]
    ours, theirs = (
        open_run(tiny_run).probabilities(crops),
        OnnxModel(tiny_onnx).probabilities(crops),
    )
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)
    np.testing.assert_allclose(theirs.sum(axis=1), 1, atol=1e-5)


def test_card_travels_inside(tiny_run: Path, tiny_onnx: Path) -> None:
    card = OnnxModel(tiny_onnx).card
    of_run = open_run(tiny_run).card
    assert card.name == "tiny"
    assert (card.labels, card.size, card.channels) == (of_run.labels, 48, 1)
    assert card.training == of_run.training
    assert card.figures["valid"]["accuracy"] == of_run.figures["valid"]["accuracy"]


@pytest.mark.usefixtures("told_before")
@pytest.mark.parametrize("off", [0, 1], ids=["of-this-epoch", "of-another"])
def test_reports_in_the_run_folder_go_onto_the_card(
    tiny_run: Path, tmp_path: Path, off: int
) -> None:
    report = {
        "best_epoch": open_run(tiny_run).card.training["best_epoch"] + off,
        "split": "test",
        "n": 24,
        "macro_recall": 0.4,
        "nll": 1.5,
        "recall": {},
        "left_out": {},
        "dataset": {"name": "of mine", "fingerprint": "ab", "source_format": "folder"},
    }
    run = shutil.copytree(tiny_run, tmp_path / "run")
    # Those of other data lie beside it, and stay off.
    for name, accuracy in (("eval-test", 0.5), ("eval-test-0123456789abcdef", 0.9)):
        (run / name).mkdir()
        (run / name / "evaluation.json").write_text(json.dumps(report | {"accuracy": accuracy}))
    card, _ = export_run(run, tmp_path / "m.onnx")
    assert OnnxModel(tmp_path / "m.onnx").card.figures == card.figures
    if off:
        assert "test" not in card.figures
    else:
        figures = card.figures["test"]
        assert (figures["accuracy"], figures["n"]) == (0.5, 24)
        assert figures["dataset"] == {"fingerprint": "ab", "source_format": "folder"}


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"split": "test", "n": 3}'])
def test_a_damaged_report_in_the_run_folder_is_named(
    tiny_run: Path, tmp_path: Path, text: str
) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    (run / "eval-test").mkdir()
    (run / "eval-test" / "evaluation.json").write_text(text)
    with pytest.raises(ModelError, match=r"eval-test.evaluation\.json: not what 'mien eval' writ"):
        export_run(run, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


def test_file_names_no_path_of_the_machine(tiny_onnx: Path) -> None:
    raw = tiny_onnx.read_bytes()
    assert b"site-packages" not in raw
    assert b".py" not in raw


def test_file_is_small_and_whole(tiny_onnx: Path) -> None:
    model = onnx.load(tiny_onnx, load_external_data=False)
    onnx.checker.check_model(model)
    # 0.18 million float32 weights, and little besides.
    assert tiny_onnx.stat().st_size < 900_000


def test_another_answer_is_refused_and_nothing_is_left(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(ModelError, match="differs from the run"):
        export_run(tiny_run, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no best\.safetensors here"):
        export_run(tmp_path, tmp_path / "m.onnx")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", sorted({*NETWORKS} - {"mirror-m", "mirror-l"})
)  # Those are between two others of their design.
def test_every_network_exports(name: str, tiny_run: Path, tmp_path: Path) -> None:
    card = open_run(tiny_run).card.model_copy(update={"network": name})
    network = build(name, spec=InputSpec(), emotions=8).eval()
    (tmp_path / "run").mkdir()
    write_weights(tmp_path / "run" / BEST_NAME, network, card)
    export_run(tmp_path / "run", tmp_path / "m.onnx")
    # With the network as it is trained, which is not what is exported where it is mirrored.
    original = TorchModel(network, card)
    difference = export._largest_difference(original, OnnxModel(tmp_path / "m.onnx"))
    assert difference <= TOLERANCE


def test_brightness_is_evened_out_in_full_precision(small_onnx: Path) -> None:
    made_by = {name: n for n in onnx.load(small_onnx).graph.node for name in n.output}
    before = set()
    asked = list(next(node for node in made_by.values() if node.op_type == "Div").input)
    while asked:
        node = made_by.get(asked.pop())
        if node is not None:
            before.add(node.op_type)
            asked += node.input
    assert {"ReduceMean", "Sub", "Sqrt"} <= before
    assert not before & {"QuantizeLinear", "DequantizeLinear"}


def test_a_file_of_8_bits_is_small_and_answers_alike(tiny_onnx: Path, small_onnx: Path) -> None:
    assert [path.name for path in small_onnx.parent.iterdir()] == ["small.onnx"]
    exact, small = OnnxModel(tiny_onnx), OnnxModel(small_onnx)
    card = small.card
    assert card.name == "small"
    assert card.figures == {}  # Those of the run would be of other answers.
    assert small.path.stat().st_size < exact.path.stat().st_size / 2
    graph = onnx.load_model(str(small.path)).graph
    assert max(len(tensor.name) for tensor in graph.initializer) <= 3
    onnx.checker.check_model(str(small.path))
    crops = drawn_crops(card.spec, count=64, seed=2)
    difference = np.abs(exact.probabilities(crops) - small.probabilities(crops))
    assert 0 < difference.mean() < 0.02


def test_answers_may_be_decided_by_another_worth(
    tiny_run: Path, tmp_path: Path, drawn_dataset: Dataset
) -> None:
    run = open_run(tiny_run)
    trained_on = drawn_dataset.labels(drawn_dataset.usable("train"), run.card.labels)
    assert list(run.card.training["images"].values()) == np.bincount(trained_on).tolist()

    weights = tmp_path / "run" / BEST_NAME
    weights.parent.mkdir()
    numbers = np.array([400, 300, 120, 80, 50, 30, 19, 1])
    images = dict(zip(run.card.labels, numbers.tolist(), strict=True))
    card = run.card.model_copy(update={"training": {**run.card.training, "images": images}})
    write_weights(weights, run.network, card)
    crops = drawn_crops(card.spec, count=32, seed=2)

    def expected(worth: float) -> NDArray[np.float64]:
        weighed = run.probabilities(crops) * (worth + 1000 / (8 * numbers))
        found: NDArray[np.float64] = weighed / weighed.sum(axis=1, keepdims=True)
        return found

    even, _ = export_run(weights.parent, tmp_path / "even.onnx", worth=0.0)
    assert (even.worth, even.figures) == (0.0, {})
    assert card.figures != {}
    found = OnnxModel(tmp_path / "even.onnx").probabilities(crops)
    np.testing.assert_allclose(found, expected(0.0), atol=1e-4)

    # A run that was decided already is decided anew, not twice.
    write_weights(weights, run.network, even)
    decided = export._original(weights.parent, tmp_path / "again.onnx", worth=3.0, views=False)
    again = decided.card
    assert again.worth == 3.0
    np.testing.assert_allclose(decided.probabilities(crops), expected(3.0), atol=1e-4)

    # What training had added besides is taken out first.
    tilt = np.linspace(-1, 1, 8)
    plainly = export._decided(
        card.model_copy(
            update={"tilt": tuple(tilt), "offsets": tuple(tilt), "untilted_temperature": 0.9}
        ),
        3.0,
    )
    assert (plainly.tilt, plainly.temperature, plainly.untilted_temperature) == ((), 0.9, None)
    assert np.ptp(np.array(plainly.offsets) + tilt - np.array(again.offsets)) < 1e-6

    older = {key: value for key, value in card.training.items() if key != "images"}
    write_weights(weights, run.network, card.model_copy(update={"training": older}))
    with pytest.raises(ModelError, match="how many training images each emotion had"):
        export_run(weights.parent, tmp_path / "older.onnx", worth=3.0)
    assert not (tmp_path / "older.onnx").exists()


@pytest.mark.usefixtures("few_faces")
def test_an_answer_may_be_the_mean_of_those_to_nine_views(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sure = tmp_path / "run" / BEST_NAME
    sure.parent.mkdir()
    tiny = open_run(tiny_run)
    # So cold that its answers differ from view to view.
    write_weights(sure, tiny.network, tiny.card.model_copy(update={"temperature": 0.02}))
    card, _ = export_run(sure.parent, tmp_path / "views.onnx", views=True)
    assert (card.views, card.figures, tiny.card.views) == (9, {}, 1)
    file, run = OnnxModel(tmp_path / "views.onnx"), open_run(sure.parent)
    assert file.card == card
    crops = drawn_crops(card.spec, count=24, seed=2)
    images = np.stack(crops)[..., 0] / 255
    views = [
        _answers(run, np.stack([_seen(image, degrees, enlarged) for image in images]))
        for degrees in (0, -8, 8)
        for enlarged in (1.0, 1.06, 1.12)
    ]
    found = file.probabilities(crops)
    np.testing.assert_allclose(found, np.mean(views, axis=0), atol=2e-4)
    np.testing.assert_allclose(file.probabilities(crops[:1]), found[:1], atol=1e-5)
    # Nine times as many pictures as faces: they are seen a part at a time.
    np.testing.assert_allclose(file.probabilities(crops * 5), np.tile(found, (5, 1)), atol=1e-5)
    assert np.std(views, axis=0).max() > 0.005

    # What torch says of it, which takes seconds, is the same again.
    monkeypatch.setattr(export, "_exported", lambda *_: onnx.load_model(str(file.path)))
    out = tmp_path / f"{'s' * 245}.onnx"  # about as long as a name may be
    export_int8(sure.parent, out, views=True)
    small = OnnxModel(out)
    assert small.card.views == 9
    answered = small.probabilities(crops)
    apart = min(np.abs(answered - view).mean() for view in views)
    assert np.abs(answered - found).mean() < apart


def _seen(image: NDArray[np.float64], degrees: float, enlarged: float) -> NDArray[np.float64]:
    """Turn an image about its middle and enlarge it; what lies outside is as its border."""
    turn, middle = np.radians(degrees), (np.array(image.shape) - 1) / 2
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) / enlarged
    seen: NDArray[np.float64] = affine_transform(
        image, matrix, middle - matrix @ middle, order=1, mode="nearest"
    )
    return seen


def _answers(run: TorchModel, images: NDArray[np.float64]) -> NDArray[np.float32]:
    with torch.inference_mode():
        answers: NDArray[np.float32] = run.answers(
            torch.from_numpy(images)[:, None].float()
        ).numpy()
    return answers


def test_what_is_measured_of_a_file_goes_onto_its_card(
    small_onnx: Path, tmp_path: Path, drawn_dataset: Dataset
) -> None:
    shutil.copy(small_onnx, tmp_path / "v3.onnx")
    (tmp_path / "latest.onnx").symlink_to("v3.onnx")
    before = OnnxModel(tmp_path / "latest.onnx")
    card = before.card
    crops = drawn_crops(card.spec, count=16, seed=3)
    report = evaluate(before, drawn_dataset, "test")
    note_figures(before.path, "test", report.to_json())
    note_figures(before.path, "valid", report.to_json() | {"caveat": "It may flatter."})
    after = OnnxModel(tmp_path / "v3.onnx")
    assert after.card.figures.pop("valid")["caveat"] == "It may flatter."
    assert before.path.is_symlink()
    found = after.card.figures
    assert set(found) == {"test"}
    assert found["test"].get("caveat", "") == report.caveat
    assert found["test"]["accuracy"] == report.evaluation.accuracy
    assert found["test"]["n"] == report.evaluation.count
    assert after.card.model_copy(update={"figures": {}}) == card
    np.testing.assert_array_equal(after.probabilities(crops), before.probabilities(crops))


@pytest.mark.usefixtures("few_faces", "told_before")
def test_a_file_of_8_bits_that_answers_otherwise_is_not_written(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "AGREEMENT", 1.01)
    with pytest.raises(ModelError, match="of 64 drawn faces, expected"):
        export_int8(tiny_run, tmp_path / "small.onnx")
    assert list(tmp_path.iterdir()) == []
