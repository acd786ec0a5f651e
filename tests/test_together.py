"""Several processes that train one network, started as users start them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from lightning_fabric.accelerators.mps import MPSAccelerator
from lightning_fabric.utilities.exceptions import MisconfigurationException
from safetensors.torch import load_file, save_file
from torch import distributed, nn

from mien.cli import main
from mien.config import TrainConfig, load_recipe
from mien.data.dataset import Dataset
from mien.errors import DataError, DatasetError, UsageError
from mien.preprocess import InputSpec
from mien.training.checkpoint import BEST_NAME, write_weights
from mien.training.export import export_run
from mien.training.history import read_history
from mien.training.networks import build
from mien.training.reopen import open_file, settle_norms
from mien.training.runs import open_run
from mien.training.together import from_first, share_statistics, together
from mien.training.train import train

MIEN = Path(sys.executable).with_name("mien")
TWO = ("--devices", "2")

CALM = """
network = "mini"
epochs = 2
batch_size = 32
optimizer = "sgd"
learning_rate = 0.05
dropout = 0.0
flip = 0.0
rotation = 0.0
shift = 0.0
scale = 0.0
brightness = 0.0
contrast = 0.0
erasing = 0.0
teachers = ["nano"]
teachers_see = "original"
"""
"""Without chance: what the processes draw for themselves would differ from what one draws."""

FAILING = """
import mien.cli
from mien.errors import DataError
from mien.training.together import together

def fail(*_, **__):
    with together("cpu", 2, 1, "32-true") as fabric:
        if fabric.global_rank == 1:
            raise DataError("no such disk")
        fabric.barrier()

mien.cli.app = fail
mien.cli.main()
"""
"""A command that fails in the second process alone."""

SETTLING = """
import sys
import torch
from safetensors.torch import load_file, save_file
from torch import distributed
from mien.training.reopen import open_file, settle_norms
from mien.training.together import share_statistics, together

def main():
    model, pixels, out = sys.argv[1:]
    with together("cpu", 2, 1, "32-true") as fabric:
        network, _ = open_file(model)
        share_statistics(network)
        settle_norms(network, load_file(pixels)["pixels"].chunk(2)[fabric.global_rank].split(8))
        save_file(network.state_dict(), f"{out}/{fabric.global_rank}.safetensors")
        learning = fabric.setup(torch.nn.Linear(8, 8))
        learning(torch.ones(4, 8)).sum().backward()
        for _ in range(1000):
            values = torch.ones(4)
            values.known_to_python = object()
            distributed.all_reduce(values, async_op=True)

main()
"""
"""What is still to be exchanged as it ends is known to Python, whose lock frees it."""


def command(dataset: Dataset, recipe: Path, run: Path, *more: str) -> list[str | Path]:
    data: list[str | Path] = ["train", "--data", dataset.path, "--recipe", recipe]
    return [*data, "--out", run, "--device", "cpu", *more]


def started(
    arguments: Sequence[str | Path], *, starter: Sequence[str | Path] = (MIEN,)
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*starter, *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "400"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    with process:
        try:
            said, complained = process.communicate(timeout=240)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, said, complained)


def trained(
    arguments: Sequence[str | Path], *, starter: Sequence[str | Path] = (MIEN,)
) -> subprocess.CompletedProcess[str]:
    return ended(started(arguments, starter=starter))


def history(run: Path) -> list[dict[str, Any]]:
    """What every epoch found, but for how long it took."""
    timed = {"seconds", "images_per_second"}
    return [{key: entry[key] for key in entry.keys() - timed} for entry in read_history(run)]


@pytest.fixture
def calm(tmp_path: Path) -> Path:
    recipe = tmp_path / "calm.toml"
    recipe.write_text(CALM)
    return recipe


def test_two_processes_find_the_losses_of_one(
    tmp_path: Path, calm: Path, drawn_dataset: Dataset, tiny_run: Path
) -> None:
    """With the same batch: but for what training makes of rounding.

    In 64 bits they are the same to 1e-7; statistics of half a batch put them 4e-3 apart. They go
    on from a file, whose norms begin with statistics of the pictures of both.
    """
    # Of answers that are far apart, as the finished run's, training makes more of rounding.
    card = open_run(tiny_run).card.model_copy(update={"temperature": 1.0})
    torch.manual_seed(0)
    fresh = build(card.network, spec=card.spec, emotions=len(card.labels))
    (tmp_path / "fresh").mkdir()
    write_weights(tmp_path / "fresh" / BEST_NAME, fresh, card)
    export_run(tmp_path / "fresh", tmp_path / "fresh.onnx")
    calm.write_text(f'start_from = "{tmp_path / "fresh.onnx"}"\n{CALM}')
    both = started(command(drawn_dataset, calm, tmp_path / "two", *TWO))
    train(drawn_dataset, load_recipe(str(calm)), tmp_path / "one", device="cpu")
    done = ended(both)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("best epoch") == 1
    one, two = (history(tmp_path / name) for name in ("one", "two"))
    assert len(two) == 2
    for ours, theirs in zip(two, one, strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=5e-4)
        assert ours["valid_loss"] == pytest.approx(theirs["valid_loss"], rel=5e-4)
    told = json.loads((tmp_path / "two" / "run.json").read_text())
    assert told["machine"]["processes"] == 2


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the other in /proc")
def test_a_lost_process_ends_the_run_and_it_resumes_exactly(
    tmp_path: Path, calm: Path, drawn_dataset: Dataset
) -> None:
    """Begun by us, and gone on with by torchrun."""
    calm.write_text(CALM.replace("epochs = 2", "epochs = 8").replace("flip = 0.0", "flip = 0.5"))
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    with started(command(drawn_dataset, calm, cut, *TWO)) as first:
        until = time.monotonic() + 120
        while not (cut / "history.jsonl").exists() and time.monotonic() < until:
            time.sleep(0.02)
        children = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
        assert len(children) == 1
        os.kill(int(children[0]), signal.SIGKILL)
        _, said = first.communicate(timeout=60)
    assert first.returncode == 1
    assert said.splitlines()[-1].startswith("mien: another process of this run was lost")
    assert "Traceback" not in said
    assert 1 <= len(history(cut)) < 8
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    going_on = started(
        command(drawn_dataset, calm, cut, "--resume"), starter=[*torchrun, "--no-python", MIEN]
    )
    anew = started(command(drawn_dataset, calm, whole, *TWO))
    for done in [ended(going_on), ended(anew)]:
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("best epoch") == 1
    assert history(cut) == history(whole)


def test_norms_settle_on_the_pictures_of_all_processes_and_no_thread_of_theirs_is_left(
    tmp_path: Path, tiny_onnx: Path
) -> None:
    """Such a thread, waiting for Python's lock as Python ends, ends the process by SIGABRT."""
    script, pixels = tmp_path / "settling.py", tmp_path / "pixels.safetensors"
    script.write_text(SETTLING)
    pictures = torch.rand(32, 1, 48, 48)
    pictures[16:] /= 2  # What one process has differs from what the other has.
    save_file({"pixels": pictures}, pixels)
    done = trained([script, tiny_onnx, pixels, tmp_path], starter=[sys.executable])
    assert done.returncode == 0, done.stderr
    assert "terminate called" not in done.stderr
    alone, _ = open_file(str(tiny_onnx))
    settle_norms(alone, pictures.split(8))
    for process in range(2):
        found = load_file(tmp_path / f"{process}.safetensors")
        torch.testing.assert_close(found, dict(alone.state_dict()), rtol=1e-4, atol=1e-5)


def test_a_batch_that_cannot_be_shared_is_refused(
    tmp_path: Path, drawn_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = nullcontext(SimpleNamespace(world_size=2))
    monkeypatch.setattr("mien.training.train.together", lambda *_: two)
    with pytest.raises(UsageError, match="batch_size 31 cannot be shared by 2 processes"):
        train(drawn_dataset, TrainConfig(batch_size=31), tmp_path / "run", devices=2)
    assert not (tmp_path / "run").exists()


def test_fewer_images_than_processes_are_refused(
    tmp_path: Path,
    drawn_dataset: Dataset,
    tiny_config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count = len(drawn_dataset.usable("train"))
    many = SimpleNamespace(world_size=count + 1, device=torch.device("cpu"))
    monkeypatch.setattr("mien.training.train.together", lambda *_: nullcontext(many))
    config = tiny_config.model_copy(update={"batch_size": count + 1})
    with pytest.raises(DatasetError, match=f"{count} training images for {count + 1} processes"):
        train(drawn_dataset, config, tmp_path / "run", devices=count + 1)
    assert not (tmp_path / "run").exists()


def test_what_goes_wrong_in_another_process_is_said(tmp_path: Path) -> None:
    script = tmp_path / "failing.py"
    script.write_text(FAILING)
    done = trained([script], starter=[sys.executable])
    assert done.returncode == 1
    assert "mien: process 1: no such disk\n" in done.stderr
    assert done.stderr.count("mien: another process of this run was lost") == 1


def test_what_goes_wrong_in_all_is_said_by_the_first_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = DataError("the folder is taken")
    fabric = SimpleNamespace(is_global_zero=False, broadcast=lambda _: first)
    with pytest.raises(DataError) as raised:
        from_first(fabric, lambda: None)  # type: ignore[arg-type]
    monkeypatch.setattr("mien.cli.terminal._SILENT", True)
    monkeypatch.setenv("LOCAL_RANK", "1")
    wrong_call = UsageError("--devices 0")
    told = [(DataError("x"), "mien: process 1: x\n"), (raised.value, ""), (wrong_call, "")]
    for error, said in told:
        monkeypatch.setattr("mien.cli.app", Mock(side_effect=error))
        with pytest.raises(SystemExit):
            main()
        assert capsys.readouterr().err == said


def test_what_lightning_lacks_is_a_wrong_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_gpu(**_: object) -> None:
        raise MisconfigurationException(
            "You requested gpu: [0, 1]\n But your machine only has: [0]"
        )

    monkeypatch.setattr("mien.training.together.Fabric", one_gpu)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    with (
        pytest.raises(UsageError, match=r"--devices 2: You requested gpu: \[0, 1\] But your mach"),
        together("cuda", 2, 1, "32-true"),
    ):
        pass


@pytest.mark.parametrize(("there", "chosen"), [(True, "cuda"), (False, "cpu")])
def test_auto_is_cuda_or_cpu_also_where_there_is_something_else(
    monkeypatch: pytest.MonkeyPatch, there: bool, chosen: str
) -> None:
    asked: list[str] = []

    def fabric(*, accelerator: str, **_: object) -> None:
        asked.append(accelerator)
        raise ValueError("that is all")

    monkeypatch.setattr("mien.training.together.Fabric", fabric)
    monkeypatch.setattr(MPSAccelerator, "is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: there)
    for device in ("auto", "mps"):
        with pytest.raises(UsageError), together(device, 1, 1, "32-true"):
            pass
    assert asked == [chosen, "mps"]


def test_several_machines_must_know_where_to_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.1")
    for name in ("MASTER_PORT", "NODE_RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with (
        pytest.raises(UsageError, match=r"--nodes 2: MASTER_PORT, NODE_RANK not set"),
        together("cpu", 1, 2, "32-true"),
    ):
        pass


def test_more_devices_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with (
        pytest.raises(UsageError, match=r"--device cuda --devices 2: there is no CUDA"),
        together("cuda", 2, 1, "32-true"),
    ):
        pass


@pytest.mark.parametrize("name", ["mini", "mirror-s"])
def test_shared_statistics_are_those_of_batch_normalisation(name: str, tmp_path: Path) -> None:
    """Of one process, they are torch's own: outputs, gradients and running averages."""
    torch.manual_seed(0)
    spec = InputSpec(size=48, channels=1)
    plain = build(name, spec=spec, emotions=8)
    shared = build(name, spec=spec, emotions=8)
    shared.load_state_dict(plain.state_dict())
    share_statistics(shared)
    assert not any(type(part) is nn.BatchNorm2d for part in shared.modules())
    images = torch.rand(16, 1, 48, 48).double()
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1
    )
    try:
        found = []
        for network in (plain, shared):
            torch.manual_seed(1)
            # In 64 bits: in 32, rounding turns an activation here and there off or on.
            outputs = network.double().train()(images)
            outputs.square().sum().backward()
            found.append(outputs)
    finally:
        distributed.destroy_process_group()
    torch.testing.assert_close(found[1], found[0])
    for mine, its in zip(shared.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, its.grad, rtol=1e-3, atol=1e-4)
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(shared.state_dict()[key], value)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_signal_to_the_first_alone_ends_all(
    tmp_path: Path, calm: Path, drawn_dataset: Dataset
) -> None:
    """As containers are stopped: within what they wait for, ten seconds."""
    arguments = command(drawn_dataset, calm, tmp_path / "run", "--devices", "2")
    process = started([*arguments, "--set", "epochs=500"])
    until = time.monotonic() + 120
    while (
        time.monotonic() < until and process.poll() is None and not read_history(tmp_path / "run")
    ):
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    sent = time.monotonic()
    ran = ended(process)
    assert time.monotonic() - sent < 9
    assert ran.returncode == 130
    assert ran.stderr.splitlines()[-1] == (
        "mien: interrupted: the same command with --resume goes on"
    )
