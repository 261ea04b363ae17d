"""Real pictures that change are found, and what changed is named."""

from __future__ import annotations

import numpy as np

from nfbmr.benchmark import drift_changes


def test_changes_are_what_they_are_called() -> None:
    pixels = np.full((20, 200, 3), 100, np.uint8)
    pixels[:, :50] = 200
    assert drift_changes.brighter(pixels)[0, 100].tolist() == [105] * 3
    assert drift_changes.brighter(np.full((1, 1, 3), 250, np.uint8)).max() == 255
    assert drift_changes.shifted(pixels)[0, 51, 0] == 200
    assert drift_changes.shifted(pixels)[0, 52, 0] == 100
    edge = drift_changes.blurred(pixels)[10, 45:55, 0]
    assert (np.diff(edge.astype(int)) <= 0).all()
    assert len(set(edge.tolist())) > 2


def test_a_changed_line_is_found_and_what_changed_is_named() -> None:
    rng = np.random.default_rng(3)
    before = rng.standard_normal((40, 4)) * 0.3
    after = before.copy()
    after[:, 1] += 3
    row = drift_changes.changed("brighter", before, after, repeats=2)
    assert row["found"] == 2
    assert row["false"] == 0
    assert row["named"] == {"brightness": 2}
    assert 0 < row["median"] < 100
