"""A station under load: what clients were answered is counted, and is in the record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nfbmr.benchmark.served import served
from nfbmr.benchmark.station import bare, is_clean, loaded

pytest.importorskip("fastapi", reason="the extra [station] is not installed")


@pytest.fixture
def pictures(good_folder: Path) -> list[Path]:
    """Files of good parts."""
    return sorted(good_folder.rglob("*.png"))


def test_every_answer_is_counted_and_recorded(
    exported: Path, pictures: list[Path], tmp_path: Path
) -> None:
    options = ["--database", f"sqlite:///{tmp_path / 's.db'}", "--pictures", f"{tmp_path / 'p'}"]
    with served(exported, *options, "--waiting", "2") as station:
        row = loaded(station, exported.name, pictures, clients=4, seconds=2.0)
    assert is_clean(row), row
    assert row["recorded"] == row["answered"] > 0
    assert row["busy"] > 0, "four clients, and two places"
    waited = row["milliseconds"]
    assert 0 < waited["median"] <= waited["percentile_99"] <= waited["worst"]
    assert 0 < row["resident_mb"]["start"] <= row["resident_mb"]["most"]


def test_a_lost_verdict_or_an_error_is_found_out() -> None:
    row: dict[str, Any] = {"errors": {}, "recorded": 7, "answered": 7}
    assert is_clean(row)
    assert not is_clean(row | {"recorded": 6})
    assert not is_clean(row | {"errors": {"500": 1}})


def test_the_bare_runtime_judges_until_its_time_is_over(
    exported: Path, pictures: list[Path]
) -> None:
    row = bare(str(exported), [str(path) for path in pictures], 0.5, "auto")
    assert row["per_second"] > 0
    assert row["cpu_seconds"] > 0
    assert row["size"] == [64, 64]


def test_a_station_that_does_not_start_says_why(tmp_path: Path) -> None:
    options = ["--database", f"sqlite:///{tmp_path / 's.db'}", "--pictures", f"{tmp_path / 'p'}"]
    with (
        pytest.raises(RuntimeError, match="the station did not start"),
        served(tmp_path / "none", *options),
    ):
        pass
