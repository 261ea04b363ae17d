"""Timing the ways of reading: all are there, and the pixels are those they should be."""

from __future__ import annotations

import pytest

from nfbmr.benchmark import reading


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SIZES", {2: (1500, 1600)})


def test_each_way_is_timed_and_compared() -> None:
    found = list(reading.rows(rounds=1))
    assert [(row["format"], row["gray"]) for row in found] == [
        ("JPEG", False),
        ("JPEG", True),
        ("PNG", False),
        ("PNG", True),
    ]
    for row in found:
        assert all(row["milliseconds"][name] > 0 for name in reading.WAYS)
        assert row["whole_is_copied"]
        assert 0 <= row["levels_apart"]["mean"] < 1
        assert (row["levels_apart"]["most"] > 0) == (row["format"] == "JPEG")
