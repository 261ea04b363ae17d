"""The lag at which neighbours are as good as independent."""

from __future__ import annotations

import numpy as np
import pytest

from nfbmr.scoring.alike import MOST, autocorrelation, lag_for, surely_alike, without_step
from nfbmr.scoring.maps import Floats


def _series(neighbours: float, n: int, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    found = rng.standard_normal(n)
    for i in range(1, n):
        found[i] = neighbours * found[i - 1] + np.sqrt(1 - neighbours**2) * found[i]
    return found


def test_autocorrelation_is_that_of_ranks() -> None:
    assert autocorrelation(np.arange(5.0), 1).tolist() == pytest.approx([1, 0.4])
    assert autocorrelation(np.exp(np.arange(5.0)), 1).tolist() == pytest.approx([1, 0.4])


@pytest.mark.parametrize(("neighbours", "least"), [(0.0, 1), (0.2, 2), (0.5, 5), (0.8, 13)])
def test_the_lag_leaves_little(neighbours: float, least: int) -> None:
    found = [lag_for(_series(neighbours, 2000, seed)) or MOST for seed in range(8)]
    assert min(found) >= least
    assert all(neighbours**k <= 0.05 for k in found)
    assert np.median(found) <= 1.5 * least + 1


def test_few_values_are_taken_further_apart_than_many() -> None:
    few = np.mean([lag_for(_series(0, 50, seed)) or MOST for seed in range(10)])
    many = np.mean([lag_for(_series(0, 2000, seed)) or MOST for seed in range(10)])
    assert few > many


def test_the_statistic_that_is_most_alike_decides() -> None:
    table = np.stack([_series(0, 2000), _series(0.5, 2000, 1)], axis=1)
    assert lag_for(table) == lag_for(table[:, 1])


def test_parts_of_every_fourth_cavity_are_noticed() -> None:
    rng = np.random.default_rng(0)
    cavity = np.tile([0.0, 1.0, 2.0, 3.0], 500) + 0.3 * rng.standard_normal(2000)
    assert lag_for(cavity) is None


def test_a_step_does_not_make_neighbours_alike() -> None:
    for seed in range(8):
        values = _series(0, 1600, seed)
        values[900:] += 0.8
        assert (lag_for(values) or MOST) <= 2
    alike = _series(0.5, 1600)
    expected = lag_for(alike)
    assert expected is not None
    alike[900:] += 3.0
    assert abs((lag_for(alike) or MOST) - expected) <= 1, "what is left is still seen"


@pytest.mark.parametrize("neighbours", [0.0, 0.2, 0.5, 0.8])
def test_a_line_without_a_step_is_taken_as_it_is(neighbours: float) -> None:
    for seed in range(10):
        values = _series(neighbours, 800, seed)
        assert without_step(values) is values
    few = np.arange(5.0)
    assert without_step(few) is few


def test_what_wanders_slowly_has_no_lag() -> None:
    assert lag_for(np.cumsum(np.random.default_rng(0).standard_normal(2000))) is None


def test_only_what_is_beyond_chance_thins_the_calibration() -> None:
    assert sum(surely_alike(_series(0, 100, seed)[:, None]) == 1 for seed in range(10)) >= 8
    assert surely_alike(_series(0.7, 300)[:, None]) > 5
    assert surely_alike(np.zeros((3, 1))) == 1
