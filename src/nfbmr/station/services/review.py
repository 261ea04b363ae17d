"""What people say of parts, and what follows from it."""

from __future__ import annotations

from nfbmr.station.store import queries
from nfbmr.station.store.database import Store
from nfbmr.station.store.queries import Label, Recorded


def say(store: Store, number: int, label: Label | None, note: str, actor: str) -> Recorded | None:
    """Writes down what somebody says of a part; None where there is no such inspection.

    Raises:
        StationError: the database takes nothing.
    """
    return store.write(queries.label, number, label, note, actor).result()
