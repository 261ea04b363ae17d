"""What waits until somebody takes it: the oldest first, tried again for as long as it takes.

Sending has a thread of its own: an outage of the receiver never holds up the line. What a receiver
does not take for a reason of its own, as while it starts, is tried again, longer after each time;
one that it chokes on lets the others pass meanwhile. Set aside is what it would refuse again, and
what it did not take `MOST_TRIES` times while it took others: an outage sets nothing aside.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from nfbmr.system.files import printable

_log = logging.getLogger(__name__)

MOST_TRIES = 10
"""In vain of one, others being delivered between each two: then it is set aside."""

_LONGEST_PAUSE = 60.0  # seconds
_LAST_SECONDS = 10.0  # for the last try itself
_BUSY_AT_ONCE = 3  # in turn that a receiver does not take: then all wait; next time twice as many
_MOST_BUSY_AT_ONCE = 50
_FAILED_AT_ONCE = 200  # that wait for another try: then none else is tried for the first time

Outcome = Literal["delivered", "refused", "busy", "dropped", "nobody"]
"""It is there; it would be refused again; not now; the connection broke, or no answer came; nobody
is there at all."""

Item = TypeVar("Item", bound=Hashable)


@dataclass(kw_only=True)
class _Failed:
    """One that was not taken."""

    pause: float
    due: float = 0.0
    tries: int = 0
    """In vain, while others were taken."""
    passed: int
    """How many others had been taken at the last one."""


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
        self._later: dict[Item, _Failed] = {}
        self._passed = 0
        self._broke: Item | None = None
        self._others_first = False
        self._at_once = _BUSY_AT_ONCE
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
        order, self._others_first = self._ordered(waiting), False
        for item in order:
            if time.monotonic() > self._deadline or (last and busy >= _BUSY_AT_ONCE):
                break
            if not last and not self._is_due(item):
                continue
            outcome, why = self._tried(item)
            if outcome == "nobody":
                return self._nobody(why)
            if outcome == "busy" and not self._too_often(item):
                self._say(why)
                busy += 1
                if busy >= self._at_once and not last:
                    self._others_first = True
                    self._at_once = min(2 * self._at_once, _MOST_BUSY_AT_ONCE)
                    return self._nobody(why)
                continue
            busy, self._said, self._broke = 0, False, None
            self._pause, self._at_once = self._first_pause, _BUSY_AT_ONCE
            failed = self._later.pop(item, None)
            if outcome == "delivered":
                self._box.take_away(item)
                self._passed += 1
                if failed is not None and not last:  # it is well again: the rest in its order
                    for other in self._later.values():
                        other.due = 0.0
                    return 0.0
                continue
            self.refused += 1
            often = "" if outcome == "refused" else f", {MOST_TRIES} times while it took others"
            self._box.set_aside(item, why + often)
        if not self._later:
            return None if not waiting else 0.0
        return max(0.0, min(one.due for one in self._later.values()) - time.monotonic())

    def _ordered(self, waiting: Sequence[Item]) -> Sequence[Item]:
        """Returns what waits in the order of trying: where none of some was taken, others first.

        But for the very oldest: it tells whether the receiver is well again.
        """
        if not waiting or not self._others_first:
            return waiting
        first, *rest = waiting
        return [first, *sorted(rest, key=lambda item: item in self._later)]

    def _is_due(self, item: Item) -> bool:
        failed = self._later.get(item)
        if failed is None:
            return len(self._later) < _FAILED_AT_ONCE
        return time.monotonic() >= failed.due

    def _tried(self, item: Item) -> tuple[Outcome, str]:
        """Tries one; that the connection broke counts against it from the second time on."""
        try:
            outcome, why = self._deliver(item)
        except Exception as error:  # whatever it was, the others are to pass
            outcome, why = "dropped", f"{type(error).__name__}: {error}"
        if outcome != "dropped":
            return outcome, why
        first = item not in self._later and item != self._broke
        self._broke = item
        return "nobody" if first else "busy", why

    def _too_often(self, item: Item) -> bool:
        """Notes that one was not taken; returns whether it was tried often enough."""
        failed = self._later.setdefault(item, _Failed(pause=self._first_pause, passed=self._passed))
        failed.tries += self._passed > failed.passed
        failed.passed = self._passed
        failed.due = time.monotonic() + failed.pause
        failed.pause = min(2 * failed.pause, _LONGEST_PAUSE)
        return failed.tries >= MOST_TRIES

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
