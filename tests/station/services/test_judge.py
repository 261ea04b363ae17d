"""A verdict that is being written is written, whether or not somebody still waits for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from sqlalchemy import Connection

from nfbmr.station.services.judge import Given
from nfbmr.station.station import Station
from nfbmr.station.store import queries
from nfbmr.station.store.queries import Filter

Encoded = Callable[..., bytes]

PATIENCE = 60.0  # seconds, for what comes by itself


def test_a_cancelled_request_still_records(
    station: Station, png: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, asked = threading.Event(), threading.Event()

    def held(_: Connection) -> None:
        assert go.wait(PATIENCE)

    station.store.write(held)  # the row waits behind it, so that it can still be cancelled
    write = station.store.write

    def writing(change: Callable[..., Any], *args: Any) -> Future[Any]:
        found: Future[Any] = write(change, *args)
        asked.set()
        return found

    monkeypatch.setattr(station.store, "write", writing)

    async def given_up() -> None:
        given = Given(data=png(1), model="fitted", part_id="P1")
        request = asyncio.create_task(station.judge.inspect(given))
        assert await asyncio.to_thread(asked.wait, PATIENCE)
        await asyncio.sleep(0)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        go.set()

    asyncio.run(given_up())
    assert write(queries.newest).result(PATIENCE) == 1
    (row,) = station.store.read(queries.page, Filter())
    assert row.part_id == "P1"
    assert row.file is not None
    assert station.pictures.read(row.file) == png(1)
