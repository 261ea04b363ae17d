"""Pages hear of changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from nfbmr.station.pages.live import _lines
from nfbmr.station.services.judge import Given
from nfbmr.station.services.live import Live
from nfbmr.station.station import Station
from nfbmr.station.store import queries

Encoded = Callable[..., bytes]

PATIENCE = 60.0


def test_a_page_hears_of_each_change_and_is_let_go_at_the_end(
    station: Station, png: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Live, "every", 0.01)

    async def listen() -> list[str]:
        lines = _lines(station.live)
        found = [await anext(lines)]
        waiting = asyncio.ensure_future(anext(lines))
        await asyncio.sleep(0)
        await station.judge.inspect(Given(data=png(1), model="fitted"))
        found.append(await asyncio.wait_for(waiting, PATIENCE))
        station.live.ending = True
        found += [line async for line in lines]
        return found

    first, changed = asyncio.run(listen())
    assert first.startswith("retry:")
    assert first.endswith("data: 0.2.0\n\n")
    assert changed == "data: 1.2.0\n\n"


def test_many_pages_ask_the_database_once(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    read = station.store.read

    def counted(*args: object) -> object:
        if args[0] is queries.state:
            asked.append(args)
        return read(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(station.store, "read", counted)

    async def all_at_once() -> None:
        await asyncio.gather(*(station.live.state() for _ in range(64)))

    asyncio.run(all_at_once())
    assert len(asked) == 1
