"""The page *Threshold*: both thresholds as handles on good parts' scores, and what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request
from fastapi.responses import HTMLResponse

from nfbmr.scoring.odd import Odd, name_of
from nfbmr.station.auth import Actor
from nfbmr.station.deps import Inspecting, Needs, StationDep
from nfbmr.station.engine.pool import Loaded
from nfbmr.station.pages import charts, render
from nfbmr.station.services.threshold import Proposal, odd, rate_at
from nfbmr.station.station import Station
from nfbmr.station.store import queries
from nfbmr.station.store.queries import Recorded
from nfbmr.station.text import PLAIN

router = APIRouter(include_in_schema=False)

Model = Annotated[str, Query(max_length=100, pattern=PLAIN)]
Position = Annotated[float, Query(ge=-1e6, le=1e6, allow_inf_nan=False)]
FormModel = Annotated[str, Form(max_length=100, pattern=PLAIN)]
FormPosition = Annotated[float, Form(ge=-1e6, le=1e6, allow_inf_nan=False)]
AdminPage = Annotated[Actor, Depends(Needs("admin", page=True))]

_SHOWN = 12  # parts that would be judged otherwise


@router.get("/threshold")
def threshold(
    request: Request, station: StationDep, actor: Inspecting, model: Model = ""
) -> HTMLResponse:
    """Shows the page, with the thresholds that are in force."""
    everyone = station.pool.all()
    if not everyone:
        return render.page(request, actor, "threshold.html.j2", {"loaded": None})
    loaded = station.judge.model(model or everyone[0].name)
    return render.page(request, actor, "threshold.html.j2", _values(station, loaded))


@router.get("/threshold/preview")
def preview(
    request: Request,
    station: StationDep,
    actor: Inspecting,
    model: Model,
    defect: Position,
    look: Position,
) -> HTMLResponse:
    """Shows what the handles' places would mean."""
    loaded = station.judge.model(model)
    values = _of_proposal(_proposed(station, loaded, defect, look))
    return render.page(request, actor, "_preview.html.j2", values)


@router.post("/threshold/save")
def save(
    request: Request,
    station: StationDep,
    actor: AdminPage,
    model: FormModel,
    calibration: Annotated[str, Form(max_length=64)],
    defect: FormPosition,
    look: FormPosition,
    reason: Annotated[str, Form(min_length=1, max_length=2000, pattern=PLAIN)],
) -> HTMLResponse:
    """Puts them in force."""
    loaded = station.judge.model(model)
    _as_shown(loaded, calibration)
    proposal = _proposed(station, loaded, defect, look)
    new = station.thresholds.save(loaded, proposal, actor.name, reason.strip())
    return render.page(request, actor, "_threshold.html.j2", _values(station, new))


@router.post("/threshold/undo")
def undo(
    request: Request,
    station: StationDep,
    actor: AdminPage,
    model: FormModel,
    calibration: Annotated[str, Form(max_length=64)],
) -> HTMLResponse:
    """Takes the last change back."""
    loaded = station.judge.model(model)
    _as_shown(loaded, calibration)
    new = station.thresholds.undo(loaded, actor.name)
    return render.page(request, actor, "_threshold.html.j2", _values(station, new))


@router.post("/threshold/without")
def leave_out(
    request: Request,
    station: StationDep,
    actor: AdminPage,
    model: FormModel,
    calibration: Annotated[str, Form(max_length=64)],
    picture: Annotated[str, Form(pattern=r"^[0-9a-f]{64}$")],
) -> HTMLResponse:
    """Takes an odd good picture's part in the thresholds."""
    loaded = station.judge.model(model)
    _as_shown(loaded, calibration)
    new = station.thresholds.leave_out(loaded, picture, actor.name)
    return render.page(request, actor, "_threshold.html.j2", _values(station, new))


def _as_shown(loaded: Loaded, calibration: str) -> None:
    """Refuses a change of thresholds that are not those that its page showed."""
    if loaded.calibration != calibration:
        raise HTTPException(409, "somebody changed the thresholds meanwhile; load the page again")


def _proposed(station: Station, loaded: Loaded, defect: float, look: float) -> Proposal:
    now = loaded.inspector.calibration
    rates = rate_at(now, defect), rate_at(now, look)
    return station.thresholds.propose(loaded, *rates)


def _values(station: Station, loaded: Loaded) -> dict[str, Any]:
    now, found = loaded.inspector.calibration, odd(loaded.inspector)
    chart = charts.histogram(now.scores, (now.threshold, now.look_threshold))
    asked = station.thresholds.propose(loaded, now.false_alarm_rate, now.look_rate)
    return {
        "loaded": loaded,
        "now": now,
        "chart": chart,
        "size": (charts.WIDTH, charts.HEIGHT),
        "odd": found,
        "called": {one.picture: name_of(now, one.picture) for one in found},
        "rows": _rows(station, loaded, found),
        "history": station.thresholds.history(loaded.name),
    } | _of_proposal(asked)


def _rows(station: Station, loaded: Loaded, found: Sequence[Odd]) -> dict[str, Recorded]:
    """Returns inspections of odd good pictures, by the sha256 of their pixels, where known."""
    names = station.thresholds.names(loaded.name)
    rows = {
        one.picture: station.store.read(queries.inspection, names[one.picture])
        for one in found
        if one.picture in names
    }
    return {picture: row for picture, row in rows.items() if row is not None}


def _of_proposal(proposal: Proposal) -> dict[str, Any]:
    return {
        "proposal": proposal,
        "interval": proposal.calibration.rate_interval(),
        "look_interval": proposal.calibration.for_person.interval(),
        "shown": proposal.otherwise[:_SHOWN],
    }
