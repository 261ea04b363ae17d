"""All that is asked of the database and written to it, as functions of a connection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    case,
    func,
    insert,
    literal_column,
    select,
    text,
    update,
)

from nfbmr.scoring.calibration import Verdict
from nfbmr.station.audit import Change, Event, chained, now
from nfbmr.station.store import outbox
from nfbmr.station.store.schema import CALIBRATIONS, EVENTS, HEATMAPS, INSPECTIONS

Label = Literal["good", "defect"]

_EVENTS_AT_ONCE = 1000
_LAST_LETTER = "\U0010ffff"  # sorts behind every other


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """An answered inspection, before it has a number."""

    time: str
    """UTC, ISO 8601, of the answer."""
    model: str
    product: str
    part_id: str
    """As whoever asked named the part; empty where nobody did."""
    source: str
    """`rest`, `page`, ..."""
    actor: str
    name: str
    """The picture's name where it came from; of no meaning to the station."""
    picture: str
    """sha256 of the picture's file."""
    file: str | None
    """Below the station's folder of pictures; None once it was deleted."""
    bytes: int
    height: int
    width: int
    bundle: str
    """sha256 of the model's identity."""
    calibration: str
    """sha256 of the calibration in force."""
    runtime: str
    threshold: float
    look_threshold: float
    score: float
    p_value: float
    verdict: Verdict
    regions: list[dict[str, Any]]
    milliseconds: float
    """From the last byte of the picture to the verdict."""
    arrival: str | None = None
    """sha256 that names this arrival of the picture at its source, where that tells them apart."""
    looks: dict[str, float] | None = None
    """What is watched beside the score; None in rows of older versions."""
    label: Label | None = None
    """What a person says that the part is."""
    note: str = ""
    labelled_by: str | None = None
    labelled_at: str | None = None
    request: str | None = None
    """sha256 that names what its sender may send again; None where it may not."""


@dataclass(frozen=True, kw_only=True)
class Recorded(Inspected):
    """One row of the record."""

    id: int


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which rows are wanted; what is empty or None does not matter."""

    model: str = ""
    verdict: str = ""
    label: str = ""
    """`good`, `defect`, `none` or `any`."""
    part_id: str = ""
    """Its beginning is enough."""
    source: str = ""
    since: str = ""
    """As `time` is written: at or after it; a beginning such as a day is enough."""
    until: str = ""
    """Before it."""


# Of what an index sorts SQLite would go through all of it. An expression sends it to the filter's.
_VERDICT: ColumnElement[str] = literal_column("verdict || ''")
_BY_FILTER: ColumnElement[int] = literal_column("+inspections.id")

_COLUMNS = [INSPECTIONS.c[field.name] for field in fields(Recorded)]


def _wanted(which: Filter) -> list[ColumnElement[bool]]:
    c = INSPECTIONS.c
    said = {
        "good": c.label == "good",
        "defect": c.label == "defect",
        "none": c.label.is_(None),
        "any": c.label.in_(("good", "defect")),  # two looks into an index, where NOT NULL is none
    }
    found: list[ColumnElement[bool]] = []
    if which.model:
        found.append(c.model == which.model)
    if which.verdict:
        found.append(c.verdict == which.verdict)
    if which.label:
        found.append(said[which.label])
    if which.part_id:
        found += [c.part_id >= which.part_id, c.part_id <= which.part_id + _LAST_LETTER]
    if which.source:
        found.append(c.source == which.source)
    if which.since:
        found.append(c.time >= which.since)
    if which.until:
        found.append(c.time < which.until)
    return found


def inspection(connection: Connection, number: int) -> Recorded | None:
    """Returns a row by its number."""
    row = connection.execute(select(*_COLUMNS).where(INSPECTIONS.c.id == number)).first()
    return None if row is None else Recorded(**row._mapping)


def of_request(connection: Connection, name: str) -> Recorded | None:
    """Returns a row by the name of its request."""
    row = connection.execute(select(*_COLUMNS).where(INSPECTIONS.c.request == name)).first()
    return None if row is None else Recorded(**row._mapping)


def page(
    connection: Connection,
    which: Filter,
    *,
    before: int | None = None,
    after: int | None = None,
    limit: int = 50,
) -> list[Recorded]:
    """Returns rows, the newest first, those with a number below `before`.

    Or those with the lowest numbers above `after`, the oldest first.
    """
    asked = select(*_COLUMNS).where(*_wanted(which))
    if before is not None:
        asked = asked.where(INSPECTIONS.c.id < before)
    if after is not None:
        asked = asked.where(INSPECTIONS.c.id > after)
    order = _BY_FILTER if which.since or which.until else INSPECTIONS.c.id
    found = connection.execute(
        asked.order_by(order.desc() if after is None else order).limit(limit)
    )
    return [Recorded(**row._mapping) for row in found]


def following(connection: Connection, which: Filter, after: int) -> Recorded | None:
    """Returns the row that comes next after a number."""
    asked = select(*_COLUMNS).where(*_wanted(which), INSPECTIONS.c.id > after)
    row = connection.execute(asked.order_by(INSPECTIONS.c.id).limit(1)).first()
    return None if row is None else Recorded(**row._mapping)


def newest(connection: Connection) -> int:
    """Returns the number of the newest row, 0 without any."""
    return int(connection.scalar(select(func.max(INSPECTIONS.c.id))) or 0)


def counts(connection: Connection, which: Filter) -> dict[str, int]:
    """Returns how many rows have each verdict."""
    asked = select(_VERDICT, func.count()).select_from(INSPECTIONS).where(*_wanted(which))
    found = connection.execute(asked.group_by(_VERDICT))
    return dict.fromkeys(("good", "look", "defect"), 0) | {row[0]: row[1] for row in found}


def reviewed(connection: Connection, which: Filter) -> dict[tuple[str, str], int]:
    """Returns how many rows have each verdict and each label."""
    label = INSPECTIONS.c.label
    wanted = (*_wanted(which), label.in_(("good", "defect")))
    asked = select(_VERDICT, label, func.count()).where(*wanted).group_by(_VERDICT, label)
    return {(row[0], row[1]): row[2] for row in connection.execute(asked)}


def heatmap(connection: Connection, number: int) -> bytes | None:
    """Returns an inspection's heatmap as it is kept."""
    return connection.scalar(select(HEATMAPS.c.png).where(HEATMAPS.c.inspection == number))


def calibration(connection: Connection, name: str) -> str | None:
    """Returns the text of a calibration by its hash."""
    return connection.scalar(select(CALIBRATIONS.c.content).where(CALIBRATIONS.c.hash == name))


def record(connection: Connection, done: Inspected, png: bytes | None) -> Recorded:
    """Writes an inspection down, with what others are told of it.

    Returns the row of the same request instead, where there is one.
    """
    earlier = None if done.request is None else of_request(connection, done.request)
    if earlier is not None:
        return earlier
    values = dict(vars(done))  # not copied deep: a region's outline has many numbers
    number = connection.execute(insert(INSPECTIONS).values(values)).inserted_primary_key
    assert number is not None
    if png is not None:
        connection.execute(insert(HEATMAPS).values(inspection=number[0], png=png))
    outbox.tell_inspection(connection, values | {"id": number[0]})
    return Recorded(**values, id=number[0])


def keep_calibration(connection: Connection, name: str, content: str) -> None:
    """Keeps a calibration's text under its hash."""
    if calibration(connection, name) is None:
        connection.execute(insert(CALIBRATIONS).values(hash=name, time=now(), content=content))


def label(
    connection: Connection, number: int, said: Label | None, note: str, actor: str
) -> Recorded | None:
    """Writes down what a person says of a part; None where there is no such row."""
    before = inspection(connection, number)
    if before is None:
        return None
    when = now() if said is not None else None
    new = {
        "label": said,
        "note": note,
        "labelled_by": None if said is None else actor,
        "labelled_at": when,
    }
    connection.execute(update(INSPECTIONS).where(INSPECTIONS.c.id == number).values(new))
    append(
        connection,
        Change(
            kind="feedback",
            subject=str(number),
            actor=actor,
            old={"label": before.label, "note": before.note},
            new={"label": said, "note": note},
            reason=note,
        ),
    )
    return Recorded(**(vars(before) | new))


# ---- events


def append(connection: Connection, change: Change) -> Event:
    """Adds an event to the chain, within the transaction of what it tells of."""
    if connection.dialect.name == "postgresql":  # SQLite has one writer by itself
        connection.execute(text("LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE"))
    newest_one = connection.execute(
        select(EVENTS).order_by(EVENTS.c.number.desc()).limit(1)
    ).first()
    last = None if newest_one is None else Event(**newest_one._mapping)
    event = chained(change, last, now())
    connection.execute(insert(EVENTS).values(asdict(event)))
    outbox.tell_event(connection, asdict(event))
    return event


def events(
    connection: Connection,
    *,
    kinds: Sequence[str] = (),
    subject: str = "",
    before: int | None = None,
    limit: int = 50,
) -> list[Event]:
    """Returns events, the newest first."""
    asked = select(EVENTS)
    if kinds:
        asked = asked.where(EVENTS.c.kind.in_(kinds))
    if subject:
        asked = asked.where(EVENTS.c.subject == subject)
    if before is not None:
        asked = asked.where(EVENTS.c.number < before)
    found = connection.execute(asked.order_by(EVENTS.c.number.desc()).limit(limit))
    return [Event(**row._mapping) for row in found]


def whole_chain(connection: Connection) -> Iterator[Event]:
    """Yields all events, the first first."""
    after = 0
    while True:
        asked = select(EVENTS).where(EVENTS.c.number > after).order_by(EVENTS.c.number)
        group = connection.execute(asked.limit(_EVENTS_AT_ONCE)).all()
        yield from (Event(**row._mapping) for row in group)
        if not group:
            return
        after = group[-1].number


# ---- kept pictures


def bytes_kept(connection: Connection) -> int:
    """Returns bytes of all pictures that are kept."""
    c = INSPECTIONS.c
    asked = select(func.coalesce(func.sum(c.bytes), 0)).where(c.file.is_not(None))
    return int(connection.scalar(asked) or 0)


def files_to_drop(
    connection: Connection, *, older_than: str | None = None, limit: int = 200
) -> list[tuple[str, int]]:
    """Returns files and bytes of kept pictures, those first that may go first.

    The oldest good ones that nobody reviewed, then those for a person, then defects, then what was
    reviewed.

    Args:
        connection: as everywhere.
        older_than: only those inspected before this time.
        limit: how many.
    """
    c = INSPECTIONS.c
    weight = case(
        (c.label.is_not(None), 3), (c.verdict == "defect", 2), (c.verdict == "look", 1), else_=0
    )
    asked = select(c.file, c.bytes).where(c.file.is_not(None))
    if older_than is not None:
        asked = asked.where(c.time < older_than)
    found = connection.execute(asked.order_by(weight, c.id).limit(limit))
    return [(row[0], row[1]) for row in found]


def forget_files(connection: Connection, files: Sequence[str], why: str) -> None:
    """Writes down that pictures are deleted, and of which inspections they were."""
    c = INSPECTIONS.c
    numbers = list(connection.scalars(select(c.id).where(c.file.in_(files)).order_by(c.id)))
    connection.execute(update(INSPECTIONS).where(c.file.in_(files)).values(file=None))
    change = Change(
        kind="pictures",
        subject="deleted",
        actor="station",
        new={"pictures": len(files), "inspections": numbers},
        reason=why,
    )
    append(connection, change)


def strangers(connection: Connection, files: Sequence[str]) -> list[str]:
    """Returns those of some files that no row has."""
    c = INSPECTIONS.c
    known = set(connection.scalars(select(c.file).where(c.file.in_(files))))
    return [file for file in files if file not in known]


def model_loaded(connection: Connection, change: Change, name: str, content: str) -> None:
    """Keeps a model's calibration, and that this model is on the line if it was not before."""
    keep_calibration(connection, name, content)
    last = events(connection, kinds=("model",), subject=change.subject, limit=1)
    old = last[0].new if last else None
    if old != change.new:
        append(connection, replace(change, old=old))


def state(connection: Connection) -> tuple[int, int]:
    """Returns the numbers of the newest inspection and of the newest event, 0 without any."""
    return newest(connection), int(connection.scalar(select(func.max(EVENTS.c.number))) or 0)
