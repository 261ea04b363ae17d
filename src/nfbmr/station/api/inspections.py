"""`/v1/inspections`: the record, its pictures and heatmaps, and what a person says of a part."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Response
from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from nfbmr.station.api.forms import PROBLEMS, InspectionForm, Page
from nfbmr.station.deps import Inspecting, Reviewing, StationDep
from nfbmr.station.services import heat, review
from nfbmr.station.station import Station
from nfbmr.station.store import queries
from nfbmr.station.store.pictures import MEDIA
from nfbmr.station.store.queries import Filter, Recorded
from nfbmr.station.text import PLAIN, utc

router = APIRouter(tags=["inspections"], responses=PROBLEMS)

Number = Annotated[int, Path(ge=1, le=2**62, description="An inspection's `id`.")]
Text = Annotated[str, Query(max_length=200, pattern=PLAIN)]


def _time(said: str) -> str:
    try:
        return utc(said)
    except ValueError as error:
        raise PydanticCustomError("time", "{why}", {"why": str(error)}) from None


When = Annotated[
    str,
    Query(
        max_length=40,
        description="A time or a day by ISO 8601, UTC where no offset is said.",
        json_schema_extra={
            "anyOf": [{"format": "date-time"}, {"format": "date"}, {"maxLength": 0}],
        },
    ),
    AfterValidator(_time),
]


def _filter(
    model: Text = "",
    verdict: Literal["", "good", "look", "defect"] = "",
    label: Literal["", "good", "defect", "none", "any"] = "",
    part_id: Text = "",
    source: Text = "",
    since: When = "",
    until: When = "",
) -> Filter:
    return Filter(
        model=model,
        verdict=verdict,
        label=label,
        part_id=part_id,
        source=source,
        since=since,
        until=until,
    )


Which = Annotated[Filter, Depends(_filter)]


class Feedback(BaseModel):
    """What a person says of a part."""

    label: Literal["good", "defect"] | None = Field(description="None takes back what was said.")
    note: str = Field("", max_length=2000, pattern=PLAIN)


@router.get("/v1/inspections", summary="The record, newest first")
def inspections(
    station: StationDep,
    _: Inspecting,
    which: Which,
    before: Annotated[int | None, Query(ge=1, le=2**62, description="Rows before it.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Page:
    """Returns rows by number, the newest first, and where the following page begins."""
    rows = station.store.read(queries.page, which, before=before, limit=limit)
    following = rows[-1].id if len(rows) == limit else None
    return Page(inspections=[InspectionForm.of_row(row) for row in rows], next=following)


@router.get("/v1/inspections/{number}", summary="One inspection")
def inspection(station: StationDep, _: Inspecting, number: Number) -> InspectionForm:
    """Returns a row of the record."""
    return InspectionForm.of_row(_row(station, number))


@router.get(
    "/v1/inspections/{number}/picture",
    summary="The picture that was inspected",
    response_class=Response,
    responses={200: {"content": {media: {} for media in MEDIA.values()}}},
)
def picture(station: StationDep, _: Inspecting, number: Number) -> Response:
    """Returns the very file that was inspected."""
    row = _row(station, number)
    data = None if row.file is None else station.pictures.read(row.file)
    if row.file is None or data is None:
        raise HTTPException(404, "the picture is not kept")
    return Response(data, media_type=MEDIA[row.file.rpartition(".")[2]])


@router.get(
    "/v1/inspections/{number}/heatmap",
    summary="The heatmap, to lay over the picture",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}},
)
def heatmap(station: StationDep, _: Inspecting, number: Number) -> Response:
    """Returns a PNG of the picture's ratio of sides, clear where nothing shows."""
    _row(station, number)
    kept = station.store.read(queries.heatmap, number)
    return Response(heat.drawn(kept), media_type="image/png")


@router.post("/v1/inspections/{number}/feedback", summary="Say what a part really is")
def feedback(
    station: StationDep, actor: Reviewing, number: Number, said: Feedback
) -> InspectionForm:
    """Writes down what a person says, as an event with what was said before."""
    row = review.say(station.store, number, said.label, said.note, actor.name)
    if row is None:
        raise HTTPException(404, f"there is no inspection {number}")
    station.judge.metrics.count("nfbmr_feedback_total", label=said.label or "none")
    return InspectionForm.of_row(row)


def _row(station: Station, number: int) -> Recorded:
    row = station.store.read(queries.inspection, number)
    if row is None:
        raise HTTPException(404, f"there is no inspection {number}")
    return row
