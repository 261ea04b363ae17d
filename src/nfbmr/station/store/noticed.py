"""Events of what the station notices: its settings, whose tokens hold, which models are gone.

Nobody told the station of such a change, so it compares what it finds with the last event.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, func, select

from nfbmr.station.audit import Change, Event, Values
from nfbmr.station.store import queries
from nfbmr.station.store.schema import EVENTS

STARTED = "started"
"""The kind of event that says what the station is started with."""
TOKEN = "token"  # the name of a kind of event, and no secret
"""Of events that say whose tokens hold."""
_ACTOR = "station"


def newest_of_each(connection: Connection, kind: str) -> dict[str, Event]:
    """Returns the newest event of a kind for each subject."""
    c = EVENTS.c
    newest = select(func.max(c.number)).where(c.kind == kind).group_by(c.subject)
    found = connection.execute(select(EVENTS).where(c.number.in_(newest)).order_by(c.subject))
    return {row.subject: Event(**row._mapping) for row in found}


def started(connection: Connection, settings: Values) -> None:
    """Writes down what the station is started with, where it was started otherwise before."""
    _differs(connection, STARTED, {"station": settings}, "it was started so")


def tokens_are(connection: Connection, tokens: Mapping[str, Values], file: str) -> None:
    """Writes down whose tokens hold from now on, and whose no more.

    Args:
        connection: as everywhere.
        tokens: what is said of each, by its owner's name.
        file: that they are in.
    """
    _differs(connection, TOKEN, tokens, f"so {file} says")


def models_are(connection: Connection, names: Collection[str], why: Mapping[str, str]) -> None:
    """Writes down at a start which models are on the line no more.

    Args:
        connection: as everywhere.
        names: of those that are.
        why: others could not be loaded.
    """
    for name, last in newest_of_each(connection, "model").items():
        if last.new is not None and name not in names:
            trouble = why.get(name)
            reason = "was not there when the station started"
            model_left(connection, name, f"cannot be loaded: {trouble}" if trouble else reason)


def model_left(connection: Connection, name: str, why: str) -> None:
    """Writes down that a model is on the line no more."""
    last = queries.events(connection, kinds=("model",), subject=name, limit=1)
    old = last[0].new if last else None
    change = Change(kind="model", subject=name, actor=_ACTOR, old=old, new=None, reason=why)
    queries.append(connection, change)


def _differs(connection: Connection, kind: str, found: Mapping[str, Values], why: str) -> None:
    """Writes an event for each subject of which something else is found than was before."""
    before = {name: one.new for name, one in newest_of_each(connection, kind).items()}
    for name in sorted(set(before) | set(found)):
        old, new = before.get(name), found.get(name)
        if old != new:
            change = Change(kind=kind, subject=name, actor=_ACTOR, old=old, new=new, reason=why)
            queries.append(connection, change)
