"""Raw maps -> heatmap, on the scale of good pictures.

Shapes: K = raw maps, K' = those that are shown, H W = grid, h w = pixels of the heatmap.
Higher = more anomalous.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.data.images import resize_map
from nfbmr.scoring.calibration import Calibration, placed
from nfbmr.scoring.grids import on_own_grid
from nfbmr.scoring.judges import judges_of
from nfbmr.scoring.level import to_level
from nfbmr.scoring.maps import Maps, chosen_maps, fused_maps, shown_maps
from nfbmr.settings.schema import ScoringSettings

_UNSEEN = 0.4
"""Of the finest judge's map where a coarser one sees nothing (docs/research.md)."""

LOW = 0.6
"""A place reaches down to this level. One cut where places begin to count would leave out the
flanks of its defect, over which receptive fields and interpolation spread what they saw. A level
much lower joins neighbours, as good places come near it; by themselves these make no place."""

_RIM = 0.9
"""Of the level that makes a place: what its edge does not exceed."""

_TRACE = 1e-3

_CALM = 0.95
"""Highest point, at most, of the heatmap of a picture that is no defect."""

_QUIET = 0.5
"""Levels of such a picture that stay as they are."""

_ALARM = 1.02
"""What the highest point of a defect reaches at least."""

_EDGE, _CORE = 0.5, 0.9
"""Shares of a judge's highest point between which its place fades."""


def fused_heatmap(
    maps: Maps,
    scoring: ScoringSettings,
    calibration: Calibration,
    size: tuple[int, int],
    counts: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Fuses one image's raw maps (K, H, W) to one map (h, w) of `size`, where grids are no judges.

    0 is a typical good position, and 1 is what the highest position of a good picture exceeds in
    the asked share of good pictures. `counts`, float32 (h, w), is 0 where nothing counts, else 1:
    the map is 0 there.
    """
    maps = placed(maps[None], calibration)[0]
    mean, std = np.array(calibration.map_mean), np.array(calibration.map_std)
    fused = fused_maps(chosen_maps(maps[None], shown_maps(scoring)), mean, std)[0]
    scaled = (fused - calibration.heat_zero) / (calibration.heat_one - calibration.heat_zero)
    found = resize_map(np.asarray(scaled, dtype=np.float32), size)
    return found if counts is None else found * counts


def own_maps(
    maps: Maps, scoring: ScoringSettings, calibration: Calibration
) -> list[NDArray[np.float32]]:
    """Returns what each judge sees of one image's raw maps (K, H, W): levels on its own grid.

    The finest judge's map is the last.
    """
    maps = placed(maps[None], calibration)[0]
    return [
        _of_judge(maps, number, scoring, calibration) for number in range(len(judges_of(scoring)))
    ]


def edge_of(alarm: float, edge: float = LOW) -> float:
    """Returns the level that a place reaches down to: `edge`, but below what makes it a place."""
    return min(edge, _RIM * alarm)


def peaks_of(heat: NDArray[np.float32], labels: NDArray[Any], count: int) -> NDArray[np.float32]:
    """Returns the highest point of each component 1 to `count` of a map, (count,)."""
    inside = labels > 0  # a few pixels; scipy's maximum sorts all of them
    found = np.full(count + 1, -np.inf, heat.dtype)
    np.maximum.at(found, labels[inside], heat[inside])
    return found[1:]


def alarm_of(calibration: Calibration, score: float) -> float | None:
    """Returns the level from which on a place counts by itself.

    As high as good pictures have anywhere in the share that a person looks at. None of a picture
    that is passed as good, and of older models.
    """
    is_passed = calibration.verdict(score) == "good"
    return None if is_passed or not calibration.judge_peaks else calibration.look_peak


def as_judged(
    own: Sequence[NDArray[np.float32]],
    score: float,
    size: tuple[int, int],
    counts: NDArray[np.float32] | None,
    alarm: float | None,
) -> NDArray[np.float32]:
    """Returns the heatmap (h, w) of `size` where grids are judges, before `with_verdict`.

    In levels of what the highest place of good pictures has: the finest judge's map, dimmed where
    the others see nothing, but for what it finds unusual by itself in a picture that is not passed.

    Args:
        own: as of `own_maps`.
        score: of the picture.
        size: (h, w).
        counts: float32 (h, w), 0 where nothing counts, else 1: the map is 0 there, and its highest
            point is that of the rest.
        alarm: as of `alarm_of`.
    """
    shown = [resize_map(one, size) for one in own]  # (h, w)
    if counts is not None:
        shown = [one * counts for one in shown]
    found = shown[-1]
    # What is decided here is decided before resizing, so that it is the same at every size.
    highest = float(own[-1].max())
    alone = None if alarm is None else resize_map(_places(own[-1], alarm), size)
    for coarse, one in zip(shown[:-1], own, strict=False):
        top = float(one.max())
        seen = coarse / max(float(coarse.max()), 1e-9)
        # Where the finest judge sees nothing at all, a trace of the other still says where.
        traced = found + _TRACE * seen
        stays = seen if alone is None else np.maximum(seen, alone)
        found = traced * (_UNSEEN + (1 - _UNSEEN) * stays)
        if score > 1 and top >= max(highest, 1):
            found = _with_place(found, traced, seen)
    return np.asarray(found, dtype=np.float32)


def _places(levels: NDArray[np.float32], alarm: float) -> NDArray[np.float32]:
    """Returns 1 in each place of a map (H, W) that reaches an alarm, to its edge, else 0."""
    from scipy import ndimage  # starting loads none of it

    labels, count = ndimage.label(levels >= edge_of(alarm), np.ones((3, 3)))
    counts = np.concatenate([[False], peaks_of(levels, labels, count) >= alarm])
    return np.asarray(counts[labels], np.float32)


def _with_place(
    heat: NDArray[np.float32], fine: NDArray[np.float32], seen: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Lifts the place of the judge that decides to the threshold, if it is not as high.

    Args:
        heat: (h, w), what is shown so far.
        fine: (h, w), what the finest judge sees, above 0: it says how the place looks.
        seen: (h, w) in [0, 1], where the other sees it.
    """
    place = np.clip((seen - _EDGE) / (_CORE - _EDGE), 0, 1) * fine
    highest = float(place.max())
    return heat if highest >= _ALARM else np.maximum(heat, place * (_ALARM / highest))


def with_verdict(heat: NDArray[np.float32], score: float) -> NDArray[np.float32]:
    """Brings a map (h, w) of levels to what is said of its picture, where they disagree.

    A map of a defect, whose score is above 1, that nowhere reaches 1 is lifted as a whole until it
    does. Of all other pictures what lies above `_QUIET` is pressed together, so that it stays below
    1. Else levels stay as they are: a colour means the same in every picture.
    """
    highest = max(float(heat.max()), 1e-9)
    if score > 1:
        return heat if highest > 1 else np.asarray(heat * np.float32(_ALARM / highest))
    return np.asarray(calm(heat, highest), dtype=np.float32)


def calm(levels: NDArray[np.float32], highest: float) -> NDArray[np.float32]:
    """Presses levels above `_QUIET` together, of a map whose highest it is, to `_CALM` at most."""
    if highest <= _CALM:
        return levels
    pressed = _QUIET + (levels - _QUIET) * ((_CALM - _QUIET) / (highest - _QUIET))
    return np.where(levels > _QUIET, pressed, levels)


def _of_judge(
    maps: Maps, number: int, scoring: ScoringSettings, calibration: Calibration
) -> NDArray[np.float32]:
    """Returns one judge's map on its own grid, in levels: 1 where good pictures end."""
    names = judges_of(scoring)[number]
    places = [scoring.maps.index(name) for name in names]
    mean, std = np.array(calibration.map_mean)[places], np.array(calibration.map_std)[places]
    factors = calibration.factor, calibration.detail_factor
    fused = on_own_grid(maps[None], names, mean, std, factors)[0]
    levels = to_level(np.maximum(fused, 0), 0.0, calibration.judge_peak[number])
    return np.ascontiguousarray(levels, dtype=np.float32)
