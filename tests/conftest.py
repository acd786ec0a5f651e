"""Fixtures that several test files share."""

from pathlib import Path

import pytest

from mien.config import TrainConfig
from mien.data.dataset import Dataset
from mien.data.drawn_folder import draw_folder
from mien.data.importers import import_dataset
from mien.export import export_run
from mien.train import train


@pytest.fixture(scope="session")
def drawn_dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """160 drawn faces, twenty an emotion, as a dataset folder of grey 48x48 images."""
    folder = tmp_path_factory.mktemp("drawn")
    draw_folder(folder / "faces", count=160, size=48, seed=7)
    import_dataset("folder", folder / "faces", folder / "dataset", size=48, channels=1)
    return Dataset.open(folder / "dataset")


@pytest.fixture(scope="session")
def tiny_config() -> TrainConfig:
    """A recipe that trains in seconds and still goes through every part of the loop."""
    return TrainConfig(network="mini", epochs=3, batch_size=32, learning_rate=4e-3, ema=0.9)


@pytest.fixture(scope="session")
def tiny_run(
    tmp_path_factory: pytest.TempPathFactory, drawn_dataset: Dataset, tiny_config: TrainConfig
) -> Path:
    """A finished run on the drawn faces."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    train(drawn_dataset, tiny_config, run, device="cpu")
    return run


@pytest.fixture(scope="session")
def tiny_onnx(tmp_path_factory: pytest.TempPathFactory, tiny_run: Path) -> Path:
    """The finished run as a model file."""
    out = tmp_path_factory.mktemp("models") / "tiny.onnx"
    export_run(tiny_run, out)
    return out
