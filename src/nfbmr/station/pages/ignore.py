"""The page *Ignore*, behind *Threshold*: areas drawn on a picture that count for no score.

Its state is its address: areas so far, and a corner where one was begun. The browser's own image
button says where it was pressed, so no script is needed.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import StringConstraints

from nfbmr.scoring.ignored import Area
from nfbmr.station.deps import Inspecting, StationDep
from nfbmr.station.pages import render
from nfbmr.station.pages.line import At
from nfbmr.station.pages.review import of_recalibration
from nfbmr.station.pages.threshold import AdminPage, FormModel, Model
from nfbmr.station.station import Station
from nfbmr.station.store import queries
from nfbmr.station.store.queries import Filter, Recorded
from nfbmr.station.text import PLAIN

router = APIRouter(include_in_schema=False)

Corner = tuple[float, float]
"""Of the picture: from above and from the left, as shares of height and width."""

_AREA = r"^[0-9.]{1,8}(,[0-9.]{1,8}){3}$"
_CORNER = r"^([0-9.]{1,8},[0-9.]{1,8})?$"
AreaText = Annotated[str, StringConstraints(pattern=_AREA)]
Areas = Annotated[list[AreaText], Query(max_length=50)]
Pressed = Annotated[int | None, Query(ge=0, le=10_000)]
Percent = Annotated[float | None, Query(ge=0, le=100, allow_inf_nan=False)]

_NEWEST = 200  # inspections among which a kept picture is looked for
_SMALL, _LARGE = 320, 800  # pixels that the style sheet gives the picture, on phones and elsewhere


def _press(
    small_x: Annotated[Pressed, Query(alias="small.x")] = None,
    small_y: Annotated[Pressed, Query(alias="small.y")] = None,
    large_x: Annotated[Pressed, Query(alias="large.x")] = None,
    large_y: Annotated[Pressed, Query(alias="large.y")] = None,
) -> tuple[float, float] | None:
    """Returns where the picture was pressed: x and y as shares of its width."""
    for width, x, y in ((_SMALL, small_x, small_y), (_LARGE, large_x, large_y)):
        if x is not None and y is not None:
            return x / width, y / width
    return None


def _typed(
    left: Percent = None, top: Percent = None, right: Percent = None, bottom: Percent = None
) -> list[Corner]:
    """Returns two corners that were given as numbers; none where they were not."""
    if left is None or top is None or right is None or bottom is None:
        return []
    return [(top / 100, left / 100), (bottom / 100, right / 100)]


@router.get("/threshold/ignore")
def ignore(
    request: Request,
    station: StationDep,
    actor: Inspecting,
    model: Model,
    press: Annotated[tuple[float, float] | None, Depends(_press)],
    typed: Annotated[list[Corner], Depends(_typed)],
    at: At = None,
    begun: bool = False,
    area: Areas = [],  # noqa: B006  # FastAPI copies it
    corner: Annotated[str, Query(pattern=_CORNER)] = "",
) -> HTMLResponse:
    """Shows the picture with the areas so far."""
    loaded = station.judge.model(model)
    row = _shown(station, loaded.name, at)
    areas = list(loaded.inspector.calibration.ignored)
    if begun:
        areas = [_area(one) for one in area]
    corners = [_corner(corner)] if corner else []
    if row is not None and press is not None:
        corners.append((_within(press[1] * row.width / row.height), _within(press[0])))
    for pair in (corners, typed):
        if len(pair) == 2:
            _add(areas, *pair)
    first = corners[0] if len(corners) == 1 else None
    said = [",".join(f"{number:.4f}" for number in one) for one in areas]
    fewer = {"model": model, "at": "" if row is None else row.id, "begun": 1, "area": said[:-1]}
    values: dict[str, Any] = {
        "row": row,
        "areas": areas,
        "said": said,
        "corner": first,
        "fewer": urlencode(fewer, True),
    }
    values |= of_recalibration(station, loaded)
    return render.page(request, actor, "ignore.html.j2", values)


def _shown(station: Station, model: str, at: int | None) -> Recorded | None:
    """Returns the inspection whose picture is drawn on, by default the newest; None without any."""
    if at is not None:
        row = station.store.read(queries.inspection, at)
        return row if row is not None and row.file is not None and row.model == model else None
    rows = station.store.read(queries.page, Filter(model=model), limit=_NEWEST)
    return next((row for row in rows if row.file is not None), None)


@router.post("/threshold/ignore")
def save(
    request: Request,
    station: StationDep,
    actor: AdminPage,
    model: FormModel,
    reason: Annotated[str, Form(min_length=1, max_length=2000, pattern=PLAIN)],
    area: Annotated[list[AreaText], Form(max_length=50)] = [],  # noqa: B006  # likewise
) -> HTMLResponse:
    """Begins to calibrate with these areas on parts that people confirmed as good."""
    loaded = station.judge.model(model)
    areas = tuple(_area(one) for one in area)
    station.recalibration.start(loaded, actor.name, reason.strip(), areas)
    values = of_recalibration(station, loaded)
    return render.page(request, actor, "_recalibration.html.j2", values)


def _add(areas: list[Area], one: Corner, other: Corner) -> None:
    (top, low), (left, right) = (sorted(pair) for pair in zip(one, other, strict=True))
    if top < low and left < right:
        areas.append((top, left, low, right))


def _area(said: str) -> Area:
    top, left, low, right = _numbers(said)
    return top, left, low, right


def _corner(said: str) -> Corner:
    top, left = _numbers(said)
    return top, left


def _numbers(said: str) -> list[float]:
    try:
        return [float(number) for number in said.split(",")]
    except ValueError:
        raise HTTPException(422, "area: shares of the picture were expected") from None


def _within(share: float) -> float:
    return min(1.0, max(0.0, share))
