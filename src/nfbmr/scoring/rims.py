"""The rims of a picture on the scale of its inside, where good parts look farther there.

Along the edge of a picture the network sees padding, and a part's own edge, which never lies alike.
Good parts of some products therefore have their highest fine distance there in nearly every
picture, and what is unusual elsewhere is not heard. So in each ring of cells along the edge, mean
and spread of the good pictures' distances are brought to those inside. Only where they are larger:
a calm rim stays calm.

Shapes: N = images, n = those that calibrate, K = raw maps, H W = grid, R = rings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nfbmr.scoring.ignored import Area, counting
from nfbmr.scoring.maps import MAPS, Maps, repeats
from nfbmr.settings.schema import ScoringSettings
from nfbmr.system.words import counted

TOLD = ("fine", "finest")
"""Distances that `ScoringSettings.rims` is of."""

MOST = 64
"""R at most."""

_SHORTER_SIDE = 6
"""Rings are no wider than this part of a grid's shorter side: a rim is not most of a picture."""

RimScale = Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]
"""Name of a map -> mean and standard deviation of good pictures in each ring, the outermost first,
and inside all of them, (R + 1,) each."""


def rim_scale(maps: Maps, scoring: ScoringSettings, ignored: Sequence[Area] = ()) -> RimScale:
    """Learns mean and spread of each ring from raw maps (n, K, H, W) of good images.

    Args:
        maps: raw.
        scoring: says how many rings.
        ignored: areas that say nothing of theirs.

    Returns:
        None are smaller than inside. Empty where there are no rings, or nothing is inside.
    """
    counts = counting(ignored, (maps.shape[2], maps.shape[3]))
    found: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {}
    for name in TOLD if scoring.rims else ():
        if name not in scoring.maps:
            continue
        # A cell of a coarser grid is in one ring with all cells that repeat it.
        step = repeats(maps, (name,))
        rings = min(scoring.rims, min(maps.shape[2:]) // _SHORTER_SIDE) // step
        ring = _rings((maps.shape[2], maps.shape[3]), rings * step) // step
        if not rings or not counts[ring == rings].any():
            continue
        # A ring of which nothing counts is as what lies inside.
        cells = [counts & (ring == i) for i in range(rings + 1)]
        own = [maps[:, MAPS.index(name), own if own.any() else cells[-1]] for own in cells]
        mean, std = (
            np.array([float(getattr(values, what)(dtype=np.float64)) for values in own])
            for what in ("mean", "std")
        )
        if std[-1] > 0:
            higher = np.maximum(mean, mean[-1]), np.maximum(std, std[-1])
            times = [step] * rings + [1]
            found[name] = (
                tuple(higher[0].repeat(times).tolist()),
                tuple(higher[1].repeat(times).tolist()),
            )
    return found


def with_calm_rims(maps: Maps, scale: RimScale) -> Maps:
    """Returns raw maps (N, K, H, W) whose rims are on the scale of the inside; that stays."""
    if not scale:
        return maps
    found = maps.copy()
    for name, (mean, std) in scale.items():
        place, gain = MAPS.index(name), std[-1] / np.array(std)  # 1 inside
        shift = mean[-1] - gain * mean  # 0 inside
        ring = _rings((maps.shape[2], maps.shape[3]), len(mean) - 1)
        found[:, place] = maps[:, place] * gain[ring] + shift[ring]
    return found


def rims_in_words(scale: RimScale) -> list[str]:
    """Says of each map which rings a fit found to lie farther out; nothing where none is known."""
    return [_in_words(name, *of_rings) for name, of_rings in scale.items()]


def _in_words(name: str, mean: tuple[float, ...], std: tuple[float, ...]) -> str:
    rings = len(mean) - 1
    scaled = [str(i + 1) for i in range(rings) if mean[i] > mean[-1] or std[i] > std[-1]]
    if not scaled:
        return f"Rims of the {name} distance stay as they are: good pictures are calm there"
    return (
        f"Rims of the {name} distance: {counted(rings, 'ring')} of cells along the edge looked at, "
        f"scaled to the inside: {', '.join(scaled)} (1 is the outermost), where good pictures "
        "lie farther out or vary more"
    )


def is_scale(found: RimScale) -> bool:
    """Tells whether it may be what `rim_scale` returned."""
    return set(found) <= set(TOLD) and all(
        1 < len(mean) == len(std) <= MOST + 1 and min(std) >= std[-1] > 0
        for mean, std in found.values()
    )


def _rings(size: tuple[int, int], rings: int) -> NDArray[np.int64]:
    """Returns each cell's ring, (H, W): 0 along the edge, `rings` for all that lie inside."""
    down, across = (np.minimum(np.arange(length), np.arange(length)[::-1]) for length in size)
    return np.minimum(np.minimum(down[:, None], across[None, :]), rings)
