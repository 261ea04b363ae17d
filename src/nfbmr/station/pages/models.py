"""The page *Models*: which version was on the line, what another would say, and putting it back."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import HTMLResponse

from nfbmr.station.auth import Actor
from nfbmr.station.deps import Inspecting, StationDep
from nfbmr.station.engine.pool import Loaded
from nfbmr.station.pages import render
from nfbmr.station.pages.line import ReviewingPage
from nfbmr.station.pages.threshold import AdminPage, FormModel, Model
from nfbmr.station.services.versions import Compared
from nfbmr.station.station import Station
from nfbmr.station.text import PLAIN

router = APIRouter(include_in_schema=False)

Hash = Annotated[str, Form(pattern=r"^[0-9a-f]{64}$")]

SHOWN = 24
"""Parts of which two versions say different things."""


@router.get("/models")
def models(
    request: Request, station: StationDep, actor: Inspecting, model: Model = ""
) -> HTMLResponse:
    """Shows the page."""
    everyone = station.pool.all()
    if not everyone:
        return render.page(request, actor, "models.html.j2", {"loaded": None})
    loaded = station.judge.model(model or everyone[0].name)
    return render.page(request, actor, "models.html.j2", _values(station, loaded))


@router.get("/models/comparison")
def comparison(
    request: Request, station: StationDep, actor: Inspecting, model: Model
) -> HTMLResponse:
    """Shows how far the last comparison is, or what it found."""
    return _compared(request, station, actor, station.judge.model(model))


@router.post("/models/comparison")
def compare(
    request: Request,
    station: StationDep,
    actor: ReviewingPage,
    model: FormModel,
    bundle: Hash,
    calibration: Hash,
) -> HTMLResponse:
    """Begins to compare a version with the one on the line."""
    loaded = station.judge.model(model)
    station.line.compare(loaded, bundle, calibration, actor.name)
    return _compared(request, station, actor, loaded)


@router.post("/models/version")
def switch(
    request: Request,
    station: StationDep,
    actor: AdminPage,
    model: FormModel,
    bundle: Hash,
    calibration: Hash,
    shown: Annotated[str, Form(max_length=129)],
    reason: Annotated[str, Form(min_length=1, max_length=2000, pattern=PLAIN)],
) -> HTMLResponse:
    """Puts a version on the line."""
    loaded = _as_shown(station, model, shown)
    new = station.line.switch(loaded, bundle, calibration, actor.name, reason.strip())
    return render.page(request, actor, "_models.html.j2", _values(station, new))


@router.post("/models/version/undo")
def undo(
    request: Request,
    station: StationDep,
    actor: AdminPage,
    model: FormModel,
    shown: Annotated[str, Form(max_length=129)],
) -> HTMLResponse:
    """Takes the last switch back."""
    new = station.line.undo(_as_shown(station, model, shown), actor.name)
    return render.page(request, actor, "_models.html.j2", _values(station, new))


def _as_shown(station: Station, model: str, shown: str) -> Loaded:
    """Returns a model, and refuses a change where its page showed another version."""
    loaded = station.judge.model(model)
    if _version(loaded) != shown:
        raise HTTPException(409, "somebody changed the model meanwhile; load the page again")
    return loaded


def _version(loaded: Loaded) -> str:
    return f"{loaded.bundle}.{loaded.calibration}"


def _compared(request: Request, station: Station, actor: Actor, loaded: Loaded) -> HTMLResponse:
    values = {"loaded": loaded} | _of_comparison(station, loaded)
    return render.page(request, actor, "_comparison.html.j2", values)


def _values(station: Station, loaded: Loaded) -> dict[str, Any]:
    return {
        "loaded": loaded,
        "now": loaded.inspector.calibration,
        "facts": loaded.inspector.facts,
        "stays": station.line.history(loaded.name),
        "can_undo": station.line.can_undo(loaded),
    } | _of_comparison(station, loaded)


def _of_comparison(station: Station, loaded: Loaded) -> dict[str, Any]:
    job = station.line.comparison(loaded.name)
    found = None if job is None or not isinstance(job.found, Compared) else job.found
    is_current = found is not None and found.now == (loaded.bundle, loaded.calibration)
    return {
        "job": job,
        "compared": found if is_current else None,
        "shown": found.differing[:SHOWN] if found is not None and is_current else [],
        "version": _version(loaded),
    }
