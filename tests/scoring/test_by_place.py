"""Each fine place is told on its own scale, of which no picture is a part that it is judged by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nfbmr.errors import BundleTamperedError
from nfbmr.scoring import by_place
from nfbmr.scoring.by_place import is_scale, of_each_place, place_scale
from nfbmr.scoring.calibrate import calibrate
from nfbmr.scoring.calibration import (
    Calibration,
    calibration_from_dict,
    calibration_scores,
    calibration_to_dict,
    image_scores,
)
from nfbmr.scoring.heat import heatmap
from nfbmr.scoring.maps import MAPS, Maps
from nfbmr.settings.schema import ScoringSettings

HOW = ScoringSettings(maps=("norm", "fine"), fusion="squares", by_place=True)
PLAIN = replace(HOW, by_place=False)
FINE = MAPS.index("fine")


def good(n: int = 40, seed: int = 0) -> Maps:
    """Norms on a grid of 4 x 4, distances on one of 8 x 8, whose left rim is far and varies."""
    rng = np.random.default_rng(seed)
    maps = rng.normal(10, 1, (n, len(MAPS), 4, 4)).astype(np.float32)
    maps = maps.repeat(2, axis=2).repeat(2, axis=3)
    fine = rng.normal(10, 1, (n, 8, 8))
    fine[:, :, 0] = rng.normal(16, 3, (n, 8))
    maps[:, FINE] = fine
    return maps


def test_a_place_is_told_in_standard_deviations_of_the_good_pictures_there() -> None:
    maps = good(4000)
    scale = place_scale(maps, HOW)
    assert set(scale) == {"fine"}, "y is told as it is"
    told = of_each_place(good(4000, seed=1), scale, 4000)
    assert told[:, FINE].mean(axis=0) == pytest.approx(0, abs=0.1)
    assert told[:, FINE].std(axis=0) == pytest.approx(1, abs=0.1)
    others = [k for k in range(len(MAPS)) if k != FINE]
    np.testing.assert_array_equal(told[:, others], good(4000, seed=1)[:, others])


def test_a_picture_is_no_part_of_the_scale_that_it_is_told_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(by_place, "LEAN", 0.0)
    monkeypatch.setattr(by_place, "_LEAN_OF_MEAN", 0.0)
    monkeypatch.setattr(by_place, "_DIGITS", 12)
    maps = good(9)
    told = of_each_place(maps, place_scale(maps, HOW), 9, own=True)
    for place in range(9):
        others = np.delete(maps, place, axis=0)
        alone = of_each_place(maps[place][None], place_scale(others, HOW), 8)[0]
        np.testing.assert_allclose(told[place], alone, rtol=1e-4, atol=1e-4)


def test_of_few_pictures_a_place_leans_on_all_places() -> None:
    few = good(6)
    told = of_each_place(good(500, seed=2), place_scale(few, HOW), 6)[:, FINE]
    assert np.abs(told).max() < 25, "a spread of next to nothing by chance would make hundreds"
    bare = (good(500, seed=2)[:, FINE] - few[:, FINE].mean(axis=0)) / few[:, FINE].std(axis=0)
    assert np.abs(told).max() < np.abs(bare).max()


def test_a_rim_that_is_far_in_every_picture_hides_nothing() -> None:
    bad = good(200, seed=3)
    bad[:, FINE, 4, 5] += 5.0
    fine = [replace(how, maps=("fine",), statistics=("max",)) for how in (HOW, PLAIN)]
    found = []
    for how in fine:
        calibration = calibrate(good(200), how, 0.05)
        alarms, hits = (
            float((image_scores(maps, how, calibration) > calibration.threshold).mean())
            for maps in (good(1000, seed=4), bad)
        )
        assert 0.01 < alarms < 0.1
        found.append(hits)
    by_own_scale, plain = found
    assert by_own_scale > 0.6
    assert plain < 0.3


@pytest.mark.parametrize("n", [6, 40])
def test_few_or_many_new_good_pictures_are_called_at_the_asked_rate(n: int) -> None:
    shares = []
    for seed in range(20):
        calibration = calibrate(good(n, seed), HOW, 0.1)
        new = image_scores(good(300, seed + 100), HOW, calibration)
        shares.append(float((new > calibration.threshold).mean()))
    assert 0.02 < np.mean(shares) < 0.13


def test_calibration_scores_come_again_and_the_form_comes_back() -> None:
    maps = good()
    calibration = calibrate(maps, HOW, 0.05)
    again = calibration_scores(maps[list(calibration.places)], HOW, calibration)
    np.testing.assert_allclose(again, calibration.scores, rtol=1e-6, atol=1e-6)
    form = calibration_to_dict(calibration)
    assert calibration_from_dict(form, HOW) == calibration
    assert "by_place" not in calibration_to_dict(calibrate(maps, PLAIN, 0.05))


def test_the_heatmap_is_of_the_same_scale() -> None:
    calibration = calibrate(good(200), HOW, 0.05)
    bad = good(1, seed=5)
    bad[:, FINE, 4, 5] += 9.0
    score = float(image_scores(bad, HOW, calibration)[0])
    heat = heatmap(bad[0], HOW, calibration, score, (64, 64))
    assert np.unravel_index(heat.argmax(), heat.shape) == pytest.approx((36, 44), abs=4)


def test_what_is_ignored_counts_for_nothing_whatever_its_scale() -> None:
    area = ((0.0, 0.0, 1.0, 0.25),)
    calibration = calibrate(good(), HOW, 0.05, ignored=area)
    assert calibration.ignored == area
    one = good(1, seed=6)
    dirty = one.copy()
    dirty[:, FINE, :, :2] += 50
    scores = [image_scores(maps, HOW, calibration)[0] for maps in (one, dirty)]
    assert scores[0] == pytest.approx(scores[1])
    again = calibration_scores(good()[list(calibration.places)], HOW, calibration)
    np.testing.assert_allclose(again, calibration.scores, rtol=1e-6, atol=1e-6)


def test_another_models_scale_is_refused() -> None:
    calibration = calibrate(good(), HOW, 0.05)
    with pytest.raises(BundleTamperedError, match="64 places of 'fine', the model's grid is 6 x 6"):
        image_scores(good()[..., :6, :6], HOW, calibration)


@pytest.mark.parametrize(
    "scale",
    [
        {"norm": ((1.0,), (1.0,))},
        {"fine": ((1.0,), (1.0, 2.0))},
        {"fine": ((1.0,), (-1.0,))},
        {"fine": ((), ())},
    ],
)
def test_impossible_scales_are_none(scale: by_place.PlaceScale) -> None:
    assert not is_scale(scale)
    form = calibration_to_dict(calibrate(good(), HOW, 0.05))
    with pytest.raises(BundleTamperedError, match="calibration refused"):
        calibration_from_dict(form | {"by_place": scale}, HOW)


def test_grids_that_are_too_large_keep_one_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_place, "MOST_PLACES", 63)
    calibration: Calibration = calibrate(good(), HOW, 0.05)
    assert calibration.by_place == {}
    plain = calibrate(good(), PLAIN, 0.05)
    assert calibration.scores == plain.scores
