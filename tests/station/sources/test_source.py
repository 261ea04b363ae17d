"""One picture stops no source, and trouble with all pictures loses none of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from nfbmr.station.services.judge import Given, HinderedError, Judge, LateError
from nfbmr.station.settings import StationSettings
from nfbmr.station.sources import source as module
from nfbmr.station.station import Station
from nfbmr.station.store import queries
from nfbmr.station.store.queries import Filter, Recorded

Encoded = Callable[..., bytes]
Settings = Callable[..., StationSettings]
Until = Callable[[Callable[[], object]], None]

NAME = "watch-fitted"

Verdict = Callable[..., Any]


def rows(station: Station) -> list[Recorded]:
    return station.store.read(queries.page, Filter(), limit=100)


class Trouble:
    """Takes the verdict's place: pictures whose names it knows get none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
        self.names: set[str] = set()
        self.tried: list[str] = []
        verdict: Verdict = Judge._verdict

        async def failing(judge: Judge, given: Given, judging: Any) -> Any:
            found = await verdict(judge, given, judging) if given.name not in self.names else None
            self.tried.append(given.name)
            if found is None:
                judging.cancel()
                raise error
            return found

        monkeypatch.setattr(Judge, "_verdict", failing)
        monkeypatch.setattr(module, "_FIRST_PAUSE", 0.01)
        monkeypatch.setattr(module, "_LONGEST_PAUSE", 0.05)


def refusals(station: Station) -> list[str]:
    events = station.store.read(queries.events, kinds=("refused",), subject=NAME)
    return [f"{event.new['name']}: {event.new['why']}" for event in events if event.new]


@pytest.mark.parametrize(
    "error",
    [
        HinderedError("the network failed", 1.0),
        LateError("no verdict within 300 s", 1.0),
        ZeroDivisionError("nobody foresaw it"),
    ],
)
def test_one_picture_that_gets_no_verdict_holds_up_no_other_and_is_refused(
    settings: Settings,
    hot: Path,
    png: Encoded,
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    trouble = Trouble(monkeypatch, error)
    trouble.names.add("bad.png")
    (hot / "bad.png").write_bytes(png(1))
    with Station(settings(watch=(f"fitted={hot}",), watch_move=True)) as station:
        until(lambda: trouble.tried)

        def others_come() -> bool:
            if not refusals(station):
                (hot / f"{len(rows(station))}.png").write_bytes(png(len(rows(station))))
            return (hot / "error" / "bad.png").exists()

        until(others_come)
        until(lambda: station.sources.states()[0].alive)
        (said,) = refusals(station)
        assert "while others got theirs" in said
        assert str(error) in said
        assert len(rows(station)) >= 5
    assert trouble.tried.count("bad.png") >= 5


def test_while_all_get_no_verdict_none_is_refused(
    settings: Settings, hot: Path, png: Encoded, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble = Trouble(monkeypatch, HinderedError("the network failed", 1.0))
    names = [f"{n}.png" for n in range(3)]
    trouble.names.update(names)
    for number, name in enumerate(names):
        (hot / name).write_bytes(png(number))
    with Station(settings(watch=(f"fitted={hot}",), watch_move=True)) as station:
        until(lambda: min(trouble.tried.count(name) for name in names) >= 8)
        fares = station.sources.states()[0]
        assert (fares.failing, "the network failed" in fares.error) == (True, True)
        trouble.names.clear()
        until(lambda: len(rows(station)) == 3)
        until(lambda: station.sources.states()[0].alive)
        assert refusals(station) == []
    assert list((hot / "error").iterdir()) == []


def test_who_fails_with_others_is_not_refused_as_soon_as_who_fails_alone(
    settings: Settings, hot: Path, png: Encoded, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble = Trouble(monkeypatch, HinderedError("the network failed", 0.01))
    trouble.names.add("good.png")
    (hot / "good.png").write_bytes(png(1))
    with Station(settings(watch=(f"fitted={hot}",), watch_move=True)) as station:

        def others_come() -> bool:
            (hot / f"{len(rows(station))}.png").write_bytes(png(len(rows(station))))
            return trouble.tried.count("good.png") >= 8

        until(others_come)
        trouble.names.clear()
        until(lambda: "good" in {row.part_id for row in rows(station)})
        assert refusals(station) == []


def test_a_picture_may_take_longer_than_a_request(
    settings: Settings, hot: Path, png: Encoded, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 10_000.0)
    with Station(settings(watch=(f"fitted={hot}",), seconds=0.05)) as station:
        (loaded,) = station.pool.all()
        submit = loaded.batcher.submit

        def slow(data: bytes) -> Future[Any]:
            found: Future[Any] = Future()
            result = submit(data).result()
            threading.Timer(0.3, lambda: found.set_result(result)).start()
            return found

        monkeypatch.setattr(loaded.batcher, "submit", slow)
        (hot / "a.png").write_bytes(png(1))
        until(lambda: rows(station))
        assert station.sources.states()[0].error == ""


def test_pause_and_go_on_at_once_leave_record_and_thread_of_one_mind(
    settings: Settings, hot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, done = threading.Event(), threading.Event()

    class Slow(Future[Any]):
        """Of the pause: who waits for it hears of it after the other was done, if that may be."""

        def result(self, timeout: float | None = None) -> Any:
            found = super().result(timeout)
            written.set()
            done.wait(0.5)
            return found

    with Station(settings(watch=(f"fitted={hot}",))) as station:
        source = station.sources.get(NAME)
        write = station.store.write

        def slowly(change: Any, *args: Any) -> Any:
            future = write(change, *args)
            if args[1:2] != (True,):
                return future
            slow = Slow()
            slow.set_result(future.result())
            return slow

        monkeypatch.setattr(station.store, "write", slowly)
        pausing = threading.Thread(target=source.pause, args=(True, "ann"))
        pausing.start()
        assert written.wait(60)
        source.pause(False, "bob")
        done.set()
        pausing.join()
        (state,) = (one for one in station.sources.states() if one.name == NAME)
        assert source._paused == state.paused
        assert not state.paused
