"""Odd good pictures: named, and left out of the threshold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nfbmr.errors import CalibrationError
from nfbmr.scoring.calibrate import calibrate, without
from nfbmr.scoring.calibration import Calibration, image_scores
from nfbmr.scoring.maps import MAPS, Maps
from nfbmr.scoring.odd import odd_ones
from nfbmr.settings.schema import ScoringSettings

ANY = ScoringSettings(maps=("norm", "fine"), fusion="any")
NAMES = [f"picture {n}" for n in range(60)]


def good(n: int = 60, seed: int = 0) -> Maps:
    return np.random.default_rng(seed).random((n, len(MAPS), 4, 4), np.float32)


@pytest.fixture(scope="module")
def rotten() -> Maps:
    maps = good()
    maps[17] += 2
    return maps


@pytest.fixture(scope="module")
def calibration(rotten: Maps) -> Calibration:
    return calibrate(rotten, ANY, 0.05, NAMES)


def test_the_oddest_is_named_first_with_the_threshold_without_it(calibration: Calibration) -> None:
    odd = odd_ones(calibration)
    assert odd[0].picture == "picture 17"
    assert odd[0].score == max(calibration.scores)
    assert odd[0].without < 1
    assert len(odd) <= 5, "about the asked share of 60"


def test_without_it_the_threshold_is_that_of_the_others(
    calibration: Calibration, rotten: Maps
) -> None:
    fewer = without(calibration, ["picture 17", "no such picture"])
    assert len(fewer.scores) == len(fewer.pictures) == 59
    assert "picture 17" not in fewer.pictures
    assert fewer.threshold == 1
    assert fewer.one is not None
    assert calibration.one is not None
    assert fewer.one < calibration.one
    assert float(calibration.shown(np.array(fewer.one))) == pytest.approx(
        odd_ones(calibration)[0].without
    )
    scores = image_scores(rotten[:1], ANY, calibration), image_scores(rotten[:1], ANY, fewer)
    raws = [c.raw(s)[0] for c, s in zip((calibration, fewer), scores, strict=True)]
    assert raws[0] == pytest.approx(raws[1])


def test_too_few_cannot_be_left(calibration: Calibration) -> None:
    with pytest.raises(CalibrationError, match="4 good images would be left"):
        without(calibration, NAMES[4:])


def test_a_calibration_that_does_not_know_its_pictures_names_none(
    calibration: Calibration,
) -> None:
    assert odd_ones(replace(calibration, pictures=())) == ()


def test_odd_ones_that_hide_each_other_are_all_named() -> None:
    maps = good(200)
    rotten = [f"picture {n}" for n in (3, 50, 77, 120, 180, 199)]
    for step, n in enumerate((3, 50, 77, 120, 180, 199)):
        maps[n] += 2 + 0.02 * step
    calibration = calibrate(maps, ANY, 0.01, [f"picture {n}" for n in range(200)])

    named = [one.picture for one in odd_ones(calibration)]

    assert set(rotten) <= set(named[: len(rotten) + 1])
    assert len(named) <= len(rotten) + 2
    alone = odd_ones(calibration)[0].without
    fewer = without(calibration, named)
    assert float(calibration.shown(fewer.raw(np.array(fewer.threshold)))) < 0.5 * alone


def test_good_ones_alone_are_seldom_odd() -> None:
    named = [len(odd_ones(clean(seed))) for seed in range(10)]
    assert sum(named) <= 20, "two of a hundred"


def clean(seed: int) -> Calibration:
    return calibrate(good(100, seed), ANY, 0.01, [f"picture {n}" for n in range(100)])


def test_of_few_good_pictures_a_tail_is_not_made_up() -> None:
    few = calibrate(good(12), ANY, 0.05, NAMES[:12])
    assert len(odd_ones(few)) <= 1
