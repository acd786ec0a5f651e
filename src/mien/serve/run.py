"""Running the server: an address, a token where strangers could come, a clear end."""

import errno
import secrets
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import uvicorn

from mien.detect import Detector
from mien.errors import UsageError
from mien.model import EmotionModel
from mien.serve.app import create_app
from mien.serve.connection import Connection
from mien.serve.guard import is_loopback
from mien.serve.limits import Limits
from mien.termination import on_termination

__all__ = ["serve"]

_GRACE_S: Final = 3
_LOG: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "loggers": {"uvicorn": {"handlers": ["stderr"]}},
    }
)
"""What uvicorn says goes to standard error, with the time."""


def serve(
    models: Mapping[str, EmotionModel],
    *,
    host: str,
    port: int,
    token: str | None = None,
    detector: Detector | None = None,
    stream_detector: Detector | None = None,
    limits: Limits | None = None,
    origins: Sequence[str] = (),
    proxy: bool = False,
    certificate: tuple[Path, Path] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Serve the page and the API until interrupted.

    Args:
        models: by the names that clients use; the first is the default.
        host: the address to listen on. On any that is not this machine's own, every client must
            show a token.
        port: 0 takes a free one.
        token: None: on a loopback address and without `origins` there is none, else one is made up.
        detector: finds the faces of pictures; None: ``auto``.
        stream_detector: finds those of streams; None: ``fast``.
        limits: what is taken on.
        origins: of pages that may ask besides its own, as ``https://mien.example``.
        proxy: whether a proxy on this machine is believed who asks, and whether over https.
        certificate: the files of a TLS certificate and of its key, PEM.
        say: is told the address to open, with the token where that was made up.

    Raises:
        UsageError: the address cannot be listened on, an origin or the token is none, or the
            certificate cannot be used.
    """
    local = is_loopback(host)
    # What comes from a file ends with a line; clients cannot show that.
    if token is not None and not token.strip():
        raise UsageError("the token is empty; expected one, or none for one that is made up")
    token = (token or "").strip()
    shown = "…" if token else ""
    if not token and (origins or not local):
        token = shown = secrets.token_urlsafe(24)
    if certificate:
        _check_certificate(*certificate)
    limits = limits or Limits()
    app = create_app(
        models,
        detector=detector,
        stream_detector=stream_detector,
        token=token or None,
        local=local,
        origins=origins,
        limits=limits,
    )
    config = uvicorn.Config(
        app,
        # Who asked for what is nobody's business.
        access_log=False,
        log_config=dict(_LOG),
        # Warnings are about what clients send: anyone could fill the disk with them.
        log_level="error",
        server_header=False,
        proxy_headers=proxy,
        forwarded_allow_ips=["127.0.0.1", "::1", "::ffff:127.0.0.1"],
        http=Connection,
        # So many are accepted before those that are too many are hung up on.
        backlog=100,
        ws="websockets-sansio",
        # What is just too large is refused with a reason; uvicorn would give none.
        ws_max_size=2 * limits.frame_bytes,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=_GRACE_S,
        ssl_certfile=certificate[0] if certificate else None,
        ssl_keyfile=certificate[1] if certificate else None,
    )
    config.load()
    with _listen(host, port) as listening:
        server = uvicorn.Server(config)
        # Ctrl-C is how a server is meant to end; uvicorn has closed what was open by then. It heeds
        # SIGTERM, too; a terminal that closes is as good a reason.
        hung_up = on_termination(lambda: setattr(server, "should_exit", True), names=("SIGHUP",))
        with suppress(KeyboardInterrupt), hung_up:
            say(_address(host, listening.getsockname()[1], shown, secure=certificate is not None))
            server.run(sockets=[listening])


def _check_certificate(certificate: Path, key: Path) -> None:
    def refuse() -> str:
        raise UsageError(f"{key}: the key asks for a pass phrase; expected one without")

    for file in (certificate, key):
        if not file.is_file():
            raise UsageError(f"{file}: no such file; expected a certificate and its key, PEM")
    try:
        ssl.create_default_context().load_cert_chain(certificate, key, password=refuse)
    except OSError as error:  # ssl.SSLError among them
        raise UsageError(f"the certificate cannot be used: {error}") from None


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, proto)
    except (OSError, OverflowError) as error:
        raise UsageError(f"{host}:{port} is no address to listen on: {error}") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        # Whoever opens the address as soon as it is told waits, and is not refused.
        listening.listen()
    except OSError as error:
        listening.close()
        instead = "stop what does, or choose another with --port"
        if error.errno == errno.EADDRNOTAVAIL:
            instead = "expected an address of this machine, or 0.0.0.0 for all of them"
        raise UsageError(f"cannot listen on {host}:{port} ({error.strerror}): {instead}") from None
    return listening


def _own_address() -> str:
    """Return this machine's address in its network, which a phone finds; without one, its name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("192.0.2.1", 9))  # Nothing is sent: it tells by which way one would go.
        except OSError:
            return socket.gethostname()
        return str(asking.getsockname()[0])


def _address(host: str, port: int, token: str, *, secure: bool) -> str:
    # A wildcard is no address to open.
    name = _own_address() if host in {"0.0.0.0", "::"} else host
    name = f"[{name}]" if ":" in name else name
    query = f"?token={token}" if token else ""
    return f"http{'s' * secure}://{name}:{port}/{query}"
