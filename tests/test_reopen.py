"""A model file becomes a network that answers as the file does, and can learn."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx.numpy_helper import from_array
from torch.nn.modules.batchnorm import _BatchNorm

from mien.card import ModelCard
from mien.config import TrainConfig
from mien.data.dataset import Dataset
from mien.errors import ModelError, UsageError
from mien.model import load_model, shipped_models
from mien.onnx.quantise import drawn_crops
from mien.preprocess import to_batch
from mien.training.checkpoint import BEST_NAME, write_weights
from mien.training.export import export_run
from mien.training.mirror import plain
from mien.training.networks import Classifier, build
from mien.training.reopen import open_file, settle_norms
from mien.training.runs import TorchModel, open_network, open_run
from mien.training.teachers import weights_digest
from mien.training.train import train


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
    pixels = torch.from_numpy(to_batch(crops, card.spec))
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
    pixels = torch.from_numpy(to_batch(crops, card.spec))
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
    tmp_path: Path, drawn_dataset: Dataset, tiny_config: TrainConfig
) -> None:
    """At a rate of next to nothing its answers stay what they were."""
    settings = {"start_from": "nano", "network": "mirror-s", "learning_rate": 1e-12, "ema": 0.0}
    config = TrainConfig(**(tiny_config.model_dump() | settings | {"epochs": 1}))
    train(drawn_dataset, config, tmp_path / "run", device="cpu")
    told = json.loads((tmp_path / "run/run.json").read_text())
    assert told["started_from"] == {"nano": weights_digest("nano")}
    card = load_model("nano").card
    run = open_run(tmp_path / "run")
    assert run.card.training["started_from"][0]["model"] == "nano"
    opened, _ = open_file("nano")
    crops = drawn_crops(card.spec, count=64, seed=2)
    pixels = torch.from_numpy(to_batch(crops, card.spec))
    with torch.no_grad():
        before, after = opened(pixels), run.network(pixels)
    # The statistics of norms went on, and those of training pictures are about the same.
    assert (after - before).abs().mean() < 0.1 * before.abs().mean()


def test_a_run_cannot_start_from_its_own_folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    drawn_dataset: Dataset,
    tiny_config: TrainConfig,
) -> None:
    """Once the folder is there, its name would be taken for it, not for the shipped model."""
    monkeypatch.chdir(tmp_path)
    config = TrainConfig(**(tiny_config.model_dump() | {"start_from": "nano"}))
    with pytest.raises(UsageError, match="start_from nano: that is --out itself"):
        train(drawn_dataset, config, Path("nano"), device="cpu")
    assert not Path("nano").exists()


def test_a_run_resumes_only_from_the_same_start(
    tmp_path: Path, drawn_dataset: Dataset, tiny_run: Path, tiny_config: TrainConfig
) -> None:
    start = tmp_path / "start"
    shutil.copytree(tiny_run, start)
    settings = tiny_config.model_dump() | {"start_from": str(start), "epochs": 1}
    train(drawn_dataset, TrainConfig(**settings), tmp_path / "run", device="cpu")
    network, card = open_network(start)
    write_weights(start / BEST_NAME, network.requires_grad_(False).apply(_nudged), card)
    with pytest.raises(UsageError, match=r"was begun with started_from .*now it is"):
        train(drawn_dataset, TrainConfig(**settings), tmp_path / "run", resume=True, device="cpu")


def _nudged(part: torch.nn.Module) -> None:
    for parameter in part.parameters(recurse=False):
        parameter.add_(0.01)


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
