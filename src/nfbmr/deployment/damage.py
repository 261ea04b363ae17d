"""Good pictures damaged on purpose: what tells two models apart where no defect is at hand.

Neither learning nor thresholds see these. They ask whether one model still tells damaged from good
as well as another does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STRENGTHS = (0.25, 0.5, 0.75, 1.0)
_SIDES = (0.1, 0.25)  # shares of the picture's sides
_BRIGHTER = 80.0  # gray values at most, at full strength


def damaged(picture: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """Returns a copy in which one small place shows another place, shifted in brightness.

    Args:
        picture: uint8 (H, W, 3).
        number: draws place, size and shift; strengths take turns.
    """
    rng = np.random.default_rng([number, 1])
    strength = _STRENGTHS[number % len(_STRENGTHS)]
    height, width = (max(2, round(rng.uniform(*_SIDES) * length)) for length in picture.shape[:2])
    tops = rng.integers(0, picture.shape[0] - height + 1, 2)
    lefts = rng.integers(0, picture.shape[1] - width + 1, 2)
    place, source = (
        np.s_[top : top + height, left : left + width]
        for top, left in zip(tops, lefts, strict=True)
    )
    shift = rng.choice((-1, 1)) * rng.uniform(0.2, 1.0) * _BRIGHTER
    mixed = (1 - strength) * picture[place] + strength * (picture[source] + shift)
    found = picture.copy()
    found[place] = np.clip(np.round(mixed), 0, 255).astype(np.uint8)
    return found


def separation(good: NDArray[np.float64], worse: NDArray[np.float64]) -> float:
    """Returns the share of pairs of scores in which the worse one is higher, ties as halves."""
    higher = (worse[:, None] > good[None, :]).mean()
    return float(higher + (worse[:, None] == good[None, :]).mean() / 2)
