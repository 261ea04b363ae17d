"""Parts that people confirmed as good, asked as functions of a connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from nfbmr.scoring.calibration import Verdict
from nfbmr.scoring.chosen import Chosen
from nfbmr.station.store import queries
from nfbmr.station.store.queries import Filter
from nfbmr.station.store.schema import INSPECTIONS


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """A part that a person confirmed as good, and whose picture is kept."""

    id: int
    file: str
    time: str
    verdict: Verdict
    """Of the model, then."""


def confirmed_good(connection: Connection, model: str, limit: int) -> list[Confirmed]:
    """Returns a model's confirmed parts whose pictures are kept, the newest first.

    Of the same picture the newest alone.
    """
    c = INSPECTIONS.c
    wanted = c.model == model, c.label == "good", c.file.is_not(None)
    asked = select(c.picture, c.id, c.file, c.time, c.verdict).where(*wanted)
    found: dict[str, Confirmed] = {}
    for row in connection.execute(asked.order_by(c.id.desc()).limit(limit)):
        one = Confirmed(id=row.id, file=row.file, time=row.time, verdict=row.verdict)
        found.setdefault(row.picture, one)
    return list(found.values())


def chosen_of(connection: Connection, model: str, parts: Sequence[Confirmed]) -> Chosen | None:
    """Returns how a model's confirmed parts compare with all of their time; None of no part."""
    if not parts:
        return None
    since = min(one.time for one in parts)
    verdicts = queries.counts(connection, Filter(model=model, since=since))
    return Chosen(
        odd=sum(one.verdict != "good" for one in parts),
        of=len(parts),
        odd_of_all=verdicts["look"] + verdicts["defect"],
        of_all=sum(verdicts.values()),
    )
