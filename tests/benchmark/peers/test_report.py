"""Tables and picture of the race, from rows by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nfbmr.benchmark.peers import report

Row = dict[str, Any]


def row(category: str, system: str, seed: int, auroc: float, **given: Any) -> Row:
    values: Row = {
        **{"category": category, "system": system, "seed": seed, "image_auroc": auroc},
        **{"image_ap": 0.5, "pixel_auroc": None, "aupro": None, "fit_seconds": 10.0},
        **{"inspect_ms": 20.0, "peak_mb": 1000.0, "model_mb": 6.0, "weights": ["embedded"]},
        **{"epochs": 12, "coreset": None},
    }
    return values | given


ROWS = [
    *(row("tiles", "nfbmr", seed, 0.98 + seed / 100) for seed in (0, 1)),
    row("tiles", "padim", 0, 0.9, fit_seconds=5.0, inspect_ms=50.0),
    row("tiles", "uflow", 0, 0.999, weights=["random resnet18"]),
    row("cells", "nfbmr", 0, 0.94),
    row("cells", "padim", 0, 0.95),
]


def test_a_table_has_mean_spread_and_the_ratio_to_ours() -> None:
    text = report.tables(ROWS)
    assert "| **nfbmr** | 98.5 ± 0.7 | 50.0 ± 0.0 | - | - | 10 ± 0 | 20 ± 0 |" in text
    assert "| PaDiM | 90.0 | 50.0 | - | - | 5 (0.5x) | 50 (2.5x) |" in text


def test_a_table_says_how_much_of_what_is_documented_the_time_allowed() -> None:
    rows = [row("tiles", "fastflow", 0, 0.9), row("tiles", "patchcore", 0, 0.9, coreset=0.004)]
    text = report.tables([*rows, row("tiles", "fastflow", 1, 0.9, epochs=14)])
    assert "| 13 of 500 epochs | 2 |" in text
    assert "| 0.4 % of positions | 1 |" in text
    assert "| all | 2 |" in report.tables(ROWS)


def test_the_first_column_says_who_was_cut_off_and_who_looked_at_our_size() -> None:
    rows = [
        row("tiles", "fastflow", 0, 0.9, epochs=500),
        row("tiles", "fastflow", 1, 0.9, epochs=499),
        row("tiles", "stfpm@nfbmr", 0, 0.9, epochs=100),
        row("tiles", "patchcore", 0, 0.9, coreset=0.1),
        row("tiles", "patchcore@nfbmr", 0, 0.9, coreset=0.09),
        row("tiles", "padim@nfbmr", 0, 0.9, epochs=1),
        row("tiles", "nfbmr", 0, 0.9, epochs=None),
    ]
    heads = [line.split(" | ")[0] for line in report.tables(rows).splitlines()[4:10]]
    assert heads == [
        "| FastFlow (not trained out)",
        "| STFPM, nfbmr's size",
        "| PatchCore",
        "| PatchCore, nfbmr's size (not trained out)",
        "| PaDiM, nfbmr's size",
        "| **nfbmr**",
    ]


def test_random_weights_have_a_speed_but_no_accuracy_no_fit_and_no_rank() -> None:
    text = report.tables(ROWS)
    line = next(line for line in text.splitlines() if "U-Flow" in line)
    assert line == (
        "| U-Flow (random weights) | - | - | - | - | - | 20 (1.0x) | 1000 | 6.0 | speed alone | 1 |"
    )
    assert "U-Flow" not in text[text.index("### Rank") :]


def test_ranks_are_means_over_sets() -> None:
    ranks = report.tables(ROWS).partition("### Rank")[2]
    assert "| **nfbmr** | 1 | 2 | 1.50 | 96.2 |" in ranks
    assert "| PaDiM | 2 | 1 | 1.50 | 92.5 |" in ranks


def test_ranks_by_aupro_are_over_the_sets_with_masks() -> None:
    rows = [
        row("tiles", "nfbmr", 0, 0.99, aupro=0.8),
        row("tiles", "padim", 0, 0.9, aupro=0.9),
        row("cells", "nfbmr", 0, 0.9),
        row("cells", "padim", 0, 0.95),
    ]
    ranks = report.tables(rows).partition("### Rank by AUPRO")[2]
    assert ranks.splitlines()[2] == "|  | tiles | mean rank | mean AUPRO |"
    assert ranks.index("| PaDiM | 1 | 1.00 | 90.0 |") < ranks.index(
        "| **nfbmr** | 2 | 2.00 | 80.0 |"
    )
    assert "AUPRO" not in report.tables(ROWS).partition("### Rank")[2]


def test_a_system_that_lacks_a_set_has_no_rank() -> None:
    ranks = report.tables([*ROWS, row("tiles", "dfm", 0, 0.97)]).partition("### Rank")[2]
    assert "DFM" not in ranks


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    for suffix in ("png", "svg"):
        report.draw(ROWS, tmp_path / f"race.{suffix}")
    assert (tmp_path / "race.png").read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "race.svg").read_text(encoding="utf-8")
    assert "</svg>" in text
