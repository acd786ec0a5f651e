"""A file without what follows from the rest of it answers as before, bit for bit."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array, to_array

from mien.onnx.compact import compact
from mien.preprocess import InputSpec
from mien.training.checkpoint import BEST_NAME, write_weights
from mien.training.export import export_int8, export_run
from mien.training.mirror import MirrorConv, MirrorNorm
from mien.training.networks import build, parameter_count
from mien.training.runs import open_run


def _conv(filters: NDArray[np.float32]) -> onnx.ModelProto:
    size = ["n", filters.shape[1], 9, 9]
    graph = make_graph(
        [make_node("Conv", ["x", "a_long_name"], ["y"])],
        "conv",
        [make_tensor_value_info("x", onnx.TensorProto.FLOAT, size)],
        [make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", len(filters), None, None])],
        [from_array(filters, "a_long_name")],
    )
    return make_model(graph, opset_imports=[make_opsetid("", 18)], ir_version=10)


def _answer(model: onnx.ModelProto) -> NDArray[np.float32]:
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    ins = session.get_inputs()[0]
    x = np.random.default_rng(0).standard_normal((2, *ins.shape[1:]), dtype=np.float32)
    found: NDArray[np.float32] = session.run(None, {ins.name: x})[0]
    return found


def _weights(model: onnx.ModelProto) -> int:
    """Count the numbers in the filters that a file holds."""
    return sum(int(np.prod(t.dims)) for t in model.graph.initializer if len(t.dims) == 4)


@pytest.mark.parametrize("kernel", [1, 3, 4])
def test_a_mirrored_layer_keeps_half_its_filters_and_answers_alike(kernel: int) -> None:
    torch.manual_seed(0)
    layer = MirrorConv(6, 4, kernel, bias=False)
    filters = layer.plain().weight.detach().numpy()
    model = _conv(filters)
    before = _answer(model)
    compact(model.graph)
    assert _weights(model) == parameter_count(layer) == filters.size // 2
    assert _answer(model).tobytes() == before.tobytes()


@pytest.mark.parametrize("shape", [(4, 6, 3, 3), (3, 6, 3, 3), (4, 5, 3, 3)])
def test_filters_that_are_not_mirrored_stay(shape: tuple[int, ...]) -> None:
    filters = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    model = _conv(filters)
    compact(model.graph)
    assert len(model.graph.node) == 1
    np.testing.assert_array_equal(to_array(model.graph.initializer[0]), filters)


def test_one_weight_that_differs_is_enough_to_keep_all() -> None:
    filters = MirrorConv(6, 4, 3, bias=False).plain().weight.detach().numpy().copy()
    filters[3, 2, 1, 0] = np.nextafter(filters[3, 2, 1, 0], np.float32(9))
    model = _conv(filters)
    compact(model.graph)
    assert _weights(model) == filters.size


def test_names_inside_are_short_and_those_outside_stay() -> None:
    model = _conv(np.ones((3, 1, 3, 3), np.float32))
    compact(model.graph)
    assert len(model.graph.initializer[0].name) <= 2
    assert (model.graph.input[0].name, model.graph.output[0].name) == ("x", "y")


@pytest.fixture(scope="module")
def mirrored_run(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a mirrored network whose norms have statistics of their own."""
    torch.manual_seed(2)
    network = build("mirror-s", spec=InputSpec(), emotions=8)
    for part in network.modules():
        if isinstance(part, MirrorNorm):
            torch.nn.init.normal_(part.norm.weight, 1, 0.2)
            torch.nn.init.normal_(part.norm.bias, 0, 0.2)
    network.train()(torch.rand(64, 1, 48, 48))
    run = tmp_path_factory.mktemp("mirrored")
    card = open_run(tiny_run).card.model_copy(update={"network": "mirror-s"})
    write_weights(run / BEST_NAME, network.eval(), card)
    return run


@pytest.mark.usefixtures("few_faces")
@pytest.mark.parametrize("bits", [32, 8])
def test_a_file_of_a_mirrored_network_holds_what_was_learnt(
    bits: int, mirrored_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = export_run if bits == 32 else export_int8
    write(mirrored_run, tmp_path / "small.onnx")
    monkeypatch.setattr("mien.training.export.compact", lambda _: None)
    write(mirrored_run, tmp_path / "whole.onnx")
    small, whole = (onnx.load(tmp_path / f"{name}.onnx") for name in ("small", "whole"))
    # All but the first layer's, which sees the picture: it has no halves.
    first = 24 * 9
    assert _weights(small) - first == (_weights(whole) - first) / 2
    assert _answer(small).tobytes() == _answer(whole).tobytes()
    learnt = 0.38e6 * bits / 8
    # Besides: scales, the card, and shortcuts that average 2x2 pixels by four equal weights.
    assert (tmp_path / "small.onnx").stat().st_size < 1.1 * learnt + 50_000
