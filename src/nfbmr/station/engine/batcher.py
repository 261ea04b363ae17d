"""Pictures of many requests through one model: what waits goes through the network together."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from nfbmr.inspection.decoding import Named
from nfbmr.inspection.result import Failure, Inspection

_log = logging.getLogger(__name__)

Judged = Inspection | Failure

_DECODERS = 2


class Judging(Protocol):
    """What judges a stream of pictures, as an inspector does."""

    def inspect_many(
        self, images: Iterable[bytes | Named], *, batch: int, workers: int
    ) -> Iterator[Judged]:
        """Judges in order, each result given as soon as it is ready."""
        ...


class NetworkError(RuntimeError):
    """The network failed over a picture, or over another that went through it together with it."""

    def __init__(self, message: str, together: int) -> None:
        """Says why, and how many pictures failed at once."""
        super().__init__(message)
        self.together = together


class ClosedError(Exception):
    """This batcher takes no more: another has its place."""


@dataclass
class _Stream:
    """One passage of pictures through the network, from its start or a failure to the next."""

    given: deque[Future[Judged]] = field(default_factory=deque)
    """Of the pictures that it took, in its order."""
    broken: bool = False
    """Whether the network failed; it takes no more then."""


class Batcher:
    """A model's queue and the threads behind it. How much may wait is for the gate to say."""

    def __init__(self, inspector: Judging, batch: int) -> None:
        """Starts the threads.

        Args:
            inspector: the model, or what judges in its place.
            batch: pictures that pass the network at once, at most.
        """
        self._inspector, self._batch = inspector, batch
        self._waiting: OrderedDict[Future[Judged], bytes | Named] = OrderedDict()
        self._changed = threading.Condition()  # guards all that is waiting, given or closed
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="nfbmr-batcher", daemon=True)
        self._thread.start()

    def submit(self, data: bytes | Named) -> Future[Judged]:
        """Has a picture's file judged; one that is cancelled before its turn is let go at once.

        Raises:
            ClosedError: it takes no more.
        """
        future: Future[Judged] = Future()
        with self._changed:
            if self._closed:
                raise ClosedError
            self._waiting[future] = data
            self._changed.notify_all()
        future.add_done_callback(self._let_go)
        return future

    def close(self) -> None:
        """Takes no more; what was given is still judged, by and by."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def join(self) -> None:
        """Waits until all that was given is judged; to be closed first."""
        self._thread.join()

    def _let_go(self, future: Future[Judged]) -> None:
        """Holds no picture that nobody waits for any more, however long the network takes."""
        with self._changed:
            self._waiting.pop(future, None)

    def _work(self) -> None:
        while True:
            stream = _Stream()
            try:
                for result in self._inspector.inspect_many(
                    self._feed(stream), batch=self._batch, workers=_DECODERS
                ):
                    stream.given.popleft().set_result(result)
                return
            except Exception as error:  # of the network: those at hand fail, the next may not
                _log.exception("The network failed")
                with self._changed:
                    stream.broken = True
                    failed = list(stream.given)
                    self._changed.notify_all()
                for future in failed:
                    future.set_exception(_failed(error, len(failed)))

    def _feed(self, stream: _Stream) -> Iterator[bytes | Named]:
        """Yields what waits, until the stream breaks or nothing more can come."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: stream.broken or self._waiting or self._closed)
                if stream.broken or not self._waiting:
                    return
                future, data = self._waiting.popitem(last=False)
                if not future.set_running_or_notify_cancel():
                    continue
                stream.given.append(future)
            yield data


def _failed(error: Exception, together: int) -> NetworkError:
    return NetworkError(f"the network failed ({type(error).__name__}: {error})", together)
