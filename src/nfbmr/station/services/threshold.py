"""Where the thresholds lie, what that means, which parts it would judge otherwise; saved, undone.

The mathematics is that of `nfbmr.scoring`: a threshold is asked for by its rate. A handle on the
chart stands at a score, so the rate that a score stands for is looked for here.
"""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from nfbmr.errors import StationError
from nfbmr.inspection.inspector import Inspector
from nfbmr.scoring.calibrate import Odd, odd_ones
from nfbmr.scoring.calibration import Calibration, Verdict, calibration_from_dict
from nfbmr.scoring.conformal import threshold_for
from nfbmr.station.audit import Change, Event
from nfbmr.station.engine.pool import Loaded, Pool, Stamp, calibration_hash, stamp_of
from nfbmr.station.store import queries
from nfbmr.station.store.database import Store
from nfbmr.station.store.queries import Filter, Recorded

_log = logging.getLogger(__name__)

_TAKES_BACK = "takes_back"
"""In an event's new values: the number of the change that did not come about."""

LAST = 200
"""Recorded parts that a change is tried on."""

_LEAST_RATE = 1e-6
_MOST_RATE = 0.99
_STEPS = 60  # of a bisection


def rate_at(calibration: Calibration, score: float) -> float:
    """Returns the rate that has its threshold at a score, or at the nearest that some rate has.

    Between two scores of good pictures that is the lower one's; beyond the highest, where a
    threshold is extrapolated, the rate whose threshold lies there.
    """
    scores = np.array(calibration.scores)
    n = len(scores)
    below = int(np.searchsorted(scores, score, side="right"))
    if below < n:
        return min(_MOST_RATE, (n + 1 - max(1, below)) / (n + 1))
    raw = np.sort(calibration.raw(scores))
    wanted = float(calibration.raw(np.array(score)))
    low, high = np.log(_LEAST_RATE), np.log(1 / (n + 1))
    for _ in range(_STEPS):  # the threshold falls as the rate grows
        middle = (low + high) / 2
        if threshold_for(raw, float(np.exp(middle)))[0] > wanted:
            low = middle
        else:
            high = middle
    return float(np.exp(high))


class ConflictError(StationError):
    """Something else was changed meanwhile, or there is nothing to take back."""


@dataclass(frozen=True, kw_only=True)
class Otherwise:
    """A recorded part, and what would be said of it."""

    recorded: Recorded
    score: float
    """On the proposed scale."""
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """Thresholds that are not in force yet."""

    inspector: Inspector
    """With them."""
    defect_at: float
    """The threshold on the scale that is in force now."""
    look_at: float
    """Likewise, that for a person."""
    otherwise: list[Otherwise]
    tried: int
    """Recorded parts that it was tried on."""
    incomparable: int
    """Those whose scores stand on scales learnt from other pictures."""

    @property
    def calibration(self) -> Calibration:
        """That would be in force."""
        return self.inspector.calibration


class Thresholds:
    """Proposes, saves and takes back; one change at a time."""

    def __init__(self, store: Store, pool: Pool) -> None:
        """Joins what it needs."""
        self._store, self._pool = store, pool
        self._lock = threading.Lock()

    def propose(self, loaded: Loaded, rate: float, look_rate: float) -> Proposal:
        """Tries other rates on the last recorded parts.

        Raises:
            SettingsError: a rate is no share.
            StationError: the database does not answer.
        """
        now = loaded.inspector.calibration
        changed = loaded.inspector.recalibrated(rate, look_rate=max(rate, look_rate))
        new = changed.calibration
        found, tried, incomparable = self._otherwise(loaded, now, new)
        return Proposal(
            inspector=changed,
            defect_at=_moved(new.threshold, new, now),
            look_at=_moved(new.look_threshold, new, now),
            otherwise=found,
            tried=tried,
            incomparable=incomparable,
        )

    def _otherwise(
        self, loaded: Loaded, now: Calibration, new: Calibration
    ) -> tuple[list[Otherwise], int, int]:
        known: dict[str, Calibration | None] = {loaded.calibration: now}
        found, tried, incomparable = [], 0, 0
        for row in self._store.read(queries.page, Filter(model=loaded.name), limit=LAST):
            if row.calibration not in known:
                known[row.calibration] = self._calibration(row.calibration, loaded.inspector)
            then = known[row.calibration]
            if row.bundle != loaded.bundle or then is None or not _comparable(then, now):
                incomparable += 1
                continue
            tried += 1
            score = _moved(row.score, then, new)
            verdict = new.verdict(score)
            if verdict != row.verdict:
                found.append(Otherwise(recorded=row, score=score, verdict=verdict))
        return found, tried, incomparable

    def _calibration(self, name: str, inspector: Inspector) -> Calibration | None:
        text = self._store.read(queries.calibration, name)
        if text is None:
            return None
        return calibration_from_dict(json.loads(text), inspector.settings.scoring)

    def save(self, loaded: Loaded, proposal: Proposal, actor: str, reason: str) -> Loaded:
        """Puts proposed thresholds in force, in the model directory and on the line.

        Raises:
            ConflictError: somebody changed them meanwhile.
            StationError: the database takes nothing.
            BundleError: the model directory cannot be written, or holds another model.
        """
        return self._replaced(loaded, proposal.inspector, actor, reason)

    def undo(self, loaded: Loaded, actor: str) -> Loaded:
        """Puts the thresholds in force that were there before the last change.

        Raises:
            ConflictError: there is nothing to undo, or something else changed them since.
            BundleError: as `save`.
        """
        last = self._last(loaded.name)
        if last is None or last.new is None or last.old is None:
            raise ConflictError("no change of the thresholds is recorded: there is nothing to undo")
        if last.new["calibration"] != loaded.calibration:
            raise ConflictError(
                "the thresholds were changed since by something else, such as 'nfbmr calibrate' or "
                "a new fit; set them by the handles"
            )
        before = self._calibration(last.old["calibration"], loaded.inspector)
        if before is None:
            raise ConflictError("the calibration before is not in the record")
        changed = loaded.inspector.with_calibration(before)
        return self._replaced(loaded, changed, actor, f"undoes change {last.number}")

    def _replaced(self, loaded: Loaded, changed: Inspector, actor: str, reason: str) -> Loaded:
        with self._lock:
            current = self._pool.get(loaded.name)
            if current is None or current.calibration != loaded.calibration:
                raise ConflictError("somebody changed the model meanwhile; load the page again")
            old, new = _said(loaded.inspector), _said(changed)
            event = self._told(loaded, actor, old, new, reason)
            try:
                changed.save_calibration()
            except BaseException as error:
                self._take_back(loaded, event, error)
                raise
            return self._pool.put(loaded, changed, _stamp(loaded))

    def _told(
        self, loaded: Loaded, actor: str, old: dict[str, Any], new: dict[str, Any], reason: str
    ) -> Event:
        change = Change(
            kind="threshold", subject=loaded.name, actor=actor, old=old, new=new, reason=reason
        )
        return self._store.write(queries.append, change).result()

    def _take_back(self, loaded: Loaded, event: Event, error: BaseException) -> None:
        """Records that a recorded change did not come about."""
        now = _said(loaded.inspector) | {_TAKES_BACK: event.number}
        why = f"change {event.number} could not be saved: {error}"
        try:
            self._told(loaded, "station", event.new or {}, now, why)
        except StationError:
            _log.exception("Change %d was not saved, and the record cannot say so", event.number)

    def _last(self, name: str) -> Event | None:
        """Returns the last change of a model's thresholds that came about."""
        before: int | None = None
        taken_back: set[int] = set()
        while found := self._store.read(
            queries.events, kinds=("threshold",), subject=name, before=before
        ):
            for event in found:
                number = (event.new or {}).get(_TAKES_BACK)
                if number is not None:
                    taken_back.add(number)
                elif event.number not in taken_back:
                    return event
            before = found[-1].number
        return None

    def history(self, name: str, limit: int = 10) -> list[Event]:
        """Returns the last changes of a model's thresholds, the newest first."""
        return self._store.read(queries.events, kinds=("threshold",), subject=name, limit=limit)


def odd(calibration: Calibration) -> tuple[Odd, ...]:
    """Returns the oddest good pictures, with the threshold without each."""
    return odd_ones(calibration)


def _stamp(loaded: Loaded) -> Stamp | None:
    try:
        return stamp_of(loaded.path)
    except OSError:  # being replaced by somebody else
        return None


def _said(inspector: Inspector) -> dict[str, Any]:
    calibration = inspector.calibration
    return {
        "calibration": calibration_hash(calibration),
        "false_alarm_rate": calibration.false_alarm_rate,
        "look_rate": calibration.look_rate,
        "threshold": calibration.threshold,
        "look_threshold": calibration.look_threshold,
    }


def _comparable(one: Calibration, other: Calibration) -> bool:
    """Whether raw scores of both stand on the same scales."""
    return (one.statistic_mean, one.statistic_std, one.judge_mean, one.judge_std) == (
        other.statistic_mean,
        other.statistic_std,
        other.judge_mean,
        other.judge_std,
    )


def _moved(score: float, one: Calibration, other: Calibration) -> float:
    """Brings a score from one calibration's scale to another's."""
    return float(other.shown(one.raw(np.array(score))))
