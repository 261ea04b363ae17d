"""`/v1/learn`: products named, given good pictures, learnt, and put on the line."""

from __future__ import annotations

import logging
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from nfbmr.errors import NfbmrError
from nfbmr.station.api.forms import PROBLEMS, Problem
from nfbmr.station.api.inspect import pictures_body
from nfbmr.station.api.versions import ComparisonForm, form_of
from nfbmr.station.deps import Administrating, Inspecting, Reviewing, StationDep
from nfbmr.station.engine.pool import NAME
from nfbmr.station.intake import Taken, Upload, taken
from nfbmr.station.problems import said_of, status_of
from nfbmr.station.services.jobs import Job
from nfbmr.station.services.learn import Preset, Shown
from nfbmr.station.station import Station
from nfbmr.station.store.learnings import GoodPicture, Learning, State
from nfbmr.station.text import PLAIN

_log = logging.getLogger(__name__)

router = APIRouter(
    tags=["learn"],
    responses={
        **PROBLEMS,
        409: {"model": Problem, "description": "It is in a state that this does not go with"},
    },
)

Number = Annotated[int, Path(ge=1, le=2**62, description="A learning's `id`.")]
Which = Annotated[int, Path(ge=1, le=2**62, description="A picture's `id`.")]


class Named(BaseModel):
    """A product that is to be learnt."""

    name: str = Field(
        pattern=f"^{NAME}$", description="Of the product, and of its model on the line."
    )
    preset: Preset = "fast"


class ProgressForm(BaseModel):
    """How far a learning is."""

    stage: str = Field(description="In plain words.")
    done: int
    total: int = Field(description="Of the stage.")
    share: float = Field(description="Of all the work, 0 to 1.")
    left: float | None = Field(description="Seconds, from `time` on.")
    time: float = Field(description="When that was said: seconds since 1970.")


class LearningForm(BaseModel):
    """A product that is learnt, or is to be."""

    id: int
    name: str
    preset: str
    state: State
    created: str = Field(description="UTC, ISO 8601.")
    actor: str = Field(description="Who named it.")
    pictures: int = Field(description="How many it has.")
    asked: str | None = Field(description="When it was started, the last time.")
    before: int = Field(description="Learnings whose turn comes first, while it waits.")
    progress: ProgressForm | None
    trouble: str = Field(description="Why it failed, and what to do.")
    result: dict[str, Any] | None = Field(
        description="What was learnt: counts, scores of good pictures, thresholds, odd pictures."
    )
    placed: str | None = Field(description="When its model was put on the line.")
    on_line: bool = Field(
        description="Whether it is there now; false once another took its place, or it went."
    )


class Why(BaseModel):
    """Why a model gives way."""

    reason: str = Field("", max_length=2000, pattern=PLAIN)


class Learnings(BaseModel):
    """The newest learnings, the newest first."""

    learnings: list[LearningForm]
    trouble: str | None = Field(description="Why this machine cannot learn.")


class GoodPictureForm(BaseModel):
    """A good picture to learn from."""

    id: int
    name: str = Field(description="What its sender called it.")
    picture: str = Field(description="SHA-256 of its file.")
    pixels: str = Field(description="SHA-256 of its pixels, as in `result`.")
    bytes: int
    height: int
    width: int
    actor: str
    time: str


class RefusedPicture(BaseModel):
    """A picture that was not kept."""

    name: str
    error: str
    status: int = Field(description="What its answer would have been, had it come alone.")


class GoodPictures(BaseModel):
    """Pictures, in the order in which they came."""

    pictures: list[GoodPictureForm | RefusedPicture]


class Kept(BaseModel):
    """The pictures of a learning."""

    pictures: list[GoodPictureForm]


@router.get("/v1/learn", summary="Products that are learnt here")
def everything(station: StationDep, _: Inspecting) -> Learnings:
    """Returns the newest ones, and whether this machine can learn."""
    return Learnings(
        learnings=[_form(_brief(station, one), count) for one, count in station.learn.everything()],
        trouble=station.learn.trouble(),
    )


@router.post("/v1/learn", summary="Name a product", status_code=201)
def create(station: StationDep, actor: Reviewing, named: Named) -> LearningForm:
    """Begins a collection of good pictures; nothing is learnt yet."""
    made = station.learn.create(named.name, named.preset, actor.name)
    return _state(station, made.id)


@router.get("/v1/learn/{number}", summary="One of them")
def learning(station: StationDep, _: Inspecting, number: Number) -> LearningForm:
    """Returns its state: while it is learnt, how far it is; then what was learnt."""
    return _state(station, number)


@router.delete("/v1/learn/{number}", summary="Delete it", status_code=204)
def delete(station: StationDep, actor: Reviewing, number: Number) -> None:
    """Deletes its pictures, too; what was learnt needs the scope admin."""
    refuse_others_work(station, actor.may("admin"), number)
    station.learn.remove(number, actor.name)


@router.get("/v1/learn/{number}/pictures", summary="Its good pictures")
def pictures(station: StationDep, _: Inspecting, number: Number) -> Kept:
    """Returns what is known of each."""
    shown = station.learn.shown(number)
    return Kept(pictures=[_picture(one) for one in shown.pictures])


@router.post(
    "/v1/learn/{number}/pictures",
    summary="Add good pictures",
    responses={207: {"model": GoodPictures, "description": "Some pictures are not kept, and why"}},
    openapi_extra=pictures_body(),
)
async def add(
    request: Request, response: Response, station: StationDep, actor: Reviewing, number: Number
) -> GoodPictures:
    """Keeps one picture (the body itself), or several (`files` of a form).

    Each has its outcome in its place: 200 where all are kept, 207 where some are not, an error
    where none is.
    """
    await run_in_threadpool(station.learn.get, number)
    async with taken(request, station) as found:
        outcomes = await added(station, found, number, actor.name)
    errors = [one for one in outcomes if isinstance(one, Exception)]
    if len(errors) == len(outcomes):
        raise errors[0]
    if errors:
        response.status_code = 207
    return GoodPictures(
        pictures=[
            _refused(one, upload) if isinstance(one, Exception) else _picture(one)
            for one, upload in zip(outcomes, found.uploads, strict=True)
        ]
    )


async def added(
    station: Station, found: Taken, number: int, actor: str
) -> list[GoodPicture | Exception]:
    """Keeps a request's pictures; each has its outcome, in their order."""
    outcomes: list[GoodPicture | Exception] = []
    for upload in found.uploads:
        try:
            data = await upload.data()
            outcomes.append(await station.learn.add(number, upload.name, data, actor))
        except Exception as error:  # the others are kept, and are told
            if not isinstance(error, NfbmrError | OSError):
                _log.exception("a picture was not kept")
            station.judge.metrics.count("nfbmr_learning_refused_total")
            outcomes.append(error)
    return outcomes


@router.delete(
    "/v1/learn/{number}/pictures/{picture}", summary="Take a picture out", status_code=204
)
def drop(station: StationDep, actor: Reviewing, number: Number, picture: Which) -> None:
    """Deletes it; of what was learnt that needs the scope admin."""
    refuse_others_work(station, actor.may("admin"), number)
    station.learn.drop(number, picture, actor.name)


@router.post("/v1/learn/{number}/start", summary="Learn it")
def start(station: StationDep, actor: Administrating, number: Number) -> LearningForm:
    """Has it learnt in a process of its own, when its turn comes."""
    station.learn.start(number, actor.name)
    return _state(station, number)


@router.post("/v1/learn/{number}/cancel", summary="Stop learning it")
def cancel(station: StationDep, actor: Administrating, number: Number) -> LearningForm:
    """Stops it, or takes it out of those that wait; the pictures stay."""
    station.learn.cancel(number, actor.name)
    return _state(station, number)


@router.post("/v1/learn/{number}/comparison", summary="Compare it with what is on the line")
def compare(station: StationDep, actor: Reviewing, number: Number) -> ComparisonForm:
    """Begins to judge the last parts by what was learnt and by the model that it would replace."""
    return form_of(begun_comparison(station, actor.name, number))


@router.get("/v1/learn/{number}/comparison", summary="What the comparison found")
def comparison(station: StationDep, _: Inspecting, number: Number) -> ComparisonForm:
    """Returns how far the last one is, or what it found."""
    job = comparison_of(station, station.learn.get(number))
    if job is None:
        raise HTTPException(404, "nothing was compared since it was learnt or the station started")
    return form_of(job)


def begun_comparison(station: Station, actor: str, number: int) -> Job:
    """Begins to compare what was learnt with the model of its name on the line.

    Raises:
        NfbmrError: there is no such model, nothing is learnt, or other work is being done.
    """
    found, model = station.learn.learnt(number)
    loaded = station.judge.model(found.name)
    return station.line.compare_learnt(loaded, model, _called(found), actor)


def comparison_of(station: Station, found: Learning) -> Job | None:
    """Returns the last comparison with what was learnt last."""
    return station.line.comparison_with(found.name, _called(found))


def _called(found: Learning) -> str:
    return f"{found.id} {found.asked}"


@router.post("/v1/learn/{number}/line", summary="Put it on the line")
def put_on_line(
    station: StationDep, actor: Administrating, number: Number, why: Why | None = None
) -> LearningForm:
    """Copies the model to the folder of models, where it judges at once.

    Where a model of this name is on the line it gives way, and a `reason` is demanded.
    """
    station.learn.put_on_line(number, actor.name, "" if why is None else why.reason.strip())
    return _state(station, number)


def refuse_others_work(station: Station, admin: bool, number: int) -> None:
    """Lets reviewers delete, or take pictures out of, what was never learnt, and nothing else.

    Raises:
        HTTPException: 403.
    """
    if not admin and station.learn.get(number).state != "collecting":
        raise HTTPException(
            403,
            "it was learnt, or was to be: deleting it, or pictures of it, needs the scope admin",
        )


def _state(station: Station, number: int) -> LearningForm:
    shown = station.learn.shown(number)
    return _form(shown, len(shown.pictures))


def _brief(station: Station, found: Learning) -> Shown:
    on_line = station.learn.is_on_line(found)
    return Shown(learning=found, pictures=[], before=0, on_line=on_line)


def _form(shown: Shown, count: int) -> LearningForm:
    found = shown.learning
    known = {name: value for name, value in vars(found).items() if name in _OF_LEARNING}
    progress = None
    if found.state in ("learning", "stopping") and found.progress is not None:
        progress = ProgressForm(**{name: found.progress[name] for name in _OF_PROGRESS})
    of_shown = {"before": shown.before, "on_line": shown.on_line, "progress": progress}
    return LearningForm(**known, pictures=count, **of_shown)


_OF_LEARNING = set(LearningForm.model_fields) - {"pictures", "before", "on_line", "progress"}
_OF_PROGRESS = set(ProgressForm.model_fields)
_OF_PICTURE = set(GoodPictureForm.model_fields)


def _picture(one: GoodPicture) -> GoodPictureForm:
    return GoodPictureForm(**{name: getattr(one, name) for name in _OF_PICTURE})


def _refused(error: Exception, upload: Upload) -> RefusedPicture:
    return RefusedPicture(name=upload.name, error=said_of(error), status=status_of(error))
