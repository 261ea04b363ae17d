"""`/v1/models/{name}/threshold`, `/v1/events`: thresholds tried, saved and undone; the changes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from nfbmr.scoring.odd import name_of, odd_ones
from nfbmr.station.api.forms import PROBLEMS, Problem
from nfbmr.station.api.inspect import ModelName
from nfbmr.station.deps import Administrating, Inspecting, Reviewing, StationDep
from nfbmr.station.services.threshold import Proposal
from nfbmr.station.store import queries
from nfbmr.station.text import PLAIN

router = APIRouter(
    tags=["thresholds"],
    responses={
        **PROBLEMS,
        409: {"model": Problem, "description": "Something else was changed meanwhile"},
    },
)

Rate = Annotated[float, Query(ge=1e-6, le=0.99, description="A share of good parts.")]


class OtherwiseForm(BaseModel):
    """A recorded part that would be judged otherwise."""

    id: int
    part_id: str
    before: str
    after: str


class OddForm(BaseModel):
    """A good picture that calibrates, and lies far above the others."""

    picture: str = Field(description="SHA-256 of its pixels.")
    name: str = Field(description="What it is called, as far as that is known.")
    score: float
    without: float = Field(description="The threshold without it, on the scale in force.")


class ThresholdForm(BaseModel):
    """What two rates mean."""

    false_alarm_rate: float = Field(description="Asked share of good parts called defects.")
    look_rate: float = Field(description="Asked share that reaches a person, those among them.")
    expected_rate: float = Field(description="Of false alarms, as the good pictures attain it.")
    interval: tuple[float, float] = Field(description="95 % interval of the true rate.")
    extrapolated: bool = Field(description="Whether there are too few good pictures for the rate.")
    expected_look_rate: float = Field(description="Of what reaches a person, likewise.")
    look_interval: tuple[float, float] = Field(description="95 % interval of that true rate.")
    look_extrapolated: bool = Field(description="Likewise of the look rate.")
    defect_above: float = Field(description="On the scale that is in force before.")
    look_above: float
    tried: int = Field(description="Recorded parts that it was tried on.")
    incomparable: int = Field(description="Those whose scores stand on other scales.")
    otherwise: list[OtherwiseForm]
    odd: list[OddForm] = Field(description="Of those that calibrate now; see `.../without`.")
    ignored: list[tuple[float, float, float, float]] = Field(
        description="Areas that count for no score: top, left, bottom, right, as shares."
    )


class Wanted(BaseModel):
    """Thresholds to put in force."""

    false_alarm_rate: float = Field(ge=1e-6, le=0.99, allow_inf_nan=False)
    look_rate: float = Field(ge=1e-6, le=0.99, allow_inf_nan=False)
    reason: str = Field(min_length=1, max_length=2000, pattern=PLAIN)


class Without(BaseModel):
    """A good picture that is to have no part in the thresholds."""

    picture: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of its pixels.")
    reason: str = Field("", max_length=2000, pattern=PLAIN)


class EventForm(BaseModel):
    """A change, with its place in the chain."""

    number: int
    time: str
    kind: str
    subject: str
    actor: str
    old: dict[str, Any] | None
    new: dict[str, Any] | None
    reason: str
    previous: str
    hash: str


class Events(BaseModel):
    """Changes, the newest first."""

    events: list[EventForm]
    next: int | None = Field(description="Give it as `before` for the following page.")


@router.get("/v1/models/{name}/threshold", summary="What other rates would mean")
def threshold(
    station: StationDep,
    _: Inspecting,
    name: ModelName,
    false_alarm_rate: Rate | None = None,
    look_rate: Rate | None = None,
) -> ThresholdForm:
    """Tries rates, by default those in force, on the last recorded parts; changes nothing."""
    loaded = station.judge.model(name)
    now = loaded.inspector.calibration
    rate = now.false_alarm_rate if false_alarm_rate is None else false_alarm_rate
    look = now.look_rate if look_rate is None else look_rate
    return _form(station.thresholds.propose(loaded, rate, look))


@router.post("/v1/models/{name}/threshold", summary="Put thresholds in force")
def save(
    station: StationDep, actor: Administrating, name: ModelName, wanted: Wanted
) -> ThresholdForm:
    """Writes them into the model directory and the record."""
    loaded = station.judge.model(name)
    proposal = station.thresholds.propose(loaded, wanted.false_alarm_rate, wanted.look_rate)
    station.thresholds.save(loaded, proposal, actor.name, wanted.reason)
    return _form(proposal)


@router.post("/v1/models/{name}/threshold/undo", summary="Take the last change back")
def undo(station: StationDep, actor: Administrating, name: ModelName) -> ThresholdForm:
    """Puts those in force that were there before the last change of this kind."""
    new = station.thresholds.undo(station.judge.model(name), actor.name)
    now = new.inspector.calibration
    return _form(station.thresholds.propose(new, now.false_alarm_rate, now.look_rate))


@router.post("/v1/models/{name}/threshold/without", summary="Leave a good picture out")
def leave_out(
    station: StationDep, actor: Administrating, name: ModelName, wanted: Without
) -> ThresholdForm:
    """Takes a good picture's part in the thresholds; `undo` brings it back."""
    loaded = station.judge.model(name)
    reason = wanted.reason.strip()
    new = station.thresholds.leave_out(loaded, wanted.picture, actor.name, reason)
    now = new.inspector.calibration
    return _form(station.thresholds.propose(new, now.false_alarm_rate, now.look_rate))


@router.get("/v1/events", summary="What was changed, by whom and why")
def events(
    station: StationDep,
    _: Reviewing,
    before: Annotated[int | None, Query(ge=1, le=2**62, description="Events before it.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Events:
    """Returns changes by number, the newest first."""
    found = station.store.read(queries.events, before=before, limit=limit)
    return Events(
        events=[EventForm(**vars(event)) for event in found],
        next=found[-1].number if len(found) == limit else None,
    )


def _form(proposal: Proposal) -> ThresholdForm:
    calibration = proposal.calibration
    return ThresholdForm(
        false_alarm_rate=calibration.false_alarm_rate,
        look_rate=calibration.look_rate,
        expected_rate=calibration.attainable_rate,
        interval=calibration.rate_interval(),
        extrapolated=calibration.extrapolated,
        expected_look_rate=calibration.for_person.expected,
        look_interval=calibration.for_person.interval(),
        look_extrapolated=calibration.for_person.extrapolated,
        defect_above=proposal.defect_at,
        look_above=proposal.look_at,
        tried=proposal.tried,
        incomparable=proposal.incomparable,
        otherwise=[
            OtherwiseForm(
                id=one.recorded.id,
                part_id=one.recorded.part_id,
                before=one.recorded.verdict,
                after=one.verdict,
            )
            for one in proposal.otherwise
        ],
        odd=[
            OddForm(
                picture=one.picture,
                name=name_of(proposal.before, one.picture),
                score=one.score,
                without=one.without,
            )
            for one in odd_ones(proposal.before, proposal.inspector.settings.scoring)
        ],
        ignored=list(proposal.before.ignored),
    )
