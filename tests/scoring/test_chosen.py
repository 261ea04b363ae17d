"""Good pictures that people chose: said so, and a caution where odd ones were picked."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from nfbmr.scoring.chosen import Chosen

PICKED = Chosen(odd=20, of=40, odd_of_all=60, of_all=2000)
DRAWN = Chosen(odd=2, of=40, odd_of_all=100, of_all=2000)


def test_odd_ones_that_chance_would_not_choose_get_a_caution() -> None:
    assert PICKED.for_odd
    assert "20 of these 40 look or defect (50 %), and 60 of all 2000" in PICKED.describe()[0]
    assert "CAUTION" in PICKED.describe()[1]
    assert PICKED.brief.endswith("60 of 2000; CAUTION: odd ones were picked")


@pytest.mark.parametrize(
    "chosen",
    [
        DRAWN,
        Chosen(odd=0, of=40, odd_of_all=0, of_all=2000),
        Chosen(odd=9, of=9, odd_of_all=9, of_all=9),
        Chosen(odd=3, of=20, odd_of_all=100, of_all=2000),
    ],
)
def test_what_chance_chooses_is_said_without_one(chosen: Chosen) -> None:
    assert not chosen.for_odd
    assert len(chosen.describe()) == 1
    assert "CAUTION" not in chosen.brief


def test_all_of_them_are_a_hundred_percent() -> None:
    said = Chosen(odd=1, of=1, odd_of_all=2, of_all=2).describe()[0]
    assert said.count("(100 %)") == 2


def test_counts_that_contradict_one_another_are_refused() -> None:
    with pytest.raises(ValidationError, match="contradict one another"):
        Chosen(odd=5, of=6, odd_of_all=4, of_all=9)
