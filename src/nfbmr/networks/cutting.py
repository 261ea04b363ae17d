"""timm's networks, built and cut off after the last stage that is used.

Shapes: B = images, H W = pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import timm
import torch
from torch import Tensor, nn

from nfbmr.errors import SettingsError

SEED = 0
"""Of the weights that a network has before others are loaded; equal in every process."""


def build(name: str, **words: Any) -> nn.Module:
    """Returns timm's whole network with random weights; never touches the network or the hub.

    Args:
        name: timm's.
        **words: as timm's class takes them.

    Raises:
        SettingsError: timm knows none of this name, or cannot build it.
    """
    if not timm.is_model(name):  # also refuses "hf-hub:..." names, which would download
        raise SettingsError(
            f"timm {timm.__version__} knows no network '{name}'; expected a name such as "
            "'tf_efficientnet_lite0'; timm.list_models() lists all"
        )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)
        try:
            model: nn.Module = timm.create_model(name, pretrained=False, **words)
        except RuntimeError as error:
            raise SettingsError(f"timm cannot build '{name}': {error}") from error
    return model.eval()


def weights_config(model: nn.Module) -> Mapping[str, Any]:
    """Returns what timm records of the network's weights: mean, std, input size."""
    config = model.pretrained_cfg
    assert isinstance(config, Mapping), type(config)
    return config


def stage_path(model: nn.Module, name: str, stage: int | str) -> str:
    """Translates a stage number into a module path and checks that there is such a module."""
    modules = {path for path, _ in model.named_modules() if path}
    if isinstance(stage, str):
        if stage in modules:
            return stage
        top = ", ".join(path for path, _ in model.named_children())
        raise SettingsError(f"'{name}' has no module '{stage}'; its outermost ones are {top}")
    blocks = getattr(model, "blocks", None)
    if isinstance(blocks, nn.Sequential):
        paths = [f"blocks.{index}" for index in range(len(blocks))]
    else:
        paths = [info["module"] for info in getattr(model, "feature_info", [])]
    if not 1 <= stage <= len(paths):
        raise SettingsError(
            f"stage {stage}: '{name}' has {len(paths)} stages, counted from 1; a module path "
            "may be given instead"
        )
    return paths[stage - 1]


def steps_up_to(parent: nn.Module, levels: set[str], name: str, prefix: str = "") -> list[str]:
    """Returns the paths of the modules to run, in order, up to the last of `levels`."""
    steps: list[str] = []
    last = 0
    for child_name, child in parent.named_children():
        path = prefix + child_name
        inside = {level for level in levels if level.startswith(path + ".")}
        if not inside:
            steps.append(path)
        elif path in levels or type(child).forward is not nn.Sequential.forward:
            raise SettingsError(f"'{name}' cannot be cut at {sorted(inside)}, inside '{path}'")
        else:
            steps += steps_up_to(child, inside, name, path + ".")
        if inside or path in levels:
            last = len(steps)
    return steps[:last]


def cut(model: nn.Module, steps: tuple[str, ...]) -> nn.Sequential:
    """Moves the modules of `steps` into nested containers that keep timm's names."""
    trunk = nn.Sequential()
    for path in steps:
        *parents, leaf = path.split(".")
        holder: nn.Module = trunk
        for parent in parents:
            if parent not in dict(holder.named_children()):
                holder.add_module(parent, nn.Sequential())
            holder = holder.get_submodule(parent)
        holder.add_module(leaf, model.get_submodule(path))
    return trunk


def hooked_maps(model: nn.Module, paths: tuple[str, ...], x: Tensor) -> dict[str, Tensor]:
    """Runs timm's whole network on x (B, 3, H, W); returns path -> output of that module."""
    maps: dict[str, Tensor] = {}

    def keep(path: str, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        maps[path] = output.clone()  # a later in-place activation must not change it

    handles = [
        model.get_submodule(path).register_forward_hook(partial(keep, path)) for path in paths
    ]
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return maps
