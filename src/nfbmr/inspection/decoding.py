"""A picture brought to the size that a model looks at, or why it cannot be.

Shapes: H W = the model's size in pixels.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nfbmr.data.images import ImageInput, load_with_size, resize_image
from nfbmr.data.sizes import within
from nfbmr.errors import ImageError
from nfbmr.inspection.result import WORK, About, Failure
from nfbmr.model.bundle import Bundle
from nfbmr.scoring.looks import looks_of_pixels


@dataclass(frozen=True)
class Named:
    """A picture that came from no file of its own, and what to call it where it is spoken of."""

    image: ImageInput
    name: str


@dataclass(frozen=True)
class Decoded:
    """A picture as the network takes it."""

    pixels: NDArray[np.uint8]
    """(H, W, 3)."""
    about: About
    """Its size is the one that it had, its looks are those of `looks_of_pixels`."""


def decode(image: ImageInput | Named, bundle: Bundle) -> Decoded:
    """Reads a picture, brings it to the model's size, turns it, paints over what is ignored.

    Raises:
        ImageError: it cannot be read.
    """
    size = bundle.facts.whole or bundle.facts.size
    source = image.image if isinstance(image, Named) else image
    pixels, full, has_more, bits = load_with_size(source, size, bundle.settings.data)
    if bundle.ignore is not None:
        pixels = bundle.ignore.paint(pixels)
    turn = None
    if bundle.pose is not None:
        pixels, turn = bundle.pose.align(pixels)
    about = About(
        path=_path_of(image),
        size=full,
        turn=turn,
        looks=looks_of_pixels(pixels),
        has_more=has_more,
        bits=bits,
        guide=_guide(pixels) if bundle.settings.scoring.by_judges else None,
    )
    return Decoded(pixels, about)


def _guide(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns the mean of the colours (h, w) of pixels (H, W, 3), those of a large one smaller."""
    pixels = resize_image(pixels, within((pixels.shape[0], pixels.shape[1]), WORK))
    red, green, blue = (pixels[..., channel].astype(np.uint16) for channel in range(3))
    return ((red + green + blue) // 3).astype(np.uint8)


def try_decode(image: ImageInput | Named, bundle: Bundle) -> Decoded | Failure:
    """Reads a picture of a stream as `decode` does; one that cannot be read does not end it."""
    try:
        return decode(image, bundle)
    except (ImageError, MemoryError) as error:
        return Failure(path=_path_of(image), error=str(error) or "out of memory")


def _path_of(image: ImageInput | Named) -> str | None:
    if isinstance(image, Named):
        return image.name
    return os.fspath(image) if isinstance(image, str | os.PathLike) else None
