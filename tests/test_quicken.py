"""A quickened graph answers as before, and what does not fit the patterns is left alone."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array

from mien.onnx.quicken import quicken
from mien.preprocess import InputSpec
from mien.training.checkpoint import BEST_NAME, write_weights
from mien.training.export import export_run
from mien.training.networks import build
from mien.training.runs import open_run

_CHANNELS = 4
_TENSORS = {
    "w": np.random.default_rng(0).standard_normal((6, _CHANNELS, 1, 1), dtype=np.float32),
    "w3": np.random.default_rng(1).standard_normal((6, _CHANNELS, 3, 3), dtype=np.float32),
    "grouped": np.random.default_rng(2).standard_normal((6, 2, 1, 1), dtype=np.float32),
    "bias": np.arange(6, dtype=np.float32),
    "map": np.array([2, 3]),
    "map from the end": np.array([-1, -2]),
    "all": np.array([1, 2, 3]),
}


def _model(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    """Return a model of these nodes, from x to y."""
    used = {name for node in nodes for name in node.input}
    graph = make_graph(
        nodes,
        "graph",
        [make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", _CHANNELS, 9, 9])],
        [make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [from_array(value, name) for name, value in _TENSORS.items() if name in used],
    )
    return make_model(graph, opset_imports=[make_opsetid("", 18)], ir_version=10)


def _answer(model: onnx.ModelProto) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    x = np.random.default_rng(3).standard_normal((2, _CHANNELS, 9, 9), dtype=np.float32)
    found: NDArray[np.float32] = session.run(None, {"x": x})[0]
    return found


def _pool(source: str = "x", **changed: Any) -> onnx.NodeProto:
    attributes = {"kernel_shape": [2, 2], "strides": [2, 2], **changed}
    return make_node("AveragePool", [source], ["pooled"], **attributes)


def _conv(filters: str = "w", *, out: str = "y", **attributes: Any) -> onnx.NodeProto:
    return make_node("Conv", ["pooled", filters, "bias"], [out], **attributes)


def _kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_halving_and_the_convolution_after_it_become_one() -> None:
    model = _model(_pool(), _conv())
    before = _answer(model)
    quicken(model.graph)
    assert _kinds(model) == ["Conv"]
    np.testing.assert_allclose(_answer(model), before, atol=1e-5)


@pytest.mark.parametrize(
    "nodes",
    [
        [_pool(), _conv("w3")],
        [_pool(), _conv(strides=[2, 2])],
        [_pool(), _conv(pads=[1, 1, 1, 1])],
        [_pool(), _conv("grouped", group=2)],
        [_pool(ceil_mode=1), _conv()],
        [_pool(pads=[1, 1, 1, 1]), _conv()],
        [_pool(auto_pad="SAME_UPPER"), _conv()],
        [_pool(strides=[1, 1]), _conv()],
        [_pool(kernel_shape=[3, 3]), _conv()],
        [make_node("MaxPool", ["x"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]), _conv()],
        [_pool(), _conv(out="a"), make_node("ReduceMax", ["pooled"], ["b"]),
         make_node("Add", ["a", "b"], ["y"])],
        [_pool(), _conv(out="a"), make_node("Conv", ["x", "w"], ["b"], strides=[3, 3]),
         make_node("ReduceMax", ["b"], ["c"]), make_node("Add", ["a", "c"], ["y"])],
    ],
    ids=[
        "larger-filters",
        "strided",
        "padded",
        "grouped",
        "odd-sides-end-otherwise",
        "padded-pool",
        "automatically-padded-pool",
        "overlapping-pool",
        "larger-pool",
        "of-the-largest",
        "pool-used-twice",
        "filters-used-twice",
    ],
)  # fmt: skip
def test_what_only_looks_like_it_is_left_alone(nodes: Sequence[onnx.NodeProto]) -> None:
    model = _model(*nodes)
    before = _answer(model)
    kinds = _kinds(model)
    quicken(model.graph)
    assert _kinds(model) == kinds
    np.testing.assert_array_equal(_answer(model), before)


@pytest.mark.parametrize("name", ["pooled", "w"])
def test_what_a_graph_gives_out_stays(name: str) -> None:
    model = _model(_pool(), _conv())
    model.graph.output.append(make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    quicken(model.graph)
    assert _kinds(model) == ["AveragePool", "Conv"]


@pytest.mark.parametrize(
    ("axes", "attributes", "kind"),
    [
        ("map", {}, "GlobalAveragePool"),
        ("map from the end", {"keepdims": 1}, "GlobalAveragePool"),
        ("map", {"keepdims": 0}, "ReduceMean"),
        ("all", {}, "ReduceMean"),
    ],
)
def test_the_mean_of_a_map_is_one_operation(
    axes: str, attributes: dict[str, Any], kind: str
) -> None:
    model = _model(make_node("ReduceMean", ["x", axes], ["y"], **attributes))
    before = _answer(model)
    quicken(model.graph)
    assert _kinds(model) == [kind]
    assert len(model.graph.initializer) == (kind == "ReduceMean")  # The axes, where needed.
    np.testing.assert_allclose(_answer(model), before, atol=1e-6)


def test_the_mean_of_everything_stays() -> None:
    model = _model(make_node("ReduceMean", ["x"], ["y"]))
    quicken(model.graph)
    assert _kinds(model) == ["ReduceMean"]


def test_the_patterns_are_those_that_networks_have(tiny_run: Path, tmp_path: Path) -> None:
    card = open_run(tiny_run).card.model_copy(update={"network": "mirror-s"})
    network = build("mirror-s", spec=InputSpec(), emotions=8).eval()
    (tmp_path / "run").mkdir()
    write_weights(tmp_path / "run" / BEST_NAME, network, card)
    export_run(tmp_path / "run", tmp_path / "m.onnx")
    kinds = Counter(_kinds(onnx.load(tmp_path / "m.onnx")))
    # Five gates and the last map; what remains evens out brightness, and joins both halves.
    assert (kinds["AveragePool"], kinds["GlobalAveragePool"], kinds["ReduceMean"]) == (0, 6, 3)
