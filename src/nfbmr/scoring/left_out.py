"""What a good picture would have scored had it not been learnt from, in closed form.

A Gaussian that learnt from a picture finds it too near. Its share can be taken out of mean and
covariance without learning again (Sherman and Morrison 1950), so that every good picture both
trains and calibrates.

Shapes: N = images, K = raw maps, H W = grid.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nfbmr.scoring.maps import MAPS, Maps

LEAST_ROOM = 0.01
"""Of what is left of 1 when a picture's own part is taken out. Exact covariances leave more than
0; those of few directions may not, and a picture is then made at most ten times as far."""


def left_out(maps: Maps, n: int, own: Mapping[str, float]) -> Maps:
    """Returns the maps (N, K, H, W) that Gaussians of the other images would have given.

    With q the squared distance to Gaussians of all n and w the weight of the images' covariance in
    theirs, it is (n / (n - 1))^2 q / (1 - q w / (n - 1)), but for terms of order 1 / n: near that
    where a covariance holds all directions, and roughly where it holds a few.

    Args:
        maps: of images among the n, raw.
        n: images that the Gaussians learnt from, above 1.
        own: of each map that is such a distance, w, in [0, 1].
    """
    found = maps.copy()
    for name, weight in own.items():
        place = MAPS.index(name)
        squares = maps[:, place].astype(np.float64) ** 2
        room = np.maximum(1 - weight / (n - 1) * squares, LEAST_ROOM)
        found[:, place] = n / (n - 1) * np.sqrt(squares / room)
    return found


def leaning_in_words(own: Mapping[str, float]) -> list[str]:
    """Says how far each position's covariance is its own; nothing where that is not known.

    Only of `distance`, whose weight is the share itself. Those of the finer stages are measured so
    that leaving out comes out right, and models of older versions have none.
    """
    share = own.get("distance", 0.0)
    if not share:
        return []
    return [
        f"Of each position's covariance of the distance {share:.0%} is its own and {1 - share:.0%} "
        "the same for all positions, as made pictures likeliest that were left out"
    ]
