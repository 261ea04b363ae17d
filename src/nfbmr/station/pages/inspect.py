"""The page *Inspect*: pictures dropped, pasted or taken here, and their verdicts at once."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

from nfbmr.station.auth import Actor
from nfbmr.station.deps import Inspecting, Needs, StationDep
from nfbmr.station.intake import checked_part_id, judged, taken
from nfbmr.station.pages import render
from nfbmr.station.services.judge import Answer, Given
from nfbmr.station.text import PLAIN

router = APIRouter(include_in_schema=False)

Model = Annotated[str, Query(max_length=100, pattern=PLAIN)]
InspectingPage = Annotated[Actor, Depends(Needs("inspect", page=True))]


@router.get("/inspect")
def inspect(request: Request, actor: Inspecting, model: Model = "") -> HTMLResponse:
    """Shows the page, for a model or for the first one."""
    return render.page(request, actor, "inspect.html.j2", {"model": model})


@router.post("/inspect/picture")
async def picture(request: Request, station: StationDep, actor: InspectingPage) -> HTMLResponse:
    """Judges one picture, and shows what was found."""
    async with taken(request, station) as found:
        model = found.fields.get("model", "")
        station.judge.model(model)
        part_id = checked_part_id(found.fields.get("part_id", ""))
        given = Given(data=b"", model=model, part_id=part_id, source="page", actor=actor.name)
        (answer,) = await judged(station, found.first(), given)
    assert isinstance(answer, Answer)  # the only picture's error was raised
    values = {"row": answer.recorded, "trouble": answer.trouble}
    return await run_in_threadpool(render.part, request, actor, "_judged.html.j2", values)
