"""A source of pictures: a thread that has each one judged and recorded, and that can pause.

It takes no request's place: where as much is in work as may be, it waits for a while, and then adds
its one picture. What hinders it is shown and tried again, after longer and longer pauses.

A picture over which the network fails, or takes very long, holds up no other: it comes again
between them. It is refused after several tries in vain, which are those meanwhile or since the one
before which other pictures of the model got verdicts. So where the network fails over all pictures,
none is refused.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NoReturn, Protocol

from nfbmr.errors import NfbmrError, StationError
from nfbmr.inspection.arrivals import NotNowError
from nfbmr.inspection.result import Inspection
from nfbmr.station.audit import Change
from nfbmr.station.services.judge import Given, HinderedError, Judge, PictureError
from nfbmr.station.store import queries, sources
from nfbmr.station.store.database import Store
from nfbmr.station.store.queries import Inspected, Recorded
from nfbmr.system.files import printable

_log = logging.getLogger(__name__)

_FIRST_PAUSE = 0.5  # seconds
_LONGEST_PAUSE = 60.0  # seconds; what went well for longer begins anew with the first one
_FULL_SECONDS = 5.0  # that it waits where as much is in work as may be
_LOOK_EVERY = 0.05  # seconds, meanwhile
_SILENT_SECONDS = 30.0  # after which something is wrong
_LAST_SECONDS = 10.0  # for the picture in work when the station ends
_PATIENCE = 10.0  # times what a request may take: nobody waits for an answer
_MOST_BLAME = 5.0  # tries in vain; one in which others failed together with it counts in part
_REMEMBERED = 10_000  # pictures that come again
LONGEST_ERROR = 500


class StoppedError(Exception):
    """The source is to pause or to end; the picture at hand has its turn later."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture's file, as a source gives it."""

    data: bytes
    name: str
    part_id: str = ""
    arrival: str | None = None

    @property
    def key(self) -> str:
        """Tells it from others of its source."""
        return self.arrival or self.name


@dataclass
class _PutOff:
    """A picture that comes again."""

    passed: int
    """Pictures of the model that had verdicts when it was tried last."""
    tries: int = 0
    blame: float = 0.0
    """For its tries in vain."""


class GivenUpError(PictureError):
    """Others get verdicts, and this picture gets none, however often it is tried."""


class Line(Protocol):
    """What a feed asks of its source."""

    def check(self) -> None:
        """Raises a StoppedError where the feed is to stop."""
        ...

    def well(self) -> None:
        """Hears that pictures would come."""
        ...

    def judge(self, picture: Picture) -> Recorded:
        """Waits until a picture is recorded.

        Raises a PictureError where it is to blame, a NotNowError where others are to go first.
        """
        ...

    def refused(self, name: str, why: str) -> None:
        """Hears of a picture that gets no verdict for its own sake, whenever it is tried."""
        ...


class Feed(Protocol):
    """Where pictures come from."""

    def run(self, line: Line) -> None:
        """Has all that comes judged, until the line stops it, or something hinders it."""
        ...

    def picture(self) -> Picture:
        """Takes one picture for a look, whether or not `run` runs."""
        ...


@dataclass(frozen=True, kw_only=True)
class Named:
    """What a source is called."""

    name: str
    model: str
    address: str
    """Without a password."""


class Source:
    """Runs a feed."""

    def __init__(
        self,
        named: Named,
        feed: Feed,
        judge: Judge,
        store: Store,
        changed: Callable[[], object],
        *,
        paused: bool,
    ) -> None:
        """Starts the thread.

        Args:
            named: what it is called.
            feed: brings the pictures.
            judge: judges them.
            store: the record.
            changed: hears that it fares otherwise than before.
            paused: whether it waits for somebody to have it go on.
        """
        self.named = named
        self._feed, self._judge, self._store, self._changed = feed, judge, store, changed
        self._paused, self._ending, self._failing = paused, False, False
        self._put_off: dict[str, _PutOff] = {}
        self._pause = _FIRST_PAUSE  # after one that failed; as at first once one passed
        self._heard = time.monotonic()
        self._wake, self._testing = threading.Condition(), threading.Lock()
        self._changing = threading.Lock()
        self._thread = threading.Thread(target=self._work, name=f"nfbmr-{named.name}", daemon=True)
        self._thread.start()

    @property
    def silent(self) -> float | None:
        """Seconds without a sign of life, where those are too many; None where all is well."""
        if self._paused or self._failing:
            return None
        seconds = time.monotonic() - self._heard
        return seconds if seconds > _SILENT_SECONDS else None

    def pause(self, paused: bool, actor: str, reason: str = "") -> None:
        """Has it pause after the picture in work, or go on.

        Raises:
            StationError: the database takes nothing.
        """
        with self._changing:  # the record and the thread hear of changes in one order
            self._store.write(sources.pause, self.named.name, paused, actor, reason).result()
            with self._wake:
                self._paused = paused
                self._wake.notify_all()
        self._changed()

    async def test(self, actor: str) -> tuple[Picture, Inspected, Inspection]:
        """Takes a picture and judges it, for a look alone: nothing of it is recorded.

        Raises:
            NfbmrError: there is no picture, or it gets no verdict.
        """
        try:
            picture = await asyncio.wait_for(self._taken(), _SILENT_SECONDS)
        except TimeoutError:
            raise StationError(f"{self.named.name} gives no picture") from None
        except OSError as error:
            raise StationError(f"{self.named.name}: {error.strerror or error}") from None
        given = Given(
            data=picture.data,
            model=self.named.model,
            part_id=picture.part_id,
            name=picture.name,
            source=self.named.name,
            actor=actor,
        )
        return (picture, *await self._judge.tried(given))

    def _taken(self) -> asyncio.Future[Picture]:
        """Takes a picture in a thread of its own: a dead source would hold up those of requests.

        Raises:
            StationError: another picture is being taken for a test.
        """
        if not self._testing.acquire(blocking=False):
            raise StationError(f"{self.named.name}: another test is under way; wait for it")
        found: Future[Picture] = Future()
        found.set_running_or_notify_cancel()

        def take() -> None:
            try:
                found.set_result(self._feed.picture())
            except BaseException as error:  # it belongs to who waits
                found.set_exception(error)
            finally:
                self._testing.release()

        threading.Thread(target=take, name=f"nfbmr-test-{self.named.name}", daemon=True).start()
        return asyncio.wrap_future(found)

    def close(self) -> None:
        """Ends it after the picture in work."""
        with self._wake:
            self._ending = True
            self._wake.notify_all()
        self._thread.join(_LAST_SECONDS)

    # ---- in its thread

    def check(self) -> None:
        """Has the feed go on.

        Raises:
            StoppedError: it is to stop.
        """
        if self._stops:
            raise StoppedError

    def well(self) -> None:
        """Hears that pictures would come."""
        self._heard = time.monotonic()
        if self._failing and self._pause == _FIRST_PAUSE:  # else the last one that came failed
            self._failing = False
            self._note(sources.works, self.named.name)

    def judge(self, picture: Picture) -> Recorded:
        """Waits until a picture is recorded, or others are to go first.

        Raises:
            StoppedError: it is to stop, and the picture is in no record.
            PictureError: it gets no verdict, whenever it is tried.
            NotNowError: it got none this time; others are to be tried before it is again.
        """
        pause = _FIRST_PAUSE
        while True:
            self._wait_for_room()
            passed = self._judge.passed[self.named.model]
            try:
                return self._tried(picture)
            except PictureError:
                raise
            except HinderedError as error:
                self._put_it_off(picture, passed, error, error.blame)
            except (NfbmrError, OSError) as error:
                self._fails(error)
                self._sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            except Exception as error:  # whatever it was, the others may be spared it
                _log.exception("%s", self.named.name)
                self._put_it_off(picture, passed, error, 1.0)
            finally:
                self._heard = time.monotonic()

    def _tried(self, picture: Picture) -> Recorded:
        recorded = self._known(picture.arrival)
        if recorded is None:
            given = Given(
                data=picture.data,
                model=self.named.model,
                part_id=picture.part_id,
                name=picture.name,
                source=self.named.name,
                actor="station",
                arrival=picture.arrival,
                seconds=_PATIENCE * self._judge.seconds,
            )
            recorded = self._runner.run(self._judge.inspect(given)).recorded
        self._put_off.pop(picture.key, None)
        self._pause = _FIRST_PAUSE
        return recorded

    def _put_it_off(
        self, picture: Picture, passed: int, error: Exception, blame: float
    ) -> NoReturn:
        """Ends a try that failed.

        Args:
            picture: that was tried.
            passed: pictures of the model that had verdicts before the try.
            error: why it failed.
            blame: how much of that may be this picture's, from 0 to 1.
        """
        self._fails(error)
        known = self._put_off.setdefault(picture.key, _PutOff(passed))
        if len(self._put_off) > _REMEMBERED:
            del self._put_off[next(iter(self._put_off))]
        now = self._judge.passed[self.named.model]
        known.blame += blame if now > known.passed else 0.0
        known.passed, known.tries = now, known.tries + 1
        if known.blame >= _MOST_BLAME:
            self._pause = _FIRST_PAUSE
            raise GivenUpError(
                f"no verdict in {known.tries} tries, while others got theirs; at last: {error}"
            ) from error
        pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE)
        self._sleep(pause)
        seconds = min(_FIRST_PAUSE * 2**known.tries, _LONGEST_PAUSE)
        raise NotNowError(str(error), random.uniform(0.5, 1.5) * seconds) from error

    def refused(self, name: str, why: str) -> None:
        """Has it in the record, as an event, and counts it.

        Raises:
            StationError: the database takes nothing.
        """
        self._judge.metrics.count("nfbmr_source_refused_total", source=self.named.name)
        new = {"name": printable(name), "why": printable(why)[:LONGEST_ERROR]}
        change = Change(kind="refused", subject=self.named.name, actor="station", new=new)
        self._store.write(queries.append, change).result()

    def _known(self, arrival: str | None) -> Recorded | None:
        """Returns what was recorded of this arrival before a kill, or before an answer got lost."""
        return None if arrival is None else self._store.read(sources.arrived, arrival)

    def _work(self) -> None:
        with asyncio.Runner() as self._runner:
            pause = _FIRST_PAUSE
            while not self._ending:
                with self._wake:
                    self._wake.wait_for(lambda: self._ending or not self._paused)
                began = self._heard = time.monotonic()
                try:
                    if not self._ending:
                        self._feed.run(self)
                except StoppedError:
                    pause = _FIRST_PAUSE
                except Exception as error:  # whatever it was, it is shown and tried again
                    if not isinstance(error, NfbmrError | OSError):
                        _log.exception("%s", self.named.name)
                    if time.monotonic() - began > _LONGEST_PAUSE:
                        pause = _FIRST_PAUSE
                    self._fails(error)
                    self._sleep(pause, quietly=True)
                    pause = min(2 * pause, _LONGEST_PAUSE)

    @property
    def _stops(self) -> bool:
        return self._ending or self._paused

    def _wait_for_room(self) -> None:
        began = time.monotonic()
        while self._judge.gate.is_full and time.monotonic() - began < _FULL_SECONDS:
            self._sleep(_LOOK_EVERY)
        self.check()

    def _sleep(self, seconds: float, *, quietly: bool = False) -> None:
        with self._wake:
            self._wake.wait_for(lambda: self._stops, seconds)
        if not quietly:
            self.check()

    def _fails(self, error: Exception) -> None:
        why = printable(str(error) or type(error).__name__)[:LONGEST_ERROR]
        if not self._failing:
            _log.warning("%s: %s", self.named.name, why)
        self._failing = True
        self._note(sources.failing, self.named.name, why)

    def _note(self, change: Callable[..., None], *words: str) -> None:
        try:
            self._store.write(change, *words).result()
        except StationError as error:
            _log.warning("%s: %s", self.named.name, error)
        self._changed()
