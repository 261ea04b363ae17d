"""A model beside the one in single precision: does it still tell damaged from good as well?

Both are asked about the same held-out good pictures and the same damaged copies of them. A
picture and its copies go together: they are drawn together, once for both models, so what both
find hard is hard in the same draw and cancels in their difference.

Shapes: n = good pictures, m = damaged copies of each, R = resamples. Higher = more anomalous.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nfbmr.scoring.maps import Floats
from nfbmr.system.words import counted

ASKED = (0.80, 0.90)
"""Of pairs that single precision tells apart: where all are, a worse model tells them, too."""
FEWEST = 20
"""Held-out good pictures; with fewer nothing can be certified."""
LOSS = 0.01
"""Of pairs that may be lost beside single precision, at most, with 95 % confidence."""
RANKS = 0.9
"""Rank correlation of both models' scores, at least."""

_CONFIDENCE = 0.95
_RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What one model says of good pictures and of damaged copies of each."""

    good: Floats
    """(n,)"""
    copies: Floats
    """(n, m)"""

    @property
    def in_order(self) -> Floats:
        """The share of copies of picture k that score higher than good picture i, (n, n).

        Ties are halves. Rows are i, columns are k.
        """
        higher = (self.copies[None] > self.good[:, None, None]).mean(axis=2)
        return np.asarray(higher + (self.copies[None] == self.good[:, None, None]).mean(axis=2) / 2)

    @property
    def separation(self) -> float:
        """The share of pairs in order, of a good picture and a copy of another (an AUROC).

        Not of itself: a copy beside its own picture says nothing of what other parts look like.
        """
        return float(_separations(self.in_order, np.ones((1, len(self.good))))[0])


def _separations(in_order: Floats, times: Floats) -> Floats:
    """Returns (R,) separations where the n pictures are there so many `times` (R, n)."""
    pairs = times.sum(axis=1) ** 2 - (times**2).sum(axis=1)
    found = ((times @ in_order) * times).sum(axis=1) - times**2 @ np.diagonal(in_order)
    return np.asarray(found / np.maximum(pairs, 1))


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What was found of two models."""

    good: int
    """n"""
    each: int
    """m"""
    separated: float
    """`Scores.separation` in single precision."""
    separates: float
    """The same of the other model."""
    least_loss: float
    """Of `separated - separates`; with 95 % confidence it is no smaller."""
    most_loss: float
    """With 95 % confidence it is no larger."""
    ranks: float
    """Spearman's rank correlation of both models' scores, good and damaged together."""

    @property
    def why_not(self) -> str:
        """Why this can certify nothing; empty where it can."""
        if self.good < FEWEST:
            return (
                f"{counted(self.good, 'good picture is', 'good pictures are')} held out, {FEWEST} "
                "are needed: fit with more good pictures"
            )
        low, high = ASKED
        if not low <= self.separated <= high:
            return (
                f"at no strength does damage on purpose test this model: single precision tells "
                f"{100 * self.separated:.1f} % of pairs, {100 * low:.0f} to {100 * high:.0f} % are "
                "needed; compare both models on real defects with nfbmr evaluate"
            )
        return ""

    @property
    def certified(self) -> bool:
        """Whether the other model is as good as single precision, as far as this can show it."""
        return not self.why_not and self.most_loss <= LOSS and self.ranks >= RANKS

    @property
    def worse(self) -> bool:
        """Whether to refuse it: not shown to be as good, or, where that cannot be, shown not to."""
        return self.least_loss > LOSS if self.why_not else not self.certified


def compare(single: Scores, again: Scores, seed: int = 0) -> Compared:
    """Compares two models' scores of the same pictures; the intervals are a cluster bootstrap's.

    Args:
        single: in single precision.
        again: of the other model.
        seed: draws which pictures are resampled.
    """
    from scipy.stats import spearmanr

    n = len(single.good)
    assert single.copies.shape == again.copies.shape
    assert single.good.shape == again.good.shape
    rng = np.random.default_rng(seed)
    times = rng.multinomial(n, np.full(n, 1 / n), size=_RESAMPLES).astype(np.float64)  # (R, n)
    losses = _separations(single.in_order, times) - _separations(again.in_order, times)
    least, most = np.quantile(losses, [1 - _CONFIDENCE, _CONFIDENCE])
    one, other = (np.append(said.good, said.copies) for said in (single, again))
    flat = np.ptp(one) == 0 or np.ptp(other) == 0  # nothing is ranked
    return Compared(
        good=n,
        each=single.copies.shape[1],
        separated=single.separation,
        separates=again.separation,
        least_loss=float(least),
        most_loss=float(most),
        ranks=0.0 if flat else float(spearmanr(one, other).statistic),
    )
