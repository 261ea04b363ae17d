"""Large pictures: cut into overlapping tiles of the model's size, their maps joined to one.

    N = pictures, T = tiles of a picture, H W = the whole picture in pixels, h w = a tile,
    K = raw maps, gh gw = a tile's grid, GH GW = the whole grid

Tiles begin at multiples of `CELL`, the last ones end where the picture ends, and all are as far
apart as that allows. Where tiles overlap, a map is the mean of theirs, weighted towards the middle
of each, where a network sees the most around a position.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

CELL = 32
"""Pixels; sides of wholes and tiles are multiples of it, so that grids of tiles fit together."""

LARGEST = 8192
"""Pixels; the longest side of a whole."""

MOST_TILES = 1024
"""Of one picture; more take minutes a picture."""


@dataclass(frozen=True)
class Tiling:
    """How one size of picture is cut."""

    whole: tuple[int, int]
    """(H, W) in pixels."""
    tile: tuple[int, int]
    """(h, w) in pixels, at most the whole."""
    overlap: float
    """Share of a tile's side that it has in common with the next, at least; in [0, 1)."""

    def __post_init__(self) -> None:
        """Checks what callers have to see to."""
        assert fits(self.whole, self.tile), self
        assert 0 <= self.overlap < 1, self

    @cached_property
    def corners(self) -> tuple[tuple[int, int], ...]:
        """Upper left corner of each tile in pixels, row by row, (T, 2)."""
        down, across = (
            _starts(whole, tile, self.overlap)
            for whole, tile in zip(self.whole, self.tile, strict=True)
        )
        return tuple((top, left) for top in down for left in across)

    def tiles(self, pictures: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
        """Yields the tiles (h, w, 3) of pictures (N, H, W, 3), picture by picture, N * T."""
        assert pictures.shape[1:3] == self.whole, pictures.shape
        for picture in pictures:
            for number in range(len(self.corners)):
                yield self.cut_one(picture, number)

    def cut_one(self, picture: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
        """Cuts one tile (h, w, 3) out of a picture (H, W, 3)."""
        (top, left), (height, width) = self.corners[number], self.tile
        return picture[top : top + height, left : left + width]

    def join(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Joins maps of tiles (N * T, K, gh, gw) to maps of pictures (N, K, GH, GW)."""
        count = len(self.corners)
        assert len(maps) % count == 0, (maps.shape, count)
        gh, gw = maps.shape[2:]
        scale = gh / self.tile[0], gw / self.tile[1]
        grid = round(self.whole[0] * scale[0]), round(self.whole[1] * scale[1])
        weights = np.outer(_hill(gh), _hill(gw)).astype(np.float32)
        pictures = maps.reshape(-1, count, *maps.shape[1:])
        total = np.zeros((len(pictures), maps.shape[1], *grid), np.float32)
        weight = np.zeros(grid, np.float32)
        for number, (top, left) in enumerate(self.corners):
            row, column = round(top * scale[0]), round(left * scale[1])
            place = np.s_[row : row + gh, column : column + gw]
            total[..., place[0], place[1]] += pictures[:, number] * weights
            weight[place] += weights
        return np.asarray(total / weight, dtype=np.float32)


def fits(whole: tuple[int, int], tile: tuple[int, int]) -> bool:
    """Tells whether sides are multiples of `CELL`, and a tile no larger than the whole."""
    cells = all(side % CELL == 0 < side for side in (*whole, *tile))
    return cells and all(t <= w for t, w in zip(tile, whole, strict=True))


def whole_size(size: tuple[int, int], tile: tuple[int, int]) -> tuple[int, int]:
    """Returns the size (H, W) to cut: a picture's own in whole cells, and a tile at least."""
    height, width = (
        max(least, CELL * round(side / CELL)) for side, least in zip(size, tile, strict=True)
    )
    return height, width


def _starts(whole: int, tile: int, overlap: float) -> list[int]:
    """Returns where tiles begin along one side, in pixels, ascending."""
    step = tile * (1 - overlap)
    count = 1 + math.ceil((whole - tile) / step - 1e-9)
    if count == 1:
        return [0]
    ends = np.linspace(0, (whole - tile) // CELL, count)
    return sorted({CELL * round(float(end)) for end in ends})


def _hill(cells: int) -> NDArray[np.float64]:
    """Returns weights along one side, 1 at the border and the more the further from it."""
    place = np.arange(cells)
    return 1.0 + np.minimum(place, cells - 1 - place)
