"""Ranks are fair coins, bets keep their capital, and what may be averaged is counted by hand."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from nfbmr.scoring.bets import BOTH_WAYS, HIGHER, Bets, Coins, Densities, Ranks


@pytest.mark.parametrize("densities", [BOTH_WAYS, HIGHER])
def test_a_bet_keeps_its_capital_on_average_whatever_came_before(densities: Densities) -> None:
    past = np.random.default_rng(0).random(12) ** 2
    t = (np.arange(20_000) + 0.5) / 20_000
    low, high = t**10, (1 - t) ** 10  # p-values lie thick where densities have no end
    p = low / (low + high)
    weights = 10 * p * (1 - p) / (t * (1 - t)) / len(t)
    bets = Bets((len(t),), densities)
    before = [bets.bet(np.full(len(t), one)) for one in past][-1]
    mean = float(np.exp(bets.bet(p)) @ weights)
    assert weights.sum() == pytest.approx(1)
    assert mean == pytest.approx(math.exp(before[0]), rel=2e-3)


def test_no_bet_is_made_where_nothing_is_known() -> None:
    bets = Bets((2,))
    found = bets.bet(np.array([np.nan, 0.9]))
    assert found[0] == pytest.approx(0)
    assert found[1] != 0


def test_one_place_bets_as_all_do() -> None:
    p = np.random.default_rng(0).random((30, 3))
    together, alone = Bets((3,)), Bets((3,))
    for row in p:
        expected = together.bet(row)
        found = [float(alone.bet(np.array(row[at]), at)) for at in range(3)]
        np.testing.assert_allclose(found, expected)


def test_p_values_of_any_order_are_uniform() -> None:
    """All orders of four values, two of them equal: each p-value falls alike into any fifth."""
    for last in range(4):
        counts = np.zeros(5)
        for order in itertools.permutations((1.0, 2.0, 2.0, 3.0)):
            for coin in (np.arange(200) + 0.5) / 200:
                ranks = Ranks()
                p = [ranks.add(value, coin) for value in order[: last + 1]][-1]
                assert 0 < p <= 1
                counts[min(4, int(5 * p))] += 1
        np.testing.assert_allclose(counts / counts.sum(), 0.2, atol=0.01)


def test_ranks_are_low_for_high_values_and_equal_ones_share() -> None:
    ranks = Ranks([1.0, 2.0, 3.0])
    assert ranks.add(4.0, 0.0) == pytest.approx(1 / 4)
    assert ranks.add(0.0, 0.0) == pytest.approx(5 / 5)
    assert ranks.add(2.0, 0.5) == pytest.approx((2 + 0.5 * 2) / 6)


def test_coins_are_the_same_at_each_time_of_asking_and_differ_by_seed_and_part() -> None:
    one, other = Coins(1, 3), Coins(2, 3)
    far = one.of(5000)
    assert one.of(3).tolist() == Coins(1, 3).of(3).tolist()
    assert one.of(5000).tolist() == far.tolist()
    assert len({*one.of(3), *one.of(4), *other.of(3), *far}) == 12


def test_capital_rises_where_values_do_and_where_they_spread() -> None:
    rng = np.random.default_rng(0)
    for late in (rng.normal(2, 1, 200), rng.normal(-2, 1, 200), rng.normal(0, 3, 200)):
        ranks, bets, found = Ranks(rng.normal(0, 1, 200)), Bets(()), 0.0
        for value in late:
            p = ranks.add(float(value), float(rng.random()))
            found = max(found, float(bets.bet(np.array(p))))
        assert found > math.log(1000)


def test_bets_that_win_by_high_values_alone_lose_by_low_ones() -> None:
    bets = Bets((), HIGHER)
    assert [float(bets.bet(np.array(0.99))) for _ in range(50)][-1] < 0
    bets = Bets((), HIGHER)
    assert [float(bets.bet(np.array(0.01))) for _ in range(50)][-1] > math.log(100)


def test_ville_does_not_hold_for_the_mean_of_two_capitals_that_see_different_things() -> None:
    """Why streams share the level and are not averaged: counted by hand in docs/drift.md."""
    # Each way the world may go: its probability, the first capital after its only bet at time 1,
    # the second after its only bet at time 2. Each is fair by itself.
    ways = [
        (Fraction(1, 3), 3, 0),
        (Fraction(1, 4), 0, 4),
        (Fraction(2, 3) - Fraction(1, 4), 0, 0),
    ]
    assert sum(p for p, _, _ in ways) == 1
    assert sum(p * first for p, first, _ in ways) == 1
    assert sum(p * second for p, _, second in ways) == 1
    ever = sum(
        p for p, first, second in ways if max(first + 1, first + second) >= 4
    )  # a mean of 2, before or after the second bet
    assert ever == Fraction(7, 12) > Fraction(1, 2)
    shared = sum(p for p, first, second in ways if max(first, second) >= 4)
    assert shared == Fraction(1, 4)
