"""`POST /v1/models/{name}/inspect`: pictures to verdicts, each recorded before it is answered."""

from __future__ import annotations

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from nfbmr.station.api.forms import (
    PROBLEMS,
    InspectionForm,
    Inspections,
    Refused,
    Verdict,
)
from nfbmr.station.deps import Inspecting, StationDep
from nfbmr.station.intake import checked_part_id, judged, refuse_paused, taken
from nfbmr.station.problems import said_of, status_of
from nfbmr.station.services import heat
from nfbmr.station.services.judge import Answer, Given, UnrecordedError
from nfbmr.station.store.pictures import MEDIA
from nfbmr.station.text import PLAIN

router = APIRouter(tags=["inspect"])

ModelName = Annotated[str, Path(min_length=1, max_length=100, description="A model on the line.")]

Key = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        pattern=r"^[!-~]+$",
        description="Your own name of this request: sent again with it, it gets the same rows.",
    ),
]

_PICTURE = {"schema": {"type": "string", "format": "binary"}}
_RAW = (*MEDIA.values(), "application/octet-stream")


def pictures_body(**fields: object) -> dict[str, Any]:
    """Describes a body that is a picture, or a form with several `files` and other fields."""
    files = {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}}
    form = {"type": "object", "required": ["files"], "properties": {"files": files} | fields}
    content = {"multipart/form-data": {"schema": form}} | dict.fromkeys(_RAW, _PICTURE)
    return {"requestBody": {"required": True, "content": content}}


_BODY = pictures_body(part_id={"type": "string", "maxLength": 200, "pattern": PLAIN})


@router.post(
    "/v1/models/{name}/inspect",
    summary="Judge pictures",
    responses={
        **PROBLEMS,
        207: {"model": Inspections, "description": "Some pictures have no recorded verdict"},
    },
    openapi_extra=_BODY,
)
async def inspect(
    request: Request,
    response: Response,
    station: StationDep,
    actor: Inspecting,
    name: ModelName,
    part_id: Annotated[
        str, Query(max_length=200, pattern=PLAIN, description="Which part it is.")
    ] = "",
    heatmap: Annotated[bool, Query(description="Whether to send heatmaps, too.")] = False,
    idempotency_key: Key = None,
) -> Inspections:
    """Judges one picture (the body itself), or several (`files` of a form).

    The answer comes once every verdict is in the record. Of several pictures each has its outcome
    in its place: the answer is 200 where all have a verdict that is recorded, 207 where some do
    not, which say why. Where none has a verdict, one error is the answer, as for a single picture.
    Whoever gives an `Idempotency-Key` may send the same request again where the answer was lost.
    """
    station.judge.model(name)
    await refuse_paused(request, station)
    async with taken(request, station) as found:
        part = checked_part_id(found.fields.get("part_id", part_id))
        given = Given(
            data=b"",
            model=name,
            part_id=part,
            source="rest",
            actor=actor.name,
            request=idempotency_key,
        )
        outcomes = await judged(station, found, given)
        forms = [
            await _form(outcome, heatmap)
            if isinstance(outcome, Answer)
            else _refused(outcome, upload.name)
            for outcome, upload in zip(outcomes, found.uploads, strict=True)
        ]
    if any(isinstance(form, Refused) for form in forms):
        response.status_code = 207
    return Inspections(inspections=forms)


async def _form(answer: Answer, heatmap: bool) -> InspectionForm:
    png = None
    if heatmap:
        drawn = await run_in_threadpool(heat.drawn, answer.heat)
        png = base64.b64encode(drawn).decode("ascii")
    return InspectionForm.of_row(answer.recorded, answer.trouble, png)


def _refused(error: Exception, name: str) -> Refused:
    found = Verdict.of(error.unrecorded) if isinstance(error, UnrecordedError) else None
    status, said = status_of(error), said_of(error)
    return Refused(name=name, error=said, status=status, unrecorded=found)
