"""The page *Learn*: a product from its name and good pictures to a model on the line."""

from __future__ import annotations

import hashlib
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

from nfbmr.station.api.learn import (
    Number,
    Which,
    added,
    begun_comparison,
    comparison_of,
    refuse_others_work,
)
from nfbmr.station.auth import Actor
from nfbmr.station.deps import Inspecting, Needs, StationDep
from nfbmr.station.engine.pool import NAME
from nfbmr.station.intake import taken
from nfbmr.station.pages import charts, render
from nfbmr.station.pages.models import SHOWN
from nfbmr.station.pages.small import SmallPictures
from nfbmr.station.services import heat
from nfbmr.station.services.learn import FEWEST, PRESETS, WANTED, Preset, Shown
from nfbmr.station.services.versions import Compared
from nfbmr.station.station import Station
from nfbmr.station.store.learnings import AT_REST, AT_WORK, SAID, Learning
from nfbmr.station.text import PLAIN

router = APIRouter(include_in_schema=False)

ReviewingPage = Annotated[Actor, Depends(Needs("review", page=True))]
AdminPage = Annotated[Actor, Depends(Needs("admin", page=True))]
Name = Annotated[str, Form(pattern=f"^{NAME}$")]
FormPreset = Annotated[Preset, Form()]

_KEPT = {"Cache-Control": "private, max-age=86400, immutable"}
_FIRST = 120  # pictures that are shown until all are asked for


@router.get("/learn")
def everything(request: Request, station: StationDep, actor: Inspecting) -> HTMLResponse:
    """Shows all products that are learnt here."""
    learnings = station.learn.everything()
    values = {
        "learnings": learnings,
        "on_line": {one.id for one, _ in learnings if station.learn.is_on_line(one)},
        "STATES": SAID,
        "PRESETS": PRESETS,
        "NAME": NAME,
        "WANTED": WANTED,
        "trouble": station.learn.trouble(),
    }
    return render.page(request, actor, "learn.html.j2", values)


@router.post("/learn")
def create(
    station: StationDep, actor: ReviewingPage, name: Name, preset: FormPreset = "fast"
) -> Response:
    """Names a product, and leads to its page."""
    made = station.learn.create(name, preset, actor.name)
    return Response(headers={"HX-Redirect": f"/learn/{made.id}"})


@router.get("/learn/{number}")
def learning(
    request: Request, station: StationDep, actor: Inspecting, number: Number
) -> HTMLResponse:
    """Shows one product."""
    return _page(request, station, actor, number, "learning.html.j2")


@router.get("/learn/{number}/part")
def part(
    request: Request,
    station: StationDep,
    actor: Inspecting,
    number: Number,
    every: Annotated[bool, Query()] = False,
    known: Annotated[str, Query(max_length=64, pattern=PLAIN)] = "",
) -> Response:
    """Shows what of it changes; nothing where that is known already."""
    shown = station.learn.shown(number)
    if known and _version(shown) == known:
        return Response(status_code=204)
    values = _values(station, shown, every=every)
    return render.page(request, actor, "_learning.html.j2", values)


@router.post("/learn/{number}/picture")
async def picture(
    request: Request, station: StationDep, actor: ReviewingPage, number: Number
) -> Response:
    """Keeps one good picture."""
    async with taken(request, station) as found:
        (outcome,) = await added(station, found.first(), number, actor.name)
    if isinstance(outcome, Exception):
        raise outcome
    return Response(status_code=204)


@router.post("/learn/{number}/picture/{which}/delete")
def drop(
    request: Request, station: StationDep, actor: ReviewingPage, number: Number, which: Which
) -> HTMLResponse:
    """Takes a picture out."""
    refuse_others_work(station, actor.may("admin"), number)
    station.learn.drop(number, which, actor.name)
    return _page(request, station, actor, number, "_learning.html.j2")


@router.post("/learn/{number}/start")
def start(request: Request, station: StationDep, actor: AdminPage, number: Number) -> HTMLResponse:
    """Has it learnt when its turn comes."""
    station.learn.start(number, actor.name)
    return _page(request, station, actor, number, "_learning.html.j2")


@router.post("/learn/{number}/cancel")
def cancel(request: Request, station: StationDep, actor: AdminPage, number: Number) -> HTMLResponse:
    """Stops it."""
    station.learn.cancel(number, actor.name)
    return _page(request, station, actor, number, "_learning.html.j2")


@router.get("/learn/{number}/comparison")
def comparison(
    request: Request, station: StationDep, actor: Inspecting, number: Number
) -> HTMLResponse:
    """Shows how far a comparison with what is on the line is, or what it found."""
    values = _of_comparison(station, station.learn.get(number))
    return render.page(request, actor, "_against.html.j2", values)


@router.post("/learn/{number}/comparison")
def compare(
    request: Request, station: StationDep, actor: ReviewingPage, number: Number
) -> HTMLResponse:
    """Begins one."""
    begun_comparison(station, actor.name, number)
    values = _of_comparison(station, station.learn.get(number))
    return render.page(request, actor, "_against.html.j2", values)


@router.post("/learn/{number}/line")
def put_on_line(
    request: Request,
    station: StationDep,
    actor: AdminPage,
    number: Number,
    reason: Annotated[str, Form(max_length=2000, pattern=PLAIN)] = "",
) -> HTMLResponse:
    """Puts what was learnt on the line."""
    station.learn.put_on_line(number, actor.name, reason.strip())
    return _page(request, station, actor, number, "_learning.html.j2")


@router.post("/learn/{number}/delete")
def delete(station: StationDep, actor: ReviewingPage, number: Number) -> Response:
    """Deletes it, and leads to those that are left."""
    refuse_others_work(station, actor.may("admin"), number)
    station.learn.remove(number, actor.name)
    return Response(headers={"HX-Redirect": "/learn"})


@router.get("/learn/{number}/picture/{which}")
async def shown_picture(
    request: Request,
    station: StationDep,
    _: Inspecting,
    number: Number,
    which: Which,
    side: Annotated[Literal["240", "1280"], Query()] = "240",
) -> Response:
    """Returns a good picture as JPEG."""
    found, one = await run_in_threadpool(station.learn.picture, number, which)
    small: SmallPictures = request.app.state.small
    key = (one.picture, None, int(side))
    data = await small.get(key, lambda: station.learn.read(found, one))
    if data is None:
        raise HTTPException(404, "the picture is gone")
    return Response(data, media_type="image/jpeg", headers=_KEPT)


@router.get("/learn/{number}/heat/{which}")
def shown_heat(station: StationDep, _: Inspecting, number: Number, which: Which) -> Response:
    """Returns its first heatmap, to lay over it."""
    png = heat.drawn(station.learn.heat(number, which))
    return Response(png, media_type="image/png")


def _page(
    request: Request,
    station: Station,
    actor: Actor,
    number: int,
    template: str,
) -> HTMLResponse:
    values = _values(station, station.learn.shown(number), every=False)
    return render.page(request, actor, template, values)


def _values(station: Station, shown: Shown, *, every: bool) -> dict[str, Any]:
    found = shown.learning
    return {
        "trouble": station.learn.trouble(),
        "on_line": shown.on_line,
        "version": _version(shown),
        "every": every,
        "found": found,
        "pictures": shown.pictures if every else shown.pictures[:_FIRST],
        "count": len(shown.pictures),
        "before": shown.before,
        "at_rest": found.state in AT_REST,
        "startable": shown.startable,
        "FEWEST": FEWEST,
        "WANTED": WANTED,
        "STATES": SAID,
        "left": _left(found.progress),
        **_of_comparison(station, found),
    } | _of_result(shown)


def _of_comparison(station: Station, found: Learning) -> dict[str, Any]:
    """Returns what `_against.html.j2` shows."""
    loaded = station.pool.get(found.name)
    job = comparison_of(station, found)
    compared = None if job is None or not isinstance(job.found, Compared) else job.found
    there = None if loaded is None else (loaded.bundle, loaded.calibration)
    if compared is not None and compared.now != there:
        job = compared = None  # of what is not on the line any more
    return {
        "found": found,
        "replaces": loaded is not None,
        "job": job,
        "compared": compared,
        "shown": [] if compared is None else compared.differing[:SHOWN],
    }


def _version(shown: Shown) -> str:
    """Names what a page shows of it; empty while it is learnt: the time left goes on by itself."""
    found = shown.learning
    if found.state in AT_WORK:
        return ""
    parts = (found.state, found.asked, found.placed, shown.on_line, shown.before)
    pictures = [one.id for one in shown.pictures]
    return hashlib.sha256(repr((parts, pictures)).encode()).hexdigest()


def _left(progress: dict[str, Any] | None) -> float | None:
    """Returns how many seconds are left now, of what was said a while ago."""
    if progress is None or progress["left"] is None:
        return None
    since = time.time() - float(progress["time"])
    return max(0.0, float(progress["left"]) - max(0.0, since))


def _of_result(shown: Shown) -> dict[str, Any]:
    result = shown.learning.result
    if result is None:
        return {"result": None}
    known = {one.pixels: one for one in shown.pictures}
    marks = (result["threshold"], result["look_threshold"])
    return {
        "result": result,
        "chart": charts.histogram(result["scores"], marks),
        "size": (charts.WIDTH, charts.HEIGHT),
        "odd": [(known.get(one["picture"]), one) for one in result["odd"]],
        "heats": [(known[one["pixels"]], one) for one in result["heats"] if one["pixels"] in known],
    }
