"""The routes: the page, pictures in one request, the webcam as a stream."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from fastapi import FastAPI, HTTPException, Query, Request, Security, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.requests import ClientDisconnect

from mien.annotate import COLOURS, PRINT_COLOURS
from mien.cores import usable_cores
from mien.detect import Detector, make_detector
from mien.errors import ImageError, UsageError
from mien.images import read_image
from mien.model import EmotionModel
from mien.predictor import Recogniser
from mien.records import Prediction
from mien.serve.guard import Guard, checked_origin
from mien.serve.limits import BusyError, LeftError, Limits, Room, Workers
from mien.serve.readings import ErrorReading, HealthReading, ModelReading, Reading
from mien.serve.stream import TRY_LATER, Stream
from mien.version import __version__

__all__ = ["create_app"]

_PAGE: Final = Path(str(resources.files("mien"))) / "serve" / "page"
_PICTURE: Final = {
    "requestBody": {
        "required": True,
        "description": "the picture's file as it is: JPEG, PNG, WebP, GIF, BMP, TIFF",
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("image/jpeg", "image/png", "image/webp", "application/octet-stream")
        },
    }
}
_NO_TOKEN: Final = {401: "the server asks for its token, see `Authorization`"}
_REFUSED: Final = {
    403: "the request comes from a page of another origin",
    429: "too many requests of this client; `Retry-After` says how many seconds to wait",
}
_NOT_TAKEN_IN: Final = {
    400: "a parameter that is none",
    404: "there is no such model",
    408: "the picture took too long to arrive",
    413: "the picture's file is too large",
    415: "a form, not a picture's file",
    503: "too many pictures wait, or the server stops; `Retry-After` says when to try again",
}


@dataclass(frozen=True, slots=True)
class _House:
    """What the routes share."""

    models: Mapping[str, EmotionModel]
    pictures: Detector
    frames: Detector
    limits: Limits
    workers: Workers
    room: Room

    def model(self, name: str | None) -> EmotionModel:
        found = next(iter(self.models.values())) if name is None else self.models.get(name)
        if found is None:
            raise HTTPException(404, f"no model {name!r}: there is {', '.join(self.models)}")
        return found


def create_app(
    models: Mapping[str, EmotionModel],
    *,
    detector: Detector | None = None,
    stream_detector: Detector | None = None,
    token: str | None = None,
    local: bool = True,
    origins: Sequence[str] = (),
    limits: Limits | None = None,
) -> FastAPI:
    """Build the web application, for uvicorn or another ASGI server.

    Args:
        models: by the names that clients use; the first answers where none is named.
        detector: finds the faces of pictures; None: ``auto``.
        stream_detector: finds those of streams; None: ``fast``.
        token: what every client must show; None: nothing, which is for this machine alone.
        local: whether only requests to ``localhost`` are answered, and to the names of `origins`.
        origins: of pages that may ask besides its own, as ``https://mien.example``: that of a proxy
            before this server, or of one's own page.
        limits: what is taken on.

    Raises:
        UsageError: there is no model, an origin is none, or there is no token where others than
            this machine may ask.
    """
    allowed = frozenset(checked_origin(text) for text in origins)
    token = (token or "").strip() or None
    if token is None and (allowed or not local):
        raise UsageError("origins, local=False: expected a token besides, which others must show")
    if not models:
        raise UsageError("no models: expected one at least, {'base': load_model('base')}")
    limits = limits or Limits()
    house = _House(
        models,
        detector or make_detector("auto"),
        stream_detector or make_detector("fast"),
        limits,
        Workers(limits.at_once or usable_cores(), limits.waiting),
        Room((1 + limits.waiting) * limits.picture_bytes),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        house.workers.close()

    app = FastAPI(
        title="mien",
        version=__version__,
        summary="Facial emotion recognition: pictures in, faces and their emotions out.",
        lifespan=lifespan,
        # Their pages load scripts from other people's servers.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_middleware(Guard, token=token, local=local, origins=allowed, rate=limits.rate)
    app.add_exception_handler(AnyHTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_wrong_call)
    app.add_exception_handler(Exception, _on_failure)
    _add_api(app, house, asks_for_token=token is not None)
    _add_page(app)
    return app


def _add_api(app: FastAPI, house: _House, *, asks_for_token: bool) -> None:
    streams: set[WebSocket] = set()
    reasons = _Reasons()
    refused = _NO_TOKEN | _REFUSED if asks_for_token else _REFUSED
    # It is the guard that asks; here it is only described.
    token = [Security(HTTPBearer(auto_error=False))] if asks_for_token else []

    @app.post(
        "/v1/predict",
        response_model=Reading,
        openapi_extra=_PICTURE,
        responses={
            422: {"model": Reading, "description": "not a picture, or too many pixels: `error`"},
            **_described(refused | _NOT_TAKEN_IN),
        },
        dependencies=token,
    )
    async def predict(
        request: Request,
        model: Annotated[str | None, Query(description="one of `/v1/models`")] = None,
        detector: Annotated[
            Literal["auto", "none"], Query(description="none: the whole picture is one face")
        ] = "auto",
    ) -> Response:
        """Find the faces of one picture and name their emotions."""
        finder = house.pictures if detector == "auto" else make_detector("none")
        recogniser = Recogniser(house.model(model), finder)
        try:
            with house.room.place() as take_in:
                file = await _picture(request, house.limits, take_in)
                # The body has been taken in: what comes now is that the client left.
                seen = await house.workers.take(
                    partial(_read, recogniser, file, house.limits), request.receive()
                )
        except BusyError:
            busy = "too many pictures wait already: try again"
            raise HTTPException(503, busy, {"Retry-After": "1"}) from None
        except MemoryError:
            little = "too little memory for this picture now: try again, or a smaller one"
            raise HTTPException(503, little, {"Retry-After": "1"}) from None
        except (ClientDisconnect, LeftError):
            # Nobody reads this answer; without one, the server would call it a failure of its own.
            raise HTTPException(499, "the client left before its picture was read") from None
        except asyncio.CancelledError:
            # The server ends, and has waited as long as it may for what is under way.
            stops = "the server is being stopped: try again"
            raise HTTPException(503, stops, {"Retry-After": "1"}) from None
        return JSONResponse(seen.to_json(), 422 if seen.error else 200)

    @app.get("/v1/models", responses=_described(refused), dependencies=token)
    async def models() -> list[ModelReading]:
        """Name the models that are open, with their cards."""
        return [
            ModelReading(
                name=name,
                default=number == 0,
                labels=model.card.labels,
                card=model.card.model_dump(mode="json"),
            )
            for number, (name, model) in enumerate(house.models.items())
        ]

    @app.head("/v1/health", include_in_schema=False)
    @app.get("/v1/health", responses=_described(refused), dependencies=token)
    async def health() -> HealthReading:
        """Say that the server answers."""
        return HealthReading(status="ok", version=__version__, streams=len(streams))

    @app.websocket("/v1/stream")
    async def stream(socket: WebSocket, model: str | None = None) -> None:
        refusal: tuple[int, str] | None = None
        if len(streams) >= house.limits.streams:
            refusal = TRY_LATER, f"{len(streams)} streams are open: try again later"
        elif model is not None and model not in house.models:
            # Control frames hold 123 bytes.
            refusal = 1008, f"no model {model[:20]!r}, see /v1/models"
        if refusal:
            # To be told why, a client must be let in, and may go on sending for a while. Most of
            # those that do not stop asking are turned away before, by a status alone.
            if reasons.one_more():
                await socket.accept()
                await socket.close(*refusal)
            else:
                await socket.close()
            return
        streams.add(socket)
        try:
            await socket.accept()
            recogniser = Recogniser(house.model(model), house.frames)
            await Stream(socket, recogniser, house.workers, house.limits).run()
        finally:
            streams.discard(socket)


class _Reasons:
    """Counts refused streams that are told why: `MOST` within `SECONDS`, and no more."""

    MOST: Final = 16
    SECONDS: Final = 20.0

    def __init__(self) -> None:
        self._told: deque[float] = deque(maxlen=self.MOST)

    def one_more(self) -> bool:
        """Whether one more may be told; if so, it counts."""
        now = time.monotonic()
        if len(self._told) == self.MOST and now - self._told[0] < self.SECONDS:
            return False
        self._told.append(now)
        return True


def _add_page(app: FastAPI) -> None:
    colours = _colours_css()

    @app.head("/", include_in_schema=False)
    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(_PAGE / "index.html")

    @app.get("/page/colours.css", include_in_schema=False)
    async def stylesheet() -> Response:
        return Response(colours, media_type="text/css")

    app.mount("/page", StaticFiles(directory=_PAGE))


def _described(reasons: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorReading, "description": why} for status, why in reasons.items()}


async def _picture(request: Request, limits: Limits, take_in: Callable[[int], None]) -> bytes:
    """Take in the body, no more of it than is allowed."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        raise HTTPException(
            415, "a form: send the file itself, as 'curl --data-binary @photo.jpg' does"
        )
    too_large = HTTPException(413, f"the file is too large: at most {limits.picture_bytes:,} bytes")
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limits.picture_bytes:
        raise too_large
    file = bytearray()
    try:
        async with asyncio.timeout(limits.upload_s):
            async for chunk in request.stream():
                if len(file) + len(chunk) > limits.picture_bytes:
                    raise too_large
                take_in(len(chunk))
                file += chunk
    except TimeoutError:
        raise HTTPException(408, f"the picture took over {limits.upload_s:g} s to arrive") from None
    return bytes(file)


def _read(recogniser: Recogniser, file: bytes, limits: Limits) -> Prediction:
    try:
        pixels = read_image(file, max_pixels=limits.picture_pixels)
    except ImageError as error:
        return Prediction("upload", error=str(error))
    height, width = pixels.shape[:2]
    return Prediction("upload", width, height, tuple(recogniser(pixels)))


async def _on_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _on_wrong_call(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    return JSONResponse({"error": f"{where}: {problem['msg']}"}, 400)


async def _on_failure(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"the server failed: {type(error).__name__}"}, 500)


def _colours_css() -> str:
    def rules(colours: Mapping[str, str]) -> str:
        return " ".join(f"--{emotion}: {colour};" for emotion, colour in colours.items())

    return (
        f":root {{ {rules(PRINT_COLOURS)} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {rules(COLOURS)} }} }}\n"
        f".stage {{ {rules(COLOURS)} }}\n"
    )
