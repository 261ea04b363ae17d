"""Whether a line has changed: conformal test martingales on accepted parts, with a stated level.

What is computed, and why its probability of a false alarm holds, is in docs/drift.md.

Shapes: n = pictures that calibrate, Q = statistics, k = streams. numpy alone.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from nfbmr.scoring.alike import MOST, lag_for, surely_alike
from nfbmr.scoring.bets import HIGHER, Bets, Coins, Ranks
from nfbmr.scoring.calibration import Calibration
from nfbmr.scoring.looks import LOOKS
from nfbmr.scoring.maps import Floats

LEVEL = 0.01
"""The probability of a false alarm, of each of the two, from one reset to the next."""

BLOCK = MOST
"""Parts of which the defects are counted together: none less, or neighbours' would be alike."""

STEP = 25
"""Accepted parts that a point of the chart against the calibration stands for."""

LOOK_FIRST = 200
"""Accepted parts, then at each doubling: are neighbours more alike than thought?"""

RECENT = 2000
"""Accepted parts that the lag is chosen by."""

_FEW = 50  # good pictures, below which they cannot tell how alike neighbours are
_AT_FIRST = 5  # the lag then, at most, until parts have told it
_BEYOND = 3.0  # standard errors, of the chart without guarantee


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What accepted parts are compared with at first."""

    names: tuple[str, ...]
    """Of the statistics, (Q,), `score` first."""
    values: Floats
    """Of the good pictures that calibrate, (n, Q), in the order of time where that is known."""
    cut: float
    """Parts that score as high or higher are not compared, nor are such pictures."""


def reference_of(calibration: Calibration, names: Sequence[str] | None = None) -> Reference:
    """Returns what a calibration knows of good pictures, below its highest ranks.

    Given the score at the threshold's rank, those below it are as independent as they were, and
    so are parts below it: both are compared, and nothing else.

    Args:
        calibration: in force.
        names: statistics beside the score, of `LOOKS`; by default all. Those that the calibration
            does not know are passed over.
    """
    wanted = LOOKS if names is None else names
    others = tuple(name for name in wanted if name in calibration.watched)
    scores = np.array(calibration.scores)
    table = np.stack([scores, *(np.array(calibration.watched[name]) for name in others)], axis=1)
    cut = scores[min(calibration.rank, len(scores)) - 1]
    order = np.argsort(calibration.places) if calibration.places else np.arange(len(scores))
    table = table[order]
    return Reference(names=("score", *others), values=table[table[:, 0] < cut], cut=float(cut))


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """The line has changed, or that was bad luck of a probability below the level."""

    number: int
    """The part at which it was raised, counted from 1 at the reset."""
    name: str
    """The statistic with the most evidence; `defects` of the other alarm."""
    higher: bool
    """Whether its values of late lie above those before."""


class _Run:
    """All tests from one choice of the lag to the next."""

    def __init__(self, reference: Reference, k: int, level: float, first: int) -> None:
        """Begins.

        Args:
            reference: what is known at first.
            k: the lag, and so many streams.
            level: of this run's alarm, all tests together.
            first: the number of its first part.
        """
        self.k, self.level, self.first = k, level, first
        count = len(reference.names)
        apart = surely_alike(reference.values)
        self._ranks = [
            [Ranks(reference.values[j % apart :: apart, q]) for q in range(count)] for j in range(k)
        ]
        self._bets = Bets((k, count))
        self.now = np.zeros((k, count))
        self.best = np.zeros((k, count))
        self.accepted = 0

    def add(self, number: int, values: Floats, coins: Floats) -> None:
        """Takes an accepted part's values (Q,)."""
        j = number % self.k
        ranked = zip(self._ranks[j], values.tolist(), coins.tolist(), strict=True)
        p = np.array([ranks.add(value, coin) for ranks, value, coin in ranked])
        self.now[j] = self._bets.bet(p, j)
        self.best[j] = np.maximum(self.best[j], self.now[j])
        self.accepted += 1

    @property
    def limit(self) -> float:
        """What the logarithm of one test's capital must reach: as many tests share the level."""
        return math.log(self.best.size / self.level)


class _Share:
    """Whether the share of defects went up: counts of blocks, ranked among earlier ones."""

    def __init__(self, level: float) -> None:
        """Begins with two streams of blocks, so that no two neighbours are in one."""
        self._ranks = [Ranks(), Ranks()]
        self._bets = Bets((2,), HIGHER)
        self._defects = self._parts = self._blocks = 0
        self.best = np.zeros(2)
        self.limit = math.log(2 / level)
        self.counts: list[int] = []

    def add(self, *, defect: bool, coin: float) -> None:
        """Takes a part's verdict."""
        self._defects += defect
        self._parts += 1
        if self._parts < BLOCK:
            return
        stream = self._blocks % 2
        p = self._ranks[stream].add(self._defects, coin)
        self.best[stream] = max(self.best[stream], self._bets.bet(np.array(p), stream))
        self.counts.append(self._defects)
        self._defects, self._parts, self._blocks = 0, 0, self._blocks + 1


@dataclass
class _Lately:
    """Where accepted parts lie among the calibration pictures alone."""

    known: list[Floats]
    """Of each statistic, ascending."""
    places: list[Floats] = field(default_factory=list)

    def add(self, values: Floats) -> Floats | None:
        """Takes an accepted part; returns the mean place (Q,) of each `STEP`, in [0, 1]."""
        n = len(self.known[0])
        sides = [
            np.searchsorted(known, value, side) / n
            for known, value in zip(self.known, values, strict=True)
            for side in ("left", "right")
        ]
        self.places.append(np.array(sides).reshape(-1, 2).mean(axis=1))
        if len(self.places) < STEP:
            return None
        mean = np.mean(self.places, axis=0)
        self.places.clear()
        return np.asarray(mean)


class Monitor:
    """Watches a line from one reset to the next; the same parts in the same order give the same."""

    def __init__(
        self,
        reference: Reference,
        *,
        seed: int,
        recent: Floats | None = None,
        level: float = LEVEL,
    ) -> None:
        """Begins.

        Args:
            reference: the good pictures that calibrate.
            seed: breaks ties; not negative, and not known to whoever makes the parts.
            recent: values of accepted parts before it, (N, Q) in the order of time: where there
                are enough, they choose the lag, else the reference does.
            level: of each alarm, in (0, 1).
        """
        self.reference, self.level, self.seed = reference, level, seed
        self.parts = 0
        self.compared = 0
        """Of the parts, those that score below the cut."""
        self.runs = 0
        self.alarm: Alarm | None = None
        self.defects_alarm: Alarm | None = None
        self.too_alike = False
        """Whether even the largest lag leaves neighbours alike: then no level is promised."""
        self.trail = array("f")
        """Evidence after each part: of the most that any test has, as a share of the limit's
        logarithm; 1 raises the alarm."""
        self.lately: list[tuple[int, Floats]] = []
        """Part number, and mean places (Q,) among the calibration pictures, for each `STEP`."""
        known = [np.sort(column) for column in reference.values.T]
        self._lately = _Lately(known)
        self._coins = Coins(seed, len(reference.names) + 1)
        self._share = _Share(level)
        self._recent: deque[Floats] = deque(maxlen=RECENT)
        enough = recent is not None and len(recent) >= LOOK_FIRST
        self._run = self._new_run(recent[-RECENT:] if enough and recent is not None else None)

    def _new_run(self, values: Floats | None) -> _Run:
        known = self.reference.values
        lag = lag_for(known if values is None else values)
        if values is None and len(known) < _FEW:
            lag = min(lag or _AT_FIRST, _AT_FIRST)
        self.too_alike = lag is None
        self.runs += 1
        # Half of the level for the first run, half of the rest for each that follows.
        level = self.level / 2**self.runs
        k = lag or MOST
        first = self.parts + (k if self.runs > 1 else 0)  # what is left between is not judged
        return _Run(self.reference, k, level, first)

    @property
    def streams(self) -> int:
        """How many interleaved streams there are: every k-th part is in one."""
        return self._run.k

    @property
    def accepted(self) -> int:
        """Parts that were compared since the lag was chosen last."""
        return self._run.accepted

    @property
    def limit(self) -> float:
        """The logarithm of the capital at which one test raises the alarm."""
        return self._run.limit

    @property
    def defect_counts(self) -> list[int]:
        """Defects of each `BLOCK` parts."""
        return self._share.counts

    @property
    def evidence(self) -> dict[str, float]:
        """The most that each statistic ever had, as a share of what raises the alarm."""
        most = self._run.best.max(axis=0) / self._run.limit
        return dict(zip(self.reference.names, most.tolist(), strict=True))

    @property
    def defects_evidence(self) -> float:
        """Likewise of the share of defects."""
        return float(self._share.best.max() / self._share.limit)

    def add(self, values: Sequence[float], *, defect: bool) -> None:
        """Takes the next part of the line.

        Args:
            values: of the statistics, (Q,), the score first; finite.
            defect: whether that was its verdict.
        """
        own = np.asarray(values, np.float64)
        coins = self._coins.of(self.parts)
        self._share.add(defect=defect, coin=float(coins[-1]))
        if self._run.first <= self.parts and own[0] < self.reference.cut:
            self._compare(own, coins[:-1])
        self.parts += 1
        self.trail.append(float(self._run.now.max() / self._run.limit))
        self._raise()

    def _compare(self, own: Floats, coins: Floats) -> None:
        self._run.add(self.parts, own, coins)
        self.compared += 1
        self._recent.append(own)
        if (mean := self._lately.add(own)) is not None:
            self.lately.append((self.parts + 1, mean))
        looks = self._run.accepted // LOOK_FIRST
        due = self._run.accepted % LOOK_FIRST == 0 and looks & (looks - 1) == 0
        if due and self.alarm is None:
            values = np.array(self._recent)
            lag = lag_for(values)
            if (lag or MOST) > self._run.k:
                self._run = self._new_run(values)
            self.too_alike = lag is None

    def _raise(self) -> None:
        if self.alarm is None and self._run.best.max() >= self._run.limit:
            q = int(self._run.best.max(axis=0).argmax())
            name = self.reference.names[q]
            self.alarm = Alarm(number=self.parts, name=name, higher=self._is_higher(q))
        if self.defects_alarm is None and self._share.best.max() >= self._share.limit:
            self.defects_alarm = Alarm(number=self.parts, name="defects", higher=True)

    def _is_higher(self, q: int) -> bool:
        late = [own[q] for own in list(self._recent)[-STEP:]]
        early = [own[q] for own in list(self._recent)[:-STEP]]
        before = np.concatenate([self.reference.values[:, q], early])
        return bool(np.mean(late) > before.mean())

    def apart(self) -> dict[str, float]:
        """Returns how far the last parts lie from the calibration, without any guarantee.

        Of each statistic whose mean place of late is beyond what chance makes likely: the mean
        place in [0, 1], 0.5 being the middle.
        """
        if not self.lately:
            return {}
        band = self.band
        _, places = self.lately[-1]
        named = zip(self.reference.names, places.tolist(), strict=True)
        return {name: place for name, place in named if abs(place - 0.5) > band}

    @property
    def band(self) -> float:
        """Half the width of the chart's band: three standard errors of a mean of `STEP` places."""
        n = max(1, len(self.reference.values))
        return _BEYOND * math.sqrt((1 / STEP + 1 / n) / 12)
