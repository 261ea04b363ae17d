"""The three presets: `fast`, `accurate` and `paper`."""

from __future__ import annotations

from dataclasses import replace

from nfbmr.errors import SettingsError
from nfbmr.settings.schema import (
    BackboneSettings,
    CalibrationSettings,
    DataSettings,
    FlowSettings,
    GaussianSettings,
    LocalSettings,
    MappingSettings,
    ScoringSettings,
    Settings,
    StageSettings,
    SubspaceSettings,
)


def _fast() -> Settings:
    return Settings(
        preset="fast",
        data=DataSettings(reading="scaled"),
        # The picture at three sizes: fine detail, and what surrounds it (docs/research.md).
        backbone=BackboneSettings(
            stages=(6,),
            scales=(0.7, 0.5),
            scale_stages=((6, 5), (6,)),
            detail=(5, 4, 3),
            detail_neighbours=True,
            finest=3,
        ),
        flow=FlowSettings(dropout=0.1, position=6),
        # Positions are independent vectors for a 1x1 flow: drawing them from all images at once
        # makes each step see the whole variety, and matrix products beat small convolutions.
        # Passes, not steps: a fixed number of steps that suits many images overfits few, which
        # the likelihood of held-out good images shows. The upper bound keeps the time short.
        stage_one=StageSettings(
            epochs=10,
            least_steps=25,
            most_steps=600,
            batch=1024,
            batch_of="positions",
            learning_rate=2e-3,
        ),
        stage_two=StageSettings(steps=300, batch=8, learning_rate=1e-3),
        # On these features BMR's errors add nothing to what TNF knows (docs/research.md), at half
        # of the cost.
        mapping=MappingSettings(kind="none"),
        gaussian=GaussianSettings(rank=192),
        local=LocalSettings(rank=64),
        subspace=SubspaceSettings(rank=0),
        # Two judges of a position of y that err on different pictures, and one of small things on
        # finer grids, joined by the root mean square of what they see above typical.
        scoring=ScoringSettings(
            maps=("norm", "distance", "fine", "finest"),
            statistics=("max", "top"),
            fusion="squares",
            rims=4,
        ),
        calibration=CalibrationSettings(everyone=True, folded_below=80),
    )


def _accurate() -> Settings:
    fast = _fast()
    return replace(
        fast,
        preset="accurate",
        pixel_budget=448 * 448,
        backbone=replace(fast.backbone, name="tf_efficientnet_lite2"),
        flow=replace(fast.flow, hidden=1024),
        stage_one=replace(fast.stage_one, most_steps=1200),
    )


def _paper() -> Settings:
    # Section 4.2. The kernel of the sub-networks and the inner width are not given there.
    return Settings(
        preset="paper",
        size=(768, 768),
        pose="off",
        backbone=BackboneSettings(
            name="tf_efficientnet_b5.aa_in1k",
            stages=(6,),
            neighbours=False,
            padding="static",
            weights="hub",
        ),
        # Eq. 8 and eq. 14 as they stand: the sum over channels, of plain y.
        standardise="none",
        flow=FlowSettings(hidden=1024, loss="position"),
        mapping=MappingSettings(latent=1024, inner=1024),
        stage_one=StageSettings(
            epochs=300, batch=8, learning_rate=2e-4, schedule="constant", precision="float32"
        ),
        stage_two=StageSettings(
            epochs=300,
            batch=8,
            learning_rate=3e-4,
            schedule="constant",
            clip_norm=None,
            precision="float32",
        ),
        # Eq. 14's map; how it becomes one number is not given, B-PFM takes the maximum.
        scoring=ScoringSettings(maps=("asm",), statistics=("max",)),
    )


_PRESETS = {"fast": _fast, "accurate": _accurate, "paper": _paper}


def preset(name: str) -> Settings:
    """Returns the settings of `fast`, `accurate` or `paper`.

    Raises:
        SettingsError: no preset has this name.
    """
    if name not in _PRESETS:
        raise SettingsError(
            f"preset '{name}' is unknown; choose one of {', '.join(_PRESETS)}, "
            "and change single settings from there"
        )
    return _PRESETS[name]()
