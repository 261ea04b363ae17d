"""Sources of pictures: asked and written as functions of a connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from nfbmr.station.audit import Change
from nfbmr.station.store import outputs, queries
from nfbmr.station.store.queries import Recorded
from nfbmr.station.store.schema import INSPECTIONS, SOURCES


@dataclass(frozen=True, kw_only=True)
class SourceState:
    """How a source fares, as far as it was written down."""

    name: str
    model: str
    address: str
    """Without a password."""
    paused: bool
    failing: bool
    """Whether it does not work now."""
    error: str
    """The last one; empty without any."""
    error_at: str | None


def configure(connection: Connection, wanted: Sequence[tuple[str, str, str]]) -> None:
    """Says which sources there are; one that was there before stays paused where it was.

    Args:
        connection: as everywhere.
        wanted: name, model, address of each.
    """
    known = {state.name: state for state in states(connection)}
    for name, model, address in wanted:
        before = known.get(name)
        if before is not None and (before.model, before.address) == (model, address):
            outputs.works(connection, name, SOURCES)
            continue
        values = {"model": model, "address": address, "paused": False, "failing": False}
        values |= {"error": "", "error_at": None}
        if before is None:
            connection.execute(insert(SOURCES).values(name=name, **values))
        else:
            if before.paused:
                pause(connection, name, False, "station", "its model or address is another now")
            connection.execute(update(SOURCES).where(SOURCES.c.name == name).values(values))


def states(connection: Connection) -> list[SourceState]:
    """Returns how all sources fare, those of earlier starts, too."""
    found = connection.execute(select(SOURCES).order_by(SOURCES.c.name))
    return [SourceState(**row._mapping) for row in found]


def failing(connection: Connection, name: str, why: str) -> None:
    """Writes down that a source does not work, and why."""
    outputs.failing(connection, name, why, SOURCES)


def works(connection: Connection, name: str) -> None:
    """Writes down that it works."""
    outputs.works(connection, name, SOURCES)


def pause(connection: Connection, name: str, paused: bool, actor: str, reason: str) -> None:
    """Has a source pause or go on, with an event; none where it does so already."""
    c = SOURCES.c
    before = connection.scalar(select(c.paused).where(c.name == name))
    if before == paused:
        return
    connection.execute(update(SOURCES).where(c.name == name).values(paused=paused))
    change = Change(
        kind="source",
        subject=name,
        actor=actor,
        old={"paused": before},
        new={"paused": paused},
        reason=reason,
    )
    queries.append(connection, change)


def last(connection: Connection, source: str) -> Recorded | None:
    """Returns the newest inspection of a source."""
    c = INSPECTIONS.c
    number = connection.scalar(
        select(c.id).where(c.source == source).order_by(c.id.desc()).limit(1)
    )
    return None if number is None else queries.inspection(connection, number)


def arrived(connection: Connection, arrival: str) -> Recorded | None:
    """Returns the inspection of one arrival of a picture, if it is recorded."""
    c = INSPECTIONS.c
    number = connection.scalar(select(c.id).where(c.arrival == arrival))
    return None if number is None else queries.inspection(connection, number)
