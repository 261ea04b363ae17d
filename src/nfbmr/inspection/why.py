"""Why: each region of a picture beside the same place on the good part that is nearest there.

Shapes: E = examples, H W = the picture, h w = the examples' size. numpy and Pillow alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nfbmr.data.images import ImageInput, read_image, resize_image
from nfbmr.data.pose import background_of
from nfbmr.errors import ImageError
from nfbmr.inspection.regions import Region
from nfbmr.inspection.result import Inspection

_SHIFT = 4
"""Pixels of an example, each way: parts do not lie on the same pixel in every picture."""
_MARGIN = 0.5
"""Of a region's sides, shown around it, since a place is told by its surroundings."""
_LEAST = 24
"""Pixels of an example that a crop has at least on a side."""
_SAMPLES = 64
"""Points along a side that are compared at most."""


@dataclass(frozen=True, kw_only=True)
class Why:
    """A region of a picture, and the same place on a good training picture."""

    region: Region
    here: NDArray[np.uint8] = field(repr=False)
    """The region and its surroundings, (h', w', 3), cut out of the picture."""
    there: NDArray[np.uint8] = field(repr=False)
    """The good part there, (h', w', 3), brought to the same size from the smaller example."""
    example: int
    """Which of the model's examples, from 0."""
    box: tuple[int, int, int, int]
    """Of `here`: left, top, right, bottom in pixels of the picture, right and bottom exclusive."""
    shift: tuple[int, int]
    """How far (x, y) `there` lies from the same place, in pixels of the example as it then lies."""


def compared(
    image: ImageInput,
    result: Inspection,
    examples: Sequence[NDArray[np.uint8]],
    white: int | None = None,
    most: int | None = None,
) -> tuple[Why, ...]:
    """Finds for each region the example that is nearest to the picture at its place.

    Nearest is the smallest mean absolute difference of gray pixels, each less the median of its
    crop, so that a brighter light counts for nothing; within `_SHIFT` pixels of the same place.
    Where the picture was turned before the network, examples lie in the pose that it was turned to,
    and are laid first as its part lies.

    Args:
        image: the picture that was inspected.
        result: what was said of it.
        examples: E pictures (h, w, 3) of one size.
        white: as of `read_image`.
        most: regions that are looked at, the highest first; by default all.

    Returns:
        One for each of `result.regions`, in order; none where there are no examples.

    Raises:
        ImageError: the picture cannot be read, or is not of the size of the one inspected.
    """
    regions = result.regions[:most]
    if not examples or not regions:
        return ()
    pixels = read_image(image, white)
    if pixels.shape[:2] != result.size:
        raise ImageError(
            f"the picture has {pixels.shape[0]} x {pixels.shape[1]} pixels (H x W), that of the "
            f"result {result.size[0]} x {result.size[1]}: give the one that was inspected"
        )
    size = examples[0].shape[:2]
    shown = resize_image(pixels, (size[0], size[1]))
    if result.turn is not None:
        ground = background_of(shown)
        examples = [result.turn.picture_back(example, ground) for example in examples]
    small = _gray(shown)
    good = np.stack([_gray(_widened(example)) for example in examples])  # E h+ w+
    return tuple(_why(pixels, small, region, examples, good) for region in regions)


def _why(
    image: NDArray[np.uint8],
    small: NDArray[np.float32],
    region: Region,
    examples: Sequence[NDArray[np.uint8]],
    good: NDArray[np.float32],
) -> Why:
    scale = np.array(small.shape) / image.shape[:2]
    rows = _span(region.box[1] * scale[0], region.box[3] * scale[0], small.shape[0])
    columns = _span(region.box[0] * scale[1], region.box[2] * scale[1], small.shape[1])
    number, (x, y) = _nearest(small, good, rows, columns)
    top, left = rows[0] + _SHIFT + y, columns[0] + _SHIFT + x
    there = _widened(examples[number])[top:, left:][: rows[1] - rows[0], : columns[1] - columns[0]]
    up, down = _edges(rows, small.shape[0], image.shape[0])
    start, end = _edges(columns, small.shape[1], image.shape[1])
    here = image[up:down, start:end].copy()
    return Why(
        region=region,
        here=here,
        there=resize_image(np.ascontiguousarray(there), (down - up, end - start)),
        example=number,
        box=(start, up, end, down),
        shift=(x, y),
    )


def _span(first: float, last: float, side: int) -> tuple[int, int]:
    """Returns first and last pixel (exclusive) of a crop with margins, within a side."""
    length = min(side, max(_LEAST, int(np.ceil((last - first) * (1 + 2 * _MARGIN)))))
    start = min(max(0, round((first + last - length) / 2)), side - length)
    return start, start + length


def _edges(span: tuple[int, int], side: int, full: int) -> tuple[int, int]:
    """Brings a span on a side of an example to that side of the picture, whole pixels of it."""
    return span[0] * full // side, -(-span[1] * full // side)


def _nearest(
    small: NDArray[np.float32],
    good: NDArray[np.float32],
    rows: tuple[int, int],
    columns: tuple[int, int],
) -> tuple[int, tuple[int, int]]:
    """Returns the example and the shift (x, y) with the least difference, the nearer of equals.

    Args:
        small: (h, w), the picture in gray.
        good: (E, h + 2 `_SHIFT`, w + 2 `_SHIFT`), the examples likewise, widened.
        rows: first and last, exclusive, of what is compared.
        columns: likewise.
    """
    step = -(-max(rows[1] - rows[0], columns[1] - columns[0]) // _SAMPLES)
    crop = np.s_[..., rows[0] : rows[1] : step, columns[0] : columns[1] : step]
    here = small[crop] - np.median(small[crop])
    light = np.median(good[:, _SHIFT:, _SHIFT:][crop], axis=(1, 2), keepdims=True)
    reach = range(-_SHIFT, _SHIFT + 1)
    best: tuple[float, int, tuple[int, int]] | None = None
    for x, y in sorted(((x, y) for x in reach for y in reach), key=lambda at: (np.hypot(*at), at)):
        there = good[:, y + _SHIFT :, x + _SHIFT :][crop] - light
        differences = np.abs(there - here).mean(axis=(1, 2))
        number = int(differences.argmin())
        if best is None or differences[number] < best[0]:
            best = float(differences[number]), number, (x, y)
    assert best is not None
    return best[1], best[2]


def _widened(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeats the edge of a picture (h, w, 3), so that any shift finds something there."""
    return np.pad(image, ((_SHIFT, _SHIFT), (_SHIFT, _SHIFT), (0, 0)), mode="edge")


def _gray(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(image.mean(axis=2, dtype=np.float32))
