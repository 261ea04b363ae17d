"""Whether good pictures that a model did not train on look to it like those that calibrate it.

Where they do not, the asked rate of false alarms will not be kept: light, position or product
changed from one part of the pictures to the other, or there are too few of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import mannwhitneyu

from nfbmr.model.facts import Facts
from nfbmr.scoring.calibration import Calibration
from nfbmr.system.words import counted

FEWEST = 5
"""Of each of two groups of pictures: below that nothing can be said."""
UNLIKELY = 1e-3
"""Two groups as unlike as that happen in one of so many products where nothing is wrong."""


def misfits(
    calibration: Calibration, facts: Facts, good_scores: Sequence[float] | None = None
) -> list[str]:
    """Says which good pictures do not fit the calibration, by ranks (Mann and Whitney 1947).

    Args:
        calibration: whose scores are looked at.
        facts: which pictures were held out; those that were trained on calibrate beside them.
        good_scores: of good pictures of a test, which are new to the model.

    Returns:
        A sentence for each kind of pictures that does not fit; none where all do, or where there
        are fewer than `FEWEST` of either.
    """
    scores = np.array(calibration.scores)
    new = np.isin(np.array(calibration.pictures), list(facts.held_out_pixels))
    said = []
    if len(new) and (said_of := _unlike(scores[new], scores[~new])):
        said.append(f"{counted(int(new.sum()), 'held-out good picture')} {said_of}")
    if good_scores is not None and (said_of := _unlike(np.array(good_scores), scores)):
        said.append(f"{counted(len(good_scores), 'good picture')} of the test {said_of}")
    return said


def _unlike(some: np.ndarray, others: np.ndarray) -> str:
    """Says how scores (n,) lie among others (m,), where that is no chance; else nothing."""
    if min(len(some), len(others)) < FEWEST:
        return ""
    found = mannwhitneyu(some, others)
    if found.pvalue >= UNLIKELY:
        return ""
    above = found.statistic / (len(some) * len(others))
    where = "higher" if above > 0.5 else "lower"
    return (
        f"score {where} than those that calibrate (in {above:.0%} of pairs, p = "
        f"{found.pvalue:.1g}): the asked rate of false alarms will not be kept"
    )
