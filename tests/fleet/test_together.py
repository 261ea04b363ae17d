"""How the features of one product are divided among workers."""

from __future__ import annotations

import pytest

from nfbmr.features.cache import MOST_FILES
from nfbmr.features.chunks import CHUNK
from nfbmr.fleet.together import Picture, parts_left, parts_of


def pictures(count: int) -> list[Picture]:
    return [(f"{number}.png", f"{number:064d}") for number in range(count)]


def test_parts_are_of_whole_chunks_and_hold_each_picture_once() -> None:
    every = pictures(5 * CHUNK + 3)
    parts = parts_of(every, 1, MOST_FILES)
    assert [len(part) for part in parts] == [2 * CHUNK, 2 * CHUNK, CHUNK + 3]
    assert [one for part in parts for one in part] == every
    assert parts_of([], 2, MOST_FILES) == []


@pytest.mark.parametrize("workers", [1, 2, 40])
def test_one_that_is_begun_again_has_the_parts_of_before_whatever_is_finished(workers: int) -> None:
    """Their chunks are found by what is in a part."""
    every = pictures(60 * CHUNK + 5)
    parts = parts_left(every, (), workers)
    assert len(parts) == len(parts_of(every, workers, MOST_FILES))
    for finished in ([0], [1, 2], range(len(parts) - 1), range(len(parts))):
        there = {content for number in finished for _, content in parts[number]}
        left = [part for number, part in enumerate(parts) if number not in finished]
        assert parts_left(every, there, workers) == left


def test_what_is_there_of_a_part_is_not_computed_again() -> None:
    every = pictures(10)
    assert parts_left(every, {every[3][1]}, 2) == [[*every[:3], *every[4:]]]
