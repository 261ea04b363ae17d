"""What is said of odd good pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nfbmr.scoring.calibrate import calibrate
from nfbmr.scoring.calibration import Calibration
from nfbmr.scoring.maps import MAPS
from nfbmr.scoring.odd import odd_ones, oddest, with_names, without_all
from nfbmr.scoring.odd_words import UNKNOWN, odd_in_words, odd_warning
from nfbmr.settings.schema import ScoringSettings

ANY = ScoringSettings(maps=("norm", "fine"), fusion="any")
ROTTEN = (3, 50, 77)


def hash_of(number: int) -> str:
    return f"{number:064x}"


def called(number: int) -> str:
    return f"part_{number}.png"


def with_rotten(more: float, *rotten: int) -> Calibration:
    maps = np.random.default_rng(0).random((200, len(MAPS), 4, 4), np.float32)
    for step, n in enumerate(rotten):
        maps[n] += more + 0.02 * step
    found = calibrate(maps, ANY, 0.005, [hash_of(n) for n in range(200)])
    return with_names(found, {hash_of(n): called(n) for n in range(200)})


def test_what_knows_no_pictures_says_so() -> None:
    older = replace(with_rotten(2, 3), pictures=(), names={}, trained={})
    assert oddest(older, ANY) == ()
    assert odd_in_words(older, ANY) == [f"{UNKNOWN}."]
    assert odd_warning(older, ANY) is None


def test_in_words_the_threshold_without_each_and_without_all() -> None:
    named = with_rotten(2, *ROTTEN)
    rest = without_all(named, ANY)
    assert rest is not None
    text = "\n".join(odd_in_words(named, ANY, 20))
    for n in ROTTEN:
        assert called(n) in text
    first = oddest(named, ANY)[0]
    assert f"{first.name}: score {first.score:.3f}; ODD; without it the threshold would be" in text
    assert f"without the {len(odd_ones(named, ANY))} odd ones about {rest:.2f}" in text
    few = odd_in_words(named, ANY, 1)
    assert f"- {len(odd_ones(named, ANY)) - 1} more odd ones" in few


@pytest.mark.parametrize(("more", "theirs"), [(0.1, False), (2, True)])
def test_where_a_picture_alone_is_the_threshold_that_is_said_aloud(
    more: float, *, theirs: bool
) -> None:
    named = with_rotten(more, 3)
    for text in (odd_warning(named, ANY) or "", odd_in_words(named, ANY)[-1]):
        assert ("THE THRESHOLD WOULD BE LESS THAN HALF AS HIGH: as it stands" in text) == theirs


def test_several_are_named_with_where_the_next_ones_are() -> None:
    text = odd_warning(with_rotten(2, *ROTTEN), ANY)
    assert text is not None
    assert all(called(n) in text for n in ROTTEN)
    assert text.endswith("among the next: nfbmr doctor MODEL lists them")
