"""A model file without what follows from the rest of it: answers stay the same, bit for bit.

Half of the filters of a mirrored network (`mien.training.mirror`) are mirror images of the other
half, in whole numbers of 8 bits as in float32. The file keeps one half, and the operations that
make the other of it. They depend on nothing but weights, so ONNX Runtime does them once, on opening
it. The few of the first layer stay as they are.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.helper import make_node
from onnx.numpy_helper import from_array, to_array

__all__ = ["compact"]

_FIRST: Final = np.array([-1])
_PAST: Final = np.array([np.iinfo(np.int64).min])
_ACROSS: Final = np.array([3])
"""Where a reversed slice of filters begins and ends, and the axis along which it runs."""


def compact(graph: onnx.GraphProto) -> None:
    """Leave out of a graph the halves of filters that follow from the others, and long names.

    Args:
        graph: changed in place; its inputs and outputs keep their names.
    """
    _leave_out_mirror_images(graph)
    _shorten(graph)


def _leave_out_mirror_images(graph: onnx.GraphProto) -> None:
    nodes: list[onnx.NodeProto] = []
    for tensor in graph.initializer:
        filters = to_array(tensor)
        if _is_mirrored(filters):
            name = tensor.name
            tensor.CopyFrom(from_array(filters[: len(filters) // 2], f"{name}/half"))
            nodes += _mirrored(name)
    if nodes:
        constants = {"mirror/first": _FIRST, "mirror/past": _PAST, "mirror/across": _ACROSS}
        graph.initializer.extend(from_array(value, name) for name, value in constants.items())
        nodes += graph.node
        del graph.node[:]
        graph.node.extend(nodes)


def _is_mirrored(filters: NDArray[np.generic]) -> bool:
    """Tell whether filters are, bit for bit, what a `mien.training.mirror.MirrorConv` has."""
    if filters.ndim != 4 or filters.shape[1] % 2:
        return False
    half, other = filters[: len(filters) // 2], filters[len(filters) // 2 :]
    return half[..., ::-1].tobytes() == np.roll(other, filters.shape[1] // 2, axis=1).tobytes()


def _mirrored(name: str) -> Iterator[onnx.NodeProto]:
    """Yield what makes all filters of half of them, as `MirrorConv.filters` does."""
    half, flipped, a, b, other = (
        f"{name}/{part}" for part in ("half", "flipped", "a", "b", "other")
    )
    reverse = ["mirror/first", "mirror/past", "mirror/across", "mirror/first"]
    yield make_node("Slice", [half, *reverse], [flipped])
    yield make_node("Split", [flipped], [a, b], axis=1, num_outputs=2)
    yield make_node("Concat", [b, a], [other], axis=1)
    yield make_node("Concat", [half, other], [name], axis=0)


def _shorten(graph: onnx.GraphProto) -> None:
    """Leave out what nobody needs to run a model: long names inside, and shapes that follow.

    Quantisation adds hundreds of small tensors whose names are longer than they are.
    """
    names: dict[str, str] = {value.name: value.name for value in (*graph.input, *graph.output)} | {
        "": ""
    }

    def short(name: str) -> str:
        return names.setdefault(name, f"{len(names):x}")

    for tensor in graph.initializer:
        tensor.name = short(tensor.name)
    for node in graph.node:
        node.name = ""
        node.input[:] = [short(name) for name in node.input]
        node.output[:] = [short(name) for name in node.output]
    del graph.value_info[:]
