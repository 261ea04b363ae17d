"""The exact interval of a counted share."""

from __future__ import annotations

import pytest
from scipy import stats

from nfbmr.scoring.intervals import share_interval


@pytest.mark.parametrize("confidence", [0.9, 0.95])
@pytest.mark.parametrize(
    ("hits", "of"), [(0, 20), (3, 190), (7, 50), (20, 20), (1, 1), (0, 5), (5, 5), (1, 200)]
)
def test_it_is_clopper_and_pearsons(hits: int, of: int, confidence: float) -> None:
    exact = stats.binomtest(hits, of).proportion_ci(confidence, "exact")
    assert share_interval(hits, of, confidence) == pytest.approx((exact.low, exact.high))


def test_of_nothing_the_share_is_unknown() -> None:
    assert share_interval(0, 0) == (0.0, 1.0)
