"""Tests of the server: it answers as `mien predict` does, and says no clearly where it must."""

import asyncio
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import quote

import anyio
import numpy as np
import pytest
import uvicorn
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect
from uvicorn.server import ServerState
from websockets.sync.client import connect

import mien
from filmed import Actor, film
from mien.card import ModelCard
from mien.cores import quota_heeded, session_threads, usable_cores
from mien.errors import UsageError
from mien.model import EmotionModel, load_model
from mien.serve import Limits, create_app, is_loopback, serve
from mien.serve.connection import HEAD_S, Connection
from mien.serve.guard import checked_origin
from mien.serve.limits import Rates, Workers
from mien.serve.stream import Stream
from mien.video.files import VIDEO_SUFFIXES
from servers import begun_upload, running

HERE = "http://127.0.0.1"
STRANGER = {"origin": "https://elsewhere.example"}
UPLOAD = {
    "type": "http",
    "method": "POST",
    "scheme": "http",
    "path": "/v1/predict",
    "query_string": b"",
    "headers": [(b"host", b"localhost")],
}
"""A request for a picture's faces, as ASGI describes it."""


def file_of(pixels: NDArray[np.uint8], kind: str = "JPEG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, quality=95)
    return out.getvalue()


@pytest.fixture(scope="module")
def base() -> EmotionModel:
    return load_model("base", threads=1)


@pytest.fixture(scope="module")
def photo() -> bytes:
    """A drawn, smiling person before a wall."""
    cast = [Actor(2, lambda t: (0.5, 0.5), 0.55, "happiness")]
    return file_of(next(film(cast, seconds=1, fps=1, size=(320, 240))).pixels)


def client_of(model: EmotionModel, limits: Limits | None = None, **options: Any) -> TestClient:
    app = create_app({"base": model}, limits=limits or Limits(rate=10_000), **options)
    return TestClient(app, base_url=HERE)


def config_of(
    monkeypatch: pytest.MonkeyPatch, models: dict[str, EmotionModel], **options: Any
) -> Any:
    """What `serve` would run uvicorn with."""
    configs: list[Any] = []
    monkeypatch.setattr(
        uvicorn.Server, "run", lambda server, sockets: configs.append(server.config)
    )
    serve(models, host="127.0.0.1", port=0, **options)
    return configs[0]


@pytest.fixture(scope="module")
def client(base: EmotionModel) -> Iterator[TestClient]:
    with client_of(base) as client:
        yield client


class Slow:
    """A model that waits until it is let go."""

    def __init__(self, model: EmotionModel) -> None:
        self.model = model
        self.go = threading.Event()
        self.asked = threading.Event()

    @property
    def card(self) -> ModelCard:
        return self.model.card

    def probabilities(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        self.asked.set()
        assert self.go.wait(20)
        return self.model.probabilities(crops)


# --- pictures -----------------------------------------------------------------------------------


def test_a_picture_is_answered_as_by_the_recogniser(client: TestClient, photo: bytes) -> None:
    answer = client.post("/v1/predict", content=photo)
    (face,) = mien.load()(photo)
    assert answer.status_code == 200
    found = answer.json()
    assert (found["width"], found["height"], found["error"]) == (320, 240, None)
    assert found["faces"][0]["emotion"] == face.emotion == "happiness"
    assert found["faces"][0]["box"] == face.to_json()["box"]
    assert found["faces"][0]["probabilities"] == pytest.approx(face.probabilities, abs=1e-5)


def test_without_a_detector_the_picture_is_the_face(client: TestClient, photo: bytes) -> None:
    (face,) = client.post("/v1/predict?detector=none", content=photo).json()["faces"]
    assert face["box"] == [0, 0, 320, 240]
    assert face["detection"] is None


@pytest.mark.parametrize(
    ("call", "status", "words"),
    [
        ({"content": b"no picture"}, 422, "not a readable image"),
        ({"content": b""}, 422, "not a readable image"),
        ({"files": {"file": b"x"}}, 415, "--data-binary"),
        ({"content": bytes(300_001)}, 413, "at most 300,000 bytes"),
        ({"content": iter([bytes(200_000)] * 2)}, 413, "at most 300,000 bytes"),
        ({"params": {"model": "nobody"}}, 404, "there is base"),
        ({"params": {"detector": "eagle"}}, 400, "query.detector"),
    ],
)
def test_a_wrong_call_gets_one_line(
    base: EmotionModel, call: dict[str, Any], status: int, words: str
) -> None:
    with client_of(base, Limits(picture_bytes=300_000)) as client:
        answer = client.post("/v1/predict", **call)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_too_many_pixels_are_refused(base: EmotionModel, photo: bytes) -> None:
    with client_of(base, Limits(picture_pixels=50_000)) as client:
        answer = client.post("/v1/predict", content=photo)
    assert answer.status_code == 422
    assert "320x240" in answer.json()["error"]
    assert answer.json()["faces"] == []


def test_an_upload_that_does_not_end_is_ended(base: EmotionModel) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(create_app({"base": base}, limits=Limits(upload_s=0.2))(UPLOAD, receive, send))
    assert sent[0]["status"] == 408
    assert b"over 0.2 s" in sent[1]["body"]


def test_a_client_that_leaves_amid_its_upload_is_no_failure(base: EmotionModel) -> None:
    sent: list[Any] = []
    given = [
        {"type": "http.request", "body": bytes(1000), "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Any:
        return given.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/predict",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-length", b"100000")],
    }
    asyncio.run(create_app({"base": base})(scope, receive, send))
    assert sent[0]["status"] == 499


def test_more_than_may_wait_are_told_so_at_once(base: EmotionModel, photo: bytes) -> None:
    slow, codes = Slow(base), []
    with client_of(slow, Limits(at_once=1, waiting=1, rate=10_000)) as client:

        def ask() -> None:
            codes.append(client.post("/v1/predict", content=photo).status_code)

        asking = [threading.Thread(target=ask) for _ in range(5)]
        for thread in asking:
            thread.start()
        assert slow.asked.wait(10)
        deadline = time.monotonic() + 10
        while len(codes) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert codes == [503, 503, 503]
        slow.go.set()
        for thread in asking:
            thread.join(10)
        assert sorted(codes) == [200, 200, 503, 503, 503]
        assert client.post("/v1/predict", content=photo).status_code == 200


class Call:
    """A picture as an ASGI server hands it on; after what there is of it, the client may leave."""

    def __init__(self, app: Any, *chunks: bytes, ended: bool = True) -> None:
        self.given = [
            {"type": "http.request", "body": chunk, "more_body": not ended or i < len(chunks)}
            for i, chunk in enumerate(chunks, 1)
        ]
        self.left = asyncio.Event()
        self.status = 0
        self.task = asyncio.ensure_future(app(UPLOAD, self.receive, self.send))

    async def receive(self) -> Any:
        if self.given:
            return self.given.pop(0)
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.status = message.get("status", self.status)

    async def answered(self) -> int:
        await asyncio.wait_for(self.task, 10)
        return self.status


def test_pictures_on_their_way_fill_no_more_memory_than_is_allowed(base: EmotionModel) -> None:
    async def ask() -> list[int]:
        app = create_app({"base": base}, limits=Limits(picture_bytes=1000, waiting=1))
        slow = [Call(app, bytes(900), ended=False) for _ in range(2)]
        await asyncio.sleep(0)
        statuses = [await Call(app, bytes(300)).answered()]
        for call in slow:
            call.left.set()
            statuses.append(await call.answered())
        return [*statuses, await Call(app, bytes(300)).answered()]

    assert asyncio.run(ask()) == [503, 499, 499, 422]


@pytest.mark.parametrize(
    ("sizes", "status"), [((600, 600), 413), ((1001,), 413), ((600, 400), 422)]
)
def test_a_picture_of_untold_size_is_refused_as_soon_as_it_is_too_large(
    base: EmotionModel, sizes: tuple[int, ...], status: int
) -> None:
    async def ask() -> int:
        app = create_app({"base": base}, limits=Limits(picture_bytes=1000))
        return await Call(app, *map(bytes, sizes)).answered()

    assert asyncio.run(ask()) == status


def test_whoever_leaves_while_waiting_is_not_worked_for(base: EmotionModel, photo: bytes) -> None:
    slow = Slow(base)

    async def ask() -> list[int]:
        app = create_app({"base": slow}, limits=Limits(at_once=1, waiting=1))
        first = Call(app, photo)
        assert await asyncio.to_thread(slow.asked.wait, 10)
        slow.asked.clear()
        second = Call(app, photo)
        await asyncio.sleep(0.05)
        assert await Call(app, photo).answered() == 503
        second.left.set()
        statuses = [await second.answered()]
        third = Call(app, photo)
        await asyncio.sleep(0.05)
        third.left.set()
        statuses.append(await third.answered())
        # What is worked on already goes on, and keeps its place.
        first.left.set()
        await asyncio.sleep(0.05)
        assert not first.task.done()
        slow.go.set()
        return [*statuses, await first.answered()]

    assert asyncio.run(ask()) == [499, 499, 200]
    assert not slow.asked.is_set()


def test_too_many_requests_are_told_when_to_come_back(base: EmotionModel) -> None:
    with client_of(base, Limits(rate=0.5)) as client:
        assert client.get("/v1/models").status_code == 200
        refused = client.get("/v1/models")
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "2"


@pytest.mark.parametrize("path", ["/page/stream.js", "/v1/health"])
@pytest.mark.parametrize(("token", "status"), [(None, 200), ("secret", 429)])
def test_the_parts_of_the_page_and_health_are_no_requests_too_many(
    base: EmotionModel, token: str | None, status: int, path: str
) -> None:
    """Unless whoever asks for them may be guessing the token."""
    with client_of(base, Limits(rate=1), token=token) as client:
        answers = [client.get(path).status_code for _ in range(12)]
    assert answers[-1] == status


def test_the_page_knows_a_video_by_the_names_that_predict_knows() -> None:
    script = (files("mien.serve") / "page" / "main.js").read_text(encoding="utf-8")
    known = re.search(r"const VIDEO_NAME = /(.*)/i;", script)
    assert known is not None
    assert all(re.search(known[1], f"clip{suffix}") for suffix in VIDEO_SUFFIXES)
    assert not re.search(known[1], "clip.png")


def test_rates_are_counted_for_each_client_and_recover() -> None:
    now = 0.0
    rates = Rates(2.0, clock=lambda: now)
    assert [rates.wait_s("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert rates.wait_s("b") == 0
    now = 0.5
    assert rates.wait_s("a") == 0
    assert rates.wait_s("a") == 0.5


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="not on this system")
def test_as_many_are_worked_on_at_once_as_cores_may_be_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 8})
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr("mien.cores._OWN_GROUPS", Path("nowhere"))
    assert usable_cores() == 3


@pytest.mark.parametrize(
    ("told", "files", "cores"),
    [
        ("0::/", {"cpu.max": "max 100000"}, 8),
        ("0::/", {"cpu.max": "150000 100000"}, 2),
        ("0::/a/b", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3),
        ("0::/of/the/host", {"cpu.max": "50000 100000"}, 1),
        (
            "4:cpu,cpuacct:/x",
            {"cpu/x/cpu.cfs_quota_us": "400000", "cpu/x/cpu.cfs_period_us": "100000"},
            4,
        ),
        ("1:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ("3:cpuset:/", {"cpu.max": "100000 100000"}, 8),
    ],
)
def test_the_quota_of_a_container_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: str, files: dict[str, str], cores: int
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    (tmp_path / "own").write_text(f"{told}\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr("mien.cores._GROUPS", tmp_path)
    monkeypatch.setattr("mien.cores._OWN_GROUPS", tmp_path / "own")
    assert usable_cores() == cores
    # What asks for a thread a core would start eight: it gets as many as the quota leaves.
    assert session_threads(0) == (cores if cores < 8 else 0)
    assert session_threads(5) == 5
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    quota_heeded()
    assert os.environ.get("OMP_NUM_THREADS") == (str(cores) if cores < 8 else None)


@pytest.mark.parametrize(("asked", "at_once"), [(0, 5), (2, 2)])
def test_as_many_are_worked_on_at_once_as_asked_else_one_a_core(
    base: EmotionModel, monkeypatch: pytest.MonkeyPatch, asked: int, at_once: int
) -> None:
    workers: list[int] = []
    monkeypatch.setattr("mien.serve.app.Workers", lambda number, _: workers.append(number))
    monkeypatch.setattr("mien.serve.app.usable_cores", lambda: 5)
    create_app({"base": base}, limits=Limits(at_once=asked))
    assert workers == [at_once]


# --- what the server tells ----------------------------------------------------------------------


def test_models_and_health(client: TestClient) -> None:
    (model,) = client.get("/v1/models").json()
    assert (model["name"], model["default"]) == ("base", True)
    assert model["labels"] == list(mien.EMOTIONS)
    assert model["card"]["figures"]
    health = client.get("/v1/health").json()
    assert health == {"status": "ok", "version": mien.__version__, "streams": 0}


def test_the_api_is_described_and_loads_nothing_from_elsewhere(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {"/v1/predict", "/v1/models", "/v1/health"}
    answers = document["paths"]["/v1/predict"]["post"]["responses"]
    assert {"200", "400", "404", "413", "415", "422", "429", "503"} <= set(answers)
    assert client.get("/docs").status_code == 404
    page = Path(mien.__file__).parent / "serve" / "page"
    for file in page.iterdir():
        addresses = re.findall(r"https?://[^\s\"')]+", file.read_text(encoding="utf-8"))
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, file.name
    front = client.get("/")
    assert front.status_code == 200
    # None of them begins with a slash: a proxy may serve the page in a folder of its own.
    assert not re.search(r"[\"'`]/\w", front.text + (page / "main.js").read_text(encoding="utf-8"))
    names = re.findall(r'"(page/[\w.]+)"', front.text)
    assert len(names) > 3
    for name in names:
        assert client.get(f"/{name}").status_code == 200, name


def test_the_description_names_what_may_be_answered_and_the_token(base: EmotionModel) -> None:
    def described(**options: Any) -> tuple[set[str], set[str], dict[str, Any]]:
        with client_of(base, **options) as client:
            headers = {"authorization": "Bearer s3cret"}
            document = client.get("/openapi.json", headers=headers).json()
        paths, schemes = document["paths"], document.get("components", {})
        assert set(paths["/v1/health"]) == {"get"}
        return (
            set(paths["/v1/predict"]["post"]["responses"]),
            set(paths["/v1/models"]["get"]["responses"]),
            schemes.get("securitySchemes", {}),
        )

    posted, got, schemes = described()
    assert posted == {"200", "400", "403", "404", "408", "413", "415", "422", "429", "503"}
    assert (got, schemes) == ({"200", "403", "429"}, {})
    posted, got, schemes = described(token="s3cret")
    assert "401" in posted
    assert got == {"200", "401", "403", "429"}
    assert [(scheme["type"], scheme["scheme"]) for scheme in schemes.values()] == [
        ("http", "bearer")
    ]


def test_those_who_only_ask_whether_it_answers_are_answered(client: TestClient) -> None:
    for path in ("/", "/v1/health"):
        answer = client.head(path)
        assert (answer.status_code, answer.text) == (200, "")


def test_every_answer_carries_the_headers_that_browsers_heed(client: TestClient) -> None:
    for path in ("/", "/page/main.js", "/v1/health", "/nothing"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
    assert client.get("/nothing").json() == {"error": "Not Found"}
    assert client.get("/page/../app.py").status_code == 404
    assert client.get("/page/%2e%2e/app.py").status_code == 404


# --- who may ask --------------------------------------------------------------------------------


def test_foreign_origins_and_names_are_refused(client: TestClient, photo: bytes) -> None:
    refused = client.post("/v1/predict", content=photo, headers=STRANGER)
    assert refused.status_code == 403
    assert "elsewhere.example" in refused.json()["error"]
    assert client.get("/", headers={"host": "elsewhere.example"}).status_code == 403
    assert client.get("/", headers={"host": "[::1"}).status_code == 403
    assert client.get("/v1/health", headers={"origin": "null"}).status_code == 403
    assert client.get("/v1/health", headers={"origin": HERE}).status_code == 200
    for name in ("localhost:8765", "[::1]:8765", "127.0.0.2"):
        assert client.get("/v1/health", headers={"host": name}).status_code == 200
    with pytest.raises(WebSocketDenialResponse) as denied:
        client.websocket_connect("ws://127.0.0.1/v1/stream", headers=STRANGER).__enter__()
    assert denied.value.status_code == 403


def test_named_origins_may_ask_with_the_token(base: EmotionModel, photo: bytes) -> None:
    origin = "https://mien.example"
    bearer = {"authorization": "Bearer s3cret"}
    with client_of(base, token="s3cret", origins=[f"{origin}/", "http://10.0.0.1:90"]) as client:

        def status(**headers: str) -> int:
            return client.get("/v1/models", headers=bearer | headers).status_code

        # A proxy passes the public name on, or its own name for this server.
        assert status(host="mien.example", origin=origin) == 200
        assert status(origin=origin) == 200
        assert status(host="10.0.0.1:90") == 200
        assert status(host="elsewhere.example") == 403
        assert status(host="mien.example", **STRANGER) == 403
        assert status(origin="http://mien.example:81") == 403
        assert status(origin="https://10.0.0.1:90") == 403
        assert status(host="10.0.0.1:91") == 403
        headers = {"origin": origin}
        with client.websocket_connect("ws://127.0.0.1/v1/stream", headers=bearer | headers):
            pass
        # A page of that origin that is not this server's.
        found = client.post("/v1/predict", content=photo, headers=bearer | headers)
        assert found.headers["access-control-allow-origin"] == origin
        asked = headers | {
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type",
        }
        allowed = client.options("/v1/predict", headers=asked)
        assert (allowed.status_code, allowed.text) == (200, "")
        assert allowed.headers["access-control-allow-origin"] == origin
        assert "Authorization" in allowed.headers["access-control-allow-headers"]
        assert client.options("/v1/predict", headers=asked | STRANGER).status_code == 403
        refused = client.get("/v1/models", headers=headers)
        assert refused.status_code == 401, "the origin alone is not enough"
        assert refused.headers["access-control-allow-origin"] == origin
        assert "access-control-allow-origin" not in client.get("/").headers


def test_only_a_named_origin_asks_without_the_token_and_may_read(base: EmotionModel) -> None:
    origin = {"origin": "https://mien.example"}
    with client_of(base, token="s3cret", origins=origin.values()) as client:
        for headers in (STRANGER, {}, {"origin": HERE}):
            answer = client.get("/v1/models", headers=headers)
            assert "access-control-allow-origin" not in answer.headers
            assert answer.headers["vary"] == "Origin"
        assert client.options("/v1/predict").status_code == 401
        assert client.options("/v1/predict", headers={"origin": HERE}).status_code == 401
        # Else a cache would hand on to one origin what is for another.
        assert client.get("/v1/models", headers=origin).headers["vary"] == "Origin"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("https://Mien.example:443/", "https://mien.example"),
        ("http://mien.example:80", "http://mien.example"),
        ("https://mien.example:80", "https://mien.example:80"),
    ],
)
def test_an_origin_is_taken_as_browsers_send_it(given: str, sent: str) -> None:
    assert checked_origin(given) == sent


@pytest.mark.parametrize(
    "origin", ["mien.example", "https://", "ftp://a.b", "https://a.b/c", "https://a@b", "*", ""]
)
def test_what_is_no_origin_is_told(base: EmotionModel, origin: str) -> None:
    with pytest.raises(UsageError, match="is no origin: expected one such as https://"):
        create_app({"base": base}, token="s3cret", origins=[origin])


def test_what_would_answer_nobody_or_everybody_is_told(base: EmotionModel) -> None:
    with pytest.raises(UsageError, match="expected a token"):
        create_app({"base": base}, local=False)
    with pytest.raises(UsageError, match="no models"):
        create_app({})


def test_an_application_may_be_started_again(base: EmotionModel, photo: bytes) -> None:
    app = create_app({"base": base})
    for _ in range(2):
        with TestClient(app, base_url=HERE) as client:
            assert client.post("/v1/predict", content=photo).status_code == 200


def test_too_little_memory_is_nobodys_picture(
    client: TestClient, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.serve.app.read_image", Mock(side_effect=MemoryError))
    answer = client.post("/v1/predict", content=photo)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "too little memory" in answer.json()["error"]


def test_origins_need_a_token(base: EmotionModel, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="expected a token"):
        create_app({"base": base}, origins=["https://mien.example"])
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, sockets: None)
    said: list[str] = []
    serve({"base": base}, host="127.0.0.1", port=0, origins=["https://a.b"], say=said.append)
    assert "?token=" in said[0]


@pytest.mark.parametrize(
    ("proxy", "address", "believed"),
    [
        (True, "127.0.0.1", True),
        (True, "::ffff:127.0.0.1", True),  # So it comes to a server on ::.
        (True, "192.168.0.9", False),  # It may be anybody, who would have no limit.
        (False, "127.0.0.1", False),
    ],
)
def test_a_proxy_on_this_machine_is_believed_who_asks_where_that_is_said(
    base: EmotionModel,
    monkeypatch: pytest.MonkeyPatch,
    proxy: bool,
    address: str,
    believed: bool,
) -> None:
    options = {"proxy": proxy, "token": "s3cret", "limits": Limits(rate=0.5)}
    app = config_of(monkeypatch, {"base": base}, **options).loaded_app
    with TestClient(app, base_url=HERE, client=(address, 5)) as client:
        bearer = {"authorization": "Bearer s3cret"}
        assert [200, 429, 200 if believed else 429] == [
            client.get("/v1/models", headers=bearer | {"x-forwarded-for": who}).status_code
            for who in ("10.0.0.1", "10.0.0.1", "10.0.0.2")
        ]
        headers = {"x-forwarded-for": "10.0.0.3", "x-forwarded-proto": "https"}
        if believed:
            entered = client.get("/?token=s3cret", headers=headers, follow_redirects=False)
            assert "Secure" in entered.headers["set-cookie"].split("; ")


def test_a_server_for_others_asks_for_its_token(base: EmotionModel) -> None:
    with client_of(base, token="s3cret", local=False) as client:
        for path in ("/", "/v1/health", "/page/main.js", "/?token=wrong", "/?token="):
            refused = client.get(path)
            assert refused.status_code == 401, path
            assert "token" in refused.json()["error"]
        for wrong in ("s3cre", "", "\u00e9"):
            headers = {b"authorization": f"Bearer {wrong}".encode()}
            assert client.get("/v1/health", headers=headers).status_code == 401
        with pytest.raises(WebSocketDenialResponse):
            client.websocket_connect("ws://127.0.0.1/v1/stream").__enter__()
        bearer = {"authorization": "Bearer s3cret"}
        assert client.get("/v1/health", headers=bearer).status_code == 200
        entered = client.get("/?token=s3cret&a=b", follow_redirects=False)
        assert entered.status_code == 303
        assert entered.headers["location"] == "./?a=b"
        assert {"HttpOnly", "SameSite=Lax"} <= set(entered.headers["set-cookie"].split("; "))
        assert client.get("/").status_code == 200
        with client.websocket_connect("ws://127.0.0.1/v1/stream"):
            pass


def test_cookies_of_others_lock_nobody_out(base: EmotionModel) -> None:
    with client_of(base, token="s3cret") as client:

        def entered(host: str) -> str:
            answer = client.get("/?token=s3cret", headers={"host": host}, follow_redirects=False)
            client.cookies.clear()
            return answer.headers["set-cookie"].partition(";")[0]

        own = entered("localhost:1")
        for cookies in (own, f'theme={{"dark":true}}; {own}', f"{own[:-6]}wrong; {own}; a=b"):
            headers = {"host": "localhost:1", "cookie": cookies}
            assert client.get("/v1/health", headers=headers).status_code == 200, cookies
        headers = {"host": "localhost:1", "cookie": own.replace("s3cret", "wrong")}
        assert client.get("/v1/health", headers=headers).status_code == 401
        # Browsers keep the cookies of all ports of a host together.
        assert own.partition("=")[0] != entered("localhost:2").partition("=")[0]
        assert entered("localhost") == "mien_token=s3cret"


@pytest.mark.parametrize(
    "token", ["ab+c/d==", "a&b", "a#b", "a%41", "a b", "a;b", 'a"b', "a\\b", "ä", "s3cr-e_t.~"]
)
def test_a_token_that_was_given_lets_in_and_is_not_printed(
    base: EmotionModel, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, sockets: None)
    said: list[str] = []
    serve({"base": base}, host="127.0.0.1", port=0, token=f"{token}\n", say=said.append)
    assert said[0].endswith("/?token=…")
    address = f"http://127.0.0.1/?token={quote(token)}"
    with client_of(base, token=token) as client:
        assert client.get("/").status_code == 401
        entered = client.get(address, follow_redirects=False)
        assert (entered.status_code, entered.headers["location"]) == (303, "./")
        assert client.get("/").status_code == 200
        with client.websocket_connect("ws://127.0.0.1/v1/stream"):
            pass


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_programs_send_a_token_beyond_ascii_in_either_encoding(
    base: EmotionModel, encoding: str
) -> None:
    with client_of(base, token="tökén") as client:
        for shown, status in (("tökén", 200), ("token", 401)):
            header = (b"authorization", f"Bearer {shown}".encode(encoding))
            assert client.get("/v1/health", headers=[header]).status_code == status


def test_a_token_of_blanks_is_none(base: EmotionModel) -> None:
    with pytest.raises(UsageError, match="the token is empty"):
        serve({"base": base}, host="127.0.0.1", port=0, token=" \n")
    with pytest.raises(UsageError, match="expected a token"):
        create_app({"base": base}, token=" ", local=False)


# --- streams ------------------------------------------------------------------------------------


def test_a_stream_follows_faces(client: TestClient) -> None:
    cast = [Actor(2, lambda t: (0.4 + 0.1 * t, 0.5), 0.55, "happiness")]
    with client.websocket_connect("ws://127.0.0.1/v1/stream?model=base") as stream:
        for shot in film(cast, seconds=1, fps=4, size=(320, 240)):
            stream.send_bytes(file_of(shot.pixels))
            answer = stream.receive_json()
            (face,) = answer["faces"]
            assert (face["track"], face["emotion"]) == (1, "happiness")
            middle = face["box"][0] + face["box"][2] / 2
            assert abs(middle - shot.faces[0].middle[0]) < 12
            assert answer["dropped"] == 0
        assert (answer["frame"], answer["error"]) == (3, None)
        assert answer["time_s"] > 0


def test_a_broken_frame_is_told_and_the_next_one_is_read(client: TestClient, photo: bytes) -> None:
    with client.websocket_connect("ws://127.0.0.1/v1/stream") as stream:
        stream.send_bytes(b"broken")
        assert "not a readable image" in stream.receive_json()["error"]
        stream.send_bytes(photo)
        assert len(stream.receive_json()["faces"]) == 1


def test_the_newest_frame_wins(base: EmotionModel, photo: bytes) -> None:
    slow = Slow(base)
    with client_of(slow) as client, client.websocket_connect("ws://127.0.0.1/v1/stream") as stream:
        stream.send_bytes(photo)
        assert slow.asked.wait(10)
        for _ in range(20):
            stream.send_bytes(photo)
        time.sleep(0.3)
        slow.go.set()
        first, last = stream.receive_json(), stream.receive_json()
        assert (first["frame"], first["dropped"]) == (0, 0)
        assert (last["frame"], last["dropped"]) == (20, 19)


class Leaving:
    """A client that sends one frame and leaves; some turns of the loop later, all is called off."""

    def __init__(self, turns: int, scope: anyio.CancelScope) -> None:
        self.kinds = ["websocket.disconnect", "websocket.receive"]
        self.turns = turns
        self.scope = scope

    async def receive(self) -> dict[str, Any]:
        if len(self.kinds) == 1:
            self.call_off(self.turns)
        return {"type": self.kinds.pop(), "bytes": b"frame"}

    def call_off(self, turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self.call_off, turns - 1)
        else:
            self.scope.cancel()


@pytest.mark.parametrize("turns", range(8))
def test_a_stream_that_is_called_off_while_it_ends_says_by_whom(turns: int) -> None:
    class Busy(Workers):
        async def run(self, call: object) -> Any:
            await anyio.sleep_forever()

    async def serving() -> bool:
        with anyio.CancelScope() as scope:
            client: Any = Leaving(turns, scope)
            await Stream(client, mien.load(), Busy(1, 1), Limits()).run()
            await anyio.sleep_forever()
        return scope.cancelled_caught

    # A cancellation that had lost its author would not stop at the scope.
    assert asyncio.run(serving())


@pytest.mark.parametrize(
    ("query", "message", "code", "words"),
    [
        ("", {"text": "hello"}, 1003, "binary"),
        ("", {"bytes": bytes(5000)}, 1009, "at most 4,000"),
        ("", None, 1000, "no frame for 0.2 s"),
        ("?model=nobody", None, 1008, "nobody"),
        ("?model=" + "é" * 200, None, 1008, "see /v1/models"),
    ],
)
def test_a_stream_that_breaks_the_rules_is_closed_with_the_reason(
    base: EmotionModel, query: str, message: dict[str, Any] | None, code: int, words: str
) -> None:
    limits = Limits(frame_bytes=4000, idle_s=0.2)
    with (
        client_of(base, limits) as client,
        client.websocket_connect(f"ws://127.0.0.1/v1/stream{query}") as stream,
    ):
        if message:
            stream.send({"type": "websocket.receive", **message})
        with pytest.raises(WebSocketDisconnect) as closed:
            stream.receive_json()
    assert closed.value.code == code
    assert words in closed.value.reason
    assert len(closed.value.reason.encode()) <= 123


@pytest.mark.parametrize("gone", [OSError(), RuntimeError("after sending 'websocket.close'")])
def test_a_stream_whose_client_left_before_it_was_closed_is_no_failure(
    base: EmotionModel, gone: Exception
) -> None:
    given = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "hello"}]
    sent: list[str] = []

    async def receive() -> Any:
        return given.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])
        if message["type"] == "websocket.close":
            raise gone

    scope = {
        "type": "websocket",
        "scheme": "ws",
        "path": "/v1/stream",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }
    asyncio.run(create_app({"base": base})(scope, receive, send))
    assert sent == ["websocket.accept", "websocket.close"]


def test_one_stream_too_many_is_sent_away(base: EmotionModel, photo: bytes) -> None:
    with client_of(base, Limits(streams=1)) as client:
        with client.websocket_connect("ws://127.0.0.1/v1/stream") as first:
            first.send_bytes(photo)
            first.receive_json()
            assert client.get("/v1/health").json()["streams"] == 1
            with (
                client.websocket_connect("ws://127.0.0.1/v1/stream") as second,
                pytest.raises(WebSocketDisconnect) as closed,
            ):
                second.receive_json()
            assert (closed.value.code, "later" in closed.value.reason) == (1013, True)
        deadline = time.monotonic() + 5
        while client.get("/v1/health").json()["streams"] and time.monotonic() < deadline:
            time.sleep(0.01)
        with client.websocket_connect("ws://127.0.0.1/v1/stream") as third:
            third.send_bytes(photo)
            assert third.receive_json()["error"] is None


@pytest.mark.slow
def test_the_command_serves_until_interrupted_and_stores_nothing(
    tmp_path: Path, photo: bytes
) -> None:
    import httpx2 as httpx

    with running(tmp_path, "--port", "0") as (address, process):
        assert "token" not in address
        found = httpx.post(f"{address}v1/predict", content=photo, timeout=20).json()
        assert found["faces"][0]["emotion"] == "happiness"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=10)
    assert (process.returncode, said) == (0, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_clients_that_leave_early_are_not_told_as_failures(tmp_path: Path) -> None:
    import httpx2 as httpx

    with running(tmp_path, "--port", "0") as (address, process):
        with begun_upload(address):
            pass
        with connect(f"{address.replace('http', 'ws')}v1/stream") as stream:
            # What is refused, and the end of the connection, before the refusal can be told.
            stream.send("hello")
            with suppress(OSError):  # The refusal may have come before.
                stream.socket.shutdown(socket.SHUT_RDWR)
        assert httpx.get(f"{address}v1/health", timeout=20).status_code == 200
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=10)
    assert (process.returncode, said) == (0, "")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_terminal_that_closes_ends_it_as_well(tmp_path: Path) -> None:
    with running(tmp_path, "--port", "0") as (address, process):
        with begun_upload(address) as upload:
            process.send_signal(signal.SIGHUP)
            answer = b"".join(iter(lambda: upload.recv(1 << 16), b"")).decode()
        process.communicate(timeout=10)
    assert answer.startswith("HTTP/1.1 503 ")
    assert process.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_a_signal_ends_it_from_when_the_address_is_told(base: EmotionModel, name: str) -> None:
    number = getattr(signal, name)
    before = signal.signal(number, signal.default_int_handler)
    told: list[str] = []

    def say(address: str) -> None:
        told.append(address)
        signal.raise_signal(number)

    try:
        serve({"base": base}, host="127.0.0.1", port=0, say=say)
    finally:
        signal.signal(number, before)
    assert len(told) == 1


@pytest.mark.slow
def test_strangers_write_nothing_into_the_log(tmp_path: Path) -> None:
    with running(tmp_path, "--port", "0") as (address, process):
        port = int(address.rstrip("/").rpartition(":")[2])
        for nonsense in (b"\x16\x03\x01 hi\r\n\r\n", b"GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as stranger:
                stranger.sendall(nonsense)
                assert stranger.recv(1 << 10).startswith(b"HTTP/1.1 ")
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=10)[1] == ""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX descriptors")
def test_standard_output_may_be_closed(tmp_path: Path) -> None:
    import httpx2 as httpx

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    call = f"exec {sys.executable} -m mien serve --port {port} >&-"
    with subprocess.Popen(["sh", "-c", call], cwd=tmp_path, stderr=subprocess.PIPE) as process:
        try:
            until = time.monotonic() + 30
            while time.monotonic() < until and process.poll() is None:
                with suppress(httpx.ConnectError):
                    assert httpx.get(f"http://127.0.0.1:{port}/v1/health").status_code == 200
                    break
                time.sleep(0.1)
            assert process.poll() is None
        finally:
            process.terminate()
        assert process.communicate(timeout=10)[1] == b""


@pytest.mark.slow
def test_a_picture_under_way_is_answered_where_the_server_is_stopped(tmp_path: Path) -> None:
    with running(tmp_path, "--port", "0") as (address, process):
        with begun_upload(address) as upload:
            process.send_signal(signal.SIGTERM)
            answer = b"".join(iter(lambda: upload.recv(1 << 16), b"")).decode()
        _, said = process.communicate(timeout=10)
    assert answer.startswith("HTTP/1.1 503 ")
    assert "the server is being stopped" in answer
    assert "Traceback" not in said


@pytest.mark.slow
def test_on_other_addresses_a_token_is_made_up(tmp_path: Path) -> None:
    import httpx2 as httpx

    with running(tmp_path, "--host", "0.0.0.0", "--port", "0") as (address, _):
        assert "//0.0.0.0" not in address, "no address to open"
        shown = re.fullmatch(r"http://[^:]+:(\d+)/\?token=([\w-]{32})", address)
        assert shown is not None, address
        health = f"http://127.0.0.1:{shown[1]}/v1/health"
        assert httpx.get(health).status_code == 401
        bearer = {"authorization": f"Bearer {shown[2]}"}
        assert httpx.get(health, headers=bearer).status_code == 200


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("mien.example", False),
        ("", False),
    ],
)
def test_only_this_machines_addresses_are_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@asynccontextmanager
async def serving(config: Any, app: Any) -> AsyncIterator[int]:
    """Give the port on which connections as `config_of` has them lead to an application."""
    config.loaded_app = app
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: config.http_protocol_class(config, state, {}), "127.0.0.1", 0
    )
    async with server:
        yield server.sockets[0].getsockname()[1]


def test_a_connection_that_never_asks_is_closed(
    base: EmotionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.serve.connection.HEAD_S", 0.4)
    begun = b"GET / HTTP/1.1\r\nHost: localhost\r\n"

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.5)  # Answers may take their time.
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"well"})

    async def ask(port: int, *parts: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for part in parts:
            writer.write(part)
            await asyncio.sleep(0.02)
        said = b""
        while b"well" not in said and (more := await asyncio.wait_for(reader.read(500), 5)):
            said += more
        if said:
            writer.write(begun)
            assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        return said

    async def all_at_once() -> tuple[bytes, bytes, bytes]:
        async with serving(config, answer) as port:
            return await asyncio.gather(ask(port), ask(port, begun), ask(port, begun, b"\r\n"))

    config = config_of(monkeypatch, {"base": base})
    nothing, part, whole = asyncio.run(all_at_once())
    assert (nothing, part, whole[:15]) == (b"", b"", b"HTTP/1.1 200 OK")


def test_a_body_that_is_refused_is_not_waited_for(
    base: EmotionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.serve.connection.HEAD_S", 0.4)
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"

    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})

    async def dribble(port: int, pause: float) -> bytes:
        """Send a request byte by byte, and another one; return what came."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head)
        said = await asyncio.wait_for(reader.read(500), 5)
        for _ in range(9):
            await asyncio.sleep(pause)
            writer.write(b"x")
        with suppress(TimeoutError, ConnectionError):
            writer.write(head + b"123456789")
            while more := await asyncio.wait_for(reader.read(500), 0.3):
                said += more
        writer.close()
        return said

    async def both() -> tuple[bytes, bytes]:
        async with serving(config, refuse) as port:
            return await asyncio.gather(dribble(port, 0.01), dribble(port, 0.1))

    config = config_of(monkeypatch, {"base": base})
    quick, slow = asyncio.run(both())
    assert [said.count(b"HTTP/1.1 401") for said in (quick, slow)] == [2, 1]


def test_a_client_that_takes_no_answer_is_not_waited_for(
    base: EmotionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.serve.connection.HEAD_S", 0.4)
    ended = asyncio.Event()

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1000):
            await send({"type": "http.response.body", "body": bytes(65_536), "more_body": True})
        ended.set()

    async def never_read() -> None:
        async with serving(config, answer) as port:
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                await asyncio.wait_for(ended.wait(), 5)

    config = config_of(monkeypatch, {"base": base})
    asyncio.run(never_read())


def test_what_nobody_takes_does_not_keep_a_connection_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.serve.connection.HEAD_S", 0.05)
    transport = Mock(is_closing=lambda: False)

    async def end() -> None:
        config = uvicorn.Config(lambda: None)
        config.load()
        connection = Connection(config, ServerState(), {})
        connection.connection_made(transport)
        connection.timeout_keep_alive_handler()
        transport.close.assert_called()
        transport.abort.assert_not_called()
        await asyncio.sleep(0.2)

    asyncio.run(end())
    transport.abort.assert_called()


def test_more_connections_than_there_may_be_are_hung_up_on(
    base: EmotionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.serve.connection.MOST", 1)

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"well"})

    async def connect() -> bytes:
        async with serving(config, answer) as port:
            first, second = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            with suppress(ConnectionError):
                assert await asyncio.wait_for(second[0].read(), 5) == b""
            first[1].write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            said = await asyncio.wait_for(first[0].read(500), 5)
            for _, writer in (first, second):
                writer.close()
        return said

    config = config_of(monkeypatch, {"base": base})
    assert asyncio.run(connect()).startswith(b"HTTP/1.1 200 OK")


def test_one_refusal_ends_a_connection(base: EmotionModel) -> None:
    with client_of(base, token="secret") as client:
        for path, status in (("/v1/models", 401), ("/v1/health", 401)):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["connection"]) == (status, "close")


def test_only_so_many_streams_are_told_why_they_are_refused(
    base: EmotionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.serve.app._Reasons.MOST", 2)
    reasons = []
    with client_of(base, Limits()) as client:
        for _ in range(4):
            with (
                pytest.raises(WebSocketDisconnect) as closed,
                client.websocket_connect("ws://127.0.0.1/v1/stream?model=none") as stream,
            ):
                stream.receive_json()
            reasons.append(closed.value.reason)
    assert reasons == [*["no model 'none', see /v1/models"] * 2, "", ""]


def test_a_connection_that_ended_has_no_deadline_left() -> None:
    async def ended() -> bool:
        config = uvicorn.Config(lambda: None)
        config.load()
        connection = Connection(config, ServerState(), {})
        connection.connection_made(Mock(is_closing=lambda: False))
        deadline = connection._deadline
        assert deadline is not None
        assert 0 < deadline.when() - asyncio.get_running_loop().time() <= HEAD_S <= 60
        connection.connection_lost(None)
        return deadline.cancelled()

    assert asyncio.run(ended())


def test_a_taken_port_and_a_wrong_certificate_are_told(base: EmotionModel, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port}.*--port"):
            serve({"base": base}, host="127.0.0.1", port=port)
    with pytest.raises(UsageError, match="no address to listen on"):
        serve({"base": base}, host="no such host", port=0)
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    with pytest.raises(UsageError, match="certificate"):
        serve({"base": base}, host="127.0.0.1", port=0, certificate=(broken, broken))
