"""`/events`: pages hear that something changed, and ask for it again. Also their pictures."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Query, Response
from fastapi.responses import StreamingResponse
from PIL import Image

from nfbmr.data.images import read_image
from nfbmr.station.api.inspections import Number
from nfbmr.station.deps import Inspecting, StationDep
from nfbmr.station.services import heat
from nfbmr.station.services.live import Live
from nfbmr.station.store import queries

router = APIRouter(include_in_schema=False)

_KEPT = {"Cache-Control": "private, max-age=86400, immutable"}
_QUIET_SECONDS = 15.0  # after which a line says that the connection lives
_AGAIN_MILLISECONDS = 2000


@router.get("/events")
def events(station: StationDep, _: Inspecting) -> StreamingResponse:
    """Sends a line whenever the record changes."""
    lines = _lines(station.live)
    return StreamingResponse(lines, media_type="text/event-stream")


async def _lines(live: Live) -> AsyncIterator[str]:
    seen, quiet = await live.state(), 0.0
    yield f"retry: {_AGAIN_MILLISECONDS}\ndata: {seen[0]}.{seen[1]}\n\n"
    while not live.ending:
        await asyncio.sleep(live.every)
        now, quiet = await live.state(), quiet + live.every
        if now != seen:
            seen, quiet = now, 0.0
            yield f"data: {now[0]}.{now[1]}\n\n"
        elif quiet >= _QUIET_SECONDS:
            quiet = 0.0
            yield ": \n\n"


@router.get("/picture/{number}")
def picture(
    station: StationDep,
    _: Inspecting,
    number: Number,
    side: Annotated[Literal["240", "1280"], Query()] = "1280",
) -> Response:
    """Returns an inspected picture as JPEG, its longer side at most so long."""
    row = station.store.read(queries.inspection, number)
    data = None if row is None or row.file is None else station.pictures.read(row.file)
    if row is None or data is None:
        raise HTTPException(404, "the picture is not kept")
    loaded = station.pool.get(row.model)
    white = None if loaded is None else loaded.inspector.settings.data.white
    image = Image.fromarray(read_image(data, white))
    image.thumbnail((int(side), int(side)), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return Response(buffer.getvalue(), media_type="image/jpeg", headers=_KEPT)


@router.get("/heat/{number}")
def heatmap(station: StationDep, _: Inspecting, number: Number) -> Response:
    """Returns a heatmap to lay over the picture."""
    kept = station.store.read(queries.heatmap, number)
    return Response(heat.drawn(kept), media_type="image/png", headers=_KEPT)
