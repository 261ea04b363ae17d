"""Whether pictures can be judged and recorded at all."""

from __future__ import annotations

from nfbmr.errors import StationError
from nfbmr.station.engine.pool import Pool
from nfbmr.station.store import queries
from nfbmr.station.store.database import Store


def troubles_of(store: Store, pool: Pool) -> list[str]:
    """Returns why not: of the database, its writer, and the models; empty where all is well."""
    found = []
    try:
        store.read(queries.newest)
    except StationError as error:
        found.append(str(error))
    if not store.writer.alive:
        found.append("nothing is written any more")
    if not pool.all():
        found.append("no model is on the line")
    return found
