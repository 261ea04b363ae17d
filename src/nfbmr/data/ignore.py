"""Areas of the picture that never count: a fixture, a clock, a lamp's reflection.

They are painted with one gray after the resize, wherever the network is to see a picture: what lies
there cannot reach it.

H W   height and width of the model's pictures in pixels
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nfbmr.data.images import resize_map
from nfbmr.errors import SettingsError

GRAY = 127
"""What ignored pixels are painted with, in each colour."""
MOST = 0.95
"""Share of the picture that may be ignored, at most."""
_OTHER_SHAPE = 0.05  # by which a mask's aspect ratio may differ from the pictures'


@dataclass(frozen=True, eq=False)
class Ignored:
    """Which pixels of a model's pictures never count."""

    mask: NDArray[np.bool_]
    """(H, W) of the model's size, True where nothing counts."""

    @cached_property
    def key(self) -> str:
        """Names the mask: a SHA-256 of its size and pixels."""
        said = repr(self.mask.shape).encode() + np.packbits(self.mask).tobytes()
        return hashlib.sha256(said).hexdigest()

    def paint(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns a copy of a picture, uint8 (H, W, 3), whose ignored pixels are `GRAY`."""
        painted = picture.copy()
        painted[self.mask] = GRAY
        return painted

    def counts(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """Returns float32 (h, w) of `size`: 0 where the nearest pixel is ignored, else 1."""
        return np.asarray(~_nearest(self.mask, size), np.float32)

    def describe(self) -> str:
        """Returns a sentence for the screen and the model card."""
        share = share_in_words(float(self.mask.mean()), digits=1)
        return f"{share} of the picture is ignored: what lies there never counts"


def share_in_words(share: float, digits: int = 0) -> str:
    """Returns a share that is ignored in percent, with so many digits; 0 % of none alone."""
    if 0 < share < 0.001:
        return "less than 0.1 %"
    return f"{100 * share:.{digits if share >= 0.01 or not share else 1}f} %"


def nothing_ignored(*, painted: bool = False, earlier: bool = False) -> str:
    """Returns the warning of a mask that is 0 everywhere.

    Args:
        painted: whether the model was fitted with a mask, which stays.
        earlier: whether it takes the place of what an earlier calibration left out.
    """
    but = ", but for what the fit ignored" if painted else ""
    again = (
        ". What an earlier calibration left out counts again; calibrate with its mask to leave it "
        "out"
    )
    return (
        f"The mask of what is to be ignored is 0 everywhere: the whole picture counts{but}"
        f"{again if earlier else ''}"
    )


def ignored_in(
    mask: NDArray[np.bool_], pictures: Sequence[tuple[int, int]], size: tuple[int, int]
) -> Ignored:
    """Brings a mask of what is to be ignored to a model's size.

    It is first brought to the pictures' median size by the nearest pixel. Then each pixel of the
    model's is ignored that an ignored pixel would have a part in.

    Args:
        mask: bool of any size, True where nothing counts, and somewhere it does.
        pictures: (H, W) of each good picture.
        size: (H, W) of the model.

    Raises:
        SettingsError: its aspect ratio is not that of the pictures, or next to nothing is left.
    """
    median = refuse_other_shape(mask, pictures)
    full = _nearest(mask, median)
    found = resize_map(full.astype(np.float32), size) > 0
    if found.mean() > MOST:
        raise too_much(float(found.mean()), MOST)
    return Ignored(found)


def too_much(ignored: float, most: float) -> SettingsError:
    """Says that a mask ignores more of the picture than it may, both as shares."""
    return SettingsError(
        f"ignore: the mask leaves {100 * (1 - ignored):.1f} % of the picture; expected "
        f"{100 * (1 - most):.0f} % at least. What is not 0 is ignored: invert the mask where "
        "it marks what counts, and save it as PNG, for JPEG leaves noise"
    )


def refuse_other_shape(
    mask: NDArray[np.bool_], pictures: Sequence[tuple[int, int]]
) -> tuple[int, int]:
    """Returns the median size (H, W) of good pictures that a mask was drawn on one of.

    Raises:
        SettingsError: its aspect ratio is not that of the pictures.
    """
    median = np.median(pictures, axis=0)
    aspect = float(np.median([width / height for height, width in pictures]))
    height, width = mask.shape
    if not 1 / (1 + _OTHER_SHAPE) <= width / height / aspect <= 1 + _OTHER_SHAPE:
        raise SettingsError(
            f"ignore: found a mask of {height} x {width} (H x W), an aspect ratio of "
            f"{width / height:.3g}; expected {aspect:.3g} as the good pictures have, whose median "
            f"is {median[0]:.0f} x {median[1]:.0f}; draw it on one of them"
        )
    return round(median[0]), round(median[1])


def _nearest(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for new, old in zip(size, mask.shape, strict=True)
    )
    return np.asarray(mask[rows[:, None], columns])
