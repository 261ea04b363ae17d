"""The good pictures that look least like the rest: kept by name, and said at the end of a fit."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nfbmr.data.survey import Survey
from nfbmr.learning.maps import feature_maps
from nfbmr.learning.training_data import TrainingData
from nfbmr.networks.detector import Detector
from nfbmr.scoring.calibration import Calibration, image_scores
from nfbmr.scoring.left_out import left_out
from nfbmr.scoring.odd import MOST_TRAINED, with_names
from nfbmr.scoring.odd_words import odd_warning, oddest_listed
from nfbmr.settings.schema import ScoringSettings

_log = logging.getLogger(__name__)

_MOST_SCORED = 1000  # pictures that do not calibrate, drawn evenly: they pass the network once more
_AT_A_TIME = 16  # pictures whose maps are in memory


def with_oddest(
    calibration: Calibration,
    detector: Detector,
    good: Survey,
    features: TrainingData,
    scoring: ScoringSettings,
) -> Calibration:
    """Returns a calibration that knows its oddest pictures by name, and those of the training.

    Args:
        calibration: of the fit.
        detector: that has learnt.
        good: all pictures of the fit.
        features: theirs, in the order of `good`.
        scoring: of the settings.
    """
    tiles = 1 if features.tiling is None else len(features.tiling.corners)
    learnt, calibrating = (np.unique(i // tiles) for i in (features.learnt, features.calibrating))
    rest = np.setdiff1d(learnt, calibrating)
    if len(rest) > _MOST_SCORED:
        rest = rest[np.linspace(0, len(rest) - 1, _MOST_SCORED).round().astype(np.int64)]
    scores = _scores(calibration, detector, features, rest, scoring)
    highest = np.argsort(-scores, kind="stable")[:MOST_TRAINED]
    found = {
        good.pictures[rest[n]].pixel_hash: float(calibration.raw(scores[[n]])[0]) for n in highest
    }
    names = {one.pixel_hash: one.name for one in good.pictures}
    return with_names(replace(calibration, trained=found), names)


def _scores(
    calibration: Calibration,
    detector: Detector,
    features: TrainingData,
    pictures: NDArray[np.int64],
    scoring: ScoringSettings,
) -> NDArray[np.float64]:
    """Returns the scores (n,) of pictures that were learnt from, (n,), as of new ones."""
    tiling = features.tiling
    tiles = 1 if tiling is None else len(tiling.corners)
    device = detector.standardisation.mean.device
    found = [np.empty(0)]
    for start in range(0, len(pictures), _AT_A_TIME):
        few = pictures[start : start + _AT_A_TIME]
        entries = (few[:, None] * tiles + np.arange(tiles)).reshape(-1)
        maps = feature_maps(detector, features.store, entries, device)
        if features.everyone:
            maps = left_out(maps, len(features.learnt), detector.own_weights())
        if tiling is not None:
            maps = tiling.join(maps)
        found.append(image_scores(maps, scoring, calibration))
    return np.concatenate(found)


def say_oddest(calibration: Calibration, scoring: ScoringSettings) -> None:
    """Names the good pictures that look least like the rest: a person should look at them."""
    for line in oddest_listed(calibration, scoring):
        if line:
            _log.info("%s", line)
    if warning := odd_warning(calibration, scoring):
        _log.warning("%s", warning)
