"""Odd good pictures: named, and left out of the threshold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nfbmr.errors import CalibrationError
from nfbmr.scoring.calibrate import Known, calibrate
from nfbmr.scoring.calibration import Calibration, image_scores
from nfbmr.scoring.calibration_json import calibration_from_dict, calibration_to_dict
from nfbmr.scoring.maps import MAPS, Maps
from nfbmr.scoring.odd import (
    name_of,
    odd_ones,
    oddest,
    oddest_trained,
    with_names,
)
from nfbmr.scoring.odd_words import odd_in_words
from nfbmr.scoring.without import without
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
    odd = odd_ones(calibration, ANY)
    assert odd[0].picture == "picture 17"
    assert odd[0].score == max(calibration.scores)
    assert odd[0].without < 1
    assert len(odd) <= 5, "about the asked share of 60"


@pytest.mark.parametrize("rate", [0.01, 0.05])
@pytest.mark.parametrize("n", [25, 60, 200])
def test_hardly_any_of_good_pictures_alone_is_odd(n: int, rate: float) -> None:
    found = []
    for seed in range(20):
        maps = np.random.default_rng(seed).exponential(size=(n, len(MAPS), 4, 4))
        names = [str(number) for number in range(n)]
        found.append(len(odd_ones(calibrate(maps.astype(np.float32), ANY, rate, names), ANY)))
    assert np.mean(found) < {25: 1.2, 60: 0.9, 200: 0.4}[n], "the asked share would be 10 of 200"


def test_odd_is_what_the_tail_of_the_calmer_ones_reaches_once_in_ten_such_sets() -> None:
    found = calibrate(good(), ANY, 0.05, NAMES)
    raw = found.raw(np.array(found.scores))
    low, high = np.quantile(raw, [0.75, 0.9])
    # An exponential tail has a tenth of itself above `high` per ln(2.5) of its scale above `low`;
    # of 60 pictures 15 lie above `low`, and e**-x of them x scales beyond: 0.1 of one.
    end = low + (high - low) / np.log(2.5) * np.log(15 / 0.1)
    for beyond, odd in ((0.99, set()), (1.01, {found.pictures[-1]})):
        moved = np.append(raw[:-1], beyond * end)
        other = replace(found, scores=tuple(found.shown(moved).tolist()))
        assert {one.picture for one in odd_ones(other, ANY)} == odd


@pytest.mark.parametrize("n", [25, 60])
def test_two_that_hide_one_another_are_odd(n: int) -> None:
    maps = good(n)
    maps[[3, 8]] += 2
    odd = odd_ones(calibrate(maps, ANY, 0.01, NAMES[:n]), ANY)
    assert {"picture 3", "picture 8"} <= {one.picture for one in odd}


def test_without_it_the_threshold_is_that_of_the_others(
    calibration: Calibration, rotten: Maps
) -> None:
    fewer = without(calibration, ["picture 17", "no such picture"], ANY)
    assert len(fewer.scores) == len(fewer.pictures) == 59
    assert "picture 17" not in fewer.pictures
    assert fewer.threshold == 1
    assert fewer.one is not None
    assert calibration.one is not None
    others = calibrate(np.delete(rotten, 17, axis=0), ANY, 0.05, NAMES[:17] + NAMES[18:])
    assert fewer.pictures == others.pictures
    np.testing.assert_allclose(fewer.scores, others.scores, rtol=1e-12)
    new = good(9, seed=1)
    said = image_scores(new, ANY, fewer)
    np.testing.assert_allclose(said, image_scores(new, ANY, others), rtol=1e-12)


@pytest.mark.parametrize("more", [0.6, 2])
def test_what_the_threshold_would_be_without_it_is_what_it_is_then(more: float) -> None:
    """On the scale before, by new pictures that have scores on both; wild or a little odd."""
    how = ScoringSettings(maps=("norm", "distance", "fine"), fusion="squares")
    for seed in range(4):
        maps = np.random.default_rng(seed).random((60, len(MAPS), 4, 4), np.float32)
        maps[17] += more
        before = calibrate(maps, how, 0.02, NAMES)
        (one,) = (one for one in oddest(before, how) if one.picture == "picture 17")
        assert one.without is not None
        fewer = without(before, ["picture 17"], how)
        new = np.random.default_rng(99).random((400, len(MAPS), 4, 4), np.float32)
        new += np.linspace(0, 1, 400, dtype=np.float32)[:, None, None, None]
        then, now = image_scores(new, how, fewer), image_scores(new, how, before)
        near = np.argsort(np.abs(then - 1))[:15]
        assert one.without == pytest.approx(float(now[near].mean()), rel=0.15, abs=0.02)


def test_calibrations_of_older_versions_keep_their_scales(calibration: Calibration) -> None:
    older = replace(calibration, table=(), calm=0, wild_from=())
    fewer = without(older, ["picture 17"], ANY)
    assert fewer.statistic_std == calibration.statistic_std
    assert (len(fewer.scores), fewer.threshold) == (59, 1)


@pytest.mark.parametrize("odd", [2, 50])
def test_so_does_what_it_did_to_those_that_were_trained_on(odd: int) -> None:
    trained = np.arange(60) < 45
    maps = good()
    maps[trained] *= 0.8
    maps[odd] += 20

    def fitted(of: list[int]) -> Calibration:
        known = Known(learnt=60, own={"fine": 0.0}, trained=trained[of])
        return calibrate(maps[of], ANY, 0.05, [NAMES[n] for n in of], known=known)

    fewer = without(fitted(list(range(60))), [NAMES[odd]], ANY)
    others = fitted([n for n in range(60) if n != odd])
    assert (fewer.pictures, fewer.seen) == (others.pictures, others.seen)
    np.testing.assert_allclose(fewer.scores, others.scores, rtol=1e-9)


def test_a_wild_held_out_picture_leaves_no_trace_in_the_peaks() -> None:
    trained = np.arange(60) < 45
    maps = good()
    maps[trained] *= 0.8
    known = Known(learnt=60, own={"fine": 0.0}, trained=trained)
    maps[50, MAPS.index("norm"), 2, 2] = 60
    wild = calibrate(maps, ANY, 0.05, NAMES, known=known)
    fewer = without(wild, [NAMES[50]], ANY)
    assert wild.judge_peak[0] == pytest.approx(fewer.judge_peak[0], rel=0.02)
    new = np.array(
        [own for own, seen in zip(fewer.judge_peaks[0], fewer.seen, strict=True) if not seen]
    )
    old = np.array(
        [own for own, seen in zip(fewer.judge_peaks[0], fewer.seen, strict=True) if seen]
    )
    assert old.mean() == pytest.approx(new.mean())
    assert old.std(ddof=1) == pytest.approx(new.std(ddof=1))


def test_what_is_held_out_is_not_taken_out_to_the_last() -> None:
    known = Known(learnt=60, own={"fine": 0.0}, trained=np.arange(60) >= 3)
    held_out = calibrate(good(), ANY, 0.05, NAMES, known=known)
    assert len(without(held_out, NAMES[:1], ANY).scores) == 59
    with pytest.raises(CalibrationError, match="1 picture that the fit held out would be left"):
        without(held_out, NAMES[:2], ANY)


def test_too_few_cannot_be_left(calibration: Calibration) -> None:
    with pytest.raises(CalibrationError, match="4 good images would be left"):
        without(calibration, NAMES[4:], ANY)


def test_a_calibration_that_does_not_know_its_pictures_names_none(
    calibration: Calibration,
) -> None:
    assert odd_ones(replace(calibration, pictures=()), ANY) == ()


def test_odd_ones_that_hide_each_other_are_all_named() -> None:
    maps = good(200)
    rotten = [f"picture {n}" for n in (3, 50, 77, 120, 180, 199)]
    for step, n in enumerate((3, 50, 77, 120, 180, 199)):
        maps[n] += 2 + 0.02 * step
    calibration = calibrate(maps, ANY, 0.01, [f"picture {n}" for n in range(200)])

    named = [one.picture for one in odd_ones(calibration, ANY)]

    assert set(rotten) <= set(named[: len(rotten) + 1])
    assert len(named) <= len(rotten) + 2
    alone = odd_ones(calibration, ANY)[0].without
    fewer = without(calibration, named, ANY)
    assert float(calibration.shown(fewer.raw(np.array(fewer.threshold)))) < 0.5 * alone


def test_good_ones_alone_are_seldom_odd() -> None:
    named = [len(odd_ones(clean(seed), ANY)) for seed in range(10)]
    assert sum(named) <= 20, "two of a hundred"


def clean(seed: int) -> Calibration:
    return calibrate(good(100, seed), ANY, 0.01, [f"picture {n}" for n in range(100)])


def test_of_few_good_pictures_a_tail_is_not_made_up() -> None:
    few = calibrate(good(12), ANY, 0.05, NAMES[:12])
    assert len(odd_ones(few, ANY)) <= 1


# ---- names


def hash_of(number: int) -> str:
    return f"{number:064x}"


def called(number: int) -> str:
    return f"part_{number}.png"


@pytest.fixture(scope="module")
def known(rotten: Maps) -> Calibration:
    names = {hash_of(n): called(n) for n in range(70)}
    found = calibrate(rotten, ANY, 0.05, [hash_of(n) for n in range(60)])
    return with_names(replace(found, trained={hash_of(60): 1.5, hash_of(61): 9.0}), names)


def test_the_oddest_are_called_by_their_files_names(known: Calibration) -> None:
    found = oddest(known, ANY)
    assert found[0].name == "part_17.png"
    assert found[0].is_odd
    assert [one.score for one in found] == sorted(known.scores, reverse=True)[: len(found)]
    assert found[0].without == odd_ones(known, ANY)[0].without
    assert len(found) >= 5, "some are named where none is odd, too"


def test_those_learnt_from_that_do_not_calibrate_are_named_too(known: Calibration) -> None:
    found = oddest_trained(known)
    assert [one.name for one in found] == ["part_61.png", "part_60.png"]
    assert found[0].score == pytest.approx(float(known.shown(np.array(9.0))))
    assert found[0].without is None
    lines = odd_in_words(known, ANY)
    assert any(line.startswith("- part_61.png: score ") for line in lines)


def test_names_stay_right_when_some_are_left_out(known: Calibration) -> None:
    fewer = without(known, [hash_of(17)], ANY)
    assert hash_of(17) not in fewer.names
    for one in oddest(fewer, ANY):
        assert one.name == called(int(one.picture, 16))
    assert oddest_trained(fewer) == (), "nobody knows what they score on the new scales"
    older = without(replace(known, table=(), calm=0, wild_from=()), [hash_of(17)], ANY)
    assert oddest_trained(older)[0].name == "part_61.png"


def test_names_outlive_the_file(known: Calibration) -> None:
    kept = calibration_to_dict(known)
    assert calibration_from_dict(kept, ANY) == known
    del kept["names"], kept["trained"]  # as older versions wrote it
    older = calibration_from_dict(kept, ANY)
    assert oddest(older, ANY)[0].name == f"sha256 {hash_of(17)[:12]}..."
    assert calibration_to_dict(older) == kept, "nothing is added to what it was"


def test_a_name_that_two_files_have_comes_with_the_hash(known: Calibration) -> None:
    twice = with_names(known, {hash_of(n): "same.png" for n in range(60)})
    assert name_of(twice, hash_of(3)) == f"same.png (sha256 {hash_of(3)[:12]}...)"


def test_a_name_steers_neither_terminal_nor_markdown(known: Calibration) -> None:
    evil = "a`<b>\x1b[2J\n# b\udcff.png"
    named = with_names(known, {hash_of(17): evil})
    name = name_of(named, hash_of(17))
    assert name == "a`<b>?[2J?# b?.png"
    name.encode("utf-8")
    by_hand = replace(known, names={hash_of(17): evil})  # as a file from elsewhere may have it
    assert name_of(by_hand, hash_of(17)) == name
    assert "- `a'<b>?[2J?# b?.png`: score" in odd_in_words(named, ANY, markdown=True)[2]


def test_of_many_only_the_highest_are_named() -> None:
    maps = good(700, 3)
    found = calibrate(maps, ANY, 0.05, [hash_of(n) for n in range(700)])
    named = with_names(found, {hash_of(n): called(n) for n in range(700)})
    assert set(named.names) == set(found.pictures[-140:])
