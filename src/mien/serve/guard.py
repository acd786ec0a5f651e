"""Who may ask: the door that every request and every stream goes through first.

A page of another origin must not use the camera's server of whoever looks at it. Browsers name the
origin of scripts' requests, so any that is not the server's own is refused. A foreign name that
points to this machine (DNS rebinding) carries that name as its host, so a server of this machine
only answers to this machine's names. A server for others asks for a token.
"""

import hmac
import ipaddress
import json
import math
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.serve.limits import Rates

__all__ = ["COOKIE", "Guard", "is_loopback"]

COOKIE: Final = "mien_token"
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


class Guard:
    """ASGI middleware: refuses whom it must, and adds the headers that browsers heed.

    Args:
        app: what is guarded.
        token: what every request must show (``Authorization: Bearer``, or the cookie that
            ``/?token=`` sets); None: nothing.
        local: whether only this machine's names are answered to.
        rate: requests a second of one client.
    """

    def __init__(self, app: ASGIApp, *, token: str | None, local: bool, rate: float) -> None:
        self._app = app
        self._token = token
        self._local = local
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
            or self._enters(scope)
            or self._stranger(headers)
        )
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "http":
            await _answer(_with_headers(send), "http.response", *refusal)
        elif "websocket.http.response" in scope.get("extensions", {}):
            await _answer(send, "websocket.http.response", *refusal)
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": refusal[1][:120]})

    def _foreign(self, headers: Headers) -> _Refusal | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._local and not is_loopback(_split(f"//{host}").hostname or ""):
            return 403, f"host {host!r}: this server answers to localhost and 127.0.0.1 only", ()
        if origin is not None and _split(origin).netloc != host:
            return 403, f"origin {origin!r}: pages of other origins are refused", ()
        return None

    def _too_many(self, scope: Scope, headers: Headers) -> _Refusal | None:
        # The page asks for its parts all at once; to guess a token by them would be another thing.
        if scope["path"].startswith("/page/") and self._stranger(headers) is None:
            return None
        wait = self._rates.wait_s((scope.get("client") or ("",))[0])
        if not wait:
            return None
        seconds = str(max(1, math.ceil(wait)))
        return 429, f"too many requests: wait {seconds} s", (("retry-after", seconds),)

    def _enters(self, scope: Scope) -> _Refusal | None:
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
        cookie = f"{COOKIE}={value}; HttpOnly; SameSite=Lax; Path=/{secure}"
        rest = f"/?{urlencode(query, doseq=True)}" if query else "/"
        return 303, "", (("set-cookie", cookie), ("location", rest))

    def _stranger(self, headers: Headers) -> _Refusal | None:
        if self._token is None:
            return None
        kind, _, shown = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self._fits(shown.strip()):
            return None
        if self._fits(_cookie(headers.get("cookie", ""))):
            return None
        said = (
            "this server asks for its token: open the address with ?token= that it printed when "
            "it started, or send the header 'Authorization: Bearer TOKEN'"
        )
        return 401, said, (("www-authenticate", "Bearer"),)

    def _fits(self, shown: str) -> bool:
        return bool(shown) and hmac.compare_digest(shown.encode(), (self._token or "").encode())


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:  # brackets that are no IPv6 address
        return SplitResult("", "", "", "", "")


def _cookie(text: str) -> str:
    try:
        found = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return ""
    return unquote(found.value) if found else ""


async def _answer(
    send: Send, kind: str, status: int, text: str, headers: Sequence[tuple[str, str]]
) -> None:
    body = json.dumps({"error": text}).encode() if text else b""
    lines = [("content-type", "application/json"), ("content-length", str(len(body))), *headers]
    raw = [(name.encode(), value.encode()) for name, value in lines]
    await send({"type": f"{kind}.start", "status": status, "headers": raw})
    await send({"type": f"{kind}.body", "body": body})


def _with_headers(send: Send) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return wrapped
