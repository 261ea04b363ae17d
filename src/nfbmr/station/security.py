"""What holds for every request and answer: headers, hosts, the size of a body."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
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
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}


class Guard:
    """Wraps the application."""

    def __init__(self, app: ASGIApp, most_bytes: int, *, local_only: bool) -> None:
        """Wraps it.

        Args:
            app: the application.
            most_bytes: of a request's body.
            local_only: whether the host that is asked for has to be this machine, so that no
                other site's name can be made to lead here.
        """
        self._app, self._most, self._local_only = app, most_bytes, local_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hands on what may pass."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    found[name] = value
                if "cache-control" not in found:
                    found["Cache-Control"] = "no-store"
            await send(message)

        if self._local_only and not is_local(_host(headers.get("host", ""))):
            answer = JSONResponse({"detail": "this station answers to this machine alone"}, 400)
            await answer(scope, receive, sent)
            return
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._most:
            await JSONResponse({"detail": self._too_large}, 413)(scope, receive, sent)
            return
        got = 0

        async def received() -> Message:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > self._most:
                raise HTTPException(413, self._too_large)
            return message

        await self._app(scope, received, sent)

    @property
    def _too_large(self) -> str:
        return f"a request holds at most {self._most / 1e6:g} megabytes; send fewer or smaller ones"


def _host(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""
