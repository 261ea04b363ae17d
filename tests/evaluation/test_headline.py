"""The lines for the screen: what there is none of is not counted."""

from __future__ import annotations

from typing import Any

import pytest

from nfbmr.evaluation.headline import headline

METRICS: dict[str, Any] = {
    **dict.fromkeys(("image_auroc", "image_ap", "f1", "precision", "aupro", "pixel_auroc")),
    "false_alarm_interval": None,
    "recall": None,
    "threshold": 1.0,
    "look_threshold": 0.5,
    "look_rate_asked": 0.05,
    "n_defective_to_look_at": 0,
    "n_good_to_look_at": 1,
    "fit_seconds": 1.0,
    "inspect_ms": 2.0,
    "runtime": "torch",
}
ASKED = "(asked: 5 % of good ones, with false alarms)"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"n_defective": 0}, f"1 more good picture {ASKED}"),
        (
            {"n_defective": 1, "recall": 1.0, "n_good_to_look_at": 0},
            f"0 more defective and 0 more good pictures {ASKED}; so 1 of 1 defect is not passed as "
            "good",
        ),
        (
            {"n_defective": 4, "recall": 0.5, "n_defective_to_look_at": 1},
            f"1 more defective and 1 more good picture {ASKED}; so 3 of 4 defects are not passed "
            "as good",
        ),
    ],
)
def test_of_no_defects_none_is_said_to_be_found(found: dict[str, Any], said: str) -> None:
    assert f"for a person to look at: {said}" in headline(METRICS | found)
