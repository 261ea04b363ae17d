"""The tables' systems as settings: what differs between them, and what marks a row as stale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nfbmr.errors import SettingsError
from nfbmr.paper.systems import (
    B_PFM_LATENT,
    FLOW_SYSTEMS,
    PAIR_SYSTEMS,
    SYSTEMS,
    BackboneName,
    Level,
    PairSettings,
    System,
    base_settings,
    make_system,
    pair_size,
    wanted_systems,
)
from nfbmr.settings.presets import preset
from nfbmr.settings.schema import MapName, MappingSettings, ScoringSettings, StageSettings

BACKBONES: tuple[BackboneName, ...] = ("fast", "paper")
ASM: tuple[MapName, ...] = ("asm",)


def pair_of(key: str, backbone: BackboneName = "fast", **options: Any) -> PairSettings:
    pair = make_system(key, backbone, 0, **options).pair
    assert pair is not None
    return pair


# ---- flow systems


@pytest.mark.parametrize("backbone", BACKBONES)
def test_pictures_are_read_whole_as_for_the_figures(backbone: BackboneName) -> None:
    assert base_settings(backbone).data.reading == "whole"


@pytest.mark.parametrize("backbone", BACKBONES)
def test_nf_bmr_n_differ_in_n_alone(backbone: BackboneName) -> None:
    plain = base_settings(backbone)
    for n in (1, 2, 3):
        found = make_system(f"nf-bmr-{n}", backbone, 0)
        expected = replace(
            plain,
            mapping=replace(plain.mapping, n=n),
            scoring=replace(plain.scoring, maps=ASM),
        )
        assert found == System(key=f"nf-bmr-{n}", settings=expected)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_flow_system_has_the_same_flow(backbone: BackboneName) -> None:
    systems = [make_system(key, backbone, 3) for key in FLOW_SYSTEMS]
    settings = [replace(s.settings, mapping=MappingSettings()) for s in systems]
    # `nfbmr` holds pictures out for its scale, where the paper's systems learn all.
    calibration = settings[0].calibration
    settings = [replace(s, scoring=ScoringSettings(), calibration=calibration) for s in settings]
    assert settings == [settings[0]] * len(FLOW_SYSTEMS)
    assert settings[0].seed == 3


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_flow_alone_judges_by_its_likelihood(backbone: BackboneName) -> None:
    settings = make_system("nf", backbone, 0).settings
    assert settings.mapping.kind == "none"
    assert settings.scoring == replace(base_settings(backbone).scoring, maps=("likelihood",))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_nfbmr_is_nf_bmr_2_with_a_score_of_its_own(backbone: BackboneName) -> None:
    own, papers = (make_system(key, backbone, 0).settings for key in ("nfbmr", "nf-bmr-2"))
    assert own.scoring == ScoringSettings()
    # Its scale of several statistics needs pictures that did not train; the paper's score does not.
    same = replace(own, scoring=papers.scoring, calibration=papers.calibration)
    assert same == papers
    assert own.calibration == replace(preset(backbone).calibration, everyone=False, folded_below=0)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_scores_are_averages_and_what_trained_calibrates_no_threshold(
    backbone: BackboneName,
) -> None:
    for key in SYSTEMS:
        settings = make_system(key, backbone, 0).settings
        assert settings.scoring.fusion == "mean"
        assert settings.scoring.heat is None
        assert not settings.calibration.everyone


def test_the_papers_systems_learn_every_good_picture_and_plain_y() -> None:
    for key in set(SYSTEMS) - {"nfbmr"}:
        settings = make_system(key, "paper", 0).settings
        assert settings.calibration.held_out == 0
        assert (settings.standardise, settings.flow.loss) == ("none", "position")
    assert preset("paper").calibration.held_out == 0.2  # for verdicts
    given = make_system("nf", "paper", 0, changes={"calibration": {"held_out": 0.25}})
    assert given.settings.calibration.held_out == 0.25


@pytest.mark.parametrize(
    ("key", "backbone", "changes"),
    [
        ("nf", "fast", {"calibration": {"held_out": 0}}),
        ("nfbmr", "fast", {"calibration": {"held_out": 0}}),
        ("nfbmr", "paper", {"calibration": {"held_out": 0}}),
        ("nf-bmr-2", "paper", {"scoring": {"statistics": ["max", "mean"]}}),
    ],
)
def test_scales_of_several_statistics_never_come_from_what_trained(
    key: str, backbone: BackboneName, changes: dict[str, Any]
) -> None:
    with pytest.raises(SettingsError, match=r"calibration.held_out 0: .* needs good pictures"):
        make_system(key, backbone, 0, changes=changes)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_nf_b_pfm_has_the_published_width(backbone: BackboneName) -> None:
    mapping = make_system("nf-b-pfm", backbone, 0).settings.mapping
    assert (mapping.kind, mapping.latent) == ("b-pfm", B_PFM_LATENT) == ("b-pfm", 400)


def test_scores_of_the_paper_are_a_maps_maximum() -> None:
    for key in SYSTEMS:
        scoring = make_system(key, "paper", 0).settings.scoring
        own = key == "nfbmr"
        assert scoring.statistics == (("max", "top", "mean") if own else ("max",))
        assert len(scoring.maps) == (4 if own else 1)


# ---- pairs


def test_pairs_are_those_of_wan_et_al() -> None:
    levels = (
        Level(source="layer1", target="layer1", latent=200),
        Level(source="layer2", target="layer2", latent=400),
        Level(source="layer3", target="layer3", latent=900),
    )
    stage = StageSettings(
        epochs=200, batch=8, learning_rate=3e-4, schedule="constant", clip_norm=None,
        weight_decay=1e-5, precision="float32",
    )  # fmt: skip
    expected = PairSettings(
        source="resnet34.tv_in1k",
        target="resnet50.tv_in1k",
        source_weights="hub",
        target_weights="hub",
        levels=levels,
        one_way=False,
        stage=stage,
    )
    assert pair_of("mb-pfm", "paper") == expected
    assert pair_of("b-pfm", "paper") == replace(expected, levels=levels[-1:])
    assert pair_of("pfm", "paper") == replace(expected, levels=levels[-1:], one_way=True)
    assert pair_size("paper", (768, 768)) == (256, 256)


def test_fast_pairs_have_three_levels_or_the_deepest() -> None:
    whole = pair_of("mb-pfm")
    assert (whole.source, whole.target) == ("tf_efficientnet_lite0", "tf_efficientnet_lite2")
    assert [(level.source, level.target, level.latent) for level in whole.levels] == [
        (2, 2, 64),
        (3, 3, 128),
        (5, 5, 256),
    ]
    assert pair_of("b-pfm") == replace(whole, levels=whole.levels[-1:])
    assert pair_of("pfm") == replace(whole, levels=whole.levels[-1:], one_way=True)
    assert (whole.stage.batch_of, whole.stage.steps) == ("positions", 600)
    assert pair_size("fast", (320, 288)) == (320, 288)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_one_way_scores_the_target_and_two_ways_the_sum(backbone: BackboneName) -> None:
    maps = {key: make_system(key, backbone, 0).settings.scoring.maps for key in PAIR_SYSTEMS}
    assert maps == {"pfm": ("target",), "b-pfm": ASM, "mb-pfm": ASM}


# ---- what is asked for


def test_changes_reach_every_flow_system() -> None:
    changes = {"flow": {"hidden": 32}, "mapping": {"latent": 24}, "size": [64, 96]}
    for key in FLOW_SYSTEMS:
        settings = make_system(key, "fast", 0, changes=changes).settings
        assert (settings.flow.hidden, settings.size) == (32, (64, 96))
        assert settings.mapping.latent == (B_PFM_LATENT if key == "nf-b-pfm" else 24)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mapping": {"n": 1}}, r"--set mapping\.n"),
        ({"mapping": {"kind": "b-pfm"}}, r"--set mapping\.kind"),
        ({"scoring": {"maps": ["norm"]}}, r"--set scoring\.maps"),
        ({"scoring": {"fusion": "any"}}, r"--set scoring\.fusion"),
        ({"calibration": {"everyone": True}}, r"--set calibration\.everyone"),
        ({"seed": 3}, "--set seed"),
    ],
)
def test_what_makes_a_system_is_not_to_be_set(changes: dict[str, Any], said: str) -> None:
    for key in SYSTEMS:
        with pytest.raises(SettingsError, match=said):
            make_system(key, "fast", 0, changes=changes)


def test_weights_of_a_network_that_takes_no_part_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"--weights resnet34=.*resnet34\.tv_in1k"):
        make_system("nf", "paper", 0, weights={"resnet34": "r34.pth"})


def test_changes_under_pair_are_of_the_pairs_stage_alone() -> None:
    changes = {"pair": {"epochs": 2, "batch_of": "images"}}
    plain = pair_of("b-pfm")
    changed = make_system("b-pfm", "fast", 4, changes=changes)
    stage = replace(plain.stage, steps=None, epochs=2, batch_of="images")
    assert changed.pair == replace(plain, stage=stage)
    assert changed.settings == make_system("b-pfm", "fast", 4).settings
    assert make_system("nf", "fast", 4, changes=changes) == make_system("nf", "fast", 4)
    assert changes == {"pair": {"epochs": 2, "batch_of": "images"}}, "the caller's are kept"


@pytest.mark.parametrize(
    ("key", "changes", "said"),
    [
        ("nf", {"flow": {"hiden": 3}}, r"flow\.hiden"),
        ("nf", {"flow": {"blocks": 0}}, r"flow\.blocks"),
        ("b-pfm", {"flow": {"blocks": 0}}, r"flow\.blocks"),
        ("b-pfm", {"pair": {"stepps": 3}}, r"did you mean pair\.steps\?"),
        ("b-pfm", {"pair": {"batch": 0}}, r"pair\.batch"),
        ("b-pfm", {"pair": 3}, "pair: Input should be a dictionary"),
        ("b-pfm", {"pair": {"steps": 3, "epochs": 3}}, "pair: .*exactly one of steps and epochs"),
    ],
)
def test_what_is_no_setting_is_refused(key: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        make_system(key, "fast", 0, changes=changes)


def test_weights_go_to_the_network_of_their_name_and_else_to_snn() -> None:
    def weights_of(key: str, weights: dict[str, str]) -> str:
        return make_system(key, "paper", 0, weights=weights).settings.backbone.weights

    b5 = "tf_efficientnet_b5.aa_in1k"
    assert weights_of("nf", {}) == "hub"
    assert weights_of("nf", {"": "a.pth"}) == "a.pth"
    assert weights_of("nf", {b5: "b.pth", "": "a.pth"}) == "b.pth"
    assert weights_of("nf", {"resnet34.tv_in1k": "r.pth"}) == "hub"
    pair = pair_of("b-pfm", "paper", weights={"": "a.pth", "resnet34.tv_in1k": "r.pth"})
    assert (pair.source_weights, pair.target_weights) == ("r.pth", "hub")


def test_random_weights_of_snn_are_random_ones_of_pairs_too() -> None:
    for backbone in BACKBONES:
        pair = pair_of("mb-pfm", backbone, weights={"": "random"})
        assert (pair.source_weights, pair.target_weights) == ("random", "random")
    named = {"": "random", "tf_efficientnet_lite2": "embedded"}
    pair = pair_of("mb-pfm", weights=named)
    assert (pair.source_weights, pair.target_weights) == ("random", "embedded")


# ---- marks


@pytest.mark.parametrize("key", SYSTEMS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_mark_is_the_same_for_the_same_and_of_each_system_its_own(
    key: str, backbone: BackboneName
) -> None:
    mark = make_system(key, backbone, 0).mark("pictures")
    assert len(mark) == 12
    assert int(mark, 16) >= 0
    assert make_system(key, backbone, 0).mark("pictures") == mark
    others = [make_system(other, backbone, 0) for other in SYSTEMS if other != key]
    assert mark not in {other.mark("pictures") for other in others}


@pytest.mark.parametrize(
    ("key", "changes"),
    [("nf-bmr-2", {"flow": {"hidden": 32}}), ("b-pfm", {"pair": {"steps": 7}})],
)
def test_a_mark_changes_with_settings_seed_and_pictures(key: str, changes: dict[str, Any]) -> None:
    plain = make_system(key, "fast", 0)
    marks = {
        plain.mark("pictures"),
        plain.mark("others"),
        make_system(key, "fast", 1).mark("pictures"),
        make_system(key, "paper", 0).mark("pictures"),
        make_system(key, "fast", 0, weights={"": "random"}).mark("pictures"),
        make_system(key, "fast", 0, changes=changes).mark("pictures"),
    }
    assert len(marks) == 6


def of_snn(path: Path) -> System:
    return make_system("nf-bmr-2", "fast", 0, weights={"": str(path)})


def of_pair(path: Path) -> System:
    return make_system("b-pfm", "fast", 0, weights={"tf_efficientnet_lite2": str(path)})


@pytest.mark.parametrize("make", [of_snn, of_pair])
def test_a_mark_knows_the_bytes_of_a_weights_file_and_not_its_place(
    make: Callable[[Path], System], tmp_path: Path
) -> None:
    first, moved, other = tmp_path / "a.pth", tmp_path / "elsewhere.pth", tmp_path / "b.pth"
    first.write_bytes(b"weights")
    moved.write_bytes(b"weights")
    other.write_bytes(b"Weights")
    marks = [make(path).mark("pictures") for path in (first, moved, other)]
    assert marks[0] == marks[1]
    assert len({*marks, make(first).mark("others")}) == 3
    first.write_bytes(b"Weights")
    assert make(first).mark("pictures") == marks[2]


def test_a_weights_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.pth: cannot be read \(No such file"):
        of_pair(tmp_path / "absent.pth").mark("pictures")


# ---- which systems


def test_systems_of_the_tables_in_the_order_to_run() -> None:
    baselines = ["nf-bmr-2", "nfbmr", "pfm", "b-pfm", "mb-pfm"]
    everything = (1, 2, 3, 4, 5)
    assert wanted_systems("mvtec", everything, ()) == list(SYSTEMS)
    assert wanted_systems("other", everything, ()) == list(SYSTEMS)
    assert wanted_systems("dagm", everything, ()) == baselines
    assert wanted_systems("mvtec", (1,), ()) == baselines
    assert wanted_systems("mvtec", (2,), ()) == ["nf-bmr-2"]
    assert wanted_systems("mvtec", (5,), ()) == list(FLOW_SYSTEMS)
    assert wanted_systems("mvtec", (3, 4), ()) == []
    assert wanted_systems("other", (2,), ()) == []


def test_only_the_systems_asked_for_and_none_that_no_table_needs() -> None:
    assert wanted_systems("mvtec", (1, 5), ("mb-pfm", "nf")) == ["nf", "mb-pfm"]
    assert wanted_systems("dagm", (3,), ("mb-pfm", "nf")) == ["mb-pfm"]


def test_unknown_tables_and_systems_are_refused() -> None:
    with pytest.raises(SettingsError, match="table 0, 6: found no such table; expected 1 to 5"):
        wanted_systems("mvtec", (0, 1, 6), ())
    with pytest.raises(SettingsError, match=r"system nf-bmr-4: unknown.*nf-bmr-3"):
        wanted_systems("mvtec", (1,), ("nf", "nf-bmr-4"))
