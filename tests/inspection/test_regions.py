"""Regions: what belongs together, where it is, how large and how rare; counted by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from nfbmr.inspection.inspector import Inspector
from nfbmr.inspection.regions import (
    MOST,
    Region,
    in_words,
    outline_of,
    polygon_area,
    regions_of,
    simplified,
)
from nfbmr.inspection.result import Inspection
from nfbmr.scoring.heat import LOW

Draw = Callable[..., NDArray[np.uint8]]
Heat = NDArray[np.float32]


def heat_of(*blocks: tuple[int, int, int, int, float], size: tuple[int, int] = (20, 30)) -> Heat:
    """Heat of 0 with blocks (left, top, right, bottom, level)."""
    heat = np.zeros(size, np.float32)
    for left, top, right, bottom, level in blocks:
        heat[top:bottom, left:right] = level
    return heat


def test_a_rectangle_by_hand() -> None:
    heat = heat_of((4, 2, 10, 6, 0.7), (5, 3, 7, 4, 1.5))
    heat[3, 6] = 1.6
    (found,) = regions_of(heat, 1.0, (20, 30), mm_per_pixel=0.5)
    assert found == Region(
        box=(4, 2, 10, 6),
        outline=found.outline,
        area=24,
        area_mm2=6.0,
        peak=float(np.float32(1.6)),
        at=(6, 3),
        p_value=None,  # nobody says what good pictures have
    )
    # 0.7 falls to 0 beside it: 0.6 is reached a seventh of a pixel outside of the centres.
    left, top = np.array(found.outline).min(axis=0)
    right, bottom = np.array(found.outline).max(axis=0)
    expected = (4.5 - 1 / 7, 2.5 - 1 / 7, 9.5 + 1 / 7, 5.5 + 1 / 7)
    assert (left, top, right, bottom) == pytest.approx(expected, abs=0.35)


def test_a_region_needs_a_point_at_the_threshold_and_reaches_down_to_the_share_of_it() -> None:
    low, below = LOW * 2 + 1e-4, LOW * 2 - 1e-4
    heat = heat_of((1, 1, 4, 4, 2.0), (4, 1, 6, 4, low), (6, 1, 8, 4, below), (20, 10, 25, 15, 1.9))
    (found,) = regions_of(heat, 2.0, (20, 30))
    assert found.box == (1, 1, 6, 4)


def test_pixels_that_share_a_corner_belong_together_and_others_do_not() -> None:
    touching = heat_of((1, 1, 4, 4, 2.0), (4, 4, 6, 6, 3.0))
    (found,) = regions_of(touching, 1.0, (20, 30))
    assert (found.box, found.area, found.at) == ((1, 1, 6, 6), 13, (4, 4))
    apart = heat_of((1, 1, 4, 4, 2.0), (5, 4, 6, 6, 3.0))
    assert [one.box for one in regions_of(apart, 1.0, (20, 30))] == [
        (5, 4, 6, 6),
        (1, 1, 4, 4),
    ]


def test_the_highest_come_first_and_there_are_not_too_many() -> None:
    heat = np.zeros((40, 40), np.float32)
    levels = 1 + np.random.default_rng(0).permutation(400).reshape(20, 20)
    heat[::2, ::2] = levels
    found = regions_of(heat, 1.0, (40, 40))
    assert [one.peak for one in found] == list(range(400, 400 - MOST, -1))


def test_how_rare_is_read_from_good_pictures() -> None:
    heat = heat_of((1, 1, 3, 3, 0.91), (9, 9, 12, 12, 0.4), (20, 9, 22, 12, 0.95))
    known = (0.1, 0.2, 0.5, 0.9)
    rare = [one.p_value for one in regions_of(heat, 0.3, (20, 30), [(heat, known)])]
    assert rare == [0.2, 0.2, 0.6]
    assert regions_of(heat, 0.3, (20, 30), [(heat, (2.0,))])[0].p_value == 1.0
    assert regions_of(heat, 0.3, (20, 30))[0].p_value is None


def test_of_several_judges_the_rarest_counts_as_many_times_as_there_are_judges() -> None:
    heat = heat_of((1, 1, 3, 3, 0.9), (9, 9, 12, 12, 0.8))
    other = heat_of((9, 9, 12, 12, 5.0))
    known = tuple(np.linspace(0, 1, 99).tolist())
    one, two = regions_of(heat, 0.3, (20, 30), [(heat, known), (other, known)])
    assert one.p_value == pytest.approx(2 * 0.11, abs=0.02)
    assert two.p_value == pytest.approx(2 * 0.01)


def test_places_are_those_of_a_picture_of_another_size() -> None:
    heat = heat_of((10, 5, 20, 15, 2.0))
    (found,) = regions_of(heat, 1.0, (200, 900), mm_per_pixel=0.1)
    assert found.box == (300, 50, 600, 150)
    left, top = np.array(found.outline).min(axis=0)
    right, bottom = np.array(found.outline).max(axis=0)
    assert np.array((left, top, right, bottom)) == pytest.approx(found.box, abs=15)
    assert found.area == 30_000
    assert found.area_mm2 == pytest.approx(300)
    assert found.at == (315, 55)
    (small,) = regions_of(heat, 1.0, (2, 3))
    assert (small.box, small.area) == ((1, 0, 2, 2), 1)


def test_a_picture_that_is_called_has_a_region_though_its_peak_was_lost() -> None:
    heat = heat_of((3, 3, 6, 6, 0.9), (10, 10, 12, 12, 0.8))
    (found,) = regions_of(heat, 1.0, (20, 30), highest=1.05)
    assert (found.box, found.peak) == ((3, 3, 6, 6), 1.05)


@pytest.mark.parametrize("threshold", [0.0, -0.5])
def test_a_threshold_of_less_than_nothing_is_borne(threshold: float) -> None:
    heat = heat_of((3, 3, 6, 6, 2.0)) - 1
    (found,) = regions_of(heat, threshold, (20, 30))
    assert found.box == (3, 3, 6, 6)


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 0.9))
def test_the_edge_encloses_what_it_should(seed: int, share: float) -> None:
    labels, count = ndimage.label(
        np.random.default_rng(seed).random((9, 12)) < share, np.ones((3, 3))
    )
    for number in range(1, count + 1):
        mask = labels == number
        corners = outline_of(mask, mask.astype(float), 0.5)
        # Half-way between pixels each turn cuts or adds an eighth, and there are four more cuts.
        filled = ndimage.binary_fill_holes(mask).sum()
        assert polygon_area(corners) == pytest.approx(filled - 0.5, abs=1e-9)
        fewer = simplified(corners)
        assert 3 <= len(fewer) <= len(corners)
        assert polygon_area(fewer) >= polygon_area(corners) / 2


def test_a_round_place_has_few_corners_and_keeps_its_shape() -> None:
    y, x = np.mgrid[:300, :300]
    mask = (x - 150) ** 2 + (y - 140) ** 2 < 120**2
    corners = outline_of(mask, mask.astype(float), 0.5)
    fewer = simplified(corners)
    assert len(corners) > 300
    assert 12 <= len(fewer) <= 56
    assert polygon_area(fewer) == pytest.approx(float(mask.sum()), rel=0.03)
    frayed = ndimage.binary_opening(np.random.default_rng(0).random((200, 200)) < 0.6)
    labels, _ = ndimage.label(frayed, np.ones((3, 3)))
    largest = labels == 1 + np.bincount(labels.ravel())[1:].argmax()
    long = outline_of(largest, largest.astype(float), 0.5)
    assert len(simplified(long)) < 0.3 * len(long)


def test_the_contour_lies_where_heat_has_the_level() -> None:
    y, x = np.mgrid[:60, :80] + 0.5
    cone = 30 - np.hypot(x - 40, y - 28)
    radii = np.hypot(*(outline_of(cone >= 10, cone, 10.0) - (40, 28)).T)
    assert np.abs(radii - 20).max() < 0.02, "linear between pixels, as a cone nearly is"


def test_words() -> None:
    assert in_words([]) == ""
    assert in_words([(1, 2, 31, 12)]) == "1 place 30 x 10 px"
    assert in_words([(0, 0, 1, 1), (1, 2, 35, 14)]) == "2 places, largest 34 x 12 px"


def inspected(inspector: Inspector, image: NDArray[np.uint8]) -> Inspection:
    result = inspector.inspect(image)
    assert result.is_defect
    return result


def test_a_defect_has_regions_where_it_is_and_a_good_picture_has_none(
    inspector: Inspector, draw: Draw
) -> None:
    assert inspector.inspect(draw(2)).verdict == "good"
    assert inspector.inspect(draw(2)).regions == ()
    result = inspected(inspector, draw(3, defect=True, size=(96, 120)))
    first = result.regions[0]
    left, top, right, bottom = first.box
    assert left < 75
    assert right > 30
    assert top < 60
    assert bottom > 24, "the blob is at 30 to 75, 24 to 60"
    assert left <= first.at[0] < right
    assert top <= first.at[1] < bottom
    assert result.guide is not None
    at = (result.guide.shape[0], result.guide.shape[1])
    assert first.peak == result.heatmap_at(at).max()
    said = json.loads(json.dumps(result.to_dict()))
    assert [one["box"] for one in said["regions"]] == [list(one.box) for one in result.regions]
    assert set(said["regions"][0]) == {
        *("box", "outline", "area", "area_mm2", "peak", "at", "p_value")
    }


def test_a_picture_for_a_person_has_the_regions_above_the_lower_threshold(
    inspector: Inspector, draw: Draw
) -> None:
    result = inspected(inspector, draw(3, defect=True))
    far = replace(result.calibration, threshold=1e6, look_rate=0.5)
    looked = replace(result, calibration=far, threshold=1e6, is_defect=False)
    assert looked.verdict == "look"
    heat = result.heatmap
    expected = regions_of(heat, far.look_peak, result.size, edge=0.6e6)
    assert [one.box for one in looked.regions] == [one.box for one in expected]


def test_places_of_a_picture_for_a_person_are_found_before_its_map_is_pressed(
    inspector: Inspector, draw: Draw
) -> None:
    result = inspected(inspector, draw(3, defect=True, size=(96, 120)))
    often = replace(result.calibration, look_rate=0.5)
    defect = replace(result, calibration=often)
    looked = replace(defect, score=0.99, is_defect=False)
    assert looked.verdict == "look"
    assert defect.heatmap.max() > 1.2 > 1 > looked.heatmap.max()
    assert [one.box for one in looked.regions] == [one.box for one in defect.regions]
    assert [one.outline for one in looked.regions] == [one.outline for one in defect.regions]
    assert looked.guide is not None
    at = (looked.guide.shape[0], looked.guide.shape[1])
    assert looked.regions[0].peak == pytest.approx(looked.heatmap_at(at).max())
    assert all(one.peak < 1 for one in looked.regions)


def test_area_is_said_where_the_scale_is_known(inspector: Inspector, draw: Draw) -> None:
    result = inspected(inspector, draw(3, defect=True))
    assert {one.area_mm2 for one in result.regions} == {None}
    known = replace(result, mm_per_pixel=0.5).regions
    assert [one.area_mm2 for one in known] == [one.area / 4 for one in known]


def test_huge_pictures_are_looked_at_in_about_a_megapixel(
    inspector: Inspector, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = inspected(inspector, draw(3, defect=True))
    seen: list[tuple[int, ...]] = []

    def found(heat: NDArray[np.float32], *words: Any, **more: Any) -> tuple[Region, ...]:
        seen.append(heat.shape)
        return regions_of(heat, *words, **more)

    monkeypatch.setattr("nfbmr.inspection.result.regions_of", found)
    left, top, right, bottom = replace(result, size=(8000, 8000)).regions[0].box
    assert max(height * width for height, width in seen) <= 1.1e6
    small = result.regions[0].box
    assert np.array((left, top, right, bottom)) / 100 == pytest.approx(np.array(small), abs=2)
    assert replace(result, size=(1, 9_000_000)).regions[0].box[3] == 1


def test_a_region_reaches_down_to_its_edge_and_no_lower_than_asked() -> None:
    heat = np.zeros((20, 30), np.float32)
    heat[5:10, 5:25] = 0.5
    heat[5:10, 8:20] = 0.65
    heat[6, 10] = 0.8
    (deep,) = regions_of(heat, 0.75, (20, 30))
    (shallow,) = regions_of(heat, 0.75, (20, 30), edge=0.6)
    assert deep.area == 100
    assert shallow.area == 60
    (capped,) = regions_of(heat, 0.75, (20, 30), edge=0.9)
    assert capped.area == 1


def test_places_that_good_pictures_reach_in_the_share_to_look_at_are_shown(
    inspector: Inspector,
) -> None:
    calibration = replace(inspector.calibration, look_rate=0.5)
    peaks = np.array(calibration.known_peaks[-1])
    assert 0 < calibration.look_peak < 1
    assert (peaks > calibration.look_peak).mean() == pytest.approx(0.5, abs=0.1)
    assert replace(calibration, look_rate=1e-9).look_peak == pytest.approx(1)
