"""Damage on purpose: one small place changes, more where it is stronger, the same each time."""

from __future__ import annotations

import numpy as np
import pytest

from nfbmr.deployment.damage import damaged, separation


def picture() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(90, 160, (60, 90, 3)).astype(np.uint8)


def test_one_small_place_changes_and_the_picture_itself_does_not() -> None:
    before = picture()
    for number in range(12):
        found = damaged(before, number)
        rows, columns = np.nonzero((found != before).any(axis=2))
        assert found.dtype == np.uint8
        assert 0 < np.ptp(rows) < 0.25 * 60
        assert 0 < np.ptp(columns) < 0.25 * 90
        np.testing.assert_array_equal(found, damaged(before, number))
    np.testing.assert_array_equal(before, picture())


def test_strengths_take_turns() -> None:
    before = picture()
    change = [
        np.mean([np.abs(damaged(before, n).astype(int) - before).max() for n in range(k, 80, 4)])
        for k in range(4)
    ]
    assert change == sorted(change)


def test_even_a_uniform_picture_is_damaged() -> None:
    plain = np.full((32, 32, 3), 128, np.uint8)
    assert all((damaged(plain, number) != plain).any() for number in range(8))


def test_separation_is_the_share_of_pairs_in_order() -> None:
    assert separation(np.array([0.0, 1.0]), np.array([2.0])) == 1.0
    assert separation(np.array([0.0, 2.0]), np.array([1.0])) == 0.5
    assert separation(np.array([1.0]), np.array([1.0])) == pytest.approx(0.5)
