"""`/v1/models/{name}/drift`: whether the line has changed; a watch that begins anew."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from nfbmr.inspection.drift import findings, in_words
from nfbmr.station.api.forms import PROBLEMS
from nfbmr.station.api.inspect import ModelName
from nfbmr.station.deps import Administrating, Inspecting, StationDep
from nfbmr.station.services.drift import Watch
from nfbmr.station.text import PLAIN

router = APIRouter(tags=["drift"], responses=PROBLEMS)


class AlarmForm(BaseModel):
    """An alarm."""

    part: int = Field(description="Of the watch, counted from 1.")
    inspection: int = Field(description="Its number in the record.")
    statistic: str = Field(description="What changed most; `defects` of the second alarm.")
    higher: bool


class DriftForm(BaseModel):
    """What a watch over a line found."""

    changed: bool = Field(description="Whether either alarm was raised.")
    alarm: AlarmForm | None = Field(description="Accepted parts are other than before.")
    defects_alarm: AlarmForm | None = Field(description="The share of defects went up.")
    level: float = Field(description="Probability of a false alarm at most, of each of the two.")
    level_holds: bool = Field(description="False where neighbours are too alike to promise it.")
    since: str | None = Field(description="When the watch began, UTC; null before its first part.")
    behind: bool = Field(
        description="Whether later parts are still read again, as for a while after a start: ask "
        "again; all else is of the parts before them."
    )
    parts: int
    compared: int = Field(description="Of them, those below the highest good pictures' scores.")
    left_out: int = Field(description="Parts recorded without what is watched.")
    calibrating: int = Field(description="Good pictures that they were compared with at first.")
    streams: int = Field(description="Every so-manyth part is in one stream.")
    runs: int = Field(description="How often the streams were chosen since the watch began.")
    seed: int
    evidence: dict[str, float] = Field(description="Of each statistic; 1 raises the alarm.")
    defects_evidence: float
    apart: dict[str, float] = Field(
        description="Where the last parts lie among the good pictures, 0.5 being the middle, of "
        "statistics where that is far off: without guarantee."
    )
    words: list[str] = Field(description="All this in sentences.")


class Reason(BaseModel):
    """Why a watch begins anew."""

    reason: str = Field(min_length=1, max_length=2000, pattern=PLAIN)


@router.get("/v1/models/{name}/drift", summary="Whether the line has changed")
def drift(station: StationDep, _: Inspecting, name: ModelName) -> DriftForm:
    """Compares the parts since the watch began with the good pictures and with one another."""
    return _form(station.drift.of(station.judge.model(name)))


@router.post("/v1/models/{name}/drift/reset", summary="Begin the watch anew")
def reset(station: StationDep, actor: Administrating, name: ModelName, wanted: Reason) -> DriftForm:
    """Forgets what was found, and begins with the next part."""
    return _form(station.drift.reset(station.judge.model(name), actor.name, wanted.reason))


def _form(watch: Watch) -> DriftForm:
    monitor = watch.monitor
    found = findings(monitor)
    for name, alarm in (("alarm", monitor.alarm), ("defects_alarm", monitor.defects_alarm)):
        if alarm is not None:
            found[name]["inspection"] = watch.inspection_of(alarm)
    since = None if watch.began is None else watch.began.time
    words, behind = in_words(monitor), watch.behind
    return DriftForm(**found, since=since, behind=behind, left_out=watch.left_out, words=words)
