"""Fixtures that several test files share."""

import functools
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from commands import Command
from mien.config import TrainConfig
from mien.data.dataset import Dataset
from mien.data.drawn_folder import draw_folder
from mien.data.importers import import_dataset
from mien.drawn import draw_face, sample_parameters
from mien.images import write_image
from mien.judging import plots
from mien.labels import EMOTIONS, FERPLUS_VOTE_COLUMNS
from mien.preprocess import InputSpec, fit, to_batch
from mien.records import SPLITS
from mien.training.checkpoint import BEST_NAME, write_weights
from mien.training.export import export_run
from mien.training.runs import open_network, open_run
from mien.training.train import train


@pytest.fixture(scope="session", autouse=True)
def _signals_as_usual() -> None:
    """Have the programs that tests start heed what the tests were started to ignore.

    That is Ctrl-C in the background and SIGHUP below nohup: programs inherit that a signal is
    ignored, but not that it is handled by doing nothing.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up and signal.getsignal(hang_up) is signal.SIG_IGN:
        signal.signal(hang_up, lambda *of_signal: None)


@pytest.fixture(scope="session", autouse=True)
def _faces_of_models_drawn_once() -> Iterator[None]:
    """Many a test has model files made or opened, which are tried on the same drawn faces."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("mien.onnx.quantise.draw_face", functools.cache(draw_face))
        yield


@pytest.fixture(scope="session", autouse=True)
def _curves_are_not_drawn() -> Iterator[None]:
    """To draw them takes most of the time of a small run; `drawn_curves` is for tests of them."""

    def leave_empty(path: Path, _: object) -> None:
        path.touch()

    nothing = SimpleNamespace(save_curves=leave_empty, save_emotions=leave_empty)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("mien.training.trainer.plots", nothing)
        yield


@pytest.fixture
def mien(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line."""
    return Command(monkeypatch, capsys)


@pytest.fixture
def drawn_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have training draw the pictures of its epochs."""
    monkeypatch.setattr("mien.training.trainer.plots", plots)


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
    """A finished run on the drawn faces, whose best weights answer differently to different faces.

    History, checkpoints and the card's figures are as training left them.
    """
    run = tmp_path_factory.mktemp("runs") / "tiny"
    train(drawn_dataset, tiny_config, run, device="cpu")
    _tell_faces_apart(run, drawn_dataset)
    return run


def _tell_faces_apart(run: Path, dataset: Dataset) -> None:
    """Give the weights of a run a last layer whose answers spread over all emotions.

    A few steps of training leave a network that says an eighth of everything to everybody, and two
    of that kind agree whatever is broken between them.
    """
    network, card = open_network(run)
    rows = np.concatenate([dataset.usable(split) for split in SPLITS])
    faces = torch.from_numpy(to_batch(list(dataset.images(rows)), card.spec))
    layers = network.network
    assert isinstance(layers, nn.Sequential)
    head = layers[-1]
    assert isinstance(head, nn.Linear)
    layers[-1] = nn.Identity()
    network.eval()
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    with torch.no_grad():
        # The norms' averages, too, are still those of the random start.
        for norm in norms:
            norm.momentum = None
            norm.reset_running_stats()
            norm.train()
        network(faces)
        network.eval()
        seen = network(faces)
        # Each emotion has a direction of its own in the plane in which the faces differ most, so
        # that few lie so near to a border that the rounding of a smaller file moves them over it.
        _, spread, ways = torch.linalg.svd(seen - seen.mean(dim=0), full_matrices=False)
        plane = ways[:2] * (len(rows) ** 0.5 / spread[:2, None])
        turns = torch.arange(len(card.labels)) * (2 * torch.pi / len(card.labels))
        temperature = 2.0
        head.weight.copy_(temperature * torch.stack([turns.cos(), turns.sin()], dim=1) @ plane)
        head.bias.copy_(-head.weight @ seen.mean(dim=0))
    layers[-1] = head
    write_weights(run / BEST_NAME, network, card.model_copy(update={"temperature": temperature}))
    answers = open_run(run).probabilities(list(dataset.images(rows)))
    assert len(np.unique(answers.argmax(axis=1))) >= 4
    assert answers.std(axis=0).min() > 0.05


@pytest.fixture
def ray_within(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For tests that start Ray in this process: its handler, which ends it at SIGTERM, goes."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def few_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make files of 8 bits by an eighth of the faces, for tests of something else."""
    monkeypatch.setattr("mien.onnx.quantise._FACES", 32)
    monkeypatch.setattr("mien.training.export._COMPARED", 64)


@pytest.fixture(scope="session")
def tiny_onnx(tmp_path_factory: pytest.TempPathFactory, tiny_run: Path) -> Path:
    """The finished run as a model file."""
    out = tmp_path_factory.mktemp("models") / "tiny.onnx"
    export_run(tiny_run, out)
    return out


@pytest.fixture(scope="session")
def ferplus_of_drawn_faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn faces in the true layout of FER+: 64 to train, 16 to validate, 16 to test."""
    root = tmp_path_factory.mktemp("ferplus")
    lines = ["Usage,Image name," + ",".join((*FERPLUS_VOTE_COLUMNS, "unknown", "NF"))]
    splits = [("Training", "Train", 64), ("PublicTest", "Valid", 16), ("PrivateTest", "Test", 16)]
    number = 0
    for usage, folder, count in splits:
        (root / f"FER2013{folder}").mkdir()
        for _ in range(count):
            emotion, name = EMOTIONS[number % 8], f"fer{number:07d}.png"
            pixels = fit(draw_face(sample_parameters(emotion, seed=number), size=48), InputSpec())
            write_image(root / f"FER2013{folder}" / name, pixels[..., 0])
            votes = ["8" if column == emotion else "0" for column in FERPLUS_VOTE_COLUMNS]
            lines.append(",".join((usage, name, *votes, "2", "0")))
            number += 1
    (root / "fer2013new.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="session")
def ferplus_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FER+ in its true layout with made-up images: each emotion 4 x train, 2 x valid, 3 x test."""
    folder = tmp_path_factory.mktemp("ferplus")
    generator = np.random.default_rng(5)
    lines = [f"Usage,Image name,{','.join(FERPLUS_VOTE_COLUMNS)},unknown,NF"]
    splits = (("Training", "Train", 4), ("PublicTest", "Valid", 2), ("PrivateTest", "Test", 3))
    for usage, place, count in splits:
        (folder / f"FER2013{place}").mkdir()
        for number in range(count * len(FERPLUS_VOTE_COLUMNS)):
            votes = [0] * 10
            votes[number % 8], votes[(number + 1) % 8] = 7, 3
            name = f"fer{len(lines):07d}.png"
            pixels = generator.integers(0, 256, (48, 48), dtype=np.uint8)
            write_image(folder / f"FER2013{place}" / name, pixels)
            lines.append(f"{usage},{name},{','.join(map(str, votes))}")
    (folder / "fer2013new.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def ferplus_dataset(tmp_path_factory: pytest.TempPathFactory, ferplus_source: Path) -> Dataset:
    """The made-up FER+ as a dataset folder of grey 48x48 images; copy it before damaging it."""
    out = tmp_path_factory.mktemp("datasets") / "ferplus"
    import_dataset("ferplus", ferplus_source, out)
    return Dataset.open(out)
