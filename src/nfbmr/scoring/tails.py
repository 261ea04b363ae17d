"""Where the tail of good pictures ends, as far as the calmer ones of them say.

One good picture in twenty-five on which a flow explodes would be the scale of all others: such a
wild one has no part in it.

Shapes: n = good images, M = statistics or other columns.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from nfbmr.scoring.maps import Floats

DOMINATED = 2.0
"""Times as wide as without wild ones: a scale that is theirs."""
NO_SPREAD = 1e-6
"""Of a value's size; float32 knows no finer."""
LEAST = 10
"""Values, at least, that a tail is looked for in."""

_WILD = 1e-5  # sets of good pictures in which the tail would put one so far out
_BULK = (0.75, 0.9)  # quantiles between which the tail is looked at
_BULK_OF_FEW = (0.5, 0.8)
_FEW = 40  # values, below which they count as few


def end_of_tail(values: Floats, beyond: float) -> Floats:
    """Returns what the highest of n values (n, M) exceeds in a share `beyond` of such sets, (M,).

    By an exponential tail through the quantiles of `_BULK`, which a tenth of rotten ones among
    them, high as they may be, moves little; of few values through lower ones, as a tenth of these
    is soon exceeded. Fewer still, or those that are alike, say nothing: the largest float.
    """
    n = len(values)
    if n < LEAST:
        return np.full(values.shape[1], sys.float_info.max)
    low, high = _BULK if n >= _FEW else _BULK_OF_FEW
    start, end = np.quantile(values, (low, high), axis=0)
    scale = (end - start) / np.log((1 - low) / (1 - high))
    reached = start + scale * np.log((1 - low) * n / beyond)
    return np.where(end > start, reached, sys.float_info.max)


def wild_from(values: Floats, dominated: float = DOMINATED) -> Floats:
    """Returns where the wild ones of n values (n, M) begin, (M,); the largest float where none is.

    Wild are those where the tail would put one in 1 of 100,000 such sets, if they are the scale:
    if all together spread `dominated` times as far as the others.
    """
    ends = end_of_tail(values, _WILD)
    for column, end in enumerate(ends):
        own = values[:, column]
        if own.std() <= dominated * own[own <= end].std():
            ends[column] = sys.float_info.max
    return ends


def calm_ones(table: Floats, dominated: float = DOMINATED) -> tuple[NDArray[np.bool_], Floats]:
    """Says which images a scale may rest on, (n,), and where the wild ones begin, (M,).

    Wild is what lies in some column as `wild_from` says. Where that is half of them, or all that
    differ in another column, nobody knows what is usual: then none is wild.
    """
    ends = wild_from(table, dominated)
    calm = is_calm(table, ends)
    usual = table[calm]
    if 2 * len(usual) > len(table):
        flat = usual.std(axis=0) <= NO_SPREAD * np.abs(usual).max(axis=0)
        if not flat.any():
            return calm, ends
    return np.ones(len(table), np.bool_), np.full(len(ends), sys.float_info.max)


def is_calm(table: Floats, ends: Floats) -> NDArray[np.bool_]:
    """Says which images (n,) of statistics (n, M) lie below where the wild ones begin, (M,)."""
    return np.asarray((table <= ends).all(axis=1))
