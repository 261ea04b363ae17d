"""What no good pictures give: with values of a calibration beyond it every part would look good.

Shapes: n = good images that calibrate, G = judges.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

HUGE = 1e30
"""In units of the maps, which differ by network, and for whatever else has no bound of its own."""
MOST_CELLS = 4096
"""Along the side of a cell."""

_FAR = 1e9  # standard deviations over all positions: of a million one reaches a thousand of them
_LEVELS = 100.0  # scores by the logarithm of `nfbmr.scoring.level`
_LEAST_SPREAD = 1e-3  # of that of all n, which n less one have at least: `left_out_statistics`
_SPARE = 10.0

Values = tuple[float, ...]


def are_possible(
    n: int,
    rate: float,
    *,
    maps: Iterable[Values],
    others: Iterable[Values],
    scores: Values,
    judges: Iterable[Values],
    peaks: Iterable[Values],
    scale: tuple[float, float] | None,
) -> bool:
    """Tells whether values may be those of a calibration.

    Args:
        n: at least 2.
        rate: asked, in (0, 1); a threshold that is extrapolated to it lies at most 1 / rate times
            as far as the pictures, or some tens of times.
        maps: means and spreads in units of the maps.
        others: values without a bound of their own.
        scores: of the pictures.
        judges: means and spreads of what each says, (G,).
        peaks: of heatmaps, in standard deviations.
        scale: raw scores that are shown as 0 and 1; None: scores are raw.
    """
    said = _SPARE * n / math.sqrt(n - 1) / _LEAST_SPREAD  # of one, standardised by the others
    farther = max(100.0, 1 / rate)
    zero, one = scale or (0.0, 0.0)
    return (
        _are_below(HUGE, *maps, *others, scores)
        and (scale is None or max(scores) < _LEVELS)
        and _are_below(said, *judges, (zero,))
        and _are_below(said * farther, (one,))
        and _are_below(_FAR * farther, *peaks)
    )


def _are_below(most: float, *values: Values) -> bool:
    return all(abs(value) < most for some in values for value in some)
