"""`POST /v1/models/{name}/inspect`: pictures to verdicts, each recorded before it is answered."""

from __future__ import annotations

import base64
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request
from fastapi.concurrency import run_in_threadpool

from nfbmr.station.api.forms import (
    PROBLEMS,
    InspectionForm,
    Inspections,
    Refused,
    Unrecorded,
)
from nfbmr.station.deps import Inspecting, StationDep
from nfbmr.station.intake import checked_part_id, judged, taken
from nfbmr.station.services import heat
from nfbmr.station.services.judge import Answer, Given
from nfbmr.station.station import Station
from nfbmr.station.store import queries
from nfbmr.station.store.pictures import MEDIA

router = APIRouter(tags=["inspect"])

ModelName = Annotated[str, Path(min_length=1, max_length=100, description="A model on the line.")]

_PICTURE = {"schema": {"type": "string", "format": "binary"}}
_RAW = (*MEDIA.values(), "application/octet-stream")
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "format": "binary"},
                        },
                        "part_id": {"type": "string", "maxLength": 200},
                    },
                }
            },
            **dict.fromkeys(_RAW, _PICTURE),
        },
    }
}


@router.post(
    "/v1/models/{name}/inspect",
    summary="Judge pictures",
    responses={
        **PROBLEMS,
        507: {"model": Unrecorded, "description": "A verdict that could not be recorded"},
    },
    openapi_extra=_BODY,
)
async def inspect(
    request: Request,
    station: StationDep,
    actor: Inspecting,
    name: ModelName,
    part_id: Annotated[str, Query(max_length=200, description="Which part it is.")] = "",
    heatmap: Annotated[bool, Query(description="Whether to send heatmaps, too.")] = False,
) -> Inspections:
    """Judges one picture (the body itself), or several (`files` of a form).

    The answer comes once every verdict is in the record. Where several pictures were sent, those
    that cannot be read say why in their place; where none can be, the answer is 422.
    """
    station.judge.model(name)
    async with taken(request, station) as found:
        part = checked_part_id(found.fields.get("part_id", part_id))
        given = Given(data=b"", model=name, part_id=part, source="rest", actor=actor.name)
        answers = await judged(station, found, given)
        if all(not isinstance(answer, Answer) for answer in answers):
            raise HTTPException(422, "; ".join(str(answer) for answer in answers))
        return Inspections(
            inspections=[
                await _form(station, answer, heatmap)
                if isinstance(answer, Answer)
                else Refused(name=upload.name, error=str(answer))
                for answer, upload in zip(answers, found.uploads, strict=True)
            ]
        )


async def _form(station: Station, answer: Answer, heatmap: bool) -> InspectionForm:
    png = None
    if heatmap:
        png = await run_in_threadpool(_heatmap, station, answer.recorded.id)
    return InspectionForm.of_row(answer.recorded, answer.trouble, png)


def _heatmap(station: Station, number: int) -> str:
    kept = station.store.read(queries.heatmap, number)
    return base64.b64encode(heat.drawn(kept)).decode("ascii")
