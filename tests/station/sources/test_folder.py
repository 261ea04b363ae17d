"""Watched folders of the station: each picture in the record once, whatever is killed when."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from nfbmr.errors import DataError, SettingsError
from nfbmr.inspection.journal import Journal
from nfbmr.inspection.reading import read_bytes
from nfbmr.inspection.watch import Watch, watch_by
from nfbmr.station.app import create_app
from nfbmr.station.settings import StationSettings
from nfbmr.station.sources.folder import Folder
from nfbmr.station.sources.source import Picture, Source
from nfbmr.station.station import Station
from nfbmr.station.store import queries
from nfbmr.station.store.queries import Filter, Recorded

Encoded = Callable[..., bytes]
Settings = Callable[..., StationSettings]
Until = Callable[[Callable[[], object]], None]

NAME = "watch-fitted"


def rows(station: Station) -> list[Recorded]:
    return station.store.read(queries.page, Filter(), limit=100)


def test_what_comes_is_judged_recorded_and_moved_by_its_verdict(
    settings: Settings, hot: Path, png: Encoded, until: Until
) -> None:
    (hot / "A-1.png").write_bytes(png(100))
    with Station(settings(watch=(f"fitted={hot}",), watch_move=True)) as station:
        (hot / "A-2.png").write_bytes(png(2, defect=True))
        (hot / "broken.png").write_bytes(b"no picture")
        until(lambda: (hot / "error" / "broken.png").exists() and len(rows(station)) == 2)
        until(lambda: (hot / "defect" / "A-2.png").exists())
        fares, _ = station.sources.states()
        assert fares.alive
        assert fares.last is not None
    assert (hot / "good" / "A-1.png").is_file()
    found = {row.part_id: row for row in rows_after(settings)}
    assert set(found) == {"A-1", "A-2"}
    assert {row.source for row in found.values()} == {NAME}
    assert {row.actor for row in found.values()} == {"station"}
    logged = [json.loads(line) for line in (hot / "nfbmr.jsonl").read_text().splitlines()]
    said = {row["inspection"]: row for row in logged if "error" not in row}
    assert set(said) == {row.id for row in found.values()}
    assert all(said[row.id]["verdict"] == row.verdict for row in found.values())


def test_what_is_refused_is_an_event_and_counted_and_a_huge_file_is_not_even_read(
    settings: Settings, hot: Path, png: Encoded, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def noted(path: Path, most: int) -> tuple[bytes | None, str]:
        read.append(path.name)
        return read_bytes(path, most)

    monkeypatch.setattr("nfbmr.inspection.watch.read_bytes", noted)
    (hot / "huge.png").write_bytes(png(1) + bytes(200_000))
    (hot / "broken.png").write_bytes(b"no picture")
    made = settings(watch=(f"fitted={hot}",), watch_move=True, most_megabytes=0.1)
    with Station(made) as station:

        def told() -> dict[str, str]:
            events = station.store.read(queries.events, kinds=("refused",), subject=NAME)
            return {event.new["name"]: event.new["why"] for event in events if event.new}

        until(lambda: len(told()) == 2)
        until(lambda: (hot / "error" / "huge.png").exists())
        why = told()["huge.png"]
        assert "found 0.213 megabytes; expected at most 0.1; save it smaller" in why
        assert "found another kind of content" in told()["broken.png"]
        text = station.judge.metrics.text({})
        assert f'nfbmr_source_refused_total{{source="{NAME}"}} 2' in text
        source = station.sources.get(NAME)
        os.link(hot / "error" / "huge.png", hot / "good" / "huge.png")
        with pytest.raises(DataError, match=r"expected at most 0\.1"):
            asyncio.run(source.test("ann"))
    assert "huge.png" not in read
    assert "broken.png" in read


def rows_after(settings: Settings) -> list[Recorded]:
    with Station(settings()) as station:
        return rows(station)


class Killed(BaseException):
    """Stands for the end of the program."""


class Straight:
    """A line that records at once."""

    def __init__(self, station: Station) -> None:
        found = station.sources.get(NAME)
        assert isinstance(found, Source)
        self.source = found

    def judge(self, picture: Picture) -> Recorded:
        with asyncio.Runner() as self.source._runner:
            return self.source.judge(picture)

    def check(self) -> None: ...

    def well(self) -> None: ...

    def refused(self, name: str, why: str) -> None: ...


STEPS = {
    "after the record": ("turn", False),
    "before it is written down where to": ("begin", False),
    "after that": ("begin", True),
    "before the row": ("append", False),
    "after the row": ("append", True),
}


@pytest.mark.parametrize("move", [True, False])
@pytest.mark.parametrize("step", STEPS)
def test_whatever_moment_a_kill_comes_at_each_picture_is_recorded_once(
    settings: Settings, hot: Path, png: Encoded, step: str, move: bool
) -> None:
    name, after = STEPS[step]
    if name == "begin" and not move:
        pytest.skip("nothing is moved")
    for number in range(2):
        (hot / f"{number}.png").write_bytes(png(number))
    elsewhere = hot.parent / "elsewhere"
    elsewhere.mkdir()
    with Station(settings(watch=(f"fitted={elsewhere}",))) as station:
        line, feed = Straight(station), Folder(hot, move=move)
        job = Watch(folder=hot, log=hot / "log.jsonl", move=move, settle=0, patience=0)

        def once() -> None:
            def judge(path: Path, data: bytes, identity: str) -> dict[str, Any]:
                return feed._row(line, path, data, identity)

            watch_by(judge, job, until=lambda: True)

        original, calls = getattr(Journal, name), [0]

        def killed(*words: Any) -> Any:
            calls[0] += 1
            found = original(*words) if after else None
            raise Killed(found)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Journal, name, killed)
            with pytest.raises(Killed):
                once()
        assert calls == [1]
        once()
        once()
        assert sorted(row.name for row in rows(station)) == ["0.png", "1.png"]
    lying = sorted(path.name for path in hot.glob("*/*.png" if move else "*.png"))
    assert lying == ["0.png", "1.png"]


def test_it_waits_while_a_picture_cannot_be_recorded_and_says_why(
    settings: Settings,
    hot: Path,
    png: Encoded,
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record, broken = queries.record, [True]

    def failing(*words: Any) -> Any:
        if broken[0]:
            raise OSError("the disk is full")
        return record(*words)

    monkeypatch.setattr(queries, "record", failing)
    with Station(settings(watch=(f"fitted={hot}",), watch_move=True)) as station:
        (hot / "a.png").write_bytes(png(1))
        until(lambda: station.sources.states()[0].failing)
        assert "the disk is full" in station.sources.states()[0].error
        assert (hot / "a.png").is_file()
        broken[0] = False
        until(lambda: rows(station))
        until(lambda: station.sources.states()[0].alive)
        assert station.sources.states()[0].error, "the last trouble stays to be read"


def test_a_folder_that_is_away_is_shown_and_found_again(
    settings: Settings, hot: Path, png: Encoded, until: Until
) -> None:
    hot.rmdir()
    with Station(settings(watch=(f"fitted={hot}",))) as station:
        until(lambda: station.sources.states()[0].failing)
        assert "is not a folder" in station.sources.states()[0].error
        hot.mkdir()
        (hot / "a.png").write_bytes(png(1))
        until(lambda: rows(station))
        assert station.sources.states()[0].alive


def test_a_full_queue_is_waited_for_and_no_request_loses_its_place(
    settings: Settings, hot: Path, png: Encoded, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nfbmr.station.sources.source._FULL_SECONDS", 3600.0)
    made = settings(watch=(f"fitted={hot}",), waiting=1)
    with Station(made) as station:
        client = TestClient(create_app(station), base_url="http://127.0.0.1")
        with station.judge.gate.passed():
            (hot / "a.png").write_bytes(png(1))
            until(lambda: station.sources.states()[0].alive)
            assert rows(station) == []
        until(lambda: rows(station))
        assert station.judge.gate.inside == 0
        assert client.post("/v1/models/fitted/inspect", content=png(2)).status_code == 200


def test_a_pause_lasts_over_a_restart(
    settings: Settings, hot: Path, png: Encoded, until: Until
) -> None:
    made = settings(watch=(f"fitted={hot}",))
    with Station(made) as station:
        station.sources.get(NAME).pause(True, "ann", "cleaning")
        (hot / "a.png").write_bytes(png(1))
    with Station(made) as station:
        fares, _ = station.sources.states()
        assert (fares.paused, fares.alive) == (True, False)
        assert rows(station) == []
        station.sources.get(NAME).pause(False, "ann")
        until(lambda: rows(station))
        kinds = [event.kind for event in station.store.read(queries.events)]
        assert [kind for kind in kinds if kind != "started"] == ["source", "source", "model"]


def test_the_newest_picture_serves_a_test_wherever_it_was_moved(hot: Path) -> None:
    feed = Folder(hot, move=True)
    with pytest.raises(Exception, match="no picture to test with"):
        feed.picture()
    (hot / "good").mkdir()
    for number, name in enumerate(("a.png", "good/b.png", "note.txt")):
        (hot / name).write_bytes(name.encode())
        os.utime(hot / name, (number, number))
    found = feed.picture()
    assert (found.data, found.name, found.part_id) == (b"good/b.png", "b.png", "b")


def test_a_source_is_said_as_expected(settings: Settings, hot: Path) -> None:
    for said in ("fitted", "fitted=", "=x", "a/b=x"):
        with pytest.raises(SettingsError, match="MODEL=FOLDER was expected"):
            Station(settings(watch=(said,)))
    with pytest.raises(SettingsError, match="no model other is on the line; there: fitted"):
        Station(settings(watch=(f"other={hot}",)))
