"""Tables of the documents, from rows by hand."""

from __future__ import annotations

from typing import Any

from nfbmr.benchmark.blocks import judges, race


def raced(category: str, system: str, auroc: float) -> dict[str, Any]:
    return {"category": category, "system": system, "image_auroc": auroc} | {
        "aupro": None,
        "weights": ["embedded"],
    }


def test_the_present_recipe_is_ranked_among_peers_at_their_own_size() -> None:
    results = {
        "judges": [
            {"set": name, "test": {"image_auroc": auroc, "aupro": None}}
            for name, auroc in (("mono", 0.9), ("mono", 1.0), ("pill", 0.8), ("turned", 0.1))
        ],
        "peers": [raced("solar_mono", "padim", 0.94), raced("solar_mono", "nfbmr", 0.2)],
        "peers_parts": [raced("pill", "padim", 0.9), raced("pill", "padim@nfbmr", 0.99)],
    }
    lines = race(results).splitlines()
    assert lines[2] == "|  | solar_mono | pill | mean rank | mean AUROC |"
    assert sorted(lines[4:]) == [
        "| **nfbmr** | 1 | 2 | 1.50 | 87.5 |",
        "| PaDiM | 2 | 1 | 1.50 | 92.0 |",
    ]


def test_a_figure_that_not_all_rows_of_a_set_have_is_left_open() -> None:
    figures = dict.fromkeys(
        ("image_auroc", "aupro", "recall", "recall_with_look", "false_alarm_rate_observed"), 0.5
    )
    figures |= {"good_with_look": 0.1, "pointed": 0.8, "touched": 0.9}
    rows = [
        {"set": "pill", "test": figures},
        {"set": "pill", "test": figures | {"pointed_inside": 1}},
    ]
    cells = judges(rows).splitlines()[-1].split(" | ")
    assert cells[-3:] == ["80.0 ± 0.0", "-", "90.0 ± 0.0 |"]
    assert judges(rows[1:]).splitlines()[-1].split(" | ")[-2] == "100.0"
