"""How alike neighbours are, and how far apart parts must be taken to be as good as independent.

Shapes: n = values in the order of time, Q = statistics, k = lag. numpy alone.
"""

from __future__ import annotations

import math

import numpy as np

from nfbmr.scoring.maps import Floats

MOST = 50
"""The largest lag that is tried."""

LEFT = 0.02
"""What may be left of the correlation of neighbours, by the estimate."""

_SURELY_LEFT = 0.05  # by the upper end of its 95 % interval; 10,000 parts forgive that much
_ONE_SIDED = 1.645  # standard errors
_SURELY = 3.0  # standard errors, of correlations far apart: many are looked at
_MULTIPLES = 8
_LEAST = 6  # values, below which no correlation is looked for
_SIDE = 10  # values on either side of a step
_STEP = 25.0  # square of its standard errors, neighbours being as alike as they are without it


def autocorrelation(values: Floats, most: int) -> Floats:
    """Returns the correlation of ranks (n,) at the lags 0..most, (most + 1,)."""
    ranks = np.argsort(np.argsort(values, kind="stable")).astype(np.float64)
    ranks -= ranks.mean()
    size = 2 ** (len(ranks) + most).bit_length()  # zeros behind, so that nothing wraps round
    found = np.fft.irfft(np.abs(np.fft.rfft(ranks, size)) ** 2, size)[: most + 1]
    return np.asarray(found / found[0])


def without_step(values: Floats) -> Floats:
    """Returns values (n,) with the largest step taken out, ranked within each of its sides.

    A step makes neighbours look alike, who are not: each side has its own level. Those that change
    nothing but are alike have steps by chance, so only one counts that is far beyond what is left
    of the correlation once it is out; else the values are returned as they are.
    """
    n = len(values)
    if n < 2 * _SIDE:
        return values
    ranks = np.argsort(np.argsort(values, kind="stable")).astype(np.float64)
    left = np.arange(1, n)
    sums = np.cumsum(ranks - ranks.mean())[:-1]
    between = sums**2 * n / (left * (n - left))  # squares that a step at each place explains
    place = _SIDE + int(between[_SIDE - 1 : n - _SIDE].argmax())
    sides = values[:place], values[place:]
    found = np.concatenate([_ranked(side) for side in sides])
    near = float(np.clip(autocorrelation(found, 1)[1], 0, 0.999))
    within = (((ranks - ranks.mean()) ** 2).sum() - between[place - 1]) / n
    by_chance = within * (1 + near) / (1 - near)
    return found if between[place - 1] > _STEP * by_chance else values


def _ranked(values: Floats) -> Floats:
    """Returns the places of values (n,) among themselves, in (0, 1)."""
    ranks = np.argsort(np.argsort(values, kind="stable"))
    return np.asarray((ranks + 0.5) / len(values))


def lag_for(values: Floats) -> int | None:
    """Returns the lag at which values are as good as independent, from 1 to `MOST`.

    Correlations fall as powers of that of neighbours, whose estimate may leave `LEFT`, and whose
    interval's upper end little more, since few values tell it roughly. Lags that are multiples of
    it must show none beyond chance, either: parts of every fourth cavity are alike, too. One step
    in a statistic does not count: see `without_step`.

    Args:
        values: (n,) or (n, Q) in the order of time; the statistic that is most alike decides.

    Returns:
        The lag; None where even `MOST` leaves too much.
    """
    table = values.reshape(len(values), -1)
    return _least(np.stack([without_step(own) for own in table.T], axis=1), sure=False)


def surely_alike(values: Floats) -> int:
    """Returns the lag for values (n, Q) whose neighbours are alike beyond chance, else 1."""
    return _least(values.reshape(len(values), -1), sure=True) or MOST


def _least(table: Floats, *, sure: bool) -> int | None:
    n = len(table)
    if n < _LEAST:
        return 1 if sure else 2
    reach = min(n - 2, MOST * _MULTIPLES)
    found = np.stack([autocorrelation(column, reach) for column in table.T])
    if sure:
        near = found[:, 1]
        found[:, 1] = np.where(near - _ONE_SIDED / math.sqrt(n) > LEFT, near, 0)
    return next((k for k in range(1, MOST + 1) if _suffices(found, k, n, sure=sure)), None)


def _suffices(found: Floats, k: int, n: int, *, sure: bool) -> bool:
    error = 1 / math.sqrt(n)
    near = np.clip(found[:, 1], 0, 0.999)
    upper = np.clip(found[:, 1] + _ONE_SIDED * error, 0, 0.999)
    far = found[:, k : MOST * _MULTIPLES + 1 : k][:, :_MULTIPLES]
    left = (near**k <= LEFT).all() and (far - _SURELY * error <= LEFT).all()
    return bool(left and (sure or (upper**k <= _SURELY_LEFT).all()))
