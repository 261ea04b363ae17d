"""One thread that writes: what waits goes into one transaction, and is answered once it is kept.

Many changes then share one wait for the disk. A change that fails takes back itself alone.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from nfbmr.errors import StationError

_log = logging.getLogger(__name__)

Found = TypeVar("Found")

_AT_ONCE = 64  # changes in a transaction


class StoreError(StationError):
    """The database took nothing of a change."""


@dataclass(frozen=True)
class _Job:
    change: Callable[[Connection], Any]
    future: Future[Any]

    def answer(self, found: Any) -> None:
        with suppress(InvalidStateError):  # whoever asked has settled it
            self.future.set_result(found)

    def fail(self, error: Exception) -> None:
        with suppress(InvalidStateError):
            self.future.set_exception(error)


class Writer:
    """Makes changes in the order in which they were given."""

    def __init__(self, engine: Engine) -> None:
        """Starts the thread."""
        self._engine = engine
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._at_hand: list[_Job] = []
        self._lock = threading.Lock()
        self._closed = False
        self._dead = False
        self._thread = threading.Thread(target=self._work, name="nfbmr-writer", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it takes changes."""
        return not self._closed and not self._dead and self._thread.is_alive()

    def submit(self, change: Callable[[Connection], Found]) -> Future[Found]:
        """Has a change made; its result, or a StoreError, is there once it is decided.

        A change that is cancelled before its turn is not made.

        Raises:
            StoreError: nothing is written any more.
        """
        job = _Job(change, Future())
        with self._lock:
            if self._closed:
                raise StoreError("the station is ending; nothing is written any more")
            if self._dead:
                raise _dead_error()
            self._jobs.put(job)
        return job.future

    def close(self) -> None:
        """Makes what was given, then ends."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._jobs.put(None)
        self._thread.join()
        self._engine.dispose()

    def _work(self) -> None:
        try:
            while self._take():
                self._make(self._at_hand)
            self._make(self._at_hand)
        except BaseException:  # whatever it was, nobody may wait for an answer that never comes
            _log.critical("The writer of the database has ended", exc_info=True)
            with self._lock:
                self._dead = True
            for job in (*self._at_hand, *self._left()):
                if not job.future.done():
                    job.fail(_dead_error())

    def _take(self) -> bool:
        """Waits for changes, and claims those that nobody cancelled; False after the last ones."""
        group = [self._jobs.get()]
        with suppress(queue.Empty):
            while group[-1] is not None and len(group) < _AT_ONCE:
                group.append(self._jobs.get_nowait())
        self._at_hand = [
            job for job in group if job is not None and job.future.set_running_or_notify_cancel()
        ]
        return group[-1] is not None

    def _left(self) -> list[_Job]:
        found = []
        with suppress(queue.Empty):
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    found.append(job)
        return found

    def _make(self, group: list[_Job]) -> None:
        if not group:
            return
        done: list[tuple[_Job, Any, Exception | None]] = []
        try:
            with self._engine.begin() as connection:
                done.extend((job, *_made(connection, job)) for job in group)
        except Exception as error:  # of the whole transaction: nothing of it is kept
            _log.warning("The database took nothing: %s", brief(error))
            for job in group:
                job.fail(_store_error(error))
            return
        for job, found, failed in done:
            if failed is not None:
                job.fail(failed)
            else:
                job.answer(found)


def _made(connection: Connection, job: _Job) -> tuple[Any, Exception | None]:
    """Makes one change within the transaction; what it raises takes back itself alone."""
    point = connection.begin_nested()
    try:
        found = job.change(connection)
        point.commit()
    except SQLAlchemyError as error:
        try:
            point.rollback()
        except SQLAlchemyError:  # the transaction is gone, as on a full disk: the whole fails by it
            raise error from None
        return None, _store_error(error)
    except Exception as error:  # of whoever asked
        point.rollback()
        return None, error
    return found, None


def _store_error(error: Exception) -> StoreError:
    return StoreError(
        f"the database takes nothing ({brief(error)}); check its disk's free space and permissions"
    )


def _dead_error() -> StoreError:
    return StoreError("what writes the database has ended; see the log, start the station again")


def brief(error: Exception) -> str:
    """Returns what a database said, without the statement."""
    said = str(getattr(error, "orig", None) or error).strip().splitlines()
    return said[0] if said else type(error).__name__
