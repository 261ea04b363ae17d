"""Areas that a calibration leaves out: what the network says there counts for no score.

Unlike `nfbmr.data.ignore`, which paints pictures before a fit, this needs no other network: each
map gets its lowest value elsewhere in the areas, and good pictures calibrate it so. What lies in an
area still reaches the network's neighbouring places, so an area is to be drawn a little too large.

Shapes: N = images, K = raw maps, H W = grid or pixels. An area is (top, left, bottom, right), each
a share of the picture's height or width in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nfbmr.scoring.maps import Maps

Area = tuple[float, float, float, float]

MOST_AREAS = 50
MOST = 0.95
"""Share of the picture that areas may leave out, at most."""
_FINE = (200, 200)  # grid on which that is measured


def are_areas(areas: Sequence[Area]) -> bool:
    """Whether areas lie within the picture and leave something of it."""
    sound = all(0 <= top < low <= 1 and 0 <= left < right <= 1 for top, left, low, right in areas)
    return sound and len(areas) <= MOST_AREAS and inside(areas, _FINE).mean() <= MOST


def inside(areas: Sequence[Area], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Returns bool (H, W) of `size`: True where a cell has a part in an area."""
    found = np.zeros(size, np.bool_)
    height, width = size
    for top, left, low, right in areas:
        rows = slice(math.floor(top * height), math.ceil(low * height))
        found[rows, math.floor(left * width) : math.ceil(right * width)] = True
    return found


def masked(maps: Maps, areas: Sequence[Area]) -> Maps:
    """Returns raw maps (N, K, H, W) with each map's lowest value elsewhere in the areas.

    A second time it changes nothing. Where areas touch every cell of a coarse grid, all is as it
    is.
    """
    if not areas:
        return maps
    left_out = inside(areas, (maps.shape[2], maps.shape[3]))
    if left_out.all():
        return maps
    found = maps.copy()
    found[..., left_out] = maps[..., ~left_out].min(axis=-1, keepdims=True)
    return found
