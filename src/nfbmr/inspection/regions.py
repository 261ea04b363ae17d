"""Heatmap -> the places that stand out: box, outline, area, height and rarity of each.

Shapes: h w = the heatmap at hand, H W = the picture, P = points of an outline. Points are (x, y), x
to the right and y down, in pixels: whole numbers at the corners of pixels, so that (0, 0) is the
picture's corner and (W, H) the one across. Higher = more anomalous.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.scoring.conformal import p_values
from nfbmr.scoring.heat import LOW, edge_of, peaks_of

Judged = Sequence[tuple[NDArray[np.float32], Sequence[float]]]
"""Of each judge a map (h, w) of what it sees, and its highest points in good pictures."""

MOST = 32
"""Regions of a picture; what is unusual all over need not be told in a thousand pieces."""

_MOST_POINTS = 56  # of an outline; 32 of them as JSON then fit a cell of a spreadsheet
_TOLERANCE = 0.3  # pixels of the heatmap
_TINY = 1e-12
_ROUNDING = 1e-6  # of a pixel, in products of sizes


@dataclass(frozen=True, kw_only=True)
class Region:
    """One place of a picture that stands out."""

    box: tuple[int, int, int, int]
    """Left, top, right, bottom in pixels of the picture; right and bottom are exclusive."""
    outline: tuple[tuple[float, float], ...]
    """Corners (x, y) of a polygon around it, closed from the last to the first, clockwise on the
    screen; simplified, holes passed over. In pixels of the picture to a tenth, within the box."""
    area: int
    """Pixels of the picture, those of holes left out; at least 1."""
    area_mm2: float | None
    """Square millimetres; None unless the setting `mm_per_pixel` says the scale."""
    peak: float
    """Its highest point, on the heatmap's scale."""
    at: tuple[int, int]
    """(x, y), the pixel of the picture where that is."""
    p_value: float | None
    """Conformal: with about this probability at most, a judge sees in a good picture anything as
    unusual anywhere. None of models that do not know what theirs saw."""

    def to_dict(self) -> dict[str, Any]:
        """Returns its fields as JSON holds them: numbers and lists."""
        return vars(self) | {
            "box": list(self.box),
            "outline": [list(point) for point in self.outline],
            "at": list(self.at),
        }


def regions_of(
    heat: NDArray[np.float32],
    threshold: float,
    size: tuple[int, int],
    judged: Judged = (),
    *,
    edge: float | None = None,
    highest: float | None = None,
    mm_per_pixel: float | None = None,
) -> tuple[Region, ...]:
    """Finds the places of a picture that is called, by hysteresis.

    A region is what hangs together, corners included, at its edge or above, and has a point at the
    threshold. Where resizing lost that point, the threshold is the highest that is
    left, so a picture that is called has a region.

    Args:
        heat: (h, w) finite, of the whole picture, on the heatmap's scale.
        threshold: what a region's highest point reaches, on the same scale.
        size: (H, W) of the picture.
        judged: of each judge what it sees, (h, w), and its highest points in the good pictures
            that calibrate, ascending; none where they are not known.
        edge: what a region reaches down to, as `edge_of` says; by default `LOW` of it.
        highest: the heatmap's highest point before it was resized; the first region's peak.
        mm_per_pixel: of the picture.

    Returns:
        At least one and `MOST` at most, the highest first.
    """
    from scipy import ndimage  # starting loads none of it

    threshold = min(threshold, float(heat.max()))
    low = _edge_of(threshold, edge)
    labels, count = ndimage.label(heat >= low, np.ones((3, 3)))
    peaks = peaks_of(heat, labels, count)
    order = np.argsort(-peaks, kind="stable")[:MOST]
    boxes = ndimage.find_objects(labels)
    found: list[Region] = []
    for index in order[peaks[order] >= threshold]:
        rows, columns = boxes[index]
        crop = np.s_[
            max(0, rows.start - 1) : rows.stop + 1, max(0, columns.start - 1) : columns.stop + 1
        ]
        mask = labels[crop] == index + 1
        place = _Place(
            mask=mask,
            outline=simplified(outline_of(mask, heat[crop], low)),
            corner=np.array((crop[1].start, crop[0].start)),
            at=np.array(np.unravel_index(np.where(mask, heat[crop], -np.inf).argmax(), mask.shape))[
                ::-1
            ],
            peak=highest if highest is not None and not found else float(peaks[index]),
        )
        scale = np.array((size[1] / heat.shape[1], size[0] / heat.shape[0]))
        seen = [(float(one[crop][mask].max()), peaks) for one, peaks in judged]
        found.append(_region(place, scale, _rarity(seen), mm_per_pixel))
    return tuple(found)


def _edge_of(threshold: float, edge: float | None) -> float:
    if edge is None:
        return LOW * threshold if threshold > 0 else threshold  # a share of less than 0 is more
    return edge_of(threshold, edge)


def _rarity(seen: Sequence[tuple[float, Sequence[float]]]) -> float | None:
    """Returns the p-value of a place from what each judge sees there and in good pictures.

    By whichever judge it is rarest; so many chances make that as many times likelier (Bonferroni).
    """
    if not seen:
        return None
    least = min(float(p_values(np.array([peak]), known)[0]) for peak, known in seen)
    return min(1.0, len(seen) * least)


def in_words(boxes: Sequence[Sequence[int]]) -> str:
    """Says how many places there are and how large, e.g. `2 places, largest 34 x 12 px`.

    Args:
        boxes: left, top, right, bottom of each, as `Region.box`.

    Returns:
        Width x height of the largest box; nothing where there is none.
    """
    if not boxes:
        return ""
    sizes = [(right - left, bottom - top) for left, top, right, bottom in boxes]
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    many = "1 place" if len(sizes) == 1 else f"{len(sizes)} places, largest"
    return f"{many} {width} x {height} px"


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A component, cut out of the heatmap with a margin of a pixel; points are the cut-out's."""

    mask: NDArray[np.bool_]
    outline: NDArray[np.float64]
    corner: NDArray[np.int64]
    """Of the cut-out in the heatmap, (x, y)."""
    at: NDArray[np.int64]
    peak: float


def _region(
    place: _Place,
    scale: NDArray[np.float64],
    rarity: float | None,
    mm_per_pixel: float | None,
) -> Region:
    """Brings a component of a heatmap to the picture, whose pixels are `scale` (x, y) as many."""
    rows, columns = np.nonzero(place.mask)
    first = np.array((columns.min(), rows.min())) + place.corner
    last = np.array((columns.max() + 1, rows.max() + 1)) + place.corner
    left, top = np.floor(first * scale + _ROUNDING).astype(int).tolist()
    right, bottom = np.ceil(last * scale - _ROUNDING).astype(int).tolist()
    outline = ((place.outline + place.corner) * scale).clip((left, top), (right, bottom))
    pixels = len(rows) * float(scale.prod())
    x, y = ((place.at + place.corner + 0.5) * scale).astype(int).tolist()
    return Region(
        box=(left, top, right, bottom),
        outline=tuple((x, y) for x, y in outline.round(1).tolist()),
        area=max(1, round(pixels)),
        area_mm2=None if mm_per_pixel is None else pixels * mm_per_pixel**2,
        peak=place.peak,
        at=(x, y),
        p_value=rarity,
    )


def outline_of(
    mask: NDArray[np.bool_], heat: NDArray[np.floating[Any]], low: float
) -> NDArray[np.float64]:
    """Follows the edge of a component, the component on the right hand, holes passed over.

    Each side of a pixel on the way gives the point between the pixel within and the one without
    where heat, taken as linear, is `low`; half-way where the picture ends. So it is the contour
    that marching squares finds (Lorensen and Cline 1987, in the plane), in order.

    Args:
        mask: (h, w), one component, pixels that share a corner belonging together.
        heat: (h, w), at least `low` on the component and below it beside it.
        low: the level.

    Returns:
        (P, 2), points (x, y) clockwise on the screen, P >= 4.
    """
    padded = np.pad(mask, 1)
    within, without = (
        np.stack(np.divmod(sides, padded.shape[1]), axis=1) - 1 for sides in _sides(padded)
    )
    there = np.logical_and(without >= 0, without < mask.shape).all(axis=1, keepdims=True)
    above = heat[tuple(within.T)].astype(np.float64) - low
    below = low - heat[tuple(np.where(there, without, within).T)].astype(np.float64)
    share = np.where(there, (above / np.maximum(above + below, _TINY))[:, None], 0.5)
    return np.asarray((within + share * (without - within) + 0.5)[:, ::-1])


def _sides(padded: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns of each side on the way around a component the pixels within and without, flat.

    Args:
        padded: (h, w), the component, with an empty line along each side.
    """
    inside, width = padded.tobytes(), padded.shape[1]
    # Right, down, left, up; a corner has the number of the pixel to the right of and below it.
    steps = (1, width, -1, -width)
    on_the_left = (-width, 0, -1, -width - 1)  # of a corner, the pixels ahead on either hand
    on_the_right = (0, -1, -width - 1, -width)
    corner = start = int(padded.argmax())  # of the first pixel of the first row: passed only once
    heading, within, without = 0, [], []
    while True:
        without.append(corner + on_the_left[heading])
        within.append(corner + on_the_right[heading])
        corner += steps[heading]
        if corner == start:
            return np.array(within), np.array(without)
        if inside[corner + on_the_left[heading]]:
            heading = (heading - 1) % 4
        elif not inside[corner + on_the_right[heading]]:
            heading = (heading + 1) % 4


def simplified(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leaves out corners (P, 2) of a polygon that lie within `_TOLERANCE` of what then remains.

    Further off where more than `_MOST_POINTS` would remain; never so many that half of the area
    goes, as of a thin line it might. Ramer 1972; Douglas and Peucker 1973.

    Returns:
        (P', 2), 3 <= P' <= P.
    """
    far = int(((corners - corners[0]) ** 2).sum(axis=1).argmax())
    ring = np.vstack([corners, corners[:1]])
    heights = np.concatenate([_heights(ring[: far + 1])[:-1], _heights(ring[far:])[:-1]])
    heights[[0, far]] = np.inf
    least, found, tolerance = polygon_area(corners) / 2, corners, _TOLERANCE
    while True:
        fewer = corners[heights > tolerance]
        if polygon_area(fewer) < least:
            return found
        found, tolerance = fewer, 1.5 * tolerance
        if len(found) <= _MOST_POINTS:
            return found


def polygon_area(corners: NDArray[np.float64]) -> float:
    """Returns the area of a polygon (P, 2) that does not cross itself: Gauss's formula."""
    x, y = corners.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _heights(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns how large a tolerance leaves out each point of a line (P, 2), (P,).

    A point is kept that is farther off than that from the line between its neighbours on the way
    down, and only where those are kept. What `_TOLERANCE` leaves out has at most that.
    """
    x, y = points.T.copy()
    found, waiting = np.zeros(len(points)), [(0, len(points) - 1, np.inf)]
    while waiting:
        first, last, bound = waiting.pop()
        if last - first < 2:
            continue
        across, down = x[last] - x[first], y[last] - y[first]
        between = slice(first + 1, last)
        off = np.abs((x[between] - x[first]) * down - (y[between] - y[first]) * across)
        off /= max(float(np.hypot(across, down)), 1e-9)
        index = int(off.argmax())
        middle, height = first + 1 + index, min(bound, float(off[index]))
        if height > _TOLERANCE:
            found[middle] = height
            waiting += [(first, middle, height), (middle, last, height)]
    return found
