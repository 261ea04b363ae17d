"""`/v1/sources`, `/v1/outputs`: what brings pictures by itself, and who is told of verdicts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from nfbmr.station.api.forms import PROBLEMS, Verdict
from nfbmr.station.deps import Inspecting, Reviewing, StationDep
from nfbmr.station.sources.all import Fares
from nfbmr.station.station import Station
from nfbmr.station.text import PLAIN

router = APIRouter(tags=["sources and outputs"], responses=PROBLEMS)

SourceName = Annotated[str, Path(max_length=40, description="As `/v1/sources` says it.")]
Reason = Annotated[str, Query(max_length=2000, pattern=PLAIN)]


class SourceForm(BaseModel):
    """A watched folder, a camera, or `rest`: whoever sends pictures by requests."""

    name: str = Field(description="Also the `source` of its inspections.")
    model: str = Field(description="Empty of `rest`, which is for all.")
    address: str
    alive: bool = Field(description="Whether pictures of it would be judged now.")
    paused: bool
    failing: bool = Field(description="Whether something hinders it now.")
    error: str = Field(description="The last trouble; empty without any.")
    error_at: str | None
    last_inspection: int | None
    last_at: str | None


class SourcesForm(BaseModel):
    """Those that the station was started with, then `rest`."""

    sources: list[SourceForm]


class OutputForm(BaseModel):
    """A webhook or a broker."""

    name: str
    tells: str = Field(description="`defect`, `all`, or `nothing` where it is not there any more.")
    address: str
    waiting: int = Field(description="Messages that are not delivered yet.")
    oldest: str | None = Field(description="Time of the oldest of them.")
    refused: int = Field(
        description="Set aside: refused, or not taken too often; tried again at the next start."
    )
    given_up: int = Field(description="Thrown away, as too much waited, or too long.")
    delivered_at: str | None
    failing: bool = Field(description="Whether the last try failed.")
    error: str = Field(description="The last trouble; empty without any.")
    error_at: str | None


class OutputsForm(BaseModel):
    """Who is told."""

    outputs: list[OutputForm]


@router.get("/v1/sources", summary="Where pictures come from")
def sources(station: StationDep, _: Inspecting) -> SourcesForm:
    """Returns watched folders, cameras and REST, and how they fare."""
    return SourcesForm(sources=[_form(fares) for fares in station.sources.states()])


@router.post("/v1/sources/{name}/pause", summary="Have a source pause")
def pause(
    station: StationDep, actor: Reviewing, name: SourceName, reason: Reason = ""
) -> SourceForm:
    """Stops it after the pictures in work; it stays so across restarts. REST then answers 503."""
    station.sources.get(name).pause(True, actor.name, reason)
    return _one(station, name)


@router.post("/v1/sources/{name}/resume", summary="Have a source go on")
def resume(
    station: StationDep, actor: Reviewing, name: SourceName, reason: Reason = ""
) -> SourceForm:
    """Ends a pause."""
    station.sources.get(name).pause(False, actor.name, reason)
    return _one(station, name)


@router.post("/v1/sources/{name}/test", summary="Take one picture for a look")
async def test(station: StationDep, actor: Inspecting, name: SourceName) -> Verdict:
    """Judges one picture of a source, paused or not; nothing of it is recorded.

    Of REST it is the newest one that came so.
    """
    source = station.sources.get(name)
    with station.judge.gate.passed():
        _, found, _ = await source.test(actor.name)
    return Verdict.of(found)


@router.get("/v1/outputs", summary="Who is told of verdicts")
def outputs(station: StationDep, _: Inspecting) -> OutputsForm:
    """Returns the outputs, and what waits for them."""
    return OutputsForm(outputs=[OutputForm(**asdict(one)) for one in station.outputs.states()])


def _one(station: Station, name: str) -> SourceForm:
    return next(_form(fares) for fares in station.sources.states() if fares.name == name)


def _form(fares: Fares) -> SourceForm:
    return SourceForm(
        name=fares.name,
        model=fares.model,
        address=fares.address,
        alive=fares.alive,
        paused=fares.paused,
        failing=fares.failing,
        error=fares.error,
        error_at=fares.error_at,
        last_inspection=None if fares.last is None else fares.last.id,
        last_at=None if fares.last is None else fares.last.time,
    )
