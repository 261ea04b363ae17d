"""The watch over a line: its events, what a restart finds, alarms once, and its reset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from nfbmr.scoring.looks import LOOKS
from nfbmr.station.app import create_app
from nfbmr.station.audit import now, verify
from nfbmr.station.engine.pool import Loaded
from nfbmr.station.services.drift import Drift
from nfbmr.station.settings import StationSettings
from nfbmr.station.station import Station
from nfbmr.station.store import queries, watched
from nfbmr.station.store.queries import Inspected

Encoded = Callable[..., bytes]
Settings = Callable[..., StationSettings]

INSPECT = "/v1/models/fitted/inspect"
DRIFT = "/v1/models/fitted/drift"


@pytest.fixture
def line(settings: Settings, model_copy: Path) -> Iterator[Station]:
    """A station with a model that a test may change."""
    with Station(settings(models=(model_copy,))) as station:
        yield station


def loaded_of(station: Station) -> Loaded:
    (loaded,) = station.pool.all()
    return loaded


def write_parts(station: Station, count: int, *, brighter: float = 0.0, seed: int = 0) -> None:
    """Records parts as good as those that calibrate, drawn again from them."""
    loaded, rng, written = loaded_of(station), np.random.default_rng(seed), []
    known = loaded.inspector.calibration
    most = sum(score < known.threshold for score in known.scores)
    for i in rng.integers(most, size=count):
        looks = {name: known.watched[name][i] for name in LOOKS}
        looks["brightness"] += brighter
        row = Inspected(
            time=now(),
            model=loaded.name,
            product="widget",
            part_id="",
            source="rest",
            actor="local",
            name="",
            picture="0" * 64,
            file=None,
            bytes=0,
            height=1,
            width=1,
            bundle=loaded.bundle,
            calibration=loaded.calibration,
            runtime="torch",
            threshold=known.threshold,
            look_threshold=known.look_threshold,
            score=known.scores[i],
            p_value=0.5,
            verdict="good",
            regions=[],
            milliseconds=0.0,
            looks=looks,
        )
        written.append(station.store.write(queries.record, row, None))
    for one in written:
        one.result()


def test_inspected_parts_are_watched(client: TestClient, png: Encoded, station: Station) -> None:
    assert client.get(DRIFT).json()["parts"] == 0
    for seed in range(100, 103):
        client.post(INSPECT, content=png(seed))
    found = client.get(DRIFT).json()
    assert (found["parts"], found["left_out"], found["changed"]) == (3, 0, False)
    assert set(found["evidence"]) == {"score", *LOOKS}
    assert found["words"][0].startswith("No change is found in 3 parts")
    (row,) = station.store.read(queries.page, queries.Filter(), limit=1)
    assert set(row.looks or {}) == set(LOOKS)


def test_a_change_is_an_alarm_once_and_the_same_after_a_restart(
    settings: Settings, model_copy: Path
) -> None:
    with Station(settings(models=(model_copy,))) as station:
        assert station.drift.of(loaded_of(station)).began is None
        write_parts(station, 300)
        assert station.drift.of(loaded_of(station)).alarms() == {}
        write_parts(station, 300, brighter=40.0, seed=1)
        watch = station.drift.of(loaded_of(station))
        alarm = watch.monitor.alarm
        assert alarm is not None
        assert alarm.name == "brightness"
        assert alarm.higher
        assert watch.inspection_of(alarm) == alarm.number > 300
        trail = list(watch.monitor.trail)
        assert "pictures are brighter" in station.drift.troubles()[0]
    with Station(settings(models=(model_copy,))) as station:
        watch = station.drift.of(loaded_of(station))
        assert watch.monitor.alarm == alarm
        assert watch.began is not None
        assert list(watch.monitor.trail) == trail
        events = station.store.read(watched.alarms, loaded_of(station).name, watch.began.number)
        assert [(event.new or {})["which"] for event in events] == ["line"]
        assert (events[0].new or {})["inspection"] == alarm.number
        assert station.store.read(lambda c: verify(queries.whole_chain(c))).trouble is None
        page = TestClient(create_app(station), base_url="http://127.0.0.1").get("/drift").text
        assert "Yes: pictures are brighter" in page
        assert f"no. {alarm.number}" in page


def test_very_many_parts_are_read_again_some_at_a_time_and_who_asks_does_not_wait(
    settings: Settings, model_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Station(settings(models=(model_copy,))) as station:
        write_parts(station, 130)
        before = station.drift.of(loaded_of(station))
        assert not before.behind
    monkeypatch.setattr("nfbmr.station.services.drift._AT_ONCE", 50)
    with monkeypatch.context() as patch:
        patch.setattr(Drift, "_work", lambda _: None)
        station = Station(settings(models=(model_copy,)))
    with station:
        client = TestClient(create_app(station), base_url="http://127.0.0.1")
        found = client.get(f"/v1/models/{loaded_of(station).name}/drift").json()
        assert (found["parts"], found["behind"]) == (50, True)
        page = client.get("/drift").text
        assert "The record is read again after a start" in page
        assert "of the first 100 parts" in page
        station.drift._catch_up(loaded_of(station))
        watch = station.drift.of(loaded_of(station))
        assert not watch.behind
        assert list(watch.monitor.trail) == list(before.monitor.trail)
        assert "read again" not in client.get("/drift").text


def test_a_reset_begins_with_the_next_part_and_says_why(line: Station) -> None:
    write_parts(line, 30)
    before = line.drift.of(loaded_of(line))
    watch = line.drift.reset(loaded_of(line), "ann", "new lamp")
    assert watch.monitor.parts == 0
    assert watch.began is not None
    assert (watch.began.actor, watch.began.reason) == ("ann", "new lamp")
    assert watch.monitor.seed != before.monitor.seed
    write_parts(line, 2)
    assert line.drift.of(loaded_of(line)).monitor.parts == 2


def test_another_calibration_begins_a_watch_of_its_own(line: Station) -> None:
    write_parts(line, 5)
    before = line.drift.of(loaded_of(line)).began
    assert before is not None
    proposal = line.thresholds.propose(loaded_of(line), 0.3, 0.6)
    line.thresholds.save(loaded_of(line), proposal, "ann", "fewer escapes")
    assert line.drift.of(loaded_of(line)).began is None
    write_parts(line, 2)
    watch = line.drift.of(loaded_of(line))
    assert watch.began is not None
    assert watch.began.number > before.number
    assert (watch.monitor.parts, (watch.began.new or {})["after"]) == (2, 5)


def test_rows_of_an_older_version_are_left_out_and_counted(line: Station) -> None:
    write_parts(line, 1)
    (row,) = line.store.read(queries.page, queries.Filter(), limit=1)
    values = {k: v for k, v in vars(row).items() if k != "id"}
    old = replace(Inspected(**values), looks=None)
    line.store.write(queries.record, old, None).result()
    watch = line.drift.of(loaded_of(line))
    assert (watch.monitor.parts, watch.left_out) == (1, 1)


def test_two_processes_write_one_beginning_and_one_alarm(line: Station) -> None:
    other = Drift(line.store, line.pool)
    try:
        write_parts(line, 300)
        write_parts(line, 300, brighter=60.0)
        one, two = line.drift.of(loaded_of(line)), other.of(loaded_of(line))
        assert one.began is not None
        assert one.began == two.began
        found = line.store.read(watched.alarms, loaded_of(line).name, one.began.number)
        assert len(found) == 1
    finally:
        other.close()


def test_the_page_shows_charts_and_resets(client: TestClient, station: Station) -> None:
    write_parts(station, 120)
    text = client.get("/drift").text
    assert text.count("<polyline") == 1 + 4 + 1
    assert "Against the good pictures alone: no guarantee" in text
    key = text.partition('data-form-key="')[2].partition('"')[0]
    said = {"model": "fitted", "reason": "cleaned the lens"}
    answer = client.post("/drift/reset", data=said, headers={"X-Form-Key": key})
    assert answer.status_code == 200
    assert "cleaned the lens" in answer.text
    answer = client.post(f"{DRIFT}/reset", json={"reason": "again"})
    assert answer.status_code == 200
    assert answer.json()["parts"] == 0
    assert client.post(f"{DRIFT}/reset", json={"reason": ""}).status_code == 422
