"""An inspection's heatmap as it is kept: small, in whole numbers, and drawn when it is looked at.

Shapes: h w = the kept heatmap. A value v of its PNG is v / 64 on the score's scale, 255 being
that and all above; outside of regions and where no overlay shows anything it is 0, so a good
part has none.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nfbmr.data.images import read_image
from nfbmr.inspection.pictures import HEATMAP_VISIBLE, heatmap_in_regions, heatmap_layer
from nfbmr.inspection.result import Inspection

_STEPS = 64.0  # of the PNG, in 1 on the score's scale
_MOST_SIDE = 256


def to_keep(result: Inspection) -> bytes | None:
    """Returns the heatmap as a gray PNG (h, w); None where nothing of it would show."""
    if not result.regions:
        return None
    scale = min(1.0, _MOST_SIDE / max(result.size))
    size = (max(1, round(scale * result.size[0])), max(1, round(scale * result.size[1])))
    heat = heatmap_in_regions(result.heatmap_at(size), result.regions, result.size)
    shown = np.where(heat > HEATMAP_VISIBLE, np.clip(np.rint(_STEPS * heat), 0, 255), 0)
    if not shown.any():
        return None
    return _png(shown.astype(np.uint8))


def drawn(kept: bytes | None) -> bytes:
    """Returns a kept heatmap as a PNG in colours, clear where nothing shows, to lay over a picture.

    It has the picture's ratio of sides, or is a single clear pixel where nothing shows.
    """
    if kept is None:
        return _png(np.zeros((1, 1, 4), np.uint8))
    levels = read_image(kept)[..., 0]
    return _png(heatmap_layer(levels.astype(np.float32) / np.float32(_STEPS)))


def _png(values: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()
