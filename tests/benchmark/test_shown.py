"""AUPRO of heatmaps that follow the verdict, and of the same maps before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nfbmr.benchmark import shown
from nfbmr.evaluation.evaluate import evaluate
from nfbmr.inspection.inspector import Inspector


def test_what_is_shown_has_the_figures_of_an_evaluation_and_plain_maps_their_own(
    inspector: Inspector, model: Path, mvtec: Path, tmp_path: Path
) -> None:
    row = shown.measure(model, mvtec)
    told = evaluate(inspector, mvtec, tmp_path / "report").metrics
    for key in ("pixel_auroc", "aupro"):
        assert row["shown"][key] == pytest.approx(told[key], abs=1e-6)
        # Here every defect is called and no good part, so that nothing is moved.
        assert row["plain"][key] == pytest.approx(told[key], abs=1e-3)


def test_the_table_has_both_kinds_in_percent() -> None:
    row: dict[str, Any] = {"set": "tiles"}
    row |= {kind: {"aupro": 0.5 + n / 10, "pixel_auroc": 0.9} for n, kind in enumerate(shown.KINDS)}
    assert "| tiles | 50.0 | 60.0 | 90.0 | 90.0 |" in shown.table([row])


def test_plain_maps_do_not_hang_on_the_score(inspector: Inspector, mvtec: Path) -> None:
    for path in (*mvtec.glob("test/good/*"), *mvtec.glob("test/blob/*")):
        result = inspector.inspect(path)
        scores = (0.0, 0.7, result.score, 3.0)
        plain = [replace(result, score=score).levels_at((40, 30)) for score in scores]
        for other in plain[1:]:
            np.testing.assert_array_equal(other, plain[0])
        called = replace(result, score=3.0).heatmap_at((40, 30))
        if plain[0].max() > 1:
            np.testing.assert_array_equal(called, plain[0])
