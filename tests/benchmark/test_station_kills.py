"""Kills and a full disk lose no answered verdict, and what counts them would see it."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from nfbmr.benchmark.station_kills import (
    Plan,
    compared,
    full_disk,
    is_clean,
    measure,
    picture,
    small_disk,
)

pytest.importorskip("fastapi", reason="the extra [station] is not installed")

PLAN = Plan(kills=1, clients=3, size=48)


def row_of(number: int, part: str, **others: Any) -> dict[str, Any]:
    names = ("picture", "score", "verdict", "time", "bundle", "calibration")
    return {"id": number, "part_id": part, **dict.fromkeys(names, "as it was"), **others}


def test_an_answered_verdict_is_there_after_a_kill(exported: Path, tmp_path: Path) -> None:
    row = measure(exported, PLAN, f"sqlite:///{tmp_path / 'station.db'}", tmp_path / "kept")
    assert is_clean(row), row
    assert row["answered"] >= row["killed_at"][0] >= 1
    assert row["recorded"] >= row["answered"]


def test_a_full_disk_is_an_error_that_holds_the_verdict(exported: Path) -> None:
    with ExitStack() as made:
        try:
            disk = made.enter_context(small_disk(megabytes=4))
        except subprocess.CalledProcessError:
            pytest.skip("no file system can be mounted here")
        row = full_disk(exported, PLAN, disk)
    assert is_clean(row), row
    assert row["answered"] >= 1


def test_faults_are_counted_by_hand() -> None:
    answered = {name: row_of(number, name) for number, name in enumerate("abcd")}
    recorded = [
        row_of(0, "a"),
        row_of(1, "b", score="another"),
        row_of(2, "c"),
        row_of(7, "c"),
        row_of(8, "nobody heard of it"),
    ]
    found = compared(answered, recorded, None)
    assert found == {
        "answered": 4,
        "recorded": 5,
        "missing": 1,
        "twice": 1,
        "changed": 1,
        "without_picture": 0,
    }
    clean = {"row": "station kills", "chain": True, "others": {}, **dict.fromkeys(found, 0)}
    assert is_clean(clean)
    for fault in ("missing", "twice", "changed", "without_picture"):
        assert not is_clean(clean | {fault: 1})
    assert not is_clean(clean | {"chain": False})
    assert not is_clean(clean | {"others": {"500": 1}})


def test_each_picture_is_another() -> None:
    files = {picture(PLAN, number) for number in range(20)}
    assert len(files) == 20
    assert picture(PLAN, 3) in files
