"""Raw maps and the statistics that they are reduced to.

Shapes: N = images, K = raw maps, M = statistics, H W = grid. Higher = more anomalous.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nfbmr.settings.schema import MapName, ScoringSettings

MAPS = ("source", "target", "likelihood", "norm", "distance", "residual", "fine", "finest")
"""The detector's raw maps, in the order of their axis: eq. 14's source and target errors,
TNF's |z|^2 / 2 - log|det| (eq. 8), |z|^2 / 2, the distance from the position's Gaussian, what
the subspace of good pictures leaves, the detail's distance from its own position's Gaussian, and
the finest stage's. Graphs of older versions give fewer, from the first on."""

OLDER = 6
"""How many maps graphs of older versions give, at least."""

DETAIL = ("residual", "fine")
"""The maps on the detail's grid."""

FINE = (*DETAIL, "finest")
"""The maps on finer grids than that of y. All maps come on the finest one, repeated on it."""


_FACTORS = (8, 4, 2)
_AT_ONCE = 256  # images
_OF_ASM = ("source", "target")

Maps = NDArray[np.float32]
"""Raw maps of images, (N, K, H, W) float32 with K = len(MAPS)."""


Floats = NDArray[np.float64]


def statistics(maps: Maps, settings: ScoringSettings) -> Floats:
    """Reduces raw maps (N, K, H, W) to statistics (N, M); M = chosen maps x chosen statistics.

    `max` is the highest position, `mean` all of them, `top` the mean of the highest share.
    """
    n = len(maps)
    if n > _AT_ONCE:  # each image is by itself, and float64 takes memory
        parts = range(0, n, _AT_ONCE)
        return np.concatenate([statistics(maps[i : i + _AT_ONCE], settings) for i in parts])
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
    places = {name: place for place, name in enumerate(MAPS[: maps.shape[1]])}
    found = np.empty((len(maps), len(names), *maps.shape[2:]))
    for place, name in enumerate(names):
        if name == "asm":
            source, target = (maps[:, places[one]].astype(np.float64) for one in _OF_ASM)
            found[:, place] = (source + target) / 2
        else:
            found[:, place] = maps[:, places[name]]
    return found


def shown_maps(scoring: ScoringSettings) -> tuple[MapName, ...]:
    """Names the maps that the heatmap shows."""
    return (scoring.heat,) if scoring.heat else scoring.maps


def fused_maps(maps: Floats, mean: Floats, std: Floats) -> Floats:
    """Averages standardised maps (N, K', H, W) over K' to (N, H, W)."""
    return np.asarray(((maps - mean[:, None, None]) / std[:, None, None]).mean(axis=1))


def repeats(maps: Maps, names: tuple[MapName, ...]) -> int:
    """Returns how many cells along a side hold one value of some maps of one grid.

    Args:
        maps: (N, K, H, W), raw.
        names: of the maps; those that are no raw map count for nothing.

    Returns:
        1 where there is none of them, or they do not repeat.
    """
    coarse = [MAPS.index(name) for name in names if name in MAPS]
    height, width = maps.shape[2:]
    for k in _FACTORS:
        if coarse and height % k == 0 and width % k == 0:
            some = maps[:1, coarse]
            again = some[..., ::k, ::k].repeat(k, axis=2).repeat(k, axis=3)
            if np.array_equal(some, again):
                return k
    return 1


def halved_sums(values: tuple[float, ...], names: Sequence[str]) -> tuple[float, ...]:
    """Brings scales of eq. 14 without its half, of older versions, to those with it.

    Args:
        values: one of each name; those of another number are another model's and stay.
        names: of the maps that the values are of.
    """
    if len(values) != len(names):  # whoever knows both models says so
        return values
    return tuple(v / 2 if n == "asm" else v for v, n in zip(values, names, strict=True))
