"""The order in which people review: `look` first, then defects, then the rest, the newest first.

A page of it begins behind a part, not behind so many: what is reviewed meanwhile leaves the queue.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import Connection

from nfbmr.scoring.calibration import Verdict
from nfbmr.station.store import queries
from nfbmr.station.store.queries import Filter, Recorded

ORDER: tuple[Verdict, ...] = ("look", "defect", "good")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a part stands in the queue, whether or not it still is there."""

    verdict: Verdict
    number: int

    def __str__(self) -> str:
        """Returns how an address names it: `look-12`."""
        return f"{self.verdict}-{self.number}"


def place_of(row: Recorded) -> Place:
    """Returns where a part stands."""
    return Place(verdict=row.verdict, number=row.id)


def undone_first(
    connection: Connection, which: Filter, limit: int, after: Place | None = None
) -> list[Recorded]:
    """Returns the parts that come first, or first after a place."""
    found: list[Recorded] = []
    for verdict in ORDER if after is None else ORDER[ORDER.index(after.verdict) :]:
        if which.verdict in ("", verdict) and len(found) < limit:
            number = after.number if after is not None and after.verdict == verdict else None
            wanted = replace(which, verdict=verdict)
            found += queries.page(connection, wanted, before=number, limit=limit - len(found))
    return found


def undone_before(
    connection: Connection, which: Filter, limit: int, before: Place
) -> list[Recorded]:
    """Returns the last parts that come before a place, in the queue's order."""
    found: list[Recorded] = []
    for verdict in ORDER[ORDER.index(before.verdict) :: -1]:
        if which.verdict in ("", verdict) and len(found) < limit:
            number = before.number if before.verdict == verdict else 0
            wanted = replace(which, verdict=verdict)
            found += queries.page(connection, wanted, after=number, limit=limit - len(found))
    return found[::-1]
