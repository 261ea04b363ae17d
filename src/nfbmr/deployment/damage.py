"""Good pictures damaged on purpose: what tells two models apart where no defect is at hand.

Neither learning nor thresholds see these. They ask whether one model still tells damaged from good
as well as another does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from nfbmr.data.images import AS_STORED, ImageInput, load_image
from nfbmr.settings.schema import DataSettings

STRENGTHS = tuple(2 ** (-step / 4) for step in range(32))
"""From the full one down to where bytes hardly change."""

_SHARES = (0.25, 0.5, 0.75, 1.0)
_SIDES = (0.1, 0.25)  # shares of the picture's sides
_BRIGHTER = 80.0  # gray values at most, at full strength


def damaged(picture: NDArray[np.uint8], number: int, strength: float = 1.0) -> NDArray[np.uint8]:
    """Returns a copy in which one small place shows another place, shifted in brightness.

    Args:
        picture: uint8 (H, W, 3).
        number: draws place, size and shift; shares take turns.
        strength: of the change, in (0, 1]; places, sizes and shifts are the same at any.
    """
    rng = np.random.default_rng([number, 1])
    share = strength * _SHARES[number % len(_SHARES)]
    height, width = (max(2, round(rng.uniform(*_SIDES) * length)) for length in picture.shape[:2])
    tops = rng.integers(0, picture.shape[0] - height + 1, 2)
    lefts = rng.integers(0, picture.shape[1] - width + 1, 2)
    place, source = (
        np.s_[top : top + height, left : left + width]
        for top, left in zip(tops, lefts, strict=True)
    )
    shift = rng.choice((-1, 1)) * rng.uniform(0.2, 1.0) * _BRIGHTER
    mixed = (1 - share) * picture[place] + share * (picture[source] + shift)
    found = picture.copy()
    found[place] = np.clip(np.round(mixed), 0, 255).astype(np.uint8)
    return found


def damaged_copies(
    good: Sequence[ImageInput],
    size: tuple[int, int],
    *,
    strength: float,
    each: int,
    how: DataSettings = AS_STORED,
) -> Iterator[NDArray[np.uint8]]:
    """Yields `each` damaged copies of each good picture in turn, of `size` (H, W).

    Raises:
        ImageError: a picture cannot be read.
    """
    for number, picture in enumerate(good):
        pixels = load_image(picture, size, how)
        for one in range(each):
            yield damaged(pixels, each * number + one, strength)


def fitting_strength(separation_at: Callable[[float], float], aim: float) -> float:
    """Returns the one of `STRENGTHS` at which damaged and good are told apart nearest to `aim`.

    Stronger damage is told better, so a few questions do. Where none comes near, it is the
    strongest or the weakest.

    Args:
        separation_at: the share of pairs, at a strength, in which the damaged picture scores
            higher.
        aim: a share above a half.
    """
    asked: dict[int, float] = {}
    strong, weak = 0, len(STRENGTHS) - 1
    while strong <= weak:
        middle = (strong + weak) // 2
        asked[middle] = separation_at(STRENGTHS[middle])
        if asked[middle] > aim:
            strong = middle + 1
        else:
            weak = middle - 1
    return STRENGTHS[min(asked, key=lambda step: abs(asked[step] - aim))]
