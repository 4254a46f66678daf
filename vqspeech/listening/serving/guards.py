"""What stands before the server: who may ask, how much, and how often."""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY_BYTES = 64 * 1024
MOST_CLIENTS = 10_000  # remembered at once
COOKIE = "vqspeech_listening_token"
HEADERS = (
    (b"content-security-policy", b"default-src 'none'; script-src 'self'; style-src 'self'; media-src 'self'; "
     b"img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),  # the link may hold the token
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),
)  # fmt: skip


class Bucket:
    """Requests that each client may make: `burst` at once, and `per_s` in the long run."""

    def __init__(self, per_s: float, burst: int) -> None:
        self.per_s, self.burst = per_s, burst
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, when

    def take(self, client: str, now: float) -> float:
        """Take one request; 0 where it is allowed, else the seconds to wait."""
        tokens, then = self._clients.pop(client, (float(self.burst), now))
        tokens = min(self.burst, tokens + (now - then) * self.per_s)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self.per_s
        self._clients[client] = (tokens if wait else tokens - 1, now)
        if len(self._clients) > MOST_CLIENTS:
            self._clients.popitem(last=False)
        return wait


class Guards:
    """ASGI middleware: a token where one is asked for, requests per second, bytes of a request, headers of safety.

    Parameters
    ----------
    app : what is guarded
    token : that the first link carries (`?token=`) and a cookie after it; None asks for none
    per_s, burst : see `Bucket`; clients are told apart by address
    """

    def __init__(self, app: ASGIApp, *, token: str | None, per_s: float, burst: int) -> None:
        self._app, self._token = app, token
        self._bucket = Bucket(per_s, burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        cookie: bytes | None = None

        async def safe_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [*HEADERS, *([(b"set-cookie", cookie)] if cookie else [])]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        client = scope["client"][0] if scope.get("client") else ""
        if wait := self._bucket.take(client, time.monotonic()):
            refusal = JSONResponse({"error": "too many requests"}, 429, {"Retry-After": f"{wait:.1f}"})
            await refusal(scope, receive, safe_send)
            return
        if self._token is not None:
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
            if given and self._matches(given):
                cookie = f"{COOKIE}={self._token}; Path=/; HttpOnly; SameSite=Strict".encode()
            elif not self._matches(_cookie_of(headers)):
                text = "This test can only be opened with the link that was sent to you, which ends in ?token=..."
                await PlainTextResponse(text, 403)(scope, receive, safe_send)
                return
        body = await _read_body(headers, receive)
        if body is None:
            refusal = JSONResponse({"error": f"more than {MOST_BODY_BYTES} bytes"}, 413, {"Connection": "close"})
            await refusal(scope, receive, safe_send)
            return
        await self._app(scope, _replay(body, receive), safe_send)

    def _matches(self, given: str) -> bool:
        assert self._token is not None
        return hmac.compare_digest(given.encode(), self._token.encode())


def _cookie_of(headers: dict[bytes, bytes]) -> str:
    try:
        morsel = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1")).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


async def _read_body(headers: dict[bytes, bytes], receive: Receive) -> bytes | None:
    """The body of a request; None where it is announced as, or turns out, too large."""
    announced = headers.get(b"content-length", b"0")
    if not announced.isdigit() or int(announced) > MOST_BODY_BYTES:
        return None
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MOST_BODY_BYTES:
            return None
        if not message.get("more_body"):
            return body


def _replay(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read already, then what comes after it."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
