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

_FLAT = 0.01**2
"""Variance of brightness, which lies in [0, 1], far below which a window shows no edge."""


def along_edges(
    heat: NDArray[np.float32], guide: NDArray[np.uint8], cell: float
) -> NDArray[np.float32]:
    """Brings a map (H, W), 0 and above, to the edges of its picture; its highest level stays.

    Args:
        heat: float32 (H, W).
        guide: (H, W), the picture's brightness.
        cell: pixels along a side of a cell of the map.

    Returns:
        float32 (H, W), 0 and above.
    """
    assert heat.shape == guide.shape, (heat.shape, guide.shape)
    side = 2 * max(1, round(_REACH * cell)) + 1
    seen = guide.astype(np.float32) / 255
    mean_seen, mean_heat = _mean(seen, side), _mean(heat, side)
    both = _mean(seen * heat, side) - mean_seen * mean_heat
    slope = both / (np.maximum(_mean(seen * seen, side) - mean_seen**2, 0) + _FLAT)
    found = _mean(slope, side) * seen + _mean(mean_heat - slope * mean_seen, side)
    found = np.maximum(found, 0)
    highest = float(found.max())
    if highest <= 0:
        return heat
    return np.asarray(found * np.float32(float(heat.max()) / highest), np.float32)


def _mean(values: NDArray[np.floating[Any]], side: int) -> NDArray[np.float32]:
    """Returns the mean of each square window of a map (H, W), mirrored beyond its rims."""
    from scipy.ndimage import uniform_filter  # starting loads none of it

    return np.asarray(uniform_filter(values, side, mode="reflect"), np.float32)
