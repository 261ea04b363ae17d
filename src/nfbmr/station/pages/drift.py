"""The page *Drift*: has the line changed, in what, since when; and a watch that begins anew."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse

from nfbmr.inspection.drift import WORDS, changed_how, in_words
from nfbmr.scoring.drift import BLOCK, STEP
from nfbmr.station.auth import Actor
from nfbmr.station.deps import Inspecting, Needs, StationDep
from nfbmr.station.engine.pool import Loaded
from nfbmr.station.pages import charts, render
from nfbmr.station.services.drift import Watch
from nfbmr.station.station import Station
from nfbmr.station.text import PLAIN

router = APIRouter(include_in_schema=False)

Model = Annotated[str, Query(max_length=100, pattern=PLAIN)]
AdminPage = Annotated[Actor, Depends(Needs("admin", page=True))]


@router.get("/drift")
def drift(
    request: Request, station: StationDep, actor: Inspecting, model: Model = ""
) -> HTMLResponse:
    """Shows the watch over a model."""
    everyone = station.pool.all()
    if not everyone:
        return render.page(request, actor, "drift.html.j2", {"loaded": None})
    loaded = station.judge.model(model or everyone[0].name)
    values = _values(loaded, station.drift.of(loaded))
    return render.page(request, actor, "drift.html.j2", values)


@router.post("/drift/reset")
def reset(
    request: Request,
    station: StationDep,
    actor: AdminPage,
    model: Annotated[str, Form(max_length=100, pattern=PLAIN)],
    reason: Annotated[str, Form(min_length=1, max_length=2000, pattern=PLAIN)],
) -> HTMLResponse:
    """Begins it anew."""
    loaded = station.judge.model(model)
    values = _values(loaded, _reset(station, loaded, actor, reason))
    return render.page(request, actor, "_drift.html.j2", values)


def _reset(station: Station, loaded: Loaded, actor: Actor, reason: str) -> Watch:
    return station.drift.reset(loaded, actor.name, reason.strip())


def _values(loaded: Loaded, watch: Watch) -> dict[str, Any]:
    monitor = watch.monitor
    at = [alarm.number for alarm in watch.alarms().values()]
    parts = monitor.parts
    lately = monitor.lately[:]
    numbers = np.array([number for number, _ in lately], np.int32)
    names = [WORDS[name] for name in monitor.reference.names]
    places = np.array([row for _, row in lately], np.float64).reshape(len(lately), len(names))
    shares = np.array(monitor.defect_counts[:]) / BLOCK
    blocks = np.arange(1, len(shares) + 1, dtype=np.int32) * BLOCK
    most = max(0.05, 1.1 * float(shares.max(initial=0)))
    evidence = np.array(monitor.trail[:parts], np.float32)  # of a copy: the trail grows
    return {
        "loaded": loaded,
        "watch": watch,
        "monitor": monitor,
        "words": in_words(monitor),
        "changed_how": changed_how,
        "names": names,
        "evidence": charts.lines(
            {"": (np.arange(1, parts + 1, dtype=np.int32), evidence)}, (0, 1.25), parts, marks=at
        ),
        "lately": charts.lines(
            {name: (numbers, places[:, q]) for q, name in enumerate(names)},
            (0, 1),
            parts,
        ),
        "band": monitor.band,
        "defects": charts.lines({"": (blocks, shares)}, (0, most), parts),
        "most_share": most,
        "size": (charts.WIDTH, charts.HEIGHT),
        "BLOCK": BLOCK,
        "STEP": STEP,
        "NAMES": WORDS,
    }
