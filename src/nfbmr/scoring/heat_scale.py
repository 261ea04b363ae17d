"""The scale of heatmaps, learnt from the raw maps of good pictures.

Shapes: n = images that calibrate, K = raw maps, G = judges, H W = grid.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.errors import CalibrationError
from nfbmr.scoring.conformal import TINY, threshold_for
from nfbmr.scoring.grids import Factors, on_own_grid
from nfbmr.scoring.ignored import Area, counting
from nfbmr.scoring.judges import as_if_held_out, judges_of
from nfbmr.scoring.maps import (
    DETAIL,
    FINE,
    Floats,
    Maps,
    chosen_maps,
    fused_maps,
    repeats,
    shown_maps,
)
from nfbmr.scoring.tails import NO_SPREAD
from nfbmr.settings.schema import MapName, ScoringSettings

_MOST = 1e6
"""Standard deviations of a peak: a wild picture's may be any number, and needs none."""


def factors_of(maps: Maps, scoring: ScoringSettings) -> Factors:
    """Returns what repeats in raw maps (n, K, H, W), of which no area was left out yet."""
    return (
        repeats(maps, tuple(name for name in scoring.maps if name not in FINE)),
        repeats(maps, tuple(name for name in scoring.maps if name in DETAIL)),
    )


def heat_scale(
    maps: Maps,
    scoring: ScoringSettings,
    rate: float,
    factors: Factors,
    ignored: tuple[Area, ...],
    own: Collection[str],
    trained: NDArray[np.bool_] | None,
    calm: NDArray[np.bool_],
) -> dict[str, Any]:
    """Returns `map_mean`, `map_std`, `heat_zero`, `heat_one` and what judges need of their own.

    Args:
        maps: (n, K, H, W), in the order of the calibration's scores.
        scoring: which maps, and what is shown.
        rate: asked, in (0, 1).
        factors: of these maps.
        ignored: areas that say nothing.
        own: names of maps that training on a picture does not change here.
        trained: which of the pictures (n,) the networks were trained on; None where none was.
        calm: which of them (n,) the scale of maps rests on.

    Raises:
        CalibrationError: a map never moves.
    """
    counts = counting(ignored, (maps.shape[2], maps.shape[3]))
    chosen = chosen_maps(maps, shown_maps(scoring))
    # A view, where nothing is ignored or wild: maps of thousands of pictures are large.
    cells = chosen.reshape(*chosen.shape[:2], -1) if counts.all() else chosen[..., counts]
    cells = cells if calm.all() else cells[calm]
    map_mean, map_std = cells.mean(axis=(0, 2)), cells.std(axis=(0, 2))
    if not (map_std > NO_SPREAD * np.abs(cells).max(axis=(0, 2))).all():
        raise CalibrationError(
            "a map of the heatmap has the same value at every place of every good image: the "
            "network sees nothing in them. Give pictures that show the part, or another backbone"
        )
    found = {"map_mean": tuple(map_mean.tolist()), "map_std": tuple(map_std.tolist())}
    if scoring.by_judges:  # the heatmap's scale is the score's
        peaks = []
        for names in judges_of(scoring):
            highest = _peaks(maps, names, map_mean, map_std, scoring, factors)
            peaks.append(peaks_as_if_new(highest, names, own, trained))
        return found | {
            "heat_zero": 0.0,
            "heat_one": 1.0,
            "factor": max(factors),
            "detail_factor": factors[1],
            "judge_peaks": tuple(tuple(highest.tolist()) for highest in peaks),
            "judge_peak": tuple(peak_of(highest, rate) for highest in peaks),
        }
    fused = fused_maps(chosen, map_mean, map_std)
    zero = float(np.median(fused if counts.all() else fused[:, counts]))
    one = threshold_for(np.sort(np.minimum(fused.max(axis=(1, 2)), _MOST)), rate)[0]
    return found | {"heat_zero": zero, "heat_one": max(one, zero + TINY)}


def peaks_as_if_new(
    peaks: Floats, names: Sequence[str], own: Collection[str], trained: NDArray[np.bool_] | None
) -> Floats:
    """Brings a judge's peaks (n,) in pictures trained on, which are calm, to those held out.

    Args:
        peaks: its highest positions in good pictures.
        names: of its maps.
        own: names of maps that training on a picture does not change here.
        trained: which of the pictures (n,) the networks were trained on; None where none was.
    """
    if trained is None or set(names) <= set(own):
        return peaks
    return as_if_held_out(peaks[:, None], trained)[:, 0]


def peak_of(peaks: Sequence[float] | Floats, rate: float) -> float:
    """Returns what the highest position exceeds in a share of good pictures, above 0."""
    return max(threshold_for(np.sort(peaks), rate)[0], TINY)


def _peaks(
    maps: Maps,
    names: tuple[MapName, ...],
    mean: Floats,
    std: Floats,
    scoring: ScoringSettings,
    factors: Factors,
) -> Floats:
    """Returns the highest positions (n,) of a judge's map in good pictures."""
    own = [scoring.maps.index(name) for name in names]
    fused = on_own_grid(maps, names, mean[own], std[own], factors)
    return np.asarray(np.minimum(fused.max(axis=(1, 2)), _MOST))
