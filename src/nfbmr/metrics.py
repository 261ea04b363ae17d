"""What the scores are worth once labels are shown: AUROC, AUPRO, F1, false alarms.

The only module that takes labels, so that nothing that learns or calibrates can import one.

    N   pictures        H W   height and width of a picture        higher score = more anomalous

A figure that is undefined (one class is absent, no masks) is None, never NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

from nfbmr.errors import MissingExtraError

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]

FPR_LIMIT = 0.3
"""Upper end of the false positive rates that AUPRO integrates over (Bergmann et al. 2021)."""


def image_auroc(scores: Floats, is_defect: Bools) -> float | None:
    """Probability that a defective picture scores above a good one; ties count one half.

    Args:
        scores: (N,) finite.
        is_defect: (N,).

    Returns:
        In [0, 1]; None when one class is absent.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    _check(scores, is_defect)
    return float(_sklearn().roc_auc_score(is_defect, scores)) if _has_both(is_defect) else None


def average_precision(scores: Floats, is_defect: Bools) -> float | None:
    """Area under the precision-recall steps, defective being the positive class.

    Args:
        scores: (N,) finite.
        is_defect: (N,).

    Returns:
        In [0, 1]; None when one class is absent.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    _check(scores, is_defect)
    both = _has_both(is_defect)
    return float(_sklearn().average_precision_score(is_defect, scores)) if both else None


def roc_curve(scores: Floats, is_defect: Bools) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The corners of the ROC curve, from (0, 0) to (1, 1).

    Args:
        scores: (N,) finite, of at least one good and one defective picture.
        is_defect: (N,).

    Returns:
        fpr (K,), tpr (K,): both ascending, in [0, 1].

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    _check(scores, is_defect)
    assert _has_both(is_defect), "a ROC curve needs both classes"
    fpr, tpr, _ = _sklearn().roc_curve(is_defect, scores)
    return np.asarray(fpr, np.float64), np.asarray(tpr, np.float64)


def precision_recall_f1(
    predicted: Bools, is_defect: Bools
) -> tuple[float | None, float | None, float | None]:
    """How well the verdicts (N,) agree with the labels (N,).

    Returns:
        precision (None when nothing is predicted defective), recall (None when nothing is
        defective), F1 = 2 TP / (2 TP + FP + FN) (None when both hold).
    """
    assert predicted.dtype == is_defect.dtype == np.bool_
    assert predicted.shape == is_defect.shape
    hits = int((predicted & is_defect).sum())
    flagged, defective = int(predicted.sum()), int(is_defect.sum())
    precision = hits / flagged if flagged else None
    recall = hits / defective if defective else None
    f1 = 2 * hits / (flagged + defective) if flagged + defective else None
    return precision, recall, f1


def false_alarm_interval(
    false_alarms: int, n_good: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Exact interval of the true false-alarm rate, given the observed count.

    Clopper and Pearson (1934): it covers the true rate in at least `confidence` of all cases.

    Args:
        false_alarms: good pictures that were flagged, in 0..n_good.
        n_good: good pictures looked at; with 0 the answer is (0, 1).
        confidence: in (0, 1).

    Returns:
        low, high: in [0, 1].
    """
    assert 0 <= false_alarms <= n_good
    tail = (1 - confidence) / 2
    clear = n_good - false_alarms
    low = stats.beta.ppf(tail, false_alarms, clear + 1) if false_alarms else 0.0
    high = stats.beta.isf(tail, false_alarms + 1, clear) if clear else 1.0
    return float(low), float(high)


def predictive_interval(
    n_calibration: int, rank: int, n_good: int, confidence: float = 0.95
) -> tuple[int, int]:
    """How many false alarms to expect among new good pictures, before looking at them.

    The threshold is the `rank`-th smallest of `n_calibration` scores of good pictures. If new good
    pictures are exchangeable with those, the share above it is Beta(n + 1 - rank, rank), and
    the count among `n_good` is beta-binomial.

    Args:
        n_calibration: calibration scores, at least 1.
        rank: in 1..n_calibration.
        n_good: new good pictures, at least 0.
        confidence: in (0, 1); the mass that the interval holds at least.

    Returns:
        low, high: counts in 0..n_good, both included.
    """
    assert 1 <= rank <= n_calibration
    assert 0 < confidence < 1
    law = stats.betabinom(n_good, n_calibration + 1 - rank, rank)
    low, high = law.interval(confidence)
    return int(low), int(high)


class DefectRow(TypedDict):
    """One defect type: pictures, AUROC against all good ones, share that was flagged."""

    n: int
    image_auroc: float | None
    recall: float


def per_defect(
    scores: Floats, is_defect: Bools, defect_names: Sequence[str], predicted: Bools
) -> dict[str, DefectRow]:
    """The figures of each defect type, by name in alphabetical order.

    Args:
        scores: (N,) finite.
        is_defect: (N,).
        defect_names: N names; those of good pictures are not read.
        predicted: (N,) the verdicts.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    _check(scores, is_defect)
    assert len(defect_names) == len(scores)
    assert predicted.shape == is_defect.shape
    names = np.array(defect_names, dtype=object)
    rows: dict[str, DefectRow] = {}
    for name in sorted(set(names[is_defect])):
        of_type = is_defect & (names == name)
        used = of_type | ~is_defect
        rows[str(name)] = {
            "n": int(of_type.sum()),
            "image_auroc": image_auroc(scores[used], of_type[used]),
            "recall": float(predicted[of_type].mean()),
        }
    return rows


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


def summarise(
    scores: Floats,
    p_values: Floats,
    is_defect: Bools,
    defects: Sequence[str],
    threshold: float,
    predicted: Bools,
    pixel: PixelResult | None,
) -> dict[str, Any]:
    """All figures of one test run, ready for JSON.

    Args:
        scores: (N,) finite.
        p_values: (N,) in [0, 1]; checked, since verdicts rest on them, and not summarised.
        is_defect: (N,).
        defects: N defect names; those of good pictures are not read.
        threshold: the score that the verdicts were made with.
        predicted: (N,) the verdicts at that threshold.
        pixel: of the maps; None without masks.

    Returns:
        `image_auroc, image_ap, f1, precision, recall, threshold, false_alarm_rate_observed,
        false_alarm_interval` ([low, high] at 95 %), `pixel_auroc, aupro, per_defect, n_good,
        n_defective`. None where undefined; no NaN and no infinity.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    assert p_values.shape == scores.shape
    assert ((p_values >= 0) & (p_values <= 1)).all()
    precision, recall, f1 = precision_recall_f1(predicted, is_defect)
    n_good, alarms = int((~is_defect).sum()), int((predicted & ~is_defect).sum())
    return {
        "image_auroc": image_auroc(scores, is_defect),
        "image_ap": average_precision(scores, is_defect),
        # Without good pictures every verdict "defect" is right, which would say nothing.
        "f1": f1 if n_good else None,
        "precision": precision if n_good else None,
        "recall": recall,
        "threshold": float(threshold) if math.isfinite(threshold) else None,
        "false_alarm_rate_observed": alarms / n_good if n_good else None,
        "false_alarm_interval": list(false_alarm_interval(alarms, n_good)) if n_good else None,
        "pixel_auroc": pixel.pixel_auroc if pixel else None,
        "aupro": pixel.aupro if pixel else None,
        "per_defect": per_defect(scores, is_defect, defects, predicted),
        "n_good": n_good,
        "n_defective": int(is_defect.sum()),
    }


def _check(scores: Floats, is_defect: Bools) -> None:
    assert scores.ndim == 1, "needs scores (N,)"
    assert scores.shape == is_defect.shape, "needs one label a score"
    assert is_defect.dtype == np.bool_
    assert np.isfinite(scores).all()


def _has_both(is_defect: Bools) -> bool:
    return bool(is_defect.any() and not is_defect.all())


def _sklearn() -> Any:
    try:
        from sklearn import metrics
    except ImportError as error:
        message = "Metrics need scikit-learn; install it with: pip install 'nfbmr[report]'"
        raise MissingExtraError(message) from error
    return metrics
