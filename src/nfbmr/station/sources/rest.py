"""The source REST: who sends pictures by requests; it pauses and is tested as others are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from nfbmr.errors import StationError
from nfbmr.inspection.result import Inspection
from nfbmr.station.engine.gate import BusyError
from nfbmr.station.services.judge import Given, Judge
from nfbmr.station.sources.source import Named, Picture
from nfbmr.station.store import sources
from nfbmr.station.store.database import Store
from nfbmr.station.store.pictures import Pictures
from nfbmr.station.store.queries import Inspected

REST = "rest"
ADDRESS = "/v1/models/{name}/inspect"

_AGAIN_SECONDS = 5  # while it pauses


class Rest:
    """Whoever asks `ADDRESS`, of all models."""

    def __init__(
        self,
        judge: Judge,
        store: Store,
        pictures: Pictures,
        changed: Callable[[], object],
        *,
        paused: bool,
    ) -> None:
        """Joins what it needs; `paused` until somebody has it go on."""
        self.named = Named(name=REST, model="", address=ADDRESS)
        self._judge, self._store, self._pictures = judge, store, pictures
        self._changed, self._paused, self._pausing = changed, paused, threading.Lock()

    def refuse_paused(self) -> None:
        """Raises a BusyError where it pauses."""
        if self._paused:
            raise BusyError(
                "the station takes no pictures by REST now: somebody had it pause, and has it go "
                f"on on Line or by /v1/sources/{REST}/resume; come again in {_AGAIN_SECONDS} s",
                _AGAIN_SECONDS,
            )

    def pause(self, paused: bool, actor: str, reason: str = "") -> None:
        """Has it pause after the pictures in work, or go on.

        Raises:
            StationError: the database takes nothing.
        """
        with self._pausing:
            self._store.write(sources.pause, REST, paused, actor, reason).result()
            self._paused = paused
        self._changed()

    async def test(self, actor: str) -> tuple[Picture, Inspected, Inspection]:
        """Judges the newest picture that came so once more; nothing of it is recorded.

        Raises:
            NfbmrError: there is none, or it gets no verdict.
        """
        row = await asyncio.to_thread(self._store.read, sources.last, REST)
        file = None if row is None else row.file
        data = None if file is None else await asyncio.to_thread(self._pictures.read, file)
        if row is None or data is None:
            raise StationError(
                "no picture to test with: none came by REST yet, or the last one is not kept; "
                f"send one, such as by curl -F files=@part.png to {ADDRESS}"
            )
        name = row.name or f"no. {row.id}"
        given = Given(
            data=data,
            model=row.model,
            part_id=row.part_id,
            name=name,
            source=REST,
            actor=actor,
        )
        picture = Picture(data=data, name=name, part_id=row.part_id)
        return (picture, *await self._judge.tried(given))
