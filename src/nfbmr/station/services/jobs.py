"""Work that takes longer than a request: one at a time, in a thread, with its progress.

What came of it is in memory: after a restart it is asked for again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from nfbmr.errors import NfbmrError, StationError

_log = logging.getLogger(__name__)


class ConflictError(StationError):
    """Something else was changed meanwhile, or is at work, or there is nothing to take back."""


class EndingError(StationError):
    """The station ends, and what it was doing with it."""


@dataclass(eq=False, kw_only=True)
class Job:
    """Something that is being done, or was."""

    subject: str
    """The model that it is about."""
    actor: str
    done: int = 0
    total: int = 0
    """Pictures, of which `done` are done; 0 until that is known."""
    found: object = None
    """What came of it; None until it has ended well."""
    trouble: str | None = None
    """Why nothing came of it."""
    ending: bool = False
    """Whether the station is about to end."""

    @property
    def runs(self) -> bool:
        """Whether it is being done."""
        return self.found is None and self.trouble is None

    def step(self, total: int) -> None:
        """Notes that one more picture of so many is done.

        Raises:
            EndingError: the station is about to end.
        """
        if self.ending:
            raise EndingError("the station ended before this was done; start it again")
        self.done, self.total = self.done + 1, total


class Jobs:
    """What is being done, and what came of the last of each kind for each model."""

    def __init__(self) -> None:
        """Starts with nothing to do."""
        self._lock = threading.Lock()
        self._jobs: dict[tuple[str, str], Job] = {}
        self._running: tuple[Job, threading.Thread] | None = None

    def last(self, kind: str, subject: str) -> Job | None:
        """Returns the last job of a kind for a model; None without any since the start."""
        return self._jobs.get((kind, subject))

    def start(self, kind: str, subject: str, actor: str, work: Callable[[Job], object]) -> Job:
        """Begins something, in a thread of its own.

        Args:
            kind: such as `comparison`.
            subject: the model.
            actor: who asks.
            work: does it, and calls `Job.step`; what it returns is kept as what came of it.

        Raises:
            ConflictError: something else is being done.
        """
        job = Job(subject=subject, actor=actor)

        def run() -> None:
            try:
                job.found = work(job)
            except NfbmrError as error:
                job.trouble = str(error)
            except OSError as error:
                job.trouble = f"the station's disk: {error.strerror}"
            except Exception as error:
                _log.exception("A %s of %s failed", kind, subject)
                job.trouble = f"it failed, and the log says where ({type(error).__name__})"

        with self._lock:
            if self._running is not None and self._running[0].runs:
                busy = self._running[0]
                raise ConflictError(
                    f"{busy.actor} has started other work on {busy.subject}; wait until it is done"
                )
            thread = threading.Thread(target=run, name=f"nfbmr-{kind}", daemon=True)
            self._running = job, thread
            self._jobs[kind, subject] = job
            thread.start()
        return job

    def close(self) -> None:
        """Ends what is being done, at its next picture."""
        with self._lock:
            running = self._running
        if running is not None:
            running[0].ending = True
            running[1].join()
