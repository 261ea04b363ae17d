"""Good pictures that are unlike the others: a person should look whether they are good.

Shapes: n = good pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nfbmr.scoring.calibration import Calibration
from nfbmr.scoring.conformal import threshold_for
from nfbmr.scoring.maps import Floats

_MOST_ODD = 20
_FAR = 1.25  # of the threshold, above which a good picture is odd
_MOVES = 0.95  # of the threshold: what an odd picture leaves of it, at most, when it goes
_BULK = (0.75, 0.9)  # quantiles of the good scores between which their tail is looked at
_LEAST_TAIL = 40  # scores that such a tail is looked for in
_BEYOND = 0.1  # sets in which chance alone would put a good picture beyond that tail


@dataclass(frozen=True, kw_only=True)
class Odd:
    """A good picture that scores unlike the others."""

    picture: str
    """As in `Calibration.pictures`."""
    score: float
    """On the scale that is shown."""
    without: float
    """What the threshold would be without it, on the same scale."""


def odd_ones(calibration: Calibration) -> tuple[Odd, ...]:
    """Names the good pictures that lift the threshold by themselves, or lie far above the others.

    The oddest first; none of a calibration that does not know its pictures. That the asked share
    of good pictures lies a little above the threshold is no oddity. Where several are odd, each
    hides what the others do to the threshold: so those count, too, that the tail of the calmer
    nine tenths would not reach in ten such sets, were it exponential.
    """
    if not calibration.pictures:
        return ()
    raw = calibration.raw(np.array(calibration.scores))
    end = _end_of_tail(raw)
    most = max(_MOST_ODD, len(raw) // 10)
    found = []
    for place in range(len(raw) - 1, max(-1, len(raw) - 1 - most), -1):
        others = np.delete(raw, place)
        threshold, _ = threshold_for(others, calibration.false_alarm_rate)
        shown = float(calibration.shown(np.array(threshold)))
        score = calibration.scores[place]
        stands_out = score > _FAR * calibration.threshold or raw[place] > end
        moves = raw[place] > threshold and shown < _MOVES * calibration.threshold
        if stands_out or moves:
            found.append(Odd(picture=calibration.pictures[place], score=score, without=shown))
    return tuple(found)


def _end_of_tail(raw: Floats) -> float:
    """Returns what of n scores (n,) the highest exceeds in `_BEYOND` of such sets.

    By an exponential tail through the quantiles of `_BULK`, which a tenth of rotten ones among
    them, high as they may be, moves little. Of few scores these say nothing: infinity.
    """
    start, end = np.quantile(raw, _BULK)
    if len(raw) < _LEAST_TAIL or start == end:
        return np.inf
    scale = (end - start) / np.log((1 - _BULK[0]) / (1 - _BULK[1]))
    return float(start + scale * np.log((1 - _BULK[0]) * len(raw) / _BEYOND))
