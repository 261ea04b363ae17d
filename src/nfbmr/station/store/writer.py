"""One thread that writes: what waits goes into one transaction, and is answered once it is kept.

Many changes then share one wait for the disk. A change that fails takes back itself alone.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
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


class Writer:
    """Makes changes in the order in which they were given."""

    def __init__(self, engine: Engine) -> None:
        """Starts the thread."""
        self._engine = engine
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="nfbmr-writer", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it takes changes."""
        return not self._closed and self._thread.is_alive()

    def submit(self, change: Callable[[Connection], Found]) -> Future[Found]:
        """Has a change made; its result, or a StoreError, is there once it is decided."""
        job = _Job(change, Future())
        with self._lock:
            if self._closed:
                raise StoreError("the station is ending; nothing is written any more")
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
        ended = False
        while not ended:
            first = self._jobs.get()
            if first is None:
                return
            group = [first]
            while len(group) < _AT_ONCE:
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if job is None:
                    ended = True
                    break
                group.append(job)
            self._make(group)

    def _make(self, group: list[_Job]) -> None:
        done: list[tuple[_Job, Any, Exception | None]] = []
        try:
            with self._engine.begin() as connection:
                done.extend((job, *_made(connection, job)) for job in group)
        except Exception as error:  # of the whole transaction: nothing of it is kept
            _log.warning("The database took nothing: %s", brief(error))
            for job in group:
                job.future.set_exception(_store_error(error))
            return
        for job, found, failed in done:
            if failed is not None:
                job.future.set_exception(failed)
            else:
                job.future.set_result(found)


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


def brief(error: Exception) -> str:
    """Returns what a database said, without the statement."""
    said = str(getattr(error, "orig", None) or error).strip().splitlines()
    return said[0] if said else type(error).__name__
