"""Who may ask: the door that every request and every stream goes through first.

A page of another origin must not use the camera's server of whoever looks at it. Browsers name the
origin of scripts' requests, so any that is not the server's own is refused. A foreign name that
points to this machine (DNS rebinding) carries that name as its host, so a server of this machine
only answers to this machine's names. A server for others asks for a token, and whoever runs it may
name origins, and with them names, that are as good as its own.
"""

import hmac
import ipaddress
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.errors import UsageError
from mien.serve.limits import Rates

__all__ = ["Guard", "checked_origin", "is_loopback"]

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_Refusal = tuple[int, str, Sequence[tuple[str, str]]]


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def checked_origin(text: str) -> str:
    """Return an origin as browsers write it, such as ``https://mien.example:8443``.

    Raises:
        UsageError: it is none.
    """
    origin = text.lower().removesuffix("/")
    # Browsers leave out the usual port.
    origin = origin.removesuffix(":443" if origin.startswith("https:") else ":80")
    name = _split(origin).netloc
    if not name or "@" in name or origin not in {f"http://{name}", f"https://{name}"}:
        raise UsageError(f"{text!r} is no origin: expected one such as https://mien.example")
    return origin


class Guard:
    """ASGI middleware: refuses whom it must, and adds the headers that browsers heed.

    Args:
        app: what is guarded.
        token: what every request must show (``Authorization: Bearer``, or the cookie that
            ``/?token=`` sets); None: nothing.
        local: whether only this machine's names, and those of the origins, are answered to.
        origins: of pages that may ask besides its own, each as `checked_origin` returns it.
        rate: requests a second of one client.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None,
        local: bool,
        origins: frozenset[str],
        rate: float,
    ) -> None:
        self._app = app
        self._token = token
        self._local = local
        self._origins = origins
        self._names = {_split(origin).netloc for origin in origins}
        self._rates = Rates(rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = (
            self._foreign(headers)
            or self._too_many(scope, headers)
            or self._preflight(scope, headers)
            or self._enters(scope, headers)
            or self._stranger(headers)
        )
        if scope["type"] == "http":
            send = _with_headers(send, _HEADERS | self._shared(headers))
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await _answer(send, "http.response", *refusal)
        elif "websocket.http.response" in scope.get("extensions", {}):
            await _answer(send, "websocket.http.response", *refusal)
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": refusal[1][:120]})

    def _foreign(self, headers: Headers) -> _Refusal | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        ours = host in self._names or is_loopback(_split(f"//{host}").hostname or "")
        if self._local and not ours:
            said = "this server answers to localhost, 127.0.0.1 and what --origin names only"
            return 403, f"host {host!r}: {said}", ()
        if origin is not None and _split(origin).netloc != host and origin not in self._origins:
            said = "pages of other origins than this server's and those of --origin are refused"
            return 403, f"origin {origin!r}: {said}", ()
        return None

    def _shared(self, headers: Headers) -> dict[str, str]:
        """Return what has a browser hand an answer to a page of one of the origins."""
        if not self._origins:
            return {}
        origin = headers.get("origin")
        if origin not in self._origins:
            return {"Vary": "Origin"}
        return {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": "Retry-After",
        }

    def _preflight(self, scope: Scope, headers: Headers) -> _Refusal | None:
        """Answer a browser that asks whether a page may send the token; it sends none with that."""
        asks = scope["type"] == "http" and scope["method"] == "OPTIONS"
        if not asks or headers.get("origin") not in self._origins:
            return None
        allowed = (
            ("access-control-allow-methods", "GET, POST"),
            ("access-control-allow-headers", "Authorization, Content-Type"),
            ("access-control-max-age", "600"),
        )
        return 200, "", allowed

    def _too_many(self, scope: Scope, headers: Headers) -> _Refusal | None:
        # The page asks for its parts all at once, and who watches over servers asks often; to guess
        # a token by that would be another thing.
        free = scope["path"].startswith("/page/") or scope["path"] == "/v1/health"
        if free and self._stranger(headers) is None:
            return None
        wait = self._rates.wait_s((scope.get("client") or ("",))[0])
        if not wait:
            return None
        seconds = str(max(1, math.ceil(wait)))
        return 429, f"too many requests: wait {seconds} s", (("retry-after", seconds),)

    def _enters(self, scope: Scope, headers: Headers) -> _Refusal | None:
        """Answer ``/?token=``: the right one becomes a cookie, and leaves the address bar."""
        if self._token is None or scope["type"] != "http" or scope["path"] != "/":
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"))
        shown = query.pop("token", [""])[0]
        if not self._fits(shown):
            return None
        secure = "; Secure" if scope["scheme"] == "https" else ""
        # A cookie holds no space, semicolon, quote or letter beyond ASCII.
        value = quote(shown, safe="")
        # Lax, as whoever follows the link in a mail comes from another site; pages of others are
        # refused by their origin.
        cookie = f"{_cookie_name(headers)}={value}; HttpOnly; SameSite=Lax; Path=/{secure}"
        # A proxy may serve the page in a folder of its own.
        rest = f"./?{urlencode(query, doseq=True)}" if query else "./"
        return 303, "", (("set-cookie", cookie), ("location", rest))

    def _stranger(self, headers: Headers) -> _Refusal | None:
        if self._token is None:
            return None
        kind, _, shown = headers.get("authorization", "").partition(" ")
        # Headers are read as Latin-1, but many programs send letters beyond ASCII as UTF-8.
        shown = shown.strip()
        readings = (shown, shown.encode("latin-1").decode(errors="replace"))
        if kind.lower() == "bearer" and any(map(self._fits, readings)):
            return None
        if any(self._fits(value) for value in _cookies(headers)):
            return None
        said = (
            "this server asks for its token: open the address with ?token= and the token behind, "
            "or send the header 'Authorization: Bearer TOKEN'"
        )
        return 401, said, (("www-authenticate", "Bearer"),)

    def _fits(self, shown: str) -> bool:
        return bool(shown) and hmac.compare_digest(shown.encode(), (self._token or "").encode())


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:  # brackets that are no IPv6 address
        return SplitResult("", "", "", "", "")


def _cookie_name(headers: Headers) -> str:
    # Browsers send a host's cookies to each of its ports: two servers would overwrite one name.
    port = _split(f"//{headers.get('host', '')}").netloc.rpartition(":")[2]
    return f"mien_token_{port}" if port.isdecimal() else "mien_token"


def _cookies(headers: Headers) -> Iterator[str]:
    # Not by http.cookies: one cookie of another program that it cannot read hides them all.
    name = _cookie_name(headers)
    for cookie in headers.get("cookie", "").split(";"):
        key, _, value = cookie.strip().partition("=")
        if key == name:
            yield unquote(value)


async def _answer(
    send: Send, kind: str, status: int, text: str, headers: Sequence[tuple[str, str]]
) -> None:
    body = json.dumps({"error": text}).encode() if text else b""
    lines = [("content-type", "application/json"), ("content-length", str(len(body))), *headers]
    if status >= 400:
        # What else was sent along, hundreds of requests perhaps, need not be answered.
        lines.append(("connection", "close"))
    raw = [(name.encode(), value.encode()) for name, value in lines]
    await send({"type": f"{kind}.start", "status": status, "headers": raw})
    await send({"type": f"{kind}.body", "body": body})


def _with_headers(send: Send, added: Mapping[str, str]) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in added.items():
                headers.setdefault(name, value)
        await send(message)

    return wrapped
