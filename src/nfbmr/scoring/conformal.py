"""Scores of good pictures -> a threshold with a stated rate, and p-values. numpy alone.

Shapes: N = images to judge, n = good images that calibrate. Higher = more anomalous.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nfbmr.scoring.maps import Floats

_TAIL_SHARE = 0.2
TINY = 1e-12


def images_needed(rate: float) -> int:
    """Returns the fewest held-out images whose order statistics attain `rate`: 99 for 1 %."""
    return math.ceil(1 / rate - 1e-9) - 1


def threshold_for(scores: Floats, rate: float) -> tuple[float, int]:
    """Returns the threshold for an asked rate, and its rank among n ascending scores.

    Split conformal: the ceil((n + 1)(1 - rate))-th smallest score is exceeded by a new good image
    with a probability of at most `rate`. Where n is too small the rank would be n + 1: then it is
    the highest of three, so that no n has a step: the largest score; an exponential tail fitted
    to the excesses over the upper fifth; and the bound of a new value for normal ones,
    m + t_(n-1)(1 - rate) s sqrt(1 + 1/n), which knows how uncertain mean and spread are.
    """
    n = len(scores)
    rank = max(1, math.ceil((n + 1) * (1 - rate) - 1e-9))
    if rank <= n:
        return float(scores[rank - 1]), rank
    tail = min(max(2, round(_TAIL_SHARE * n)), n - 1)
    base = scores[n - tail - 1]
    scale = max(float((scores[n - tail :] - base).mean()), TINY)
    level = float(base + scale * math.log(tail / n / rate))
    return max(level, float(scores[-1]), _prediction_bound(scores, rate)), n + 1


@dataclass(frozen=True, kw_only=True)
class Attained:
    """What share of new good pictures exceeds the rank-th smallest of n scores.

    Where the rank is n + 1, as of an extrapolated threshold, it is said of the largest score.
    """

    rank: int
    n: int

    @property
    def extrapolated(self) -> bool:
        """Whether the asked rate lies beyond what n pictures can show."""
        return self.rank > self.n

    @property
    def expected(self) -> float:
        """The expected share; 1 / (n + 1) where extrapolated."""
        return (self.n + 1 - min(self.rank, self.n)) / (self.n + 1)

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Returns the interval of the true share.

        For exchangeable images it is Beta(n + 1 - rank, rank) (Vovk 2012). Where the threshold is
        extrapolated, that of the largest calibration score, on which the threshold may lie lower.
        """
        from scipy.special import betaincinv  # scipy.stats takes seconds to load

        half, rank = (1 - confidence) / 2, min(self.rank, self.n)
        low, high = betaincinv(self.n + 1 - rank, rank, [half, 1 - half])
        return (0.0 if self.extrapolated else float(low)), float(high)


def _prediction_bound(scores: Floats, rate: float) -> float:
    """Returns what a new value exceeds with probability `rate` if all are normal."""
    from scipy.special import stdtrit  # scipy.stats takes seconds to load

    n = len(scores)
    spread = float(scores.std(ddof=1)) * math.sqrt(1 + 1 / n)
    return float(scores.mean()) + float(stdtrit(n - 1, 1 - rate)) * spread


def p_values(scores: Floats, known: Sequence[float] | Floats) -> Floats:
    """Returns conformal p-values (N,), in [1 / (n + 1), 1].

    The share of calibration images, whose ascending scores are `known` (n,), that score as high or
    higher, the new one counted in: for
    exchangeable good images P(p <= a) <= a whatever the distribution (Vovk et al. 2005); here
    nearly, as the known scores stand on scales of n - 1 images and the new one on that of n.
    """
    known = np.asarray(known)
    at_least = len(known) - np.searchsorted(known, scores, side="left")
    return np.asarray((at_least + 1) / (len(known) + 1))
