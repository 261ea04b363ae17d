"""How well maps point at the defects: pixel AUROC and AUPRO, in memory that does not grow.

It takes masks, so it stands with `metrics`: nothing that learns or calibrates may import it.

    H W   height and width of a picture        higher = more anomalous
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]

FPR_LIMIT = 0.3
"""Upper end of the false positive rates that AUPRO integrates over (Bergmann et al. 2021)."""


@dataclass(frozen=True, kw_only=True)
class PixelResult:
    """How well the maps point at the defects; None where no defect or no good pixel was seen."""

    pixel_auroc: float | None
    aupro: float | None


class PixelMetrics:
    """Pixel AUROC and AUPRO over any number of maps, in memory that does not grow with them.

    AUPRO (Bergmann et al. 2021): the overlap with each true region, averaged over the regions, as
    a function of the false positive rate over all good pixels; its mean over rates in [0, 0.3].
    A region is an 8-connected component of a mask.

    Three rank sketches of about 0.5 MB a level hold good pixels, defect pixels, and 2,048
    equally spaced quantiles of every region. For up to 2^31 good pixels (20,000 maps of
    320 x 320) the results are within 2e-4 (AUROC) and 6e-4 (AUPRO) of the exact ones, whatever
    the values. Only their order matters.
    """

    def __init__(self) -> None:
        self._good = _RankSketch()
        self._defect = _RankSketch()
        self._regions = _RankSketch()

    def update(self, score_map: Floats, mask: Bools | None) -> None:
        """Takes in one picture; keeps no reference to the arrays.

        Args:
            score_map: (H, W) float32, finite.
            mask: (H, W), True on the defect; None for a good picture.
        """
        assert score_map.ndim == 2, "needs a map (H, W)"
        assert np.isfinite(score_map).all(), "needs a finite map"
        values = score_map.astype(np.float32)
        if mask is None:
            self._good.add(values.ravel())
            return
        assert mask.dtype == np.bool_, "needs a bool mask"
        assert mask.shape == values.shape, "needs a mask of the size of the map"
        self._good.add(values[~mask])
        if mask.any():
            self._defect.add(values[mask])
            self._add_regions(values, mask)

    def compute(self) -> PixelResult:
        """The figures over all maps so far; more may follow."""
        if not self._good.count or not self._defect.count:
            return PixelResult(pixel_auroc=None, aupro=None)
        return PixelResult(
            pixel_auroc=_area_under(self._defect, self._good, 1.0),
            aupro=_area_under(self._regions, self._good, FPR_LIMIT),
        )

    def _add_regions(self, values: Floats, mask: Bools) -> None:
        labels, _ = ndimage.label(mask, structure=np.ones((3, 3)))
        inside, region = values[mask], labels[mask]
        inside = inside[np.lexsort((inside, region))]
        ends = np.cumsum(np.bincount(region)[1:])
        for scores in np.split(inside, ends[:-1]):
            self._regions.add(scores[_QUANTILES * scores.size // (2 * len(_QUANTILES))])


_QUANTILES = 2 * np.arange(2048) + 1
"""Every region weighs the same, so each gives this many values; its overlap is off by at most
half a step, 1 / 4,096."""

_LEVEL_CAPACITY = 2**17
"""Values of a sketch's level at which it is thinned."""


class _RankSketch:
    """Ranks of a long stream in little memory, with a bound that holds for any values.

    Level l holds values that each stand for 2**l of the stream. A full level is sorted and every
    second value moves up, the first of each pair and the second in turn (after Munro and Paterson
    1980). One thinning shifts a rank by at most 2**l, the next one the other way, so with
    capacity c and L levels any rank of M values is off by at most about M L / (2 c).
    """

    def __init__(self) -> None:
        self.count = 0
        self._levels: list[list[Floats]] = []
        self._sizes: list[int] = []
        self._thinnings: list[int] = []

    def add(self, values: Floats) -> None:
        """Takes in values (M,), which the caller must not change afterwards."""
        self.count += values.size
        level = 0
        while values.size:
            if level == len(self._levels):
                self._levels.append([])
                self._sizes.append(0)
                self._thinnings.append(0)
            self._levels[level].append(values)
            self._sizes[level] += values.size
            if self._sizes[level] < _LEVEL_CAPACITY:
                return
            values = self._thin(level)
            level += 1

    def weighted(self) -> tuple[Floats, NDArray[np.float64]]:
        """Values (K,) unsorted, and how many of the stream each stands for (K,)."""
        chunks = [chunk for level in self._levels for chunk in level]
        weights = np.repeat(2.0 ** np.arange(len(self._sizes)), self._sizes)
        return np.concatenate(chunks), weights

    def _thin(self, level: int) -> Floats:
        pool = np.sort(np.concatenate(self._levels[level]))
        even = pool.size - pool.size % 2
        first = self._thinnings[level] % 2
        self._thinnings[level] += 1
        self._levels[level] = [pool[even:].copy()]
        self._sizes[level] = pool.size - even
        return pool[first:even:2].copy()


def _area_under(positive: _RankSketch, negative: _RankSketch, limit: float) -> float:
    """Mean height of the curve (share of negatives >= t, share of positives >= t) up to `limit`."""
    up, up_weights = positive.weighted()
    right, right_weights = negative.weighted()
    values, place = np.unique(np.concatenate([up, right]), return_inverse=True)
    y = _share_at_or_above(place[: up.size], up_weights, values.size)
    x = _share_at_or_above(place[up.size :], right_weights, values.size)
    end = int(np.searchsorted(x, limit, side="right"))
    if end < x.size:
        part = (limit - x[end - 1]) / (x[end] - x[end - 1])
        y = np.append(y[:end], y[end - 1] + part * (y[end] - y[end - 1]))
        x = np.append(x[:end], limit)
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1])) / 2 / limit)


def _share_at_or_above(
    place: NDArray[np.int64], weights: NDArray[np.float64], size: int
) -> NDArray[np.float64]:
    tally = np.bincount(place, weights=weights, minlength=size)[::-1]
    return np.concatenate([[0.0], np.cumsum(tally) / weights.sum()])
