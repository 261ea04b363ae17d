"""Rims where good parts look farther are on the scale of the inside, and hide nothing there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nfbmr.errors import BundleTamperedError
from nfbmr.scoring.calibrate import calibrate
from nfbmr.scoring.calibration import calibration_scores, image_scores, placed
from nfbmr.scoring.calibration_json import calibration_from_dict, calibration_to_dict
from nfbmr.scoring.heat import alarm_of, as_judged, own_maps
from nfbmr.scoring.maps import MAPS, Maps
from nfbmr.scoring.rims import RimScale, is_scale, rim_scale, with_calm_rims
from nfbmr.settings.schema import ScoringSettings

HOW = ScoringSettings(maps=("norm", "fine", "finest"), fusion="squares", rims=2)
PLAIN = replace(HOW, rims=0)
FINE, FINEST = MAPS.index("fine"), MAPS.index("finest")


def good(n: int = 40, seed: int = 0) -> Maps:
    """Maps (n, K, 16, 16), those of y and fine each cell twice; fine is far along its edge."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(10, 1, (n, len(MAPS), 8, 8))
    rim = np.ones((8, 8), bool)
    rim[1:-1, 1:-1] = False
    coarse[:, FINE, rim] = rng.normal(16, 3, (n, int(rim.sum())))
    maps = coarse.astype(np.float32).repeat(2, axis=2).repeat(2, axis=3)
    maps[:, FINEST] = rng.normal(10, 1, (n, 16, 16))
    edge = np.ones((16, 16), bool)
    edge[1:-1, 1:-1] = False
    maps[:, FINEST, edge] = rng.normal(8, 0.5, (n, int(edge.sum())))
    return maps


def test_a_far_rim_comes_to_the_scale_of_the_inside_and_a_calm_one_stays() -> None:
    maps = good(400)
    found = with_calm_rims(maps, rim_scale(maps, HOW))
    rim = found[:, FINE, 0]
    assert rim.mean() == pytest.approx(10, abs=0.1)
    assert rim.std() == pytest.approx(1, abs=0.1)
    np.testing.assert_array_equal(found[:, :, 2:-2, 2:-2], maps[:, :, 2:-2, 2:-2])
    np.testing.assert_allclose(found[:, FINEST], maps[:, FINEST], atol=0.3)
    others = [k for k in range(len(MAPS)) if k not in (FINE, FINEST)]
    np.testing.assert_array_equal(found[:, others], maps[:, others])


def test_a_coarser_grid_still_repeats() -> None:
    maps = good()
    scale = rim_scale(maps, HOW)
    assert len(scale["fine"][0]) == len(scale["finest"][0]) == 3
    assert scale["fine"][0][0] == scale["fine"][0][1] > scale["fine"][0][2]
    fine = with_calm_rims(maps, scale)[:, FINE]
    np.testing.assert_array_equal(fine[:, ::2, ::2].repeat(2, axis=1).repeat(2, axis=2), fine)
    assert set(rim_scale(maps, replace(HOW, rims=1))) == {"finest"}, "half a cell is no ring"


def test_a_rim_that_is_far_in_every_picture_hides_nothing() -> None:
    bad = good(200, seed=3)
    bad[:, FINE, 8:10, 6:8] += 5.0
    found = []
    for how in (replace(HOW, maps=("fine",), statistics=("max",), rims=rims) for rims in (2, 0)):
        calibration = calibrate(good(200), how, 0.05)
        alarms, hits = (
            float((image_scores(maps, how, calibration) > calibration.threshold).mean())
            for maps in (good(1000, seed=4), bad)
        )
        assert 0.01 < alarms < 0.1
        found.append(hits)
    calmed, plain = found
    assert calmed > 0.6
    assert plain < 0.3


def test_what_is_unusual_at_the_rim_itself_is_still_heard() -> None:
    calibration = calibrate(good(200), HOW, 0.05)
    bad = good(50, seed=3)
    bad[:, FINE, :2, 6:8] += 30.0
    assert (image_scores(bad, HOW, calibration) > calibration.threshold).mean() > 0.9


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
    plain = calibration_to_dict(calibrate(maps, PLAIN, 0.05))
    assert "rims" not in plain
    assert calibration_from_dict(plain, PLAIN).rims == {}


def test_the_heatmap_is_of_the_same_scale() -> None:
    calibration = calibrate(good(200), HOW, 0.05)
    bad = good(1, seed=5)
    bad[:, FINE, 8:10, 10:12] += 9.0
    score = float(image_scores(bad, HOW, calibration)[0])
    own, alarm = own_maps(bad[0], HOW, calibration), alarm_of(calibration, score)
    heat = as_judged(own, score, (64, 64), None, alarm)
    assert np.unravel_index(heat.argmax(), heat.shape) == pytest.approx((36, 44), abs=4)


def test_what_is_ignored_counts_for_nothing_whatever_its_rim() -> None:
    area = ((0.0, 0.0, 1.0, 0.25),)
    calibration = calibrate(good(), HOW, 0.05, ignored=area)
    assert calibration.ignored == area
    dirty = good(1, seed=6)
    dirty[:, FINE, :, :4] += 50
    told = placed(dirty, calibration)[0, FINE]
    assert (told[:, :4] == told[:, 4:].min()).all()
    scores = [image_scores(maps, HOW, calibration)[0] for maps in (good(1, seed=6), dirty)]
    assert scores[0] == pytest.approx(scores[1])


def test_a_rim_is_no_more_than_a_sixth_of_the_shorter_side() -> None:
    assert len(rim_scale(good(), replace(HOW, rims=8))["finest"][0]) == 3
    assert rim_scale(good()[..., :4, :4], replace(HOW, rims=2)) == {}
    assert rim_scale(good(), PLAIN) == {}


@pytest.mark.parametrize(
    "scale",
    [
        {"norm": ((2.0, 1.0), (2.0, 1.0))},
        {"fine": ((2.0, 1.0), (2.0,))},
        {"fine": ((2.0, 1.0), (0.5, 1.0))},
        {"fine": ((2.0, 1.0), (0.0, 0.0))},
        {"fine": ((1.0,), (1.0,))},
    ],
)
def test_impossible_scales_are_refused(scale: RimScale) -> None:
    assert not is_scale(scale)
    form = calibration_to_dict(calibrate(good(), HOW, 0.05))
    with pytest.raises(BundleTamperedError, match="calibration refused"):
        calibration_from_dict(form | {"rims": scale}, HOW)


def test_an_ignored_corner_mutes_no_rim() -> None:
    clock = ((0.0, 0.0, 0.2, 0.2),)
    maps = good(seed=5)
    told = rim_scale(maps, HOW, clock)
    maps[:, FINE, :4, :4] += 500 * np.random.default_rng(0).random((len(maps), 1, 1))
    assert rim_scale(maps, HOW, clock) == told
    assert rim_scale(maps, HOW) != told


def test_a_rim_that_is_ignored_is_as_the_inside() -> None:
    frame = ((0.0, 0.0, 0.125, 1), (0.875, 0, 1, 1), (0, 0.0, 1, 0.125), (0, 0.875, 1, 1))
    mean, std = rim_scale(good(), HOW, frame)["fine"]
    assert mean[0] == mean[-1]
    assert std[0] == std[-1]
