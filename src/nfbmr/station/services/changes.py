"""Changes of what is on the line: told first, then done, and taken back in the record if not done.

One at a time. A kill between the two leaves a change in the record that did not come about: the
next start finds it, and says so there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from nfbmr.errors import StationError
from nfbmr.inspection.inspector import Inspector
from nfbmr.model.calibrations import calibration_hash
from nfbmr.scoring.calibration import Calibration
from nfbmr.scoring.calibration_json import calibration_from_dict
from nfbmr.station.audit import Change, Event
from nfbmr.station.engine.pool import Loaded, Pool, bundle_hash
from nfbmr.station.services.jobs import ConflictError
from nfbmr.station.store import queries
from nfbmr.station.store.database import Reader, Store

_log = logging.getLogger(__name__)

KINDS = ("threshold", "switch")
"""Of events: another calibration of the same model, or another model."""

TAKES_BACK = "takes_back"
"""In an event's new values: the number of the change that did not come about."""
_NAMES = ("bundle", "calibration")
_SEEN = 1000  # models that came on the line, among which a change is looked for


class Changes:
    """Makes them, and knows the last ones."""

    def __init__(self, store: Store, pool: Pool) -> None:
        """Joins what it needs."""
        self._store, self._pool = store, pool
        self._lock = threading.Lock()

    def make(
        self,
        kind: str,
        loaded: Loaded,
        changed: Inspector,
        who_and_why: tuple[str, str],
        save: Callable[[], object],
        place: Callable[[], Loaded],
        names: Mapping[str, int] | None = None,
    ) -> Loaded:
        """Records a change, then makes it.

        Args:
            kind: one of `KINDS`.
            loaded: what is on the line.
            changed: what is to be there.
            who_and_why: the actor, and the reason.
            save: makes the change, in the model's directory.
            place: puts what is there on the line.
            names: inspections of pictures that calibrate, by the sha256 of their pixels.

        Raises:
            ConflictError: something else is on the line by now.
            StationError: the database takes nothing.
            Exception: what `save` raises; the record then says that it did not come about.
        """
        with self._lock:
            current = self._pool.get(loaded.name)
            if current is None or not _same(loaded, current):
                raise ConflictError("somebody changed the model meanwhile; load the page again")
            actor, reason = who_and_why
            new = said(changed) | ({"names": dict(names)} if names else {})
            event = self._told(kind, loaded, actor, said(loaded.inspector), new, reason)
            try:
                save()
            except BaseException as error:
                self._take_back(loaded, event, f"could not be saved: {error}")
                raise
            return place()

    def _told(
        self,
        kind: str,
        loaded: Loaded,
        actor: str,
        old: dict[str, Any],
        new: dict[str, Any],
        reason: str,
    ) -> Event:
        change = Change(
            kind=kind, subject=loaded.name, actor=actor, old=old, new=new, reason=reason
        )
        return self._store.write(queries.append, change).result()

    def _take_back(self, loaded: Loaded, event: Event, why: str) -> None:
        """Records that a recorded change did not come about."""
        now = said(loaded.inspector) | {TAKES_BACK: event.number}
        reason = f"change {event.number} {why}"
        try:
            self._told(event.kind, loaded, "station", event.new or {}, now, reason)
        except StationError:
            _log.exception("Change %d was not saved, and the record cannot say so", event.number)

    def reconcile(self, loaded: Loaded) -> None:
        """Takes back in the record a change that a kill kept from the model's directory.

        To be called at a start, before anything is changed.
        """
        last = self.last(KINDS, loaded.name)
        if last is None or _is(loaded, last.new) or not _is(loaded, last.old):
            return
        seen = self._store.read(queries.events, kinds=("model",), subject=loaded.name, limit=_SEEN)
        since = [event.new for event in seen if event.number > last.number]
        if not any(_is_of(new, last.new) for new in since):  # else somebody undid it since
            self._take_back(loaded, last, "was recorded, then the station ended before it was made")

    def last(self, kinds: Sequence[str], name: str) -> Event | None:
        """Returns the last change of a model that came about."""
        before: int | None = None
        taken_back: set[int] = set()
        while found := self._store.read(queries.events, kinds=kinds, subject=name, before=before):
            for event in found:
                number = (event.new or {}).get(TAKES_BACK)
                if number is not None:
                    taken_back.add(number)
                elif event.number not in taken_back:
                    return event
            before = found[-1].number
        return None

    def to_undo(self, kind: str, loaded: Loaded) -> Event:
        """Returns the change that is the last of its kind, and still in force.

        Raises:
            ConflictError: there is none.
        """
        last = self.last((kind,), loaded.name)
        if last is None or last.new is None or last.old is None:
            raise ConflictError("no such change is recorded: there is nothing to undo")
        if not _is(loaded, last.new):
            raise ConflictError(
                "it was changed since by something else, such as 'nfbmr calibrate', a new fit or "
                "another version; there is nothing to undo"
            )
        return last

    def calibration(self, name: str, inspector: Inspector) -> Calibration | None:
        """Returns what `kept_calibration` finds in the record."""
        return kept_calibration(self._store, name, inspector)


def kept_calibration(store: Reader, name: str, inspector: Inspector) -> Calibration | None:
    """Returns a calibration of a model by its hash; None where the record does not have it."""
    text = store.read(queries.calibration, name)
    if text is None or hashlib.sha256(text.encode()).hexdigest() != name:
        return None
    return calibration_from_dict(json.loads(text), inspector.settings.scoring)


def said(inspector: Inspector) -> dict[str, Any]:
    """Returns what an event says of a model and its calibration."""
    calibration = inspector.calibration
    return {
        "bundle": bundle_hash(inspector),
        "calibration": calibration_hash(calibration),
        "false_alarm_rate": calibration.false_alarm_rate,
        "look_rate": calibration.look_rate,
        "threshold": calibration.threshold,
        "look_threshold": calibration.look_threshold,
        "good_pictures": len(calibration.scores),
        "ignored": [list(area) for area in calibration.ignored],
        **({} if calibration.chosen is None else {"chosen": asdict(calibration.chosen)}),
    }


def _same(one: Loaded, other: Loaded) -> bool:
    return (one.bundle, one.calibration) == (other.bundle, other.calibration)


def _is_of(one: dict[str, Any] | None, change: dict[str, Any] | None) -> bool:
    """Whether a model that was loaded is what a change put there, by their events' values."""
    return one is not None and change is not None and one["calibration"] == change["calibration"]


def _is(loaded: Loaded, values: dict[str, Any] | None) -> bool:
    """Whether an event's values are of what is on the line; older ones do not name the bundle."""
    values = values or {}
    return "calibration" in values and all(
        values[name] == getattr(loaded, name) for name in _NAMES if name in values
    )
