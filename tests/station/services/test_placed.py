"""What was learnt here comes on the line or it does not, and the record and the pages say which."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from nfbmr.errors import BundleError
from nfbmr.inspection.inspector import load
from nfbmr.model.bundle import read_bundle, write_bundle
from nfbmr.station.app import create_app
from nfbmr.station.audit import now
from nfbmr.station.settings import StationSettings
from nfbmr.station.station import Station
from nfbmr.station.store import learnings, queries

Settings = Callable[..., StationSettings]

COPY = "nfbmr.station.services.learn.copy_model"
TAKE_BACK = "nfbmr.station.services.placed.take_back"


class KilledError(BaseException):
    """Ends the station where it stands."""


def killed(*_: object) -> None:
    raise KilledError


def fit_into(path: Path, year: int, rate: float | None = None) -> None:
    """Puts another model into a directory, as a fit does."""
    bundle = read_bundle(path)
    facts = bundle.facts.model_copy(update={"created": f"{year}-01-01T00:00:00+00:00"})
    bundle = replace(bundle, facts=facts, exports=())
    if rate is not None:
        calibration = load(path, runtime="torch").recalibrated(rate, look_rate=0.9).calibration
        bundle = replace(bundle, calibration=calibration)
    write_bundle(path, bundle)


def learnt(station: Station, model: Path, year: int) -> int:
    """A product that is learnt; each year's is another model."""
    made = station.learn.create("bottle", "fast", "ann")
    place = station.learn.place(made).model("bottle")
    shutil.copytree(model, place)
    fit_into(place, year)
    station.store.write(learnings.move, made.id, ("collecting",), "learnt", result={}).result()
    return made.id


def told(station: Station) -> list[tuple[str, str]]:
    """State and actor of each event of putting on the line, the first first."""
    events = station.store.read(queries.events, kinds=("learn",))[::-1]
    said = [((event.new or {})["state"], event.actor) for event in events]
    return [one for one in said if "line" in one[0]]


def on_line(station: Station, *numbers: int) -> list[bool]:
    return [station.learn.shown(number).on_line for number in numbers]


def put_and_killed(station: Station, model: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """A product that is learnt, and whose station was killed while it was put on the line."""
    number = learnt(station, model, 2030)
    monkeypatch.setattr(COPY, killed)
    monkeypatch.setattr(TAKE_BACK, killed)
    with pytest.raises(KilledError):
        station.learn.put_on_line(number, "ann")
    monkeypatch.undo()
    return number


def test_a_putting_that_a_kill_prevented_is_taken_back_at_the_next_start(
    settings: Settings, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = settings(models=())
    with Station(made) as station:
        number = put_and_killed(station, model, monkeypatch)
        assert station.learn.get(number).placed is not None
        assert on_line(station, number) == [False]
    for _ in range(2):  # the second start finds nothing more
        with Station(made) as station:
            assert station.learn.get(number).placed is None
            assert told(station) == [("on the line", "ann"), ("not on the line", "station")]
            assert "ended before" in station.store.read(queries.events, kinds=("learn",))[0].reason
    shutil.copytree(model, made.line_folder / "bottle")
    with Station(made) as station:
        (stay,) = station.line.history("bottle")
        assert (stay.actor, stay.reason) == ("station", "found in its directory")


def test_a_model_that_somebody_put_there_before_the_next_start_is_nobody_elses(
    settings: Settings, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = settings(models=())
    with Station(made) as station:
        put_and_killed(station, model, monkeypatch)
    shutil.copytree(model, made.line_folder / "bottle")
    with Station(made) as station:
        assert told(station)[-1] == ("not on the line", "station")
        assert station.line.history("bottle")[0].actor == "station"


def test_whoever_failed_to_put_a_model_there_is_not_named_for_a_later_one(
    settings: Settings, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise BundleError("no space left on the disk")

    with Station(settings(models=())) as station:
        number = learnt(station, model, 2030)
        monkeypatch.setattr(COPY, full)
        with pytest.raises(BundleError):
            station.learn.put_on_line(number, "ann")
        assert told(station) == [("on the line", "ann"), ("not on the line", "station")]
        monkeypatch.undo()
        shutil.copytree(model, station.settings.line_folder / "bottle")
        station.pool.reload("bottle")
        assert [stay.actor for stay in station.line.history("bottle")] == ["station"]
        station.learn.put_on_line(number, "eve", "better")
        station.learn.put_on_line(number, "bob", "again")  # the same again: nothing new comes there
        assert station.line.history("bottle")[0].actor == "eve"
        fit_into(station.settings.line_folder / "bottle", 2031)
        station.pool.reload("bottle")
        assert station.line.history("bottle")[0].actor == "station", "nobody learnt it here"


def test_only_what_is_on_the_line_is_said_to_be(settings: Settings, model: Path) -> None:
    made = settings(models=())
    with Station(made) as station:
        first, second = learnt(station, model, 2030), learnt(station, model, 2031)
        station.learn.put_on_line(first, "ann")
        assert on_line(station, first, second) == [True, False]
        loaded = station.learn.put_on_line(second, "bob", "better")
        assert on_line(station, first, second) == [False, True]
        proposal = station.thresholds.propose(loaded, 0.5, 0.7)
        station.thresholds.save(loaded, proposal, "ann", "tried")
        assert on_line(station, first, second) == [False, True], "with whatever calibration"
        client = TestClient(create_app(station), base_url="http://127.0.0.1")
        listed = re.sub(r"<[^>]+>", "", client.get("/learn").text)
        assert listed.count("on the line since") == 1
        assert listed.count("was put on the line on") == 1
        said = {one["id"]: one["on_line"] for one in client.get("/v1/learn").json()["learnings"]}
        assert said == {first: False, second: True}
        assert client.get(f"/v1/learn/{second}").json()["on_line"]
    with Station(made) as station:
        assert told(station) == [("on the line", "ann"), ("on the line", "bob")], "both came about"
        assert on_line(station, first, second) == [False, True]
    shutil.rmtree(made.line_folder / "bottle")
    with Station(made) as station:
        assert on_line(station, first, second) == [False, False]


def test_what_an_older_version_put_there_is_known(settings: Settings, model: Path) -> None:
    made = settings(models=())
    with Station(made) as station:
        number = learnt(station, model, 2030)
        found = station.learn.get(number)
        change = learnings.change_of(found, "on the line", "ann")
        station.store.write(
            learnings.move, number, ("learnt",), "learnt", change, placed=now()
        ).result()
        shutil.copytree(station.learn.place(found).model("bottle"), made.line_folder / "bottle")
        station.pool.reload("bottle")
    with Station(made) as station:
        assert told(station) == [("on the line", "ann")]
        assert on_line(station, number) == [True]
        (stay,) = station.line.history("bottle")
        assert (stay.actor, stay.reason) == ("ann", "learnt at the station")
