"""A picture brought to the size that a model looks at, or why it cannot be.

Shapes: H W = the model's size in pixels.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nfbmr.data.images import ImageInput, load_with_size
from nfbmr.data.pose import Turn
from nfbmr.errors import ImageError
from nfbmr.inspection.result import Failure
from nfbmr.model.bundle import Bundle
from nfbmr.scoring.looks import looks_of_pixels


@dataclass(frozen=True)
class Decoded:
    """A picture as the network takes it."""

    path: str | None
    """Its file, where it came from one."""
    pixels: NDArray[np.uint8]
    """(H, W, 3)."""
    size: tuple[int, int]
    """(H, W) that it had."""
    turn: Turn | None = None
    """How it was turned; None where it lies as it lay."""
    looks: Mapping[str, float] = field(default_factory=dict)
    """How bright and sharp it is, by `looks_of_pixels`."""
    has_more: bool = False
    """Whether its file holds other pages or frames, which are not looked at."""
    bits: int = 8
    """Of a channel, as it is stored."""


def decode(image: ImageInput, bundle: Bundle) -> Decoded:
    """Reads a picture, brings it to the model's size, turns it, paints over what is ignored.

    Raises:
        ImageError: it cannot be read.
    """
    size = bundle.facts.whole or bundle.facts.size
    pixels, full, has_more, bits = load_with_size(image, size, bundle.settings.data)
    if bundle.ignore is not None:
        pixels = bundle.ignore.paint(pixels)
    turn = None
    if bundle.pose is not None:
        pixels, turn = bundle.pose.align(pixels)
    looks = looks_of_pixels(pixels)
    return Decoded(_path_of(image), pixels, full, turn, looks, has_more, bits)


def try_decode(image: ImageInput, bundle: Bundle) -> Decoded | Failure:
    """Reads a picture of a stream as `decode` does; one that cannot be read does not end it."""
    try:
        return decode(image, bundle)
    except (ImageError, MemoryError) as error:
        return Failure(path=_path_of(image), error=str(error) or "out of memory")


def _path_of(image: ImageInput) -> str | None:
    return os.fspath(image) if isinstance(image, str | os.PathLike) else None
