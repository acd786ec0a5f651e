"""A model file becomes a network that answers as the file does, and can learn."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx.numpy_helper import from_array
from torch.nn.modules.batchnorm import _BatchNorm

from mien.card import ModelCard
from mien.checkpoint import BEST_NAME, write_weights
from mien.config import TrainConfig
from mien.data.dataset import Dataset
from mien.errors import ModelError
from mien.export import export_run
from mien.mirror import plain
from mien.model import load_model, shipped_models
from mien.networks import Classifier, build
from mien.quantise import drawn_crops
from mien.reopen import open_file, settle_norms
from mien.runs import TorchModel, open_run
from mien.teachers import weights_digest
from mien.train import train


def _odd_network(name: str, card: ModelCard) -> Classifier:
    """Return a network each of whose norms does something else to each channel."""
    torch.manual_seed(0)
    network = build(name, spec=card.spec, emotions=len(card.labels), dropout=0.0).eval()
    for norm in network.modules():
        if isinstance(norm, _BatchNorm):
            for values in (norm.weight.data, norm.get_buffer("running_var")):
                values.uniform_(0.5, 2)
            for values in (norm.bias.data, norm.get_buffer("running_mean")):
                values.normal_(std=0.5)
    return network


@pytest.mark.parametrize("name", ["classic4", "classic7", "mini", "mirror-s"])
def test_what_is_opened_answers_as_what_was_exported(
    name: str, tiny_run: Path, tmp_path: Path
) -> None:
    card = open_run(tiny_run).card.model_copy(update={"network": name})
    network = _odd_network(name, card)
    write_weights(tmp_path / BEST_NAME, network, card)
    export_run(tmp_path, tmp_path / "odd.onnx")
    opened, found = open_file(str(tmp_path / "odd.onnx"))
    assert (found.network, found.labels) == (name, card.labels)
    crops = drawn_crops(card.spec, count=24, seed=2)
    pixels = torch.from_numpy(np.stack(crops).transpose(0, 3, 1, 2)).float() / 255
    with torch.no_grad():
        torch.testing.assert_close(opened(pixels), network(pixels), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", sorted(shipped_models()))
def test_shipped_models_open(name: str) -> None:
    """They are in 8 bits, which their networks are not, so answers are about the same."""
    network, card = open_file(name)
    crops = drawn_crops(card.spec, count=128, seed=2)
    answers = TorchModel(plain(network), card).probabilities(crops)
    differences = np.abs(answers - load_model(name).probabilities(crops))
    assert differences.mean() < 0.01


def test_norms_settle_on_pictures_without_a_change_of_answers() -> None:
    """In training, by the statistics of the same pictures, they answer so too."""
    network, card = open_file("nano")
    crops = drawn_crops(card.spec, count=64, seed=2)
    pixels = torch.from_numpy(np.stack(crops).transpose(0, 3, 1, 2)).float() / 255
    for dropout in network.modules():
        if isinstance(dropout, torch.nn.Dropout):
            dropout.p = 0.0

    def answers(*, training: bool) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = network.train(training)(pixels)
        return found

    before = answers(training=False)
    settle_norms(network, pixels.split(16))
    torch.testing.assert_close(answers(training=False), before, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(answers(training=True), before, rtol=1e-3, atol=2e-3)


def test_a_run_goes_on_from_a_file(
    tmp_path: Path, drawn_dataset: Dataset, tiny_onnx: Path, tiny_config: TrainConfig
) -> None:
    """At a rate of next to nothing it stays what it was."""
    settings = {"start_from": str(tiny_onnx), "learning_rate": 1e-12, "ema": 0.0, "epochs": 1}
    config = TrainConfig(**(tiny_config.model_dump() | settings))
    train(drawn_dataset, config, tmp_path / "run", device="cpu")
    told = json.loads((tmp_path / "run/run.json").read_text())
    assert told["started_from"] == {str(tiny_onnx): weights_digest(str(tiny_onnx))}
    before, after = load_model(tiny_onnx), open_run(tmp_path / "run")
    assert after.card.training["started_from"]["model"] == before.card.name
    crops = drawn_crops(before.card.spec, count=64, seed=2)
    # Temperatures are fitted to the same answers, and the statistics of norms are about the same.
    np.testing.assert_allclose(after.probabilities(crops), before.probabilities(crops), atol=0.05)


def test_a_file_of_another_network_than_its_card_says_is_refused(
    tmp_path: Path, tiny_onnx: Path
) -> None:
    proto = onnx.load(tiny_onnx)
    (card,) = proto.metadata_props
    card.value = card.value.replace('"network":"mini"', '"network":"residual"')
    onnx.save(proto, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"m\.onnx: does not fit network 'residual'.*no layer of"):
        open_file(str(tmp_path / "m.onnx"))
    card.value = card.value.replace('"network":"residual"', '"network":"grand"')
    onnx.save(proto, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"m\.onnx: does not fit network 'grand'.*expected one of"):
        open_file(str(tmp_path / "m.onnx"))


def test_a_file_that_computes_something_else_with_its_weights_is_refused(
    tmp_path: Path, tiny_onnx: Path
) -> None:
    proto = onnx.load(tiny_onnx)
    softmax = next(node for node in proto.graph.node if node.op_type == "Softmax")
    proto.graph.initializer.append(from_array(np.array(-1, np.float32), "minus"))
    turned = onnx.helper.make_node("Mul", [softmax.input[0], "minus"], ["turned"])
    softmax.input[0] = "turned"
    proto.graph.node.insert(list(proto.graph.node).index(softmax), turned)
    onnx.save(proto, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"m\.onnx: what could be read of it answers as it does"):
        open_file(str(tmp_path / "m.onnx"))
