"""What is kept of a heatmap: its regions, and nothing of a good part."""

from __future__ import annotations

import io
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nfbmr.inspection.regions import Region, regions_of
from nfbmr.inspection.result import Inspection
from nfbmr.station.services.heat import drawn, to_keep


class Found:
    """As much of an inspection as a heatmap is kept of."""

    def __init__(self, heat: NDArray[np.float32], regions: tuple[Region, ...]) -> None:
        self._heat, self.regions, self.size = heat, regions, (20, 30)

    def heatmap_at(self, size: tuple[int, int]) -> NDArray[np.float32]:
        assert size == self.size
        return self._heat


def kept(heat: NDArray[np.float32], regions: tuple[Region, ...]) -> bytes | None:
    return to_keep(cast(Inspection, cast(Any, Found(heat, regions))))


def test_nothing_is_kept_of_a_part_without_regions_however_near_the_threshold_it_comes() -> None:
    assert kept(np.full((20, 30), 0.9, np.float32), ()) is None


def test_a_kept_heatmap_shows_its_regions_alone() -> None:
    heat = np.full((20, 30), 0.9, np.float32)
    heat[6:16, 8:22] = 0.1
    heat[8:14, 10:20] = 2.5
    data = kept(heat, regions_of(heat, 2.0, (20, 30), [(heat, (0.0,))]))
    opaque = np.asarray(Image.open(io.BytesIO(drawn(data))))[..., 3] > 0
    expected = np.zeros((20, 30), bool)
    expected[8:14, 10:20] = True
    np.testing.assert_array_equal(opaque, expected)
