"""Maps of several grids, each taken from its own: what a judge sees where.

Raw maps come on the finest grid there is, coarser ones repeated on it. A map that is shown, or
whose highest point counts, is taken from its own grid and interpolated, so that no block shows.

Shapes: N = images, K = raw maps, H W = grid of the raw maps, h w = grid of a judge.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nfbmr.data.images import resize_map
from nfbmr.scoring.maps import DETAIL, FINE, Floats, Maps, chosen_maps
from nfbmr.settings.schema import MapName

Factors = tuple[int, int]
"""Cells of the raw maps along the side of a cell of y, and of the detail."""


def on_own_grid(
    maps: Maps, names: Sequence[MapName], mean: Floats, std: Floats, factors: Factors
) -> Floats:
    """Averages a judge's standardised maps to (N, h, w), on the finest of their own grids.

    Args:
        maps: (N, K, H, W), raw.
        names: of the judge's maps, K'.
        mean: of each over all positions of good pictures, (K',).
        std: likewise.
        factors: what repeats.
    """
    steps = [_step(name, factors) for name in names]
    finest = min(steps)
    size = maps.shape[2] // finest, maps.shape[3] // finest
    chosen = chosen_maps(maps, tuple(names))
    total = np.zeros((len(maps), *size))
    for place, step in enumerate(steps):
        own = (_on_grid(chosen[:, place], step) - mean[place]) / std[place]
        if step == finest:
            total += own
        else:
            total += np.stack([resize_map(one, size) for one in own.astype(np.float32)])
    return total / len(names)


def _on_grid(values: Floats, step: int) -> Floats:
    """Returns one value (N, h, w) of each cell that is repeated `step` times along a side.

    Of a cell that is ignored in part it is what the rest says, since what is ignored is lowest.
    """
    n, height, width = values.shape
    blocks = values.reshape(n, height // step, step, width // step, step)
    return np.asarray(blocks.max(axis=(2, 4)))


def _step(name: MapName, factors: Factors) -> int:
    of_y, of_detail = factors
    return of_detail if name in DETAIL else 1 if name in FINE else of_y
