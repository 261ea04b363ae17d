"""Whether good pictures change in the order in which they came."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nfbmr.scoring.calibrate import calibrate
from nfbmr.scoring.calibration import Calibration
from nfbmr.scoring.maps import MAPS
from nfbmr.scoring.order import LEVEL, order_in_words, order_of
from nfbmr.settings.schema import ScoringSettings


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    maps = np.random.default_rng(0).random((120, len(MAPS), 4, 4)).astype(np.float32)
    return calibrate(maps, ScoringSettings(), 0.05)


def _shuffled(calibration: Calibration, seed: int) -> Calibration:
    places = np.random.default_rng(seed).permutation(len(calibration.scores))
    return replace(calibration, places=tuple(places.tolist()))


def test_pictures_in_an_order_of_chance_do_not_change(calibration: Calibration) -> None:
    found = [order_of(_shuffled(calibration, seed)) for seed in range(60)]
    assert sum(one.changes for one in found if one is not None) <= 3, f"level {LEVEL}"
    (sentence,) = order_in_words(_shuffled(calibration, 0))
    assert "exchangeable" in sentence
    assert "CHANGE" not in sentence


def test_pictures_that_grow_brighter_change(calibration: Calibration) -> None:
    bright = np.array(calibration.places, float)
    changing = replace(calibration, watched={"brightness": tuple(bright.tolist())})
    found = order_of(changing)
    assert found is not None
    assert found.changes
    assert found.name == "brightness"
    assert found.alike > 1
    (sentence,) = order_in_words(changing)
    assert "CHANGE, most in their brightness" in sentence


def test_nothing_is_asked_of_few_or_of_an_unknown_order(calibration: Calibration) -> None:
    assert order_of(replace(calibration, places=())) is None
    few = np.random.default_rng(0).random((12, len(MAPS), 4, 4)).astype(np.float32)
    assert order_of(calibrate(few, ScoringSettings(), 0.1)) is None
    assert order_in_words(replace(calibration, places=())) == []
