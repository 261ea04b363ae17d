"""Heatmaps that follow the edges of their picture."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from nfbmr.scoring.guided import along_edges

CELL = 8.0


def blob(at: tuple[float, float], wide: float, side: int = 64) -> NDArray[np.float32]:
    """Returns a map (side, side) with one smooth hill of height 2."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    far = ((y - at[0]) ** 2 + (x - at[1]) ** 2) / wide**2
    return np.asarray(2 * np.exp(-far), np.float32)


def cracked(column: int) -> NDArray[np.uint8]:
    """Returns a picture (64, 64), gray and a little noisy, with a dark line two pixels wide."""
    picture = 120 + np.random.default_rng(0).integers(-3, 4, (64, 64))
    picture[:, column : column + 2] = 60
    return picture.astype(np.uint8)


@pytest.mark.parametrize("beside", [-3, -2, 2, 3])
def test_the_highest_point_moves_onto_a_crack_beside_it(beside: int) -> None:
    heat = blob((30.0, 31.0 + beside), 8)
    assert heat.argmax() % 64 not in (30, 31)
    found = along_edges(heat, cracked(30), CELL)
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert column in (30, 31)
    assert abs(row - 30) <= CELL


@pytest.mark.parametrize("low", [0.4, 1.0])
def test_each_place_keeps_its_own_level(low: float) -> None:
    sharp, broad = blob((14.0, 14.0), 2), low * blob((46.0, 46.0), 9)
    found = along_edges(sharp + broad, cracked(30), CELL)
    assert found.dtype == np.float32
    assert found[6:22, 6:22].max() == pytest.approx(2, rel=0.01)
    assert found[34:, 34:].max() == pytest.approx(2 * low, rel=0.01)


def test_nothing_lies_above_what_the_map_has_near_it_nor_below_zero() -> None:
    rng = np.random.default_rng(4)
    heat = rng.random((64, 64), np.float32) ** 4
    for guide in (cracked(30), rng.integers(0, 256, (64, 64), np.uint8)):
        found = along_edges(heat, guide, CELL)
        assert found.min() >= 0
        assert (found <= ndimage.maximum_filter(heat, 17) + 1e-5).all()


def test_where_no_edge_is_the_map_stays_but_for_a_little_smoothing() -> None:
    heat = blob((30.0, 34.0), 12)
    found = along_edges(heat, np.full((64, 64), 90, np.uint8), CELL)
    np.testing.assert_allclose(found, heat, atol=0.2)
    assert found.argmax() == heat.argmax() == 30 * 64 + 34


def test_an_edge_far_off_moves_nothing() -> None:
    heat, flat = blob((20.0, 20.0), 5), np.full((64, 64), 90, np.uint8)
    far = flat.copy()
    far[:, 50:] = 200
    one, other = along_edges(heat, far, CELL), along_edges(heat, flat, CELL)
    np.testing.assert_allclose(one[:, :38], other[:, :38], atol=1e-5)


def test_a_map_of_nothing_stays_one() -> None:
    heat = np.zeros((64, 64), np.float32)
    np.testing.assert_array_equal(along_edges(heat, cracked(30), CELL), heat)
