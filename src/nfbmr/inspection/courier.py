"""What waits until somebody takes it: the oldest first, tried again for as long as it takes.

Sending has a thread of its own: an outage of the receiver never holds up the line. What a receiver
does not take for a reason of its own, as while it starts, is tried again, longer after each time;
one that it chokes on lets the others pass meanwhile. What it would refuse again is set aside.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Literal, Protocol, TypeVar

from nfbmr.system.files import printable

_log = logging.getLogger(__name__)

_LONGEST_PAUSE = 60.0  # seconds
_LAST_SECONDS = 10.0  # for the last try itself
_BUSY_AT_ONCE = 3  # in turn that a receiver does not take: then all wait

Outcome = Literal["delivered", "refused", "busy", "nobody"]
"""It is there; it would be refused again; not now; nobody is there at all."""

Item = TypeVar("Item", bound=Hashable)


class Box(Protocol[Item]):
    """Where things wait, across restarts and kills."""

    def waiting(self) -> Sequence[Item]:
        """Returns what waits, the oldest first; not all of it where that is much."""
        ...

    def take_away(self, item: Item) -> object:
        """Forgets what was delivered."""
        ...

    def set_aside(self, item: Item, why: str) -> object:
        """Keeps what was refused, and gives it out no more."""
        ...

    def in_trouble(self, why: str) -> object:
        """Hears, once in an outage, why nothing is taken."""
        ...


class Courier(Generic[Item]):
    """Delivers from a thread of its own until it is closed."""

    def __init__(
        self,
        name: str,
        box: Box[Item],
        deliver: Callable[[Item], tuple[Outcome, str]],
        *,
        first_pause: float = 0.5,
        idle: float | None = None,
    ) -> None:
        """Starts the thread; what waits from the time before goes first.

        Args:
            name: of the thread, and in the log.
            box: where it waits.
            deliver: tries one; returns what came of it, and why.
            first_pause: seconds; each pause is twice as long as the one before, a minute at most.
            idle: seconds after which the box is looked into though nobody called; None: never.
        """
        self.refused = 0
        """Since the start."""
        self._name, self._box, self._deliver = name, box, deliver
        self._first_pause = self._pause = first_pause
        self._idle = idle
        self._later: dict[Item, tuple[float, float]] = {}  # when to try it again, its pause
        self._said = False
        self._stopping, self._something = threading.Event(), threading.Event()
        self._again = threading.Event()
        self._deadline = float("inf")
        self._thread = threading.Thread(target=self._work, name=f"nfbmr-{name}", daemon=True)
        self._thread.start()

    def call(self) -> None:
        """Says that something may wait."""
        self._something.set()

    def try_again(self) -> None:
        """Ends a pause: the receiver is there again."""
        self._again.set()

    def close(self, seconds: float) -> None:
        """Tries what waits once more, for so long in all; the rest waits on."""
        self._deadline = time.monotonic() + seconds
        self._stopping.set()
        self._something.set()
        self._again.set()
        self._thread.join(seconds + _LAST_SECONDS)

    def _work(self) -> None:
        while True:
            last = self._stopping.is_set()
            try:
                pause = self._round(last=last)
            except Exception as error:  # one of them, or a disk that is away, ends no thread
                _log.warning("%s", printable(f"{self._name}: {type(error).__name__}: {error}"))
                pause = _LONGEST_PAUSE
            if last:
                return
            self._something.wait(self._idle if pause is None else pause)
            self._something.clear()

    def _round(self, *, last: bool) -> float | None:
        """Tries all that is due; returns seconds until the next try, None where nothing waits."""
        busy = 0
        waiting = self._box.waiting()
        self._later = {item: self._later[item] for item in waiting if item in self._later}
        for item in waiting:
            due, pause = self._later.get(item, (0.0, self._first_pause))
            if time.monotonic() > self._deadline or (last and busy >= _BUSY_AT_ONCE):
                break
            if not last and time.monotonic() < due:
                continue
            outcome, why = self._deliver(item)
            if outcome == "nobody":
                return self._nobody(why)
            self._pause = self._first_pause
            if outcome == "busy":
                self._say(why)
                self._later[item] = (time.monotonic() + pause, min(2 * pause, _LONGEST_PAUSE))
                busy += 1
                if busy >= _BUSY_AT_ONCE:
                    break
                continue
            busy, self._said = 0, False
            self._later.pop(item, None)
            if outcome == "refused":
                self.refused += 1
                self._box.set_aside(item, why)
            else:
                self._box.take_away(item)
        if not self._later:
            return None if not waiting else 0.0
        return max(0.0, min(due for due, _ in self._later.values()) - time.monotonic())

    def _nobody(self, why: str) -> float:
        """Has all wait, longer each time; returns seconds until the next try."""
        self._say(why)
        pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE)
        if not self._stopping.is_set():
            self._again.wait(pause)
            self._again.clear()
        return 0.0

    def _say(self, why: str) -> None:
        if not self._said:
            self._said = True
            self._box.in_trouble(why)
