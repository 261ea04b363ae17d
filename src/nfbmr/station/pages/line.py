"""The page *Line*: the newest verdict, large, as it comes; and any other by its number."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request
from fastapi.responses import HTMLResponse

from nfbmr.station.api.inspections import Number
from nfbmr.station.auth import Actor
from nfbmr.station.deps import Inspecting, Needs, StationDep
from nfbmr.station.pages import render
from nfbmr.station.services import review
from nfbmr.station.station import Station
from nfbmr.station.store import queries
from nfbmr.station.store.queries import Filter
from nfbmr.station.text import PLAIN

router = APIRouter(include_in_schema=False)

Model = Annotated[str, Query(max_length=100, pattern=PLAIN)]
At = Annotated[int | None, Query(ge=1, le=2**62)]
ReviewingPage = Annotated[Actor, Depends(Needs("review", page=True))]
Said = Annotated[Literal["good", "defect", "none"], Form()]
Note = Annotated[str, Form(max_length=2000, pattern=PLAIN)]

_STRIP = 12  # parts before and after


@router.get("/")
def line(
    request: Request, station: StationDep, actor: Inspecting, model: Model = "", at: At = None
) -> HTMLResponse:
    """Shows the page."""
    values = _values(station, model, at) | lights_of(station)
    return render.page(request, actor, "line.html.j2", values)


@router.get("/line/part")
def part(
    request: Request, station: StationDep, actor: Inspecting, model: Model = "", at: At = None
) -> HTMLResponse:
    """Shows what of the page changes."""
    return render.page(request, actor, "_line.html.j2", _values(station, model, at))


@router.post("/line/{number}/label")
def label(
    request: Request,
    station: StationDep,
    actor: ReviewingPage,
    number: Number,
    said: Said,
    note: Note = "",
    model: Annotated[str, Form(max_length=100, pattern=PLAIN)] = "",
    live: Annotated[bool, Form()] = False,
) -> HTMLResponse:
    """Writes down what a person says of the part, and shows it again."""
    labelled(station, actor, number, said, note)
    at = None if live else number
    return render.page(request, actor, "_line.html.j2", _values(station, model, at))


def labelled(station: Station, actor: Actor, number: int, said: str, note: str) -> queries.Recorded:
    """Writes down what a person says of a part, by the words of a form.

    Raises:
        HTTPException: 404, there is no such inspection.
    """
    labels: dict[str, queries.Label] = {"good": "good", "defect": "defect"}
    label = labels.get(said)
    row = review.say(station.store, number, label, note, actor.name)
    if row is None:
        raise HTTPException(404, f"there is no inspection {number}")
    station.judge.metrics.count("nfbmr_feedback_total", label=said)
    return row


def lights_of(station: Station) -> dict[str, Any]:
    """Returns how sources and outputs fare, as the lights show it."""
    return {
        "sources": station.sources.states(),
        "outputs": station.outputs.states(),
    }


def _values(station: Station, model: str, at: int | None) -> dict[str, Any]:
    which = Filter(model=model)
    store = station.store
    before = None if at is None else at + 1
    rows = store.read(queries.page, which, before=before, limit=_STRIP)
    row = rows[0] if rows and (at is None or rows[0].id == at) else None
    if at is not None and row is None:
        raise HTTPException(404, f"there is no inspection {at}")
    following = None if row is None else store.read(queries.following, which, row.id)
    hour = datetime.now(UTC) - timedelta(hours=1)
    since = hour.isoformat(timespec="microseconds")
    return {
        "model": model,
        "at": at,
        "row": row,
        "strip": rows,
        "earlier": rows[1].id if len(rows) > 1 else None,
        "later": None if following is None else following.id,
        "counts": store.read(queries.counts, Filter(model=model, since=since)),
    }
