"""Set up other packages and judge them beside ours: python -m benchmarks.peers [MODEL ...].

Installs fer and facex into an environment of their own, and face-api and human with npm (these
packages bundle their weights), then runs `mien compare` on the FER+ majority test and on the test
of FER2013. hsemotion-onnx, emotiefflib and deepface fetch their weights on first use: they take
part where these are on disk already, and say what is missing where not.

MIEN_FERPLUS names a folder with fer2013new.csv, images.zip and fer2013_labels.csv; models are
shipped ones, files or runs. The figures are written to build/peers/, too.
"""

import csv
import io
import shlex
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.ferplus import SOURCE
from mien.model import shipped_models

HERE = Path(__file__).parent
ENVIRONMENT = HERE / ".env"
OUT = Path("build/peers")
PYTHON_PEERS = ("fer", "facex", "hsemotion", "emotiefflib", "deepface")
NODE_PEERS = ("face-api", "human")
IN_ENVIRONMENTS = 300


def set_up() -> dict[str, str]:
    """Install what is missing; return the commands by peer."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        venv.create(ENVIRONMENT, with_pip=True)
        install = [str(python), "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, "-r", HERE / "requirements.txt"], check=True)
        subprocess.run([*install, "--no-deps", "-r", HERE / "packages.txt"], check=True)
    runner = [str(python), str(HERE / "runner.py")]
    commands = {name: shlex.join([*runner, name]) for name in PYTHON_PEERS}
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        print("passed over: face-api and human need Node.js 20 and npm")
        return commands
    if not (HERE / "node" / "node_modules").is_dir():
        subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=HERE / "node", check=True)
    script = str(HERE / "node" / "runner.mjs")
    return commands | {name: shlex.join([node, script, name]) for name in NODE_PEERS}


def write_fer2013(path: Path) -> None:
    """Write FER2013 as it is published: emotion, pixels, usage."""
    archive = zipfile.ZipFile(SOURCE / "images.zip")
    names = {Path(name).name: name for name in archive.namelist()}
    with archive, path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(("emotion", "pixels", "Usage"))
        with (SOURCE / "fer2013_labels.csv").open(newline="") as labels:
            for row in csv.DictReader(labels):
                image = Image.open(io.BytesIO(archive.read(names[row["Image name"]])))
                pixels = " ".join(map(str, np.asarray(image.convert("L")).ravel()))
                writer.writerow((row["emotion"], pixels, row["Usage"]))


def mien(*arguments: str | Path) -> None:
    """Run the command line; a peer that could not answer is no reason to stop."""
    subprocess.run(
        [sys.executable, "-c", "from mien.cli import main; main()", *map(str, arguments)],
        check=False,
    )


def main(models: tuple[str, ...] = ()) -> None:
    missing = [n for n in ("fer2013new.csv", "fer2013_labels.csv") if not (SOURCE / n).exists()]
    if missing:
        print(f"passed over: no {' or '.join(missing)} in {SOURCE}; set MIEN_FERPLUS")
        return
    commands = set_up()
    peers = [part for name, run in commands.items() for part in ("--peer", f"{name}={run}")]
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_fer2013(folder / "fer2013.csv")
        for kind, source in (("ferplus", SOURCE), ("fer2013", folder / "fer2013.csv")):
            mien("data", "import", kind, source, "--out", folder / kind)
            mien(
                "compare",
                *(models or tuple(shipped_models())),
                *("--data", folder / kind),
                *peers,
                # Once: both tests show the same faces.
                *("--environments", str(IN_ENVIRONMENTS if kind == "ferplus" else 0)),
                *("--json", OUT / f"{kind}.json"),
            )


if __name__ == "__main__":
    main(tuple(sys.argv[1:]))
