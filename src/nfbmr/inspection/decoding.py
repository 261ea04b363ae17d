"""A picture brought to the size that a model looks at, or why it cannot be.

Shapes: H W = the model's size in pixels.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nfbmr.data.images import ImageInput, load_with_size
from nfbmr.errors import ImageError
from nfbmr.inspection.result import Failure


@dataclass(frozen=True)
class Decoded:
    """A picture as the network takes it."""

    path: str | None
    """Its file, where it came from one."""
    pixels: NDArray[np.uint8]
    """(H, W, 3)."""
    size: tuple[int, int]
    """(H, W) that it had."""


def decode(image: ImageInput, size: tuple[int, int], white: int | None = None) -> Decoded:
    """Reads a picture, with `white` as `read_image` does, and brings it to `size` (H, W).

    Raises:
        ImageError: it cannot be read.
    """
    return Decoded(_path_of(image), *load_with_size(image, size, white))


def try_decode(
    image: ImageInput, size: tuple[int, int], white: int | None = None
) -> Decoded | Failure:
    """Reads a picture of a stream as `decode` does; one that cannot be read does not end it."""
    try:
        return decode(image, size, white)
    except (ImageError, MemoryError) as error:
        return Failure(path=_path_of(image), error=str(error) or "out of memory")


def _path_of(image: ImageInput) -> str | None:
    return os.fspath(image) if isinstance(image, str | os.PathLike) else None
