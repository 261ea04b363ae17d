"""What a learning put on the line: by which names it is known there, and whether it came about.

Putting it there is an event first, then the model's directory is copied. A kill between the two
leaves an event of what never was: the next start finds it, and takes it back in the record.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from nfbmr.errors import BundleError, BundleNotFoundError
from nfbmr.model.bundle import Identity, read_bundle
from nfbmr.station.audit import Event
from nfbmr.station.engine.pool import hash_of
from nfbmr.station.store import learnings, queries
from nfbmr.station.store.database import Store
from nfbmr.station.store.learnings import Learning

ON_LINE, NOT_ON_LINE = "on the line", "not on the line"
"""States of events: that a model is put there, and that it did not come there."""
FIT = "fit"
"""In a learning's result: the hash that names what is learnt, whatever calibrates it."""
BUNDLES = "bundles"
"""In an event of putting: the hashes that the model may be known by once it is loaded."""

_log = logging.getLogger(__name__)

_EVENTS = 1000  # of a model, among which the last putting is looked for
_WHY = "was recorded, then the station ended before it was made"


@dataclass(frozen=True, kw_only=True)
class Names:
    """What names a model that was learnt."""

    identity: Identity
    fit: str
    bundles: tuple[str, ...]


def names_of(model: Path) -> Names:
    """Returns what names the model in a directory.

    Raises:
        BundleError: it cannot be read.
    """
    bundle = read_bundle(model, tensors=False, unopened=False)
    graphs = dict.fromkeys((None, *(export.graph for export in bundle.exports)))
    known = (hash_of(replace(bundle.identity, graph=graph)) for graph in graphs)
    return Names(identity=bundle.identity, fit=fit_hash(bundle.identity), bundles=tuple(known))


def fit_hash(identity: Identity) -> str:
    """Names what was learnt, whichever graph computes it: 64 hexadecimal digits."""
    return hashlib.sha256(f"{identity.tensors}\n{identity.config}".encode()).hexdigest()


def take_back(store: Store, found: Learning, why: str) -> None:
    """Records that a model did not come on the line.

    Args:
        store: the record.
        found: the learning, with `placed` as it is to be.
        why: it did not.

    Raises:
        StationError: the database takes nothing.
    """
    change = learnings.change_of(found, NOT_ON_LINE, "station", why)
    store.write(
        learnings.move, found.id, ("learnt",), "learnt", change, placed=found.placed
    ).result()


def reconcile(store: Store, line: Path, model_of: Callable[[Learning], Path]) -> None:
    """Takes back in the record what a kill kept from the line; to be called at a start.

    Args:
        store: the record, in which the models that are on the line now are written down.
        line: the folder of models.
        model_of: where a learning's own model is.

    Raises:
        StationError: the database does not answer.
    """
    for found in store.read(learnings.placed):
        try:
            _reconcile(store, line / found.name, model_of(found), found)
        except (BundleError, OSError) as error:
            _log.warning("Nobody can say whether '%s' came on the line: %s", found.name, error)


def _reconcile(store: Store, there: Path, own: Path, found: Learning) -> None:
    put, later = _last_put(store, found)
    if put is None or put.new is None or put.new["state"] != ON_LINE:
        return
    result = found.result or {}
    fit, known = result.get(FIT), put.new.get(BUNDLES)
    if fit is None or known is None:  # as versions before wrote it
        names = names_of(own)
        fit, known = names.fit, names.bundles
    if later.isdisjoint(known) and _fit_at(there) != fit:
        take_back(store, replace(found, placed=None), _WHY)
    elif FIT not in result:
        known_now = result | {FIT: fit}
        store.write(
            learnings.move, found.id, ("learnt",), "learnt", placed=found.placed, result=known_now
        ).result()


def _last_put(store: Store, found: Learning) -> tuple[Event | None, set[str]]:
    """Returns the last event of a learning's model and the line, and what came there since."""
    later: set[str] = set()
    kinds = ("learn", "model")
    for event in store.read(queries.events, kinds=kinds, subject=found.name, limit=_EVENTS):
        new = event.new or {}
        if event.kind == "model":
            later |= {new["bundle"]} if new else set()
        elif new.get("learning") == found.id and new["state"] in (ON_LINE, NOT_ON_LINE):
            return event, later
    return None, later


def _fit_at(path: Path) -> str | None:
    """Returns what names the model that is in a directory; None without any."""
    try:
        return fit_hash(read_bundle(path, tensors=False, unopened=False).identity)
    except BundleNotFoundError:
        return None
