"""No scale rests on a spread of none: what is refused, what is said, by which name."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from nfbmr.errors import CalibrationError
from nfbmr.scoring.calibrate import calibrate
from nfbmr.scoring.maps import MAPS, Floats, Maps
from nfbmr.scoring.spread import refuse_one_alone
from nfbmr.settings.schema import ScoringSettings

ONE = ScoringSettings(maps=("source",), statistics=("mean",))
JUDGES = ScoringSettings(
    maps=("norm", "distance", "fine"), statistics=("max", "top"), fusion="squares"
)


def good_maps(n: int, seed: int = 0) -> Maps:
    maps = np.random.default_rng(seed).gamma(2.0, 1.0, (n, len(MAPS), 3, 4))
    return maps.astype(np.float32)


def with_alike(n: int, alike: int, name: str = "fine") -> Maps:
    """Maps of which one gives the same of the first images; the whole differs between all."""
    maps = good_maps(n)
    place = MAPS.index(name)
    maps[:alike, place] = maps[0, place]
    return maps


@pytest.mark.parametrize("n", [5, 20])
def test_one_that_has_all_the_spread_is_refused_by_its_name(n: int) -> None:
    maps = with_alike(n, n)
    maps[3, MAPS.index("fine"), 0, 0] += 9
    said = f"{n - 1} of the {n} good images do not differ in max of fine, beside {{}}, which"
    with pytest.raises(CalibrationError, match=said.format("picture 4")):
        calibrate(maps, JUDGES, 0.01)
    names = [f"part-{number}.png" for number in range(n)]
    with pytest.raises(CalibrationError, match=said.format("part-3.png")):
        calibrate(maps, JUDGES, 0.01, names=names)


def test_next_to_no_spread_beside_one_is_none() -> None:
    maps = np.zeros((5, len(MAPS), 3, 4), np.float32)
    maps += 1e-12 * np.arange(5, dtype=np.float32)[:, None, None, None]
    maps[4] = 1
    with pytest.raises(CalibrationError, match=r"4 of the 5 .* mean of source, beside picture 5"):
        calibrate(maps, ONE, 0.2)


def test_one_far_from_the_others_has_the_score_that_their_spread_gives() -> None:
    """They have one, small as it is: nothing is made of it but itself."""
    maps = np.zeros((5, len(MAPS), 3, 4), np.float32)
    maps += 0.01 * np.arange(5, dtype=np.float32)[:, None, None, None]
    maps[4] = 9
    others = 0.01 * np.arange(4)
    expected = (9 - others.mean()) / others.std(ddof=1)
    assert calibrate(maps, ONE, 0.2).scores[-1] == pytest.approx(expected, rel=1e-5)


def test_what_a_judge_says_is_refused_likewise() -> None:
    said: Floats = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 7.0], [4.0, 0.0], [2.5, 0.0]])
    refuse_one_alone(said[:, :1], ["what norm says"], [])
    with pytest.raises(
        CalibrationError, match=r"4 of the 5 .* in what fine says, beside c\.png, .*leave c\.png"
    ):
        refuse_one_alone(said, ["what norm says", "what fine says"], [f"{c}.png" for c in "abcde"])


def test_half_of_the_images_the_same_in_all_is_refused() -> None:
    maps = good_maps(20)
    maps[:10] = maps[0]
    with pytest.raises(CalibrationError, match="10 of the 20 good images give the very same"):
        calibrate(maps, JUDGES, 0.01)
    maps[9] = good_maps(21)[20]
    calibrate(maps, JUDGES, 0.01)


def test_half_of_the_images_alike_in_one_map_is_said_by_its_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    calibrate(with_alike(20, 9), JUDGES, 0.01)
    assert not caplog.records
    found = calibrate(with_alike(20, 10), JUDGES, 0.01)
    (record,) = caplog.records
    said = "Of the 20 good images, 10 in max of fine and 10 in top of fine have the same value"
    assert record.getMessage().startswith(said)
    assert max(found.scores) < 10
