"""The application: routes joined, errors as answers; and the server that runs it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing
from types import FrameType

from fastapi import Depends, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from nfbmr.errors import NfbmrError, StationError
from nfbmr.station import problems
from nfbmr.station.api import (
    drift,
    export,
    health,
    inspect,
    inspections,
    learn,
    models,
    recalibration,
    sources,
    thresholds,
    versions,
)
from nfbmr.station.connections import BACKLOG, MOST, protocol
from nfbmr.station.deps import needs_of, refuse_unknown, who_asks
from nfbmr.station.pages.routes import add_pages
from nfbmr.station.security import Guard, Limits
from nfbmr.station.settings import MEGABYTE
from nfbmr.station.station import Station

_LAST_SECONDS = 10  # for what was begun when the station is told to stop

_NO_TOKEN = ("/login", "/logout")  # changes that anybody may ask for
_SAFE = ("GET", "HEAD", "OPTIONS")


class _Guarded(FastAPI):
    """All that is answered goes through the guard, failures of the application, too."""

    def build_middleware_stack(self) -> ASGIApp:
        station: Station = self.state.station
        limits = Limits(
            picture_bytes=int(station.settings.most_megabytes * MEGABYTE),
            seconds=station.settings.seconds,
            local_only=station.tokens is None,
            refused=lambda: station.judge.metrics.count("nfbmr_refused_total", why="too large"),
        )
        return Guard(super().build_middleware_stack(), limits, _asked)


async def _asked(request: Request) -> Response | None:
    """Refuses a change by whoever may not make it, before its body is read."""
    if request.method in _SAFE or request.url.path in _NO_TOKEN:
        return None
    needs = needs_of(request.app.routes, request.method, request.url.path)
    try:
        await run_in_threadpool(needs or who_asks, request)
    except HTTPException as error:
        return await problems.refused(request, error)
    except StationError as error:
        return await problems.ours(request, error)
    return None


def create_app(station: Station) -> FastAPI:
    """Returns the application of an open station."""
    app = _Guarded(
        title="nfbmr station",
        description="Pictures to recorded verdicts.",
        version="1",
        docs_url=None,  # they load scripts from other hosts
        redoc_url=None,
        openapi_url=None,  # a route of ours, with a scope like all others
    )
    app.state.station = station
    app.state.queries = {}  # of `refuse_unknown`: what each route's query may hold
    of_record = (inspect, inspections, export)
    of_models = (models, versions, recalibration, thresholds, drift, learn)
    for module in (*of_record, *of_models, sources):
        app.include_router(module.router, dependencies=[Depends(refuse_unknown)])
    app.include_router(health.router)  # whoever watches may add words of its own
    add_pages(app)
    for kind in (NfbmrError, OSError):
        app.add_exception_handler(kind, problems.ours)
    app.add_exception_handler(RequestValidationError, problems.not_as_expected)
    app.add_exception_handler(HTTPException, problems.refused)
    app.add_exception_handler(Exception, problems.failed)
    return app


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
        http=protocol(),
        ws="none",
        backlog=BACKLOG,
        limit_concurrency=MOST,
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
        found.listen(BACKLOG)
    except OSError as error:
        raise StationError(
            f"cannot listen on {host}, port {port}: {error.strerror}; end what listens there, or "
            "choose another --port"
        ) from None
    return found
