"""The heatmap of fused judges: it shows what the verdict rests on, and agrees with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from nfbmr.data.images import resize_map
from nfbmr.scoring.calibrate import Known, calibrate, recalibrate
from nfbmr.scoring.calibration import Calibration, image_scores
from nfbmr.scoring.conformal import p_values
from nfbmr.scoring.heat import LOW, alarm_of, as_judged, fused_heatmap, own_maps, with_verdict
from nfbmr.scoring.maps import MAPS, Maps
from nfbmr.scoring.without import without
from nfbmr.settings.schema import ScoringSettings

ANY = ScoringSettings(maps=("norm", "distance", "fine"), fusion="any")
GRID = (8, 6)


def good(n: int, seed: int = 0) -> Maps:
    """Raw maps whose coarse ones are repeated twice along each side."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((n, len(MAPS), GRID[0] // 2, GRID[1] // 2), np.float32)
    maps = coarse.repeat(2, axis=2).repeat(2, axis=3)
    maps[:, MAPS.index("fine")] = rng.random((n, *GRID), np.float32)
    return np.asarray(maps)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return calibrate(good(60), ANY, 0.05)


def test_what_judges_see_compares_with_what_they_saw_in_good_pictures(
    calibration: Calibration,
) -> None:
    maps = good(40, seed=9)
    highest = [[float(seen.max()) for seen in own_maps(one, ANY, calibration)] for one in maps]
    share = (np.array(highest) > 1).mean(axis=0)
    assert (share < 0.2).all()
    own = own_maps(seen_by("fine", (5, 2)), ANY, calibration)
    coarse, fine = (resize_map(one, GRID) for one in own)
    assert int(fine.argmax()) == 5 * GRID[1] + 2
    assert fine.max() > calibration.known_peaks[1][-1]
    assert coarse.max() < 1.5


def seen_by(name: str, place: tuple[int, int]) -> Maps:
    maps = good(1, seed=1)[0]
    maps[MAPS.index(name), place[0], place[1]] += 3
    return np.asarray(maps)


def shown(maps: Maps, calibration: Calibration, size: tuple[int, int] = (80, 60)) -> Maps:
    return judged(maps, calibration, score_of(maps, calibration), size)


def score_of(maps: Maps, calibration: Calibration) -> float:
    return float(image_scores(maps[None], ANY, calibration)[0])


def judged(
    maps: Maps,
    calibration: Calibration,
    score: float,
    size: tuple[int, int] = (80, 60),
    counts: NDArray[np.float32] | None = None,
) -> Maps:
    """The heatmap of a picture that has that score, as `Inspection` puts it together."""
    own, alarm = own_maps(maps, ANY, calibration), alarm_of(calibration, score)
    return with_verdict(as_judged(own, score, size, counts, alarm), score)


def test_where_nothing_counts_it_is_0_and_the_rest_bears_the_verdict(
    calibration: Calibration,
) -> None:
    counts = np.ones((80, 60), np.float32)
    counts[40:60, :30] = 0
    maps = seen_by("fine", (5, 2))
    score = score_of(maps, calibration)
    assert np.unravel_index(shown(maps, calibration).argmax(), (80, 60)) in set(
        zip(*np.nonzero(counts == 0), strict=True)
    )
    heat = judged(maps, calibration, score, counts=counts)
    assert not heat[counts == 0].any()
    assert heat.max() > 1
    alone = ScoringSettings(maps=("norm",), fusion="mean")
    older = calibrate(good(60), alone, 0.05)
    plain, heat = (fused_heatmap(maps, alone, older, (80, 60), c) for c in (None, counts))
    np.testing.assert_array_equal(heat, plain * counts)


def test_the_grids_are_known_from_what_repeats(calibration: Calibration) -> None:
    assert (calibration.factor, calibration.detail_factor) == (2, 1)
    finer = replace(ANY, maps=("norm", "fine", "finest"))
    maps = good(60).repeat(2, axis=2).repeat(2, axis=3)
    maps[:, MAPS.index("finest")] = np.random.default_rng(3).random((60, 16, 12), np.float32)
    found = calibrate(maps, finer, 0.05)
    assert (found.factor, found.detail_factor) == (4, 2)


def test_1_is_where_the_asked_share_of_the_finest_judges_highest_points_ends(
    calibration: Calibration,
) -> None:
    for known in calibration.known_peaks:
        assert (np.diff(known) >= 0).all()
        assert (np.array(known) > 1).mean() == pytest.approx(0.05, abs=0.02)
    often = recalibrate(calibration, 0.3)
    assert (np.array(often.known_peaks[-1]) > 1).mean() == pytest.approx(0.3, abs=0.02)
    lower = [a < b for a, b in zip(often.judge_peak, calibration.judge_peak, strict=True)]
    assert all(lower)
    older = replace(calibration, judge_peaks=())
    assert older.known_peaks == ()
    assert recalibrate(older, 0.3).judge_peak == older.judge_peak


def test_what_is_left_out_of_the_threshold_is_left_out_of_the_heatmaps_scale() -> None:
    maps = good(60)
    maps[7, MAPS.index("fine"), 3, 3] = 40
    names = [f"{number:02d}" for number in range(60)]
    found = calibrate(maps, ANY, 0.05, names)
    assert len(found.judge_peaks[-1]) == 60
    assert found.judge_peaks[-1][found.pictures.index("07")] == max(found.judge_peaks[-1])
    fewer = without(found, ["07"], ANY)
    assert len(fewer.judge_peaks[-1]) == 59
    assert max(fewer.judge_peaks[-1]) < max(found.judge_peaks[-1]) / 2
    assert fewer.judge_peak[-1] < found.judge_peak[-1]


def test_the_map_is_the_same_at_every_size_but_for_resizing(calibration: Calibration) -> None:
    maps = seen_by("fine", (5, 2))
    one = shown(maps, calibration, GRID)
    large = shown(maps, calibration, (160, 120))
    middle = large[10::20, 10::20]
    # A place is a product of two maps, each of which is resized.
    np.testing.assert_allclose(middle, one, rtol=0.06, atol=0.1)


def test_a_defect_reaches_the_threshold_so_it_is_shown_and_a_good_part_is_calm(
    calibration: Calibration,
) -> None:
    for maps in (*good(20, seed=2), seen_by("fine", (5, 2))):
        score = score_of(maps, calibration)
        for size in ((80, 60), (37, 90)):
            heat = judged(maps, calibration, score, size)
            assert heat.shape == size
            assert heat.dtype == np.float32
            assert (heat.max() > calibration.threshold) == (score > calibration.threshold)
            assert score > 1 or 0 < heat.max() < 0.951


def test_a_level_means_the_same_in_every_picture_whatever_its_score(
    calibration: Calibration,
) -> None:
    maps = seen_by("fine", (5, 2))
    score = score_of(maps, calibration)
    assert score > 1
    one, other = (judged(maps, calibration, s) for s in (score, 3 * score))
    np.testing.assert_array_equal(one, other)
    assert 1 < one.max() != pytest.approx(score, rel=1e-3)


def test_the_place_of_the_judge_that_decides_is_shown_beside_a_higher_one_of_the_other(
    calibration: Calibration,
) -> None:
    maps = seen_by("fine", (1, 1))
    maps[MAPS.index("distance"), 4:6, 2:4] = 40  # far more than the other sees
    heat = shown(maps, calibration)
    assert heat[10:20, 10:20].max() > 1, "the finer one's own"
    assert heat[40:60, 20:40].max() >= 1.01, "the deciding one's"
    assert heat[60:, 40:].max() < 1
    maps[MAPS.index("distance")] = seen_by("fine", (1, 1))[MAPS.index("distance")]
    assert shown(maps, calibration)[40:60, 20:40].max() < 1


def test_what_the_finest_judge_finds_by_itself_is_not_dimmed_beside_what_the_other_sees(
    calibration: Calibration,
) -> None:
    maps = seen_by("fine", (1, 1))
    maps[MAPS.index("distance"), 4:6, 2:4] = 40
    own = own_maps(maps, ANY, calibration)
    score = score_of(maps, calibration)
    level = own[-1][1, 1]
    assert level > calibration.look_peak
    assert own[0][0, 0] < 0.2 * own[0].max(), "the other sees next to nothing there"
    assert shown(maps, calibration, GRID)[1, 1] == pytest.approx(level, rel=0.01)
    # A picture that is passed has no such place, nor has one that older models judge.
    assert alarm_of(calibration, calibration.look_threshold - 0.01) is None
    assert alarm_of(replace(calibration, judge_peaks=()), score) is None
    assert as_judged(own, score, GRID, None, None)[1, 1] < 0.6 * level


def test_a_place_counts_whole_down_to_its_edge_and_what_hangs_on_none_does_not() -> None:
    fine = np.zeros((8, 8), np.float32)
    fine[1, 1:4] = 0.65, 0.95, 0.7
    fine[2, 4] = LOW + 0.01  # by its corner
    fine[6, 6] = 0.85
    coarse = np.zeros((4, 4), np.float32)
    coarse[3, 0] = 1.5
    found = as_judged([coarse, fine], 2.0, (8, 8), None, 0.9)
    stays = found / np.maximum(fine, 1e-9)
    assert stays[1, 1:4].min() == stays[2, 4] == pytest.approx(1, abs=0.01)
    assert stays[6, 6] == pytest.approx(0.4, abs=0.01)


def test_a_defect_that_nowhere_reaches_the_threshold_is_lifted_until_it_does() -> None:
    heat = np.array([[0.2, 0.4], [0.1, 0.8]], np.float32)
    np.testing.assert_allclose(with_verdict(heat, 1.6), 1.02 / 0.8 * heat, rtol=1e-6)
    np.testing.assert_array_equal(with_verdict(3 * heat, 1.6), 3 * heat)


def test_of_a_good_picture_only_what_is_high_is_pressed_below_the_threshold() -> None:
    heat = np.array([[0.2, 0.5], [1.0, 2.5]], np.float32)
    np.testing.assert_allclose(with_verdict(heat, 0.9), [[0.2, 0.5], [0.6125, 0.95]])
    np.testing.assert_array_equal(with_verdict(heat[:1], 0.9), heat[:1])


@pytest.mark.parametrize("name", ["fine", "distance"])
def test_it_shows_the_place_that_the_deciding_judge_saw(
    name: str, calibration: Calibration
) -> None:
    maps = seen_by(name, (5, 2))
    if name == "distance":
        maps[MAPS.index(name), 4:6, 2:4] = maps[MAPS.index(name), 5, 2]
    heat = shown(maps, calibration)
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    assert [int(y) // 20, int(x) // 20] == [2, 1]  # cells of the coarse grid


def test_a_coarse_map_is_resized_from_its_own_grid_without_blocks(
    calibration: Calibration,
) -> None:
    maps = seen_by("distance", (4, 2))
    maps[MAPS.index("distance"), 4:6, 2:4] = 50
    maps[MAPS.index("fine")] = 0
    heat = shown(maps, calibration, (160, 120))
    steps = np.abs(np.diff(heat, axis=0)).max() / heat.max()
    assert steps < 0.1  # a repeated map jumps by its whole height


def test_typical_scores_0_and_the_asked_share_of_good_ones_lies_above_1(
    calibration: Calibration,
) -> None:
    assert calibration.threshold == 1
    assert float(np.median(calibration.scores)) == pytest.approx(0, abs=1e-9)
    scores = image_scores(good(4000, seed=5), ANY, calibration)
    assert float(np.median(scores)) == pytest.approx(0, abs=0.15)
    assert 0.01 < (scores > 1).mean() < 0.12


def test_new_good_pictures_have_peaks_as_often_as_their_rarity_says() -> None:
    def drawn(n: int, seed: int, calm: NDArray[np.bool_]) -> Maps:
        maps = good(n, seed)
        maps[calm, MAPS.index("norm")] *= 0.5
        return maps

    trained = np.arange(200) < 150
    known = Known(learnt=200, own={"distance": 0.0, "fine": 0.0}, trained=trained)
    found = calibrate(drawn(200, 0, trained), ANY, 0.05, known=known)
    new = drawn(400, 1, np.zeros(400, np.bool_))
    highest = np.array([own_maps(one, ANY, found)[0].max() for one in new])
    assert (p_values(highest, found.known_peaks[0]) <= 0.1).mean() < 0.15
    asleep = replace(known, trained=np.zeros(200, np.bool_))
    told = calibrate(drawn(200, 0, trained), ANY, 0.05, known=asleep)
    highest = np.array([own_maps(one, ANY, told)[0].max() for one in new])
    assert (p_values(highest, told.known_peaks[0]) <= 0.1).mean() > 0.2


def test_what_is_ignored_says_nothing_of_the_scale() -> None:
    area = ((0.0, 0.0, 0.6, 1.0),)
    maps = good(60) + 5
    whole = calibrate(maps, ANY, 0.05)
    part = calibrate(maps, ANY, 0.05, ignored=area)
    np.testing.assert_allclose(part.map_mean, whole.map_mean, rtol=0.02)
    np.testing.assert_allclose(part.map_std, whole.map_std, rtol=0.1)


def test_an_area_that_cuts_through_cells_leaves_the_grids_as_they_are() -> None:
    rng = np.random.default_rng(0)
    maps = rng.random((30, len(MAPS), 8, 8), np.float32)
    norm = MAPS.index("norm")
    coarse = rng.random((30, 2, 4, 4), np.float32).repeat(2, axis=2).repeat(2, axis=3)
    maps[:, norm] = coarse[:, 0]
    maps[:, MAPS.index("distance")] = coarse[:, 1]
    found = calibrate(maps, ANY, 0.1, ignored=((0.0, 0.0, 0.35, 0.35),))
    assert found.factor == 2
    alike = maps[:1].copy()
    alike[:, norm, :3, :3] += 99
    seen = own_maps(alike[0], ANY, found)[0], own_maps(maps[0], ANY, found)[0]
    np.testing.assert_array_equal(*seen)
    defect = maps[0].copy()
    defect[norm, 2:4, 2:4] = 9
    highest = own_maps(defect, ANY, found)[0]
    assert highest.argmax() == highest.shape[1] + 1, (
        "of a cell that is ignored in part the rest counts"
    )
