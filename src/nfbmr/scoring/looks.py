"""What is watched of a picture beside its score: how bright, how sharp, how far its features lie.

Shapes: N = images, K = raw maps, H W = pixels or grid. numpy alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nfbmr.scoring.maps import MAPS, Floats, Maps

OF_PIXELS = ("brightness", "sharpness")

LOOKS = (*OF_PIXELS, "feature_distance")
"""Names of the statistics, as rows and calibrations hold them."""

_DISTANCE = MAPS.index("distance")


def looks_of_pixels(pixels: NDArray[np.uint8]) -> dict[str, float]:
    """Returns how bright and how sharp a picture is, as the network sees it.

    Args:
        pixels: (H, W, 3).

    Returns:
        `brightness`: the mean of all values, 0 to 255. `sharpness`: the mean difference of
        neighbouring pixels' green, along both sides together, 0 to 510.
    """
    green = pixels[..., 1].astype(np.int16)
    down = np.abs(green[1:] - green[:-1]).mean()
    across = np.abs(green[:, 1:] - green[:, :-1]).mean()
    return {"brightness": float(pixels.mean()), "sharpness": float(down + across)}


def looks_of_maps(maps: Maps) -> dict[str, Floats]:
    """Returns `feature_distance` (N,): the mean of the map `distance`, 0 or above.

    It is how far the features lie from their positions' Gaussians, over the whole picture: the
    graph gives no features themselves. Graphs without that map give nothing.
    """
    if maps.shape[1] <= _DISTANCE:
        return {}
    return {"feature_distance": maps[:, _DISTANCE].mean(axis=(1, 2), dtype=np.float64)}


def looks_of_each(maps: Maps, seen: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """Returns all that is known of each picture.

    Args:
        maps: raw, (N, K, H, W).
        seen: what its pixels said, of each; or of none.
    """
    known: Sequence[Mapping[str, float]] = seen or [{}] * len(maps)
    found = looks_of_maps(maps)
    return [
        {**own, **{name: float(values[i]) for name, values in found.items()}}
        for i, own in enumerate(known)
    ]


def joined(looks: Iterable[Mapping[str, float]], names: Iterable[str]) -> dict[str, list[float]]:
    """Returns the values of each statistic, of all pictures."""
    every = list(looks)
    return {name: [one[name] for one in every] for name in names}


def in_order(
    looks: Mapping[str, Sequence[float] | Floats], order: Sequence[int] | NDArray[np.int64]
) -> dict[str, tuple[float, ...]]:
    """Returns values of statistics in another order, or some of them."""
    return {name: tuple(float(values[i]) for i in order) for name, values in looks.items()}
