"""Masks: where a person marked a defect, or what never counts.

H W   height and width in pixels
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from nfbmr.data.decoding import as_path, blamed_on, opened, upright_values
from nfbmr.data.images import as_channels
from nfbmr.data.tiff import meant
from nfbmr.errors import ImageError

MaskInput: TypeAlias = str | os.PathLike[str] | Image.Image | NDArray[Any]
"""A path, a Pillow image, or an array (H, W) or (H, W, 1 | 3 | 4)."""

_LEVELS = 4  # a mask has so many values at most: background, a few classes
_BLURRED = 0.01  # share of the pixels that JPEG or smoothing leaves between two values


def read_mask(source: MaskInput) -> NDArray[np.bool_]:
    """Reads a mask: whatever is above zero is marked.

    A palette picture is read by its index, not its colours; of colours any channel counts. What is
    transparent is not marked; where all else is of one colour, alpha says what is: so do programs
    for painting write it. An alpha of one value is ignored. Masks saved as JPEG carry noise near
    zero and would come out too large.

    Returns:
        bool (H, W), upright as `read_image` turns it.

    Raises:
        ImageError: as `read_image`.
    """
    return np.asarray((_colours(source) > 0).any(axis=2), order="C")


def read_masks(paths: Sequence[Path]) -> NDArray[np.bool_]:
    """Reads the masks of one picture, at least one and all of one size, and joins them.

    Returns:
        bool (H, W): what any of them marks.

    Raises:
        ImageError: as `read_image`.
    """
    joined = read_mask(paths[0])
    for path in paths[1:]:
        joined |= read_mask(path)
    return joined


def marks_something(path: str | os.PathLike[str]) -> bool:
    """Whether a mask marks a defect: it has two values, or is full.

    Masks of good parts are of one value, mostly 0.

    Raises:
        ImageError: as `read_image`.
    """
    values = _colours(path)
    low, high = values.min(), values.max()
    full = 1 if values.dtype == np.bool_ else np.iinfo(values.dtype).max if _is_whole(values) else 1
    return bool(low != high or low == full)


def is_drawn(path: str | os.PathLike[str]) -> bool:
    """Whether a picture looks like a mask: two values, or a few; False where it cannot be read."""
    return drawn_levels(path) > 0


def drawn_levels(path: str | os.PathLike[str]) -> int:
    """Returns how many values a picture has that looks like a mask, more than two as two.

    0 where it looks like none, or cannot be read; 1 where it marks nothing.
    """
    try:
        values = _colours(path)
    except ImageError:
        return 0
    levels = min(len(np.unique(values)), _LEVELS + 1)
    if levels <= _LEVELS:
        return min(levels, 2)
    low, high = float(values.min()), float(values.max())
    near = (high - low) / 16
    between = (values > low + near) & (values < high - near)
    return 2 if between.mean() <= _BLURRED and high > low else 0


def _is_whole(values: NDArray[Any]) -> bool:
    return values.dtype.kind in "ui"


def _colours(source: MaskInput) -> NDArray[Any]:
    values = _values(source)
    colours = values[..., : 1 if values.shape[2] == 2 else 3]
    alpha = values[..., -1:]
    if values.shape[2] not in {2, 4} or alpha.min() == alpha.max():
        return colours
    shown = colours[alpha[..., 0] > 0]
    is_plain = not len(shown) or (shown == shown[0]).all()
    nothing = values.dtype.type(0)
    if is_plain:
        return np.where(alpha > alpha.min(), alpha, nothing)
    return np.where(alpha > 0, colours, nothing)


def _values(source: MaskInput) -> NDArray[Any]:
    if isinstance(source, np.ndarray):
        return as_channels(source, f"mask of {source.dtype}, shape {source.shape}")
    if isinstance(source, Image.Image):
        with blamed_on(name := f"Pillow image of mode {source.mode!r}"):
            values = upright_values(source, name, palette_index=True)
            return meant(values, source) if isinstance(source, TiffImageFile) else values
    path = as_path(source)
    with opened(path) as image:
        values = upright_values(image, str(path), palette_index=True)
        return meant(values, image) if isinstance(image, TiffImageFile) else values
