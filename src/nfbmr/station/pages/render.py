"""Templates to answers. What a template gets is plain values: no database, no request."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nfbmr.station.auth import Actor
from nfbmr.station.deps import station_of
from nfbmr.station.pages import words
from nfbmr.station.services.live import said_of
from nfbmr.station.store import queries
from nfbmr.system.words import how_unusual, percent

_HERE = Path(__file__).parent

PAGES = (
    ("/", "Line"),
    ("/inspect", "Inspect"),
    ("/review", "Review"),
    ("/threshold", "Threshold"),
    ("/learn", "Learn"),
    ("/drift", "Drift"),
    ("/models", "Models"),
)
"""Addresses and names, in the order of the menu."""

MEDIA = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@cache
def assets() -> dict[str, bytes]:
    """Returns the files that pages load, by name: the only ones that an address can name."""
    return {
        path.name: path.read_bytes()
        for path in sorted((_HERE / "static").iterdir())
        if path.suffix.removeprefix(".") in MEDIA
    }


@cache
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals |= {
        "PAGES": PAGES,
        "SYMBOLS": words.SYMBOLS,
        "WORDS": words.WORDS,
        "MEANINGS": words.MEANINGS,
        "SOURCES": words.SOURCES,
        "asset": _address,
    }
    found.filters |= {
        "rarity": how_unusual,
        "percent": percent,
        "clock": words.clock,
        "day_and_clock": words.day_and_clock,
        "since": words.since,
        "time_left": words.time_left,
    }
    return found


def _address(name: str) -> str:
    return f"/static/{name}?v={hashlib.sha256(assets()[name]).hexdigest()[:12]}"


def page(
    request: Request,
    actor: Actor,
    template: str,
    values: dict[str, Any],
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> HTMLResponse:
    """Renders a page or a part of one, with where the record stands."""
    station = station_of(request)
    state = said_of((*station.store.read(queries.state), station.live.lights))
    text = _rendered(request, actor, template, values | {"state": state})
    return HTMLResponse(text, status, headers)


def part(request: Request, actor: Actor, template: str, values: dict[str, Any]) -> HTMLResponse:
    """Renders a part of a page without a look at the database, which may fail by now."""
    return HTMLResponse(_rendered(request, actor, template, values))


def _rendered(request: Request, actor: Actor, template: str, values: dict[str, Any]) -> str:
    station = station_of(request)
    known = {
        "here": request.url.path,
        "site": str(request.base_url).rstrip("/"),
        "actor": actor,
        "form_key": station.sessions.form_key(actor),
        "sessions": station.tokens is not None,
        "models": [loaded.name for loaded in station.pool.all()],
        "troubles": _troubles(request),
    }
    return _environment().get_template(template).render(known | values)


def plain(template: str, values: dict[str, Any], status: int = 200) -> HTMLResponse:
    """Renders what needs no actor: the login, and what says that there is nothing here."""
    return HTMLResponse(_environment().get_template(template).render(values), status)


def _troubles(request: Request) -> list[str]:
    station = station_of(request)
    found = [f"Model {name}: {why}" for name, why in sorted(station.pool.troubles.items())]
    found += [f"Output {name}: {why}" for name, why in sorted(station.outputs.losses.items())]
    found += [f"Model {name}: {why}" for name, why in sorted(station.unkept.items())]
    if station.judge.trouble is not None:
        found.append(f"The last part: {station.judge.trouble}")
    return [*found, *station.drift.troubles()]
