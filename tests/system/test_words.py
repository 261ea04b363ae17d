"""Words for people."""

from __future__ import annotations

from pathlib import Path

import pytest

from nfbmr.evaluation.report.words import rarity
from nfbmr.system.words import (
    at_most_one,
    counted,
    how_unusual,
    listed_counts,
    percent,
    quoted,
    without_path,
)


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (0, ("picture",), "0 pictures"),
        (1, ("picture",), "1 picture"),
        (2, ("picture",), "2 pictures"),
        (1, ("picture is", "pictures are"), "1 picture is"),
        (3, ("picture is", "pictures are"), "3 pictures are"),
        (1.0, ("day",), "1 day"),
        (0.5, ("day",), "0.5 days"),
        (1_000_000, ("picture",), "1000000 pictures"),
    ],
)
def test_one_of_them_is_one(number: float, words: tuple[str, ...], said: str) -> None:
    assert counted(number, *words) == said


@pytest.mark.parametrize(
    ("word", "here", "on_windows"),
    [
        ("models/part", "models/part", "models/part"),
        ("my parts", "'my parts'", '"my parts"'),
        ("C:\\parts\\good", "'C:\\parts\\good'", "C:\\parts\\good"),
        ("-dash", "./-dash", "./-dash"),
        ("零件", "'零件'", "零件"),
    ],
)
def test_a_path_can_be_copied_into_a_shell(word: str, here: str, on_windows: str) -> None:
    assert quoted(word, windows=False) == quoted(Path(word), windows=False) == here
    assert quoted(word, windows=True) == on_windows


def test_how_unusual_a_part_is_in_words() -> None:
    assert how_unusual(0.0025) == "at most about one good part in 400 looks this unusual"
    assert how_unusual(2 / 49) == "at most about one good part in 24 looks this unusual"
    assert how_unusual(0.51) == "most good parts look at least this unusual"


def test_at_most_one_in_so_many_is_true_and_the_same_wherever_it_is_said() -> None:
    for n in range(2, 2000):
        for rank in range(1, 1 + n // 2):
            number = n // rank  # the largest with rank / n <= 1 / number
            assert at_most_one("part", rank / n) == f"at most about one part in {number}"
    assert rarity(2 / 49) == "at most about one good picture in 24 has such a place"


@pytest.mark.parametrize("why", ["hot/a.png: found 0 bytes", "hot/a.png found 0 bytes"])
def test_a_path_that_stands_before_is_not_said_again(why: str) -> None:
    assert without_path(why, Path("hot/a.png")) == "found 0 bytes"
    assert without_path(why, "hot/b.png") == why


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0, "0 %"),
        (0.0068, "0.68 %"),
        (0.05, "5 %"),
        (0.0949, "9.5 %"),
        (0.123, "12 %"),
        (0.9999, "99.9 %"),
        (1, "100 %"),
    ],
)
def test_a_share_is_said_in_percent(share: float, said: str) -> None:
    assert percent(share) == said


def test_counts_are_listed_by_name() -> None:
    assert listed_counts({"look": 0, "good": 31, "defect": 2}) == "2 defect, 31 good"
