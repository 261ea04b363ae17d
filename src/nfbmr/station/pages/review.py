"""The page *Review*: a person says what parts really are; what is for a person comes first."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from nfbmr.scoring.calibrate import LEAST_HELD_OUT
from nfbmr.station.api.export import CSV, PARQUET, ZIP, as_file
from nfbmr.station.api.inspections import Number, Text, When
from nfbmr.station.deps import Inspecting, Reviewing, StationDep
from nfbmr.station.engine.pool import Loaded
from nfbmr.station.pages import render
from nfbmr.station.pages.line import Note, ReviewingPage, Said, labelled
from nfbmr.station.pages.threshold import AdminPage, FormModel, Model
from nfbmr.station.services import review
from nfbmr.station.services.export import to_csv, to_parquet, to_zip
from nfbmr.station.station import Station
from nfbmr.station.store import queries, queue
from nfbmr.station.store.queries import Filter, Recorded
from nfbmr.station.store.queue import ORDER, Place

router = APIRouter(include_in_schema=False)

_CARDS = 24
_FIELDS = ("model", "verdict", "label", "part_id", "source", "since", "until")


def _filter(
    model: Text = "",
    verdict: Literal["", "good", "look", "defect"] = "",
    label: Literal["", "none", "any", "good", "defect"] = "none",
    part_id: Text = "",
    source: Text = "",
    since: When = "",
    until: When = "",
) -> Filter:
    return Filter(
        model=model,
        verdict=verdict,
        label=label,
        part_id=part_id.strip(),
        source=source,
        since=since,
        until=until,
    )


Which = Annotated[Filter, Depends(_filter)]


At = Annotated[str, Query(pattern=r"^((look|defect|good)-\d{1,18})?$")]


@router.get("/review")
def page(
    request: Request,
    station: StationDep,
    actor: Inspecting,
    which: Which,
    after: At = "",
    before: At = "",
) -> HTMLResponse:
    """Shows the queue, or whatever is searched for: from its begin, or next to a place in it."""
    rows = _cards(station, which, after, before)
    everyone = station.pool.all()
    only = everyone[0] if len(everyone) == 1 else None
    loaded = station.pool.get(which.model) if which.model else only
    values = of_recalibration(station, loaded) | {
        "which": which,
        "rows": rows,
        **_beside(station, which, rows),
        "begun": bool(after or before),
        "sources": station.sources.known(),
        "query": urlencode({name: getattr(which, name) for name in _FIELDS}),
        "left": station.store.read(queries.counts, Filter(model=which.model, label="none")),
        "figures": review.figures(station.store, Filter(model=which.model)),
    }
    return render.page(request, actor, "review.html.j2", values)


def _cards(station: Station, which: Filter, after: str, before: str) -> list[Recorded]:
    if before:
        return station.store.read(queue.undone_before, which, _CARDS, _place(before))
    return station.store.read(queue.undone_first, which, _CARDS, _place(after) if after else None)


def _place(said: str) -> Place:
    verdict, _, number = said.partition("-")
    (found,) = (one for one in ORDER if one == verdict)
    return Place(verdict=found, number=int(number))


def _beside(station: Station, which: Filter, rows: list[Recorded]) -> dict[str, Place | None]:
    """Returns behind and before which part the pages beside one begin; None where none is."""
    if not rows:
        return {"following": None, "previous": None}
    first, last = queue.place_of(rows[0]), queue.place_of(rows[-1])
    more = station.store.read(queue.undone_first, which, 1, last)
    earlier = station.store.read(queue.undone_before, which, 1, first)
    return {"following": last if more else None, "previous": first if earlier else None}


@router.post("/review/{number}/label")
def label(
    request: Request,
    station: StationDep,
    actor: ReviewingPage,
    number: Number,
    said: Said,
    note: Note = "",
) -> HTMLResponse:
    """Writes down what a person says of a part, and shows its card again."""
    row = labelled(station, actor, number, said, note)
    said_now = {"HX-Trigger": "labelled"}
    return render.page(request, actor, "_card.html.j2", {"row": row}, headers=said_now)


@router.get("/review/export.csv")
def export_csv(station: StationDep, _: Reviewing, which: Which) -> StreamingResponse:
    """Returns what is searched for as a table."""
    return as_file("inspections.csv", f"{CSV}; charset=utf-8", to_csv(station.store, which))


@router.get("/review/export.parquet")
def export_parquet(station: StationDep, _: Reviewing, which: Which) -> StreamingResponse:
    """Returns it as Parquet."""
    return as_file("inspections.parquet", PARQUET, to_parquet(station.store, which))


@router.get("/review/export.zip")
def export_zip(station: StationDep, _: Reviewing, which: Which) -> StreamingResponse:
    """Returns it as a table with its pictures."""
    return as_file("inspections.zip", ZIP, to_zip(station.store, station.pictures, which))


@router.get("/review/recalibration")
def recalibration(
    request: Request, station: StationDep, actor: Inspecting, model: Model
) -> HTMLResponse:
    """Shows how far calibrating on confirmed good parts is, or what came of it."""
    values = of_recalibration(station, station.judge.model(model))
    return render.page(request, actor, "_recalibration.html.j2", values)


@router.post("/review/recalibration")
def recalibrate(
    request: Request, station: StationDep, actor: AdminPage, model: FormModel
) -> HTMLResponse:
    """Begins it."""
    loaded = station.judge.model(model)
    station.recalibration.start(loaded, actor.name)
    values = of_recalibration(station, loaded)
    return render.page(request, actor, "_recalibration.html.j2", values)


def of_recalibration(station: Station, loaded: Loaded | None) -> dict[str, Any]:
    """Returns what `_recalibration.html.j2` shows of a model."""
    if loaded is None:
        return {"loaded": None}
    service = station.recalibration
    chosen = service.confirmed(loaded)
    return {
        "loaded": loaded,
        "confirmed": 0 if chosen is None else chosen.of,
        "chosen": chosen,
        "wanted": service.wanted(loaded),
        "least": LEAST_HELD_OUT,
        "job": service.last(loaded.name),
    }
