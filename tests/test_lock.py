"""Two commands are never at work in one folder."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from mien.config import TrainConfig
from mien.data.dataset import Dataset
from mien.errors import UsageError
from mien.lock import alone_in
from mien.training.search import Job, Varied, search
from mien.training.train import train

HOLDING = """
import sys
from pathlib import Path
from mien.lock import alone_in

with alone_in(Path(sys.argv[1]), kind="run", known_by="run.json"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_command_is_kept_out_until_the_first_ends(
    tmp_path: Path, drawn_dataset: Dataset, tiny_config: TrainConfig
) -> None:
    folder = tmp_path / "a"
    job = Job(str(drawn_dataset.path), "fast", (), (Varied.parse("ema=0.5,0.9"),), "cpu")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=r"another command is at work in .*: wait for it"):
            train(drawn_dataset, tiny_config, folder, device="cpu")
        with pytest.raises(UsageError, match="another command is at work in"):
            search(job, folder, trials=1)
        holder.kill()  # However it ends.
    with alone_in(folder, kind="run", known_by="run.json"):
        pass


def test_what_a_killed_command_left_half_written_goes(tmp_path: Path) -> None:
    for name in (".a.json.0123abcd.partial", ".mine"):
        (tmp_path / name).touch()
    with alone_in(tmp_path, kind="run", known_by="run.json"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {".lock", ".mine"}


def test_where_nothing_can_be_locked_nothing_of_others_is_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another command may be writing it just now."""

    def unknown(file: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("mien.lock._lock", unknown)
    written = tmp_path / ".best.safetensors.0123abcd.partial"
    written.touch()
    with alone_in(tmp_path, kind="run", known_by="run.json"):
        pass
    assert written.exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with (
        pytest.raises(UsageError, match="is not empty and no run: choose another --out"),
        alone_in(tmp_path, kind="run", known_by="run.json"),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
