"""Tiles: they cover the picture, fit together, and join to what they were cut from."""

from __future__ import annotations

import numpy as np
import pytest

from nfbmr.data.tiles import CELL, Tiling, whole_size

TILINGS = [
    Tiling((320, 320), (320, 320), 0.25),
    Tiling((640, 960), (320, 320), 0.25),
    Tiling((352, 1024), (320, 192), 0.5),
    Tiling((1024, 320), (320, 320), 0.0),
    Tiling((384, 384), (320, 320), 0.9),
]


def picture_of(tiling: Tiling, n: int = 2) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    shape = (n, *tiling.whole, 3)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("tiling", TILINGS)
def test_tiles_cover_the_picture_and_overlap_as_asked(tiling: Tiling) -> None:
    for side, (whole, tile) in enumerate(zip(tiling.whole, tiling.tile, strict=True)):
        starts = sorted({corner[side] for corner in tiling.corners})
        assert starts[0] == 0
        assert starts[-1] + tile == whole
        assert all(start % CELL == 0 for start in starts)
        gaps = np.diff(starts)
        # Rounding to cells may cost one of them.
        assert (gaps <= tile * (1 - tiling.overlap) + CELL).all()
        assert (gaps <= tile).all()


@pytest.mark.parametrize("tiling", TILINGS)
def test_tiles_are_pieces_of_their_picture(tiling: Tiling) -> None:
    pictures = picture_of(tiling)
    tiles = np.stack(list(tiling.tiles(pictures)))
    count = len(tiling.corners)
    assert tiles.shape == (2 * count, *tiling.tile, 3)
    for number, tile in enumerate(tiles):
        top, left = tiling.corners[number % count]
        height, width = tiling.tile
        piece = pictures[number // count, top : top + height, left : left + width]
        np.testing.assert_array_equal(tile, piece)
        np.testing.assert_array_equal(
            tile, tiling.cut_one(pictures[number // count], number % count)
        )


@pytest.mark.parametrize("tiling", TILINGS)
@pytest.mark.parametrize("stride", [16, 32])
def test_maps_cut_from_one_map_join_to_it(tiling: Tiling, stride: int) -> None:
    grid = [side // stride for side in tiling.whole]
    whole = np.random.default_rng(0).normal(size=(2, 3, *grid)).astype(np.float32)
    gh, gw = (side // stride for side in tiling.tile)
    tiles = [
        picture[:, top // stride : top // stride + gh, left // stride : left // stride + gw]
        for picture in whole
        for top, left in tiling.corners
    ]
    joined = tiling.join(np.stack(tiles))
    assert joined.dtype == np.float32
    np.testing.assert_allclose(joined, whole, rtol=1e-5, atol=1e-6)


def test_the_middle_of_a_tile_counts_more_than_its_border() -> None:
    tiling = Tiling((320, 480), (320, 320), 0.5)
    assert tiling.corners == ((0, 0), (0, 160))
    maps = np.zeros((2, 1, 10, 10), np.float32)
    maps[1] = 1
    (joined,) = tiling.join(maps)[:, 0]
    row = joined[5]
    assert row.shape == (15,)
    np.testing.assert_array_equal(row[:5], 0)
    np.testing.assert_array_equal(row[10:], 1)
    assert (np.diff(row[4:11]) > 0).all()
    assert row[5] == pytest.approx(1 / 6)  # the border of the second, the middle of the first


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1000, 2000), (992, 1984)), ((100, 2000), (320, 1984)), ((320, 320), (320, 320))],
)
def test_a_whole_has_whole_cells_and_room_for_a_tile(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert whole_size(size, (320, 320)) == expected


@pytest.mark.parametrize(
    "wrong",
    [((320, 330), (320, 320), 0.2), ((288, 320), (320, 320), 0.2), ((320, 320), (320, 320), 1.0)],
)
def test_callers_see_to_the_sizes(wrong: tuple[tuple[int, int], tuple[int, int], float]) -> None:
    with pytest.raises(AssertionError):
        Tiling(*wrong)
