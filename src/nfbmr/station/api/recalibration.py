"""`/v1/models/{name}/recalibration`: a model calibrated on parts that people confirmed as good."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field

from nfbmr.station.api.forms import PROBLEMS, Problem
from nfbmr.station.api.inspect import ModelName
from nfbmr.station.deps import Administrating, Inspecting, StationDep
from nfbmr.station.engine.pool import Loaded
from nfbmr.station.services.jobs import Job
from nfbmr.station.services.recalibrate import Recalibrated
from nfbmr.station.text import PLAIN

router = APIRouter(
    tags=["thresholds"],
    responses={
        **PROBLEMS,
        409: {
            "model": Problem,
            "description": "Too few parts are confirmed, or other work is done",
        },
    },
)


Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Recalibrate(BaseModel):
    """Why, and what is to count for no score."""

    reason: str = Field("", max_length=2000, pattern=PLAIN)
    areas: list[tuple[Share, Share, Share, Share]] | None = Field(
        None,
        max_length=50,
        description="To ignore: top, left, bottom, right as shares of the picture's sides; by "
        "default those of now, with [] none.",
    )


class RecalibrationForm(BaseModel):
    """A model that is calibrated on parts that people confirmed as good."""

    runs: bool = Field(description="Whether it is being done; ask again.")
    done: int = Field(description="Steps, two for each picture.")
    total: int
    trouble: str | None = Field(description="Why the thresholds are as they were.")
    in_force: bool = Field(
        description="Whether what came of it judges now; false once it was undone, or another "
        "threshold or model took its place."
    )
    used: int = Field(description="Pictures that calibrated.")
    known: int = Field(description="Left out, as the model learnt from them.")
    unreadable: int
    odd: int = Field(description="Of those that calibrated, called look or defect before.")
    odd_of_all: int = Field(description="Likewise of all parts of their time.")
    of_all: int = Field(description="How many those were.")
    picked_odd: bool = Field(
        description="Whether those are more odd ones than chance would choose: then the thresholds "
        "lie too high, and the rates are not those of the line."
    )
    said: list[str] = Field(description="What the calibration says of itself.")


@router.post(
    "/v1/models/{name}/recalibration", summary="Calibrate on parts that people confirmed as good"
)
def recalibrate(
    station: StationDep,
    actor: Administrating,
    name: ModelName,
    wanted: Recalibrate | None = None,
) -> RecalibrationForm:
    """Begins it; what comes of it is in force then, and asked for by GET."""
    asked = wanted or Recalibrate()
    areas = None if asked.areas is None else tuple(asked.areas)
    loaded = station.judge.model(name)
    job = station.recalibration.start(loaded, actor.name, asked.reason.strip(), areas)
    return _form(job, loaded)


@router.get("/v1/models/{name}/recalibration", summary="What came of it")
def recalibration(station: StationDep, _: Inspecting, name: ModelName) -> RecalibrationForm:
    """Returns how far the last one is, or what came of it."""
    loaded = station.judge.model(name)
    job = station.recalibration.last(name)
    if job is None:
        raise HTTPException(404, "nothing was recalibrated since the station's start")
    return _form(job, loaded)


def _form(job: Job, loaded: Loaded) -> RecalibrationForm:
    found = job.found if isinstance(job.found, Recalibrated) else None
    chosen = None if found is None else found.chosen
    return RecalibrationForm(
        runs=job.runs,
        done=job.done,
        total=job.total,
        trouble=job.trouble,
        in_force=found is not None and found.calibration == loaded.calibration,
        used=0 if found is None else found.used,
        known=0 if found is None else found.known,
        unreadable=0 if found is None else found.unreadable,
        odd=0 if chosen is None else chosen.odd,
        odd_of_all=0 if chosen is None else chosen.odd_of_all,
        of_all=0 if chosen is None else chosen.of_all,
        picked_odd=chosen is not None and chosen.for_odd,
        said=[] if found is None else list(found.said),
    )
