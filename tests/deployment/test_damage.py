"""Damage on purpose: one small place changes, more where it is stronger, the same each time."""

from __future__ import annotations

import numpy as np
import pytest

from nfbmr.deployment.damage import STRENGTHS, damaged, damaged_copies, fitting_strength


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


def test_shares_take_turns() -> None:
    before = picture()
    change = [
        np.mean([np.abs(damaged(before, n).astype(int) - before).max() for n in range(k, 80, 4)])
        for k in range(4)
    ]
    assert change == sorted(change)


def test_even_a_uniform_picture_is_damaged() -> None:
    plain = np.full((32, 32, 3), 128, np.uint8)
    assert all((damaged(plain, number) != plain).any() for number in range(8))


def test_strength_changes_how_much_and_not_where() -> None:
    before = picture().astype(int)
    for number in range(8):
        full, half = (np.abs(damaged(picture(), number, s) - before) for s in (1.0, 0.5))
        assert not half[full == 0].any()
        assert 0.3 * full.max() < half.max() < 0.7 * full.max()
    assert not any((damaged(picture(), number, 1e-4) != picture()).any() for number in range(8))


def test_copies_are_each_pictures_own_in_turn() -> None:
    good = [picture(), picture()[::-1].copy()]
    found = list(damaged_copies(good, (60, 90), strength=0.5, each=3))
    assert len(found) == 6
    for number, copy in enumerate(found):
        np.testing.assert_array_equal(copy, damaged(good[number // 3], number, 0.5))


@pytest.mark.parametrize("middle", [0.01, 0.1, 0.7])
def test_the_strength_is_found_at_which_damage_is_told_as_often_as_asked(middle: float) -> None:
    asked = []

    def separation_at(strength: float) -> float:
        asked.append(strength)
        return 0.5 + 0.5 * strength / (strength + middle)

    found = fitting_strength(separation_at, 0.75)
    assert abs(np.log2(found / middle)) <= 0.25  # one step of four to a doubling
    assert len(asked) == len(set(asked)) <= 6


@pytest.mark.parametrize(("told", "end"), [(0.5, STRENGTHS[0]), (1.0, STRENGTHS[-1])])
def test_where_none_fits_it_is_the_strongest_or_the_weakest(told: float, end: float) -> None:
    assert fitting_strength(lambda strength: told + 1e-6 * strength, 0.85) == end
