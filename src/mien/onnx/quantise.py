"""A model file with whole numbers of 8 bits inside: a quarter of the size, and quicker.

Static quantisation (Jacob et al. 2018, arXiv:1712.05877) of convolutions and linear layers by ONNX
Runtime: a scale for each output channel of the weights, one for each layer's activations. Their
ranges are taken from drawn faces, so nobody's data is needed. The few largest values of a layer are
cut off, for finer steps between all others.
"""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from mien.card import ModelCard
from mien.drawn import draw_face, sample_parameters
from mien.labels import EMOTIONS
from mien.preprocess import InputSpec, fit, to_batch

__all__ = ["drawn_crops", "quantise"]

_FACES: Final = 256
_BATCH: Final = 8
_KEPT: Final = 99.999
"""Per cent of a layer's values within its range."""
_LAYERS: Final = ("Conv", "Gemm", "MatMul", "Add", "Mul", "Relu")
"""The normalisation before them and the softmax after them stay as they are."""


def quantise(exact: Path, out: Path, card: ModelCard) -> None:
    """Write a model file anew with weights and activations of 8 bits.

    Args:
        exact: the file with float32 inside.
        out: the file to write; its card is the other's.
        card: of the model.
    """
    crops = drawn_crops(card.spec, count=_FACES, seed=0)
    with _silence():
        quantize_static(
            exact,
            out,
            _Faces(crops, card.spec),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # Weights of seven bits: processors without VNNI add two products in 16 bits, and cut
            # off without a word what does not fit.
            reduce_range=True,
            op_types_to_quantize=list(_LAYERS),
            calibrate_method=CalibrationMethod.Percentile,
            # The stride is named for another method and counts for this one, too: a batch at a
            # time, or what all layers answer to all faces would be held at once.
            extra_options={"CalibPercentile": _KEPT, "CalibStridedMinMax": 1},
        )


def drawn_crops(spec: InputSpec, *, count: int, seed: int) -> list[NDArray[np.uint8]]:
    """Draw faces as a model sees them, each uint8 (size, size, channels), of all emotions."""
    seeds = range(seed * count, (seed + 1) * count)
    return [
        fit(draw_face(sample_parameters(EMOTIONS[i % 8], seed=i), size=max(96, spec.size)), spec)
        for i in seeds
    ]


class _Faces(CalibrationDataReader):  # type: ignore[misc]
    """Gives faces in batches, of which ONNX Runtime asks for a range at a time."""

    def __init__(self, crops: list[NDArray[np.uint8]], spec: InputSpec) -> None:
        self._crops = [crops[start : start + _BATCH] for start in range(0, len(crops), _BATCH)]
        self._spec = spec

    def __len__(self) -> int:
        return len(self._crops)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._asked = iter(self._crops[start_index:end_index])

    def get_next(self) -> dict[str, Any] | None:
        crops = next(self._asked, None)
        return None if crops is None else {"pixels": to_batch(crops, self._spec)}


@contextmanager
def _silence() -> Iterator[None]:
    """Keep ONNX Runtime's advice to those who develop it off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
