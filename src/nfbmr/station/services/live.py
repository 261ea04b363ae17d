"""Whether the record changed: asked of the database, so that every process's changes count."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from nfbmr.errors import StationError
from nfbmr.station.store import queries
from nfbmr.station.store.database import Store

State = tuple[int, int, int]


def said_of(state: State) -> str:
    """Returns a state as pages know it."""
    return ".".join(map(str, state))


class Live:
    """Asks twice a second at most, however many pages are open, and not at all without any."""

    every = 0.5
    """Seconds."""

    def __init__(self, store: Store) -> None:
        """Takes the record."""
        self._store = store
        self._record = (0, 0)
        self.lights = 0
        """How often a source or an output fared otherwise than before."""
        self._asked = float("-inf")
        self._lock = asyncio.Lock()
        self.ending = False
        """Whether the station is about to end: pages are then let go."""

    def touch(self) -> None:
        """Says that a source or an output fares otherwise than before."""
        self.lights += 1

    async def state(self) -> State:
        """Returns the numbers of the newest inspection, of the newest event, and `lights`."""
        async with self._lock:
            if time.monotonic() - self._asked >= self.every:
                with suppress(StationError):  # what pages then ask for says so
                    self._record = await asyncio.to_thread(self._store.read, queries.state)
                self._asked = time.monotonic()
            return (*self._record, self.lights)
