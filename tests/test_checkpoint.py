"""Checkpoints and weights: whole or not there, read back as they were."""

import errno
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from mien.card import ModelCard
from mien.errors import ModelError
from mien.training.checkpoint import (
    Checkpoint,
    latest_checkpoint,
    load_optimizer_tensors,
    optimizer_tensors,
    read_weights,
    write_checkpoint,
    write_weights,
)

CARD = ModelCard(name="a", network="mini", labels=("x", "y"), size=48, channels=1, parameters=6)


def _checkpoint(epoch: int) -> Checkpoint:
    return Checkpoint(epoch, {"a": torch.full((2, 2), float(epoch))}, {"history": [epoch]})


def test_newest_is_read_back_and_older_ones_go(tmp_path: Path) -> None:
    for epoch in (1, 2, 10):
        write_checkpoint(tmp_path, _checkpoint(epoch))
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert (found.epoch, found.state) == (10, {"history": [10]})
    assert torch.equal(found.tensors["a"], torch.full((2, 2), 10.0))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "epoch-0010.json",
        "epoch-0010.safetensors",
    ]


def test_none_where_there_is_none(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    "left_behind",
    [
        ".epoch-0003.safetensors.partial",
        "epoch-0003.safetensors",
        ".epoch-0003.json.partial",
    ],
)
def test_killed_while_writing_the_next_goes_on_from_the_last(
    tmp_path: Path, left_behind: str
) -> None:
    write_checkpoint(tmp_path, _checkpoint(2))
    (tmp_path / left_behind).write_bytes(b"half")
    found = latest_checkpoint(tmp_path)
    assert found is not None and found.epoch == 2
    write_checkpoint(tmp_path, _checkpoint(3))
    assert len(list(tmp_path.iterdir())) == 2


def test_only_what_checkpoints_are_made_of_is_removed(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, _checkpoint(1))
    (tmp_path / "mine").mkdir()
    kept = ("epoch-copy.json", "notes.txt", ".nfs0001")
    for name in kept:
        (tmp_path / name).write_text("mine")
    write_checkpoint(tmp_path, _checkpoint(2))
    found = {path.name for path in tmp_path.iterdir()}
    assert found == {"mine", *kept, "epoch-0002.json", "epoch-0002.safetensors"}


def test_one_that_cannot_be_removed_yet_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(tmp_path, _checkpoint(1))
    unlink = Path.unlink

    def busy(path: Path, missing_ok: bool = False) -> None:
        if path.name.startswith("epoch-0001"):
            raise PermissionError(errno.EACCES, "used by another process", str(path))
        unlink(path, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", busy)
        write_checkpoint(tmp_path, _checkpoint(2))
    write_checkpoint(tmp_path, _checkpoint(3))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="/proc/self/maps is Linux's")
def test_a_checkpoint_that_was_read_is_let_go(tmp_path: Path) -> None:
    """A file that is still mapped cannot be removed on Windows, nor for good on NFS."""
    write_checkpoint(tmp_path, _checkpoint(1))
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert "epoch-0001" not in Path("/proc/self/maps").read_text()


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_damaged_checkpoint_is_named(tmp_path: Path, suffix: str) -> None:
    write_checkpoint(tmp_path, _checkpoint(1))
    (tmp_path / f"epoch-0001{suffix}").write_bytes(b"\xff\x00rubbish")
    with pytest.raises(ModelError, match="epoch-0001"):
        latest_checkpoint(tmp_path)


def test_weights_carry_their_card(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    write_weights(tmp_path / "w.safetensors", model, CARD)
    tensors, card = read_weights(tmp_path / "w.safetensors")
    assert card == CARD
    assert torch.equal(tensors["weight"], model.weight)
    # The header of a safetensors file is readable JSON.
    raw = (tmp_path / "w.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert json.loads(header["__metadata__"]["mien"])["labels"] == ["x", "y"]


def test_weights_without_a_card_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match="without a mien card"):
        read_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\x08" + b"\x00" * 7 + b"{}"])
def test_rubbish_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"w\.safetensors"):
        read_weights(tmp_path / "w.safetensors")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        read_weights(tmp_path / "w.safetensors")


def test_optimizer_goes_on_exactly() -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        model(torch.ones(1, 3)).square().sum().backward()
        optimizer.step()

    torch.manual_seed(0)
    model = nn.Linear(3, 3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    step(model, optimizer)
    copy = nn.Linear(3, 3)
    copy.load_state_dict(model.state_dict())
    copied = torch.optim.AdamW(copy.parameters(), lr=0.1)
    load_optimizer_tensors(copied, {k: v.clone() for k, v in optimizer_tensors(optimizer).items()})
    for _ in range(3):
        step(model, optimizer)
        step(copy, copied)
    assert torch.equal(model.weight, copy.weight)
