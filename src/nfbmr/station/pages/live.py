"""`/events`: pages hear that something changed, and ask for it again. Also their pictures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from nfbmr.station.api.inspections import Number
from nfbmr.station.deps import Inspecting, StationDep
from nfbmr.station.pages.small import SmallPictures
from nfbmr.station.services import heat
from nfbmr.station.services.live import Live, said_of
from nfbmr.station.station import Station
from nfbmr.station.store import queries
from nfbmr.station.store.queries import Recorded

router = APIRouter(include_in_schema=False)

Of = Annotated[str, Query(pattern=r"^([0-9a-f]{12})?$")]
"""How the picture's SHA-256 begins: with it an address names one picture for good."""

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
    yield f"retry: {_AGAIN_MILLISECONDS}\ndata: {said_of(seen)}\n\n"
    while not live.ending:
        await asyncio.sleep(live.every)
        now, quiet = await live.state(), quiet + live.every
        if now != seen:
            seen, quiet = now, 0.0
            yield f"data: {said_of(now)}\n\n"
        elif quiet >= _QUIET_SECONDS:
            quiet = 0.0
            yield ": \n\n"


@router.get("/picture/{number}")
async def picture(
    request: Request,
    station: StationDep,
    _: Inspecting,
    number: Number,
    side: Annotated[Literal["240", "1280"], Query()] = "1280",
    of: Of = "",
) -> Response:
    """Returns an inspected picture as JPEG, its longer side at most so long."""
    row = await run_in_threadpool(_row, station, number, of)
    file = row.file
    loaded = station.pool.get(row.model)
    white = None if loaded is None else loaded.inspector.settings.data.white
    small: SmallPictures = request.app.state.small
    data = None
    if file is not None:
        key = (row.picture, white, int(side))
        data = await small.get(key, lambda: station.pictures.read(file))
    if data is None:
        raise HTTPException(404, "the picture is not kept")
    return Response(data, media_type="image/jpeg", headers=_KEPT if of else None)


@router.get("/heat/{number}")
def heatmap(station: StationDep, _: Inspecting, number: Number, of: Of = "") -> Response:
    """Returns a heatmap to lay over the picture."""
    _row(station, number, of)
    kept = station.store.read(queries.heatmap, number)
    return Response(heat.drawn(kept), media_type="image/png", headers=_KEPT if of else None)


def _row(station: Station, number: int, of: str) -> Recorded:
    row = station.store.read(queries.inspection, number)
    if row is None or not row.picture.startswith(of):
        raise HTTPException(404, f"there is no such inspection {number}")
    return row
