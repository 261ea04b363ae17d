"""Few good pictures calibrate a model by what models of the others say of them.

From few pictures too few are held out to tell how training changes what it saw, and what is left
of a Gaussian without one of them is too rough in closed form. So each part of the pictures is
judged by a model that learnt from the other parts alone. Such models know a little less than the
one that is kept, so the threshold tends to lie higher rather than lower; of fewer than 20 pictures,
of which the kept one's networks are denied five, they know as much or a little more.

Shapes: n = pictures that calibrate, K = raw maps, H W = grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nfbmr.learning.training_data import TrainingData
from nfbmr.networks.detector import Detector
from nfbmr.scoring.maps import Maps
from nfbmr.system.progress import Progress

FOLDS = 4
"""Parts of the pictures: a model of three quarters knows what a fit trains its networks on."""

Learns = Callable[[TrainingData, Path, Progress], Detector]
"""Trains a model on some of the features, with a work folder of its own."""
MapsOf = Callable[[Detector, TrainingData], Maps]
"""Raw maps of what calibrates, by a model."""


def are_few(data: TrainingData, below: int) -> bool:
    """Whether models of the others judge what calibrates: fewer than `below` pictures do."""
    return data.judges_without_itself and FOLDS <= len(data.calibrating) < below


def folded(data: TrainingData, seed: int) -> list[TrainingData]:
    """Returns what each model learns from and judges; together they judge all that calibrates."""
    order = np.random.default_rng([seed, 2]).permutation(data.calibrating)
    return [
        replace(
            data,
            train=np.setdiff1d(data.learnt, part),
            held_out=np.sort(part),
            everyone=False,
            chosen=None,
            most_calibrating=None,
        )
        for part in np.array_split(order, FOLDS)
    ]


def maps_by_others(
    data: TrainingData, seed: int, work: Path, learns: Learns, maps_of: MapsOf, progress: Progress
) -> Maps:
    """Returns the raw maps (n, K, H, W) of `data.calibrating`, each by a model of others.

    Args:
        data: of the fit, whose pictures all calibrate.
        seed: of the fit.
        work: the fit's work folder; each model has one of its own there.
        learns: trains one.
        maps_of: judges by one.
        progress: hears of all of them as one.
    """
    found: dict[int, NDArray[np.float32]] = {}
    for number, part in enumerate(folded(data, seed)):
        detector = learns(part, work / f"fold_{number}", _as_one(progress, number))
        found.update(zip(part.held_out.tolist(), maps_of(detector, part), strict=True))
    return np.stack([found[index] for index in data.calibrating.tolist()])


def _as_one(progress: Progress, number: int) -> Progress:
    """Says how far one of the models is as a part of all; of its stages the flow's is heard."""

    def hear(what: str, done: int, total: int, loss: float | None = None) -> None:
        if what == "flow":
            progress("folds", number * total + done, FOLDS * total, loss)

    return hear
