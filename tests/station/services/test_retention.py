"""Pictures go by age and size, the oldest good ones first; what a kill left goes, too."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from nfbmr.errors import StationError
from nfbmr.station.services import retention
from nfbmr.station.services.retention import Retention, sweep, tidy
from nfbmr.station.settings import StationSettings
from nfbmr.station.station import Station
from nfbmr.station.store import queries
from nfbmr.station.store.schema import INSPECTIONS

Encoded = Callable[..., bytes]
Settings = Callable[..., StationSettings]

INSPECT = "/v1/models/fitted/inspect"


def files(station: Station) -> int:
    return sum(path.is_file() for path in station.pictures.folder.glob("????/**/*"))


def kept(client: TestClient) -> list[int]:
    rows = client.get("/v1/inspections").json()["inspections"]
    return [row["id"] for row in rows if row["picture_kept"]]


def test_the_oldest_good_ones_go_first_and_rows_stay(
    client: TestClient, station: Station, png: Encoded, settings: Settings
) -> None:
    sizes = []
    for defect in (True, False, False):
        data = png(100 if not defect else 1, defect=defect)
        client.post(INSPECT, content=data)
        sizes.append(len(data))
    assert tidy(settings(keep_gigabytes=sum(sizes) / 1e9), station.store, station.pictures) == 0
    most = (sizes[0] + sizes[2]) / 1e9
    assert tidy(settings(keep_gigabytes=most), station.store, station.pictures) == 1
    assert kept(client) == [3, 1]
    assert files(station) == 2
    assert tidy(settings(keep_gigabytes=sizes[0] / 1e9), station.store, station.pictures) == 1
    assert kept(client) == [1]
    assert tidy(settings(keep_gigabytes=0), station.store, station.pictures) == 1
    assert len(client.get("/v1/inspections").json()["inspections"]) == 3
    assert files(station) == 0
    events = station.store.read(queries.events, kinds=("pictures",))
    said = [{"pictures": 1, "inspections": [number]} for number in (1, 3, 2)]
    assert [event.new for event in events] == said
    assert "gigabytes" in events[0].reason


def test_old_ones_go_by_days(
    client: TestClient, station: Station, png: Encoded, settings: Settings
) -> None:
    for seed in (1, 2):
        client.post(INSPECT, content=png(seed, defect=True))
    old = update(INSPECTIONS).where(INSPECTIONS.c.id == 1).values(time="2020-01-01T00:00:00")
    station.store.write(lambda c: c.execute(old)).result()
    assert tidy(settings(keep_days=30), station.store, station.pictures) == 1
    assert kept(client) == [2]
    assert client.get("/v1/inspections/1/picture").status_code == 404


def test_what_a_kill_left_is_swept_and_what_may_still_get_its_row_is_not(
    client: TestClient, station: Station, png: Encoded
) -> None:
    client.post(INSPECT, content=png(1))
    left, young = (station.pictures.keep(b"x", "PNG") for _ in range(2))
    own = station.pictures.folder / "2020" / "mine.png"
    own.parent.mkdir()
    own.write_bytes(b"x")
    long_ago = station.pictures.folder / "2020" / "01" / "02"
    long_ago.mkdir(parents=True)
    (long_ago / Path(left).name).write_bytes(b"x")
    half, begun = (long_ago / f".{name}.part" for name in ("half", "begun"))
    for path in (half, begun):
        path.write_bytes(b"x")
    for path in station.pictures.folder.rglob("*.p*"):
        if path != begun and not path.as_posix().endswith(young):
            os.utime(path, (0, 0))
    assert sweep(station.store, station.pictures) == 3
    assert station.pictures.read(left) is None
    assert list(long_ago.iterdir()) == [begun]
    assert station.pictures.read(young) == b"x"
    assert kept(client) == [1]
    assert own.exists()
    (event,) = station.store.read(queries.events, kinds=("pictures",))
    swept = sorted([left, f"2020/01/02/{Path(left).name}"])
    assert event.new == {"pictures": 2, "files": swept}
    assert "no inspection has them" in event.reason


def test_the_thread_survives_what_a_turn_raises_and_sweeps_again(
    station: Station, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[int] = []
    done = threading.Event()

    def sweeping(*_: object) -> int:
        turns.append(len(turns))
        if len(turns) == 1:
            raise ZeroDivisionError
        if len(turns) == 3:
            done.set()
        return 0

    monkeypatch.setattr(retention, "sweep", sweeping)
    monkeypatch.setattr(retention, "_EVERY", 0.01)
    monkeypatch.setattr(retention, "_SWEEP_EVERY", 0.02)
    thread = Retention(settings(), station.store, station.pictures)
    assert done.wait(60.0)
    thread.close()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_pictures_and_record_are_for_the_stations_user_alone(station: Station) -> None:
    name = station.pictures.keep(b"x", "PNG")
    path = station.pictures.folder / name
    made = [path, *path.parents[:4], Path(station.settings.database.removeprefix("sqlite:///"))]
    assert path.parents[3] == station.pictures.folder
    modes = [stat.S_IMODE(one.stat().st_mode) for one in made]
    assert modes == [0o600, 0o700, 0o700, 0o700, 0o700, 0o600]


@pytest.mark.parametrize("name", ["../../etc/passwd", "2026/01/02/x.png", ""])
def test_no_other_file_is_read_or_deleted(station: Station, name: str) -> None:
    with pytest.raises(StationError, match="no name of a kept picture"):
        station.pictures.read(name)
    with pytest.raises(StationError, match="no name of a kept picture"):
        station.pictures.delete(name)
