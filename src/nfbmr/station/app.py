"""The application: routes joined, errors as answers; and the server that runs it."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from contextlib import closing
from types import FrameType
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from nfbmr.errors import BundleError, NfbmrError, SettingsError, StationError
from nfbmr.station.api import health, inspect, inspections, models, thresholds
from nfbmr.station.api.forms import Verdict
from nfbmr.station.engine.gate import BusyError
from nfbmr.station.pages.routes import add_pages
from nfbmr.station.security import Guard
from nfbmr.station.services.judge import LateError, NoSuchModelError, PictureError, UnrecordedError
from nfbmr.station.services.threshold import ConflictError
from nfbmr.station.settings import MEGABYTE
from nfbmr.station.station import Station

_log = logging.getLogger(__name__)

_LAST_SECONDS = 10  # for what was begun when the station is told to stop
_BACKLOG = 256


def create_app(station: Station) -> FastAPI:
    """Returns the application of an open station."""
    app = FastAPI(
        title="nfbmr station",
        description="Pictures to recorded verdicts.",
        version="1",
        docs_url=None,  # they load scripts from other hosts
        redoc_url=None,
        openapi_url=None,  # a route of ours, with a scope like all others
    )
    app.state.station = station
    for module in (inspect, inspections, models, thresholds, health):
        app.include_router(module.router)
    add_pages(app)
    for kind in (NfbmrError, OSError):
        app.add_exception_handler(kind, _our_error)
    app.add_exception_handler(RequestValidationError, _not_as_expected)
    app.add_middleware(
        Guard,
        most_bytes=int(station.settings.most_megabytes * MEGABYTE),
        local_only=station.tokens is None,
    )
    return app


_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (NoSuchModelError, 404),
    (ConflictError, 409),
    (BundleError, 409),
    (PictureError, 422),
    (SettingsError, 422),
    (UnrecordedError, 507),
    (OSError, 507),
)
"""Answers to errors; to all others 503."""


async def _our_error(_: Request, error: Exception) -> JSONResponse:
    status = next((number for kind, number in _STATUS if isinstance(error, kind)), 503)
    headers: dict[str, str] = {}
    body: dict[str, Any] = {"detail": str(error)}
    if isinstance(error, BusyError):
        headers["Retry-After"] = str(error.retry_after)
    elif isinstance(error, LateError):
        headers["Retry-After"] = "1"
    elif isinstance(error, UnrecordedError):
        body["unrecorded"] = Verdict.of(error.unrecorded).model_dump()
    elif isinstance(error, OSError):  # a request's files on a full disk
        body["detail"] = f"the station's disk: {error.strerror}"
    if status >= 500:
        _log.warning("%s", body["detail"])
    return JSONResponse(body, status, headers)


async def _not_as_expected(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    said = [
        f"{'.'.join(str(part) for part in one['loc'][1:]) or one['loc'][0]}: {one['msg']}"
        for one in error.errors()
    ]
    return JSONResponse({"detail": "; ".join(said)}, 422)


def serve(station: Station, *, ready: Callable[[str], object] = lambda _: None) -> None:
    """Listens until it is told to stop; then answers what was begun.

    Args:
        station: that is open.
        ready: hears the address once it listens there.

    Raises:
        StationError: it cannot listen there.
    """
    import uvicorn

    config = uvicorn.Config(
        create_app(station),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_LAST_SECONDS,
    )
    with closing(_listening(station.settings.host, station.settings.port)) as listening:
        host, port = listening.getsockname()[:2]
        ready(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
        server = uvicorn.Server(config)
        ended = server.handle_exit

        def let_go(sig: int, frame: FrameType | None) -> None:
            station.live.ending = True  # pages that listen would hold the end up
            ended(sig, frame)

        server.handle_exit = let_go  # type: ignore[method-assign]
        server.run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, number, _, place = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, number)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(place)
        found.listen(_BACKLOG)
    except OSError as error:
        raise StationError(
            f"cannot listen on {host}, port {port}: {error.strerror}; end what listens there, or "
            "choose another --port"
        ) from None
    return found
