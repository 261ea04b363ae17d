"""Which training pictures a model keeps small copies of, and how small."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nfbmr.data.images import AS_STORED, ImageInput, load_image, resize_image
from nfbmr.data.pose import Pose
from nfbmr.model.examples import MOST_BYTES
from nfbmr.settings.schema import DataSettings

_QUALITY = 85
_MOST_PIXELS = 2**20  # of one, before it is known how well it compresses


def examples_of(
    pictures: Sequence[ImageInput],
    count: int,
    size: tuple[int, int],
    how: DataSettings = AS_STORED,
    pose: Pose | None = None,
) -> tuple[bytes, ...]:
    """Makes small copies of good pictures, drawn evenly from all of them.

    Args:
        pictures: those that were trained on.
        count: how many copies at most.
        size: (H, W) that the model brings pictures to; the copies are smaller where they would
            take more than `MOST_BYTES` together.
        how: pictures are read.
        pose: what each is turned to, as the network sees it; None: they stay as they lie.

    Returns:
        JPEGs, in the order of the pictures.

    Raises:
        ImageError: a picture cannot be read.
    """
    if not count or not pictures:
        return ()
    chosen = np.linspace(0, len(pictures) - 1, min(count, len(pictures))).round().astype(int)
    now = _smaller(size, _MOST_PIXELS / (size[0] * size[1]))
    if pose is None:
        images = [load_image(pictures[index], now, how) for index in chosen]
    else:  # which knows pictures of this size alone
        turned = (pose.align(load_image(pictures[index], size, how))[0] for index in chosen)
        images = [resize_image(image, now) for image in turned]
    while True:
        jpegs = tuple(_jpeg(resize_image(image, now)) for image in images)
        total = sum(map(len, jpegs))
        if total <= MOST_BYTES or now == (1, 1):
            return jpegs
        now = _smaller(now, 0.9 * MOST_BYTES / total)


def _smaller(size: tuple[int, int], share: float) -> tuple[int, int]:
    """Returns (H, W) with a share of the pixels, the ratio of sides kept; never more than now."""
    factor = min(1.0, math.sqrt(share))
    return max(1, int(factor * size[0])), max(1, int(factor * size[1]))


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "jpeg", quality=_QUALITY)
    return buffer.getvalue()
