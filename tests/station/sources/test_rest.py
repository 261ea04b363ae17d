"""REST as a source: its light, its test, and a pause that outlives the station."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from nfbmr.station.app import create_app
from nfbmr.station.settings import StationSettings
from nfbmr.station.station import Station
from nfbmr.station.store import queries

Encoded = Callable[..., bytes]
Settings = Callable[..., StationSettings]

INSPECT = "/v1/models/fitted/inspect"


def rest_of(client: TestClient) -> dict[str, object]:
    """What the API says of REST."""
    found: dict[str, object] = client.get("/v1/sources").json()["sources"][-1]
    assert found["name"] == "rest"
    return found


def test_while_rest_pauses_requests_are_told_to_come_again(
    client: TestClient, station: Station, png: Encoded
) -> None:
    assert client.post(INSPECT, content=png(1)).status_code == 200
    assert (rest_of(client)["alive"], rest_of(client)["last_inspection"]) == (True, 1)
    paused = client.post("/v1/sources/rest/pause?reason=cleaning").json()
    assert (paused["paused"], paused["alive"]) == (True, False)
    answer = client.post(INSPECT, content=png(2))
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert "somebody had it pause" in answer.json()["detail"]
    assert station.store.read(queries.newest) == 1
    text = client.get("/metrics").text
    assert 'nfbmr_source_paused{source="rest"} 1' in text
    assert 'nfbmr_refused_total{why="paused"} 1' in text
    assert client.get("/readyz").status_code == 200
    page = client.get("/").text
    assert re.search(r'class="light paused">REST</span>\s*<small>paused, last part', page)
    key = {"X-Form-Key": re.findall(r'data-form-key="(\w+)"', page)[0]}
    files = {"files": ("a.png", png(3))}
    sent = client.post("/inspect/picture", data={"model": "fitted"}, files=files, headers=key)
    assert sent.status_code == 200, "the page is another source"
    lights = client.post("/line/sources/rest/resume", headers=key).text
    assert re.search(r'class="light on">REST</span>\s*<small>lives, last part', lights)
    assert client.post(INSPECT, content=png(2)).status_code == 200
    newest, before = client.get("/v1/events").json()["events"][:2]
    assert (before["kind"], before["subject"], before["reason"]) == ("source", "rest", "cleaning")
    assert newest["new"] == {"paused": False}


def test_a_pause_outlives_the_station(settings: Settings, png: Encoded) -> None:
    for paused in (False, True):
        with Station(settings()) as station:
            client = TestClient(create_app(station), base_url="http://127.0.0.1")
            expected = 503 if paused else 200
            assert client.post(INSPECT, content=png(1)).status_code == expected
            station.sources.rest.pause(True, "ann")


def test_a_test_judges_the_newest_picture_again_and_records_nothing(
    client: TestClient, station: Station, png: Encoded
) -> None:
    nothing = client.post("/v1/sources/rest/test")
    assert nothing.status_code == 503
    assert "none came by REST yet" in nothing.json()["detail"]
    data = png(1, defect=True)
    sent = client.post(f"{INSPECT}?part_id=A-1", content=data).json()["inspections"][0]
    found = client.post("/v1/sources/rest/test").json()
    assert (found["verdict"], found["part_id"]) == ("defect", "A-1")
    assert found["score"] == pytest.approx(sent["score"])
    assert station.store.read(queries.newest) == 1
    key = re.findall(r'data-form-key="(\w+)"', client.get("/").text)[0]
    shown = client.post("/line/sources/rest/test", headers={"X-Form-Key": key}).text
    assert 'aria-label="A test of REST"' in shown
    assert client.get(re.findall(r'<img src="([^"]+)"', shown)[0]).status_code == 200


def test_its_light_tells_that_nothing_can_be_judged(
    client: TestClient, station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(station.pool, "all", list)
    rest = rest_of(client)
    assert (rest["alive"], rest["failing"]) == (False, True)
    assert rest["error"] == "no model is on the line"
    assert client.get("/readyz").json()["troubles"] == ["no model is on the line"]
