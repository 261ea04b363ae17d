"""The rows of the paper's tables: each system as settings of what `fit` learns.

Rows 1 to 3 of Table 5 are NF-BMR with n residual blocks a side, row 4 has B-PFM's nets instead of
BMR, the last row is TNF alone. PFM, B-PFM and MB-PFM (Wan et al. 2022) are the baseline: two
frozen networks and no flow; see `pairs`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from nfbmr.errors import SettingsError
from nfbmr.settings.changes import stage_with_changes, to_dict, with_changes
from nfbmr.settings.presets import preset
from nfbmr.settings.schema import (
    BackboneSettings,
    CalibrationSettings,
    DataSettings,
    FlowSettings,
    GaussianSettings,
    LocalSettings,
    MapName,
    MappingSettings,
    ScoringSettings,
    Settings,
    StageSettings,
    SubspaceSettings,
    weights_kind,
)

BackboneName = Literal["paper", "fast"]

B_PFM_LATENT = 400
"""c of the nets in `nf-b-pfm`, which the paper does not give: as published for 512 channels."""


@dataclass(frozen=True, kw_only=True)
class _Line:
    """What makes a system, beside what all of them have in common."""

    mapping: dict[str, Any] = field(default_factory=dict)
    """Settings of the mapping."""
    maps: tuple[MapName, ...] | None
    """That make the score; None: nfbmr's own score."""
    levels: int = 0
    """Of a pair, counted from the deepest; a system without has a flow."""
    one_way: bool = False
    """Of a pair: from source to target alone."""


_ASM: tuple[MapName, ...] = ("asm",)
_LINES = {  # in the order to run: a flow system goes on from what the one before it trained
    "nf": _Line(mapping={"kind": "none"}, maps=("likelihood",)),
    "nf-bmr-2": _Line(mapping={"n": 2}, maps=_ASM),
    "nfbmr": _Line(maps=None),
    "nf-bmr-1": _Line(mapping={"n": 1}, maps=_ASM),
    "nf-bmr-3": _Line(mapping={"n": 3}, maps=_ASM),
    "nf-b-pfm": _Line(mapping={"kind": "b-pfm", "latent": B_PFM_LATENT}, maps=_ASM),
    "pfm": _Line(maps=("target",), levels=1, one_way=True),
    "b-pfm": _Line(maps=_ASM, levels=1),
    "mb-pfm": _Line(maps=_ASM, levels=3),
}
SYSTEMS = tuple(_LINES)
FLOW_SYSTEMS = tuple(key for key, line in _LINES.items() if not line.levels)
PAIR_SYSTEMS = tuple(key for key, line in _LINES.items() if line.levels)

BASELINES = ("nf-bmr-2", "nfbmr", *PAIR_SYSTEMS)
"""The systems of Tables 1 and 3 that are measured."""
ABLATION = ("nf-bmr-1", "nf-bmr-2", "nf-bmr-3", "nf-b-pfm", "nf")
"""The lines of Table 5, in the paper's order."""
OF_TABLE: dict[int, tuple[str, ...]] = {
    1: BASELINES,
    2: ("nf-bmr-2",),
    3: BASELINES,
    4: ("nf-bmr-2",),
    5: FLOW_SYSTEMS,
}
DATASET_TABLES = {"mvtec": (1, 2, 5), "dagm": (3, 4), "other": (1, 5)}
"""Which tables a data set has rows in."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """One level of a pair: where it is cut from both networks, and the width of its nets."""

    source: int | str
    target: int | str
    latent: int
    """c."""


@dataclass(frozen=True, kw_only=True)
class PairSettings:
    """Two frozen networks and the nets that map between their features, level by level."""

    source: str
    target: str
    source_weights: str
    target_weights: str
    levels: tuple[Level, ...]
    """The finest first."""
    one_way: bool
    """PFM: from source to target alone."""
    stage: StageSettings


@dataclass(frozen=True, kw_only=True)
class System:
    """One row's system."""

    key: str
    settings: Settings
    """Of a flow system; of a pair: size, seed, scoring and calibration."""
    pair: PairSettings | None = None

    def mark(self, data: str) -> str:
        """Returns 12 hex digits that change with settings, weights files or pictures.

        Args:
            data: names the pictures.
        """
        settings = to_dict(self.settings)
        backbone = settings["backbone"]
        backbone["weights"] = weights_kind(backbone["weights"])
        pair = None if self.pair is None else asdict(self.pair)
        if pair is not None:
            for name in ("source_weights", "target_weights"):
                pair[name] = weights_kind(pair[name])
        values = [1, settings, pair, data, *map(_digest, self._weights())]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]

    def _weights(self) -> list[str]:
        if self.pair is None:
            return [self.settings.backbone.weights]
        return [self.pair.source_weights, self.pair.target_weights]


def _digest(weights: str) -> str:
    if weights_kind(weights) != "file":
        return weights
    try:
        with Path(weights).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise SettingsError(
            f"--weights {weights}: cannot be read ({error.strerror}); expected a file, "
            "'embedded', 'hub' or 'random'"
        ) from None


_FIXED = (
    "seed",
    "mapping.kind",
    "mapping.n",
    "scoring.maps",
    "scoring.fusion",
    "calibration.everyone",
)


def _is_given(changes: dict[str, Any], name: str) -> bool:
    first, _, rest = name.partition(".")
    value = changes.get(first)
    return first in changes if not rest else isinstance(value, dict) and rest in value


OTHER: dict[BackboneName, tuple[str, str]] = {
    "paper": ("tf_efficientnet_b3.aa_in1k", "hub"),
    "fast": ("tf_efficientnet_lite2", "embedded"),
}
"""The second pre-trained network of Figs. 2b and 7 (B3 in the paper), and where its weights are."""


def base_settings(backbone: BackboneName) -> Settings:
    """Returns what the systems have in common: the preset `paper`, or most of `fast`.

    With `paper` every good picture trains, as there: the preset holds some out for a threshold.

    The paper's method looks at a picture in one size and has BMR; `fast` would not be it. So here
    `fast` means its network, its size of picture and its way to train. Scores are averages, and
    pictures that are held out calibrate them, as every system can have it.
    """
    if backbone == "paper":
        paper = preset("paper")
        return replace(paper, calibration=replace(paper.calibration, held_out=0.0))
    return replace(
        preset("fast"),
        pose="off",
        data=DataSettings(),
        backbone=BackboneSettings(),
        flow=FlowSettings(),
        mapping=MappingSettings(),
        gaussian=GaussianSettings(),
        local=LocalSettings(),
        subspace=SubspaceSettings(),
        scoring=ScoringSettings(),
        calibration=CalibrationSettings(),
    )


def make_system(
    key: str,
    backbone: BackboneName,
    seed: int,
    *,
    weights: dict[str, str] | None = None,
    changes: dict[str, Any] | None = None,
) -> System:
    """Returns a system on the paper's backbones, or on those that come with nfbmr.

    A system's score comes from the map that the paper gives it: eq. 14, or TNF's likelihood. With
    `paper` it is the map's maximum. With `fast` it is the mean of maximum, top and mean, each
    standardised over held-out good pictures, since which one is best depends on the product.

    Args:
        key: one of `SYSTEMS`.
        backbone: `paper` or `fast`.
        seed: of split, weights and batches.
        weights: network -> `embedded`, `hub`, `random` or a file; "" stands for SNN.
        changes: of the preset's settings, as `with_changes` takes them; those under `pair`
            are of the stage that trains a pair's nets.

    Raises:
        SettingsError: a change is unknown or out of range.
    """
    weights, changes = weights or {}, dict(changes or {})
    of_pair = changes.pop("pair", {})
    if fixed := [name for name in _FIXED if _is_given(changes, name)]:
        raise SettingsError(
            f"--set {', '.join(fixed)}: these make the systems what they are; expected other "
            "settings, and --seeds and --systems to choose rows"
        )
    base = with_changes(base_settings(backbone), {**changes, "seed": seed})
    name = base.backbone.name
    chosen = weights.get(name, weights.get("", base.backbone.weights))
    base = replace(base, backbone=replace(base.backbone, weights=chosen))
    pair = _pair(backbone, weights)
    known = ("", name, pair.source, pair.target, OTHER[backbone][0])
    if strange := [network for network in weights if network not in known]:
        raise SettingsError(
            f"--weights {', '.join(strange)}=...: no network of these systems; expected FILE alone "
            f"for {name}, or NETWORK=FILE with one of {', '.join(dict.fromkeys(known[1:]))}"
        )
    line = _LINES[key]
    settings = _settings_of(line, base)
    _refuse_scales_of_trained(line, settings, changes)
    if not line.levels:
        return System(key=key, settings=settings)
    pair = replace(
        pair,
        levels=pair.levels[-line.levels :],
        one_way=line.one_way,
        stage=stage_with_changes(pair.stage, of_pair, "pair"),
    )
    return System(key=key, settings=settings, pair=pair)


def _refuse_scales_of_trained(line: _Line, settings: Settings, changes: dict[str, Any]) -> None:
    """Checks that a score of several statistics has pictures that did not train for its scales."""
    several = len(settings.scoring.maps) * len(settings.scoring.statistics) > 1
    none_asked = (
        _is_given(changes, "calibration.held_out") and not changes["calibration"]["held_out"]
    )
    if several and (none_asked or not settings.calibration.held_out):
        what = "nfbmr's own score" if line.maps is None else "a score of several statistics"
        raise SettingsError(
            f"calibration.held_out 0: {what} needs good pictures that did not train for its "
            "scales; give a share above 0, or one statistic and systems without nfbmr: "
            """--set 'scoring.statistics=["max"]' --systems nf,nf-bmr-2"""
        )


def _settings_of(line: _Line, base: Settings) -> Settings:
    scoring = replace(base.scoring, maps=line.maps) if line.maps else ScoringSettings()
    settings = replace(base, mapping=replace(base.mapping, **line.mapping), scoring=scoring)
    if line.maps or settings.calibration.held_out:
        return settings
    # Twelve statistics are put on one scale: that of pictures that did not train.
    share = preset(settings.preset).calibration.held_out
    return replace(settings, calibration=replace(settings.calibration, held_out=share))


def _pair(backbone: BackboneName, weights: dict[str, str]) -> PairSettings:
    """Returns MB-PFM, whose levels are those of all pairs."""
    if backbone == "paper":  # Wan et al. 2022: conv2_x to conv4_x; 200 epochs, no clipping
        source, target, origin = "resnet34.tv_in1k", "resnet50.tv_in1k", "hub"
        levels = tuple(
            Level(source=f"layer{i}", target=f"layer{i}", latent=c)
            for i, c in ((1, 200), (2, 400), (3, 900))
        )
        stage = StageSettings(
            epochs=200,
            batch=8,
            learning_rate=3e-4,
            schedule="constant",
            clip_norm=None,
            precision="float32",
        )
    else:  # the same strides 4, 8, 16; c below the levels' few channels would be a bottleneck
        source, target, origin = "tf_efficientnet_lite0", "tf_efficientnet_lite2", "embedded"
        levels = tuple(
            Level(source=i, target=i, latent=c) for i, c in ((2, 64), (3, 128), (5, 256))
        )
        stage = StageSettings(steps=600, batch=1024, batch_of="positions")
    if weights.get("") == "random":
        origin = "random"
    return PairSettings(
        source=source,
        target=target,
        source_weights=weights.get(source, origin),
        target_weights=weights.get(target, origin),
        levels=levels,
        one_way=False,
        stage=stage,
    )


def pair_size(backbone: BackboneName, size: tuple[int, int]) -> tuple[int, int]:
    """Returns (H, W) of a pair's pictures, given that of the flow systems.

    256 x 256 as published; with `fast` the same as the flow's, so that only the system differs.
    """
    return (256, 256) if backbone == "paper" else size


def wanted_systems(dataset: str, tables: tuple[int, ...], only: tuple[str, ...]) -> list[str]:
    """Returns the systems that a data set's part of some tables needs, in the order to run.

    Args:
        dataset: `mvtec`, `dagm` or `other`.
        tables: numbers of tables, 1 to 5.
        only: systems to keep; all where it is empty.

    Raises:
        SettingsError: there is no such table or system.
    """
    if unknown := [str(t) for t in tables if t not in OF_TABLE]:
        raise SettingsError(f"table {', '.join(unknown)}: found no such table; expected 1 to 5")
    if strange := [key for key in only if key not in SYSTEMS]:
        raise SettingsError(
            f"system {', '.join(strange)}: unknown; expected some of {', '.join(SYSTEMS)}"
        )
    needed = {key for t in tables if t in DATASET_TABLES[dataset] for key in OF_TABLE[t]}
    return [key for key in SYSTEMS if key in needed and (not only or key in only)]
