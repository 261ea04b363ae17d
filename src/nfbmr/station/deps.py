"""What routes ask for: the station, who asks, and the scope that each route needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, cast
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request
from fastapi.dependencies.models import Dependant
from fastapi.openapi.models import HTTPBearer
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from fastapi.security.base import SecurityBase
from starlette.routing import BaseRoute

from nfbmr.station.auth import LOCAL, Actor, Scope
from nfbmr.station.station import Station

SESSION = "nfbmr_session"
"""The cookie's name."""

FORM_KEY = "x-form-key"
"""The header that each change by the page brings."""

_SAFE = ("GET", "HEAD", "OPTIONS")


def station_of(request: Request) -> Station:
    """Returns the station behind a request."""
    return cast(Station, request.app.state.station)


StationDep = Annotated[Station, Depends(station_of)]


class Open:
    """Says of a route that it needs no scope: whoever reaches the station may ask."""

    def __call__(self) -> None:
        """Lets everybody pass."""


class Needs(SecurityBase):
    """Lets those pass who have a scope; `tests/station/test_scopes.py` reads it of each route."""

    def __init__(self, scope: Scope, *, page: bool = False) -> None:
        """Takes the scope, and whether a route is the page's, whose changes bring a form's key."""
        self.model = HTTPBearer(description="A token, where tokens are demanded.")
        self.scheme_name = "token"
        self.scope, self.page = scope, page

    def __call__(self, request: Request) -> Actor:
        """Returns who asks.

        Raises:
            HTTPException: 401 without a token or session, 403 where it does not suffice.
        """
        station = station_of(request)
        actor = who_asks(request)
        if not actor.may(self.scope):
            raise HTTPException(
                403, f"'{actor.name}' has the scope {actor.scope}, this needs {self.scope}"
            )
        if request.method not in _SAFE and not actor.shown:
            refuse_other_sites(request)
            if actor.session is not None and not self.page:
                raise HTTPException(403, "a session is for the page; show a token here")
            key = request.headers.get(FORM_KEY, "")
            if self.page and not station.sessions.is_form_key(actor, key):
                raise HTTPException(403, "this page is out of date; load it again")
        return actor


def needs_of(routes: Iterable[BaseRoute], method: str, path: str) -> Needs | None:
    """Returns what the route needs that takes a request; None where there is no such route."""
    for route in each_route(routes):
        if method in (route.methods or ()) and route.path_regex.match(path):
            return next((one for one in guards_of(route.dependant) if isinstance(one, Needs)), None)
    return None


def each_route(routes: Iterable[BaseRoute]) -> Iterator[APIRoute]:
    """Yields routes, and those of routers that were included."""
    for route in routes:
        router = getattr(route, "original_router", None)
        if router is not None:
            yield from each_route(router.routes)
        elif isinstance(route, APIRoute):
            yield route


def guards_of(dependant: Dependant) -> Iterator[Needs | Open]:
    """Yields what a route and its dependencies ask of whoever comes."""
    for inner in dependant.dependencies:
        if isinstance(inner.call, Needs | Open):
            yield inner.call
        yield from guards_of(inner)


def who_asks(request: Request) -> Actor:
    """Returns who asks, by the token or the session that comes with it.

    Raises:
        HTTPException: 401 without one.
    """
    station = station_of(request)
    if station.tokens is None:
        return LOCAL
    kind, _, secret = request.headers.get("authorization", "").partition(" ")
    if kind:
        token = station.tokens.of_secret(secret.strip()) if kind.lower() == "bearer" else None
        if token is None:
            raise HTTPException(401, "no such token", {"WWW-Authenticate": "Bearer"})
        return Actor(name=token.name, scope=token.scope, shown=True)
    actor = station.sessions.actor(request.cookies.get(SESSION, ""), station.tokens)
    if actor is None:
        raise HTTPException(
            401, "show a token: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
        )
    return actor


def refuse_other_sites(request: Request) -> None:
    """Refuses what another site's page had a browser send.

    Raises:
        HTTPException: 403.
    """
    origin = request.headers.get("origin")
    other = origin is not None and _place(origin) != request.headers.get("host", "")
    if other or request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise HTTPException(403, "another site's page asked for this")


def _place(origin: str) -> str | None:
    """Returns host and port; None where there is none to be read."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None


Inspecting = Annotated[Actor, Depends(Needs("inspect"))]
Reviewing = Annotated[Actor, Depends(Needs("review"))]
Administrating = Annotated[Actor, Depends(Needs("admin"))]
Anybody = Depends(Open())


async def refuse_unknown(request: Request) -> None:
    """Refuses a query with a word that its route does not have: misspelt, it would filter nothing.

    It waits for nothing; were it no coroutine, each request would change threads for it.

    Raises:
        HTTPException: 422; it names the word, and those that there are.
    """
    route, method = request.scope["route"], request.method.lower()
    kept: dict[tuple[str, str], tuple[str, ...]] = request.app.state.queries
    if (route.path, method) not in kept:
        kept[route.path, method] = _query_of(route, method)
    known = kept[route.path, method]
    for name in request.query_params:
        if name not in known:
            there = ", ".join(known) or "none"
            raise HTTPException(422, f"unknown query parameter '{name[:40]}'; expected: {there}")


def _query_of(route: APIRoute, method: str) -> tuple[str, ...]:
    """Returns the names of a route's query, as its description has them."""
    described = get_openapi(title="", version="", routes=[route])["paths"]
    operations = [one[method] for one in described.values() if method in one]
    parameters = [found for one in operations for found in one.get("parameters", [])]
    return tuple(found["name"] for found in parameters if found["in"] == "query")
