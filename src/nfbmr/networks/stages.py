"""Which stages of any timm network take the places of those that a preset names by number.

A preset's numbers are of an EfficientNet, whose stages have the strides 2, 4, 8, 16, 16, 32, 32.

Shapes: none here, a stage's stride is all that is looked at.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from nfbmr.errors import SettingsError
from nfbmr.networks.cutting import build
from nfbmr.settings.schema import BackboneSettings

_COARSER = (4, 3, 2, 1, 1, 0, 0)  # of an EfficientNet's stages: doublings of stride up to 32
_LIKE_EFFICIENTNET = [f"blocks.{index}" for index in (0, 1, 2, 4, 6)]  # the last of each stride
_COARSEST = 32  # pixels; a coarser stage sees too little of where
_DEPTHS = (1 / 4, 1 / 2, 3 / 4)  # of the blocks of a network that has one stride alone, as ViTs

_Stages = tuple[int | str, ...]


def for_network(
    backbone: BackboneSettings, given: Collection[str] = ()
) -> tuple[BackboneSettings, str]:
    """Chooses stages, scales' stages, detail, finest and padding of a network by its strides.

    The coarsest stage takes the place of stages 6 and 7, the next finer one that of 4 and 5, and
    so on; of a network with one stride alone, blocks at a quarter, half and three quarters of its
    depth. Where there are fewer stages, the finest is taken again.

    Args:
        backbone: with the network's name, and stages numbered as those of EfficientNet; what is
            named by its path stays.
        given: fields that stay as they are.

    Returns:
        The settings, and a sentence about the choice; empty where the numbers hold as they are.

    Raises:
        SettingsError: there is no such network, timm lists no stages of it, or a number is none of
            an EfficientNet's stages.
    """
    model = build(backbone.name)
    pads = any(isinstance(module, Conv2dSame) for module in model.modules())
    if not pads and "padding" not in given:
        backbone = replace(backbone, padding="native")
    levels = _levels(model, backbone.name)
    if [path for path, _ in levels] == _LIKE_EFFICIENTNET:
        return backbone, ""
    paths = [path for path, _ in levels]

    def chosen(stages: _Stages) -> _Stages:
        return tuple(dict.fromkeys(_at(stage, paths) for stage in stages))

    if "stages" not in given:
        backbone = replace(backbone, stages=chosen(backbone.stages))
    if "scale_stages" not in given:
        smaller = tuple(chosen(stages) for stages in backbone.scale_stages)
        backbone = replace(backbone, scale_stages=smaller)
    if "detail" not in given and backbone.detail is not None:
        detail = backbone.detail if isinstance(backbone.detail, tuple) else (backbone.detail,)
        backbone = replace(backbone, detail=chosen(detail))
    if "finest" not in given and backbone.finest is not None:
        backbone = replace(backbone, finest=chosen((backbone.finest,))[0])
    return backbone, _said(backbone, dict(levels))


def _at(stage: int | str, paths: list[str]) -> int | str:
    """Returns which of the paths, from fine to coarse, takes a stage's place; a path is its own."""
    if isinstance(stage, str):
        return stage
    if not 1 <= stage <= len(_COARSER):
        raise SettingsError(
            f"backbone: stage {stage} was found, 1 to {len(_COARSER)} were expected, the stages of "
            "an EfficientNet; give one of these, or the path of one of the network's modules"
        )
    return paths[-1 - min(_COARSER[stage - 1], len(paths) - 1)]


def _levels(model: nn.Module, name: str) -> list[tuple[str, int]]:
    """Returns path and stride of stages, from fine to coarse or from the first to the last."""
    listed = [(i["module"], int(i["reduction"])) for i in getattr(model, "feature_info", [])]
    last = {stride: path for path, stride in listed if stride <= _COARSEST}
    if not last:
        raise SettingsError(
            f"timm lists no stages of '{name}' with a stride of up to {_COARSEST}; name some, such "
            "as --set 'backbone.stages=[\"PATH\"]' --set 'backbone.scale_stages=[]', or choose "
            "another network"
        )
    if len(last) > 1:
        return sorted(((path, stride) for stride, path in last.items()), key=lambda one: one[1])
    count = len(listed)
    numbers = dict.fromkeys(max(0, round(count * share) - 1) for share in _DEPTHS)
    return [listed[number] for number in numbers]


def _said(backbone: BackboneSettings, strides: dict[str, int]) -> str:
    def words(stages: _Stages) -> str:
        return ", ".join(
            f"{stage} (stride {strides[stage]})" if stage in strides else str(stage)
            for stage in map(str, stages)
        )

    detail = backbone.detail if isinstance(backbone.detail, tuple) else ()
    small = detail if backbone.finest is None else (*detail, backbone.finest)
    small = tuple(dict.fromkeys(small))
    beside = f"; beside them, for small things, {words(small)}" if small else ""
    taken = dict.fromkeys(stage for stages in backbone.scale_stages for stage in stages)
    smaller = f", of smaller copies {words(tuple(taken))}" if backbone.scales and taken else ""
    return (
        f"Features of {backbone.name}, chosen by its strides: "
        f"{words(backbone.stages)}{smaller}{beside}"
    )
