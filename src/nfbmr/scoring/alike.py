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


def autocorrelation(values: Floats, most: int) -> Floats:
    """Returns the correlation of ranks (n,) at the lags 0..most, (most + 1,)."""
    ranks = np.argsort(np.argsort(values, kind="stable")).astype(np.float64)
    ranks -= ranks.mean()
    size = 2 ** (len(ranks) + most).bit_length()  # zeros behind, so that nothing wraps round
    found = np.fft.irfft(np.abs(np.fft.rfft(ranks, size)) ** 2, size)[: most + 1]
    return np.asarray(found / found[0])


def lag_for(values: Floats) -> int | None:
    """Returns the lag at which values are as good as independent, from 1 to `MOST`.

    Correlations fall as powers of that of neighbours, whose estimate may leave `LEFT`, and whose
    interval's upper end little more, since few values tell it roughly. Lags that are multiples of
    it must show none beyond chance, either: parts of every fourth cavity are alike, too.

    Args:
        values: (n,) or (n, Q) in the order of time; the statistic that is most alike decides.

    Returns:
        The lag; None where even `MOST` leaves too much.
    """
    table = values.reshape(len(values), -1)
    return _least(table, sure=False)


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
