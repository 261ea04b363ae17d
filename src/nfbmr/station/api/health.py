"""`/healthz`, `/readyz`, `/metrics`: for what watches over the station."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from nfbmr.errors import StationError
from nfbmr.station.api.forms import PROBLEMS, Problem, State
from nfbmr.station.deps import Anybody, Inspecting, StationDep
from nfbmr.station.station import Station
from nfbmr.station.store import queries

router = APIRouter(tags=["health"], responses={400: PROBLEMS[400]})

_AGAIN_SECONDS = "5"
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


@router.get("/healthz", dependencies=[Anybody], summary="Whether the process answers")
async def healthz() -> dict[str, str]:
    """Says so."""
    return {"status": "ok"}


@router.get("/openapi.json", dependencies=[Anybody], include_in_schema=False)
def openapi(request: Request) -> dict[str, Any]:
    """Describes the API."""
    found: dict[str, Any] = request.app.openapi()
    return found


@router.get(
    "/readyz",
    dependencies=[Anybody],
    summary="Whether pictures can be judged and recorded",
    responses={503: {"model": State, "description": "They cannot, and why"}},
)
def readyz(station: StationDep, response: Response) -> State:
    """Looks at the database, its writer, and the models."""
    troubles = _troubles(station)
    if troubles:
        response.status_code = 503
        response.headers["Retry-After"] = _AGAIN_SECONDS
    return State(ready=not troubles, troubles=troubles)


def _troubles(station: Station) -> list[str]:
    found = []
    try:
        station.store.read(queries.newest)
    except StationError as error:
        found.append(str(error))
    if not station.store.writer.alive:
        found.append("nothing is written any more")
    if not station.pool.all():
        found.append("no model is on the line")
    return found


@router.get(
    "/metrics",
    summary="Counts and times, for Prometheus",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {}}},
        401: {"model": Problem, "description": "No token, or none that is known"},
        403: {"model": Problem, "description": "The token's scope does not suffice"},
    },
)
def metrics(station: StationDep, _: Inspecting) -> Response:
    """Returns Prometheus' text."""
    gate = station.judge.gate
    gauges = {
        "nfbmr_pictures_in_work": ("Pictures in work now.", float(gate.inside)),
        "nfbmr_pictures_in_work_limit": ("How many may be.", float(gate.most)),
        "nfbmr_models": ("Models on the line.", float(len(station.pool.all()))),
        "nfbmr_models_in_trouble": (
            "Model directories that cannot be loaded.",
            float(len(station.pool.troubles)),
        ),
    }
    return Response(station.judge.metrics.text(gauges), media_type=_TEXT)
