"""Whether good pictures differ at all: no scale can rest on a spread of none.

Shapes: n = images that calibrate, M = statistics.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nfbmr.errors import CalibrationError
from nfbmr.scoring.judges import alone
from nfbmr.scoring.maps import Floats
from nfbmr.scoring.tails import NO_SPREAD
from nfbmr.settings.schema import ScoringSettings

_log = logging.getLogger(__name__)

_COPIES = (
    ": are they copies of one picture, or is the camera stuck? No threshold can rest on that; give "
    "pictures of different good parts"
)


def refuse_copies(table: Floats) -> None:
    """Checks that not half of the good images have the very same statistics (n, M).

    Raises:
        CalibrationError: half of them, or more.
    """
    n, same = len(table), int(np.unique(table, axis=0, return_counts=True)[1].max())
    if 2 * same >= n:
        raise CalibrationError(f"{same} of the {n} good images give the very same values{_COPIES}")


def refuse_alike(table: Floats, scoring: ScoringSettings, called: Sequence[str]) -> None:
    """Checks that the statistics (n, M) of good images differ: no scale rests on a spread of none.

    Raises:
        CalibrationError: one has no spread, or none but for one image.
    """
    n = len(table)
    names = _names(scoring)
    flat = table.std(axis=0) <= NO_SPREAD * np.abs(table).max(axis=0)
    if flat.any():
        raise CalibrationError(
            f"the {n} good images do not differ at all in {names[int(flat.argmax())]}{_COPIES}"
        )
    refuse_one_alone(table, names, called)


def say_alike(table: Floats, scoring: ScoringSettings) -> None:
    """Says where half of the good images have one value in a statistic of (n, M)."""
    n, alike = len(table), _alike(table)
    names = _names(scoring)
    if half := [f"{alike[m]} in {names[m]}" for m in np.flatnonzero(2 * alike >= n)]:
        _log.warning(
            "Of the %d good images, %s have the same value, so that scale rests on the others; is "
            "what is seen there always the same, such as a mark of the camera? Ignore it, or give "
            "pictures of more different good parts",
            n,
            " and ".join(half),
        )


def _names(scoring: ScoringSettings) -> list[str]:
    return [f"{kind} of {name}" for name in scoring.maps for kind in scoring.statistics]


def refuse_one_alone(table: Floats, names: Sequence[str], called: Sequence[str]) -> None:
    """Checks that no image has all the spread of a column of (n, M), so named, by itself.

    Raises:
        CalibrationError: one has: judged without itself, it would be on a scale of nothing.
    """
    n, centred = len(table), table - table.mean(axis=0)
    found = np.argwhere(alone(centred, (centred**2).sum(axis=0), n).T)
    if not len(found):
        return
    column, image = found[0]
    which = called[image] if called else f"picture {image + 1}"
    raise CalibrationError(
        f"{n - 1} of the {n} good images do not differ in {names[column]}, beside {which}, which "
        "differs from all of them: is it a good part, and are they copies of one picture? No "
        f"threshold can rest on that; leave {which} out, or give pictures of different good parts"
    )


def _alike(table: Floats) -> NDArray[np.int64]:
    """Counts in each column of (n, M) the images that have its median value, as half must, (M,)."""
    found = np.sort(table, axis=0)
    n = len(found)
    counts = [
        (np.abs(found - middle) <= NO_SPREAD * np.abs(middle)).sum(axis=0)
        for middle in (found[(n - 1) // 2], found[n // 2])
    ]
    return np.asarray(np.maximum(*counts))
