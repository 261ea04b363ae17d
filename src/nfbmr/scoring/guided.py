"""Heatmap -> one that follows the edges of the picture beneath it.

Judges see cells of several pixels, so that the highest point of a map lies beside a thin crack as
often as on it. The guided image filter (He, Sun and Tang, "Guided image filtering", IEEE TPAMI 35,
2013, eqs. 5, 6 and 8) takes the map in each small window as linear in the picture's brightness:
what is high there gathers on the pixels that differ.

Shapes: H W = pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_REACH = 0.625
"""Half of a window's side, in cells of the finest map (docs/research.md)."""

_NEAR = 1.5
"""Half of the window within which a level is kept, in halves of the filter's."""

_FLAT = 0.01**2
"""Variance of brightness, which lies in [0, 1], far below which a window shows no edge."""

_TINY = 1e-9


def along_edges(
    heat: NDArray[np.float32], guide: NDArray[np.uint8], cell: float
) -> NDArray[np.float32]:
    """Brings a map (H, W), 0 and above, to the edges of its picture; places keep their levels.

    Smoothing lowers what is small, so each place is brought back to the highest level that the map
    has near it: nothing exceeds that.

    Args:
        heat: float32 (H, W).
        guide: (H, W), the picture's brightness.
        cell: pixels along a side of a cell of the map.

    Returns:
        float32 (H, W), 0 and above.
    """
    assert heat.shape == guide.shape, (heat.shape, guide.shape)
    half = max(1, round(_REACH * cell))
    side = 2 * half + 1
    seen = guide.astype(np.float32) / 255
    mean_seen, mean_heat = _mean(seen, side), _mean(heat, side)
    both = _mean(seen * heat, side) - mean_seen * mean_heat
    slope = both / (np.maximum(_mean(seen * seen, side) - mean_seen**2, 0) + _FLAT)
    found = _mean(slope, side) * seen + _mean(mean_heat - slope * mean_seen, side)
    moved = np.asarray(np.maximum(found, 0), np.float32)
    near = 2 * round(_NEAR * half) + 1
    level = _highest(heat, near) / np.maximum(_highest(moved, near), np.float32(_TINY))
    return np.asarray(moved * level, np.float32)


def _highest(values: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Returns the highest of each square window of a map (H, W)."""
    from scipy.ndimage import maximum_filter

    return np.asarray(maximum_filter(values, side, mode="reflect"), np.float32)


def _mean(values: NDArray[np.floating[Any]], side: int) -> NDArray[np.float32]:
    """Returns the mean of each square window of a map (H, W), mirrored beyond its rims."""
    from scipy.ndimage import uniform_filter  # starting loads none of it

    return np.asarray(uniform_filter(values, side, mode="reflect"), np.float32)
