"""Each fine place on its own scale: where good parts differ more, the same distance says less.

A Gaussian of few numbers leaves some places farther from typical than others in every good
picture: the rims, where padding is seen, and edges that never lie alike. Taken together, those
places would have the highest value of nearly every good picture, and hide what is unusual
elsewhere. So a distance is told in standard deviations of the good pictures' distances at its
place. Few pictures tell a place's mean and spread badly, so both lean on those of all places.

Shapes: N = images, n = those that calibrate, K = raw maps, H W = grid, P = places of a map's own
grid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from nfbmr.errors import BundleTamperedError
from nfbmr.scoring.maps import MAPS, Floats, Maps, repeats
from nfbmr.settings.schema import ScoringSettings

OWN_SCALE = ("fine", "finest")
"""Distances that `ScoringSettings.by_place` is of."""

MOST_PLACES = 2**15
"""Of a grid; larger ones, of pictures cut into tiles, keep one scale for all places."""

LEAN = 10.0
"""Pictures that the spread of all places counts for (docs/research.md)."""
_LEAN_OF_MEAN = LEAN / 4
_DIGITS = 4  # of distances, which are about the root of their channels
_LEAST_SPREAD = 1e-6


PlaceScale = Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]
"""Name of a map -> mean and standard deviation of good pictures at each place of its own grid, row
by row, (P,) each."""


def place_scale(maps: Maps, scoring: ScoringSettings) -> PlaceScale:
    """Learns the scale of each place from raw maps (n, K, H, W) of good images, n >= 3."""
    found: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {}
    for name in OWN_SCALE if scoring.by_place else ():
        if name not in scoring.maps:
            continue
        step = repeats(maps, (name,))
        own = maps[:, MAPS.index(name), ::step, ::step].reshape(len(maps), -1).astype(np.float64)
        if own.shape[1] > MOST_PLACES:
            continue
        both = own.mean(axis=0), own.std(axis=0, ddof=1)
        mean, std = (tuple(np.round(values, _DIGITS).tolist()) for values in both)
        found[name] = mean, std
    return found


def is_scale(found: PlaceScale) -> bool:
    """Tells whether it may be what `place_scale` returned."""
    return set(found) <= set(OWN_SCALE) and all(
        0 < len(mean) == len(std) <= MOST_PLACES and min(std) >= 0 for mean, std in found.values()
    )


def of_each_place(maps: Maps, scale: PlaceScale, n: int, *, own: bool = False) -> Maps:
    """Returns raw maps (N, K, H, W) with those of `scale` in standard deviations of their places.

    Args:
        maps: of images, raw.
        scale: of n good images.
        n: see there, above 2.
        own: these are among the n: each is told on the scale of the others.

    Raises:
        BundleTamperedError: the scale is of another grid.
    """
    if not scale:
        return maps
    found = maps.copy()
    for name, (means, stds) in scale.items():
        place, variances = MAPS.index(name), np.square(stds)
        typical = float(np.mean(means)), float(variances.mean())
        mean = _on_grid(name, np.array(means), maps.shape[2:])
        variance = _on_grid(name, variances, maps.shape[2:])
        known = n
        away = maps[:, place].astype(np.float64) - mean
        if own:
            variance = (n - 1) * variance - np.square(away) * (n / (n - 1))
            variance = np.maximum(variance, 0) / (n - 2)
            mean = mean - away / (n - 1)
            known = n - 1
        mean = (known * mean + _LEAN_OF_MEAN * typical[0]) / (known + _LEAN_OF_MEAN)
        variance = (known * variance + LEAN * typical[1]) / (known + LEAN)
        spread = np.maximum(np.sqrt(variance), _LEAST_SPREAD)
        found[:, place] = (maps[:, place] - mean) / spread
    return found


def _on_grid(name: str, values: Floats, size: tuple[int, ...]) -> Floats:
    """Repeats what a map's own grid holds, (P,), on the maps' (H, W)."""
    height, width = size
    step = max(1, math.isqrt(height * width // len(values)))
    if height % step or width % step or height * width != len(values) * step**2:
        raise BundleTamperedError(
            f"calibration refused: it has {len(values)} places of '{name}', the model's grid is "
            f"{height} x {width}: it is another model's; restore the file or calibrate again"
        )
    grid = values.reshape(height // step, width // step)
    return np.asarray(grid.repeat(step, axis=0).repeat(step, axis=1))
