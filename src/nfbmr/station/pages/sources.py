"""The lights of the page *Line*: where pictures come from, who is told, and whether they live."""

from __future__ import annotations

import io
from typing import Annotated

import numpy as np
from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse
from PIL import Image

from nfbmr.inspection.pictures import colour_regions
from nfbmr.inspection.result import Inspection
from nfbmr.station.api.sources import SourceName
from nfbmr.station.deps import Inspecting, StationDep
from nfbmr.station.pages import render
from nfbmr.station.pages.inspect import InspectingPage
from nfbmr.station.pages.line import ReviewingPage, lights_of
from nfbmr.station.pages.small import QUALITY, small_image

router = APIRouter(include_in_schema=False)

_SIDE = 1280


@router.get("/line/lights")
def lights(request: Request, station: StationDep, actor: Inspecting) -> HTMLResponse:
    """Shows them."""
    return render.page(request, actor, "_lights.html.j2", lights_of(station))


@router.post("/line/sources/{name}/pause")
def pause(
    request: Request, station: StationDep, actor: ReviewingPage, name: SourceName
) -> HTMLResponse:
    """Has a source pause."""
    station.sources.get(name).pause(True, actor.name)
    return render.page(request, actor, "_lights.html.j2", lights_of(station))


@router.post("/line/sources/{name}/resume")
def resume(
    request: Request, station: StationDep, actor: ReviewingPage, name: SourceName
) -> HTMLResponse:
    """Has it go on."""
    station.sources.get(name).pause(False, actor.name)
    return render.page(request, actor, "_lights.html.j2", lights_of(station))


@router.post("/line/sources/{name}/test")
async def test(
    request: Request, station: StationDep, actor: InspectingPage, name: SourceName
) -> HTMLResponse:
    """Takes one picture of a source, and shows it with its verdict; nothing is recorded."""
    source = station.sources.get(name)
    with station.judge.gate.passed():
        picture, found, result = await source.test(actor.name)
        loaded = station.judge.model(found.model)
        white = loaded.inspector.settings.data.white
        drawn = await run_in_threadpool(_drawn, picture.data, white, result)
    request.app.state.tests[name] = (found.picture, drawn)
    return await run_in_threadpool(
        render.part, request, actor, "_tried.html.j2", {"source": name, "row": found}
    )


@router.get("/line/sources/{name}/test")
def tested(
    request: Request,
    _: Inspecting,
    name: SourceName,
    of: Annotated[str, Query(pattern="^[0-9a-f]{12}$")],
) -> Response:
    """Returns the picture of the last test, as long as the station runs."""
    sha256, drawn = request.app.state.tests.get(name, ("", b""))
    if not sha256.startswith(of):
        raise HTTPException(404, "another test came after it")
    return Response(drawn, media_type="image/jpeg")


def _drawn(data: bytes, white: int | None, result: Inspection) -> bytes:
    """Returns a small picture as JPEG, with its heatmap."""
    image = np.asarray(small_image(data, white, _SIDE))
    heat = result.heatmap_at((image.shape[0], image.shape[1]))
    overlaid = colour_regions(image, heat, result.regions, result.size)
    buffer = io.BytesIO()
    Image.fromarray(overlaid).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
