"""Events chained by hash: each holds the hash of the one before, so none can change unnoticed.

Whoever can write the database can also write a whole new chain. So the newest hash, written down
elsewhere, is what proves that nothing before it was changed: `nfbmr audit --contains HASH`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

FIRST = "0" * 64
"""The hash before the first event."""

Values = dict[str, Any]


def now() -> str:
    """Returns the time, UTC, ISO 8601, to the microsecond: it sorts as text."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@dataclass(frozen=True, kw_only=True)
class Change:
    """What somebody changed."""

    kind: str
    """Such as `feedback`, `threshold`, `model`, `pictures`."""
    subject: str
    """What was changed: an inspection's number, a model's name."""
    actor: str
    """Who: a token's name, `local` without tokens, or `station` itself."""
    old: Values | None = None
    new: Values | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Event(Change):
    """A change with its place in the chain."""

    number: int
    """From 1, without gaps."""
    time: str
    previous: str
    """Hash of the event before."""
    hash: str
    """64 hexadecimal digits, of all the rest."""


def chained(change: Change, last: Event | None, time: str) -> Event:
    """Returns a change as the event that follows `last`."""
    values = asdict(change) | {
        "number": 1 if last is None else last.number + 1,
        "time": time,
        "previous": FIRST if last is None else last.hash,
    }
    return Event(**values, hash=_hash_of(values))


def _hash_of(values: Values) -> str:
    text = json.dumps(values, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What a look at the whole chain found."""

    events: int
    """Sound ones, from the first on."""
    newest: str
    """Hash of the last sound one."""
    trouble: str | None
    """What is wrong at the first that is not; None of a sound chain."""
    contains: bool
    """Whether the hash that was asked for is of a sound one; True where none was."""


def verify(events: Iterable[Event], contains: str | None = None) -> Verified:
    """Checks a chain from its first event on.

    Args:
        events: in the order of their numbers.
        contains: a hash that somebody wrote down.
    """
    last, count, seen = FIRST, 0, contains is None
    for event in events:
        values = asdict(event)
        stated = values.pop("hash")
        trouble = None
        if event.number != count + 1:
            trouble = f"event {count + 1} is missing: {event.number} follows {count}"
        elif event.previous != last:
            trouble = f"event {event.number} does not follow the one before it"
        elif _hash_of(values) != stated:
            trouble = f"event {event.number} is not what was written: its hash differs"
        if trouble is not None:
            return Verified(events=count, newest=last, trouble=trouble, contains=seen)
        last, count = stated, count + 1
        seen = seen or stated == contains
    return Verified(events=count, newest=last, trouble=None, contains=seen)
