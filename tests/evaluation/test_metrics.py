"""Metrics against hand-counted cases, scikit-learn, and exact brute force."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from nfbmr.errors import MissingExtraError
from nfbmr.evaluation import metrics
from nfbmr.evaluation.pixel_metrics import PixelResult

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]

SCORES = np.array([0.1, 0.4, 0.35, 0.8])
LABELS = np.array([False, False, True, True])


def test_image_figures_of_a_hand_counted_case() -> None:
    assert metrics.image_auroc(SCORES, LABELS) == 0.75  # 3 of 4 pairs in order
    assert metrics.average_precision(SCORES, LABELS) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_ties_count_one_half() -> None:
    assert metrics.image_auroc(np.array([1.0, 1.0]), np.array([False, True])) == 0.5


@pytest.mark.parametrize("label", [True, False])
def test_one_class_has_no_auroc(label: bool) -> None:
    labels = np.full(3, label)
    assert metrics.image_auroc(np.arange(3.0), labels) is None
    assert metrics.average_precision(np.arange(3.0), labels) is None


def test_roc_curve_runs_from_corner_to_corner_and_encloses_the_auroc() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=200), rng.random(200) < 0.3
    fpr, tpr = metrics.roc_curve(scores, labels)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    area = np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1])) / 2
    assert area == pytest.approx(metrics.image_auroc(scores, labels))


@pytest.mark.parametrize(
    ("predicted", "labels", "expected"),
    [
        ([1, 1, 0, 0], [1, 0, 1, 1], (1 / 2, 1 / 3, 2 / 5)),
        ([0, 0], [1, 1], (None, 0.0, 0.0)),
        ([1, 0], [0, 0], (0.0, None, 0.0)),
        ([0, 0], [0, 0], (None, None, None)),
        ([1, 1], [1, 1], (1.0, 1.0, 1.0)),
    ],
)
def test_precision_recall_f1_by_hand(
    predicted: list[int], labels: list[int], expected: tuple[float | None, ...]
) -> None:
    assert metrics.precision_recall_f1(
        np.array(predicted, bool), np.array(labels, bool)
    ) == pytest.approx(expected)


def test_best_f1_is_the_best_of_all_thresholds_and_no_more() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=60).round(1), rng.random(60) < 0.3
    scores = scores + labels
    found = metrics.best_f1(scores, labels)
    by_hand = {t: metrics.precision_recall_f1(scores >= t, labels) for t in set(scores)}
    best = max(by_hand.values(), key=lambda figures: figures[2] or 0)
    assert found["f1_max"] == pytest.approx(best[2])
    assert (found["precision_at_f1_max"], found["recall_at_f1_max"]) in [
        pytest.approx(figures[:2]) for figures in by_hand.values() if figures[2] == best[2]
    ]
    assert metrics.best_f1(scores, np.zeros(60, bool))["f1_max"] is None


@given(st.lists(st.tuples(st.integers(-50, 50), st.booleans()), min_size=2, max_size=60))
def test_monotone_change_of_scores_leaves_the_ranking_figures(
    pairs: list[tuple[int, bool]],
) -> None:
    scores = np.array([score for score, _ in pairs], np.float64)
    labels = np.array([label for _, label in pairs])
    assert metrics.image_auroc(scores, labels) == metrics.image_auroc(scores**3 + 7, labels)
    before, after = (metrics.average_precision(s, labels) for s in (scores, scores**3 + 7))
    assert before == after


# --- intervals of the false-alarm rate ---------------------------------------------------------


def test_predictive_interval_holds_what_a_simulation_sees() -> None:
    n, rank, n_good = 60, 58, 100
    low, high = metrics.predictive_interval(n, rank, n_good, confidence=0.9)
    rng = np.random.default_rng(1)
    thresholds = np.sort(rng.random((4000, n)), axis=1)[:, rank - 1]
    alarms = (rng.random((4000, n_good)) > thresholds[:, None]).sum(axis=1)
    assert ((alarms >= low) & (alarms <= high)).mean() >= 0.89
    assert (alarms < low).mean() <= 0.06
    assert (alarms > high).mean() <= 0.06


def test_predictive_interval_at_its_edges() -> None:
    assert metrics.predictive_interval(10, 10, 0) == (0, 0)
    low, high = metrics.predictive_interval(1, 1, 1)  # P(alarm) = 1/2
    assert (low, high) == (0, 1)
    narrow = metrics.predictive_interval(100_000, 99_000, 1000)
    assert narrow[0] <= 10 <= narrow[1]
    assert narrow[1] - narrow[0] < 16


# --- summaries -----------------------------------------------------------------------------------


def test_per_defect_compares_each_type_with_all_good() -> None:
    scores = np.array([0.0, 1.0, 2.0, 0.5, 3.0])
    labels = np.array([False, False, True, True, True])
    rows = metrics.per_defect(
        scores, labels, ["good", "good", "scratch", "dent", "dent"], scores > 1.5
    )
    assert rows == {
        "dent": {"n": 2, "image_auroc": 0.75, "recall": 0.5},
        "scratch": {"n": 1, "image_auroc": 1.0, "recall": 1.0},
    }


KEYS = {
    *("image_auroc", "image_ap", "f1", "precision", "recall", "threshold"),
    *("false_alarm_rate_observed", "false_alarm_interval", "pixel_auroc", "aupro"),
    *("per_defect", "n_good", "n_defective"),
}


def test_summary_has_exactly_its_keys_and_hand_counted_values() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(40) >= 30
    scores = rng.normal(size=40) + labels
    names = ["bent" if label else "" for label in labels]
    pixel = PixelResult(pixel_auroc=0.9, aupro=0.8)
    summary = metrics.summarise(scores, rng.random(40), labels, names, 1.0, scores > 1.0, pixel)
    assert set(summary) == KEYS
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["image_ap"] == pytest.approx(average_precision_score(labels, scores))
    assert summary["false_alarm_rate_observed"] == (scores[:30] > 1.0).mean()
    assert summary["n_good"] == 30
    assert summary["n_defective"] == 10
    assert summary["per_defect"]["bent"]["n"] == 10
    assert summary["aupro"] == 0.8


@pytest.mark.parametrize("label", [True, False])
def test_summary_of_one_class_is_json_without_nan(label: bool) -> None:
    scores = np.arange(3.0)
    summary = metrics.summarise(
        scores, np.ones(3), np.full(3, label), ["x"] * 3, float("inf"), scores > 9, None
    )
    assert set(summary) == KEYS
    json.dumps(summary, allow_nan=False)
    assert summary["image_auroc"] is summary["pixel_auroc"] is summary["threshold"] is None
    assert (summary["false_alarm_interval"] is None) is label


def test_precision_says_nothing_without_good_pictures() -> None:
    scores, predicted = np.arange(4.0), np.array([False, True, True, True])
    for is_defect, expected in (([True] * 4, None), ([False, True, True, True], 1.0)):
        labels = np.array(is_defect)
        found = metrics.summarise(scores, np.ones(4), labels, ["x"] * 4, 0.5, predicted, None)
        assert found["precision"] == found["f1"] == expected
        assert found["recall"] == (0.75 if expected is None else 1.0)


def test_missing_scikit_learn_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtraError, match=r'pip install -e "\.\[report\]"'):
        metrics.image_auroc(SCORES, LABELS)
