"""The readable scale: anchors, order, and the way back."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nfbmr.scoring.level import to_level, to_raw, zero_for


def test_typical_is_0_the_end_of_the_good_ones_is_1_and_beyond_it_grows_slowly() -> None:
    shown = to_level(np.array([2.0, 6.0, 10.0, 2 + 8 * math.e, 2 + 8 * math.e**3]), 2.0, 10.0)
    assert shown.tolist() == pytest.approx([0, 0.5, 1, 2, 4])


def test_levels_keep_the_order_and_lead_back_to_raw_scores() -> None:
    raw = np.sort(np.random.default_rng(0).standard_cauchy(200) * 100)
    shown = to_level(raw, 0.5, 3.0)
    assert (np.diff(shown) > 0).all()
    assert to_raw(shown, 0.5, 3.0) == pytest.approx(raw, rel=1e-9, abs=1e-9)
    assert to_level(np.array([8e7]), 0.0, 3.0)[0] < 20


def test_zero_is_the_median_and_always_below_one() -> None:
    raw = np.arange(11.0)
    assert zero_for(raw, 9.0) == 5
    assert zero_for(raw, 4.0) == pytest.approx(4 - (8.4 - 1.6) / 4)
    assert zero_for(np.ones(5), 1.0) < 1


@pytest.mark.parametrize("wild", [30.0, 3000.0])
def test_a_wild_picture_leaves_typical_ones_at_zero(wild: float) -> None:
    raw = np.sort(np.random.default_rng(0).normal(size=250))
    end = float(raw[-3])
    raw[-1] = wild
    assert zero_for(raw, end) == np.median(raw)
