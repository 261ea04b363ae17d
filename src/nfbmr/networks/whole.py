"""timm's networks that are no chain of modules, as ViTs: run as they are, maps taken from inside.

Shapes: B = images, H W = pixels, c h w = channels and grid of a map.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nfbmr.errors import SettingsError
from nfbmr.networks.cutting import build

PROBE = (224, 448)
"""Two sides that are multiples of 14, 16 and 32, of which patches are."""

_ANY_SIZE: tuple[dict[str, Any], ...] = (
    {"dynamic_img_size": True, "dynamic_img_pad": True},
    {"dynamic_img_size": True},
    {"strict_img_size": False},
)
"""How timm is told that images have any size: its families have different words for it."""


def take_whole(
    name: str, paths: tuple[str, ...]
) -> tuple[nn.Module, dict[str, int], dict[str, tuple[int, int]]]:
    """Builds a network that gives the maps of some stages, whatever runs between them.

    Args:
        name: timm's.
        paths: of the stages, each in timm's feature list.

    Returns:
        The network, without what comes behind the last stage where timm can leave that out; for
        each path its number in the feature list; and its channels and its stride, as timm has it.

    Raises:
        SettingsError: timm takes no maps from inside it, or not these, or it takes no other size.
    """
    model = _of_any_size(name)
    infos: Any = getattr(model, "feature_info", [])
    listed = [info["module"] for info in infos]
    numbers = {path: listed.index(path) for path in paths if listed.count(path) == 1}
    if len(numbers) < len(paths) or not hasattr(model, "forward_intermediates"):
        raise SettingsError(
            f"'{name}' cannot be cut at {', '.join(paths)}; of this network choose among "
            f"{', '.join(dict.fromkeys(listed)) or 'none'}, or choose another network"
        )
    try:
        with torch.no_grad():
            maps = maps_inside(model, numbers, torch.zeros(1, 3, *PROBE))
    except Exception as error:  # a network that takes one size alone fails in its own way
        raise SettingsError(
            f"'{name}' gives no maps of {', '.join(paths)} for an image of {PROBE} ({error}); "
            "choose a network that takes images of any size"
        ) from error
    if hasattr(model, "prune_intermediate_layers"):
        prune: Any = model.prune_intermediate_layers
        prune(list(numbers.values()), prune_norm=True, prune_head=True)
    strides = {info["module"]: int(info["reduction"]) for info in infos}
    return model, numbers, {path: (maps[path].shape[1], strides[path]) for path in paths}


def maps_inside(model: nn.Module, numbers: Mapping[str, int], x: Tensor) -> dict[str, Tensor]:
    """Runs a network on x (B, 3, H, W); returns path -> map (B, c, h, w) of each number."""
    run: Any = model.forward_intermediates
    ascending = sorted(numbers, key=lambda path: numbers[path])
    maps = run(
        x,
        indices=[numbers[path] for path in ascending],
        stop_early=True,
        output_fmt="NCHW",
        intermediates_only=True,
    )
    return dict(zip(ascending, maps, strict=True))


def steps_of(model: nn.Module) -> tuple[str, ...]:
    """Returns the paths of the modules that own tensors."""
    return tuple(dict.fromkeys(key.rpartition(".")[0] for key in model.state_dict() if "." in key))


def _of_any_size(name: str) -> nn.Module:
    """Builds the network so that it takes any size, as far as timm can."""
    found = build(name)
    takes = _parameters(type(found))
    for words in _ANY_SIZE:
        if words.keys() <= takes:
            return build(name, **words)
    return found


def _parameters(kind: type) -> set[str]:
    return {name for base in kind.__mro__ for name in inspect.signature(base).parameters}
