"""Where the thresholds lie, what that means, which parts it would judge otherwise; saved, undone.

The mathematics is that of `nfbmr.scoring`: a threshold is asked for by its rate. A handle on the
chart stands at a score, so the rate that a score stands for is looked for here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nfbmr.inspection.inspector import Inspector
from nfbmr.scoring.calibration import Calibration, Verdict
from nfbmr.scoring.conformal import threshold_for
from nfbmr.scoring.odd import Odd, name_of, odd_ones
from nfbmr.scoring.without import without
from nfbmr.station.audit import Event
from nfbmr.station.engine.pool import Loaded, Pool, Stamp, stamp_of
from nfbmr.station.services.changes import Changes
from nfbmr.station.services.jobs import ConflictError
from nfbmr.station.store import queries
from nfbmr.station.store.database import Store
from nfbmr.station.store.queries import Filter, Recorded

LAST = 200
"""Recorded parts that a change is tried on."""

_NAMING = 50  # changes that may name pictures
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
    with np.errstate(over="ignore"):  # beyond all numbers lies the least rate's threshold, too
        wanted = float(calibration.raw(np.array(score)))
    low, high = np.log(_LEAST_RATE), np.log(1 / (n + 1))
    for _ in range(_STEPS):  # the threshold falls as the rate grows
        middle = (low + high) / 2
        if threshold_for(raw, float(np.exp(middle)))[0] > wanted:
            low = middle
        else:
            high = middle
    return float(np.exp(high))


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
    before: Calibration
    """What is in force."""
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
    """Proposes, saves and takes back."""

    def __init__(self, store: Store, pool: Pool, changes: Changes) -> None:
        """Joins what it needs."""
        self._store, self._pool, self._changes = store, pool, changes

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
            before=now,
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
                known[row.calibration] = self._changes.calibration(
                    row.calibration, loaded.inspector
                )
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

    def save(self, loaded: Loaded, proposal: Proposal, actor: str, reason: str) -> Loaded:
        """Puts proposed thresholds in force, in the model directory and on the line.

        Raises:
            ConflictError: somebody changed them meanwhile.
            StationError: the database takes nothing.
            BundleError: the model directory cannot be written, or holds another model.
        """
        return self.replace(loaded, proposal.inspector, actor, reason)

    def undo(self, loaded: Loaded, actor: str) -> Loaded:
        """Puts the thresholds in force that were there before the last change.

        Raises:
            ConflictError: there is nothing to undo, or something else changed them since.
            BundleError: as `save`.
        """
        last = self._changes.to_undo("threshold", loaded)
        assert last.old is not None
        before = self._changes.calibration(last.old["calibration"], loaded.inspector)
        if before is None:
            raise ConflictError("the calibration before is not in the record")
        changed = loaded.inspector.with_calibration(before)
        return self.replace(loaded, changed, actor, f"undoes change {last.number}")

    def replace(
        self,
        loaded: Loaded,
        changed: Inspector,
        actor: str,
        reason: str,
        names: Mapping[str, int] | None = None,
    ) -> Loaded:
        """Puts another calibration of the same model in force; raises as `save`.

        Args:
            loaded: the model.
            changed: the same with the other calibration.
            actor: who changes it.
            reason: and why.
            names: inspections of pictures that calibrate, by the sha256 of their pixels.
        """
        return self._changes.make(
            "threshold",
            loaded,
            changed,
            (actor, reason),
            changed.save_calibration,
            lambda: self._pool.put(loaded, changed, _stamp(loaded)),
            names,
        )

    def leave_out(self, loaded: Loaded, picture: str, actor: str, reason: str = "") -> Loaded:
        """Takes a good picture's part in the thresholds; raises as `save`.

        Args:
            loaded: the model.
            picture: sha256 of its pixels, one of those that calibrate.
            actor: who asks.
            reason: and why.

        Raises:
            ConflictError: it does not calibrate.
            CalibrationError: too few pictures would be left.
        """
        now = loaded.inspector.calibration
        if picture not in now.pictures:
            raise ConflictError("this picture does not calibrate; load the page again")
        inspector = loaded.inspector
        changed = inspector.with_calibration(without(now, [picture], inspector.settings.scoring))
        score = now.scores[now.pictures.index(picture)]
        why = f"without good picture {name_of(now, picture)}, whose score was {score:z.2f}"
        why = f"{reason} ({why})" if reason else why
        return self.replace(loaded, changed, actor, why)

    def names(self, name: str) -> dict[str, int]:
        """Returns inspections of odd pictures that calibrate, as the last changes say."""
        found: dict[str, int] = {}
        for event in reversed(self.history(name, _NAMING)):
            found |= (event.new or {}).get("names", {})
        return found

    def history(self, name: str, limit: int = 10) -> list[Event]:
        """Returns the last changes of a model's thresholds, the newest first."""
        return self._store.read(queries.events, kinds=("threshold",), subject=name, limit=limit)


def odd(inspector: Inspector) -> tuple[Odd, ...]:
    """Returns the oddest good pictures, with the threshold without each."""
    return odd_ones(inspector.calibration, inspector.settings.scoring)


def _stamp(loaded: Loaded) -> Stamp | None:
    try:
        return stamp_of(loaded.path)
    except OSError:  # being replaced by somebody else
        return None


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
