"""Masks: where a person marked a defect.

H W   height and width in pixels
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from nfbmr.data.decoding import as_path, opened, upright_values


def read_mask(path: str | os.PathLike[str]) -> NDArray[np.bool_]:
    """Reads a mask of defects: whatever is above zero is a defect.

    A palette picture is read by its index, not its colours; of colours any channel counts; alpha
    is ignored. Masks saved as JPEG carry noise near zero and would come out too large.

    Returns:
        bool (H, W), upright as `read_image` turns it.

    Raises:
        ImageError: as `read_image`.
    """
    path = as_path(path)
    with opened(path) as image:
        values = upright_values(image, str(path), palette_index=True)
        colours = 1 if values.shape[2] == 2 else 3  # the rest is alpha
        return np.asarray((values[..., :colours] > 0).any(axis=2), order="C")
