"""What the scores are worth once labels are shown: AUROC, AUPRO, F1, false alarms.

The only module that takes labels, so that nothing that learns or calibrates can import one.

    N   pictures        H W   height and width of a picture        higher score = more anomalous

A figure that is undefined (one class is absent, no masks) is None, never NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nfbmr.errors import MissingExtraError
from nfbmr.evaluation.pixel_metrics import PixelResult
from nfbmr.scoring.intervals import share_interval
from nfbmr.system.packages import how_to_install

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]


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


class BestF1(TypedDict):
    """The threshold that suits the labels best: an upper bound, never a result."""

    f1_max: float | None
    precision_at_f1_max: float | None
    recall_at_f1_max: float | None


def best_f1(scores: Floats, is_defect: Bools) -> BestF1:
    """The highest F1 that any threshold reaches, and precision and recall there.

    The threshold is chosen on the very labels it is judged by, as figures without a stated
    threshold often are. It is for comparison with such figures alone; the threshold is not given.

    Args:
        scores: (N,) finite.
        is_defect: (N,).

    Returns:
        In [0, 1]; None when one class is absent.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    _check(scores, is_defect)
    if not _has_both(is_defect):
        return {"f1_max": None, "precision_at_f1_max": None, "recall_at_f1_max": None}
    precision, recall, _ = _sklearn().precision_recall_curve(is_defect, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(np.argmax(f1))
    return {
        "f1_max": float(f1[best]),
        "precision_at_f1_max": float(precision[best]),
        "recall_at_f1_max": float(recall[best]),
    }


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
        "false_alarm_interval": list(share_interval(alarms, n_good)) if n_good else None,
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
        message = f"Metrics need scikit-learn; {how_to_install('report')}"
        raise MissingExtraError(message) from error
    return metrics
