"""What is told to others: written in the transaction of what it tells of."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert, select

from nfbmr.station.audit import now
from nfbmr.station.store.schema import OUTBOX, OUTPUTS

TOLD = frozenset({"drift", "threshold"})
"""Kinds of events that every output hears of."""

_OWN = frozenset(
    {"file", "bytes", "arrival", "request", "looks", "label", "note", "labelled_by", "labelled_at"}
)
"""What of an inspection is the station's own, or comes later."""


def tell_inspection(connection: Connection, row: Mapping[str, Any]) -> None:
    """Tells whoever wants to know of a recorded inspection, by its columns."""
    said = {name: value for name, value in row.items() if name not in _OWN}
    wants = ("all", "defect") if row["verdict"] == "defect" else ("all",)
    _put(connection, f"inspections/{row['model']}", "inspection", said, wants)


def tell_event(connection: Connection, event: Mapping[str, Any]) -> None:
    """Likewise of an event, where its kind is one that is told."""
    if event["kind"] in TOLD:
        _put(connection, f"events/{event['kind']}", "event", event, ("all", "defect"))


def _put(
    connection: Connection, topic: str, kind: str, said: Mapping[str, Any], wants: tuple[str, ...]
) -> None:
    outputs = connection.scalars(select(OUTPUTS.c.name).where(OUTPUTS.c.tells.in_(wants))).all()
    if not outputs:
        return
    name = uuid.uuid4().hex
    body = json.dumps({"id": name, "kind": kind, kind: said}, allow_nan=False)
    row = {"id": name, "time": now(), "topic": topic, "body": body, "refused": False}
    connection.execute(insert(OUTBOX), [row | {"output": output} for output in outputs])
