"""Figures of a model: false alarms are counted on the scale of the rate that is asked for."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nfbmr.benchmark import figures
from nfbmr.evaluation import evaluate
from nfbmr.inspection.inspector import load


def test_false_alarms_at_each_rate_are_those_above_its_own_threshold(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of judges, whose scores are shown on a scale of the rate that the model was made for."""
    inspector = load(model)
    calibration = inspector.calibration
    assert calibration.one is not None
    raw = np.linspace(calibration.zero, 9 * calibration.one, 400)
    thresholds = [inspector.recalibrated(rate).calibration.one for rate in figures.RATES]
    assert thresholds[0] is not None
    assert thresholds[1] is not None
    assert thresholds[0] > thresholds[1] > calibration.one
    done = SimpleNamespace(
        samples=[SimpleNamespace(is_defect=False)] * len(raw),
        scores=calibration.shown(raw),
        metrics=defaultdict(lambda: None),
    )
    monkeypatch.setattr(evaluate, "evaluate", lambda *_: done)
    alarms = figures.tested(inspector, "data", tmp_path)["alarms"]
    for rate, threshold in zip(figures.RATES, thresholds, strict=True):
        assert alarms[str(rate)]["count"] == int((raw > (threshold or 0)).sum()) > 0
