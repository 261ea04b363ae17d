"""Which scope each route needs: read from the code, said in the document, and kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.testclient import TestClient

from nfbmr.station.app import create_app
from nfbmr.station.auth import SCOPES, new_token
from nfbmr.station.deps import Needs, guards_of
from nfbmr.station.station import Station

DOCUMENT = Path(__file__).parents[2] / "docs" / "station.md"
UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}


def each(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """Yields routes, and those of routers that were included."""
    for route in routes:
        router = getattr(route, "original_router", None)
        if router is None:
            yield route
        else:
            yield from each(router.routes)


def routes_of(app: FastAPI) -> dict[str, APIRoute]:
    """Each route by its method and path."""
    found = {}
    for route in each(app.routes):
        assert isinstance(route, APIRoute), f"{route}: no scope can be read from it"
        for method in (route.methods or set()) - {"HEAD"}:
            found[f"{method} {route.path}"] = route
    return found


def scope_of(route: APIRoute) -> str:
    guards = list(guards_of(route.dependant))
    assert len(guards) == 1, f"{route.path}: one of Needs and Open is expected, found {guards}"
    return guards[0].scope if isinstance(guards[0], Needs) else "none"


def test_every_route_says_which_scope_it_needs(station: Station) -> None:
    routes = routes_of(create_app(station))
    assert len(routes) >= 12
    scopes = {name: scope_of(route) for name, route in routes.items()}
    assert set(scopes.values()) <= {"none", *SCOPES}
    changes = {name for name in scopes if name.partition(" ")[0] in UNSAFE}
    assert {name for name in changes if scopes[name] == "none"} <= {"POST /login", "POST /logout"}


def test_the_document_has_every_route_with_its_scope(station: Station) -> None:
    found = {name: scope_of(route) for name, route in routes_of(create_app(station)).items()}
    text = DOCUMENT.read_text("utf-8")
    said = dict(re.findall(r"^\| `([A-Z]+ /[^`]*)` \| (\w+) \|", text, re.MULTILINE))
    assert said == found


def test_a_route_without_a_scope_is_noticed(station: Station) -> None:
    app = create_app(station)

    @app.get("/forgotten")
    def forgotten() -> None: ...

    with pytest.raises(AssertionError, match="/forgotten: one of Needs and Open"):
        [scope_of(route) for route in routes_of(app).values()]


def test_each_scope_opens_what_needs_it_and_no_more(settings: object, tmp_path: Path) -> None:
    assert callable(settings)
    file = tmp_path / "tokens"
    tokens = {scope: new_token(file, f"a-{scope}", scope) for scope in SCOPES}
    with Station(settings(token_file=file)) as station:
        app = create_app(station)
        routes = routes_of(app)
        client = TestClient(app, base_url="http://station.example", follow_redirects=False)
        for name, route in routes.items():
            method, path = name.split(" ", 1)
            path = re.sub(r"\{[^}]+\}", "1", path)
            needed = scope_of(route)
            if path in ("/events", "/login", "/logout"):
                continue  # the first never ends, the others are for whoever has no session
            nobody = client.request(method, path).status_code
            assert (nobody == 401) == (needed != "none"), name
            for scope, token in tokens.items():
                given = {"Authorization": f"Bearer {token}"}
                status = client.request(method, path, headers=given).status_code
                refused = needed != "none" and SCOPES.index(scope) < SCOPES.index(needed)
                assert (status == 403) == refused, (name, scope, status)
