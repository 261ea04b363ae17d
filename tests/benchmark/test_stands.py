"""What a station was seen to take is told whole, of the last row of each kind."""

from __future__ import annotations

from typing import Any

from nfbmr.benchmark.stands import table

KILLS: dict[str, Any] = {
    "row": "station kills",
    "database": "sqlite",
    "kills": 20,
    "answered": 1234,
    "missing": 0,
    "twice": 0,
    "changed": 0,
    "without_picture": 0,
}
LOAD: dict[str, Any] = {
    "row": "station load",
    "clients": 64,
    "seconds": 300.2,
    "size": [320, 256],
    "runtime": "onnx, CPU",
    "answered": 3000,
    "recorded": 3000,
    "busy": 2,
    "errors": {"500": 1},
    "milliseconds": {"median": 1500.0, "percentile_99": 2500.0, "worst": 3500.0},
    "resident_mb": {"start": 700.4, "middle": 701.0, "end": 702.0},
    "per_second": 9.0,
    "bare_per_second": 10.0,
}


def test_what_a_client_and_the_record_saw_is_told() -> None:
    said = table([LOAD])
    assert "64 clients for 300 s, 320 x 256, onnx, CPU" in said
    for figures in ("3,000, 3,000, 2, 1", "1.5, 2.5, 3.5", "700, 701, 702", "9.0, 10.0"):
        assert f"| {figures} |" in said


def test_good_parts_alone_and_defective_ones_have_lines_of_their_own() -> None:
    mixed = LOAD | {"sent": {"good": 32, "defective": 70}}
    said = table([mixed, LOAD | {"sent": {"good": 73, "defective": 0}, "per_second": 9.5}])
    assert "onnx, CPU, 32 good parts and 70 defective: verdicts" in said
    assert "onnx, CPU, good parts: verdicts" in said
    assert "| 9.5, 10.0 |" in said
    assert "| 9.0, 10.0 |" in said


def test_what_was_computed_is_told_where_it_is_known() -> None:
    assert "computed" not in table([LOAD])
    said = table([LOAD | {"cpu_ms": {"station": 170.4, "bare": 131.0}}])
    assert "ms of one core, and by the runtime alone | 170, 131 |" in said


def test_each_database_has_a_line_and_a_later_row_counts() -> None:
    said = table([KILLS, KILLS | {"database": "postgresql"}, KILLS | {"twice": 3}])
    assert said.count("killed 20 times") == 2
    assert "sqlite | 1,234 verdicts answered: 0 missing, 3 twice, 0 changed, 0 without" in said


def test_a_full_disk_and_a_product_of_ones_own_are_told() -> None:
    disk = {"row": "station full disk", "megabytes": 8.0, "answered": 90, "missing": 0}
    own = {"row": "station own product", "pictures": 25, "clicks": 5, "drops": 2}
    said = table(
        [
            disk | {"refused": {"507": 4}},
            own | {"seconds": {"learnt": 80.4}, "seconds_in_all": 91.6},
        ]
    )
    assert "90 verdicts answered, 0 missing; 4 x 507" in said
    assert "5 clicks, 2 drops, 92 s, 80 of them learning" in said
