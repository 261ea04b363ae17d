"""Good pictures damaged on purpose: what tells two models apart where no defect is at hand.

Neither learning nor thresholds see these. They ask whether one model still tells damaged from good
as well as another does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nfbmr.data.images import ImageInput, load_image
from nfbmr.deployment.gate import Pictures, inspected
from nfbmr.errors import ExportError
from nfbmr.inspection.inspector import Inspection
from nfbmr.model.bundle import Bundle
from nfbmr.runtimes.protocol import Runtime

_DAMAGED = 64  # pictures damaged on purpose, at least
_LOSS = 0.02  # of pairs that what was learnt again may tell less well, beside chance
_STRENGTHS = (0.25, 0.5, 0.75, 1.0)
_SIDES = (0.1, 0.25)  # shares of the picture's sides
_BRIGHTER = 80.0  # gray values at most, at full strength


def damaged(picture: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """Returns a copy in which one small place shows another place, shifted in brightness.

    Args:
        picture: uint8 (H, W, 3).
        number: draws place, size and shift; strengths take turns.
    """
    rng = np.random.default_rng([number, 1])
    strength = _STRENGTHS[number % len(_STRENGTHS)]
    height, width = (max(2, round(rng.uniform(*_SIDES) * length)) for length in picture.shape[:2])
    tops = rng.integers(0, picture.shape[0] - height + 1, 2)
    lefts = rng.integers(0, picture.shape[1] - width + 1, 2)
    place, source = (
        np.s_[top : top + height, left : left + width]
        for top, left in zip(tops, lefts, strict=True)
    )
    shift = rng.choice((-1, 1)) * rng.uniform(0.2, 1.0) * _BRIGHTER
    mixed = (1 - strength) * picture[place] + strength * (picture[source] + shift)
    found = picture.copy()
    found[place] = np.clip(np.round(mixed), 0, 255).astype(np.uint8)
    return found


def separation(good: NDArray[np.float64], worse: NDArray[np.float64]) -> float:
    """Returns the share of pairs of scores in which the worse one is higher, ties as halves."""
    higher = (worse[:, None] > good[None, :]).mean()
    return float(higher + (worse[:, None] == good[None, :]).mean() / 2)


def damaged_copies(
    good: Sequence[ImageInput], size: tuple[int, int]
) -> tuple[NDArray[np.uint8], ...]:
    """Returns as many damaged copies of each good picture as make enough, of `size` (H, W)."""
    each = -(-_DAMAGED // len(good))  # copies of one picture
    return tuple(
        damaged(load_image(picture, size), each * number + one)
        for number, picture in enumerate(good)
        for one in range(each)
    )


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What one model says of good pictures, of damaged copies of them, and of drawn ones."""

    good: Sequence[Inspection]
    damaged: Sequence[Inspection]
    drawn: Sequence[Inspection]

    @property
    def separation(self) -> float:
        """The share of pairs, a good and a damaged picture, in which the damaged scores higher."""
        good, worse = (np.array([one.score for one in said]) for said in (self.good, self.damaged))
        return separation(good, worse)


def judged(
    bundle: Bundle, runtime: Runtime, pictures: Pictures, copies: Sequence[ImageInput]
) -> Judged:
    """Asks one model about pictures, and damaged `copies` of the good ones.

    Raises:
        ExportError: a picture cannot be judged.
    """
    return Judged(
        good=inspected(bundle, runtime, pictures.good),
        damaged=inspected(bundle, runtime, copies),
        drawn=inspected(bundle, runtime, pictures.drawn),
    )


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A model that was learnt again, beside the one in single precision."""

    p_values: float
    """Largest difference of a p-value of good pictures."""
    separates: float
    """What `Judged.separation` is of the model that was learnt again."""
    separated: float
    """The same in single precision."""


def beside(single: Judged, again: Judged) -> Beside:
    """Compares what was learnt again with the model in single precision, on the same pictures.

    Raises:
        ExportError: it finds less than single precision does, or judges drawn pictures otherwise.
    """
    separated, separates = single.separation, again.separation
    least = separated - _LOSS - 1 / len(single.good)
    if separates < least:
        raise ExportError(
            f"learnt again it tells damaged pictures from good ones in {100 * separates:.1f} % of "
            f"pairs, in single precision {100 * separated:.1f} %; {100 * least:.1f} % is the "
            "least; nothing was kept. Learn from more good pictures, or export with more precision"
        )
    drawn = zip(single.drawn, again.drawn, strict=True)
    if any(one.is_defect != two.is_defect for one, two in drawn):
        raise ExportError(
            "learnt again it judges drawn pictures otherwise than in single precision; nothing "
            "was kept. Learn from more good pictures, or export with more precision"
        )
    good = zip(single.good, again.good, strict=True)
    return Beside(
        p_values=max(abs(one.p_value - two.p_value) for one, two in good),
        separates=separates,
        separated=separated,
    )
