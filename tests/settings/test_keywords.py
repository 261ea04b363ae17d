"""Single settings as keywords: short words spelt out, groups joined, contradictions refused."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from nfbmr.errors import SettingsError
from nfbmr.settings.changes import with_changes
from nfbmr.settings.keywords import Keywords, nested
from nfbmr.settings.presets import preset
from nfbmr.settings.schema import Settings, TileSettings


def test_every_setting_has_its_keyword() -> None:
    # The first argument of `fit` is called `data`, so that group has its one setting's name.
    names = {field.name for field in fields(Settings)} - {"preset", "data"}
    short = {"false_alarm_rate", "look_rate", "weights", "white"}
    assert set(Keywords.__annotations__) == names | short


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({}, {}),
        ({"seed": 3}, {"seed": 3}),
        ({"size": 64}, {"size": (64, 64)}),
        ({"size": [64, 96]}, {"size": [64, 96]}),
        ({"size": None}, {"size": None}),
        ({"tiles": True}, {"tiles": {}}),
        ({"tiles": False}, {"tiles": None}),
        ({"tiles": {"overlap": 0.5}}, {"tiles": {"overlap": 0.5}}),
        ({"backbone": "resnet18"}, {"backbone": {"name": "resnet18"}}),
        (
            {"backbone": {"stages": [3]}, "weights": "random"},
            {"backbone": {"stages": [3], "weights": "random"}},
        ),
        (
            {"calibration": {"held_out": 0.3}, "false_alarm_rate": 0.1},
            {"calibration": {"held_out": 0.3, "false_alarm_rate": 0.1}},
        ),
        ({"look_rate": 0.1}, {"calibration": {"look_rate": 0.1}}),
        ({"white": 4095}, {"data": {"white": 4095}}),
        ({"no_such": 1}, {"no_such": 1}),
    ],
)
def test_short_words_are_spelt_out(keywords: Keywords, expected: dict[str, Any]) -> None:
    assert nested(keywords) == expected


def test_keywords_win_over_changes_and_groups_are_joined() -> None:
    changes = {"seed": 1, "flow": {"hidden": 8, "blocks": 2}, "tiles": {"overlap": 0.5}}
    found = nested({"seed": 2, "flow": {"hidden": 16}, "tiles": True}, changes)
    assert found == {"seed": 2, "flow": {"hidden": 16, "blocks": 2}, "tiles": {"overlap": 0.5}}
    assert changes["flow"] == {"hidden": 8, "blocks": 2}, "what was given is left as it was"


def test_they_change_settings() -> None:
    fast = preset("fast")
    found = with_changes(fast, nested({"tiles": True, "size": 64, "stage_one": {"steps": 5}}))
    assert (found.tiles, found.size) == (TileSettings(), (64, 64))
    assert (found.stage_one.steps, found.stage_one.epochs) == (5, None)
    assert with_changes(found, nested({"tiles": False})).tiles is None
    assert with_changes(fast, nested({})) == fast


@pytest.mark.parametrize(
    ("keywords", "changes", "said"),
    [
        (
            {"false_alarm_rate": 0.1},
            {"calibration": 3},
            "calibration.false_alarm_rate: calibration",
        ),
        ({"weights": "hub"}, {"backbone": "resnet18"}, "backbone.weights: backbone was given a"),
        ({}, {"preset": "paper"}, "preset paper: found among single settings; choose it as"),
    ],
)
def test_what_contradicts_itself_is_refused(
    keywords: Keywords, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        nested(keywords, changes)
