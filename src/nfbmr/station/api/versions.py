"""`/v1/models/{name}/versions`, `.../comparison`, `.../version`: versions tried and put back."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field

from nfbmr.station.api.forms import PROBLEMS, Problem
from nfbmr.station.api.inspect import ModelName
from nfbmr.station.deps import Administrating, Inspecting, Reviewing, StationDep
from nfbmr.station.engine.pool import Loaded
from nfbmr.station.services.jobs import Job
from nfbmr.station.services.versions import LAST, Compared, Said
from nfbmr.station.text import PLAIN

router = APIRouter(
    tags=["versions"],
    responses={
        **PROBLEMS,
        409: {
            "model": Problem,
            "description": "Something else was changed meanwhile, or is at work",
        },
    },
)

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Named(BaseModel):
    """A version."""

    bundle: Hash = Field(description="SHA-256 that names what the model learnt.")
    calibration: Hash = Field(description="SHA-256 of its calibration.")


class StayForm(Named):
    """A version's time on the line."""

    runtime: str
    since: str = Field(description="UTC, ISO 8601.")
    until: str | None = Field(description="None of what is there.")
    actor: str = Field(description="Who put it there; `station` where it was found.")
    reason: str
    kept: bool = Field(description="Whether it can be put back.")


class Versions(BaseModel):
    """Which version was on the line from when to when, the newest first."""

    versions: list[StayForm]


class Wanted(Named):
    """A version that is to be compared with the one on the line."""

    last: int = Field(LAST, ge=1, le=500, description="Recorded parts, at most.")


class Switch(Named):
    """A version that is to be put on the line."""

    reason: str = Field(min_length=1, max_length=2000, pattern=PLAIN)


class SaidForm(BaseModel):
    """What a version says of a part."""

    verdict: Literal["good", "look", "defect"]
    score: float
    regions: list[dict[str, Any]]


class DifferingForm(BaseModel):
    """A recorded part of which two versions say different things."""

    id: int
    part_id: str
    recorded: Literal["good", "look", "defect"] = Field(description="The verdict of its time.")
    now: SaidForm = Field(description="By what is on the line.")
    then: SaidForm = Field(description="By the other.")


class ComparisonForm(BaseModel):
    """Two versions on the last recorded parts."""

    runs: bool = Field(description="Whether it is being done; ask again.")
    done: int = Field(description="Parts, so far.")
    total: int = Field(description="Of so many; 0 until that is known.")
    trouble: str | None = Field(description="Why nothing came of it.")
    now: Named | None = Field(description="What was on the line.")
    other: Named | None
    tried: int
    unkept: int = Field(description="Parts whose pictures are gone.")
    differing: list[DifferingForm]


@router.get("/v1/models/{name}/versions", summary="Which version was on the line, and when")
def versions(station: StationDep, _: Inspecting, name: ModelName) -> Versions:
    """Returns who put which version on the line, and why."""
    station.judge.model(name)
    return Versions(versions=[StayForm(**vars(stay)) for stay in station.line.history(name)])


@router.post("/v1/models/{name}/comparison", summary="Compare a version with the one on the line")
def compare(
    station: StationDep, actor: Reviewing, name: ModelName, wanted: Wanted
) -> ComparisonForm:
    """Begins to judge the last recorded parts by both; what comes of it is asked for by GET."""
    loaded = station.judge.model(name)
    job = station.line.compare(loaded, wanted.bundle, wanted.calibration, actor.name, wanted.last)
    return form_of(job)


@router.get("/v1/models/{name}/comparison", summary="What the comparison found")
def comparison(station: StationDep, _: Inspecting, name: ModelName) -> ComparisonForm:
    """Returns how far the last comparison is, or what it found."""
    station.judge.model(name)
    job = station.line.comparison(name)
    if job is None:
        raise HTTPException(404, "nothing was compared since the station's start")
    return form_of(job)


@router.post("/v1/models/{name}/version", summary="Put another version on the line")
def switch(station: StationDep, actor: Administrating, name: ModelName, wanted: Switch) -> Named:
    """Puts it into the model's directory and on the line; returns what is there."""
    loaded = station.judge.model(name)
    reason = wanted.reason.strip()
    new = station.line.switch(loaded, wanted.bundle, wanted.calibration, actor.name, reason)
    return _named(new)


@router.post("/v1/models/{name}/version/undo", summary="Take the last switch back")
def undo(station: StationDep, actor: Administrating, name: ModelName) -> Named:
    """Puts the version on the line that was there before; returns what is there."""
    return _named(station.line.undo(station.judge.model(name), actor.name))


def _named(loaded: Loaded) -> Named:
    return Named(bundle=loaded.bundle, calibration=loaded.calibration)


def form_of(job: Job) -> ComparisonForm:
    """Returns what is said of a comparison."""
    found = job.found if isinstance(job.found, Compared) else None
    return ComparisonForm(
        runs=job.runs,
        done=job.done,
        total=job.total,
        trouble=job.trouble,
        now=None if found is None else _pair(found.now),
        other=None if found is None else _pair(found.other),
        tried=0 if found is None else found.tried,
        unkept=0 if found is None else found.unkept,
        differing=[
            DifferingForm(
                id=one.recorded.id,
                part_id=one.recorded.part_id,
                recorded=one.recorded.verdict,
                now=_said(one.now),
                then=_said(one.then),
            )
            for one in (() if found is None else found.differing)
        ],
    )


def _pair(version: tuple[str, str]) -> Named:
    return Named(bundle=version[0], calibration=version[1])


def _said(one: Said) -> SaidForm:
    return SaidForm(verdict=one.verdict, score=one.score, regions=one.regions)
