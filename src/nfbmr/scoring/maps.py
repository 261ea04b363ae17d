"""Raw maps and the statistics that they are reduced to.

Shapes: N = images, K = raw maps, M = statistics, H W = grid. Higher = more anomalous.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nfbmr.settings.schema import MapName, ScoringSettings

MAPS = ("source", "target", "likelihood", "norm", "distance", "residual")
"""The detector's raw maps, in the order of their axis: eq. 14's source and target errors,
TNF's |z|^2 / 2 - log|det| (eq. 8), |z|^2 / 2, the distance from the position's Gaussian, and what
the subspace of good pictures leaves."""


Maps = NDArray[np.float32]
"""Raw maps of images, (N, K, H, W) float32 with K = len(MAPS)."""


Floats = NDArray[np.float64]


def statistics(maps: Maps, settings: ScoringSettings) -> Floats:
    """Reduces raw maps (N, K, H, W) to statistics (N, M); M = chosen maps x chosen statistics.

    `max` is the highest position, `mean` all of them, `top` the mean of the highest share.
    """
    n = len(maps)
    flat = chosen_maps(maps, settings.maps).reshape(n, len(settings.maps), -1)
    top = max(1, round(settings.top_share * flat.shape[-1]))
    reductions = {
        "max": lambda: flat.max(axis=-1),
        "top": lambda: np.partition(flat, -top, axis=-1)[..., -top:].mean(axis=-1),
        "mean": lambda: flat.mean(axis=-1),
    }
    columns = np.stack([reductions[name]() for name in settings.statistics], axis=-1)
    return columns.reshape(n, -1)


def chosen_maps(maps: Maps, names: tuple[MapName, ...]) -> Floats:
    """Picks maps (N, K, H, W) by name, to (N, len(names), H, W); `asm` is eq. 14, half a sum."""
    known = dict(zip(MAPS, np.moveaxis(maps.astype(np.float64), 1, 0), strict=True))
    known["asm"] = (known["source"] + known["target"]) / 2
    return np.stack([known[name] for name in names], axis=1)


def shown_maps(scoring: ScoringSettings) -> tuple[MapName, ...]:
    """Names the maps that the heatmap shows."""
    return (scoring.heat,) if scoring.heat else scoring.maps


def fused_maps(maps: Floats, mean: Floats, std: Floats) -> Floats:
    """Averages standardised maps (N, K', H, W) over K' to (N, H, W)."""
    return np.asarray(((maps - mean[:, None, None]) / std[:, None, None]).mean(axis=1))
