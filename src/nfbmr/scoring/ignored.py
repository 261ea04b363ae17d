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

from nfbmr.data.ignore import too_much
from nfbmr.scoring.maps import Maps

Area = tuple[float, float, float, float]

MOST_AREAS = 50
MOST = 0.95
"""Share of the picture that areas may leave out, at most."""
_FINE = (200, 200)  # grid on which that is measured
_GRIDS = (64, 32, 16, 8, 4)  # cells a side; of four no more than 16 areas can be


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


def areas_of(mask: NDArray[np.bool_]) -> tuple[Area, ...]:
    """Returns areas that cover all True of a mask, bool (H, W), and as little else as they can.

    They lie on the finest grid, of at most 64 cells a side, on which `MOST_AREAS` of them do.

    Raises:
        SettingsError: they would leave next to nothing of the picture.
    """
    for cells in _GRIDS:
        found = _rectangles(_touched(mask, min(cells, mask.shape[0]), min(cells, mask.shape[1])))
        if len(found) <= MOST_AREAS:
            break
    if not are_areas(found):
        raise too_much(float(inside(found, _FINE).mean()), MOST)
    return found


def _touched(mask: NDArray[np.bool_], rows: int, columns: int) -> NDArray[np.bool_]:
    """Returns bool (rows, columns): True where a cell holds a True pixel."""
    height, width = mask.shape
    found = np.logical_or.reduceat(mask, -(-np.arange(rows) * height // rows), axis=0)
    found = np.logical_or.reduceat(found, -(-np.arange(columns) * width // columns), axis=1)
    return np.asarray(found, np.bool_)


def _rectangles(cells: NDArray[np.bool_]) -> tuple[Area, ...]:
    """Covers the True cells exactly: runs of a row, each as far down as the rows below have it."""
    (rows, columns), left, found = cells.shape, cells.copy(), []
    for top, begin in np.argwhere(cells).tolist():
        if not left[top, begin]:
            continue
        end = begin + 1
        while end < columns and left[top, end]:
            end += 1
        low = top + 1
        while low < rows and left[low, begin:end].all():
            low += 1
        left[top:low, begin:end] = False
        found.append((top / rows, begin / columns, low / rows, end / columns))
    return tuple(found)


def masked(maps: Maps, areas: Sequence[Area]) -> Maps:
    """Returns raw maps (N, K, H, W) with each map's lowest value elsewhere in the areas.

    A second time it changes nothing. Where areas touch every cell of a coarse grid, all is as it
    is.
    """
    if not areas:
        return maps
    counts = counting(areas, (maps.shape[2], maps.shape[3]))
    found = maps.copy()
    found[..., ~counts] = maps[..., counts].min(axis=-1, keepdims=True)
    return found


def counting(areas: Sequence[Area], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Returns bool (H, W) of `size`: True where a cell counts; all do where none else would."""
    left_out = inside(areas, size)
    return np.ones(size, np.bool_) if left_out.all() else ~left_out
