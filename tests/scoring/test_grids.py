"""Maps of several grids: each is taken from its own."""

from __future__ import annotations

import numpy as np
import pytest

from nfbmr.scoring.grids import on_own_grid
from nfbmr.scoring.maps import MAPS, Maps
from nfbmr.settings.schema import MapName

GRID = (16, 8)
FACTORS = 4, 2  # cells of y are 4 wide, those of the detail 2


def repeated(name: MapName, values: Maps) -> Maps:
    """Raw maps (1, K, 16, 8) of nothing but one map, repeated from its own grid."""
    maps = np.zeros((1, len(MAPS), *GRID), np.float32)
    k = GRID[0] // values.shape[0]
    maps[0, MAPS.index(name)] = values.repeat(k, axis=0).repeat(k, axis=1)
    return maps


@pytest.mark.parametrize(
    ("name", "grid"), [("norm", (4, 2)), ("residual", (8, 4)), ("fine", (8, 4)), ("finest", GRID)]
)
def test_one_map_comes_as_it_is_on_its_own_grid(name: MapName, grid: tuple[int, int]) -> None:
    values = np.random.default_rng(0).random(grid, np.float32)
    found = on_own_grid(repeated(name, values), (name,), np.array([2.0]), np.array([4.0]), FACTORS)
    np.testing.assert_allclose(found, (values[None].astype(np.float64) - 2) / 4)


def test_several_are_averaged_on_the_finest_of_their_grids_without_blocks() -> None:
    ramp = np.arange(8, dtype=np.float32)[:, None] * np.ones((1, 4), np.float32)
    maps = repeated("fine", ramp)
    maps[0, MAPS.index("finest")] = 6
    mean, std = np.array([0.0, 4.0]), np.array([1.0, 2.0])
    (found,) = on_own_grid(maps, ("fine", "finest"), mean, std, FACTORS)
    assert found.shape == GRID
    rows = 2 * found[:, 0] - 1  # the ramp alone; the other map is (6 - 4) / 2 everywhere
    np.testing.assert_allclose(rows[1:-1], np.arange(0.25, 7, 0.5), atol=1e-6)
    assert (found == found[:, :1]).all()
