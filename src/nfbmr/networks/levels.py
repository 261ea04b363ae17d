"""Maps of several stages brought to one grid.

Shapes: B = images, c h w = channels and grid of a map, H' W' = the grid that is asked for.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def smoothed(level: Tensor) -> Tensor:
    """Smooths a map (B, c, h, w) by weights 1 2 1 along each side; its border is repeated."""
    padded = F.pad(level, (1, 1, 1, 1), mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(padded, 2, stride=1), 2, stride=1)


def at_grid_of(first: Tensor, level: Tensor) -> Tensor:
    """Brings a map (B, c, h, w) to the grid of the first (B, ., H', W').

    A finer map is averaged, a coarser one interpolated.
    """
    return at_size(level, (first.shape[-2], first.shape[-1]))


def at_size(level: Tensor, size: tuple[int, int]) -> Tensor:
    (height, width), (h, w) = size, level.shape[-2:]
    if h < height or w < width:
        return F.interpolate(level, (height, width), mode="bilinear", align_corners=False)
    if h % height == 0 and w % width == 0:
        return F.avg_pool2d(level, (h // height, w // width))
    return F.adaptive_avg_pool2d(level, (height, width))
