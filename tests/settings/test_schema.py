"""Settings: there and back through JSON, checked, frozen, and named when they are wrong."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from nfbmr.errors import SettingsError
from nfbmr.settings.changes import from_dict, settings_hash, to_dict, with_changes
from nfbmr.settings.presets import preset

PRESETS = ("fast", "accurate", "paper")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name: str) -> None:
    settings = preset(name)
    assert settings.preset == name
    back = from_dict(json.loads(json.dumps(to_dict(settings))))
    assert back == settings
    assert settings_hash(back) == settings_hash(settings)


def test_presets_differ() -> None:
    assert len({settings_hash(preset(name)) for name in PRESETS}) == len(PRESETS)


def test_paper_is_the_papers() -> None:
    paper = preset("paper")
    assert paper.size == (768, 768)
    assert paper.backbone.stages == (6,)
    assert paper.mapping.n == 2
    assert (paper.stage_one.epochs, paper.stage_one.learning_rate) == (300, 2e-4)
    assert (paper.stage_two.epochs, paper.stage_two.learning_rate) == (300, 3e-4)
    assert paper.stage_one.batch == paper.stage_two.batch == 8
    assert (paper.scoring.maps, paper.scoring.statistics) == (("asm",), ("max",))


def test_fast_and_accurate_look_at_three_sizes_and_the_detail() -> None:
    for settings in (preset("fast"), preset("accurate")):
        assert settings.backbone.stages == (6,)
        assert settings.backbone.scales == (0.7, 0.5)
        assert settings.backbone.scale_stages == ((6, 5), (6,))
        assert settings.backbone.detail == (5, 4, 3)
        assert settings.backbone.finest == 3
        assert settings.flow.position == 6
        assert (settings.local.rank, settings.gaussian.rank) == (64, 192)
        assert settings.scoring.maps == ("norm", "distance", "fine", "finest")
        assert settings.scoring.fusion == "squares"
        assert settings.scoring.statistics == ("max", "top")
        assert settings.calibration.everyone


def test_paper_has_nothing_that_the_paper_has_not() -> None:
    paper = preset("paper")
    assert (paper.backbone.scales, paper.backbone.scale_stages) == ((), ())
    assert paper.backbone.detail is None
    assert paper.gaussian.rank == 0
    assert paper.flow.position == 0
    assert paper.flow.dropout == 0
    assert paper.scoring.heat is None


def test_copies_without_stages_of_their_own_are_no_clash() -> None:
    backbone = with_changes(preset("fast"), {"backbone": {"scale_stages": []}}).backbone
    assert (backbone.scales, backbone.scale_stages) == ((0.7, 0.5), ())


def test_detail_is_left_out_together_with_its_maps() -> None:
    changes = {"backbone": {"detail": None}, "scoring": {"maps": ["norm"]}}
    changed = with_changes(preset("fast"), changes)
    assert changed.backbone.detail is None
    assert changed.scoring.maps == ("norm",)
    kept = with_changes(preset("fast"), {"scoring": {"maps": ["norm"]}})
    assert kept.backbone.detail == (5, 4, 3), "detail that no map shows is no clash"


def test_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"'quick' is unknown.*fast, accurate, paper"):
        preset("quick")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"colour": 1}, r"colour"),
        ({"flow": {"hiden": 8}}, r"flow\.hiden"),
        ({"flow": {"hidden": 0}}, r"flow\.hidden"),
        ({"flow": {"kernel": 5}}, r"flow\.kernel"),
        ({"flow": {"clamp": float("nan")}}, r"flow\.clamp"),
        ({"flow": {"blocks": "many"}}, r"flow\.blocks"),
        ({"flow": 3}, r"flow"),
        ({"mapping": {"kind": "unet"}}, r"mapping\.kind"),
        ({"stage_two": {"learning_rate": float("inf")}}, r"stage_two\.learning_rate"),
        ({"stage_two": {"weight_decay": -1}}, r"stage_two\.weight_decay"),
        ({"calibration": {"false_alarm_rate": 0}}, r"calibration\.false_alarm_rate"),
        ({"calibration": {"false_alarm_rate": 1}}, r"calibration\.false_alarm_rate"),
        ({"seed": -1}, r"seed"),
        ({"seed": 2**32}, r"seed"),
        ({"size": [64]}, r"size"),
        ({"size": [0, 64]}, r"size"),
        ({"flow": {"dropout": 1}}, r"flow\.dropout"),
        ({"flow": {"dropout": -0.1}}, r"flow\.dropout"),
        ({"scoring": {"heat": "asm,norm"}}, r"scoring\.heat"),
        ({"backbone": {"stages": []}}, r"backbone.*at least one stage"),
        ({"scoring": {"maps": ["source", "source"]}}, r"scoring.*each name once"),
        ({"scoring": {"statistics": []}}, r"scoring.*at least one"),
        ({"scoring": {"maps": ["colour"]}}, r"scoring\.maps"),
        ({"flow": {"position": -1}}, r"flow\.position"),
        ({"flow": {"position": 33}}, r"flow\.position"),
        ({"gaussian": {"rank": -1}}, r"gaussian\.rank"),
        ({"gaussian": {"rank": 4097}}, r"gaussian\.rank"),
        ({"subspace": {"rank": -1}}, r"subspace\.rank"),
        ({"subspace": {"rank": 4097}}, r"subspace\.rank"),
        ({"backbone": {"detail": [5.5]}}, r"backbone\.detail"),
        ({"backbone": {"scale_stages": [6, 5]}}, r"backbone\.scale_stages"),
        ({"mm_per_pixel": 1e300}, r"mm_per_pixel: .*less than or equal to 1000, found 1e\+300"),
        ({"mm_per_pixel": 1000.1}, r"mm_per_pixel: .*found 1000\.1"),
        ({"mm_per_pixel": 9e-7}, r"mm_per_pixel: .*equal to 0\.000001, found 9e-07"),
        ({"mm_per_pixel": 0}, r"mm_per_pixel"),
    ],
)
def test_wrong_settings_are_refused_by_name(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        with_changes(preset("fast"), changes)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"stage_one": {"steps": 5, "epochs": 3}}, "exactly one of steps and epochs"),
        ({"stage_two": {"steps": 5, "epochs": 3}}, "exactly one of steps and epochs"),
        ({"stage_two": {"steps": None}}, "exactly one of steps and epochs"),
        ({"stage_one": {"least_steps": 9, "most_steps": 8}}, "most_steps is below least_steps"),
        ({"flow": {"kernel": 3}}, "3x3 kernel needs batch_of = images"),
        ({"stage_two": {"batch_of": "positions"}}, "mapping sees neighbours"),
        ({"scoring": {"maps": ["target"]}}, "kind none makes no mapping errors"),
        ({"scoring": {"heat": "source", "fusion": "mean"}}, "kind none makes no mapping errors"),
        ({"backbone": {"scale_stages": [[6]]}}, "each of the 2 scales, or none at all; found 1"),
        ({"backbone": {"scales": [0.5]}}, "each of the 1 scales, or none at all; found 2"),
        ({"backbone": {"scales": []}}, "each of the 0 scales, or none at all; found 2"),
        ({"backbone": {"scale_stages": [[6], []]}}, "at least one stage for each scale"),
        ({"gaussian": {"rank": 0}}, r"distance.*give gaussian\.rank"),
        (
            {
                "gaussian": {"rank": 0},
                "scoring": {"maps": ["norm"], "heat": "distance", "fusion": "mean"},
            },
            r"distance.*give gaussian\.rank",
        ),
        ({"backbone": {"detail": None}}, r"fine.*name them as backbone\.detail"),
        ({"local": {"rank": 0}}, r"fine.*give local\.rank"),
        ({"backbone": {"detail": []}}, r"detail: at least one stage, or null"),
        ({"scoring": {"heat": "fine"}}, r"heat: with fusion 'squares'.*fusion 'mean'"),
        (
            {"scoring": {"heat": "fine", "fusion": "any"}},
            r"heat: with fusion 'any'.*fusion 'mean'",
        ),
        (
            {"scoring": {"maps": ["residual"]}, "calibration": {"everyone": False}},
            r"residual.*give subspace\.rank",
        ),
        (
            {"scoring": {"maps": ["residual"]}, "subspace": {"rank": 8}},
            r"calibration\.everyone: the residual",
        ),
    ],
)
def test_settings_that_clash_are_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        with_changes(preset("fast"), changes)


@pytest.mark.parametrize("values", [None, 3, [], "fast"])
def test_something_else_than_settings_is_refused(values: object) -> None:
    with pytest.raises(SettingsError, match="settings refused"):
        from_dict(values)


def test_every_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        with_changes(preset("fast"), {"flow": {"hidden": 0}, "mapping": {"n": 0}})
    assert "flow.hidden" in str(caught.value)
    assert "mapping.n" in str(caught.value)


def test_changes_leave_the_rest_and_the_original() -> None:
    fast = preset("fast")
    changed = with_changes(fast, {"flow": {"hidden": 16}, "size": [64, 96]})
    assert (changed.flow.hidden, changed.size) == (16, (64, 96))
    assert changed.flow.blocks == fast.flow.blocks
    assert with_changes(changed, {"flow": {"hidden": fast.flow.hidden}, "size": None}) == fast
    assert fast == preset("fast")


def test_to_give_steps_is_to_drop_epochs_and_the_other_way_round() -> None:
    fast = preset("fast")
    one = with_changes(fast, {"stage_one": {"steps": 5}, "stage_two": {"epochs": 3}})
    assert (one.stage_one.steps, one.stage_one.epochs) == (5, None)
    assert (one.stage_two.steps, one.stage_two.epochs) == (None, 3)
    assert one.stage_one.batch == fast.stage_one.batch
    back = {
        "stage_one": {"epochs": fast.stage_one.epochs, "steps": None},
        "stage_two": {"steps": 300},
    }
    assert with_changes(one, back) == fast


def test_hash_ignores_the_seed_and_nothing_else() -> None:
    fast = preset("fast")
    expected = settings_hash(fast)
    assert settings_hash(with_changes(fast, {"seed": 7})) == expected
    changes: list[dict[str, Any]] = [
        {"size": [64, 64]},
        {"pixel_budget": 128 * 128},
        {"backbone": {"weights": "random"}},
        {"flow": {"clamp": 2.0}},
        {"flow": {"dropout": 0.2}},
        {"flow": {"position": 5}},
        {"gaussian": {"rank": 64}},
        {"subspace": {"rank": 64}},
        {"local": {"rank": 32}},
        {"backbone": {"detail": 4}},
        {"backbone": {"scale_stages": [[6], [6]]}},
        {"scoring": {"fusion": "mean"}},
        {"calibration": {"everyone": False}},
        {"mapping": {"inner": 7}},
        {"stage_one": {"batch": 7}},
        {"stage_two": {"clip_norm": None}},
        {"scoring": {"top_share": 0.5}},
        {"calibration": {"false_alarm_rate": 0.5}},
    ]
    hashes = {settings_hash(with_changes(fast, change)) for change in changes}
    assert len(hashes | {expected}) == len(changes) + 1


def test_settings_are_frozen() -> None:
    fast = preset("fast")
    with pytest.raises(dataclasses.FrozenInstanceError):
        fast.seed = 1  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        fast.flow.hidden = 1  # type: ignore[misc]
    assert hash(fast) == hash(preset("fast"))


@pytest.mark.parametrize(
    "changes",
    [
        {"size": [31, 64]},
        {"size": [64, 10**6]},
        {"flow": {"hidden": 10**9}},
        {"flow": {"blocks": 10**7}},
        {"mapping": {"n": 10**7}},
        {"stage_one": {"batch": 10**12}},
        {"calibration": {"false_alarm_rate": 1e-320}},
    ],
)
def test_values_that_no_machine_could_serve_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="should be"):
        with_changes(preset("fast"), changes)


@pytest.mark.parametrize("value", [1e-6, 0.05, 1, 1e3])
def test_pixels_from_a_nanometre_to_a_metre_are_taken(value: float) -> None:
    assert with_changes(preset("fast"), {"mm_per_pixel": value}).mm_per_pixel == value
