"""Raw maps to statistics: each image by itself, however many there are."""

from __future__ import annotations

import numpy as np
import pytest

from nfbmr.scoring import maps as scoring_maps
from nfbmr.scoring.maps import MAPS, chosen_maps, statistics
from nfbmr.settings.schema import ScoringSettings


def test_many_images_have_the_statistics_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = np.random.default_rng(0).normal(size=(23, len(MAPS), 6, 7)).astype(np.float32)
    scoring = ScoringSettings(maps=("asm", "norm", "source"))
    whole = statistics(maps, scoring)
    monkeypatch.setattr(scoring_maps, "_AT_ONCE", 5)
    np.testing.assert_array_equal(statistics(maps, scoring), whole)


def test_maps_are_picked_by_name_and_asm_is_half_a_sum() -> None:
    maps = np.random.default_rng(0).normal(size=(2, len(MAPS), 3, 4)).astype(np.float32)
    found = chosen_maps(maps, ("norm", "asm"))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found[:, 0], maps[:, MAPS.index("norm")])
    source, target = (maps[:, MAPS.index(name)].astype(np.float64) for name in MAPS[:2])
    np.testing.assert_array_equal(found[:, 1], (source + target) / 2)
