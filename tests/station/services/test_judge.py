"""What is written is written, whoever waits for it; and who is to blame where nothing is."""

from __future__ import annotations

import asyncio
import hashlib
import io
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Connection

from nfbmr.station.engine.batcher import NetworkError
from nfbmr.station.services.judge import Given, HinderedError
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


def failed(together: int) -> Future[Any]:
    found: Future[Any] = Future()
    found.set_exception(NetworkError("the network failed", together))
    return found


def begun() -> Future[Any]:
    found: Future[Any] = Future()
    found.set_running_or_notify_cancel()
    return found


@pytest.mark.parametrize(
    ("made", "blame"),
    [(lambda: failed(1), 1.0), (lambda: failed(4), 0.25), (begun, 1.0), (Future, 0.0)],
)
def test_the_blame_is_shared_by_those_that_failed_together_and_none_waits_in_vain(
    station: Station,
    png: Encoded,
    monkeypatch: pytest.MonkeyPatch,
    made: Callable[[], Future[Any]],
    blame: float,
) -> None:
    (loaded,) = station.pool.all()
    monkeypatch.setattr(loaded.batcher, "submit", lambda _: made())
    with pytest.raises(HinderedError) as caught:
        asyncio.run(station.judge.inspect(Given(data=png(1), model="fitted", seconds=0.05)))
    assert caught.value.blame == blame
    assert station.judge.passed["fitted"] == 0


def test_what_the_log_says_of_a_picture_names_it_while_the_station_runs(
    station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    file = io.BytesIO()
    Image.fromarray(np.zeros((400, 20, 3), np.uint8)).save(file, "PNG")
    data = file.getvalue()
    for name, part in (("a.png", "7"), ("", "8"), ("", "")):
        given = Given(data=data, model="fitted", name=name, part_id=part)
        asyncio.run(station.judge.inspect(given))
    called = [text.partition(" is ")[0] for text in caplog.messages if " 20 x 400 pixels" in text]
    short = hashlib.sha256(data).hexdigest()[:12]
    again = "too, has other proportions: 20 x 400 pixels; "
    assert called == [
        "a.png (part 7)",
        f"part 8, {again}2 such pictures so far",
        f"the picture of sha256 {short}..., {again}3 such pictures so far",
    ]
