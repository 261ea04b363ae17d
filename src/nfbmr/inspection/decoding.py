"""A picture brought to the size that a model looks at, or why it cannot be.

Shapes: H W = the model's size in pixels.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nfbmr.data.images import ImageInput, load_with_size
from nfbmr.data.pose import Pose, Turn
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
    turn: Turn | None = None
    """How it was turned; None where it lies as it lay."""


def decode(
    image: ImageInput,
    size: tuple[int, int],
    white: int | None = None,
    pose: Pose | None = None,
) -> Decoded:
    """Reads a picture, with `white` as `read_image` does, brings it to `size` (H, W), turns it.

    Raises:
        ImageError: it cannot be read.
    """
    pixels, full = load_with_size(image, size, white)
    if pose is None:
        return Decoded(_path_of(image), pixels, full)
    aligned, turn = pose.align(pixels)
    return Decoded(_path_of(image), aligned, full, turn)


def try_decode(
    image: ImageInput,
    size: tuple[int, int],
    white: int | None = None,
    pose: Pose | None = None,
) -> Decoded | Failure:
    """Reads a picture of a stream as `decode` does; one that cannot be read does not end it."""
    try:
        return decode(image, size, white, pose)
    except (ImageError, MemoryError) as error:
        return Failure(path=_path_of(image), error=str(error) or "out of memory")


def _path_of(image: ImageInput) -> str | None:
    return os.fspath(image) if isinstance(image, str | os.PathLike) else None
