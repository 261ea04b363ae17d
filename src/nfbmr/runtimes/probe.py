"""Whether this processor computes a coarse graph as the one that it was learnt on.

Shapes: N = images, H W = the model's size in pixels, K = raw maps, H' W' = grid of the maps.
"""

from __future__ import annotations

import numpy as np

from nfbmr.runtimes.protocol import Runtime

PROBE_ALLOWED = {"bf16": 5e-2, "int8": 1e-3}
"""How far a map's mean may part on another processor, as a share."""


_BLOCK = 32  # pixels of a drawn picture's blocks


def probe(runtime: Runtime, size: tuple[int, int]) -> tuple[float, ...]:
    """Returns the means of the raw maps of a drawn picture, blocks of noise of (H, W) pixels."""
    height, width = size
    shape = (1, -(-height // _BLOCK), -(-width // _BLOCK), 3)
    blocks = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    pixels = blocks.repeat(_BLOCK, axis=1).repeat(_BLOCK, axis=2)[:, :height, :width]
    maps = runtime.run(np.ascontiguousarray(pixels))
    return tuple(float(mean) for mean in maps.mean(axis=(0, 2, 3), dtype=np.float64))
