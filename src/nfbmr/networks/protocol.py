"""What gives features: SNN in torch, or a graph of it in a runtime.

Shapes: B = images, H W = the image's pixels, H' W' = grid of y, C = channels of y, k = cells of the
detail along the side of a cell of y, c = its channels, c* k* = likewise of the finest,
C' = C + c * k * k + c* * k* * k*, all that comes out.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class FeatureSource(Protocol):
    """uint8 pixels to source features y and, behind them, the detail and the finest."""

    @property
    def label(self) -> str:
        """Name and stages, for records."""
        ...

    @property
    def channels(self) -> int:
        """C."""
        ...

    @property
    def detail_channels(self) -> int:
        """Of the detail, c * k * k; 0 without."""
        ...

    @property
    def detail_factor(self) -> int:
        """k; 1 without detail."""
        ...

    @property
    def finest_channels(self) -> int:
        """Of the finest, c* * k* * k*; 0 without."""
        ...

    @property
    def finest_factor(self) -> int:
        """k*; 1 without a finest."""
        ...

    @property
    def outputs(self) -> int:
        """C', the channels of y, detail and finest together."""
        ...

    def __call__(self, pixels: Tensor) -> Tensor:
        """Maps pixels, uint8 (B, H, W, 3) RGB, to y, detail and finest, float32 (B, C', H', W')."""
        ...

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Returns (H', W') for images of `size` (H, W)."""
        ...

    def fingerprint(self) -> str:
        """Names what y depends on: 64 hexadecimal digits, equal for equal features."""
        ...

    def ready(self, device: torch.device) -> FeatureSource:
        """Returns what computes the same features on `device`, as quickly as it can."""
        ...
