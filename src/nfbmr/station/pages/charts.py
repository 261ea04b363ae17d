"""Charts as SVG, made here: numbers to attributes, nothing for a script to do.

Shapes: coordinates are those of a drawing `WIDTH` x `HEIGHT`, y down.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int32]
Values = NDArray[np.floating]

WIDTH, HEIGHT = 1000, 240
_TOP, _BOTTOM = 12, 4
_BINS = 40
_POINTS = 400  # of a line
_LAST_TICK = 0.98  # of the width, behind which a number would be cut off


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


@dataclass(frozen=True, kw_only=True)
class Lines:
    """What a template draws over the parts of a watch."""

    paths: dict[str, str]
    """Name -> the points of a polyline, as SVG has them."""
    marks: list[float]
    """x of what happened."""
    ticks: list[Tick]
    low: float
    high: float

    def y(self, value: float) -> float:
        """Returns y of a value, within the drawing."""
        return _height(value, self.low, self.high)


def lines(
    series: Mapping[str, tuple[Numbers, Values]],
    between: tuple[float, float],
    last: int,
    *,
    marks: Sequence[int] = (),
) -> Lines:
    """Draws values over numbers of parts; of many points near one another the highest stays.

    Args:
        series: name -> numbers of parts, (P,), from 1 and ascending, and their values, (P,).
        between: the values at the lower and at the upper edge.
        last: the number at the right edge.
        marks: numbers of parts that get a line of their own.
    """
    low, high = between
    last = max(last, 2)
    step = max(1, -(-last // _POINTS))
    paths = {}
    for name, (numbers, values) in series.items():
        points = [
            f"{_width(number, last):.1f},{_height(value, low, high):.1f}"
            for number, value in _highest(numbers, values, step)
        ]
        paths[name] = " ".join(points)
    ticks = [
        Tick(x=_width(int(at), last), text=f"{at:g}") for at in _round_numbers(0, last) if at >= 1
    ]
    return Lines(
        paths=paths,
        marks=[round(_width(number, last), 2) for number in marks],
        ticks=[tick for tick in ticks if tick.x < _LAST_TICK * WIDTH],
        low=low,
        high=high,
    )


def _highest(numbers: Numbers, values: Values, step: int) -> Iterator[tuple[int, float]]:
    """Yields the highest of each `step` parts, with its number: nothing is made of the others."""
    last = int(numbers[-1]) if len(numbers) else 0
    ends = np.searchsorted(numbers, np.arange(0, last + step + 1, step))
    for first, end in pairwise(ends.tolist()):
        if first < end:
            at = first + int(values[first:end].argmax())
            yield int(numbers[at]), float(values[at])


def _width(number: int, last: int) -> float:
    return WIDTH * number / last


def _height(value: float, low: float, high: float) -> float:
    share = (value - low) / (high - low)
    axis = HEIGHT - _BOTTOM
    return round(axis - (axis - _TOP) * min(1.0, max(0.0, share)), 2)
