"""Betting against exchangeability: ranks to p-values, p-values to capital. numpy alone.

If values are exchangeable, the ranks of each among those before it are independent and uniform
once ties are broken by chance (Vovk, Gammerman and Shafer 2005, theorem 8.2). A gambler who bets
on each such p-value by a density on [0, 1], chosen before it is seen, keeps the expected capital
at 1, so it ever reaches c with probability 1 / c at most (Ville 1939). Here the gambler mixes
densities and changes between them at several rates, after the jumpers of Vovk, Petej, Nouretdinov,
Ahlberg, Carlsson and Gammerman, "Retrain or not retrain: conformal test martingales for
change-point detection" (2021); their densities are linear, these are Beta densities, which grow
faster where values leave the known range.

Shapes: any leading shape of tests, J = rates of jumping, E = densities.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable

import numpy as np

from nfbmr.scoring.maps import Floats

Densities = tuple[tuple[float, float], ...]

BOTH_WAYS: Densities = (
    *((1.0, 1.0), (2.0, 1.0), (1.0, 2.0), (0.5, 1.0), (1.0, 0.5)),
    *((0.2, 1.0), (1.0, 0.2), (0.5, 0.5), (2.0, 2.0)),
)
"""Beta(a, b): no bet first; then higher or lower, a little or by far, wider, narrower."""

HIGHER: Densities = ((1.0, 1.0), (1.0, 2.0), (0.5, 1.0), (0.2, 1.0))
"""Those that win by high values alone, whose p-values are low."""

_RATES = np.array([1e-4, 1e-3, 1e-2, 1e-1])[:, None]  # of jumping, (J, 1)
_IDLE = 0.5  # of what jumps goes to no bet
_LEAST = 1e-12  # p-values are kept from 0 and 1, where densities end; that only lowers capital
_BLOCK = 1024  # p-values' coins that one generator gives


class Bets:
    """The capital of any number of tests, each of which begins with 1."""

    def __init__(self, shape: tuple[int, ...], densities: Densities = BOTH_WAYS) -> None:
        """Begins.

        Args:
            shape: of the tests.
            densities: Beta(a, b), the first of which is no bet.
        """
        a, b = np.array(densities).T
        self._powers = np.stack([a - 1, b - 1])
        self._scale = np.array([_one_over_beta(*one) for one in densities])
        others = len(densities) - 1
        self._prior = np.array([_IDLE, *[(1 - _IDLE) / others] * others])
        rates = len(_RATES)
        self._shares = np.tile(self._prior, (*shape, rates, 1))
        self._logs = np.zeros((*shape, rates))

    def bet(self, p: Floats, at: int | None = None) -> Floats:
        """Bets on a p-value of each test, or of those at one place of the first axis.

        Args:
            p: in [0, 1], of the tests' shape; NaN where one does not bet.
            at: the place.

        Returns:
            The logarithm of the capital of each after it, of p's shape.
        """
        shares = self._shares if at is None else self._shares[at]
        logs = self._logs if at is None else self._logs[at]
        idle = np.isnan(p)
        p = np.clip(np.where(idle, 0.5, p), _LEAST, 1 - _LEAST)
        density = self._scale * np.exp(
            np.log(p)[..., None] * self._powers[0] + np.log1p(-p)[..., None] * self._powers[1]
        )
        density[idle] = 1
        shares *= 1 - _RATES
        shares += _RATES * self._prior
        shares *= density[..., None, :]
        won = shares.sum(axis=-1)
        shares /= won[..., None]
        logs += np.log(won)
        most = logs.max(axis=-1)
        return np.asarray(most + np.log(np.exp(logs - most[..., None]).mean(axis=-1)))


def _one_over_beta(a: float, b: float) -> float:
    from math import gamma

    return gamma(a + b) / (gamma(a) * gamma(b))


class Ranks:
    """Known values, kept sorted, and the rank of each new one among them."""

    def __init__(self, known: Iterable[float] = ()) -> None:
        """Takes what is known at first."""
        self._sorted = array("d", sorted(known))

    def add(self, value: float, coin: float) -> float:
        """Ranks a value, then keeps it.

        Args:
            value: finite.
            coin: uniform in [0, 1), which breaks ties.

        Returns:
            The p-value: the share of values, the new one counted in, that are higher, and of those
            that are equal the coin's part. Low for high values.
        """
        low, high = bisect_left(self._sorted, value), bisect_right(self._sorted, value)
        n = len(self._sorted)
        p = (n - high + (1 - coin) * (high - low + 1)) / (n + 1)
        insort(self._sorted, value)
        return p


class Coins:
    """Uniform numbers that a seed and a part's number give, the same at each time of asking."""

    def __init__(self, seed: int, count: int) -> None:
        """Takes the seed, not negative, and how many each part needs."""
        self._seed, self._count = seed, count
        self._place, self._block = -1, np.empty((0, count))

    def of(self, number: int) -> Floats:
        """Returns those of a part, (count,), in [0, 1)."""
        place, row = divmod(number, _BLOCK)
        if place != self._place:
            rng = np.random.default_rng([self._seed, place])
            self._place, self._block = place, rng.random((_BLOCK, self._count))
        return np.asarray(self._block[row])
