"""Areas that a calibration leaves out: nothing that is seen there changes a score."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import pytest

from nfbmr.errors import BundleTamperedError, SettingsError
from nfbmr.inspection.inspector import Inspector
from nfbmr.inspection.result import About, Inspection
from nfbmr.scoring.calibration import calibration_scores, image_scores
from nfbmr.scoring.calibration_json import calibration_from_dict, calibration_to_dict
from nfbmr.scoring.ignored import MOST_AREAS, are_areas, areas_of, inside, masked
from nfbmr.scoring.maps import MAPS, Maps

AREAS = ((0.0, 0.25, 0.5, 0.75),)


def drawn(inspector: Inspector, seed: int) -> Maps:
    """Raw maps (2, K, 8, 8) of no picture."""
    values = np.random.default_rng(seed).uniform(1, 2, (2, len(MAPS), 8, 8))
    return cast(Maps, values.astype(np.float32))


def test_a_cell_that_an_area_touches_is_in_it() -> None:
    found = inside(((0.1, 0.5, 0.26, 1.0),), (4, 4))
    expected = np.zeros((4, 4), bool)
    expected[0:2, 2:4] = True
    np.testing.assert_array_equal(found, expected)
    assert not inside((), (4, 4)).any()


def test_what_lies_in_an_area_changes_no_score(inspector: Inspector) -> None:
    scoring = inspector.settings.scoring
    calibration = replace(inspector.calibration, ignored=AREAS)
    maps = drawn(inspector, 1)
    other = maps.copy()
    other[:, :, :4, 2:6] += 100
    for scores in (image_scores, calibration_scores):
        np.testing.assert_array_equal(
            scores(maps, scoring, calibration), scores(other, scoring, calibration)
        )
        assert (scores(other, scoring, inspector.calibration) > 0).all()
    beside = maps.copy()
    beside[:, :, 7, 7] += 100
    before, after = (image_scores(one, scoring, calibration) for one in (maps, beside))
    assert (after > before).all()
    (one, _) = inspector.with_calibration(calibration).judge(other, [About(size=(64, 64))] * 2)
    assert isinstance(one, Inspection)
    assert not one.heatmap[:32, 16:48].any()


def test_twice_is_as_once_and_all_of_a_coarse_grid_stays() -> None:
    maps = cast(Maps, np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4))
    once = masked(maps, AREAS)
    assert once[0, 0, 0].tolist() == [0, 0, 0, 3]
    np.testing.assert_array_equal(masked(once, AREAS), once)
    tiny = maps[..., :1, :1]
    np.testing.assert_array_equal(masked(tiny, AREAS), tiny)
    assert masked(maps, ()) is maps


@pytest.mark.parametrize(
    "areas",
    [
        ((0.5, 0.0, 0.5, 1.0),),
        ((0.0, 0.0, 1.2, 1.0),),
        ((-0.1, 0.0, 1.0, 1.0),),
        ((0.0, 0.0, 1.0, 0.97),),
        ((0.0, 0.0, 0.1, 0.1),) * (MOST_AREAS + 1),
    ],
)
def test_other_things_are_no_areas(
    inspector: Inspector, areas: tuple[tuple[float, float, float, float], ...]
) -> None:
    assert not are_areas(areas)
    values = calibration_to_dict(inspector.calibration) | {"ignored": areas}
    with pytest.raises(BundleTamperedError, match="calibration refused"):
        calibration_from_dict(values, inspector.settings.scoring)


def test_a_calibration_carries_them_and_says_so(inspector: Inspector) -> None:
    before = calibration_to_dict(inspector.calibration)
    assert "ignored" not in before
    changed = replace(inspector.calibration, ignored=AREAS)
    values = calibration_to_dict(changed)
    assert calibration_from_dict(values, inspector.settings.scoring) == changed
    assert any("25 % of the picture is ignored" in line for line in changed.describe())
    tiny = replace(inspector.calibration, ignored=((0.0, 0.0, 1 / 64, 1 / 64),))
    said = "less than 0.1 % of the picture is ignored: what is seen there never counts."
    assert said in tiny.describe()
    again = inspector.with_calibration(changed).recalibrated(0.5, look_rate=0.6)
    assert again.calibration.ignored == AREAS


@pytest.mark.parametrize("shape", [(80, 80), (37, 501), (3, 5)])
def test_areas_of_a_mask_cover_it_and_little_else(shape: tuple[int, int]) -> None:
    rows, columns = (np.linspace(-1, 1, n) for n in shape)
    disk = rows[:, None] ** 2 + columns**2 < 0.3
    areas = areas_of(disk)
    assert are_areas(areas)
    covered = inside(areas, shape)
    assert (covered >= disk).all()
    assert (covered & ~disk).mean() < 0.15


def test_a_rectangle_is_one_area() -> None:
    mask = np.zeros((64, 128), bool)
    mask[8:16, 64:96] = True
    assert areas_of(mask) == ((0.125, 0.5, 0.25, 0.75),)
    assert areas_of(np.zeros((4, 4), bool)) == ()


def test_a_mask_of_nearly_all_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"leaves 0.0 %.*expected 5 % at least.*invert"):
        areas_of(np.ones((50, 50), bool))
