"""Every reader against broken and hostile input: an answer or one clear line, soon, and no more.

Files of every accepted kind are damaged at random (bytes flipped, cut, repeated, numbers and words
put in that parsers trip over) and read. The default run is short; for a long one

    MIEN_FUZZ=20000 pytest tests/test_fuzz.py -s

which prints how many inputs each reader took.
"""

import asyncio
import io
import os
import random
import resource
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image, features

import mien
from layouts import LAYOUTS
from mien.config import load_recipe
from mien.data.dataset import Dataset
from mien.data.importers import import_dataset, recognise
from mien.errors import MienError
from mien.images import read_image
from mien.model import load_model, shipped_models
from mien.serve import Limits, create_app
from mien.training.checkpoint import BEST_NAME
from mien.training.runs import open_run
from mien.video.files import Video, VideoCopy

ROUNDS: Final = int(os.environ.get("MIEN_FUZZ", "0"))
SLOWEST_S: Final = 10.0
MOST_MEMORY_MB: Final = 3_000
WORDS: Final = (
    b"nan", b"inf", b"-1", b"1e999", b"99999999999999999999", b"0x10", b"''", b'"', b",", b";",
    b"\n", b"\r\n", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"../../etc/passwd", b"/etc/passwd",
    b"C:\\x", b"a\nb.png", b"{}", b"[[]]", b"null", b"true", b"%s%n", b"\xc3\x28", b"\xe2\x80\xae",
)  # fmt: skip
"""What parsers trip over."""

pytestmark = pytest.mark.slow


def rounds(short: int) -> int:
    return ROUNDS or short


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Damage some bytes in one to four ways."""
    held = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(held) + 1)
        # The front of a file is where its lengths and types stand.
        at = min(at, draw.choice((16, 64, 512, len(held))))
        end = min(len(held), at + draw.choice((1, 2, 4, 16, 256)))
        kind = draw.randrange(6)
        if kind == 0 and end > at:
            held[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            held[at:end] = draw.randbytes(end - at)
        elif kind == 2:
            held[at:at] = draw.choice(WORDS)
        elif kind == 3:
            del held[at:end]
        elif kind == 4:
            held[at:at] = held[at:end] * draw.randint(1, 50)
        else:
            del held[at:]
    return bytes(held)


def attempt(read: Callable[[], object], what: object) -> str:
    """Read; what goes wrong must be one of mien's own lines, and come soon."""
    began = time.monotonic()
    told = "read"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read()
    except MienError as error:
        told = "refused"
        assert str(error).strip(), what
        assert "\n" not in str(error), (what, str(error))
    took = time.monotonic() - began
    assert took < SLOWEST_S, (what, took)
    return told


def report(name: str, outcomes: list[str]) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert peak < MOST_MEMORY_MB, (name, peak)
    refused = outcomes.count("refused")
    print(f"\n{name}: {len(outcomes):,} inputs, {refused:,} refused, peak {peak:,.0f} MB", end="")


# --- images -------------------------------------------------------------------------------------


def _pictures() -> dict[str, bytes]:
    draw = np.random.default_rng(0)
    rgb = Image.fromarray(draw.integers(0, 256, (24, 20, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    made: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
        "png": (rgb, "PNG", {}),
        "png-alpha": (rgb.convert("RGBA"), "PNG", {}),
        "png-palette": (rgb.convert("P"), "PNG", {"transparency": 0}),
        "png-16": (Image.fromarray(draw.integers(0, 65536, (9, 8)).astype(np.uint16)), "PNG", {}),
        "jpeg": (rgb, "JPEG", {"exif": exif}),
        "jpeg-cmyk": (rgb.convert("CMYK"), "JPEG", {}),
        "jpeg-progressive": (rgb, "JPEG", {"progressive": True}),
        "webp": (rgb, "WEBP", {}),
        "gif": (rgb.convert("P"), "GIF", {"save_all": True, "append_images": [rgb.convert("P")]}),
        "bmp": (rgb, "BMP", {}),
        "tiff": (rgb, "TIFF", {"compression": "tiff_lzw"}),
        "ppm": (rgb, "PPM", {}),
    }
    if features.check("avif"):
        made["avif"] = (rgb, "AVIF", {})
    files = {}
    for name, (image, kind, options) in made.items():
        out = io.BytesIO()
        image.save(out, kind, **options)
        files[name] = out.getvalue()
    return files


PICTURES: Final = _pictures()


CROPS: Final = [np.zeros((48, 48, 1), np.uint8)]


@pytest.mark.parametrize("kind", PICTURES)
def test_images(kind: str) -> None:
    draw = random.Random(kind)
    outcomes = []
    for _ in range(rounds(150)):
        data = damaged(PICTURES[kind], draw)

        def read(data: bytes = data) -> None:
            pixels = read_image(data)
            assert pixels.dtype == np.uint8
            assert pixels.ndim in {2, 3}

        outcomes.append(attempt(read, data))
    report(f"images, {kind}", outcomes)


def test_videos(tmp_path: Path) -> None:
    whole = tmp_path / "whole.avi"
    with VideoCopy(whole, rate=10) as copy:
        for number in range(5):
            copy.add(np.full((48, 64, 3), 40 * number, np.uint8), number / 10)
    draw, outcomes = random.Random("video"), []
    for _ in range(rounds(300) // 10):
        (tmp_path / "x.avi").write_bytes(damaged(whole.read_bytes(), draw))

        def read() -> None:
            with Video(tmp_path / "x.avi") as video:
                for count, _ in enumerate(video):
                    assert count < 1000

        outcomes.append(attempt(read, (tmp_path / "x.avi").read_bytes()))
    report("videos", outcomes)


# --- data ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAYOUTS)
def test_label_tables_and_annotations(name: str, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    LAYOUTS[name](whole)
    files = sorted(path for path in whole.rglob("*") if path.is_file())
    # The images have their own test: here it is what says what they show.
    told = [path for path in files if path.suffix not in {".png", ".jpg", ".tiff"}] or files
    outside = tmp_path / "outside.png"
    outside.write_bytes(PICTURES["png"])
    draw, outcomes = random.Random(name), []
    for number in range(max(6, rounds(60) // 10)):
        source = tmp_path / f"s{number}"
        shutil.copytree(whole, source)
        path = source / draw.choice(told).relative_to(whole)
        data = damaged(path.read_bytes(), draw)
        if draw.random() < 0.2:
            data = data.replace(b".png", b".png,", 1).replace(b"0/", b"../outside.png", 1)
        path.write_bytes(data)
        outcomes.append(attempt(lambda source=source: recognise(source), data))  # type: ignore[misc]
        out = tmp_path / f"d{number}"
        outcomes.append(
            attempt(lambda s=source, o=out: import_dataset(name, s, o, size=24), data)  # type: ignore[misc]
        )
        if outcomes[-1] == "refused":
            assert not out.exists()
        else:
            dataset = Dataset.open(out)
            for path, shard in zip(dataset.column("path"), dataset.column("shard"), strict=True):
                assert shard is None or ".." not in path.split("/"), path
        shutil.rmtree(source)
        shutil.rmtree(out, ignore_errors=True)
    report(f"layout {name}", outcomes)


def test_dataset_folders(drawn_dataset: Dataset, tmp_path: Path) -> None:
    files = sorted(path for path in drawn_dataset.path.rglob("*") if path.is_file())
    draw, outcomes = random.Random("dataset"), []
    for _ in range(rounds(80)):
        folder = tmp_path / "d"
        shutil.copytree(drawn_dataset.path, folder)
        path = folder / draw.choice(files).relative_to(drawn_dataset.path)
        path.write_bytes(damaged(path.read_bytes(), draw))

        def read(folder: Path = folder) -> None:
            dataset = Dataset.open(folder)
            rows = dataset.usable("train")
            dataset.images(rows[:8])
            dataset.targets(rows[:8], dataset.emotions)

        outcomes.append(attempt(read, path.name))
        shutil.rmtree(folder)
    report("dataset folders", outcomes)


# --- models, runs, recipes ----------------------------------------------------------------------


def test_model_files(tiny_onnx: Path, tmp_path: Path) -> None:
    draw, outcomes = random.Random("model"), []
    whole = tiny_onnx.read_bytes()
    # The card and the graph's description stand around the weights: half the damage goes there.
    card = whole.find(b'{"format_version"')
    face = np.zeros((60, 60, 3), np.uint8)
    for number in range(rounds(120)):
        if number % 2 and card > 0:
            data = whole[:card] + damaged(whole[card:], draw)
        else:
            data = damaged(whole, draw)
        (tmp_path / "x.onnx").write_bytes(data)

        def read() -> None:
            for found in mien.load(tmp_path / "x.onnx", detector="none", threads=1)(face):
                assert found.emotion

        outcomes.append(attempt(read, number))
    report("model files", outcomes)


def test_runs(tiny_run: Path, tmp_path: Path) -> None:
    draw, outcomes = random.Random("run"), []
    names = [BEST_NAME, "run.json"]
    for number in range(rounds(80)):
        run = tmp_path / "run"
        shutil.copytree(tiny_run, run, ignore=shutil.ignore_patterns("checkpoints", "*.png"))
        path = run / draw.choice(names)
        path.write_bytes(damaged(path.read_bytes(), draw))
        outcomes.append(attempt(lambda r=run: open_run(r).probabilities(CROPS), number))  # type: ignore[misc]
        shutil.rmtree(run)
    report("runs", outcomes)


def test_recipes(tmp_path: Path) -> None:
    draw, outcomes = random.Random("recipe"), []
    whole = b'network = "mini"\nepochs = 3\nlearning_rate = 4e-3\nteachers = ["a"]\nema = 0.99\n'
    for _ in range(rounds(300)):
        data = damaged(whole, draw)
        (tmp_path / "r.toml").write_bytes(data)
        outcomes.append(attempt(lambda: load_recipe(str(tmp_path / "r.toml")), data))
    report("recipes", outcomes)


# --- the server ---------------------------------------------------------------------------------


def test_requests_and_frames() -> None:
    draw = random.Random("server")
    model = load_model(next(iter(shipped_models().values())), threads=1)
    app = create_app({"base": model}, limits=Limits(rate=1e9))
    outcomes = []
    with TestClient(app, base_url="http://127.0.0.1") as client:
        for _ in range(rounds(150)):
            body = damaged(draw.choice(list(PICTURES.values())), draw)
            query = draw.choice(
                ("", "?model=base", "?detector=none", "?detector=%00", "?model=%ff")
            )
            began = time.monotonic()
            answer = client.post(f"/v1/predict{query}", content=body)
            assert answer.status_code in {200, 400, 404, 422}, (query, body)
            assert time.monotonic() - began < SLOWEST_S
            said = answer.json()
            assert (said["error"] is None) == (answer.status_code == 200)
            assert "\n" not in (said["error"] or "")
            outcomes.append("read" if answer.status_code == 200 else "refused")
        report("requests", outcomes)
        frames = []
        with client.websocket_connect("ws://127.0.0.1/v1/stream") as stream:
            for _ in range(rounds(60)):
                stream.send_bytes(damaged(draw.choice(list(PICTURES.values())), draw))
                frames.append("refused" if stream.receive_json()["error"] else "read")
        report("frames", frames)
        assert client.get("/v1/health").json()["streams"] == 0


def test_raw_messages_to_the_server() -> None:
    """Scopes as no well-behaved server would build them from a request."""
    draw = random.Random("raw")
    model = load_model("base", threads=1)
    app = create_app({"base": model}, limits=Limits(rate=1e9))

    async def ask(scope: dict[str, Any]) -> int:
        sent: list[Any] = []
        given = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> Any:
            return next(given, {"type": "http.disconnect"})

        async def send(message: Any) -> None:
            sent.append(message)

        await app(scope, receive, send)
        return int(sent[0]["status"])

    outcomes = []
    for _ in range(rounds(150)):
        headers = [(b"host", b"localhost")]
        for name in (b"origin", b"cookie", b"authorization", b"content-length", b"host"):
            if draw.random() < 0.5:
                held = damaged(b"http://localhost:1/?token=a; mien_token_1=b", draw)
                headers.append((name, held.replace(b"\n", b"").replace(b"\r", b"")))
        scope = {
            "type": "http",
            "method": draw.choice(("GET", "POST", "PUT", "X")),
            "scheme": "http",
            "path": damaged(b"/page/main.js", draw).decode("latin-1"),
            "query_string": damaged(b"token=a&model=base", draw),
            "headers": headers,
        }
        status = asyncio.run(ask(scope))
        assert 200 <= status < 500, (status, scope)
        outcomes.append("read" if status == 200 else "refused")
    report("raw requests", outcomes)


def test_the_damage_is_worth_its_name() -> None:
    draw = random.Random(0)
    seen = {damaged(b"some words that are damaged", draw) for _ in range(100)}
    assert len(seen) > 90
