"""The page *Review*: a person says what parts really are; what is for a person comes first."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from nfbmr.station.api.inspections import Number, Text, When
from nfbmr.station.deps import Inspecting, Reviewing, StationDep
from nfbmr.station.pages import render
from nfbmr.station.pages.line import Note, ReviewingPage, Said, labelled
from nfbmr.station.services import review
from nfbmr.station.store import queries
from nfbmr.station.store.queries import Filter

router = APIRouter(include_in_schema=False)

_CARDS = 24
_FIELDS = ("model", "verdict", "label", "part_id", "since", "until")


def _filter(
    model: Text = "",
    verdict: Literal["", "good", "look", "defect"] = "",
    label: Literal["", "none", "any", "good", "defect"] = "none",
    part_id: Text = "",
    since: When = "",
    until: When = "",
) -> Filter:
    return Filter(
        model=model, verdict=verdict, label=label, part_id=part_id.strip(), since=since, until=until
    )


Which = Annotated[Filter, Depends(_filter)]


@router.get("/review")
def page(
    request: Request,
    station: StationDep,
    actor: Inspecting,
    which: Which,
    after: Annotated[int, Query(ge=0, le=100_000)] = 0,
) -> HTMLResponse:
    """Shows the queue, or whatever is searched for."""
    found = station.store.read(queries.undone_first, which, _CARDS + 1, after)
    values: dict[str, Any] = {
        "which": which,
        "rows": found[:_CARDS],
        "after": after,
        "following": after + _CARDS if len(found) > _CARDS else None,
        "before": None if not after else max(0, after - _CARDS),
        "query": urlencode({name: getattr(which, name) for name in _FIELDS}),
        "left": station.store.read(queries.counts, Filter(model=which.model, label="none")),
        "figures": review.figures(station.store, Filter(model=which.model)),
    }
    return render.page(request, actor, "review.html.j2", values)


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
    return render.page(request, actor, "_card.html.j2", {"row": row})


@router.get("/review/export.csv")
def export(station: StationDep, _: Reviewing, which: Which) -> StreamingResponse:
    """Returns what is searched for as a table."""
    headers = {"Content-Disposition": 'attachment; filename="inspections.csv"'}
    rows = review.to_csv(station.store, which)
    return StreamingResponse(rows, media_type="text/csv; charset=utf-8", headers=headers)
