"""Connections to the server: whoever says nothing, or reads nothing, holds nobody else's place.

uvicorn closes a connection that idles after an answer. One that never asked for anything, one that
sends half of a request's head, and one that does not read its answer it would keep for ever, and
count with the others.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

MOST = 512
"""Connections, and requests in work; half of the files that a process may usually have open."""
BACKLOG = 200
"""Connections that are accepted at one go. A request that has arrived is read before twice as many
connections more are taken, so a crowd of silent ones never drives it out."""

_HEAD_SECONDS = 10.0  # for a request's head: from the connection's begin, or from the last answer
_REST_SECONDS = 30.0  # where a body still comes whose request is answered: its sender reads later
_READ_SECONDS = 60.0  # in which whoever is answered has to read something of it
_LOOK_SECONDS = 1.0

if TYPE_CHECKING:

    class _Served(asyncio.Protocol):
        """What uvicorn's protocols have in common, whatever parses for them."""

        loop: asyncio.AbstractEventLoop
        transport: asyncio.Transport
        connections: set[asyncio.Protocol]
        client: tuple[str, int] | None
        cycle: Any
        """The newest request with a whole head, and its answer; None before the first."""

        def on_response_complete(self) -> None:
            """Hears that a request is answered."""

else:
    _Served = object


class Watched(_Served):
    """Goes before one of uvicorn's protocols, and closes what holds a place for nothing."""

    _begun = 0.0
    """When it began to wait for a request: as the connection was made, or at the last answer."""
    _heard = 0.0
    """When something came last."""
    _moved = 0.0
    """When something was read last of what is sent, or nothing was left of it."""
    _left = 0
    """Bytes that are to be sent, at the last look."""
    _looking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins to look at it; where there are too many, another goes that is silent."""
        super().connection_made(transport)
        self._begun = self._heard = self._moved = self.loop.time()
        if len(self.connections) >= MOST:
            self._make_room()
        self._looking = self.loop.call_later(_LOOK_SECONDS, self._look)

    def connection_lost(self, error: Exception | None) -> None:
        """Ends that."""
        if self._looking is not None:
            self._looking.cancel()
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """Takes what came."""
        self._heard = self.loop.time()
        super().data_received(data)

    def resume_writing(self) -> None:
        """Hears that what is sent is being read."""
        self._moved = self.loop.time()
        super().resume_writing()

    def on_response_complete(self) -> None:
        """Hears that a request is answered."""
        self._begun = self.loop.time()
        super().on_response_complete()

    @property
    def _rank(self) -> int | None:
        """Which go first where there are too many; None: its request is in work.

        0 asked for nothing yet, 1 is answered, 2 still sends a body.
        """
        if self.cycle is None:
            return 0
        if self.cycle.response_complete:
            return 1
        return 2 if self.cycle.more_body else None

    @property
    def _seconds(self) -> float | None:
        """Returns for how long it may wait for a request; None where it has one in work."""
        if self.cycle is None:
            return _HEAD_SECONDS
        if not self.cycle.response_complete:
            return None
        return _REST_SECONDS if self.cycle.more_body else _HEAD_SECONDS

    def _make_room(self) -> None:
        """Lets one go: of whom most are silent from one address, and of these the most silent."""
        silent = [
            one
            for one in self.connections
            if one is not self and isinstance(one, Watched) and one._rank is not None
        ]
        if not silent:
            return
        among = Counter(one._host for one in silent)
        gone = min(silent, key=lambda one: (one._rank, -among[one._host], one._heard))
        self.connections.discard(gone)
        gone.transport.abort()

    @property
    def _host(self) -> str:
        return self.client[0] if self.client is not None else ""

    def _look(self) -> None:
        now, left = self.loop.time(), self.transport.get_write_buffer_size()
        if not left or left < self._left:
            self._moved = now
        self._left = left
        seconds = self._seconds
        if left and now - self._moved > _READ_SECONDS:
            self.transport.abort()
        elif seconds is not None and now - self._begun > seconds:
            self.transport.close()  # what is still to be read of the last answer is waited for
        self._looking = self.loop.call_later(_LOOK_SECONDS, self._look)


def protocol() -> type[asyncio.Protocol]:
    """Returns what serves a connection: uvicorn's protocol with h11, watched.

    The one with httptools, which uvicorn itself would take where that is installed, takes a head of
    any size into memory.
    """
    from uvicorn.protocols.http.h11_impl import H11Protocol

    return type("WatchedProtocol", (Watched, H11Protocol), {})
