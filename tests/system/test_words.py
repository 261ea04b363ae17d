"""Words for people."""

from __future__ import annotations

import pytest

from nfbmr.system.words import counted


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (0, ("picture",), "0 pictures"),
        (1, ("picture",), "1 picture"),
        (2, ("picture",), "2 pictures"),
        (1, ("picture is", "pictures are"), "1 picture is"),
        (3, ("picture is", "pictures are"), "3 pictures are"),
    ],
)
def test_one_of_them_is_one(number: int, words: tuple[str, ...], said: str) -> None:
    assert counted(number, *words) == said
