"""Settings: what a fit depends on, checked, frozen, to and from JSON.

A settings object is a value: equal settings, equal images and equal weights give the same model.
Unknown keys and values out of range are errors. No torch here, so that the deployed program
can read a model directory without it.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

_CONFIG = ConfigDict(extra="forbid", strict=False, allow_inf_nan=False)

PositiveInt = Annotated[int, Field(ge=1, le=10_000_000)]
Width = Annotated[int, Field(ge=1, le=16_384)]
Depth = Annotated[int, Field(ge=1, le=64)]
Side = Annotated[int, Field(ge=32, le=8_192)]
PositiveFloat = Annotated[float, Field(gt=0)]
Millimetres = Annotated[float, Field(ge=1e-6, le=1e3)]
Share = Annotated[float, Field(gt=0, lt=1)]
Dropped = Annotated[float, Field(ge=0, lt=1)]

PresetName = Literal["fast", "accurate", "paper"]
Precision = Literal["auto", "float32", "bfloat16"]
MapName = Literal[
    "source", "target", "likelihood", "norm", "distance", "residual", "fine", "finest", "asm"
]
StatisticName = Literal["max", "top", "mean"]
Fusion = Literal["mean", "any", "squares"]
Reading = Literal["whole", "scaled"]


def weights_kind(weights: str) -> str:
    """Returns `embedded`, `hub` or `random` where a setting is that word, else `file`."""
    return weights if weights in ("embedded", "hub", "random") else "file"


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class DataSettings:
    """How pictures are read."""

    white: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """The value that is white in pictures of more than 8 bits, such as 4095 where a camera's 12
    bits lie in 16; by default the full range. Inspection applies it, too."""
    reading: Reading = "whole"
    """`scaled`: a JPEG with four times the sides that the model looks at, or more, is decoded at a
    half, a quarter or an eighth of them, still twice what is needed: several times as fast, and
    levels differ by rounding. `whole`: as models of older versions read. Inspection reads as the
    fit did. Arrays and Pillow images are taken as they are, so a large JPEG as a file may differ
    from the same as an array by two levels."""


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class BackboneSettings:
    """SNN, the frozen source network whose features are y (section 3.1)."""

    name: str = "tf_efficientnet_lite0"
    """Any timm network. Named instead of the preset's, it gets stages, detail, finest and
    padding by its strides, where they are not given."""
    stages: tuple[int | str, ...] = (6, 5)
    """1-based block stages or module paths; the first gives the grid of y, others are pooled."""
    neighbours: bool = True
    """Also append the 3x3 mean of the first stage, so that one position sees around itself."""
    scales: Annotated[tuple[Share, ...], Field(max_length=4)] = ()
    """Shares of the sides at which SNN looks at the picture once more; those stages join y."""
    scale_stages: tuple[tuple[int | str, ...], ...] = ()
    """The stages taken at each of `scales`, where they are not `stages`."""
    detail: int | str | tuple[int | str, ...] | None = None
    """One or more finer stages kept beside y, on the grid of the first of them, for the distance
    and the residual of small things; see `local` and `subspace`."""
    detail_neighbours: bool = False
    """Smooth the detail with its neighbours, weights 1 2 1 along each side."""
    finest: int | str | None = None
    """One stage more, whose 3x3 means are kept on its own, yet finer grid; see `local`."""
    padding: Literal["native", "static"] = "native"
    """`static` pads as efficientnet-pytorch does, for the design resolution whatever comes in."""
    weights: str = "embedded"
    """`embedded`, `hub`, `random` (tests and timing only), or a file's path."""

    @property
    def small(self) -> bool:
        """Whether SNN is of the family that comes with nfbmr: milliseconds on a CPU."""
        return self.name.startswith("tf_efficientnet_lite")

    @property
    def weights_kind(self) -> str:
        """`embedded`, `hub`, `random` or `file`: where a file lies is this machine's affair."""
        return weights_kind(self.weights)

    @model_validator(mode="after")
    def _check(self) -> BackboneSettings:
        if not self.stages:
            raise ValueError("stages: at least one stage is needed")
        if self.scale_stages and len(self.scale_stages) != len(self.scales):
            raise ValueError(
                f"scale_stages: one tuple of stages for each of the {len(self.scales)} scales, "
                f"or none at all; found {len(self.scale_stages)}"
            )
        if self.detail == ():
            raise ValueError("detail: at least one stage, or null where there is none")
        if not all(self.scale_stages):
            raise ValueError("scale_stages: at least one stage for each scale")
        return self


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class FlowSettings:
    """TNF, the target flow: Real-NVP on y (section 3.2)."""

    blocks: Depth = 4
    """Coupling blocks; each transforms both halves (eq. 4 and 5)."""
    hidden: Width = 512
    """Channels of the one hidden layer of a sub-network."""
    kernel: Literal[1, 3] = 1
    """1: each position is a vector of its own; 3: sub-networks see the neighbours."""
    clamp: PositiveFloat = 3.0
    """Soft clamp of the log-scale: clamp * 0.636 * atan(s / clamp)."""
    dropout: Dropped = 0.0
    """Share of the hidden channels left out in a training step, so that few images suffice."""
    position: Annotated[int, Field(ge=0, le=32)] = 0
    """Waves along each side that tell the sub-networks where a position lies; 0: they cannot."""
    loss: Literal["channel", "position"] = "channel"
    """Eq. 8 as it stands, for a position (`position`), or divided by C (`channel`), so that
    clipping and weight decay weigh the same on every backbone."""


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class GaussianSettings:
    """A Gaussian of y for each position, and the distance from it."""

    rank: Annotated[int, Field(ge=0, le=4096)] = 0
    """Main directions of y that it looks at; 0: there is none."""


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class LocalSettings:
    """A Gaussian of `backbone.detail` for each fine position, and one of `backbone.finest`."""

    rank: Annotated[int, Field(ge=0, le=1024)] = 0
    """Directions in which a position may differ from the covariance of all; 0: there is none."""


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class SubspaceSettings:
    """The subspace of good pictures that `backbone.detail` is compared with."""

    rank: Annotated[int, Field(ge=0, le=4096)] = 128
    """Directions; fewer where there are fewer training images. 0: there is no subspace."""


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class MappingSettings:
    """BMR, the two mapping networks (section 3.3), or the B-PFM family that it is compared with."""

    kind: Literal["bmr", "b-pfm", "none"] = "bmr"
    """`bmr`: residual blocks; `b-pfm`: five 1x1 layers; `none`: TNF judges alone."""
    n: Depth = 2
    """Residual blocks on each side of the shared one (`bmr`)."""
    latent: Width = 512
    """Channels between first and last convolution; c, a quarter of the shared layer (`b-pfm`)."""
    inner: Width = 128
    """Channels inside a residual block (`bmr`)."""
    ends: Literal[1, 3] = 1
    """Kernel of the first and the last convolution (`bmr`), which the paper does not give."""
    relu: Literal["branch", "after"] = "branch"
    """Third ReLU of a residual block (`bmr`): before the skip is added, or after."""


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class StageSettings:
    """How a stage of training runs: for `steps` or for `epochs`; giving one drops the other."""

    ONE_OF: ClassVar[tuple[str, ...]] = ("steps", "epochs")
    """Exactly one of these is given."""

    steps: PositiveInt | None = None
    """Optimiser steps."""
    epochs: PositiveInt | None = None
    """Passes over the training images, or over all their positions."""
    least_steps: PositiveInt = 1
    """At least so many steps, however few images `epochs` counts over."""
    most_steps: PositiveInt | None = None
    """At most so many steps, however many images `epochs` counts over."""
    batch: Annotated[int, Field(ge=1, le=1_000_000)] = 8
    """Images per step; positions per step where `batch_of` says so, of few pictures no more than
    they have."""
    batch_of: Literal["images", "positions"] = "images"
    """Positions are drawn from all images at once; only where no layer sees its neighbours."""
    learning_rate: PositiveFloat = 1e-3
    """Adam's rate; the peak of the one-cycle schedule."""
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    """One-cycle: a rise over 30 % of the steps, then a cosine to almost nothing."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-5
    """L2 penalty inside Adam, as the paper's optimiser has it."""
    clip_norm: PositiveFloat | None = 1.0
    """Largest norm of the whole gradient."""
    precision: Precision = "auto"
    """`auto`: bfloat16 where the processor computes in it, else float32."""

    @model_validator(mode="after")
    def _check(self) -> StageSettings:
        if sum(getattr(self, name) is not None for name in self.ONE_OF) != 1:
            raise ValueError(f"give exactly one of {' and '.join(self.ONE_OF)}")
        if self.most_steps is not None and self.most_steps < self.least_steps:
            raise ValueError("most_steps is below least_steps")
        return self


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class ScoringSettings:
    """Which maps and which statistics of them make an image's score."""

    maps: tuple[MapName, ...] = ("source", "target", "likelihood", "norm")
    """Raw maps that take part; `asm` is half the sum of source and target, eq. 14."""
    statistics: tuple[StatisticName, ...] = ("max", "top", "mean")
    """How each map is reduced: its maximum, the mean of its highest share, its mean."""
    fusion: Fusion = "mean"
    """`mean`: the average over all maps and statistics, in standard deviations. Else y and the
    finer stages are a judge each, the average of its maps; they are joined by the highest (`any`),
    or by the root mean square of what lies above typical (`squares`). Score and heatmap are then
    one scale, 0 typical, 1 where the asked share of good ones ends."""
    rims: Annotated[int, Field(ge=0, le=64)] = 0
    """Rings of cells along the edge of the finest grid whose distances of the finer stages are
    brought to the scale of those inside, where good pictures have larger ones there. At most a
    sixth of the grid's shorter side."""
    top_share: Share = 0.03
    """Share of the positions that `top` averages."""
    heat: MapName | None = None
    """The map that the heatmap shows; by default the mean of `maps`, each standardised. With
    judges it shows what the score rests on, and none is named."""

    @property
    def by_judges(self) -> bool:
        """Whether grids are judges of their own, and score and heatmap have one scale."""
        return self.fusion != "mean"

    @model_validator(mode="after")
    def _check(self) -> ScoringSettings:
        for field in ("maps", "statistics"):
            names = getattr(self, field)
            if not names or len(set(names)) != len(names):
                raise ValueError(f"{field}: each name once, and at least one; found {names}")
        if self.by_judges and self.heat is not None:
            raise ValueError(
                f"heat: with fusion '{self.fusion}' the heatmap shows the maps of the score; leave "
                "it out, or use fusion 'mean'"
            )
        return self


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class CalibrationSettings:
    """How many good images are held out, and the rate of false alarms that is asked for."""

    false_alarm_rate: Annotated[float, Field(ge=1e-6, lt=1)] = 0.01
    """Share of good pictures that may be called defects."""
    look_rate: Annotated[float, Field(ge=1e-6, lt=1)] = 0.05
    """Share of good pictures that may be sent to a person, those called defects among them. At or
    below `false_alarm_rate` nothing is sent: there are two verdicts then."""
    held_out: Dropped = 0.2
    """Share of the good images that TNF and BMR are never trained on, which calibrate the scores,
    alone or with the others (`everyone`). 0: all of them train, as in the paper; for experiments
    alone, since no verdict can rest on that."""
    held_out_at_most: Share = 0.25
    """Up to this share is held out where the asked rate needs more images than `held_out` gives."""
    everyone: bool = False
    """Every good picture calibrates, and the Gaussians learn from all of them: each is judged by
    Gaussians without itself, and what training saw of it is brought to the scale of those that it
    did not see. Steadier, and nearly exact. False: those held out calibrate alone, whose rate is
    guaranteed for exchangeable pictures, but for the scale that they share. Models of tiles take it
    for false."""
    folded_below: Annotated[int, Field(ge=0)] = 0
    """Where fewer good pictures calibrate, `everyone` has each judged by a model that learnt from
    three quarters of the others, four of which are learnt for that alone: of so few too little is
    held out to say how training changes what it saw. 0: never."""


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class TileSettings:
    """Pictures far above the model's size: cut into tiles of that size, judged as a whole."""

    overlap: Annotated[float, Field(ge=0, le=0.9)] = 0.25
    """Share of a tile's side that it has in common with the next."""


@dataclass(frozen=True, kw_only=True, config=_CONFIG)
class Settings:
    """Everything a fit depends on besides the images and the backbone's weights."""

    preset: PresetName = "fast"
    """The preset these settings started from."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Draws the split, the initial weights, the permutations and the batches."""
    size: tuple[Side, Side] | None = None
    """(H, W) in pixels; by default chosen from the training images' median aspect ratio."""
    pixel_budget: Annotated[int, Field(ge=32 * 32, le=8_192 * 8_192)] = 320 * 320
    """Pixels of the chosen size, where `size` is not given."""
    pose: Literal["auto", "off"] = "auto"
    """`auto`: where the good pictures show that parts lie turned, each picture is turned to one
    pose before the network sees it. `off`: never. What is cut into tiles stays as it lies."""
    tiles: TileSettings | None = None
    """`size` is then that of a tile, square by default; pictures keep their own size."""
    mm_per_pixel: Millimetres | None = None
    """Millimetres of a pixel of the pictures as they are, so that places have an area in mm²."""
    examples: Annotated[int, Field(ge=0, le=100)] = 24
    """Training pictures of which small copies are kept in the model, to show a good part beside
    what was found; in the pose where parts lie turned. 0: none, where pictures must not leave with
    the model."""
    standardise: Literal["channel", "none"] = "channel"
    """Mean and deviation of each channel of y taken away before TNF and BMR, or y as it is."""
    data: DataSettings = Field(default_factory=DataSettings)
    backbone: BackboneSettings = Field(default_factory=BackboneSettings)
    flow: FlowSettings = Field(default_factory=FlowSettings)
    mapping: MappingSettings = Field(default_factory=MappingSettings)
    gaussian: GaussianSettings = Field(default_factory=GaussianSettings)
    local: LocalSettings = Field(default_factory=LocalSettings)
    subspace: SubspaceSettings = Field(default_factory=SubspaceSettings)
    stage_one: StageSettings = Field(default_factory=lambda: StageSettings(steps=400))
    """Of TNF, by eq. 8."""
    stage_two: StageSettings = Field(default_factory=lambda: StageSettings(steps=300))
    """Of BMR, by eq. 11-13; not looked at where `mapping.kind` is `none`."""
    scoring: ScoringSettings = Field(default_factory=ScoringSettings)
    calibration: CalibrationSettings = Field(default_factory=CalibrationSettings)

    @model_validator(mode="after")
    def _check(self) -> Settings:
        if self.stage_one.batch_of == "positions" and self.flow.kernel != 1:
            raise ValueError("a flow with a 3x3 kernel needs batch_of = images in stage_one")
        if self.stage_two.batch_of == "positions":
            raise ValueError("stage_two: the mapping sees neighbours; use batch_of = images")
        shown = {*self.scoring.maps, self.scoring.heat}
        if self.mapping.kind == "none" and {"source", "target", "asm"} & shown:
            raise ValueError(
                "mapping.kind none makes no mapping errors; "
                'use scoring.maps = ["likelihood", "norm"], or one of the two'
            )
        if not self.gaussian.rank and "distance" in shown:
            raise ValueError("the distance is that from Gaussians: give gaussian.rank, e.g. 192")
        if (self.backbone.detail is None or not self.subspace.rank) and "residual" in shown:
            raise ValueError(
                "the residual is that of a stage: name it as backbone.detail, and give "
                "subspace.rank, e.g. 128"
            )
        if (self.backbone.detail is None or not self.local.rank) and "fine" in shown:
            raise ValueError(
                "fine is the distance of finer stages: name them as backbone.detail, and give "
                "local.rank, e.g. 64"
            )
        if (self.backbone.finest is None or not self.local.rank) and "finest" in shown:
            raise ValueError(
                "finest is the distance of the finest stage: name it as backbone.finest, and give "
                "local.rank, e.g. 64"
            )
        if self.calibration.everyone and {"residual"} & shown:
            raise ValueError(
                "calibration.everyone: the residual of a picture that was learnt from cannot be "
                "known without learning again; use false, or leave the residual out of scoring"
            )
        return self
