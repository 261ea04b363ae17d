"""Where the tail of good pictures ends; wild ones have no part in scales."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from nfbmr.scoring.calibrate import Known, calibrate
from nfbmr.scoring.calibration import calibration_scores, image_scores
from nfbmr.scoring.calibration_json import calibration_from_dict, calibration_to_dict
from nfbmr.scoring.judges import as_if_held_out
from nfbmr.scoring.maps import MAPS, Maps
from nfbmr.scoring.odd import odd_ones
from nfbmr.scoring.tails import calm_ones, end_of_tail, wild_from
from nfbmr.scoring.without import without
from nfbmr.settings.schema import Fusion, ScoringSettings

HOW = ScoringSettings(maps=("norm", "distance", "fine"), fusion="squares")
NORM = MAPS.index("norm")


def good(n: int, seed: int = 0) -> Maps:
    return np.random.default_rng(seed).exponential(size=(n, len(MAPS), 4, 4)).astype(np.float32)


def names(n: int) -> list[str]:
    return [str(number) for number in range(n)]


@pytest.mark.parametrize("n", [12, 25, 39, 40, 200])
@pytest.mark.parametrize("law", ["exponential", "normal", "uniform"])
def test_hardly_any_drawn_set_has_a_wild_one(n: int, law: str) -> None:
    draw = getattr(np.random.default_rng(n), law)
    found = [not calm_ones(draw(size=(n, 8)))[0].all() for _ in range(200)]
    assert np.mean(found) < (0.1 if n < 20 else 0.03)


def test_of_too_few_or_alike_the_tail_has_no_end() -> None:
    assert end_of_tail(np.arange(9.0)[:, None], 0.1) == sys.float_info.max
    assert end_of_tail(np.ones((50, 2)), 0.1).tolist() == [sys.float_info.max] * 2


def test_far_ones_are_wild_only_where_they_are_the_scale() -> None:
    values = np.random.default_rng(0).normal(size=(300, 1))
    values[7] = 20
    assert end_of_tail(values, 1e-5)[0] < 20
    assert wild_from(values)[0] == sys.float_info.max
    assert 5 < wild_from(values[:25])[0] < 20


def test_where_half_are_wild_none_is() -> None:
    table = np.random.default_rng(0).normal(size=(40, 20))
    for column in range(20):
        table[2 * column : 2 * column + 2, column] = 1e6
    calm, ends = calm_ones(table)
    assert calm.all()
    assert set(ends) == {sys.float_info.max}


@pytest.mark.parametrize("n", [25, 60, 300])
@pytest.mark.parametrize("size", [1e3, 1e6, 1e12])
def test_a_wild_picture_leaves_all_others_as_they_are(n: int, size: float) -> None:
    maps = good(n)
    maps[7, NORM] *= size
    found = calibrate(maps, HOW, 0.05, names(n))
    alone = calibrate(np.delete(maps, 7, axis=0), HOW, 0.05, names(n)[:7] + names(n)[8:])
    assert found.calm == n - 1
    assert found.statistic_std == alone.statistic_std
    assert found.judge_std == alone.judge_std
    assert found.map_std == pytest.approx(alone.map_std, rel=1e-6)
    raw = found.raw(np.array(found.scores))
    assert found.pictures[-1] == "7"
    np.testing.assert_allclose(raw[:-1], alone.raw(np.array(alone.scores)), rtol=1e-6, atol=1e-6)
    assert odd_ones(found, HOW)[0].picture == "7"


def test_a_defect_that_is_less_odd_is_still_told_from_good_ones() -> None:
    maps = good(200)
    maps[7, NORM] *= 1e6
    found = calibrate(maps, HOW, 0.01, names(200))
    defects = good(20, seed=1)
    defects[:, :, 1, 1] += 20
    assert (image_scores(defects, HOW, found) > 1).all()


def test_scores_come_again_and_the_form_comes_back() -> None:
    maps = good(60)
    maps[7, NORM] *= 1e3
    found = calibrate(maps, HOW, 0.05, names(60))
    again = calibration_scores(maps[list(found.places)], HOW, found)
    np.testing.assert_allclose(again, found.scores, rtol=1e-9, atol=1e-9)
    assert calibration_from_dict(calibration_to_dict(found), HOW) == found
    assert without(found, ["7"], HOW).calm == 0


def test_calibrations_without_wild_ones_have_the_form_that_they_had() -> None:
    kept = calibration_to_dict(calibrate(good(60), HOW, 0.05, names(60)))
    assert not {"calm", "wild_from"} & set(kept)


def test_a_wild_one_does_not_stretch_what_training_saw() -> None:
    rng = np.random.default_rng(3)
    table, trained = rng.normal(size=(80, 2)), np.arange(80) < 50
    usual = as_if_held_out(np.delete(table, 60, axis=0), np.delete(trained, 60))
    table[60, 0] = 1e6
    found = as_if_held_out(table, trained)
    np.testing.assert_allclose(np.delete(found[:, 0], 60), usual[:, 0], rtol=1e-9)
    known = Known(learnt=80, own={"fine": 0.1, "distance": 0.1}, trained=trained)
    maps = good(80)
    maps[60, NORM] *= 1e4
    wild = calibrate(maps, HOW, 0.05, names(80), known=known)
    assert wild.calm == 79
    assert wild.judge_peak[0] < 100


@pytest.mark.parametrize("fusion", ["mean", "any", "squares"])
def test_any_fusion_bears_a_wild_one(fusion: Fusion) -> None:
    maps = good(60)
    maps[7, NORM] *= 1e12
    scoring = ScoringSettings(maps=("norm", "distance", "fine"), fusion=fusion)
    assert calibrate(maps, scoring, 0.05, names(60)).calm == 59


def test_a_wild_one_among_few_that_were_held_out_is_found() -> None:
    trained = np.arange(80) >= 8
    maps = good(80)
    maps[3, NORM] *= 1e6
    known = Known(learnt=80, own={"fine": 0.1, "distance": 0.1}, trained=trained)
    found = calibrate(maps, HOW, 0.05, names(80), known=known)
    assert found.calm == 79
    assert max(found.statistic_std) < 10


def test_a_wild_rim_is_no_scale_of_rims() -> None:
    scoring = ScoringSettings(maps=("norm", "distance", "fine"), fusion="squares", rims=2)
    maps = np.random.default_rng(0).exponential(size=(60, len(MAPS), 12, 12)).astype(np.float32)
    alone = calibrate(np.delete(maps, 7, axis=0), scoring, 0.05, names(60)[:7] + names(60)[8:])
    maps[7, :, 0] *= 1000
    found = calibrate(maps, scoring, 0.05, names(60))
    assert found.rims == alone.rims
    assert found.calm == 59


def test_a_statistic_in_which_wild_ones_alone_differ_makes_none_wild() -> None:
    table = np.random.default_rng(0).normal(size=(60, 2))
    table[:, 1] = 0
    table[5:8, 0], table[5:8, 1] = 1e6, (1, 2, 3)
    assert calm_ones(table)[0].all()


@pytest.mark.parametrize("broken", [{"calm": 2}, {"calm": 60}, {"table": ()}, {"wild_from": ()}])
def test_forms_that_contradict_themselves_are_refused(broken: dict[str, Any]) -> None:
    maps = good(60)
    maps[7, NORM] *= 1e3
    with pytest.raises(ValidationError, match="contradict one another"):
        replace(calibrate(maps, HOW, 0.05, names(60)), **broken)
