"""`/healthz`, `/readyz`, `/metrics`: for what watches over the station."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from nfbmr.errors import StationError
from nfbmr.station.api.forms import PROBLEMS, Problem, State
from nfbmr.station.deps import Anybody, Inspecting, StationDep
from nfbmr.station.services.metrics import ByLabel
from nfbmr.station.services.ready import troubles_of
from nfbmr.station.sources.rest import REST
from nfbmr.station.station import Station

router = APIRouter(tags=["health"], responses={400: PROBLEMS[400]})

Gauges = dict[str, tuple[str, float | ByLabel]]

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
    troubles = troubles_of(station.store, station.pool)
    if troubles:
        response.status_code = 503
        response.headers["Retry-After"] = _AGAIN_SECONDS
    return State(ready=not troubles, troubles=troubles, notes=_notes(station))


def _notes(station: Station) -> list[str]:
    """Says which sources and outputs fail; not why, as nobody is asked who reads this."""
    try:
        states = station.sources.states(last=False)
        failing = [one.name for one in states if one.failing and one.name != REST]
        waiting = {one.name: one.waiting for one in station.outputs.states() if one.failing}
    except StationError:
        return []
    return [
        *(f"source {name} is in trouble" for name in failing),
        *(f"output {name} is in trouble, {count} wait" for name, count in waiting.items()),
    ]


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
    gauges: Gauges = {
        "nfbmr_pictures_in_work": ("Pictures in work now.", float(gate.inside)),
        "nfbmr_pictures_in_work_limit": ("How many may be.", float(gate.most)),
        "nfbmr_models": ("Models on the line.", float(len(station.pool.all()))),
        "nfbmr_models_in_trouble": (
            "Model directories that cannot be loaded.",
            float(len(station.pool.troubles)),
        ),
    }
    text = station.judge.metrics.text(gauges | _of_sources_and_outputs(station))
    return Response(text, media_type=_TEXT)


def _of_sources_and_outputs(station: Station) -> Gauges:
    sources = {(("source", one.name),): one for one in station.sources.states(last=False)}
    outputs = {(("output", one.name),): one for one in station.outputs.states()}
    return {
        "nfbmr_source_alive": (
            "Whether pictures of a source would be judged now.",
            {labels: float(one.alive) for labels, one in sources.items()},
        ),
        "nfbmr_source_paused": (
            "Whether somebody had it pause.",
            {labels: float(one.paused) for labels, one in sources.items()},
        ),
        "nfbmr_output_alive": (
            "Whether the last try to tell was no failure.",
            {labels: float(not one.failing) for labels, one in outputs.items()},
        ),
        "nfbmr_output_waiting": (
            "Messages that are not delivered yet.",
            {labels: float(one.waiting) for labels, one in outputs.items()},
        ),
        "nfbmr_output_refused": (
            "Messages set aside: refused by the receiver, or not taken too often.",
            {labels: float(one.refused) for labels, one in outputs.items()},
        ),
        "nfbmr_output_given_up": (
            "Messages that were thrown away, ever.",
            {labels: float(one.given_up) for labels, one in outputs.items()},
        ),
    }
