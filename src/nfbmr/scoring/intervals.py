"""Exact intervals of a share that was counted. Shapes: single numbers, no arrays."""

from __future__ import annotations


def share_interval(hits: int, of: int, confidence: float = 0.95) -> tuple[float, float]:
    """Returns the exact interval of a true share, given what was counted.

    Clopper and Pearson (1934): it covers the true share in at least `confidence` of all cases.

    Args:
        hits: in 0..of.
        of: what was looked at; of none the answer is (0, 1).
        confidence: in (0, 1).

    Returns:
        low, high: in [0, 1].
    """
    from scipy.special import betainccinv, betaincinv  # scipy.stats takes seconds to load

    assert 0 <= hits <= of
    tail, misses = (1 - confidence) / 2, of - hits
    low = float(betaincinv(hits, misses + 1, tail)) if hits else 0.0
    high = float(betainccinv(hits + 1, misses, tail)) if misses else 1.0
    return low, high
