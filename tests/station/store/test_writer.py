"""The writer: whoever gives up, and whatever a change raises, the others are answered."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from nfbmr.station.audit import Change
from nfbmr.station.store import queries
from nfbmr.station.store.database import Store
from nfbmr.station.store.writer import StoreError

PATIENCE = 60.0  # seconds, for what comes by itself


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store(f"sqlite:///{tmp_path / 'station.db'}")
    yield found
    found.close()


def told(subject: str) -> Change:
    return Change(kind="k", subject=subject, actor="a")


def test_a_cancelled_change_is_not_made_and_later_ones_are_answered(store: Store) -> None:
    begun, go = threading.Event(), threading.Event()

    def held(_: Connection) -> None:
        begun.set()
        assert go.wait(PATIENCE)

    first = store.write(held)
    assert begun.wait(PATIENCE)
    given_up, later = (store.write(queries.append, told(name)) for name in ("given up", "later"))
    assert not first.cancel(), "it is being made"
    assert given_up.cancel()
    go.set()
    assert first.result(PATIENCE) is None
    assert later.result(PATIENCE).subject == "later"
    assert store.write(queries.append, told("last")).result(PATIENCE).number == 2
    assert store.writer.alive


def test_who_stops_waiting_does_not_take_back_what_is_being_written(store: Store) -> None:
    begun, go = threading.Event(), threading.Event()

    def held(connection: Connection) -> None:
        begun.set()
        assert go.wait(PATIENCE)
        queries.append(connection, told("held"))

    async def given_up() -> None:
        waiting = asyncio.ensure_future(asyncio.wrap_future(store.write(held)))
        assert await asyncio.to_thread(begun.wait, PATIENCE)
        waiting.cancel()
        go.set()

    asyncio.run(given_up())
    assert store.write(queries.append, told("last")).result(PATIENCE).number == 2


def test_when_the_thread_ends_nobody_waits_for_ever(store: Store) -> None:
    begun, go = threading.Event(), threading.Event()

    def ends(_: Connection) -> None:
        begun.set()
        assert go.wait(PATIENCE)
        raise SystemExit

    found: list[Future[Any]] = [store.write(ends)]
    assert begun.wait(PATIENCE)
    found += [store.write(queries.append, told(str(n))) for n in range(100)]
    assert found[7].cancel()
    go.set()
    for number, future in enumerate(found):
        if number != 7:
            with pytest.raises(StoreError, match="has ended"):
                future.result(PATIENCE)
    assert not store.writer.alive
    with pytest.raises(StoreError, match="has ended"):
        store.write(queries.append, told("late"))
    assert store.read(queries.events) == []
