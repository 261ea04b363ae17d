"""Statistics of maps -> one raw score: how judges are put on one scale and fused.

Why the average within a grid: which map and which reduction separates best depends on the product:
a scratch shows in the maximum, a wrong finish in the mean; without defects nobody can tell
beforehand, and the average of standardised statistics is near the best single one. Over the grids
an average would let a blind judge vote down the one that sees small things, or large ones; the
highest hears whoever is noisier; the root mean square lies between (docs/research.md).

Shapes: N = images, M = statistics, G = judges, n = good images that calibrate.
Higher = more anomalous.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nfbmr.scoring.maps import FINE, Floats
from nfbmr.scoring.tails import LEAST, wild_from
from nfbmr.settings.schema import Fusion, MapName, ScoringSettings

LEAST_UNSEEN = 2
"""Held-out pictures, at least, by which what training saw is brought to what is new."""

_PLAIN = 0.1  # of the plain average
_NO_SPREAD = 1e-3  # of the spread of all images: what the others have where one has it all


def judges_of(scoring: ScoringSettings) -> tuple[tuple[MapName, ...], ...]:
    """Returns the maps of each judge: all of them, or those of y and those finer."""
    if not scoring.by_judges:
        return (scoring.maps,)
    grids = ([m for m in scoring.maps if (m in FINE) == fine] for fine in (False, True))
    return tuple(tuple(names) for names in grids if names)


def by_judge(standardised: Floats, scoring: ScoringSettings) -> Floats:
    """Averages standardised statistics (N, M) to what each judge says, (N, G)."""
    names = np.array([name for name in scoring.maps for _ in scoring.statistics])
    said = [standardised[:, np.isin(names, own)].mean(axis=1) for own in judges_of(scoring)]
    return np.stack(said, axis=1)


def heard(said: Floats, mean: Floats, std: Floats, fusion: Fusion) -> Floats:
    """Fuses what judges say (N, G), each on its own scale (G,), to raw scores (N,)."""
    return _fused((said - mean) / std, fusion)


def heard_left_out(
    said: Floats, mean: Floats, std: Floats, n: int, calm: NDArray[np.bool_], fusion: Fusion
) -> Floats:
    """Fuses what judges say (N, G) of images, each on the scale (G,) of n images less itself.

    Those that are not `calm`, (N,), have no part in that scale.
    """
    return _fused(of_others(said - mean, (n - 1) * std**2, n, calm), fusion)


def _fused(said: Floats, fusion: Fusion) -> Floats:
    assert fusion != "mean", "an average of all maps has no judges"
    if fusion == "any":
        return np.asarray(said.max(axis=1))
    above = np.sqrt(np.square(np.maximum(said, 0)).mean(axis=1))
    # Below typical, squares tell nothing apart: a little of the plain average keeps an order there.
    return np.asarray(above + _PLAIN * said.mean(axis=1))


def of_others(centred: Floats, squares: Floats, n: int, calm: NDArray[np.bool_]) -> Floats:
    """Standardises images' statistics (N, M) by those of n images that are others.

    Args:
        centred: statistics less their means over the n images.
        squares: (M,), the sum of squares of what all n of them have there.
        n: images that the scale is of.
        calm: (N,), which images are among them; the scale is then that of the others.
    """
    found = left_out_statistics(centred, squares, n)
    if calm.all():
        return found
    spread = np.sqrt(squares / (n - 1))
    # No farther than one could lie whose others have the least spread: `left_out_statistics`.
    return np.where(calm[:, None], found, np.minimum(centred / spread, np.sqrt(n) / _NO_SPREAD))


def left_out_statistics(centred: Floats, squares: Floats, n: int) -> Floats:
    """Standardises images' statistics (N, M) by n images less itself.

    An image that took part in its own scale would look calmer than a new one by about M / n.

    Args:
        centred: statistics less their means over the n images.
        squares: (M,), the sum of squares of what all n of them have there.
        n: images that the scale is of, those standardised among them.
    """
    mean = -centred / (n - 1)
    # Where all others are equal, their spread of nothing would make any difference infinite. No
    # image that calibrates is like that (`alone`), but for models of older versions.
    std = np.maximum(_spread_of_others(centred, squares, n), _least_spread(squares, n))
    return np.asarray((centred - mean) / std)


def alone(centred: Floats, squares: Floats, n: int) -> NDArray[np.bool_]:
    """Says where an image has all the spread of a statistic and the others none, (N, M).

    No scale can rest on these others: the spread of the n images, as of `left_out_statistics`, is
    a thousand times theirs.
    """
    return np.asarray(_spread_of_others(centred, squares, n) <= _least_spread(squares, n))


def _spread_of_others(centred: Floats, squares: Floats, n: int) -> Floats:
    mean = -centred / (n - 1)
    return np.sqrt(np.maximum(squares - centred**2 - (n - 1) * mean**2, 0) / (n - 2))


def _least_spread(squares: Floats, n: int) -> Floats:
    return np.asarray(_NO_SPREAD * np.sqrt(squares / n))


def as_if_held_out(table: Floats, trained: NDArray[np.bool_]) -> Floats:
    """Brings statistics (n, M) of pictures trained on to the scale of those that were not.

    Training makes what it saw look a little calmer. Mean and spread of the two groups tell by how
    much; each column of the trained ones is moved and stretched by that. Pictures keep their order.
    Wild ones (`nfbmr.scoring.tails`) have no part in either group.

    Args:
        table: of statistics that training changes; others are the caller's affair.
        trained: (n,), which pictures were trained on; at least two are not.
    """
    seen, unseen = table[trained], table[~trained]
    if len(seen) < 2 or len(unseen) < LEAST_UNSEEN:
        return table
    middle, spread = _centre_and_spread(seen, table)
    wanted, wide = _centre_and_spread(unseen, table)
    stretch = np.where(spread > 0, wide / np.maximum(spread, 1e-30), 1.0)
    found = table.copy()
    found[trained] = wanted + (seen - middle) * stretch
    return found


def _centre_and_spread(group: Floats, table: Floats) -> tuple[Floats, Floats]:
    """Returns mean and standard deviation of the columns of a group of (n, M), (M,).

    Without what is wild among them, or where they are few among all.
    """
    ends = wild_from(group if len(group) >= LEAST else table)
    if (group <= ends).all() or ((group <= ends).sum(axis=0) < LEAST_UNSEEN).any():
        return group.mean(axis=0), group.std(axis=0, ddof=1)
    columns = [column[column <= end] for column, end in zip(group.T, ends, strict=True)]
    return (
        np.array([column.mean() for column in columns]),
        np.array([column.std(ddof=1) for column in columns]),
    )
