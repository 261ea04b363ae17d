"""What the watch over a line asks of the database, and writes to it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from nfbmr.scoring.calibration import Verdict
from nfbmr.station.audit import Change, Event, Values
from nfbmr.station.store import queries
from nfbmr.station.store.schema import EVENTS, INSPECTIONS

BEGINS = "drift_watch"
"""The kind of event that a watch begins with."""

ALARM = "drift"
"""That of its alarms."""


@dataclass(frozen=True)
class Part:
    """What is watched of an inspected part."""

    id: int
    score: float
    verdict: Verdict
    looks: dict[str, float] | None
    """None of parts that an older version recorded."""


_PART = (INSPECTIONS.c.id, INSPECTIONS.c.score, INSPECTIONS.c.verdict, INSPECTIONS.c.looks)


def parts_after(
    connection: Connection, model: str, calibration: str, after: int, limit: int
) -> list[Part]:
    """Returns parts that a calibration judged, the earliest first, with numbers above `after`."""
    c = INSPECTIONS.c
    asked = select(*_PART).where(c.model == model, c.id > after, c.calibration == calibration)
    return [Part(*row) for row in connection.execute(asked.order_by(c.id).limit(limit))]


def parts_until(
    connection: Connection, model: str, calibration: str, until: int, limit: int
) -> list[Part]:
    """Returns the last parts up to a number that were called no defect, the earliest first."""
    c = INSPECTIONS.c
    asked = select(*_PART).where(
        c.model == model, c.id <= until, c.calibration == calibration, c.verdict != "defect"
    )
    found = connection.execute(asked.order_by(c.id.desc()).limit(limit))
    return [Part(*row) for row in found][::-1]


def judged_last_by(connection: Connection, model: str, calibration: str) -> bool:
    """Returns whether a calibration judged the newest part of a model."""
    c = INSPECTIONS.c
    asked = select(c.calibration).where(c.model == model).order_by(c.id.desc()).limit(1)
    return connection.scalar(asked) == calibration


def begun(connection: Connection, model: str) -> Event | None:
    """Returns what the watch over a model began with."""
    found = queries.events(connection, kinds=(BEGINS,), subject=model, limit=1)
    return found[0] if found else None


def begin(connection: Connection, change: Change, *, anew: bool) -> Event:
    """Begins a watch where none of this calibration is under way, or anew.

    Args:
        connection: as everywhere.
        change: whose new values say which calibration, and get `after`, the number of the last part
            before it: of the newest where it begins anew, else of the last that another
            calibration judged.
        anew: whether one that is under way ends.
    """
    last = begun(connection, change.subject)
    old: Values | None = None if last is None else last.new
    new = change.new or {}
    if last is not None and not anew and (old or {}).get("calibration") == new["calibration"]:
        return last
    c = INSPECTIONS.c
    asked = select(func.max(c.id)).where(c.model == change.subject)
    if not anew:
        asked = asked.where(c.calibration != new["calibration"])
    values = {**new, "after": int(connection.scalar(asked) or 0)}
    return queries.append(
        connection,
        Change(
            kind=BEGINS,
            subject=change.subject,
            actor=change.actor,
            old=old,
            new=values,
            reason=change.reason,
        ),
    )


def alarms(connection: Connection, model: str, since: int) -> list[Event]:
    """Returns the alarms of a watch, by the number of the event that it began with."""
    asked = select(EVENTS).where(
        EVENTS.c.kind == ALARM, EVENTS.c.subject == model, EVENTS.c.number > since
    )
    return [Event(**row._mapping) for row in connection.execute(asked.order_by(EVENTS.c.number))]


def raise_alarm(connection: Connection, change: Change, since: int) -> bool:
    """Writes an alarm down, where it is not yet; returns whether it was new."""
    which = (change.new or {})["which"]
    for event in alarms(connection, change.subject, since):
        if (event.new or {}).get("which") == which:
            return False
    queries.append(connection, change)
    return True
