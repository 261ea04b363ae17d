"""Outputs and what waits for them: asked and written as functions of a connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Table, delete, false, func, insert, select, true, update

from nfbmr.station.audit import Change, now
from nfbmr.station.settings import Tells
from nfbmr.station.store import queries
from nfbmr.station.store.schema import OUTBOX, OUTPUTS


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """An output that the station was started with."""

    name: str
    tells: Tells
    address: str
    """Without a password."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """What waits for an output."""

    number: int
    """In the order of what it tells of."""
    id: str
    """The same for all outputs and tries."""
    topic: str
    """`inspections/MODEL` or `events/KIND`."""
    body: str
    """JSON."""


@dataclass(frozen=True, kw_only=True)
class OutputState:
    """How an output fares."""

    name: str
    tells: str
    """`all`, `defect`, or `nothing` where it is not asked for any more."""
    address: str
    waiting: int
    oldest: str | None
    """Time of the oldest that waits."""
    refused: int
    """Set aside: refused by the receiver, or not taken too often; tried again at the next start."""
    given_up: int
    """Thrown away, as too much waited or too long."""
    delivered_at: str | None
    failing: bool
    """Whether the last try failed."""
    error: str
    """The last one; empty without any."""
    error_at: str | None


def configure(connection: Connection, wanted: Sequence[Wanted]) -> None:
    """Says which outputs there are from now on; what was refused before is tried again."""
    c = OUTPUTS.c
    names = [one.name for one in wanted]
    left = select(OUTBOX.c.output)
    connection.execute(delete(OUTPUTS).where(c.name.not_in(names), c.name.not_in(left)))
    connection.execute(update(OUTPUTS).where(c.name.not_in(names)).values(tells="nothing"))
    known = set(connection.scalars(select(c.name)))
    for one in wanted:
        values = {"tells": one.tells, "address": one.address, "failing": False}
        if one.name in known:
            connection.execute(update(OUTPUTS).where(c.name == one.name).values(values))
        else:
            fresh = values | {"name": one.name, "error": "", "given_up": 0}
            connection.execute(insert(OUTPUTS).values(fresh))
    connection.execute(update(OUTBOX).where(OUTBOX.c.refused == true()).values(refused=False))


def waiting(connection: Connection, name: str, limit: int = 400) -> list[Message]:
    """Returns what waits for an output, the oldest first."""
    c = OUTBOX.c
    asked = select(c.number, c.id, c.topic, c.body).where(c.output == name, c.refused == false())
    found = connection.execute(asked.order_by(c.number).limit(limit))
    return [Message(**row._mapping) for row in found]


def delivered(connection: Connection, name: str, number: int) -> None:
    """Forgets a message that was taken."""
    connection.execute(delete(OUTBOX).where(OUTBOX.c.number == number))
    values = {"delivered_at": now(), "failing": False}
    connection.execute(update(OUTPUTS).where(OUTPUTS.c.name == name).values(values))


def refused(connection: Connection, name: str, number: int, why: str) -> None:
    """Sets a message aside that would be refused again."""
    connection.execute(update(OUTBOX).where(OUTBOX.c.number == number).values(refused=True))
    failing(connection, name, why)


def failing(connection: Connection, name: str, why: str, table: Table = OUTPUTS) -> None:
    """Writes down that an output, or a source, does not work, and why."""
    values = {"failing": True, "error": why, "error_at": now()}
    connection.execute(update(table).where(table.c.name == name).values(values))


def works(connection: Connection, name: str, table: Table = OUTPUTS) -> None:
    """Writes down that it works; its last error stays."""
    connection.execute(update(table).where(table.c.name == name).values(failing=False))


def give_up(connection: Connection, most: int, before: str) -> dict[str, int]:
    """Throws away what is too much or too old, with an event; returns how many by output.

    Args:
        connection: as everywhere.
        most: messages that may be kept for an output.
        before: a time; older ones go.
    """
    c = OUTBOX.c
    gone: dict[str, int] = {}
    for name in connection.scalars(select(c.output).distinct()).all():
        newest = select(c.number).where(c.output == name).order_by(c.number.desc())
        last = connection.scalar(newest.offset(most).limit(1))
        too_many = c.number <= (-1 if last is None else last)
        lost = delete(OUTBOX).where(c.output == name, too_many | (c.time < before))
        count = connection.execute(lost).rowcount
        if count:
            gone[name] = count
            _say_given_up(connection, name, count, most)
    return gone


def _say_given_up(connection: Connection, name: str, count: int, most: int) -> None:
    why = f"{count} messages were never delivered: more than {most} waited, or too long"
    c = OUTPUTS.c
    total = c.given_up + count
    connection.execute(update(OUTPUTS).where(c.name == name).values(given_up=total))
    failing(connection, name, why)
    change = Change(
        kind="output", subject=name, actor="station", new={"given_up": count}, reason=why
    )
    queries.append(connection, change)


def states(connection: Connection) -> list[OutputState]:
    """Returns how all outputs fare, by name."""
    c = OUTBOX.c
    counted = {
        (row[0], row[1]): (row[2], row[3])
        for row in connection.execute(
            select(c.output, c.refused, func.count(), func.min(c.number)).group_by(
                c.output, c.refused
            )
        )
    }
    found = []
    for row in connection.execute(select(OUTPUTS).order_by(OUTPUTS.c.name)):
        count, first = counted.get((row.name, False), (0, None))
        oldest = connection.scalar(select(c.time).where(c.number == first)) if count else None
        left, _ = counted.get((row.name, True), (0, None))
        state = OutputState(**row._mapping, waiting=count, oldest=oldest, refused=left)
        found.append(state)
    return found
