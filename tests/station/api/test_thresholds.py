"""`/v1/models/{name}/threshold`, `/v1/events`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from nfbmr.inspection.inspector import load
from nfbmr.station.app import create_app
from nfbmr.station.settings import StationSettings
from nfbmr.station.station import Station

Encoded = Callable[..., bytes]
Settings = Callable[..., StationSettings]

THRESHOLD = "/v1/models/model-copy/threshold"


@pytest.fixture
def line(settings: Settings, model_copy: Path) -> Iterator[TestClient]:
    """Asks a station with a model that a test may change."""
    with Station(settings(models=(model_copy,))) as station:
        yield TestClient(create_app(station), base_url="http://127.0.0.1")


def test_thresholds_are_tried_saved_and_undone(line: TestClient, png: Encoded) -> None:
    for seed in range(100, 106):
        line.post("/v1/models/model-copy/inspect", content=png(seed))
    now = line.get(THRESHOLD).json()
    assert (now["tried"], now["otherwise"]) == (6, [])
    asked = {"false_alarm_rate": 0.7, "look_rate": 0.9}
    tried = line.get(THRESHOLD, params=asked).json()
    assert tried["defect_above"] < now["defect_above"]
    assert tried["interval"][0] < tried["expected_rate"] < tried["interval"][1]
    assert line.get("/v1/models").json()["models"][0]["false_alarm_rate"] == 0.2
    saved = line.post(THRESHOLD, json=asked | {"reason": "tried"})
    assert saved.json() == tried
    assert line.get("/v1/models").json()["models"][0]["false_alarm_rate"] == 0.7
    undone = line.post(f"{THRESHOLD}/undo").json()
    assert undone["false_alarm_rate"] == 0.2
    events = line.get("/v1/events").json()["events"]
    assert [event["kind"] for event in events] == ["model", "threshold"] * 2 + ["model"]
    assert [event["number"] for event in events] == [5, 4, 3, 2, 1]
    assert events[3]["reason"] == "tried"
    page = line.get("/v1/events?limit=2").json()
    assert page["next"] == 4
    assert line.get("/v1/events?before=4").json()["events"] == events[2:]


def test_the_look_rate_is_said_as_it_is_attained(line: TestClient, model_copy: Path) -> None:
    n = len(load(model_copy, runtime="torch").calibration.scores)
    fine = line.get(THRESHOLD, params={"false_alarm_rate": 1e-4, "look_rate": 0.5}).json()
    assert fine["expected_look_rate"] <= 0.5
    assert fine["look_interval"][0] < fine["expected_look_rate"] < fine["look_interval"][1]
    assert not fine["look_extrapolated"]
    beyond = line.get(THRESHOLD, params={"false_alarm_rate": 1e-4, "look_rate": 1e-3}).json()
    assert beyond["look_rate"] == 1e-3
    assert beyond["expected_look_rate"] == 1 / (n + 1)
    assert beyond["look_extrapolated"]
    assert beyond["look_interval"][0] == 0


def test_what_cannot_be_is_refused(line: TestClient) -> None:
    assert line.post(f"{THRESHOLD}/undo").status_code == 409
    assert line.get("/v1/models/other/threshold").status_code == 404
    for wrong in ({"false_alarm_rate": 0}, {"look_rate": 1}, {"look_rate": "x"}):
        assert line.get(THRESHOLD, params=wrong).status_code == 422
    whole = {"false_alarm_rate": 0.1, "look_rate": 0.2, "reason": ""}
    assert line.post(THRESHOLD, json=whole).status_code == 422
