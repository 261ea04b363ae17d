"""Pixel AUROC and AUPRO agree with brute force, stay within their bounds and within memory."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from nfbmr.evaluation import pixel_metrics
from nfbmr.evaluation.pixel_metrics import PixelMetrics, PixelResult

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]


def brute_force_aupro(maps: list[Map], masks: list[Mask | None], limit: float = 0.3) -> float:
    """Every distinct score is a threshold; nothing is shared with the code under test."""
    good = np.concatenate(
        [m.ravel() if k is None else m[~k] for m, k in zip(maps, masks, strict=True)]
    )
    regions = []
    for score_map, mask in zip(maps, masks, strict=True):
        if mask is not None:
            labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
            regions += [score_map[labels == i] for i in range(1, count + 1)]
    x, y = [0.0], [0.0]
    for t in sorted({float(v) for m in maps for v in m.ravel()}, reverse=True):
        x.append(float((good >= t).mean()))
        y.append(float(np.mean([(region >= t).mean() for region in regions])))
    area = 0.0
    for x0, x1, y0, y1 in zip(x[:-1], x[1:], y[:-1], y[1:], strict=True):
        if x0 >= limit:
            break
        cut = min(x1, limit)
        y_cut = y0 + (y1 - y0) * (cut - x0) / (x1 - x0) if x1 > x0 else y1
        area += (cut - x0) * (y0 + y_cut) / 2
    return area / limit


def run(maps: list[Map], masks: list[Mask | None]) -> PixelResult:
    pixel = PixelMetrics()
    for score_map, mask in zip(maps, masks, strict=True):
        pixel.update(score_map, mask)
    return pixel.compute()


def blobs(
    rng: np.random.Generator, n: int, side: int, strength: float = 1.5
) -> tuple[list[Map], list[Mask | None]]:
    """Noise maps; two of three have a few rectangles that score higher."""
    maps: list[Map] = []
    masks: list[Mask | None] = []
    for index in range(n):
        score_map = rng.normal(size=(side, side)).astype(np.float32)
        mask: Mask | None = None
        if index % 3:
            mask = np.zeros((side, side), bool)
            for _ in range(3):
                top, left = rng.integers(0, side - 4, 2)
                height, width = rng.integers(1, max(2, side // 3), 2)
                mask[top : top + height, left : left + width] = True
            score_map[mask] += strength
        maps.append(score_map)
        masks.append(mask)
    return maps, masks


def flat(maps: list[Map], masks: list[Mask | None]) -> tuple[NDArray[np.bool_], Map]:
    labels = [np.zeros(m.shape, bool) if k is None else k for m, k in zip(maps, masks, strict=True)]
    return np.concatenate([k.ravel() for k in labels]), np.concatenate([m.ravel() for m in maps])


def test_aupro_of_a_hand_counted_case() -> None:
    # Two regions of 1 and 4 pixels; 10 good pixels. Descending: the small region, then two good
    # pixels, then the large region, then the rest: the height is 1/2 up to FPR 0.2, then 1.
    score_map = np.array([[9, 0, 5, 5, 0], [0, 0, 5, 5, 0], [8, 7, 0, 0, 0]], np.float32)
    mask = np.isin(score_map, [9, 5])
    result = run([score_map], [mask])
    assert result.aupro == pytest.approx((0.2 * 0.5 + 0.1 * 1.0) / 0.3)
    assert result.pixel_auroc == pytest.approx((10 + 4 * 8) / 50)


def test_diagonal_neighbours_are_one_region() -> None:
    mask = np.zeros((4, 4), bool)
    mask[0, 0] = mask[1, 1] = mask[3, 3] = True  # two regions with 8-connectivity, not three
    score_map = np.where(mask, 0, 1).astype(np.float32)
    score_map[3, 3] = 2
    # Half of the overlap comes before any good pixel and stays at 1/2, then a tie at the end.
    assert run([score_map], [mask]).aupro == pytest.approx(0.5)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("levels", [None, 7])
def test_pixel_figures_agree_with_brute_force(seed: int, levels: int | None) -> None:
    maps, masks = blobs(np.random.default_rng(seed), 6, 24)
    if levels:  # heavy ties
        maps = [np.round(m * levels / 8).astype(np.float32) for m in maps]
    result = run(maps, masks)
    assert result.aupro == pytest.approx(brute_force_aupro(maps, masks), abs=3e-4)
    assert result.pixel_auroc == pytest.approx(roc_auc_score(*flat(maps, masks)), abs=1e-9)


@pytest.mark.parametrize("tail", [1.0, 9.0])
def test_error_bound_holds_when_levels_are_thinned(
    tail: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    capacity = 2**12
    monkeypatch.setattr(pixel_metrics, "_LEVEL_CAPACITY", capacity)
    maps, masks = blobs(np.random.default_rng(5), 30, 96, strength=1.0)
    maps = [
        (np.sign(m) * np.abs(m) ** tail).astype(np.float32) for m in maps
    ]  # heavy tails change nothing
    pixel = PixelMetrics()
    for score_map, mask in zip(maps, masks, strict=True):
        pixel.update(score_map, mask)
    result, levels = pixel.compute(), len(pixel._good._levels)
    assert levels > 5
    rank_error = levels / (2 * capacity)
    assert result.pixel_auroc is not None
    assert result.aupro is not None
    exact = roc_auc_score(*flat(maps, masks))
    assert abs(result.pixel_auroc - exact) <= 2 * rank_error
    rounded = [np.round(m, 2) for m in maps] if tail == 1.0 else None
    if rounded:  # few distinct values keep the brute force quick
        found = run(rounded, masks).aupro
        bound = rank_error / 0.3 + 1 / 4096 + rank_error
        assert found == pytest.approx(brute_force_aupro(rounded, masks), abs=bound)


def test_thinned_ranks_stay_within_the_bound_on_a_sorted_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pixel_metrics, "_LEVEL_CAPACITY", 1024)
    sketch = pixel_metrics._RankSketch()
    stream = np.arange(300_001, dtype=np.float32)
    for chunk in np.split(stream, [10, 11, 1500, 90_000, 90_007]):
        sketch.add(chunk)
    values, weights = sketch.weighted()
    order = np.argsort(values)
    ranks = np.cumsum(weights[order])
    assert ranks[-1] == sketch.count == stream.size
    errors = np.abs(ranks - weights[order] - values[order])
    assert errors.max() <= stream.size * len(sketch._levels) / (2 * 1024)
    assert sum(chunk.size for level in sketch._levels for chunk in level) <= 1024 * 10


def test_thinnings_take_back_from_one_another_what_they_shift(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pixel_metrics, "_LEVEL_CAPACITY", 1024)
    sketch, n = pixel_metrics._RankSketch(), 100_001
    stream = np.random.default_rng(0).permutation(n).astype(np.float32)
    for chunk in np.array_split(stream, n // 700):
        sketch.add(chunk)
    values, weights = sketch.weighted()
    order = np.argsort(values)
    below = np.concatenate([[0.0], np.cumsum(weights[order])])
    asked = np.arange(n)
    errors = below[np.searchsorted(values[order], asked)] - asked
    # Were it always the first of a pair that moves up, no rank would be too low.
    assert errors.min() < 0 < errors.max()
    assert np.abs(errors).max() <= n * len(sketch._levels) / (4 * 1024), "half of the bound"


def test_memory_stays_bounded_and_500_maps_take_seconds() -> None:
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(330, 330)).astype(np.float32)
    mask = np.zeros((320, 320), bool)
    mask[:200, :200] = True
    pixel = PixelMetrics()
    start = time.perf_counter()
    for index in range(500):
        top = index % 10
        pixel.update(noise[top : top + 320, :320], mask if index % 2 else None)
    pixel.compute()
    seconds = time.perf_counter() - start
    held = sum(
        chunk.nbytes if chunk.base is None else chunk.base.nbytes
        for sketch in (pixel._good, pixel._defect, pixel._regions)
        for level in sketch._levels
        for chunk in level
    )
    assert held < 16 * 2**20
    assert seconds < 30  # about 3 alone; other work may share the cores


def test_result_does_not_hang_on_the_callers_buffer() -> None:
    maps, masks = blobs(np.random.default_rng(2), 6, 20)
    expected, pixel = run(maps, masks), PixelMetrics()
    buffer = np.empty((20, 20), np.float32)
    for score_map, mask in zip(maps, masks, strict=True):
        buffer[:] = score_map
        pixel.update(buffer, mask)
        buffer[:] = -1e9
    assert pixel.compute() == expected


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_monotone_change_of_maps_leaves_the_pixel_figures(seed: int) -> None:
    rng = np.random.default_rng(seed)
    maps, masks = blobs(rng, 3, 12)
    maps = [np.round(m * 20).astype(np.float32) for m in maps]
    assert run(maps, masks) == run([m**3 + 5 for m in maps], masks)


def test_perfect_and_reversed_maps() -> None:
    mask = np.zeros((8, 8), bool)
    mask[2:4, 2:4] = True
    assert run([mask.astype(np.float32)], [mask]) == PixelResult(pixel_auroc=1.0, aupro=1.0)
    assert run([-mask.astype(np.float32)], [mask]) == PixelResult(pixel_auroc=0.0, aupro=0.0)


def test_pixel_figures_are_none_without_both_kinds_of_pixels() -> None:
    nothing = PixelResult(pixel_auroc=None, aupro=None)
    assert PixelMetrics().compute() == nothing
    score_map = np.ones((3, 3), np.float32)
    assert run([score_map, score_map], [None, np.zeros((3, 3), bool)]) == nothing
    assert run([score_map], [np.ones((3, 3), bool)]) == nothing


def test_maps_that_are_not_finite_or_do_not_fit_are_refused() -> None:
    with pytest.raises(AssertionError, match="finite"):
        PixelMetrics().update(np.full((2, 2), np.nan, np.float32), None)
    with pytest.raises(AssertionError, match="mask"):
        PixelMetrics().update(np.zeros((2, 2), np.float32), np.zeros((2, 3), bool))
