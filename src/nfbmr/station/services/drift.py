"""Whether a line has changed: watched part by part, kept as events, computed again after a start.

A watch begins, once there is a part, with an event that holds its seed and the number of the part
before its first; the rest follows from the rows, so a restart finds the same. It ends where a
person resets it, or where another calibration judges. After a start very many parts are read again
some at a time: whoever asks meanwhile gets what is known of those before.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from array import array
from dataclasses import dataclass, field

import numpy as np

from nfbmr.inspection.drift import changed_how
from nfbmr.scoring.drift import LEVEL, RECENT, Alarm, Monitor, reference_of
from nfbmr.station.audit import Change, Event
from nfbmr.station.engine.pool import Loaded, Pool
from nfbmr.station.store import watched
from nfbmr.station.store.database import Store
from nfbmr.station.store.watched import Part

_log = logging.getLogger(__name__)

_EVERY = 60.0  # seconds
_AT_ONCE = 1000  # parts that are taken together
_LONGEST_BREATH = 0.5  # seconds


@dataclass(kw_only=True)
class Watch:
    """One watch over a model, from an event to the next."""

    model: str
    calibration: str
    began: Event | None
    """None before its first part."""
    monitor: Monitor
    newest: int
    """Number of the last inspection that was looked at."""
    numbers: array[int] = field(default_factory=lambda: array("q"))
    """Of the inspections, in the order in which the monitor took them."""
    behind: bool = False
    """Whether more parts may be recorded than it took, as for a while after a start."""
    left_out: int = 0
    """Inspections that an older version recorded without what is watched."""
    told: set[str] = field(default_factory=set)
    """Alarms that are events already: `line`, `defects`."""

    def inspection_of(self, alarm: Alarm) -> int:
        """Returns the number of the inspection that raised an alarm."""
        return self.numbers[alarm.number - 1]

    def alarms(self) -> dict[str, Alarm]:
        """Returns those that were raised: `line`, `defects`."""
        found = {"line": self.monitor.alarm, "defects": self.monitor.defects_alarm}
        return {which: alarm for which, alarm in found.items() if alarm is not None}

    def take(self, parts: list[Part]) -> None:
        """Takes the parts that came next."""
        for part in parts:
            self.newest = part.id
            values = _values(part, self.monitor.reference.names)
            if values is None:
                self.left_out += 1
                continue
            self.numbers.append(part.id)
            self.monitor.add(values, defect=part.verdict == "defect")


def _values(part: Part, names: tuple[str, ...]) -> list[float] | None:
    looks = part.looks or {}
    if any(name not in looks for name in names[1:]):
        return None
    return [part.score, *(looks[name] for name in names[1:])]


class Drift:
    """Watches all models on the line, in a thread of its own and whenever somebody asks."""

    def __init__(self, store: Store, pool: Pool) -> None:
        """Starts the thread."""
        self._store, self._pool = store, pool
        self._watches: dict[str, Watch] = {}
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="nfbmr-drift", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread."""
        self._ending.set()
        self._thread.join()

    def of(self, loaded: Loaded) -> Watch:
        """Returns the watch over a model, with all parts that are recorded, or `behind`.

        Raises:
            StationError: the database does not answer.
        """
        with self._lock:
            watch = self._watches.get(loaded.name)
            began = self._store.read(watched.begun, loaded.name)
            known = began is not None and (began.new or {}).get("calibration") == loaded.calibration
            if not known or watch is None or watch.began != began:
                watch = self._begun(loaded, began if known else None)
                self._watches[loaded.name] = watch
            if watch.began is not None:
                self._take_some(watch, watch.began)
            return watch

    def reset(self, loaded: Loaded, actor: str, reason: str) -> Watch:
        """Begins anew with the next part: whoever says why has looked at what changed.

        Raises:
            StationError: the database does not answer.
        """
        change = _beginning(loaded, actor, reason)
        self._store.write(watched.begin, change, anew=True).result()
        return self.of(loaded)

    def troubles(self) -> list[str]:
        """Returns a sentence for each alarm of models on the line, as they were last looked at."""
        found = []
        for name, watch in sorted(self._watches.copy().items()):
            loaded = self._pool.get(name)
            if loaded is None or loaded.calibration != watch.calibration:
                continue
            for alarm in watch.alarms().values():
                how = changed_how(alarm)
                found.append(f"Model {name}: the line has changed, {how}; see Drift")
        return found

    def _work(self) -> None:
        while True:
            for loaded in self._pool.all():
                if self._ending.is_set():
                    return
                try:
                    self._catch_up(loaded)
                except Exception:  # whatever it was, the next turn may do better
                    _log.exception("Model %s is not watched for changes", loaded.name)
            if self._ending.wait(_EVERY):
                return

    def _begun(self, loaded: Loaded, began: Event | None) -> Watch:
        reference = reference_of(loaded.inspector.calibration)
        which = loaded.name, loaded.calibration
        if began is None and self._store.read(watched.judged_last_by, *which):
            change = _beginning(loaded, "station", "")
            began = self._store.write(watched.begin, change, anew=False).result()
        if began is None:
            monitor = Monitor(reference, seed=0)
            return Watch(
                model=which[0], calibration=which[1], began=None, monitor=monitor, newest=0
            )
        new = began.new or {}
        before = self._store.read(watched.parts_until, *which, new["after"], RECENT)
        known = [_values(part, reference.names) for part in before if part.score < reference.cut]
        recent = np.array([values for values in known if values is not None])
        monitor = Monitor(reference, seed=new["seed"], recent=recent, level=new["level"])
        return Watch(
            model=which[0],
            calibration=which[1],
            began=began,
            monitor=monitor,
            newest=new["after"],
        )

    def _catch_up(self, loaded: Loaded) -> None:
        """Takes all parts; between some and the next others have the lock, and half of the time."""
        while not self._ending.is_set():
            began = time.monotonic()
            if not self.of(loaded).behind:
                return
            self._ending.wait(min(time.monotonic() - began, _LONGEST_BREATH))

    def _take_some(self, watch: Watch, began: Event) -> None:
        parts = self._store.read(
            watched.parts_after, watch.model, watch.calibration, watch.newest, _AT_ONCE
        )
        watch.take(parts)
        watch.behind = len(parts) == _AT_ONCE
        for which, alarm in watch.alarms().items():
            if which in watch.told:
                continue
            change = Change(
                kind=watched.ALARM,
                subject=watch.model,
                actor="station",
                new={
                    "which": which,
                    "inspection": watch.inspection_of(alarm),
                    "part": alarm.number,
                    "statistic": alarm.name,
                    "higher": alarm.higher,
                    "level": watch.monitor.level,
                },
            )
            if self._store.write(watched.raise_alarm, change, began.number).result():
                _log.warning("Model %s: %s", watch.model, changed_how(alarm))
            watch.told.add(which)


def _beginning(loaded: Loaded, actor: str, reason: str) -> Change:
    return Change(
        kind=watched.BEGINS,
        subject=loaded.name,
        actor=actor,
        new={
            "calibration": loaded.calibration,
            "bundle": loaded.bundle,
            "seed": secrets.randbits(48),
            "level": LEVEL,
        },
        reason=reason,
    )
