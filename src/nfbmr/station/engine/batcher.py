"""Pictures of many requests through one model: what waits goes through the network together."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future

from nfbmr.inspection.inspector import Inspector
from nfbmr.inspection.result import Failure, Inspection

_log = logging.getLogger(__name__)

Judged = Inspection | Failure

_DECODERS = 2


class ClosedError(Exception):
    """This batcher takes no more: another has its place."""


class Batcher:
    """A model's queue and the threads behind it. How much may wait is for the gate to say."""

    def __init__(self, inspector: Inspector, batch: int) -> None:
        """Starts the threads.

        Args:
            inspector: the model.
            batch: pictures that pass the network at once, at most.
        """
        self._inspector, self._batch = inspector, batch
        self._waiting: queue.SimpleQueue[tuple[bytes, Future[Judged]] | None] = queue.SimpleQueue()
        self._given: deque[Future[Judged]] = deque()  # that the stream has, in its order
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="nfbmr-batcher", daemon=True)
        self._thread.start()

    def submit(self, data: bytes) -> Future[Judged]:
        """Has a picture's file judged; one that is cancelled before its turn costs nothing.

        Raises:
            ClosedError: it takes no more.
        """
        future: Future[Judged] = Future()
        with self._lock:
            if self._closed:
                raise ClosedError
            self._waiting.put((data, future))
        return future

    def close(self) -> None:
        """Takes no more; what was given is still judged, by and by."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._waiting.put(None)

    def join(self) -> None:
        """Waits until all that was given is judged; to be closed first."""
        self._thread.join()

    def _work(self) -> None:
        ended = threading.Event()
        while not ended.is_set():
            broken = threading.Event()
            try:
                feed = self._feed(ended, broken)
                for result in self._inspector.inspect_many(
                    feed, batch=self._batch, workers=_DECODERS
                ):
                    self._given.popleft().set_result(result)
            except Exception as error:  # of the network: those at hand fail, the next may not
                _log.exception("The network failed")
                broken.set()
                self._waiting.put(None)  # wakes the reader that waits for the next picture
                while self._given:
                    self._given.popleft().set_exception(_failed(error))

    def _feed(self, ended: threading.Event, broken: threading.Event) -> Iterator[bytes]:
        while True:
            item = self._waiting.get()
            if item is None:
                if broken.is_set():
                    return
                if self._closed and self._waiting.empty():
                    ended.set()
                    return
                continue
            data, future = item
            if not future.set_running_or_notify_cancel():
                continue
            if broken.is_set():
                future.set_exception(_failed(None))
                return
            self._given.append(future)
            yield data


def _failed(error: Exception | None) -> RuntimeError:
    why = "" if error is None else f" ({type(error).__name__}: {error})"
    return RuntimeError(f"the network failed{why}")
