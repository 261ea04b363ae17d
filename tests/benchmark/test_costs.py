"""What a fleet costs is counted by hand; a row that is not there is a dash and is named."""

from __future__ import annotations

from typing import Any

from nfbmr.benchmark import costs
from nfbmr.benchmark.blocks import Results


def rows(*, measured: bool) -> Results:
    fleet = [
        {"row": "archive", "way": "1 worker", "pictures": 9, "a_second": 1.0, "side": 64},
        {"row": "archive", "way": "2 workers", "pictures": 2, "a_second": 7.0, "side": 64},
        {
            "row": "archive",
            "way": "2 workers",
            "pictures": 9,
            "a_second": 50.0,
            "side": 64,
            "model": "part",
            "results_bytes": 200,
        },
        {"row": "archive_pictures", "side": 64, "picture_bytes": 500_000, "decode_ms": 4.0},
        {"row": "archive_pictures", "side": 9, "picture_bytes": 1, "decode_ms": 1.0},
        {"row": "archive_links", "listing_mb": 1.0, "pictures": 30_000},
        {
            "row": "archive_links",
            "listing_mb": 3.0,
            "listing_seconds": 2.592,
            "pictures": 30_000,
        },
        {"row": "many products", "products": 11, "refused": 1, "fleet_seconds": 72.0},
    ]
    reading = {"format": "JPEG", "gray": False, "megapixels": 5}
    return {
        "fleet": fleet if measured else [],
        "peers": [
            {"system": "nfbmr", "inspect_ms": 50.0, "fit_seconds": 36.0},
            {"system": "padim", "inspect_ms": 1.0, "fit_seconds": 1.0},
        ],
        "kept": [
            {
                "variant": variant,
                "device": device,
                "test": {"inspect_ms": milliseconds, "fit_seconds": 18.0},
            }
            for variant, device, milliseconds in (
                ("fast", "cuda (NVIDIA H200)", 10.0),
                ("fast", "cpu", 90.0),
                ("one size", "cuda (NVIDIA H200)", 1.0),
            )
        ],
        "reading": [
            reading | {"milliseconds": {"whole": 90.0, "scaled": 36.0}},
            reading | {"gray": True, "milliseconds": {"whole": 1.0, "scaled": 1.0}},
        ],
    }


def cells(table: str) -> list[list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("| ")][1:]
    return [line.strip("| ").split(" | ")[1:] for line in lines]


def test_judging_is_pictures_over_pictures_a_second() -> None:
    assert "| 2 cores, as measured (part, 64 pixels) |" in costs.judging(rows(measured=True))
    assert cells(costs.judging(rows(measured=True))) == [
        ["50.0", "556", "23.2", "2.4", "0.3"],
        ["40.0", "694", "29.0", "3.0", "0.4"],
        ["100.0", "278", "11.7", "1.3", "0.2"],
    ]
    assert costs.judging(rows(measured=True)).endswith("Of the days the listing is 0.10.")


def test_what_is_full_first_is_bytes_and_milliseconds_times_the_rate() -> None:
    table = costs.saturation(rows(measured=True))
    assert cells(table)[0] == ["25.00", "20.00", "0.20", "0.010", "50"]
    assert "such pictures 50.00 TB are read, 111 core-hours decode, 20.0 GB of results" in table
    assert "10.0 GB are the listing." in table


def test_decoding_is_of_colour_and_for_the_gpus_rate() -> None:
    assert cells(costs.decoding(rows(measured=True))) == [["90", "36", "1,000", "3.6"]]


def test_a_plant_learns_and_judges() -> None:
    assert cells(costs.plant(rows(measured=True))) == [
        ["7.2", "2", "56", "58", "0.34"],
        ["18.0", "5", "69", "74", "0.44"],
        ["18.0", "5", "28", "33", "0.20"],
    ]


def test_rows_that_are_not_there_are_named_and_give_no_figure() -> None:
    without = rows(measured=False)
    assert cells(costs.judging(without))[0] == ["-"] * 5
    assert costs.judging(without).endswith("Not measured yet: archive, listing_seconds.")
    assert cells(costs.saturation(without)) == [["-"] * 5] * 3
    assert costs.plant(without).endswith("Not measured yet: archive, many products.")
    assert "Not measured" not in costs.plant(rows(measured=True))


def test_archives_are_told_run_by_run_with_what_kills_cost() -> None:
    archive = {"way": "2 workers", "pictures": 20_000, "model": "part", "driver_mb": 168}
    killed = {"pictures": 2000, "model": "part", "driver_mb": 165, "missing": 1, "twice": 2}
    fleet: list[dict[str, Any]] = [
        {"row": "archive", "a_second": 62.91} | archive,
        {"row": "archive_kills", "killed": "worker", "kills": 10, "nodes": 3} | killed,
        {"row": "archive_kills", "killed": "node", "kills": 1, "nodes": 3} | killed,
        {"row": "archive_links"} | killed,
        {"row": "many products"},
    ]
    said = costs.archives({"fleet": fleet})
    assert "| 2 workers, 20,000 pictures (part) | 62.9 | 168 | - |" in said
    assert "| 3 nodes, 2,000 pictures (part), 10 times a worker killed | - | 165 | 1, 2 |" in said
    assert "| 3 nodes, 2,000 pictures (part), once a node killed | - | 165 | 1, 2 |" in said
    assert "| 2 workers, 2,000 pictures (part) | - | 165 | 1, 2 |" in said
    assert said.count("\n") == 5
