"""kill -9 and Ctrl-C at random instants: python -m benchmarks.accidents [TIMES], 100 by default.

Imports, audits, cleans, joins, cross-fits, cross-validates, streams and trains on drawn faces in
processes of their own, killing each at a random instant, again and again. After every kill nothing
may lie there under its final name that is not whole; the command started again must end as if
nothing had happened. Ctrl-C must end training each time, and say how to go on.
"""

import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mien.data.audit.suspects import OutOfFold
from mien.data.dataset import Dataset
from mien.data.drawn_folder import draw_folder
from mien.data.stream import STREAM_NAME, Stream
from mien.training.checkpoint import BEST_NAME, latest_checkpoint, read_weights

TIMES = 100
FACES = 400
RECIPE = 'network = "mini"\nepochs = 2\nsize = 24\nbatch_size = 32\n'


def _digest(path: Path) -> str:
    """Hash a file, or every file of a folder with its name."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.relative_to(path).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()


def _open_audit(page: Path) -> None:
    assert page.read_text(encoding="utf-8").rstrip().endswith("</html>"), f"{page} is half a page"


def _open_json(file: Path) -> None:
    json.loads(file.read_text(encoding="utf-8"))


def _open_stream(description: Path) -> None:
    stream = Stream(str(description.parent))
    for shard in stream.shards("train"):
        assert len(list(stream.read(shard))) == shard.images


def _try(
    name: str,
    command: list[str],
    made: Path,
    opens: Callable[[Path], object],
    times: int,
    *,
    forget: Path,
) -> None:
    """Kill a command ``times`` times; each time what it made is absent or whole.

    Args:
        name: shown.
        command: of mien.
        made: what it makes.
        opens: raises where that is not whole.
        times: how often.
        forget: what is removed before a new beginning, once the command has ended well.
    """
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    whole, seconds = _digest(made), time.perf_counter() - started
    shutil.rmtree(forget)
    absent = present = 0
    for _ in range(times):
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0.1, 1.0) * seconds)
        child.kill()
        child.wait()
        if made.exists():
            opens(made)
            present += 1
            assert _digest(made) == whole, f"{name}: {made} differs after a kill"
            shutil.rmtree(forget)
        else:
            absent += 1
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert _digest(made) == whole, f"{name}: ends otherwise after {times} kills"
    left = [path.name for path in made.parent.iterdir() if path.name.endswith(".partial")]
    assert not left, f"{name} left {left}"
    print(f"{name}: killed {times} times, absent {absent}, whole {present}; ends the same")


def _try_join(mien: str, folder: Path, dataset: Path, times: int) -> None:
    other, joined = folder / "other", folder / "joined" / "dataset"
    command = [mien, "data", "clean", str(dataset), "--out", str(other), "--without", "fear"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    command = [mien, "data", "join", str(dataset), str(other), "--out", str(joined)]
    _try("join", command, joined, Dataset.open, times, forget=joined.parent)


def _try_train(mien: str, folder: Path, dataset: Path, times: int) -> None:
    recipe = folder / "train.toml"
    recipe.write_text(RECIPE + "checkpoint_steps = 3\n")
    whole = Trained(training(mien, dataset, recipe, folder / "whole"), folder / "whole")
    run = folder / "cut"
    ended = whole.survives(training(mien, dataset, recipe, run), run, times)
    print(f"train: killed {times} times in {ended} runs; each ends with the same weights")


def _try_interrupts(mien: str, folder: Path, dataset: Path, times: int) -> None:
    """Interrupt training from its first epoch on, while curves are drawn above all."""
    recipe, run = folder / "endless.toml", folder / "interrupted"
    recipe.write_text(RECIPE.replace("epochs = 2", "epochs = 10000"))
    for _ in range(times):
        child = subprocess.Popen(
            training(mien, dataset, recipe, run), stderr=subprocess.PIPE, text=True
        )
        while not (run / "history.jsonl").exists():
            assert child.poll() is None, "train: ended before its first epoch"
            time.sleep(0.002)
        time.sleep(random.uniform(0.0, 0.5))
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=60)
        last = said.splitlines()[-1]
        assert child.returncode == 130, f"train: ended with {child.returncode}: {last}"
        assert "interrupted" in last and "--resume" in last, f"train: said {last!r}"
        shutil.rmtree(run)
    print(f"train: interrupted {times} times; each ends, and says how to go on")


def training(mien: str, data: str | Path, recipe: Path, run: Path) -> list[str]:
    """Return the command that trains, or goes on with training."""
    command = [mien, "train", "--data", str(data), "--recipe", str(recipe), "--out", str(run)]
    return [*command, "--device", "cpu", "--resume"]


class Trained:
    """A training that nothing disturbed.

    Args:
        command: of it.
        run: its run folder.
    """

    def __init__(self, command: list[str], run: Path) -> None:
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        self._seconds, self._ends = time.perf_counter() - started, _ends_as(run)

    def is_what(self, command: list[str], run: Path) -> None:
        """Let a command go on to its end, which must be the same."""
        subprocess.run(command, check=True, capture_output=True)
        assert _ends_as(run) == self._ends, "train: ends otherwise"

    def survives(self, command: list[str], run: Path, times: int) -> int:
        """Kill another ``times`` times; it goes on each time, and ends the same.

        Returns:
            How many runs came to their end; all of them lay in ``run``.
        """
        kills = ended = 0
        while kills < times:
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                assert child.wait(random.uniform(0.2, 1.0) * self._seconds) == 0
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                kills += 1
                latest_checkpoint(run / "checkpoints")
                if (run / BEST_NAME).exists():
                    read_weights(run / BEST_NAME)
            else:
                ended += 1
                assert _ends_as(run) == self._ends, "train: ends otherwise after kills"
                shutil.rmtree(run)
        self.is_what(command, run)
        return ended + 1


def _ends_as(run: Path) -> str:
    """Hash a run's last checkpoint and its best weights."""
    (last,) = (run / "checkpoints").glob("*.safetensors")
    weights, _ = read_weights(run / BEST_NAME)
    digest = hashlib.sha256(last.read_bytes())
    for name in sorted(weights):
        digest.update(weights[name].numpy().tobytes())
    return digest.hexdigest()


def main(times: int = TIMES) -> None:
    mien = str(Path(sys.executable).with_name("mien"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source, dataset = folder / "faces", folder / "imported" / "dataset"
        draw_folder(source, count=FACES, size=48, seed=1)
        (folder / "quick.toml").write_text(RECIPE)
        command = [mien, "data", "import", "folder", str(source), "--out", str(dataset)]
        _try("import", command, dataset, Dataset.open, times, forget=dataset.parent)
        page = folder / "audit" / "review.html"
        command = [mien, "data", "audit", str(dataset), "--out", str(page.parent)]
        _try("audit", command, page, _open_audit, times, forget=page.parent)
        cleaned = folder / "cleaned" / "dataset"
        command = [mien, "data", "clean", str(dataset), "--out", str(cleaned)]
        command += ["--without", "contempt", "--split", "70/20/10"]
        _try("clean", command, cleaned, Dataset.open, times, forget=cleaned.parent)
        _try_join(mien, folder, dataset, times)
        predictions = folder / "suspects" / "cross-fit" / "out-of-fold.parquet"
        command = [mien, "data", "audit", str(dataset), "--out", str(folder / "suspects")]
        command += ["--suspects", "--recipe", str(folder / "quick.toml"), "--folds", "2"]
        forget = folder / "suspects"
        _try("cross-fit", command, predictions, OutOfFold.open, times, forget=forget)
        figures = folder / "judged" / "evaluation.json"
        command = [mien, "cross-validate", "--data", str(dataset), "--out", str(figures.parent)]
        command += ["--recipe", str(folder / "quick.toml"), "--folds", "2", "--device", "cpu"]
        _try("cross-validate", command, figures, _open_json, times, forget=figures.parent)
        stream = folder / "streamed" / "stream"
        command = [mien, "data", "stream", str(dataset), "--out", str(stream), "--images", "50"]
        _try("stream", command, stream / STREAM_NAME, _open_stream, times, forget=stream.parent)
        _try_train(mien, folder, dataset, times)
        _try_interrupts(mien, folder, dataset, times)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
