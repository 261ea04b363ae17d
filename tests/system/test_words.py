"""Words for people."""

from __future__ import annotations

from pathlib import Path

import pytest

from nfbmr.system.words import counted, quoted


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
