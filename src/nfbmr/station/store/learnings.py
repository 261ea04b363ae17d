"""What is asked of products that are learnt, and written of them, as functions of a connection.

A change of state names the states that it may follow, and is refused within its transaction where
another is found: two people, or two servers, cannot both start the same learning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from sqlalchemy import Connection, delete, func, insert, select, update

from nfbmr.errors import StationError
from nfbmr.station.audit import Change, Values, now
from nfbmr.station.settings import GIGABYTE, MEGABYTE
from nfbmr.station.store import queries
from nfbmr.station.store.schema import LEARN_PICTURES, LEARNINGS

State = Literal["collecting", "waiting", "learning", "stopping", "learnt", "failed", "cancelled"]

AT_REST: tuple[State, ...] = ("collecting", "learnt", "failed", "cancelled")
"""Nothing works on it: pictures may come and go, and it may be started."""
UNFINISHED: tuple[State, ...] = ("collecting", "failed", "cancelled")
"""Nothing is learnt, and nothing waits."""
AT_WORK: tuple[State, ...] = ("learning", "stopping")
"""A process works on it, or did until a kill."""


PICTURE_EVENT = "good_picture"
"""The kind of event that a good picture comes by or goes by."""


class NoSuchLearningError(StationError):
    """No product with this number is learnt here, or it has no such picture."""


class NoRoomError(StationError):
    """All products together have as many bytes of pictures as may be."""


class NotNowError(StationError):
    """What is asked for does not go with the state that it is in."""


@dataclass(frozen=True, kw_only=True)
class Learning:
    """A product that is learnt, or is to be."""

    id: int
    folder: str
    """Of all its files, below the folder of learning: 32 hexadecimal digits."""
    name: str
    """Of the product, and of its model on the line."""
    preset: str
    state: State
    created: str
    actor: str
    """Who named it."""
    asked: str | None
    """When somebody asked for the learning, the last time."""
    starts: int
    """Processes that were started for it since."""
    progress: dict[str, Any] | None
    """See `nfbmr.station.worker.place.Said`."""
    trouble: str
    """Why it failed."""
    result: dict[str, Any] | None
    """See `nfbmr.station.worker.learn`; None where nothing is learnt."""
    placed: str | None
    """When its model was put on the line."""


@dataclass(frozen=True, kw_only=True)
class Brought:
    """A good picture that was brought, before it has a number."""

    file: str
    """Below the pictures of its learning."""
    name: str
    """What whoever brought it calls it; never used as a path."""
    picture: str
    """sha256 of its file."""
    pixels: str
    """sha256 of its pixels."""
    bytes: int
    height: int
    width: int
    actor: str


@dataclass(frozen=True, kw_only=True)
class GoodPicture(Brought):
    """A good picture to learn from."""

    id: int
    learning: int
    time: str


_COLUMNS = [LEARNINGS.c[field.name] for field in fields(Learning)]
_OF_PICTURE = [LEARN_PICTURES.c[field.name] for field in fields(GoodPicture)]


def learning(connection: Connection, number: int) -> Learning:
    """Returns a row by its number.

    Raises:
        NoSuchLearningError: there is none.
    """
    row = connection.execute(select(*_COLUMNS).where(LEARNINGS.c.id == number)).first()
    if row is None:
        raise NoSuchLearningError(f"there is no learning {number}")
    return Learning(**row._mapping)


def everything(connection: Connection, limit: int = 500) -> list[tuple[Learning, int]]:
    """Returns the newest rows, the newest first, and how many pictures each has."""
    c = LEARN_PICTURES.c
    counted = select(c.learning, func.count().label("n")).group_by(c.learning).subquery()
    asked = (
        select(*_COLUMNS, func.coalesce(counted.c.n, 0).label("n"))
        .outerjoin(counted, counted.c.learning == LEARNINGS.c.id)
        .order_by(LEARNINGS.c.id.desc())
        .limit(limit)
    )
    found = []
    for row in connection.execute(asked):
        values = dict(row._mapping)
        count = int(values.pop("n"))
        found.append((Learning(**values), count))
    return found


def at_work(connection: Connection) -> Learning | None:
    """Returns the row that a process works on, or did until a kill."""
    asked = select(*_COLUMNS).where(LEARNINGS.c.state.in_(AT_WORK))
    row = connection.execute(asked.order_by(LEARNINGS.c.asked).limit(1)).first()
    return None if row is None else Learning(**row._mapping)


def waiting(connection: Connection) -> list[Learning]:
    """Returns those whose turn comes, the first first."""
    asked = select(*_COLUMNS).where(LEARNINGS.c.state == "waiting")
    found = connection.execute(asked.order_by(LEARNINGS.c.asked, LEARNINGS.c.id))
    return [Learning(**row._mapping) for row in found]


def placed(connection: Connection) -> list[Learning]:
    """Returns those whose models were put on the line, the first first."""
    c = LEARNINGS.c
    asked = select(*_COLUMNS).where(c.state == "learnt", c.placed.is_not(None))
    return [Learning(**row._mapping) for row in connection.execute(asked.order_by(c.id))]


def create(connection: Connection, folder: str, name: str, preset: str, actor: str) -> Learning:
    """Writes down a product that somebody named."""
    values = {
        "folder": folder,
        "name": name,
        "preset": preset,
        "state": "collecting",
        "created": now(),
        "actor": actor,
    }
    number = connection.execute(insert(LEARNINGS).values(values)).inserted_primary_key
    assert number is not None
    made = learning(connection, number[0])
    queries.append(connection, change_of(made, "collecting", actor))
    return made


def change_of(found: Learning, state: str, actor: str, reason: str = "", **more: object) -> Change:
    """Returns the event that says that a learning goes to a state."""
    return Change(
        kind="learn",
        subject=found.name,
        actor=actor,
        old={"learning": found.id, "state": found.state},
        new={"learning": found.id, "state": state} | more,
        reason=reason,
    )


def move(
    connection: Connection,
    /,
    number: int,
    since: Sequence[State],
    to: State,
    change: Change | None = None,
    **values: object,
) -> Learning:
    """Brings a row from one of some states to another, with its event.

    Raises:
        NoSuchLearningError: there is none.
        NotNowError: it is in another state.
    """
    _in_state(connection, number, since)
    connection.execute(
        update(LEARNINGS).where(LEARNINGS.c.id == number).values({"state": to} | values)
    )
    if change is not None:
        queries.append(connection, change)
    return learning(connection, number)


def note_progress(connection: Connection, number: int, progress: Mapping[str, Any]) -> None:
    """Writes down how far a process is, as long as it is to go on."""
    c = LEARNINGS.c
    at = update(LEARNINGS).where(c.id == number, c.state == "learning")
    connection.execute(at.values(progress=dict(progress)))


def finish(
    connection: Connection,
    number: int,
    result: Mapping[str, Any],
    heats: Mapping[str, bytes],
    change: Change,
) -> Learning:
    """Writes down what was learnt, and the heatmaps of pictures by the hashes of their pixels."""
    c = LEARN_PICTURES.c
    found = move(connection, number, ("learning",), "learnt", change, result=dict(result))
    for pixels, png in heats.items():
        its = update(LEARN_PICTURES).where(c.learning == number, c.pixels == pixels)
        connection.execute(its.values(heat=png))
    return found


def folders(connection: Connection) -> set[str]:
    """Returns the folders of all learnings."""
    return set(connection.scalars(select(LEARNINGS.c.folder)))


def untouched(connection: Connection, before: str) -> list[Learning]:
    """Returns those of which nothing is learnt, and that nobody did anything for since a time."""
    c, of = LEARNINGS.c, LEARN_PICTURES.c
    fresh = select(of.learning).where(of.time >= before)
    old = c.created < before, func.coalesce(c.asked, "") < before, c.id.not_in(fresh)
    found = connection.execute(select(*_COLUMNS).where(c.state.in_(UNFINISHED), *old))
    return [Learning(**row._mapping) for row in found]


def remove(connection: Connection, number: int, actor: str, reason: str = "") -> None:
    """Forgets a learning and its pictures.

    Raises:
        NoSuchLearningError: there is none.
        NotNowError: it waits for its turn, or is learnt now.
    """
    found = _in_state(connection, number, AT_REST)
    connection.execute(delete(LEARN_PICTURES).where(LEARN_PICTURES.c.learning == number))
    connection.execute(delete(LEARNINGS).where(LEARNINGS.c.id == number))
    queries.append(connection, change_of(found, "deleted", actor, reason))


def _in_state(connection: Connection, number: int, states: Sequence[State]) -> Learning:
    held = select(LEARNINGS.c.id).where(LEARNINGS.c.id == number).with_for_update()
    connection.execute(held)  # SQLite has one writer by itself
    found = learning(connection, number)
    refuse_others(found, states)
    return found


def refuse_others(found: Learning, states: Sequence[State]) -> None:
    """Refuses what goes with some states alone.

    Raises:
        NotNowError: it is in another one.
    """
    if found.state not in states:
        raise NotNowError(
            f"'{found.name}' is {SAID[found.state]}; that can be done only while it is "
            f"{' or '.join(SAID[state] for state in states)}. Load the page again"
        )


SAID: dict[State, str] = {
    "collecting": "being collected",
    "waiting": "waiting for its turn",
    "learning": "being learnt",
    "stopping": "being stopped",
    "learnt": "learnt",
    "failed": "not learnt, for it failed",
    "cancelled": "not learnt, for it was cancelled",
}
"""States in words."""


# ---- pictures


def pictures(connection: Connection, number: int) -> list[GoodPicture]:
    """Returns a learning's pictures, in the order in which they came."""
    c = LEARN_PICTURES.c
    found = connection.execute(select(*_OF_PICTURE).where(c.learning == number).order_by(c.id))
    return [GoodPicture(**row._mapping) for row in found]


def picture(connection: Connection, number: int, which: int) -> GoodPicture:
    """Returns one of them.

    Raises:
        NoSuchLearningError: there is none.
    """
    c = LEARN_PICTURES.c
    asked = select(*_OF_PICTURE).where(c.learning == number, c.id == which)
    row = connection.execute(asked).first()
    if row is None:
        raise NoSuchLearningError(f"learning {number} has no picture {which}")
    return GoodPicture(**row._mapping)


def heat(connection: Connection, number: int, which: int) -> bytes | None:
    """Returns a picture's heatmap as it is kept; None where it has none."""
    c = LEARN_PICTURES.c
    return connection.scalar(select(c.heat).where(c.learning == number, c.id == which))


def add_picture(
    connection: Connection, number: int, brought: Brought, most: int, most_bytes: int
) -> GoodPicture | str:
    """Adds a picture, with an event; returns the name of the one that it is a copy of, if any.

    Args:
        connection: as everywhere.
        number: of the learning.
        brought: the picture.
        most: pictures that a learning may have.
        most_bytes: of the pictures of all learnings together.

    Raises:
        NoSuchLearningError: there is no such learning.
        NotNowError: it is not at rest, or has as many pictures as may be.
        NoRoomError: all learnings have as much as may be.
    """
    c = LEARN_PICTURES.c
    found = _in_state(connection, number, AT_REST)
    there = select(c.name).where(c.learning == number, c.pixels == brought.pixels)
    copy = connection.scalar(there)
    if copy is not None:
        return str(copy)
    count = connection.scalar(select(func.count()).where(c.learning == number)) or 0
    if count >= most:
        raise NotNowError(f"'{found.name}' has {count} pictures, as many as may be")
    kept = int(connection.scalar(select(func.coalesce(func.sum(c.bytes), 0))) or 0)
    if kept + brought.bytes > most_bytes:
        raise NoRoomError(
            f"the pictures of all products: found {kept / GIGABYTE:.3g} GB and "
            f"{brought.bytes / MEGABYTE:.3g} MB more, expected {most_bytes / GIGABYTE:g} GB at "
            "most; delete products on Learn that nobody needs, or start the station with a larger "
            "--learning-gigabytes"
        )
    values = asdict(brought) | {"learning": number, "time": now()}
    key = connection.execute(insert(LEARN_PICTURES).values(values)).inserted_primary_key
    assert key is not None
    added = picture(connection, number, key[0])
    queries.append(connection, _change_of_picture(found, brought.actor, new=_said_of(added)))
    return added


def drop_picture(connection: Connection, number: int, which: int, actor: str) -> GoodPicture:
    """Takes a picture out, with an event; returns what it was.

    Raises:
        NoSuchLearningError: there is none.
        NotNowError: its learning is not at rest.
    """
    its = _in_state(connection, number, AT_REST)
    found = picture(connection, number, which)
    connection.execute(delete(LEARN_PICTURES).where(LEARN_PICTURES.c.id == which))
    queries.append(connection, _change_of_picture(its, actor, old=_said_of(found)))
    return found


def _said_of(one: GoodPicture) -> Values:
    """Returns what an event says of a good picture."""
    return {name: getattr(one, name) for name in ("learning", "id", "name", "picture", "pixels")}


def _change_of_picture(
    found: Learning, actor: str, *, old: Values | None = None, new: Values | None = None
) -> Change:
    """Returns the event of a good picture that comes or goes."""
    return Change(kind=PICTURE_EVENT, subject=found.name, actor=actor, old=old, new=new)
