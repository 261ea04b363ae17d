"""Charts as SVG, made here: numbers to attributes, nothing for a script to do.

Shapes: coordinates are those of a drawing `WIDTH` x `HEIGHT`, y down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT = 1000, 240
_TOP, _BOTTOM = 12, 4
_BINS = 40


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One of a histogram's."""

    x: float
    y: float
    width: float
    height: float
    count: int


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A number below the axis."""

    x: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """What a template draws."""

    low: float
    """The score at the left edge."""
    high: float
    """Likewise at the right."""
    bars: list[Bar]
    ticks: list[Tick]
    axis: float
    """y of the axis."""

    def place(self, score: float) -> float:
        """Returns x of a score, within the drawing."""
        share = (score - self.low) / (self.high - self.low)
        return round(WIDTH * min(1.0, max(0.0, share)), 2)


def histogram(scores: Sequence[float], marks: Sequence[float]) -> Histogram:
    """Draws scores of good pictures, wide enough for some marks.

    Args:
        scores: ascending, two at least.
        marks: thresholds that are to lie within the drawing.
    """
    low, high = min(scores[0], *marks), max(scores[-1], *marks)
    margin = 0.08 * max(high - low, 1e-3)
    # a browser counts in fewer digits: a handle at an end of more would lie outside, and be refused
    low, high = round(low - margin, 6), round(high + 3 * margin, 6)
    counts, _ = np.histogram(scores, bins=_BINS, range=(low, high))
    axis = HEIGHT - _BOTTOM
    scale = (axis - _TOP) / max(1, int(counts.max()))
    step = WIDTH / _BINS
    bars = [
        Bar(
            x=round(number * step + 1, 2),
            y=round(axis - scale * count, 2),
            width=round(step - 2, 2),
            height=round(scale * count, 2),
            count=int(count),
        )
        for number, count in enumerate(counts)
        if count
    ]
    found = Histogram(low=low, high=high, bars=bars, ticks=[], axis=axis)
    ticks = [Tick(x=found.place(at), text=f"{at:g}") for at in _round_numbers(low, high)]
    return Histogram(low=low, high=high, bars=bars, ticks=ticks, axis=axis)


def _round_numbers(low: float, high: float) -> list[float]:
    """Returns some ten numbers of few digits between two."""
    rough = (high - low) / 9
    power = 10.0 ** np.floor(np.log10(rough))
    step = float(next(power * one for one in (1, 2, 5, 10) if power * one >= rough))
    first = int(np.ceil(low / step))
    return [round(step * n, 10) for n in range(first, int(np.floor(high / step)) + 1)]
