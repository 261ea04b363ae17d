"""Whether the good pictures that calibrate changed in the order in which they came. numpy alone.

A threshold's rate and a drift alarm's level hold where pictures and parts are exchangeable: in any
order alike probable. Pictures in the order of their files, which most cameras number, can be asked.

Shapes: n = pictures, Q = statistics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nfbmr.scoring.alike import surely_alike
from nfbmr.scoring.bets import Bets, Coins, Ranks
from nfbmr.scoring.calibration import Calibration

LEVEL = 0.01
"""How often pictures in an order of chance are called changing."""

_LEAST = 20  # pictures, below which nothing is asked
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Order:
    """What the order of the pictures says."""

    pictures: int
    evidence: float
    """The capital of the best bet over what the level asks for; from 1 on, they change."""
    name: str
    """The statistic with the most."""
    alike: int
    """Every so-manyth picture is as good as independent of the one before; 1: all are."""

    @property
    def changes(self) -> bool:
        """Whether they change with time, with a probability of a false alarm of `LEVEL`."""
        return self.evidence >= 1


def order_of(calibration: Calibration) -> Order | None:
    """Bets that the pictures change in their order; None where it is unknown, or they are few.

    Each statistic is ranked among those before it, for itself alone; each has its share of the
    level.
    """
    n = len(calibration.scores)
    if not calibration.places or n < _LEAST:
        return None
    order = np.argsort(calibration.places)
    named = {"score": calibration.scores, **calibration.watched}
    table = np.array(list(named.values())).T[order]
    count = table.shape[1]
    bets, coins = Bets((count,)), Coins(_SEED, count)
    ranks = [Ranks() for _ in range(count)]
    best = np.zeros(count)
    for number, row in enumerate(table):
        coin = coins.of(number)
        p = np.array([ranks[q].add(float(row[q]), float(coin[q])) for q in range(count)])
        best = np.maximum(best, bets.bet(p))
    most = int(best.argmax())
    return Order(
        pictures=n,
        evidence=float(best[most] / math.log(count / LEVEL)),
        name=list(named)[most],
        alike=surely_alike(table),
    )


def order_in_words(calibration: Calibration) -> list[str]:
    """Returns sentences for the screen and the model card; none where nothing can be asked."""
    found = order_of(calibration)
    if found is None:
        return []
    what = found.name.replace("_", " ")
    if found.changes:
        return [
            f"In the order of their files the good pictures CHANGE, most in their {what}: rates "
            "and alarms are stated for parts that come in any order alike; learn from pictures of "
            "all times, light and batches that the line will see."
        ]
    near = (
        f" Neighbours are alike, so every {found.alike}th counts as one of its own."
        if found.alike > 1
        else ""
    )
    return [
        "Rates and alarms are stated for parts that come in any order alike (exchangeable); in "
        f"the order of their files the {found.pictures} good pictures do not speak against "
        f"it.{near}"
    ]
