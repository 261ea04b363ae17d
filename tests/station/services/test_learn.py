"""Products that are learnt: what may be done when, and what the record says of it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from nfbmr.errors import BundleError, SettingsError
from nfbmr.inspection.inspector import load
from nfbmr.station.app import create_app
from nfbmr.station.audit import Event, verify
from nfbmr.station.problems import status_of
from nfbmr.station.services import learner
from nfbmr.station.services.judge import Given, PictureError
from nfbmr.station.services.learner import MOST_STARTS
from nfbmr.station.settings import StationSettings
from nfbmr.station.station import Station
from nfbmr.station.store import learnings, queries
from nfbmr.station.store.learnings import (
    Learning,
    NoRoomError,
    NoSuchLearningError,
    NotNowError,
)

RESULT: dict[str, Any] = {
    "seconds": 1.0,
    "trained": 9,
    "held_out": 3,
    "everyone": True,
    "scores": [0.0, 0.5],
    "threshold": 1.0,
    "look_threshold": 0.8,
    "false_alarm_rate": 0.01,
    "look_rate": 0.05,
    "expected_rate": 0.2,
    "interval": [0.0, 0.4],
    "extrapolated": True,
    "sentences": [],
    "warnings": [],
    "odd": [],
    "heats": [],
}
Encoded = Callable[..., bytes]
Settings = Callable[..., StationSettings]
Until = Callable[[Callable[[], object]], None]


@pytest.fixture
def empty(settings: Settings) -> Iterator[Station]:
    """A station without any model."""
    with Station(settings(models=())) as station:
        yield station


def add(station: Station, number: int, name: str, data: bytes) -> Any:
    return asyncio.run(station.learn.add(number, name, data, "ann"))


def filled(station: Station, png: Encoded, name: str = "widget", count: int = 12) -> int:
    made = station.learn.create(name, "fast", "ann")
    for seed in range(count):
        add(station, made.id, f"good-{seed}.png", png(seed))
    return made.id


def state(station: Station, number: int) -> Learning:
    return station.learn.shown(number).learning


def events(station: Station) -> list[Event]:
    return station.store.read(queries.events, kinds=("learn",))[::-1]


def told(station: Station) -> list[tuple[str, str]]:
    """State and actor of each event."""
    return [((event.new or {})["state"], event.actor) for event in events(station)]


def test_good_pictures_are_kept_under_names_of_the_stations_own(
    empty: Station, png: Encoded, tmp_path: Path
) -> None:
    number = filled(empty, png, count=2)
    kept = add(empty, number, "../../etc/x\x1b.png", png(7, form="BMP"))
    assert kept.name == "../../etc/x?.png"
    found, one = empty.learn.picture(number, kept.id)
    path = empty.learn.place(found).pictures / one.file
    assert tmp_path in path.parents
    assert path.suffix == ".bmp"
    assert empty.learn.read(found, one) == png(7, form="BMP")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(empty.learn.shown(number).pictures) == 3
    empty.learn.drop(number, kept.id, "eve")
    assert not path.exists()
    with pytest.raises(NoSuchLearningError):
        empty.learn.drop(number, kept.id, "eve")
    gone, came = empty.store.read(queries.events, kinds=("good_picture",), limit=2)
    assert (gone.subject, gone.actor, gone.new) == ("widget", "eve", None)
    assert (came.subject, came.actor, came.old) == ("widget", "ann", None)
    about = {"learning": number, "id": kept.id, "name": kept.name}
    assert gone.old == came.new == about | {"picture": kept.picture, "pixels": kept.pixels}


def test_pictures_that_cannot_be_used_are_refused_with_a_reason(
    settings: Settings, png: Encoded
) -> None:
    with Station(settings(models=(), most_megapixels=0.01)) as station:
        number = filled(station, png, count=1)
        for data, why in (
            (b"no picture", "found another kind of content"),
            (png(2)[:-30], "x.png"),
            (png(2, form="GIF"), "expected a JPEG, PNG, BMP, TIFF or WebP"),
            (png(2, size=(200, 200)), "at most 0.01 megapixels"),
            (png(0, form="BMP"), "the same as 'good-0.png', which is there already"),
        ):
            with pytest.raises(PictureError, match=why):
                add(station, number, "x.png", data)
        found = station.learn.shown(number)
        assert [one.name for one in found.pictures] == ["good-0.png"]
        files = list(station.learn.place(found.learning).pictures.iterdir())
        assert [path.name for path in files] == [found.pictures[0].file]
        with pytest.raises(NoSuchLearningError):
            add(station, 99, "x.png", png(3))


def test_beyond_the_limit_of_all_products_a_picture_is_refused_and_no_file_is_left(
    settings: Settings, png: Encoded
) -> None:
    room = 1.5 * len(png(0)) / 1e9
    with Station(settings(models=(), learning_gigabytes=room)) as station:
        number = filled(station, png, count=1)
        with pytest.raises(NoRoomError, match="larger --learning-gigabytes") as caught:
            add(station, number, "more.png", png(1))
        assert status_of(caught.value) == 507
        found = station.learn.shown(number)
        files = list(station.learn.place(found.learning).pictures.iterdir())
        assert [path.name for path in files] == [one.file for one in found.pictures]


def test_too_few_pictures_or_no_torch_are_said_before_anything_starts(
    empty: Station, png: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = filled(empty, png, count=9)
    with pytest.raises(NotNowError, match="9 good pictures; at least 10 are needed"):
        empty.learn.start(number, "bob")
    monkeypatch.setattr("nfbmr.station.services.learn.lacking", lambda *_: ["torch"])
    assert "does not learn, for torch is not installed" in str(empty.learn.trouble())
    with pytest.raises(NotNowError, match=r"pip install.*\[train\]"):
        empty.learn.start(number, "bob")
    assert state(empty, number).state == "collecting"


def test_a_draft_is_deleted_with_its_pictures(empty: Station, png: Encoded) -> None:
    number = filled(empty, png, count=2)
    folder = empty.learn.place(state(empty, number)).folder
    empty.learn.remove(number, "ann")
    assert not folder.exists()
    with pytest.raises(NoSuchLearningError):
        empty.learn.shown(number)
    assert told(empty) == [("collecting", "ann"), ("deleted", "ann")]


def test_a_model_that_was_given_at_the_start_keeps_its_name(station: Station) -> None:
    with pytest.raises(NotNowError, match="'fitted' was given when the station was started"):
        station.learn.create("fitted", "fast", "ann")


@pytest.mark.usefixtures("quick")
def test_a_learning_outlives_its_station_and_a_kill_and_goes_on_the_line(
    settings: Settings, png: Encoded, until: Until
) -> None:
    made = settings(models=())
    with Station(made) as station:
        number = filled(station, png)
        station.learn.start(number, "bob")
        place = station.learn.place(state(station, number))
        until(lambda: place.said() is not None)
        assert state(station, number).state == "learning"
        with pytest.raises(NotNowError, match="'widget' is being learnt"):
            add(station, number, "late.png", png(99))
        with pytest.raises(NotNowError):
            station.learn.remove(number, "ann")
    said = place.said()
    assert said is not None
    assert place.is_worked_on()  # without a station
    with Station(made) as station:
        until(lambda: (state(station, number).progress or {}).get("pid") == said.pid)
        assert state(station, number).starts == 1  # it was found again
        os.kill(said.pid, signal.SIGKILL)
        until(lambda: state(station, number).state != "learning")
        learnt = state(station, number)
        assert (learnt.state, learnt.trouble, learnt.starts) == ("learnt", "", 2)
        assert learnt.result is not None
        assert station.pool.get("widget") is None
        station.learn.put_on_line(number, "bob")
        given = Given(data=png(100), model="widget", part_id="", source="rest", actor="x")
        answer = asyncio.run(station.judge.inspect(given))
        assert answer.recorded.product == "widget"
        assert state(station, number).placed is not None
        shown = [one.id for one in station.learn.shown(number).pictures]
        heats = [station.learn.heat(number, which) for which in shown]
        assert len([one for one in heats if one is not None]) <= 4
        assert told(station) == [
            ("collecting", "ann"),
            ("waiting", "bob"),
            ("learnt", "station"),
            ("on the line", "bob"),
        ]
        started = events(station)[1].new
        assert started is not None
        assert (started["pictures"], started["preset"]) == (12, "fast")
        assert len(started["pictures_sha256"]) == 64
        assert verify(station.store.read(lambda c: list(queries.whole_chain(c)))).trouble is None


@pytest.mark.usefixtures("quick")
def test_one_is_learnt_at_a_time_and_each_can_be_cancelled(
    empty: Station, png: Encoded, until: Until
) -> None:
    first, second = (filled(empty, png, name, 10) for name in ("one", "two"))
    empty.learn.start(first, "bob")
    until(lambda: state(empty, first).state == "learning")
    empty.learn.start(second, "bob")
    shown = empty.learn.shown(second)
    assert (shown.learning.state, shown.before) == ("waiting", 1)
    with pytest.raises(NotNowError):
        empty.learn.start(second, "bob")
    empty.learn.cancel(second, "eve")
    assert state(empty, second).state == "cancelled"
    place = empty.learn.place(state(empty, first))
    empty.learn.cancel(first, "eve")
    until(lambda: state(empty, first).state == "cancelled")
    assert not place.is_worked_on()
    with pytest.raises(NotNowError, match="only while it is being learnt"):
        empty.learn.cancel(first, "eve")
    assert told(empty)[-4:] == [
        ("waiting", "bob"),
        ("waiting", "bob"),
        ("cancelled", "eve"),
        ("cancelled", "eve"),
    ]
    assert len(empty.learn.shown(first).pictures) == 10


def test_a_process_that_always_dies_is_a_failure_with_its_reason(
    empty: Station, png: Encoded, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies = ("-c", "import os; os.kill(os.getpid(), 9)")
    monkeypatch.setattr(learner, "WORKER", dies)
    monkeypatch.setattr(learner, "_BUSY", 0.0)
    number = filled(empty, png, count=10)
    empty.learn.start(number, "bob")
    until(lambda: state(empty, number).state == "failed")
    assert state(empty, number).starts == MOST_STARTS
    assert "SIGKILL, as where memory runs out" in state(empty, number).trouble
    last = events(empty)[-1]
    assert (last.actor, last.reason) == ("station", state(empty, number).trouble)


def test_an_orphan_is_ended_by_the_number_that_it_told(
    settings: Settings, png: Encoded, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeps = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from nfbmr.station.worker.place import Place, Said\n"
        "import os\n"
        "place = Place(Path(sys.argv[1]))\n"
        "with place.held(9) as free:\n"
        "    place.say(Said(pid=os.getpid(), time=time.time()))\n"
        "    while True: time.sleep(1)\n"
    )
    monkeypatch.setattr(learner, "WORKER", ("-c", sleeps))
    made = settings(models=())
    with Station(made) as station:
        number = filled(station, png, count=10)
        station.learn.start(number, "bob")
        place = station.learn.place(state(station, number))
        until(lambda: place.said() is not None)
    with Station(made) as station:
        station.learn.cancel(number, "bob")
        until(lambda: state(station, number).state == "cancelled")
        assert not place.is_worked_on()


def test_before_a_model_gives_way_both_are_compared_and_it_is_said_why(
    empty: Station, png: Encoded, model: Path, until: Until
) -> None:
    numbers = []
    for _ in range(2):
        number = filled(empty, png, count=1)
        empty.store.write(learnings.move, number, ("collecting",), "learnt", result=RESULT).result()
        place = empty.learn.place(state(empty, number)).model("widget")
        shutil.copytree(model, place)
        numbers.append(number)
    first, second = numbers
    other = load(empty.learn.learnt(second)[1], runtime="torch")
    other.recalibrated(0.9, look_rate=0.95).save_calibration()
    empty.learn.put_on_line(first, "bob")
    for seed in range(100, 104):
        given = Given(data=png(seed), model="widget", source="rest", actor="x")
        asyncio.run(empty.judge.inspect(given))
    client = TestClient(create_app(empty), base_url="http://127.0.0.1")
    assert client.get(f"/v1/learn/{second}/comparison").status_code == 404
    page = client.get(f"/learn/{second}").text
    assert "widget is on the line, and would give way" in page
    assert 'id="place"' not in page, "the comparison comes first"
    assert client.post(f"/v1/learn/{second}/comparison").status_code == 200
    until(lambda: not client.get(f"/v1/learn/{second}/comparison").json()["runs"])
    found = client.get(f"/v1/learn/{second}/comparison").json()
    assert found["trouble"] is None
    assert (found["tried"], found["unkept"]) == (4, 0)
    assert found["differing"], "nine in ten good parts would be defects"
    assert all(one["then"]["verdict"] != one["now"]["verdict"] for one in found["differing"])
    page = client.get(f"/learn/{second}").text
    assert 'id="place"' in page
    assert f"<strong>{len(found['differing'])}</strong>of the last 4 parts" in page
    with pytest.raises(SettingsError, match="a reason was expected"):
        empty.learn.put_on_line(second, "bob")
    refused = client.post(f"/v1/learn/{second}/line")
    assert refused.status_code == 422
    before = empty.pool.get("widget")
    said = {"reason": "a new lamp"}
    assert client.post(f"/v1/learn/{second}/line", json=said).status_code == 200
    now = empty.pool.get("widget")
    assert before is not None
    assert now is not None
    assert now.calibration != before.calibration
    assert events(empty)[-1].reason == "a new lamp"
    assert empty.line.history("widget")[0].reason == "learnt at the station: a new lamp"
    gone = client.get(f"/learn/{second}/comparison").text
    assert 'id="place"' not in gone, "it was of what is not on the line any more"


def test_what_cannot_come_on_the_line_is_taken_back(
    empty: Station, png: Encoded, model: Path
) -> None:
    number = filled(empty, png, count=1)
    with pytest.raises(
        NotNowError, match="being collected; that can be done only while it is learnt"
    ):
        empty.learn.put_on_line(number, "bob")
    found = state(empty, number)
    empty.store.write(learnings.move, number, ("collecting",), "learnt", result={}).result()
    place = empty.learn.place(found).model("widget")
    shutil.copytree(model, place)
    sound = (place / "config.json").read_bytes()
    (place / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BundleError):
        empty.learn.put_on_line(number, "bob")
    assert told(empty) == [("collecting", "ann")], "it was never put there"
    (place / "config.json").write_bytes(sound)
    (empty.settings.line_folder / "widget").write_bytes(b"in the way")
    with pytest.raises(BundleError):
        empty.learn.put_on_line(number, "bob")
    assert empty.pool.get("widget") is None
    assert state(empty, number).placed is None
    assert told(empty)[-2:] == [("on the line", "bob"), ("not on the line", "station")]
    assert events(empty)[-1].reason
