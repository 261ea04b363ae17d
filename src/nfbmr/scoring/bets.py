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

import math
from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from nfbmr.scoring.maps import Floats

Densities = tuple[tuple[float, float], ...]

BOTH_WAYS: Densities = (
    *((1.0, 1.0), (2.0, 1.0), (1.0, 2.0), (0.5, 1.0), (1.0, 0.5)),
    *((0.2, 1.0), (1.0, 0.2), (0.5, 0.5), (2.0, 2.0)),
)
"""Beta(a, b): no bet first; then higher or lower, a little or by far, wider, narrower."""

HIGHER: Densities = ((1.0, 1.0), (1.0, 2.0), (0.5, 1.0), (0.2, 1.0))
"""Those that win by high values alone, whose p-values are low."""

_RATES = np.array([1e-4, 1e-3, 1e-2, 1e-1], np.float32)  # of jumping, (J,)
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
        rates, each = len(_RATES), (1,) * len(shape)
        self._a, self._b = np.array(densities, np.float32).T
        self._log_beta = np.array([_log_beta(*one) for one in densities], np.float32)
        others = len(densities) - 1
        prior = np.array([_IDLE, *[(1 - _IDLE) / others] * others], np.float32)
        self._stay = (1 - _RATES).reshape(1, rates, *each)
        self._jump = (prior[:, None] * _RATES).reshape(-1, rates, *each)
        # Tests last, so that what is computed for many runs along memory: (E, J, ...), (J, ...).
        self._shares = np.empty((len(densities), rates, *shape), np.float32)
        self._shares[:] = prior.reshape(-1, 1, *each)
        self._logs = np.zeros((rates, *shape))

    def bet(self, p: Floats, at: int | None = None) -> Floats:
        """Bets on a p-value of each test, or of those at one place of the first axis.

        Args:
            p: in [0, 1], of the tests' shape; NaN where one does not bet.
            at: the place.

        Returns:
            The logarithm of the capital of each after it, of p's shape.
        """
        shares = self._shares if at is None else self._shares[:, :, at]
        logs = self._logs if at is None else self._logs[:, at]
        stay = self._stay if at is None else self._stay[..., 0]
        jump = self._jump if at is None else self._jump[..., 0]
        idle = np.isnan(p)
        shares *= stay
        shares += jump
        shares *= self._densities(np.where(idle, 0.5, p), idle)[:, None]
        won = shares.sum(axis=0)
        shares /= won
        logs += np.log(won)
        most = logs.max(axis=0)
        return np.asarray(most + np.log(np.exp(logs - most).mean(axis=0)))

    def _densities(self, p: Floats, idle: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Returns the densities (E, ...) at p-values; 1 where one does not bet."""
        p = np.clip(p, _LEAST, 1 - _LEAST)
        low, high = np.log(p).astype(np.float32), np.log1p(-p).astype(np.float32)
        each = (-1,) + (1,) * p.ndim
        a, b, scale = (one.reshape(each) for one in (self._a, self._b, self._log_beta))
        found = np.exp((a - 1) * low + (b - 1) * high - scale)
        found[:, idle] = 1
        return np.asarray(found)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


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
