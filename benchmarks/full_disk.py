"""A disk that is full, or may not be written: python -m benchmarks.full_disk (root, Linux).

Every command that writes runs on a small file system of its own, in memory: one that has no room at
all, ones that become full on the way, and one that may only be read. Each time it must end with one
line that says so; then the disk is made large enough, and the same command must do its work.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mien.data.drawn_folder import draw_folder

FACES = 400
PAGE = 4096  # A file system in memory has whole pages, and rounds up.
SHARES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
RECIPE = 'network = "mini"\nepochs = 2\nsize = 24\nbatch_size = 32\n'
EXPECTED = ("No space left on device", "Read-only file system")


@contextmanager
def _disk(place: Path, size: int) -> Iterator[None]:
    place.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={max(PAGE, size - size % PAGE)}", "tmpfs", place],
        check=True,
    )
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)
        place.rmdir()


def _remount(place: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", place], check=True)


def _refused(command: list[str], which: str) -> str | None:
    """Run a command that must fail; return what is wrong with how it did, if anything."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "400"}
    )
    if done.returncode == 0:
        return "succeeded"
    said = done.stderr.strip().splitlines()
    if done.returncode != 1 or "Traceback" in done.stderr or which not in said[-1]:
        return f"status {done.returncode}: {' / '.join(said[-2:])}"
    return None


def _used(folder: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def main() -> None:
    if os.geteuid() != 0 or not shutil.which("mount"):
        print("full_disk: skipped; it needs root to make small file systems")
        return
    mien = str(Path(sys.executable).with_name("mien"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        disk = folder / "disk"
        faces, dataset, run = folder / "faces", folder / "dataset", folder / "run"
        other = folder / "other"
        recipe = folder / "quick.toml"
        recipe.write_text(RECIPE)
        draw_folder(faces, count=FACES, size=48, seed=1)
        train = [mien, "train", "--recipe", str(recipe), "--device", "cpu", "--resume"]
        judge = [mien, "cross-validate", "--recipe", str(recipe), "--device", "cpu", "--folds", "2"]
        commands = {
            "import": [mien, "data", "import", "folder", str(faces), "--out", str(dataset)],
            "train": [*train, "--data", str(dataset), "--out", str(run)],
            "clean": [
                mien,
                "data",
                "clean",
                str(dataset),
                "--without",
                "fear",
                "--out",
                str(other),
            ],
        }
        for command in commands.values():
            subprocess.run(command, check=True, capture_output=True)
        out = str(disk / "out")
        commands = {
            "draw": [mien, "data", "draw", "--count", "64", "--out", out],
            "import": [mien, "data", "import", "folder", str(faces), "--out", out],
            "audit": [mien, "data", "audit", str(dataset), "--out", out],
            "clean": [mien, "data", "clean", str(dataset), "--without", "contempt", "--out", out],
            "join": [mien, "data", "join", str(dataset), str(other), "--out", out],
            "stream": [mien, "data", "stream", str(dataset), "--out", out],
            "train": [*train, "--data", str(dataset), "--out", out],
            "cross-validate": [*judge, "--data", str(dataset), "--out", out],
            "export": [mien, "export", str(run), "--out", f"{out}/model.onnx"],
            "eval": [mien, "eval", str(run), "--data", str(dataset), "--out", out],
            "score": [mien, "score", str(faces), "--out", out, "--detector", "none"],
        }
        wrong = 0
        for name, command in commands.items():
            with _disk(disk, 1 << 30):
                subprocess.run(command, check=True, capture_output=True)
                size = _used(disk)
            for share in (*SHARES, None):
                with _disk(disk, 1 << 30 if share is None else int(share * size)):
                    if share is None:
                        _remount(disk, "ro")
                    problem = _refused(command, EXPECTED[share is None])
                    _remount(disk, "rw,size=1g")
                    done = subprocess.run(command, capture_output=True, text=True, check=False)
                    if done.returncode:
                        problem = f"{problem or 'refused well'}, then: {done.stderr.strip()[-200:]}"
                if problem:
                    wrong += 1
                    room = "read-only" if share is None else f"{share:.0%} of the room"
                    print(f"{name}, {room}: {problem}", flush=True)
            print(f"{name}: {len(SHARES)} times too little room, once read-only", flush=True)
        print(f"full_disk: {len(commands) * (len(SHARES) + 1)} tries, {wrong} of them wrong")


if __name__ == "__main__":
    main()
