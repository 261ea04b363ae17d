"""SNN, the source network (section 3.1): a frozen timm network, cut off after the last stage used.

A network that is no chain of modules, as a ViT, runs as timm has it (`nfbmr.networks.whole`).

Its features are y. Section 3.1 takes one stage, the sixth of EfficientNet-B5; several stages may
be joined here, the 3x3 mean of the first one, and stages of smaller copies of the image. Behind y
may stand the detail: finer stages, whose cells that lie in one cell of y are channels of it; and
behind it the finest: one stage with yet smaller cells.

Shapes: B = images, H W = the image's pixels, H' W' = grid of y, C = channels of y,
c h w = channels and grid of one stage, before the stages are joined, k = cells of the detail along
the side of a cell of y, c* k* = likewise of the finest, C' = C + c * k * k + c* * k* * k*, all that
comes out.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from itertools import chain
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from nfbmr.errors import SettingsError
from nfbmr.networks.cutting import (
    SEED,
    build,
    cut,
    hooked_maps,
    stage_path,
    steps_up_to,
    weights_config,
)
from nfbmr.networks.folding import copied, folded
from nfbmr.networks.levels import at_grid_of, at_size, smoothed
from nfbmr.networks.padding import make_padding_static
from nfbmr.networks.whole import PROBE, maps_inside, steps_of, take_whole
from nfbmr.settings.schema import BackboneSettings

_PROBE = (64, 96)  # two sides, so that swapped axes show; a stride of 32 leaves 2 x 3 cells
_SIDE = 32  # sides of a smaller copy of an image are multiples of it
_ROUNDING = 1e-3  # by which features may differ where batch norms are folded, of the largest
_Level = tuple[int, int]  # channels and stride of a map
_grids: dict[tuple[str, str, str, tuple[int, int]], tuple[int, int]] = {}
"""Network, first stage, padding and size of the images -> (H', W'): no weight changes a shape."""


class SourceNetwork(nn.Module):
    """SNN: uint8 pixels to source features y; frozen, always in evaluation mode.

    It holds no layer behind the last stage it needs. Its layers keep timm's names below `trunk`.
    The weights are random (`SEED`) until `nfbmr.networks.weights.load_weights` or
    `load_state_dict` sets them; nothing is ever downloaded here. Nothing in it requires a
    gradient, so a forward pass records none.

    Whoever has loaded the weights computes with what `ready` returns: a copy whose batch norms are
    folded (`nfbmr.networks.folding`), with the same features up to rounding, in half the time.

    Attributes:
        name: timm's name, with its tag where one was given.
        stages: module paths in timm's network, the first gives the grid of y.
        padding: `native` or `static`.
        neighbours: whether the 3x3 mean of the first stage is part of y.
        scales: of the smaller copies of the image whose stages are part of y.
        scale_stages: module paths, a tuple for each of `scales`.
        detail: module paths of the detail; empty where there is none.
        detail_neighbours: whether the detail is smoothed.
        finest: module path of the finest, 3x3 means of it; none where there is none.
        channels: C.
        detail_channels: c * k * k; 0 without detail.
        detail_factor: k; 1 without detail.
        finest_channels: c* * k* * k*; 0 without a finest.
        finest_factor: k*; 1 without a finest.
        is_ready: whether it is such a copy, which takes no other weights.
        stride: pixels per cell of the grid, nominally; `grid` is exact.
        steps: paths of the layers in the order in which they run.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        stages: tuple[int | str, ...],
        *,
        neighbours: bool = False,
        scales: tuple[float, ...] = (),
        scale_stages: tuple[tuple[int | str, ...], ...] = (),
        detail: int | str | tuple[int | str, ...] | None = None,
        detail_neighbours: bool = False,
        finest: int | str | None = None,
        padding: Literal["native", "static"] = "native",
    ) -> None:
        """Builds the network and cuts it; the caller's random generator is left as it was.

        Args:
            name: any timm network whose modules run in the order in which they are registered.
            stages: the first one gives the grid of y; later ones must not be coarser. A number n
                is the n-th block stage (`blocks.{n-1}`) where the network has block stages, as
                EfficientNets do, else the n-th entry of timm's feature list. A string is a path
                there, e.g. `layer3`.
            neighbours: append the 3x3 mean of the first stage's map; cells outside do not count.
            scales: shares of the sides, in (0, 1), at which the network looks at the image, too;
                its stages there join y. Sides are rounded to 32 pixels.
            scale_stages: which stages, a tuple for each of `scales`; by default `stages`.
            detail: stages no coarser than the first one, on the grid of their own first.
            detail_neighbours: smooth the detail by weights 1 2 1 along each side.
            finest: a stage no coarser than the detail, on its own grid.
            padding: `native`: timm's. `static`: TF's SAME rule for the network's design
                resolution, whatever comes in, as efficientnet-pytorch does.

        Raises:
            SettingsError: the network, or a stage, is unknown or unusable here.
        """
        super().__init__()
        model = build(name)
        self.name, self.padding = name, padding
        self.stages = _paths(model, name, stages)
        self.neighbours, self.scales = neighbours, scales
        chosen = scale_stages or (stages,) * len(scales)
        assert len(chosen) == len(scales), (scale_stages, scales)
        self.scale_stages = tuple(_paths(model, name, those) for those in chosen)
        self.detail = () if detail is None else _paths(model, name, _as_tuple(detail))
        self.detail_neighbours = detail_neighbours
        finer = () if finest is None else _paths(model, name, (finest,))
        self.finest = finer[0] if finer else None
        taken = [*self.stages, *self.detail, *finer, *chain(*self.scale_stages)]
        self._taken = tuple(dict.fromkeys(taken))
        self.is_ready = False
        config = weights_config(model)
        for buffer in ("mean", "std"):
            self.register_buffer(buffer, torch.tensor(config[buffer]).reshape(1, 3, 1, 1))
        found = self._take(model)
        self.requires_grad_(False).eval()
        self._set_widths(found)
        if padding == "static":
            design = _on_no_device(*config["input_size"][1:])
            make_padding_static(self.trunk, name, lambda: _on_meta(self, design))

    @classmethod
    def of(cls, settings: BackboneSettings) -> SourceNetwork:
        """Builds the network of some settings, with random weights; errors as of `__init__`."""
        return cls(
            settings.name,
            settings.stages,
            neighbours=settings.neighbours,
            scales=settings.scales,
            scale_stages=settings.scale_stages,
            detail=settings.detail,
            detail_neighbours=settings.detail_neighbours,
            finest=settings.finest,
            padding=settings.padding,
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Maps pixels, uint8 (B, H, W, 3) RGB, to y, detail and finest, float32 (B, C', H', W')."""
        x = self._normalised(pixels)
        maps = self._stage_maps(x)
        first, *finer = (maps[path] for path in self.stages)  # (B, c, H', W'), others finer
        parts = [first, *(at_grid_of(first, level) for level in finer)]
        if self.neighbours:
            parts.append(F.avg_pool2d(first, 3, stride=1, padding=1, count_include_pad=False))
        for scale, paths in zip(self.scales, self.scale_stages, strict=True):
            size = [max(_SIDE, _SIDE * round(side * scale / _SIDE)) for side in x.shape[-2:]]
            smaller = F.interpolate(x, size, mode="bilinear", align_corners=False)
            levels = self._stage_maps(smaller)
            parts += [at_grid_of(first, levels[path]) for path in paths]
        if self.detail:
            height, width = (self.detail_factor * side for side in first.shape[-2:])
            levels_of = [at_size(maps[path], (height, width)) for path in self.detail]
            fine = torch.cat(levels_of, dim=1)
            if self.detail_neighbours:
                fine = smoothed(fine)
            parts.append(F.pixel_unshuffle(fine, self.detail_factor))
        if self.finest is not None:
            height, width = (self.finest_factor * side for side in first.shape[-2:])
            level = at_size(maps[self.finest], (height, width))
            means = F.avg_pool2d(level, 3, stride=1, padding=1, count_include_pad=False)
            parts.append(F.pixel_unshuffle(means, self.finest_factor))
        return torch.cat(parts, dim=1)  # (B, C', H', W')

    def levels(self, pixels: Tensor) -> list[Tensor]:
        """Maps pixels, uint8 (B, H, W, 3) RGB, to the map (B, c, h, w) of each of `stages`."""
        maps = self._stage_maps(self._normalised(pixels))
        return [maps[path] for path in self.stages]

    @property
    def label(self) -> str:
        """Name and stages, for records."""
        return f"{self.name} {'+'.join(self.stages)}"

    @property
    def outputs(self) -> int:
        """C', the channels of y, detail and finest together."""
        return self.channels + self.detail_channels + self.finest_channels

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Returns (H', W') for images of `size` (H, W), by shapes; SettingsError: too small."""
        key = (self.name, self.stages[0], self.padding, size)
        if key not in _grids:
            try:
                height, width = _on_meta(self, _on_no_device(*size)).shape[-2:]
            except RuntimeError as error:
                raise SettingsError(
                    f"{size[0]} x {size[1]} pixels, at scales {[1, *self.scales]}, are too few for "
                    f"'{self.name}' ({error}); fit at a larger --size or with another --backbone"
                ) from error
            _grids[key] = int(height), int(width)
        return _grids[key]

    @torch.no_grad()
    def ready(self, device: torch.device) -> SourceNetwork:
        """Returns a copy on `device` that is quick: its batch norms are folded.

        Call it once the weights are loaded: the copy keeps those of now, under other names. Where
        folding would change the features by more than rounding, its layers are as they were.
        """
        quick = copied(self).to(device)
        quick.is_ready = True
        trunk = folded(quick.trunk)
        x = _noise(PROBE if self._numbers else _PROBE).to(device)
        expected, found = (self._maps_of(t, x) for t in (quick.trunk, trunk))
        same = all(
            torch.dist(found[path], expected[path], math.inf)
            <= _ROUNDING * expected[path].abs().max()
            for path in self._taken
        )
        if same:
            quick.trunk = trunk
        return quick

    def train(self, mode: bool = True) -> SourceNetwork:  # noqa: ARG002
        """Stays in evaluation mode: in training mode B5's batch-norm statistics turn to NaN."""
        return super().train(False)

    def fingerprint(self) -> str:
        """Names what y depends on: 64 hexadecimal digits, equal for equal features.

        SHA-256 over stages, padding, neighbours, scales, detail, finest, and name, shape and bytes
        of every tensor. Of a copy that is ready there is none: its tensors are others.
        """
        assert not self.is_ready, "ask the network that it was made from"
        one = (self.name, self.stages, self.padding, self.neighbours)
        more = (self.scales, self.scale_stages, self.detail, self.detail_neighbours)
        last = () if self.finest is None else (self.finest,)
        digest = hashlib.sha256(repr((*one, *more, *last)).encode())
        for key, tensor in sorted(self.state_dict().items()):
            if key.endswith("num_batches_tracked"):  # not read in evaluation mode
                continue
            digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.cpu().contiguous().reshape(-1).numpy().data)
        return digest.hexdigest()

    def _normalised(self, pixels: Tensor) -> Tensor:
        """Maps pixels, uint8 (B, H, W, 3), to what the network takes, float32 (B, 3, H, W)."""
        assert pixels.dtype == torch.uint8, pixels.dtype
        x = pixels.permute(0, 3, 1, 2).float() / 255
        return (x - self.mean) / self.std

    def _stage_maps(self, x: Tensor) -> dict[str, Tensor]:
        """Runs the layers on normalised pixels (B, 3, H, W); returns stage path -> (B, c, h, w)."""
        return self._maps_of(self.trunk, x)

    def _maps_of(self, trunk: nn.Module, x: Tensor) -> dict[str, Tensor]:
        if self._numbers:
            return maps_inside(trunk, self._numbers, x)
        maps = {}
        for path in self.steps:
            x = trunk.get_submodule(path)(x)
            if path in self._taken:
                maps[path] = x
        return maps

    def _take(self, model: nn.Module) -> dict[str, _Level]:
        """Sets the trunk: cut from the network where it is a chain, else as timm has it."""
        self._numbers: dict[str, int] = {}
        """Of the stages in timm's feature list; none where the trunk is a chain."""
        try:
            self.steps = tuple(steps_up_to(model, set(self._taken), self.name))
            self.trunk: nn.Module = cut(model, self.steps)
            return self._probe(model)
        except SettingsError as error:
            listed = {info["module"] for info in getattr(model, "feature_info", [])}
            if not {*self._taken} <= listed:
                raise error
        self.trunk, self._numbers, levels = take_whole(self.name, self._taken)
        self.steps = steps_of(self.trunk)
        return levels

    def _probe(self, model: nn.Module) -> dict[str, _Level]:
        """Compares the cut network with the whole one on a small image."""
        x = _noise(_PROBE)
        try:
            expected = hooked_maps(model, self._taken, x)
            found = self._maps_of(self.trunk, x)
        except Exception as error:  # a network that is no chain of modules fails in its own way
            raise SettingsError(
                f"'{self.name}' cannot be cut at {self.stages} ({error}); choose a "
                "convolutional network that takes images of any size"
            ) from error
        levels = {}
        for path in self._taken:
            levels[path] = _level(found[path], self.name, path)
            if not torch.equal(found[path], expected[path]):
                raise SettingsError(
                    f"'{self.name}' gives other features when it is cut at '{path}': its modules "
                    "do not simply run in the order in which it lists them, or a later one "
                    "writes over this one's output; choose another stage or network"
                )
        return levels

    def _set_widths(self, levels: Mapping[str, _Level]) -> None:
        """Sets what follows from channels and strides of the stages."""
        channels, strides = ({path: of[i] for path, of in levels.items()} for i in (0, 1))
        stride = strides[self.stages[0]]
        if any(strides[path] > stride for path in self.stages):
            raise SettingsError(
                f"stages {self.stages} of '{self.name}' have strides "
                f"{[strides[path] for path in self.stages]}: name the coarsest first, it gives the "
                "grid"
            )
        if coarse := [path for path in self.detail if strides[path] > stride]:
            raise SettingsError(
                f"backbone.detail {coarse[0]} of '{self.name}' has stride {strides[coarse[0]]}, "
                f"the grid of {self.stages[0]} has {stride}: choose a stage that is not coarser, "
                "or none: detail=null, and neither residual nor fine in scoring"
            )
        joined = (*self.stages, *chain(*self.scale_stages))
        total = sum(channels[path] for path in joined) + self.neighbours * channels[self.stages[0]]
        self.channels, self.stride = total, stride
        self.detail_channels, self.detail_factor = 0, 1
        if self.detail:
            self.detail_factor = max(1, round(stride / strides[self.detail[0]]))
            cells = self.detail_factor**2
            self.detail_channels = cells * sum(channels[path] for path in self.detail)
        self.finest_channels, self.finest_factor = 0, 1
        if self.finest is not None:
            if strides[self.finest] > stride:
                raise SettingsError(
                    f"backbone.finest {self.finest} of '{self.name}' has stride "
                    f"{strides[self.finest]}, the grid of {self.stages[0]} has {stride}: choose a "
                    "stage that is not coarser, or none: finest=null, and no finest in scoring"
                )
            self.finest_factor = max(1, round(stride / strides[self.finest]))
            if self.finest_factor % self.detail_factor:
                raise SettingsError(
                    f"backbone.finest {self.finest} of '{self.name}' has stride "
                    f"{strides[self.finest]}, the detail {strides[self.detail[0]]}: choose a stage "
                    "whose cells divide those of the detail, or none: finest=null, and no finest "
                    "in scoring"
                )
            self.finest_channels = channels[self.finest] * self.finest_factor**2


def _as_tuple(stages: int | str | tuple[int | str, ...]) -> tuple[int | str, ...]:
    return stages if isinstance(stages, tuple) else (stages,)


def _paths(model: nn.Module, name: str, stages: tuple[int | str, ...]) -> tuple[str, ...]:
    paths = tuple(stage_path(model, name, stage) for stage in stages)
    if not paths or len(set(paths)) != len(paths):
        raise SettingsError(f"stages {stages} of '{name}': give one or more, each once")
    return paths


def _level(features: Tensor, name: str, path: str) -> _Level:
    """Returns channels and stride of a map of the probe image, or refuses what is no map."""
    shape = tuple(features.shape)
    if len(shape) == 4 and shape[2] and shape[3]:
        stride = round(_PROBE[0] / shape[2])
        if stride == round(_PROBE[1] / shape[3]):
            return shape[1], stride
    raise SettingsError(
        f"'{path}' of '{name}' gives {shape} for an image of {_PROBE}; expected a map with "
        "channels first, (1, c, h, w)"
    )


def _noise(size: tuple[int, int]) -> Tensor:
    return torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(SEED))


def _on_no_device(height: int, width: int) -> Tensor:
    return torch.empty(1, height, width, 3, dtype=torch.uint8, device="meta")


def _on_meta(network: SourceNetwork, pixels: Tensor) -> Tensor:
    """Runs the network on shapes alone: no arithmetic, no memory."""
    # Buffers that a state_dict leaves out, as masks of windows, too.
    named = chain(network.named_parameters(), network.named_buffers())
    tensors: Mapping[str, Tensor] = {k: v.to("meta") for k, v in named}
    output: Tensor = functional_call(network, dict(tensors), (pixels,))
    return output
