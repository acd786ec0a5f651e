"""Model files: the shipped ones open, everything else is refused in one clear line."""

import inspect
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import mien
from mien.card import METADATA_KEY, ModelCard
from mien.cli import recognition
from mien.data.dataset import Dataset
from mien.errors import ModelError, UsageError
from mien.labels import EMOTIONS
from mien.model import DEFAULT_MODEL, OnnxModel, is_run, load_model, shipped_models


def _onnx_file(path: Path, *, card: str | None) -> Path:
    """A valid file that is no emotion model: it passes four numbers on."""
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 4]) for n in ("a", "b")]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["a"], ["b"])], "g", value[:1], value[1:]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if card is not None:
        model.metadata_props.add(key=METADATA_KEY, value=card)
    onnx.save_model(model, str(path))
    return path


CARD = ModelCard(name="a", network="mini", labels=("x", "y"), size=48, channels=1, parameters=6)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a readable ONNX model"),
        (b"\x89PNG\r\n not a model", "not a readable ONNX model"),
        (b"x" * 100_000, "not a readable ONNX model"),
    ],
    ids=["empty", "a picture", "rubbish"],
)
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=says) as caught:
        OnnxModel(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("card", "says"),
    [
        (None, "without a mien card"),
        ("{not json", "card is broken"),
        ('{"format_version": 2}', "format_version"),
        (CARD.model_dump_json(), "its card says"),
    ],
    ids=["no card", "broken card", "newer card", "card of another model"],
)
def test_a_file_whose_card_does_not_fit_is_refused(
    tmp_path: Path, card: str | None, says: str
) -> None:
    with pytest.raises(ModelError, match=says):
        OnnxModel(_onnx_file(tmp_path / "m.onnx", card=card))


def test_a_truncated_model_is_refused(tmp_path: Path, tiny_onnx: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(tiny_onnx.read_bytes()[:-20_000])
    with pytest.raises(ModelError, match="not a readable ONNX model"):
        OnnxModel(path)


def test_a_run_folder_gets_told_of_export(tiny_run: Path) -> None:
    with pytest.raises(ModelError, match="mien export"):
        OnnxModel(tiny_run)


def test_missing_file_and_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        load_model(tmp_path / "m.onnx")
    with pytest.raises(UsageError, match=r"no model 'huge'.*base"):
        load_model("huge")


def test_a_folder_called_as_a_shipped_model_hides_it_from_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("base", "mine"):
        (tmp_path / name).mkdir()
    assert not is_run("base")
    assert is_run("mine") and is_run(str(tmp_path / "base"))


@pytest.mark.parametrize("device", ["tpu", "cuda"])
def test_a_device_that_is_not_there(tiny_onnx: Path, device: str) -> None:
    with pytest.raises(UsageError, match="device"):
        OnnxModel(tiny_onnx, device=device)


def test_a_gpu_that_onnx_runtime_silently_gives_up_on(
    tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where CUDA's libraries are missing it answers on the CPU, many times slower."""
    on_the_cpu = onnxruntime.InferenceSession(tiny_onnx, providers=["CPUExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: on_the_cpu)
    with pytest.raises(UsageError, match=r"'cuda' cannot be used.*cuDNN.*--device cpu"):
        OnnxModel(tiny_onnx, device="cuda")


def test_no_crops_no_rows(tiny_onnx: Path) -> None:
    assert OnnxModel(tiny_onnx).probabilities([]).shape == (0, 8)


def test_batches_and_single_faces_agree(tiny_onnx: Path, drawn_dataset: Dataset) -> None:
    model = OnnxModel(tiny_onnx)
    crops = list(drawn_dataset.images(np.arange(9)))
    one_by_one = np.concatenate([model.probabilities([crop]) for crop in crops])
    np.testing.assert_allclose(model.probabilities(crops), one_by_one, atol=1e-5)


def test_several_threads_get_their_own_answers(tiny_onnx: Path, drawn_dataset: Dataset) -> None:
    model = OnnxModel(tiny_onnx, threads=1)
    crops = list(drawn_dataset.images(np.arange(8)))
    expected = [model.probabilities([crop]) for crop in crops]
    wrong: list[int] = []

    def ask(number: int) -> None:
        answers = [model.probabilities([crops[number]]) for _ in range(20)]
        wrong.extend(number for a in answers if not np.allclose(a, expected[number], atol=1e-6))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    "asks",
    [
        pytest.param(asks, id=asks.__name__)
        for asks in (mien.load, recognition.predict, recognition.live, recognition.score)
    ],
)
def test_whoever_names_no_model_gets_the_default(asks: Callable[..., object]) -> None:
    """Written out there, since a start that imports `mien.model` takes longer."""
    wanted = inspect.signature(asks).parameters
    name = wanted["model"] if "model" in wanted else wanted["name_or_path"]
    assert name.default == DEFAULT_MODEL


def test_every_shipped_model_opens_and_has_a_whole_card() -> None:
    assert DEFAULT_MODEL in shipped_models()
    for name in shipped_models():
        card = load_model(name).card
        assert card.name == name
        assert set(card.labels) <= set(EMOTIONS)
        assert card.figures["test"]["n"] > 3000
        assert card.training["dataset"]["source_format"] == "ferplus"
        assert 0 < card.figures["test"]["accuracy"] < 1
