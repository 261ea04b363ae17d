"""What holds for every request and answer: headers, hosts, the size of a body."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from fastapi import HTTPException
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nfbmr.station.settings import is_local

CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
"""Nothing from another host, nothing inline."""

_HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # without one a browser hides from where a form comes
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}


SMALL_BODY = 64_000
"""Bytes of a body that holds no picture."""
_PICTURES = re.compile(
    r"/v1/models/[^/]+/inspect|/inspect/picture|/v1/learn/[^/]+/pictures|/learn/[^/]+/picture"
)

Asked = Callable[[Request], Awaitable[Response | None]]
"""The refusal of a request, before its body is read; None where it may pass."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Of what is let in."""

    picture_bytes: int
    """Of a body of one of the routes that take pictures; others take `SMALL_BODY`."""
    seconds: float
    """Until a body is there."""
    local_only: bool
    """Whether the host that is asked for has to be this machine, so that no other site's name can
    be made to lead here."""
    refused: Callable[[], object]
    """Hears of each body that is too large."""


class Guard:
    """Wraps the finished application, so that what it fails to answer has the headers, too."""

    def __init__(self, app: ASGIApp, limits: Limits, asked: Asked) -> None:
        """Wraps it."""
        self._app, self._limits, self._asked = app, limits, asked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hands on what may pass."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    found[name] = value
                if "cache-control" not in found:
                    found["Cache-Control"] = "no-store"
            await send(message)

        most = self._limits.picture_bytes if _PICTURES.fullmatch(scope["path"]) else SMALL_BODY
        refusal = await self._refusal(Request(scope), most)
        if refusal is not None:
            await refusal(scope, receive, sent)
            return
        await self._app(scope, _limited(receive, most, self._limits), sent)

    async def _refusal(self, request: Request, most: int) -> Response | None:
        if self._limits.local_only and not is_local(_host(request.headers.get("host", ""))):
            return JSONResponse({"detail": "this station answers to this machine alone"}, 400)
        refusal = await self._asked(request)
        if refusal is not None:
            return refusal
        length = request.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > most:
            self._limits.refused()
            return JSONResponse({"detail": _too_large(most)}, 413)
        return None


def _limited(receive: Receive, most: int, limits: Limits) -> Receive:
    """Returns what receives a body of so many bytes within its time, then whatever comes."""
    seconds = limits.seconds
    got, whole, until = 0, False, time.monotonic() + seconds

    async def received() -> Message:
        nonlocal got, whole
        if whole:  # what comes now is that the client goes away
            return await receive()
        try:
            async with asyncio.timeout(until - time.monotonic()):
                message = await receive()
        except TimeoutError:
            said = f"the request did not arrive within {seconds:g} s; send it again"
            raise HTTPException(503, said, {"Retry-After": "1"}) from None
        got += len(message.get("body", b""))
        whole = not message.get("more_body", False)
        if got > most:
            limits.refused()
            raise HTTPException(413, _too_large(most))
        return message

    return received


def _too_large(most: int) -> str:
    return f"this request holds at most {most / 1e6:g} megabytes; send fewer or smaller ones"


def _host(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""
