"""`/v1/models/{name}/threshold`, `/v1/events`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from nfbmr.inspection.inspector import load
from nfbmr.scoring.odd import Odd
from nfbmr.station.api import thresholds
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
    kinds = [event["kind"] for event in events]
    assert kinds == ["model", "threshold"] * 2 + ["started", "model"]
    assert [event["number"] for event in events] == [6, 5, 4, 3, 2, 1]
    assert events[3]["reason"] == "tried"
    page = line.get("/v1/events?limit=2").json()
    assert page["next"] == 5
    assert line.get("/v1/events?before=5").json()["events"] == events[2:]


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


def test_a_good_picture_is_left_out_with_a_reason_and_comes_back(
    line: TestClient, model_copy: Path
) -> None:
    now = load(model_copy, runtime="torch").calibration
    asked = {"picture": now.pictures[-1], "reason": "a thumb"}
    assert line.post(f"{THRESHOLD}/without", json=asked).status_code == 200
    left = load(model_copy, runtime="torch").calibration.pictures
    assert sorted(left) == sorted(now.pictures[:-1])
    event = line.get("/v1/events").json()["events"][1]
    assert event["reason"].startswith("a thumb (without good picture")
    again = line.post(f"{THRESHOLD}/without", json=asked)
    assert again.status_code == 409
    assert "does not calibrate" in again.json()["detail"]
    assert line.post(f"{THRESHOLD}/without", json={"picture": "x"}).status_code == 422
    assert line.post(f"{THRESHOLD}/undo").status_code == 200
    assert load(model_copy, runtime="torch").calibration == now


def test_what_is_odd_and_what_is_ignored_is_said(
    line: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Odd(picture="0" * 64, score=2.0, without=0.9)
    monkeypatch.setattr(thresholds, "odd_ones", lambda *_: (one,))
    found = line.get(THRESHOLD).json()
    (odd,) = found["odd"]
    assert (odd["picture"], odd["score"], odd["without"]) == ("0" * 64, 2.0, 0.9)
    assert found["ignored"] == []


def test_areas_and_a_reason_are_given_to_a_recalibration(
    line: TestClient, png: Encoded, until: Callable[[Callable[[], object]], None]
) -> None:
    address = "/v1/models/model-copy/recalibration"
    for seed in range(300, 306):
        line.post("/v1/models/model-copy/inspect", content=png(seed))
        line.post(f"/v1/inspections/{seed - 299}/feedback", json={"label": "good"})
    for wrong in ([[0, 0, 1, 1]], [[0.5, 0, 0.2, 1]]):
        answer = line.post(address, json={"areas": wrong})
        assert answer.status_code == 422
        assert "areas at most were expected" in answer.json()["detail"]
    said = {"areas": [[0, 0, 0.5, 0.5]], "reason": "a lamp"}
    assert line.post(address, json=said).status_code == 200
    until(lambda: not line.get(address).json()["runs"])
    assert line.get(address).json()["trouble"] is None
    assert line.get(THRESHOLD).json()["ignored"] == [[0, 0, 0.5, 0.5]]
    event = next(
        one for one in line.get("/v1/events").json()["events"] if one["kind"] == "threshold"
    )
    assert event["reason"].startswith("a lamp (calibrated on 6 parts")


def test_what_cannot_be_is_refused(line: TestClient) -> None:
    assert line.post(f"{THRESHOLD}/undo").status_code == 409
    assert line.get("/v1/models/other/threshold").status_code == 404
    for wrong in ({"false_alarm_rate": 0}, {"look_rate": 1}, {"look_rate": "x"}):
        assert line.get(THRESHOLD, params=wrong).status_code == 422
    whole = {"false_alarm_rate": 0.1, "look_rate": 0.2, "reason": ""}
    assert line.post(THRESHOLD, json=whole).status_code == 422
