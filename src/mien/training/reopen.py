"""A model file as a network that can learn again.

A file has no norms: at export each became part of the filters before it, and in 8 bits they are
rounded. What is left is enough to answer as the file does, and to go on from there.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx.helper import make_tensor_value_info
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mien.card import ModelCard
from mien.errors import ConfigError, ModelError, UsageError
from mien.model import AGREEMENT, OnnxModel, agreement, is_run, load_model, shipped_models
from mien.onnx.quantise import drawn_crops
from mien.preprocess import InputSpec
from mien.training.mirror import MirrorConv, plain
from mien.training.networks import Classifier, build
from mien.training.runs import TorchModel, open_network
from mien.training.together import mean_of_all

__all__ = ["open_file", "settle_norms", "take_weights"]

_FACES: Final = 128

_SIZE: Final = 0.2
"""Root mean square of filters before a norm, about that to which Muon brings them.

It makes no difference to answers, but to how far a step turns them.
"""

Layer = nn.Conv2d | nn.Linear

Weights = tuple[NDArray[np.float32], NDArray[np.float32] | None]
"""Of a convolution or linear layer, and what is added; None: nothing."""


def take_weights(
    network: Classifier, start: str, *, name: str, spec: InputSpec, emotions: Sequence[str]
) -> ModelCard:
    """Give a fresh network what a model has learnt; return the model's card.

    Of the last layer, what is of emotions that the model knows; of others it stays fresh.

    Args:
        network: as `mien.training.networks.build` makes it of the rest.
        start: a run folder, a shipped model or an ONNX file, of the same network. What comes of a
            file needs `settle_norms` before it is trained.
        name: the network's.
        spec: what it sees.
        emotions: what it tells apart.

    Raises:
        ModelError: there is no such model, it has no finished epoch, or it is damaged.
        UsageError: it is of another network, or sees other pictures.
    """
    folder = Path(start)
    if not folder.exists() and start not in shipped_models():
        raise ModelError(
            f"start_from {start}: there is no such thing; expected a run folder, a file of "
            f"'mien export' or one of {', '.join(shipped_models())}"
        )
    trained, card = open_network(folder) if is_run(start) else open_file(start)
    if (card.network, card.spec) != (name, spec):
        has = {"network": card.network, "size": card.size, "channels": card.channels}
        asked = {"network": name, "size": spec.size, "channels": spec.channels}
        differing = " ".join(f"--set {key}={has[key]}" for key in has if has[key] != asked[key])
        raise UsageError(
            f"start_from {start}: {card.network} that sees {card.spec}; expected {name} that sees "
            f"{spec}, as the recipe has it: {differing}"
        )
    known = [emotion for emotion in emotions if emotion in card.labels]
    here = [list(emotions).index(emotion) for emotion in known]
    there = [card.labels.index(emotion) for emotion in known]
    own, tensors = network.state_dict(), trained.state_dict()
    *_, weight, bias = own
    for last in (weight, bias):
        own[last][here] = tensors[last][there]
        tensors[last] = own[last]
    network.load_state_dict(tensors)
    return card


def open_file(name: str) -> tuple[Classifier, ModelCard]:
    """Open a shipped model or an ONNX file of ``mien export`` as the network it came from.

    Each norm is left without statistics, and adds what the file adds: see `settle_norms`.

    Raises:
        ModelError: there is no such file, it is damaged, or it is not of a network of this version.
    """
    model = load_model(name)
    card = model.card
    try:
        network = build(card.network, spec=card.spec, emotions=len(card.labels))
        _fill(network.eval(), card, _weights(model))
    except (ConfigError, _MisfitError) as error:
        raise ModelError(
            f"{model.path}: does not fit network {card.network!r} of this version ({error})"
        ) from None
    crops = drawn_crops(card.spec, count=_FACES, seed=1)
    agreed = agreement(TorchModel(plain(network), card), model, crops)
    if agreed < AGREEMENT:
        raise ModelError(
            f"{model.path}: what could be read of it answers as it does for {agreed:.0%} of "
            f"{_FACES} drawn faces, expected {AGREEMENT:.0%}"
        )
    return network, card


class _MisfitError(Exception):
    """The weights of a file are not those of a network."""


def _weights(model: OnnxModel) -> list[Weights]:
    """Return the weights of a file's layers, in an order in which they can be used.

    ONNX Runtime is asked for them in place of answers: it knows what a file has in 8 bits, or only
    half of.
    """
    proto = onnx.load_model(str(model.path))
    layers = [node for node in proto.graph.node if node.op_type in ("Conv", "Gemm")]
    names = list(dict.fromkeys(name for node in layers for name in node.input[1:3]))
    del proto.graph.output[:]
    proto.graph.output.extend(
        make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    card = model.card
    pixels = np.zeros((1, card.channels, card.size, card.size), dtype=np.float32)
    values = dict(zip(names, session.run(None, {"pixels": pixels}), strict=True))
    return [
        (values[node.input[1]], values[node.input[2]] if len(node.input) > 2 else None)
        for node in layers
    ]


@torch.no_grad()
def _fill(network: Classifier, card: ModelCard, weights: list[Weights]) -> None:
    """Give a network the weights of a file.

    Layers beside each other may come in another order there. They are of different shapes.
    """
    pixels = torch.zeros(1, card.channels, card.size, card.size)
    for layer, norm in _layers(network, pixels):
        filters, added = _take_first(weights, layer)
        layer.weight.copy_(torch.from_numpy(filters))
        if norm is not None:
            _split(layer, norm)
        learnt = layer.bias if norm is None else norm.bias
        if added is not None and learnt is not None:
            learnt.copy_(torch.from_numpy(added))


def _take_first(weights: list[Weights], layer: Layer) -> Weights:
    """Take the first weights that are a layer's, of a mirrored one the half that it learns."""
    learnt = len(layer.weight)
    width = 2 * learnt if isinstance(layer, MirrorConv) else learnt
    for i, (filters, added) in enumerate(weights):
        # A mean of 2x2 pixels that came before has become part of it (`mien.onnx.quicken`).
        pooled = filters.shape[2:] == (2, 2)
        own = filters.sum(axis=(2, 3), keepdims=True) if pooled else filters
        if own.shape == (width, *layer.weight.shape[1:]):
            del weights[i]
            return own[:learnt], None if added is None else added[:learnt]
    raise _MisfitError(f"no layer of shape {tuple(layer.weight.shape)} is left")


def _split(layer: Layer, norm: _BatchNorm) -> None:
    """Give a norm that has become part of a layer its part back: the size of the filters."""
    filters = layer.weight.flatten(1)
    root = filters.square().mean(dim=1).sqrt().clamp_min(1e-12)
    filters.mul_(_SIZE / root[:, None])
    norm.weight.copy_(root / _SIZE * math.sqrt(1 + norm.eps))
    if layer.bias is not None:
        layer.bias.zero_()


def _layers(network: Classifier, pixels: Tensor) -> list[tuple[Layer, _BatchNorm | None]]:
    """Return the layers in the order in which they are used, each with the norm after it."""
    used: list[nn.Module] = []
    with _watched(network, lambda part, _: used.append(part)):
        network.forward(pixels)
    return [
        (layer, norm if isinstance(norm, _BatchNorm) else None)
        for layer, norm in zip(used, [*used[1:], None], strict=True)
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]


@contextmanager
def _watched(network: nn.Module, tell: Callable[[nn.Module, Tensor], None]) -> Iterator[None]:
    """Tell of each layer and norm that is used, and of what comes in."""
    hooks = [
        part.register_forward_pre_hook(lambda part, inputs: tell(part, inputs[0]))
        for part in network.modules()
        if isinstance(part, nn.Conv2d | nn.Linear | _BatchNorm)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def settle_norms(network: Classifier, batches: Iterable[Tensor]) -> None:
    """Give norms the statistics of pictures; answers stay.

    In training a norm goes by the statistics of the batch, so what `open_file` opens would begin
    with other answers than the file's.

    Args:
        network: of `open_file`; changed in place.
        batches: of the pictures that it is to learn from, this process's part: float
            (n, channels, size, size).
    """
    seen: dict[_BatchNorm, list[Tensor]] = {}

    def note(part: nn.Module, x: Tensor) -> None:
        if isinstance(part, _BatchNorm):
            values = x.float().transpose(0, 1).flatten(1)
            moments = torch.stack((values.mean(dim=1), values.square().mean(dim=1)))
            seen.setdefault(part, []).append(moments)

    network.eval()
    with _watched(network, note):
        for pixels in batches:
            network.forward(pixels)
    for norm, moments in seen.items():
        mean, square = mean_of_all(torch.stack(moments).mean(dim=0))
        middle, spread = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
        scale = norm.weight / (spread + norm.eps).sqrt()
        norm.bias.add_(scale * (mean - middle))
        middle.copy_(mean)
        spread.copy_((square - mean.square()).clamp_min(0))
        norm.weight.copy_(scale * (spread + norm.eps).sqrt())
