"""Scores: statistics by hand, conformal thresholds by rank, and what few images can say."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nfbmr.errors import BundleTamperedError, CalibrationError
from nfbmr.scoring.calibrate import LEAST_HELD_OUT, calibrate, held_out_count, recalibrate
from nfbmr.scoring.calibration import Calibration, calibration_scores, image_scores
from nfbmr.scoring.calibration_json import calibration_from_dict, calibration_to_dict
from nfbmr.scoring.chosen import Chosen
from nfbmr.scoring.conformal import images_needed, p_values, threshold_for
from nfbmr.scoring.heat import fused_heatmap
from nfbmr.scoring.maps import MAPS, Maps, statistics
from nfbmr.settings.schema import CalibrationSettings, ScoringSettings

ALL = ScoringSettings(top_share=0.25)
ONE = ScoringSettings(maps=("source",), statistics=("mean",))
HEARD = ScoringSettings(fusion="any")
SIX = replace(ALL, statistics=("mean",))


def good_maps(n: int, seed: int = 0, grid: tuple[int, int] = (3, 4)) -> Maps:
    return np.random.default_rng(seed).gamma(2.0, 1.0, (n, len(MAPS), *grid)).astype(np.float32)


def calibration_of(scores: list[float], rate: float) -> Calibration:
    """A calibration whose stored scores are these."""
    threshold, rank = threshold_for(np.array(scores), rate)
    return Calibration(
        statistic_mean=(0.0,),
        statistic_std=(1.0,),
        map_mean=(0.0,),
        map_std=(1.0,),
        heat_zero=0.0,
        heat_one=1.0,
        scores=tuple(scores),
        false_alarm_rate=rate,
        threshold=threshold,
        rank=rank,
    )


# ---- statistics


def test_statistics_counted_by_hand() -> None:
    maps = np.zeros((1, len(MAPS), 2, 4), np.float32)
    maps[0, 0] = [[1, 2, 3, 4], [5, 6, 7, 8]]
    maps[0, 1] = 10
    found = statistics(maps, ScoringSettings(maps=("source", "target"), top_share=0.25))
    assert found.tolist() == [[8.0, 7.5, 4.5, 10.0, 10.0, 10.0]]
    swapped = ScoringSettings(maps=("target", "source"), statistics=("mean", "max"))
    assert statistics(maps, swapped).tolist() == [[10.0, 10.0, 4.5, 8.0]]


def test_top_averages_one_position_at_least() -> None:
    maps = good_maps(5)
    found = statistics(maps, ScoringSettings(statistics=("max", "top"), top_share=0.01))
    assert (found[:, 0::2] == found[:, 1::2]).all()


def test_asm_is_half_the_sum_of_source_and_target() -> None:
    maps = good_maps(5)
    found = statistics(maps, ScoringSettings(maps=("asm",), statistics=("max",)))
    expected = ((maps[:, 0].astype(np.float64) + maps[:, 1]) / 2).max(axis=(1, 2))
    assert (found[:, 0] == expected).all()


# ---- thresholds


@pytest.mark.parametrize(
    ("n", "rate", "rank"),
    [
        (99, 0.01, 99),
        (100, 0.01, 100),
        (198, 0.01, 198),
        (199, 0.01, 198),
        (19, 0.05, 19),
        (20, 0.05, 20),
        (9, 0.5, 5),
        (10, 0.5, 6),
        (3, 0.25, 3),
        (5, 0.999, 1),
    ],
)
def test_threshold_is_the_conformal_order_statistic(n: int, rate: float, rank: int) -> None:
    scores = np.arange(1.0, n + 1)
    assert threshold_for(scores, rate) == (float(rank), rank)
    assert rank == max(1, math.ceil((n + 1) * (1 - Fraction(str(rate)))))


def test_a_rate_next_to_one_still_has_a_rank() -> None:
    assert threshold_for(np.arange(5.0), 1 - 1e-12) == (0.0, 1)


@pytest.mark.parametrize(("rate", "needed"), [(0.01, 99), (0.05, 19), (0.1, 9), (0.3, 3)])
def test_images_needed_is_the_fewest_that_are_not_extrapolated(rate: float, needed: int) -> None:
    assert images_needed(rate) == needed
    assert threshold_for(np.arange(float(needed)), rate)[1] == needed
    assert threshold_for(np.arange(float(needed - 1)), rate)[1] == needed  # n + 1: extrapolated


levels = st.integers(-20, 20).map(lambda k: k / 4)  # coarse, so that ties happen


@given(
    scores=st.lists(levels, min_size=2, max_size=60).map(sorted),
    rate=st.integers(1, 999).map(lambda k: Fraction(k, 1000)),
    score=levels,
)
def test_p_value_is_at_most_the_rate_exactly_when_the_score_is_a_defect(
    scores: list[float], rate: Fraction, score: float
) -> None:
    calibration = calibration_of(scores, float(rate))
    p = p_values(np.array([score]), calibration.scores)[0]
    n = len(scores)
    at_least = sum(known >= score for known in scores)
    assert p == (at_least + 1) / (n + 1)
    if calibration.extrapolated:
        assert p > rate
    else:
        is_defect = score > calibration.threshold
        assert is_defect == (Fraction(at_least + 1, n + 1) <= rate)


@given(scores=st.lists(levels, min_size=2, max_size=40).map(sorted), rate=st.floats(1e-6, 0.02))
def test_extrapolated_threshold_is_never_below_the_largest_score(
    scores: list[float], rate: float
) -> None:
    threshold, rank = threshold_for(np.array(scores), rate)
    assert rank == len(scores) + 1
    assert threshold >= scores[-1]
    assert math.isfinite(threshold)
    assert threshold_for(np.array(scores), rate / 10)[0] >= threshold


def test_extrapolation_finds_the_quantile_of_an_exponential_tail() -> None:
    rng = np.random.default_rng(0)
    rounds = [threshold_for(np.sort(rng.exponential(2.0, 900)), 1e-4) for _ in range(100)]
    assert {rank for _, rank in rounds} == {901}
    found = float(np.mean([threshold for threshold, _ in rounds]))
    assert found == pytest.approx(2.0 * math.log(10_000), rel=0.03)


@pytest.mark.parametrize("n", [5, 12, 29, 30, 60, 98])
def test_a_threshold_from_few_normal_scores_has_at_most_the_asked_rate(n: int) -> None:
    """The bound of a new value is exact for normal scores; the tail alone is not."""
    rng = np.random.default_rng(0)
    rate, rounds = 0.01, 1000
    alarms = 0.0
    for _ in range(rounds):
        threshold, rank = threshold_for(np.sort(rng.standard_normal(n)), rate)
        assert rank == n + 1
        alarms += float(scipy.stats.norm.sf(threshold)) / rounds
    # The highest of three levels, so at most the rate, and not far below.
    assert 0.5 * rate < alarms < 1.05 * rate


@given(scores=st.lists(levels, min_size=2, max_size=98).map(sorted))
def test_an_extrapolated_threshold_is_at_least_the_bound_of_a_new_value_at_any_n(
    scores: list[float],
) -> None:
    n, rate = len(scores), 0.01
    bound = np.mean(scores) + scipy.stats.t.ppf(1 - rate, n - 1) * np.std(scores, ddof=1) * (
        math.sqrt(1 + 1 / n)
    )
    assert threshold_for(np.array(scores), rate)[0] >= bound - 1e-9


def test_extrapolation_is_marked_and_says_how_many_more_images_are_needed() -> None:
    calibration = calibrate(good_maps(30), ALL, 0.01)
    assert calibration.extrapolated
    assert calibration.attainable_rate == 1 / 31
    told = " ".join(calibration.describe())
    assert "EXTRAPOLATED" in told
    assert "needs 99 good images held out, there are 30" in told
    assert "69 more" in told
    assert calibration.rate_interval()[0] == 0
    enough = recalibrate(calibration, 0.1)
    assert not enough.extrapolated
    assert "EXTRAPOLATED" not in " ".join(enough.describe())


def test_rate_interval_is_the_beta_distributions() -> None:
    # 99 images, rank 99: Beta(1, 99), whose quantile q is 1 - (1 - q)^(1 / 99).
    low, high = calibration_of([float(k) for k in range(99)], 0.01).rate_interval(0.9)
    assert low == pytest.approx(1 - 0.95 ** (1 / 99))
    assert high == pytest.approx(1 - 0.05 ** (1 / 99))
    # 3 images, rank 2: Beta(2, 2), symmetric, with the distribution 3x^2 - 2x^3.
    low, high = calibration_of([0.0, 1.0, 2.0], 0.5).rate_interval(0.8)
    assert low == pytest.approx(1 - high)
    assert 3 * low**2 - 2 * low**3 == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("n", "share", "most", "rate", "expected"),
    [
        (100, 0.2, 0.25, 0.1, 20),  # the share
        (400, 0.2, 0.25, 0.01, 99),  # more, for the rate
        (300, 0.2, 0.25, 0.01, 75),  # more, up to the limit
        (1000, 0.2, 0.25, 0.01, 200),  # the share gives enough
        (12, 0.2, 0.25, 0.01, 5),  # five at least
        (20, 0.2, 0.25, 0.3, 5),
        (10, 0.2, 0.25, 0.01, 5),  # the fewest images that a fit takes
        (11, 0.95, 0.25, 0.1, 6),  # five are left to train on
    ],
)
def test_held_out_count(n: int, share: float, most: float, rate: float, expected: int) -> None:
    settings = CalibrationSettings(held_out=share, held_out_at_most=most, false_alarm_rate=rate)
    assert held_out_count(n, settings) == expected


# ---- calibration


def test_scores_leave_each_image_out_of_its_own_scale() -> None:
    maps = good_maps(7)
    table = statistics(maps, ALL)
    expected = []
    for i in range(7):
        others = np.delete(table, i, axis=0)
        expected.append(((table[i] - others.mean(0)) / others.std(0, ddof=1)).mean())
    np.testing.assert_allclose(calibrate(maps, ALL, 0.2).scores, sorted(expected), rtol=1e-9)


def test_new_images_are_scored_on_the_scale_of_all_of_them() -> None:
    maps, new = good_maps(9), good_maps(3, seed=1)
    calibration = calibrate(maps, ALL, 0.2)
    table = statistics(maps, ALL)
    expected = ((statistics(new, ALL) - table.mean(0)) / table.std(0, ddof=1)).mean(1)
    np.testing.assert_allclose(image_scores(new, ALL, calibration), expected, rtol=1e-9)


def share_of_alarms(
    n: int, rate: float, rounds: int, law: Callable[[np.random.Generator, tuple[int, ...]], Any]
) -> float:
    """How often new good images are called defects, of six statistics, calibrated by n of them."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(rounds):
        maps = np.asarray(law(rng, (n + 50, len(MAPS), 1, 1)), np.float32)
        calibration = calibrate(maps[:n], SIX, rate)
        found.append((image_scores(maps[n:], SIX, calibration) > calibration.threshold).mean())
    return float(np.mean(found))


@pytest.mark.parametrize("n", [10, 20, 40])
def test_good_images_exceed_the_threshold_at_most_at_the_asked_rate(n: int) -> None:
    """On the lowest rate that n images attain; scales that an image took part in give 1.4 times."""
    rate = 1 / (n + 1)
    alarms = share_of_alarms(n, rate, 300, lambda rng, shape: rng.gamma(2.0, 1.0, shape))
    assert 0.6 * rate < alarms < 1.2 * rate


@pytest.mark.parametrize("n", [8, 12, 25])
def test_few_normal_images_raise_no_more_alarms_than_asked_beyond_what_they_attain(n: int) -> None:
    """An exponential tail alone gives twice the rate at 8 and 12, and just the rate at 25."""
    rate = 0.01
    alarms = share_of_alarms(n, rate, 300, lambda rng, shape: rng.standard_normal(shape))
    assert 0.2 * rate < alarms < 0.8 * rate


def test_p_values_of_good_images_are_uniform() -> None:
    rng = np.random.default_rng(1)
    n, rounds = 39, 400
    found = []
    for _ in range(rounds):
        maps = rng.gamma(2.0, 1.0, (n + 1, len(MAPS), 2, 2)).astype(np.float32)
        calibration = calibrate(maps[:n], ONE, 0.1)
        found.append(p_values(image_scores(maps[n:], ONE, calibration), calibration.scores)[0])
    for share in (0.1, 0.25, 0.5, 0.75):
        spread = math.sqrt(share * (1 - share) / rounds)
        assert abs(float(np.mean(np.array(found) <= share)) - share) < 4 * spread + 1 / (n + 1)


def test_recalibration_moves_only_the_threshold() -> None:
    calibration = calibrate(good_maps(50), ALL, 0.1)
    other = recalibrate(calibration, 0.5)
    assert other.threshold < calibration.threshold
    moved = {"threshold", "rank", "false_alarm_rate"}
    before, after = calibration_to_dict(calibration), calibration_to_dict(other)
    assert {key for key in before if before[key] != after[key]} == moved
    assert recalibrate(other, 0.1) == calibration


@pytest.mark.parametrize("n", [0, 1, LEAST_HELD_OUT - 1])
def test_too_few_images_are_refused(n: int) -> None:
    with pytest.raises(
        CalibrationError, match=rf"{n} good images? to cal.*at least 5 are needed.*99 for"
    ):
        calibrate(good_maps(n), ALL, 0.01)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_maps_that_are_not_finite_are_refused(value: float) -> None:
    maps = good_maps(5)
    maps[3, 1, 0, 0] = value
    with pytest.raises(CalibrationError, match="not finite"):
        calibrate(maps, ALL, 0.1)


@pytest.mark.parametrize("n", [5, 6, 10])
def test_images_that_are_all_alike_are_refused(n: int) -> None:
    one = good_maps(1, grid=(3, 4))
    with pytest.raises(CalibrationError, match=f"{n} of the {n} good images give the very same"):
        calibrate(one.repeat(n, axis=0), ALL, 0.1)


def test_images_most_of_which_are_copies_are_refused() -> None:
    """Also where each was saved anew and differs in its last bits."""
    maps = good_maps(11, grid=(3, 4))
    maps[:6] = maps[0]
    with pytest.raises(CalibrationError, match="6 of the 11 good images give the very same"):
        calibrate(maps, ALL, 0.1)
    maps[5] = good_maps(12, grid=(3, 4))[11]
    assert calibrate(maps, ALL, 0.1).scores[0] < calibrate(maps, ALL, 0.1).scores[-1]


def test_a_statistic_without_spread_is_refused_by_its_name() -> None:
    maps = good_maps(8, grid=(3, 4))
    maps[:, 2] = 2.5
    with pytest.raises(CalibrationError, match="do not differ at all in max of likelihood"):
        calibrate(maps, ALL, 0.1)
    with pytest.raises(CalibrationError, match="a map of the heatmap has the same value at every"):
        calibrate(maps, replace(ONE, heat="likelihood"), 0.1)


def test_a_judge_without_spread_is_refused_by_its_maps() -> None:
    """Two maps that move against each other: each has a spread, their average has none."""
    maps = good_maps(9, grid=(1, 1))
    maps[:, MAPS.index("distance")] = 16 - maps[:, MAPS.index("norm")]
    scoring = ScoringSettings(
        maps=("norm", "distance", "fine"), statistics=("max",), fusion="squares"
    )
    with pytest.raises(CalibrationError, match=r"9 good images do not differ.*norm and distance"):
        calibrate(maps, scoring, 0.1)


def test_the_fewest_images_are_enough_to_calibrate() -> None:
    calibration = calibrate(good_maps(LEAST_HELD_OUT), ALL, 0.01)
    assert calibration.extrapolated
    assert all(math.isfinite(score) for score in calibration.scores)


def test_what_a_person_is_to_look_at_has_its_own_expected_rate_and_interval() -> None:
    scores = [0.01 * k for k in range(24)]  # 1/25 is the least that they show
    calibration = replace(calibration_of(scores, 0.01), look_rate=0.05)
    person = calibration.for_person
    assert (person.rank, person.expected, person.extrapolated) == (24, 1 / 25, False)
    # the largest of n is exceeded with a share of Beta(1, n): its distribution is 1 - (1 - x)^n
    low, high = person.interval()
    assert 1 - (1 - low) ** 24 == pytest.approx(0.025)
    assert 1 - (1 - high) ** 24 == pytest.approx(0.975)
    said = " ".join(calibration.describe())
    assert f"expected rate 0.04 (95 % interval: {low:.3g} to {high:.3g})" in said
    beyond = replace(calibration, look_rate=0.02).for_person
    assert (beyond.expected, beyond.extrapolated, beyond.interval()[0]) == (1 / 25, True, 0.0)
    # a rate below that of false alarms is theirs
    less = replace(calibration_of(scores, 0.2), look_rate=0.1)
    assert less.for_person == less.false_alarms


@pytest.mark.parametrize(("rate", "extrapolated"), [(0.1, False), (0.001, True)])
def test_few_images_are_said_to_be_few(rate: float, extrapolated: bool) -> None:
    def told(n: int) -> str:
        calibration = calibrate(good_maps(n), ALL, rate)
        assert calibration.extrapolated == extrapolated
        return " ".join(calibration.describe())

    said = "Only 29 good images calibrate: the scale of the scores is uncertain, and good parts may"
    assert f"{said} be called defects many times as often as asked." in told(29)
    assert "uncertain" not in told(30)


# ---- heatmap


def own_size(maps: Maps, scoring: ScoringSettings, calibration: Calibration) -> Maps:
    return fused_heatmap(maps, scoring, calibration, maps.shape[1:])


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.01])
def test_heatmap_is_anchored_on_good_images(rate: float) -> None:
    maps = good_maps(40, grid=(5, 6))
    calibration = calibrate(maps, ALL, rate)
    heat = np.stack([own_size(image, ALL, calibration) for image in maps])
    assert heat.shape == (40, 5, 6)
    assert heat.dtype == np.float32
    assert float(np.median(heat)) == pytest.approx(0, abs=1e-5)
    # 1 is the conformal level of the good images' peaks, and likewise extrapolated.
    peaks = np.sort(heat.max(axis=(1, 2)).astype(np.float64))
    level, rank = threshold_for(peaks, rate)
    assert level == pytest.approx(1, rel=1e-5)
    assert (rank > 40) == (peaks[-1] < 1 - 1e-5) == (rate == 0.01)
    assert rank > 40 or (peaks[rank:] > 1 + 1e-5).all()


def test_heatmap_is_never_scaled_by_the_picture_itself() -> None:
    maps = good_maps(20)
    calibration = calibrate(maps, ALL, 0.2)
    calm = own_size(maps[0], ALL, calibration)
    loud = maps[0].copy()
    loud[:, 0, 0] += 100
    changed = own_size(loud, ALL, calibration)
    assert changed[0, 0] > 10
    assert (changed.ravel()[1:] == calm.ravel()[1:]).all()


def test_a_heatmap_of_one_map_does_not_look_at_the_others() -> None:
    maps = good_maps(20)
    scoring = replace(ALL, heat="likelihood")
    calibration = calibrate(maps, scoring, 0.2)
    alone = calibrate(maps, replace(ALL, maps=("likelihood",)), 0.2)
    assert calibration.map_mean == alone.map_mean
    assert len(calibration.map_mean) == 1
    changed = maps[0].copy()
    changed[MAPS.index("target")] += 100
    heat = own_size(changed, scoring, calibration)
    assert (heat == own_size(maps[0], replace(ALL, maps=("likelihood",)), alone)).all()
    scores = [image_scores(m[None], scoring, calibration)[0] for m in (maps[0], changed)]
    assert scores[1] > scores[0]


# ---- JSON


def test_calibration_survives_json() -> None:
    calibration = calibrate(good_maps(20), ALL, 0.1)
    text = json.dumps(calibration_to_dict(calibration), allow_nan=False)
    assert calibration_from_dict(json.loads(text), ONE) == calibration


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": float("nan")},
        {"scores": [0.0, float("inf")]},
        {"scores": [2.0, 1.0, 3.0]},
        {"scores": [1.0]},
        {"statistic_std": [0.0]},
        {"map_std": [-1.0]},
        {"statistic_mean": [0.0, 1.0]},
        {"map_mean": []},
        {"false_alarm_rate": 0.0},
        {"false_alarm_rate": 1.0},
        {"rank": 0},
        {"rank": 9},
        {"heat_one": 0.0},
        {"threshold": "high"},
        {"colour": 1},
    ],
)
def test_an_impossible_calibration_is_refused(change: dict[str, Any]) -> None:
    values = calibration_to_dict(calibration_of([0.0, 1.0, 2.0], 0.5))
    assert calibration_from_dict(values, ONE).rank == 2
    with pytest.raises(BundleTamperedError, match="calibration refused"):
        calibration_from_dict(values | change, ONE)


@pytest.mark.parametrize("value", [1e308, 2.0**63, -(2.0**63), 10**400, 1e6])
@pytest.mark.parametrize("name", ["judge_mean", "judge_std", "zero", "one"])
def test_a_scale_on_which_nothing_would_be_high_is_refused(name: str, value: float) -> None:
    values = calibration_to_dict(calibrate(good_maps(9), HEARD, 0.2))
    calibration_from_dict(values, HEARD)
    of_judges = [value, *values[name][1:]] if name.startswith("judge") else value
    expected = pytest.raises(BundleTamperedError, match="calibration refused")
    if name == "one" and value == 1e6:  # a threshold may be extrapolated so far
        calibration_from_dict(values | {name: of_judges}, HEARD)
        return
    with expected:
        calibration_from_dict(values | {name: of_judges}, HEARD)


@pytest.mark.parametrize("value", [1e308, 1e31])
@pytest.mark.parametrize(
    "name",
    [
        *("statistic_mean", "statistic_std", "map_mean", "map_std", "judge_peak", "judge_peaks"),
        *("heat_zero", "heat_one", "threshold", "watched", "rims", "learnt"),
    ],
)
def test_a_value_that_no_picture_gives_is_refused(name: str, value: float) -> None:
    values = calibration_to_dict(calibrate(good_maps(9), HEARD, 0.2))
    if name == "watched":
        found: Any = {"brightness": [value] * 9}
    elif name == "rims":
        found = {"y": [[0.0, value], [value, value]]}
    elif name == "judge_peaks":
        found = [[value] * 9 for _ in values[name]]
    elif name == "heat_zero":
        found = -value
    else:
        found = [value] * len(values[name]) if isinstance(values[name], list | tuple) else value
    with pytest.raises(BundleTamperedError, match="calibration refused"):
        calibration_from_dict(values | {name: int(value) if name == "learnt" else found}, HEARD)


def test_pictures_of_which_one_is_far_out_have_a_possible_calibration() -> None:
    for n in (5, 40):
        maps = good_maps(n)
        maps[0] *= 10
        for rate in (0.2, 1e-9):
            found = calibrate(maps, HEARD, rate)
            assert calibration_from_dict(calibration_to_dict(found), HEARD) == found


@pytest.mark.parametrize("key", ["scores", "threshold", "rank", "heat_one", "statistic_mean"])
def test_a_calibration_without_a_key_is_refused(key: str) -> None:
    values = calibration_to_dict(calibration_of([0.0, 1.0, 2.0], 0.5))
    del values[key]
    with pytest.raises(BundleTamperedError, match=key):
        calibration_from_dict(values, ONE)


def test_scores_are_compared_as_numbers_of_full_precision() -> None:
    scores: NDArray[np.float64] = np.array([0.1, 0.2, 0.3 - 1e-16])
    calibration = calibration_of(scores.tolist(), 0.25)
    back = calibration_from_dict(json.loads(json.dumps(calibration_to_dict(calibration))), ONE)
    assert p_values(scores, back.scores).tolist() == [1.0, 0.75, 0.5]


def test_a_calibration_of_the_whole_sum_gives_the_same_scores_bit_for_bit() -> None:
    """As files say that were made when eq. 14's map was not halved."""
    how = ScoringSettings(maps=("asm", "likelihood"), statistics=("max", "mean"))
    maps = good_maps(9)
    doubled = maps.copy()
    doubled[:, :2] *= 2  # half of twice the errors: what `asm` was
    old = calibrate(doubled, how, 0.2)
    values = calibration_to_dict(old)
    assert values.pop("asm") == "half the sum"
    new = calibration_from_dict(values, how)
    assert image_scores(maps, how, new).tolist() == image_scores(doubled, how, old).tolist()
    assert own_size(maps[0], how, new).tolist() == own_size(doubled[0], how, old).tolist()
    assert (new.scores, new.threshold) == (old.scores, old.threshold)
    again = calibration_from_dict(calibration_to_dict(new), how)
    assert again == new
    with pytest.raises(BundleTamperedError, match="asm"):
        calibration_from_dict(values | {"asm": "a third"}, how)


def test_calibration_images_score_again_what_is_stored_each_by_itself() -> None:
    maps = good_maps(23)
    calibration = calibrate(maps, ALL, 0.05, [str(i) for i in range(len(maps))])
    for name, score in zip(calibration.pictures, calibration.scores, strict=True):
        alone = calibration_scores(maps[int(name)][None], ALL, calibration)
        assert alone == pytest.approx([score], rel=1e-6, abs=1e-6)
    assert image_scores(maps[:1], ALL, calibration) != pytest.approx(alone, rel=1e-3)


# ---- three verdicts


def test_between_the_thresholds_a_person_looks() -> None:
    calibration = replace(calibration_of([float(i) for i in range(200)], 0.01), look_rate=0.05)
    assert (calibration.look_threshold, calibration.threshold) == (190.0, 198.0)
    said = [calibration.verdict(score) for score in (0, 190, 190.5, 198, 198.5)]
    assert said == ["good", "good", "look", "look", "defect"]
    assert any(
        "look at scores above 190.000, for a rate of 0.05; expected rate 0.0498" in line
        for line in calibration.describe()
    )


def test_a_look_rate_at_or_below_the_other_leaves_two_verdicts() -> None:
    for rate in (0.1, 0.05):
        calibration = replace(calibration_of([float(i) for i in range(200)], 0.1), look_rate=rate)
        assert calibration.look_threshold == calibration.threshold
        (said,) = (line for line in calibration.describe() if "person" in line)
        assert said == (
            "No score is for a person to look at: the share that may be is no larger than that of "
            "false alarms."
        )


@given(st.integers(5, 80), st.integers(0, 2**32 - 1), st.floats(0.001, 0.2))
def test_the_look_threshold_is_never_above_the_other(n: int, seed: int, rate: float) -> None:
    scores = sorted(np.random.default_rng(seed).normal(size=n).tolist())
    calibration = calibration_of(scores, rate)
    assert calibration.look_threshold <= calibration.threshold


def test_another_look_rate_moves_that_threshold_alone() -> None:
    calibration = calibrate(good_maps(60), ALL, 0.02, look_rate=0.1)
    changed = recalibrate(calibration, 0.02, 0.2)
    assert (changed.threshold, changed.look_rate) == (calibration.threshold, 0.2)
    assert changed.look_threshold < calibration.look_threshold
    assert recalibrate(calibration, 0.02).look_rate == 0.1


def test_a_calibration_of_an_older_version_keeps_its_two_verdicts() -> None:
    values = calibration_to_dict(calibration_of([float(i) for i in range(200)], 0.01))
    del values["look_rate"]
    found = calibration_from_dict(values, ONE)
    assert found.look_threshold == found.threshold == 198.0


def test_a_look_threshold_beyond_what_few_images_show_is_said_to_be() -> None:
    few = calibration_of([float(i) for i in range(12)], 0.01)
    assert any("look at scores" in line and "EXTRAPOLATED" in line for line in few.describe())


def test_how_people_chose_the_pictures_is_kept_and_said_where_it_is_known() -> None:
    plain = calibration_of([float(i) for i in range(40)], 0.1)
    assert "chosen" not in calibration_to_dict(plain)
    picked = Chosen(odd=20, of=40, odd_of_all=60, of_all=2000)
    chosen = replace(plain, chosen=picked)
    values = calibration_to_dict(chosen)
    assert values["chosen"] == {"odd": 20, "of": 40, "odd_of_all": 60, "of_all": 2000}
    assert calibration_from_dict(values, ONE) == chosen
    assert set(picked.describe()) <= set(chosen.describe())
    values["chosen"]["odd"] = 41
    with pytest.raises(BundleTamperedError, match="chosen"):
        calibration_from_dict(values, ONE)
