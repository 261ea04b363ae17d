"""Areas to ignore, drawn on a picture by two corners; buttons of *Review* and *Threshold*."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from nfbmr.station.app import create_app
from nfbmr.station.pages import ignore, render
from nfbmr.station.settings import StationSettings
from nfbmr.station.station import Station

Encoded = Callable[..., bytes]
Settings = Callable[..., StationSettings]
NAME = "model-copy"
PAGE = "/threshold/ignore"


@pytest.fixture
def line(settings: Settings, model_copy: Path) -> Iterator[Station]:
    """A station with a model that a test may change."""
    with Station(settings(models=(model_copy,))) as station:
        yield station


@pytest.fixture
def user(line: Station) -> TestClient:
    """Asks that station as its page does."""
    client = TestClient(create_app(line), base_url="http://127.0.0.1")
    key = re.search(r'data-form-key="(\w+)"', client.get("/inspect").text)
    assert key is not None
    client.headers["X-Form-Key"] = key[1]
    return client


def areas_in(text: str) -> list[str]:
    form = text.partition('aria-label="Draw"')[2].partition("</form>")[0]
    return re.findall(r'name="area" value="([^"]+)"', form)


def corner_in(text: str) -> str | None:
    found = re.search(r'name="corner" value="([^"]+)"', text)
    return None if found is None else found[1]


def test_two_corners_make_an_area(user: TestClient, png: Encoded) -> None:
    assert "No picture is kept" in user.get(f"{PAGE}?model={NAME}").text
    user.post(f"/v1/models/{NAME}/inspect", content=png(1, size=(40, 80)))  # H x W
    first = user.get(PAGE, params={"model": NAME, "begun": 1, "large.x": 600, "large.y": 100}).text
    assert areas_in(first) == []
    assert corner_in(first) == "0.2500,0.7500"
    asked: dict[str, Any] = {
        "model": NAME,
        "begun": 1,
        "corner": "0.2500,0.7500",
        "small.x": 80,
        "small.y": 0,
    }
    second = user.get(PAGE, params=asked).text
    assert areas_in(second) == ["0.0000,0.2500,0.2500,0.7500"]
    assert corner_in(second) is None
    numbers = {"left": 50, "top": 60, "right": 70, "bottom": 100}
    kept: dict[str, Any] = {"model": NAME, "begun": 1, "area": areas_in(second)}
    third = user.get(PAGE, params=kept | numbers).text
    assert areas_in(third) == ["0.0000,0.2500,0.2500,0.7500", "0.6000,0.5000,1.0000,0.7000"]
    fewer = re.search(r'href="([^"]+)">Take the last one away', third)
    assert fewer is not None
    assert areas_in(user.get(fewer[1].replace("&amp;", "&")).text) == areas_in(second)
    for wrong in ({"area": "1,2"}, {"area": "1.1.1,0,0,0"}, {"corner": "x"}, {"left": "nan"}):
        bad: dict[str, Any] = {"model": NAME, "begun": 1} | wrong
        assert user.get(PAGE, params=bad).status_code == 422


def test_the_picture_is_as_wide_as_its_buttons_say() -> None:
    style = render.assets()["station.css"].decode()
    assert f".drawn {{ position: relative; width: {ignore._LARGE}px; }}" in style
    assert f".drawn, .drawn input {{ width: {ignore._SMALL}px; }}" in style


def test_areas_and_confirmed_parts_calibrate_from_the_pages(
    user: TestClient, line: Station, png: Encoded
) -> None:
    for number in range(1, 7):
        user.post(f"/v1/models/{NAME}/inspect", content=png(300 + number))
        if number < 5:
            user.post(f"/review/{number}/label", data={"said": "good"})
    form = {"model": NAME, "reason": "a lamp", "area": ["0.0,0.0,0.5,0.5"]}
    few = user.post(PAGE, data=form)
    assert few.status_code == 409
    assert "at least 5 are needed" in few.json()["detail"]
    assert "disabled" in user.get("/review").text.partition('id="recalibration"')[2]
    for number in (5, 6):
        user.post(f"/review/{number}/label", data={"said": "good"})
    assert user.post(PAGE, data=form | {"reason": ""}).status_code == 422
    assert user.post(PAGE, data=form).status_code == 200
    assert line.jobs._running is not None
    line.jobs._running[1].join(120)
    (loaded,) = line.pool.all()
    assert loaded.inspector.calibration.ignored == ((0.0, 0.0, 0.5, 0.5),)
    assert (
        "In force now, from 6 confirmed good parts"
        in user.get(f"/review/recalibration?model={NAME}").text
    )
    assert areas_in(user.get(f"{PAGE}?model={NAME}").text) == ["0.0000,0.0000,0.5000,0.5000"]
    assert "1 area of the picture" in user.get("/threshold").text
    assert user.post("/review/recalibration", data={"model": NAME}).status_code == 200
    line.jobs._running[1].join(120)
    done = user.get(f"/v1/models/{NAME}/recalibration").json()
    assert (done["runs"], done["used"], done["trouble"]) == (False, 6, None)
    (loaded,) = line.pool.all()
    picture = loaded.inspector.calibration.pictures[-1]
    out = {"model": NAME, "calibration": loaded.calibration, "picture": picture}
    assert user.post("/threshold/without", data=out).status_code == 200
    assert len(line.pool.all()[0].inspector.calibration.pictures) == 5
    assert user.post("/threshold/without", data=out).status_code == 409
