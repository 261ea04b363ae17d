"""A wrong name is answered with the nearest right one."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

import pytest

from nfbmr.errors import SettingsError
from nfbmr.settings.changes import stage_with_changes, to_dict, with_changes
from nfbmr.settings.names import nearest, settings_in
from nfbmr.settings.presets import preset
from nfbmr.settings.schema import Settings, StageSettings
from nfbmr.settings.text import parse_changes


def dotted(values: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key, value in values.items():
        inner = dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]
        found += inner
    return found


def test_the_names_are_those_of_the_json_form() -> None:
    tiled = with_changes(preset("fast"), {"tiles": {"overlap": 0.5}})
    assert [setting.name for setting in settings_in(Settings)] == dotted(to_dict(tiled))
    stage = [setting.name for setting in settings_in(StageSettings, "pair.")]
    assert stage[:2] == ["pair.steps", "pair.epochs"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"flow": {"hiden": 3}}, "flow.hiden: unknown; did you mean flow.hidden?"),
        ({"hidden": 3}, "hidden: unknown; did you mean flow.hidden?"),
        ({"flwo": {"hidden": 3}}, "flwo.hidden: unknown; did you mean flow.hidden?"),
        ({"flow_hidden": 3}, "flow_hidden: unknown; did you mean flow.hidden?"),
        ({"scoring": {"kind": "bmr"}}, "scoring.kind: unknown; did you mean mapping.kind?"),
        ({"learning_rate": 1}, "learning_rate: unknown; did you mean stage_one.learning_rate?"),
        ({"stage_two": {"learning": 1}}, "unknown; did you mean stage_two.learning_rate?"),
        ({"pixelbudget": 1}, "pixelbudget: unknown; did you mean pixel_budget?"),
        ({"tiles": {"overlp": 0.3}}, "tiles.overlp: unknown; did you mean tiles.overlap?"),
        (
            {"colour": 1},
            "colour: unknown; expected one of preset, seed, size, pixel_budget, pose, tiles",
        ),
        ({"nope": {}}, "nope: unknown; expected one of preset, seed"),
        ({"gaussian": {"lr": 1}}, "gaussian.lr: unknown; expected one of rank"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        with_changes(preset("fast"), changes)
    assert said in str(caught.value)


def test_each_of_several_unknown_keys_is_answered() -> None:
    with pytest.raises(SettingsError) as caught:
        with_changes(preset("fast"), {"floww": {"hidden": 3, "blocs": 2}})
    assert str(caught.value) == (
        "settings refused: floww.hidden: unknown; did you mean flow.hidden?; "
        "floww.blocs: unknown; did you mean flow.blocks?"
    )


def test_what_stands_alone_is_named_by_its_own_name() -> None:
    stage = StageSettings(steps=3)
    assert stage_with_changes(stage, {"epochs": 2}, "pair") == StageSettings(epochs=2)
    for changes, said in (
        ({"stepps": 3}, r"refused: pair\.stepps: unknown; did you mean pair\.steps\?"),
        ({"batch": 0}, r"refused: pair\.batch: Input should be"),
        (3, "refused: pair: Input should be a dictionary"),
        ({"steps": 3, "epochs": 3}, "refused: pair: Value error, give exactly one of steps and"),
    ):
        with pytest.raises(SettingsError, match=said):
            stage_with_changes(stage, changes, "pair")


def test_nothing_alike_is_no_suggestion() -> None:
    assert nearest("lr", ["flow.hidden", "seed"]) is None
    assert nearest("sed", ["flow.hidden", "seed"]) == "seed"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scoring": {"maps": ["nrom"]}}, ', found "nrom"; did you mean norm?'),
        ({"scoring": {"maps": ["xyz"]}}, "'finest' or 'asm', found \"xyz\""),
        ({"scoring": {"maps": "norm"}}, "scoring.maps: Input should be a list, such as [64, 64]"),
        ({"size": 64}, 'or ["norm", "fine"], found 64'),
        ({"flow": {"hidden": "abc"}}, 'unable to parse string as an integer, found "abc"'),
        ({"calibration": {"look_rate": float("nan")}}, "should be a finite number, found NaN"),
        ({"seed": -1}, "seed: Input should be greater than or equal to 0, found -1"),
    ],
)
def test_what_was_found_is_said_beside_what_was_expected(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        with_changes(preset("fast"), changes)
    assert said in str(caught.value)


def is_choice(annotation: Any) -> bool:
    return get_origin(annotation) is Literal or any(map(is_choice, get_args(annotation)))


CHOICES = [setting for setting in settings_in(Settings) if is_choice(setting.annotation)]


def test_numbers_and_lists_of_words_are_choices_too() -> None:
    assert {"flow.kernel", "mapping.ends", "scoring.maps", "scoring.heat"} <= {
        setting.name for setting in CHOICES
    }


@pytest.mark.parametrize("word", ["x", "nan", "NaN", ""])
@pytest.mark.parametrize("name", [setting.name for setting in CHOICES])
def test_a_word_that_is_none_of_the_choices_is_said_whatever_they_are(name: str, word: str) -> None:
    is_list = name in ("scoring.maps", "scoring.statistics")
    value = f'["{word}"]' if is_list else word
    with pytest.raises(SettingsError, match=rf"settings refused: {name}.*, found "):
        with_changes(preset("fast"), parse_changes([f"{name}={value}"]))


def test_no_name_is_near_where_there_is_none() -> None:
    assert nearest("x", []) is None
