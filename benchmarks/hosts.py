"""Two hosts train one network, and one is lost: python -m benchmarks.hosts (root, Linux, ip).

Each host is a network namespace with an address of its own, and a cable joins them. The same recipe
is trained by one process, by the two hosts undisturbed, and by two hosts of which the second is
killed, or the cable pulled, and which then go on with --resume. The losses of all must agree: those
of the hosts to the last bit, those of one process to rounding.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mien.data.drawn_folder import draw_folder
from mien.training.history import read_history

HOSTS = {"mien-a": "10.77.0.1", "mien-b": "10.77.0.2"}
FACES = 800
EPOCHS = 6
PATIENCE = 900
RECIPE = f"""
network = "mini"
epochs = {EPOCHS}
batch_size = 32
optimizer = "sgd"
learning_rate = 0.01
dropout = 0.0
flip = 0.0
rotation = 0.0
shift = 0.0
scale = 0.0
brightness = 0.0
contrast = 0.0
erasing = 0.0
"""


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def _cabled() -> Iterator[None]:
    """Two hosts joined by a cable, each end of it named after its host."""
    first, second = HOSTS
    try:
        for host in HOSTS:
            _ip("netns", "add", host)
        _ip("link", "add", first, "type", "veth", "peer", "name", second)
        for host, address in HOSTS.items():
            _ip("link", "set", host, "netns", host)
            _ip("-n", host, "addr", "add", f"{address}/24", "dev", host)
            _ip("-n", host, "link", "set", host, "up")
            _ip("-n", host, "link", "set", "lo", "up")
        yield
    finally:
        for host in HOSTS:
            subprocess.run(["ip", "netns", "delete", host], check=False, capture_output=True)


def _start(command: list[str], number: int) -> subprocess.Popen[str]:
    """Start one host's part of a run; gloo must be told which of its addresses to use."""
    host = list(HOSTS)[number]
    environment = {
        "MASTER_ADDR": next(iter(HOSTS.values())),
        "MASTER_PORT": "29511",
        "NODE_RANK": str(number),
        "GLOO_SOCKET_IFNAME": host,
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "400",
    }
    return subprocess.Popen(
        ["ip", "netns", "exec", host, *command, "--nodes", "2"],
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(command: list[str]) -> None:
    for part in [_start(command, number) for number in range(len(HOSTS))]:
        _, said = part.communicate(timeout=PATIENCE)
        assert part.returncode == 0, said


def _history(run: Path) -> list[dict[str, Any]]:
    timed = {"seconds", "images_per_second"}
    return [{key: entry[key] for key in entry.keys() - timed} for entry in read_history(run)]


def _lose(command: list[str], run: Path, how: str) -> str:
    """Start a run, lose the second host after an epoch; return what the first says at its end."""
    parts = [_start(command, number) for number in range(len(HOSTS))]
    while not (run / "history.jsonl").exists():
        assert all(part.poll() is None for part in parts), "a host ended by itself"
        time.sleep(0.05)
    lost = time.perf_counter()
    if how == "killed":
        parts[1].kill()
    else:
        second = list(HOSTS)[1]
        _ip("-n", second, "link", "set", second, "down")
    _, said = parts[0].communicate(timeout=PATIENCE)
    seconds = time.perf_counter() - lost
    parts[1].kill()
    parts[1].communicate()
    if how != "killed":
        _ip("-n", second, "link", "set", second, "up")
    assert parts[0].returncode == 1, said
    last = said.splitlines()[-1]
    assert "another process of this run was lost" in last, said
    assert "Traceback" not in said, said
    return f"{len(_history(run))} of {EPOCHS} epochs kept, ended after {seconds:.1f} s with: {last}"


def main() -> None:
    if not shutil.which("ip") or os.geteuid() != 0:
        print("hosts: skipped; it needs root and the command 'ip' to make two hosts")
        return
    mien = str(Path(sys.executable).with_name("mien"))
    with tempfile.TemporaryDirectory() as temporary, _cabled():
        folder = Path(temporary)
        draw_folder(folder / "faces", count=FACES, size=48, seed=1)
        dataset, recipe = folder / "dataset", folder / "calm.toml"
        imported = [mien, "data", "import", "folder", str(folder / "faces"), "--out", str(dataset)]
        subprocess.run(imported, check=True, capture_output=True)
        recipe.write_text(RECIPE)

        def command(name: str) -> list[str]:
            data = ["train", "--data", str(dataset), "--recipe", str(recipe), "--device", "cpu"]
            return [mien, *data, "--out", str(folder / name)]

        subprocess.run(
            command("one"), check=True, capture_output=True, env=os.environ | {"COLUMNS": "400"}
        )
        _finish(command("two"))
        one, two = _history(folder / "one"), _history(folder / "two")
        apart = [
            max(abs(ours[key] / theirs[key] - 1) for key in ("train_loss", "valid_loss"))
            for ours, theirs in zip(two, one, strict=True)
        ]
        told = ", ".join(f"{each:.0e}" for each in apart)
        print(f"two hosts against one process: losses of epochs 1 to {EPOCHS} apart by {told}")
        for how in ("killed", "cable pulled"):
            print(f"second host {how}: {_lose(command(how), folder / how, how)}")
            _finish([*command(how), "--resume"])
            assert _history(folder / how) == two, f"{how}: resumed otherwise than undisturbed"
            print(f"second host {how}: resumed to the very losses of the undisturbed run")


if __name__ == "__main__":
    main()
