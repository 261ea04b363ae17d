"""The readable scale of score and heatmap: 0 typical, 1 where the asked share of good ones ends.

A defect may lie a million standard deviations from what is good, which says nothing to anybody. So
beyond 1 the scale grows by the logarithm: 2 is 2.7 times as far from typical as the end of the good
ones, 3 is 7.4 times. All is monotone, so orders, ranks and p-values are those of the raw scores.

Shapes: any. Higher = more anomalous.
"""

from __future__ import annotations

import numpy as np

from nfbmr.scoring.maps import Floats

_BELOW = 0.16  # of normal values, a standard deviation below their mean
_LEAST_SPAN = 0.5  # standard deviations between 0 and 1, where most good ones may be called


def to_level(raw: Floats, zero: float, one: float) -> Floats:
    """Brings raw scores to the scale on which `zero` is 0 and `one`, above it, is 1."""
    linear = (raw - zero) / (one - zero)
    return np.asarray(np.where(linear > 1, 1 + np.log(np.maximum(linear, 1)), linear))


def to_raw(levels: Floats, zero: float, one: float) -> Floats:
    """Brings levels back to raw scores, up to rounding."""
    linear = np.where(levels > 1, np.exp(np.maximum(levels, 1) - 1), levels)
    return np.asarray(zero + linear * (one - zero))


def zero_for(raw: Floats, one: float) -> float:
    """Returns the raw score that is 0: the median, or below `one` where that lies low.

    How far below, the middle two thirds say: a single wild picture moves nothing.
    """
    low, middle, high = np.quantile(raw, (_BELOW, 0.5, 1 - _BELOW))
    return min(float(middle), one - _LEAST_SPAN * max(float(high - low) / 2, 1e-12))
