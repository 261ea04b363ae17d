"""Calibrating on parts that people confirmed as good, with areas or without."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from nfbmr.errors import SettingsError
from nfbmr.inspection.inspector import load
from nfbmr.scoring.chosen import Chosen
from nfbmr.scoring.odd import Odd
from nfbmr.station.app import create_app
from nfbmr.station.pages import threshold as page
from nfbmr.station.services import recalibrate
from nfbmr.station.services.jobs import ConflictError, Job
from nfbmr.station.services.judge import Given
from nfbmr.station.services.recalibrate import Recalibrated
from nfbmr.station.settings import StationSettings
from nfbmr.station.station import Station
from nfbmr.station.store import queries
from nfbmr.station.store.queries import Filter, Label
from nfbmr.system.files import sha256_of

Encoded = Callable[..., bytes]
Settings = Callable[..., StationSettings]
AREAS = ((0.0, 0.0, 0.5, 0.5),)


@pytest.fixture
def line(settings: Settings, model_copy: Path) -> Iterator[Station]:
    """A station with a model that a test may change."""
    with Station(settings(models=(model_copy,))) as station:
        yield station


def confirm(station: Station, pictures: list[bytes], label: Label | None = "good") -> None:
    """Inspects pictures, and says that their parts are good."""
    (loaded,) = station.pool.all()

    async def each() -> None:
        for one in pictures:
            answer = await station.judge.inspect(Given(data=one, model=loaded.name))
            number = answer.recorded.id
            station.store.write(queries.label, number, label, "", "ann").result()

    asyncio.run(each())


def ended(station: Station, job: Job) -> Job:
    assert station.jobs._running is not None
    station.jobs._running[1].join(120)
    assert not job.runs
    return job


def test_confirmed_parts_calibrate_and_known_ones_never_do(
    line: Station, model_copy: Path, model: Path, png: Encoded
) -> None:
    (loaded,) = line.pool.all()
    learnt = sorted((model.parent / "widget" / "train" / "good").iterdir())
    trained = set(loaded.inspector.facts.trained_on)
    known = [one.read_bytes() for one in learnt if sha256_of(one) in trained][:2]
    assert len(known) == 2
    confirm(line, [png(seed) for seed in range(300, 304)])
    with pytest.raises(ConflictError, match=r"4 parts are confirmed as good .* at least 5"):
        line.recalibration.start(loaded, "ann")
    confirm(line, known)
    few = ended(line, line.recalibration.start(loaded, "ann"))
    assert few.trouble is not None
    assert "the model learnt from 2" in few.trouble
    assert line.pool.all() == [loaded]
    confirm(line, [png(seed) for seed in range(304, 309)])
    job = ended(line, line.recalibration.start(loaded, "ann"))
    assert isinstance(job.found, Recalibrated), job.trouble
    assert (job.found.used, job.found.known, job.found.unreadable) == (9, 2, 0)
    assert (job.done, job.total) == (11 + 9, 22)
    (new,) = line.pool.all()
    assert len(new.inspector.calibration.scores) == 9
    on_disk = load(model_copy, runtime="torch").calibration
    assert on_disk == new.inspector.calibration
    expected = loaded.inspector.recalibrated(None, [png(seed) for seed in range(308, 299, -1)])
    assert on_disk.scores == pytest.approx(expected.calibration.scores, rel=1e-4)
    (event,) = line.thresholds.history(loaded.name)
    assert event.actor == "ann"
    assert "calibrated on 9 parts" in event.reason
    assert on_disk.chosen == job.found.chosen
    assert (job.found.chosen.of, job.found.chosen.of_all) == (9, 11)
    names = line.thresholds.names(loaded.name)
    assert set(names) <= set(on_disk.pictures)
    assert names[on_disk.pictures[-1]] in range(1, 12)
    client = TestClient(create_app(line), base_url="http://127.0.0.1")
    shown = "/review", f"/threshold/ignore?model={loaded.name}"
    address = f"/v1/models/{loaded.name}/recalibration"
    assert all("In force now, from 9 confirmed" in client.get(one).text for one in shown)
    assert client.get(address).json()["in_force"]
    back = line.thresholds.undo(new, "bob")
    assert back.inspector.calibration == loaded.inspector.calibration
    for text in [client.get(one).text for one in shown]:
        assert "In force now" not in text
        assert "is not in force any more" in text
    assert not client.get(address).json()["in_force"]


def test_as_many_parts_calibrate_as_the_asked_rate_wants(
    line: Station, png: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    (loaded,) = line.pool.all()
    monkeypatch.setattr(recalibrate, "MOST", 6)
    monkeypatch.setattr(line.recalibration, "wanted", lambda _: 7)
    confirm(line, [png(seed) for seed in range(300, 308)])
    chosen = line.recalibration.confirmed(loaded)
    assert chosen is not None
    assert chosen.of == 7
    job = ended(line, line.recalibration.start(loaded, "ann"))
    assert isinstance(job.found, Recalibrated), job.trouble
    assert job.found.used == 7


def test_parts_picked_for_being_odd_are_said_with_a_caution_everywhere(
    line: Station, model_copy: Path, png: Encoded
) -> None:
    (loaded,) = line.pool.all()
    confirm(line, [png(1, defect=True)])
    confirm(line, [png(seed) for seed in range(300, 316)], None)
    confirm(line, [png(seed, defect=True) for seed in range(2, 6)])
    verdicts = line.store.read(queries.counts, Filter(model=loaded.name))
    odd = verdicts["look"] + verdicts["defect"]
    assert 5 <= odd <= 8, "else chance alone might choose them"
    expected = Chosen(odd=5, of=5, odd_of_all=odd, of_all=21)
    client = TestClient(create_app(line), base_url="http://127.0.0.1")
    assert "CAUTION: that is more than chance" in client.get("/review").text
    job = ended(line, line.recalibration.start(loaded, "ann"))
    assert isinstance(job.found, Recalibrated), job.trouble
    assert job.found.chosen == expected
    said = client.get(f"/v1/models/{loaded.name}/recalibration").json()
    assert (said["odd"], said["odd_of_all"], said["of_all"]) == (5, odd, 21)
    assert said["picked_odd"]
    assert expected.describe()[1] in said["said"]
    (event,) = line.thresholds.history(loaded.name)
    assert "5 of 5 were called look or defect before" in event.reason
    assert "CAUTION" in event.reason
    assert event.new is not None
    assert event.new["chosen"]["of_all"] == 21
    assert "CAUTION" in (model_copy / "README.md").read_text("utf-8")


def test_an_odd_picture_is_left_out_and_comes_back(line: Station) -> None:
    (loaded,) = line.pool.all()
    now = loaded.inspector.calibration
    highest = now.pictures[-1]
    new = line.thresholds.leave_out(loaded, highest, "ann")
    assert sorted(new.inspector.calibration.pictures) == sorted(now.pictures[:-1])
    name = now.names[highest]
    assert f"without good picture {name}, " in line.thresholds.history(loaded.name)[0].reason
    with pytest.raises(ConflictError, match="does not calibrate"):
        line.thresholds.leave_out(new, highest, "ann")
    assert line.thresholds.undo(new, "ann").inspector.calibration == now
    odd = Odd(picture=highest, score=2.0, without=0.9)
    assert page._rows(line, loaded, (odd,)) == {}


def test_areas_count_for_nothing_and_are_undone(line: Station, png: Encoded) -> None:
    (loaded,) = line.pool.all()
    confirm(line, [png(seed) for seed in range(300, 308)])
    with pytest.raises(SettingsError, match="within the picture"):
        line.recalibration.start(loaded, "ann", "all", ((0.0, 0.0, 1.0, 1.0),))
    job = ended(line, line.recalibration.start(loaded, "ann", "a lamp", AREAS))
    assert isinstance(job.found, Recalibrated), job.trouble
    (new,) = line.pool.all()
    assert new.inspector.calibration.ignored == AREAS
    kept = new.inspector.calibration
    assert set(kept.names) == set(kept.pictures)
    assert all(re.fullmatch(r"inspection \d+", name) for name in kept.names.values())
    event = line.thresholds.history(loaded.name)[0]
    assert event.reason.startswith("a lamp (calibrated on 8 parts")
    assert event.new is not None
    assert event.new["ignored"] == [[0.0, 0.0, 0.5, 0.5]]
    result = new.inspector.inspect(png(1, defect=True))
    assert not result.heatmap[:40, :40].any()
    again = ended(line, line.recalibration.start(new, "ann"))
    assert again.trouble is None
    assert line.pool.all()[0].inspector.calibration.ignored == AREAS, "they stay until taken away"
    back = line.thresholds.undo(line.pool.all()[0], "ann")
    assert back.inspector.calibration == new.inspector.calibration


def test_a_change_that_came_meanwhile_is_not_overwritten(
    line: Station, png: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    (loaded,) = line.pool.all()
    confirm(line, [png(seed) for seed in range(300, 306)])
    other = replace(loaded, calibration="0" * 64)
    monkeypatch.setattr(line.pool, "get", lambda _: other)
    job = ended(line, line.recalibration.start(loaded, "ann"))
    assert job.trouble is not None
    assert "meanwhile" in job.trouble
