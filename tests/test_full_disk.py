"""What is said, and what is left, where a disk becomes full on the way.

`benchmarks.full_disk` does it for every command; this is its short version, on /dev/full, which
takes nothing.
"""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.atomic import replacing, write_text
from mien.data.dataset import Dataset
from mien.data.writer import _save
from mien.training.checkpoint import (
    BEST_NAME,
    Checkpoint,
    latest_checkpoint,
    write_checkpoint,
    write_weights,
)
from mien.training.runs import open_run

FULL = Path("/dev/full")

pytestmark = pytest.mark.skipif(not FULL.exists(), reason="/dev/full is Linux's")


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whatever is written in two steps be written to a device without room."""
    real = Path.open

    def to_nowhere(self: Path, mode: str = "r", *rest: object, **options: object) -> object:
        path = FULL if "w" in mode and self.name.endswith(".partial") else self
        return real(path, mode, *rest, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", to_nowhere)


def test_what_cannot_be_written_is_called_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        write_text(tmp_path / "nowhere" / "a.json", "{}")
    assert raised.value.filename == str(tmp_path / "nowhere" / "a.json")


def test_what_is_flushed_is_open_for_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Windows demands."""
    fcntl = pytest.importorskip("fcntl")
    flushed: list[int] = []

    def fsync(number: int) -> None:
        if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        flushed.append(number)

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(tmp_path / "a.txt", "whole")
    assert len(flushed) == 1


def test_two_that_write_the_same_file_do_not_mix(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.txt") as first, replacing(tmp_path / "a.txt") as second:
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "a.txt").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_checkpoint_that_finds_no_room_leaves_the_one_before(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    first = Checkpoint(1, {"weight": torch.zeros(3)}, {"history": []})
    write_checkpoint(tmp_path, first)
    request.getfixturevalue("full")
    with pytest.raises(OSError, match="No space left on device"):
        write_checkpoint(tmp_path, Checkpoint(2, {"weight": torch.ones(3)}, {"history": []}))
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert found.epoch == 1
    assert torch.equal(found.tensors["weight"], torch.zeros(3))
    assert not list(tmp_path.glob("*.partial"))


def test_weights_and_texts_stay_as_they_were(
    tmp_path: Path, tiny_run: Path, request: pytest.FixtureRequest
) -> None:
    model = open_run(tiny_run)
    before = (tiny_run / BEST_NAME).read_bytes()
    (tmp_path / "a.txt").write_text("whole")
    request.getfixturevalue("full")
    with pytest.raises(OSError, match="No space left on device"):
        write_weights(tiny_run / BEST_NAME, model.network, model.card)
    with pytest.raises(OSError, match="No space left on device"):
        write_text(tmp_path / "a.txt", "half")
    assert (tiny_run / BEST_NAME).read_bytes() == before
    assert (tmp_path / "a.txt").read_text() == "whole"


def test_packed_images_that_find_no_room_say_so(
    tmp_path: Path, drawn_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:

    images = drawn_dataset.images(drawn_dataset.usable("train"))
    _save(tmp_path / "images.npy", images)
    assert np.array_equal(np.load(tmp_path / "images.npy"), images)
    with pytest.raises(OSError, match="No space left on device"):
        _save(FULL, images)
