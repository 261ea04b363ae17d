"""A stream in order through two stages: several threads prepare items, one computes groups.

Its source is read by a thread of its own, so it may block for as long as it likes, even until the
result of what it gave before is out.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Given = TypeVar("Given")
Prepared = TypeVar("Prepared")
Computed = TypeVar("Computed")

_GROUPS_AHEAD = 3  # one that is handed over, one that is computed, one that is being prepared
_SECONDS_TO_END = 0.5  # for a source that is about to give something


class _End:
    """Of the source, or of all by an error."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class Stream(Generic[Given, Prepared, Computed]):
    """Iterates over groups and what was computed of each; to be closed."""

    def __init__(
        self,
        source: Iterable[Given],
        prepare: Callable[[Given], Prepared],
        compute: Callable[[list[Prepared]], Computed],
        *,
        most: int,
        full: bool,
        workers: int,
    ) -> None:
        """Starts the threads.

        Args:
            source: read at most three groups ahead of what was taken.
            prepare: one item, in one of `workers` threads.
            compute: a group, in a thread of its own.
            most: items in a group.
            full: whether a group waits until it has that many, so that groups are the same each
                time; without it a group is what is prepared by the time it can be computed, and
                what is being prepared where the source is faster than all this.
            workers: threads.
        """
        self._source, self._prepare, self._compute = source, prepare, compute
        self._most, self._full = most, full
        self._slots = threading.Semaphore(_GROUPS_AHEAD * most)
        self._prepared: queue.SimpleQueue[Future[Prepared] | _End] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[list[Prepared], Computed] | _End] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._ahead = False  # whether the source would give more than may wait
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="nfbmr-decode")
        self._reader = threading.Thread(target=self._read, name="nfbmr-source", daemon=True)
        self._graph = threading.Thread(target=self._run, name="nfbmr-graph", daemon=True)
        self._reader.start()
        self._graph.start()

    def __iter__(self) -> Iterator[tuple[list[Prepared], Computed]]:
        """Yields each group once it is computed; errors of the source and of `compute` last."""
        while not isinstance(found := self._done.get(), _End):
            for _ in found[0]:
                self._slots.release()
            yield found
        if found.error is not None:
            raise found.error

    def close(self) -> None:
        """Ends the threads; one that waits for the source ends when that gives something."""
        self._ended.set()
        self._slots.release()
        self._prepared.put(_End())
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._graph.join()
        self._reader.join(_SECONDS_TO_END)

    def _read(self) -> None:
        try:
            source = iter(self._source)
            while True:
                if not self._slots.acquire(blocking=False):
                    self._ahead = True
                    self._slots.acquire()
                    self._ahead = False
                item = _End() if self._ended.is_set() else next(source, _End())
                if isinstance(item, _End) or self._ended.is_set():
                    break
                self._prepared.put(self._pool.submit(self._prepare, item))
        except BaseException as error:  # of whoever gives the items: what is finished comes first
            self._prepared.put(_End(error))
        else:
            self._prepared.put(_End())

    def _run(self) -> None:
        try:
            following: Future[Prepared] | _End | None = self._prepared.get()
            while isinstance(following, Future) and not self._ended.is_set():
                group = [following.result()]
                following = None
                while len(group) < self._most:
                    following = self._next()
                    if not isinstance(following, Future):
                        break
                    if not (self._full or self._ahead or following.done()):
                        break
                    group.append(following.result())
                    following = None
                self._done.put((group, self._compute(group)))
                following = following or self._prepared.get()
            self._done.put(following if isinstance(following, _End) else _End())
        except BaseException as error:  # a network that fails; or cancelled, as all is closed
            self._done.put(_End(error))

    def _next(self) -> Future[Prepared] | _End | None:
        """Returns what follows; None where the source has given nothing more yet."""
        try:
            return self._prepared.get(block=self._full)
        except queue.Empty:
            return None
