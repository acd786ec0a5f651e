"""Streams and scores on an object store: python -m benchmarks.object_store.

Starts moto's server (pip install 'moto[server]'), which speaks S3, on this machine, and does there
what is else done in folders: a stream written and trained on, killed and resumed within an epoch,
images scored. Each must end as it does on the local disk; then the store is silenced and
stopped in the middle of a run, which must end with one line and resume.
"""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
from pyarrow import fs

from benchmarks.accidents import Trained, training
from mien.data.drawn_folder import draw_folder

FACES = 800
RECIPE = 'network = "mini"\nepochs = 3\nsize = 24\nbatch_size = 32\ncheckpoint_steps = 4\n'
KILLS = 10
MIEN = str(Path(sys.executable).with_name("mien"))


@contextmanager
def _server() -> Iterator[subprocess.Popen[bytes]]:
    """Serve S3 on a free port, and tell the programs started here of it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "anyone",
        "AWS_SECRET_ACCESS_KEY": "anything",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield server
    finally:
        server.kill()
        server.wait()


def _mien(*arguments: str | Path) -> None:
    subprocess.run([MIEN, *map(str, arguments)], check=True, capture_output=True)


def _try_streams(folder: Path, bucket: str, dataset: Path, recipe: Path) -> Trained:
    """Write a stream to both, and train on both; return the run on the folder."""
    local, remote = folder / "stream", f"s3://{bucket}/stream"
    for place in (str(local), remote):
        _mien("data", "stream", dataset, "--out", place, "--images", "100")
    files, root = fs.FileSystem.from_uri(remote)
    names = sorted(path.name for path in local.iterdir())
    for name in names:
        with files.open_input_stream(f"{root}/{name}") as file:
            assert file.read() == (local / name).read_bytes(), f"{name} differs"
    there = [info.base_name for info in files.get_file_info(fs.FileSelector(root))]
    assert sorted(there) == names, f"besides the stream there is {there}"
    print(f"stream: {len(names)} files, byte for byte those of a folder")
    whole = Trained(training(MIEN, local, recipe, folder / "local"), folder / "local")
    run = folder / "cut"
    whole.survives(training(MIEN, remote, recipe, run), run, KILLS)
    print(f"train: killed {KILLS} times; ends with the weights of a run on a folder, bit for bit")
    return whole


def _try_score(folder: Path, bucket: str, faces: Path) -> None:
    """Score a folder of images from the store, into the store and here."""
    files, _ = fs.FileSystem.from_uri(f"s3://{bucket}")
    fs.copy_files(
        str(faces),
        f"{bucket}/faces",
        source_filesystem=fs.LocalFileSystem(),
        destination_filesystem=files,
    )
    remote, local = f"s3://{bucket}/scores.parquet", folder / "scores.parquet"
    _mien("score", f"s3://{bucket}/faces", "--out", remote, "--detector", "none")
    _mien("score", faces, "--out", local, "--detector", "none")
    columns = ["faces", "error", "width", "height"]
    there = pq.read_table(
        f"{bucket}/scores.parquet", filesystem=files, columns=["source", *columns]
    )
    here = pq.read_table(local, columns=["source", *columns])
    tables = [table.sort_by("source").select(columns) for table in (there, here)]
    assert tables[0].equals(tables[1]), "score: other rows than of a folder"
    print(f"score: {len(there):,} rows, those of a folder")


def _try_losing_it(
    server: subprocess.Popen[bytes], remote: str, folder: Path, recipe: Path, whole: Trained
) -> None:
    """Silence the store for good in the middle of a run; it must end with one line, and resume."""
    run = folder / "lost"
    command = training(MIEN, remote, recipe, run)
    child = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "300"},
    )
    while not list((run / "checkpoints").glob("*.safetensors")):
        time.sleep(0.05)
    server.send_signal(signal.SIGSTOP)
    started = time.perf_counter()
    _, said = child.communicate()
    waited = time.perf_counter() - started
    server.send_signal(signal.SIGCONT)
    last = said.strip().splitlines()[-1]
    assert child.returncode == 1 and "Traceback" not in said, said
    print(f"silenced: ended after {waited:.0f} s with: {last}")
    whole.is_what(command, run)
    print("then: resumed to the same weights, bit for bit")


def main() -> None:
    if importlib.util.find_spec("moto") is None:
        print("object_store: skipped; it needs moto: pip install 'moto[server]'")
        return
    bucket = "mien"
    with tempfile.TemporaryDirectory() as name, _server() as server:
        folder = Path(name)
        faces, dataset, recipe = folder / "faces", folder / "dataset", folder / "quick.toml"
        recipe.write_text(RECIPE)
        fs.S3FileSystem(
            endpoint_override=os.environ["AWS_ENDPOINT_URL"], allow_bucket_creation=True
        ).create_dir(bucket)
        draw_folder(faces, count=FACES, size=48, seed=1)
        _mien("data", "import", "folder", faces, "--out", dataset)
        whole = _try_streams(folder, bucket, dataset, recipe)
        _try_score(folder, bucket, faces)
        _try_losing_it(server, f"s3://{bucket}/stream", folder, recipe, whole)


if __name__ == "__main__":
    main()
