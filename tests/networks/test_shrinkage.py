"""Shrinkage: the same leaving-out as of scores, and a likelihood that is one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nfbmr.networks.shrinkage import left_out, likeliest, surprise
from nfbmr.scoring import left_out as of_scores
from nfbmr.scoring.maps import MAPS


@pytest.mark.parametrize("largest", [3.0, 40.0])  # the second one leaves the least room
def test_it_leaves_out_as_scores_do(largest: float) -> None:
    far = torch.linspace(0, largest, 12)
    maps = np.zeros((12, len(MAPS), 1, 1), np.float32)
    maps[:, MAPS.index("fine"), 0, 0] = far.numpy()
    expected = of_scores.left_out(maps, 12, {"fine": 0.7})[:, MAPS.index("fine"), 0, 0]
    found, room = left_out(far**2, 12, 0.7)
    assert found.sqrt().numpy() == pytest.approx(expected, rel=1e-5)
    assert (float(room.min()) == pytest.approx(of_scores.LEAST_ROOM)) == (largest > 10)


def test_the_surprise_is_least_where_the_spread_is_right() -> None:
    squares = torch.randn(4000, generator=torch.Generator().manual_seed(0)).square()
    found = {
        variance: surprise(squares / variance, torch.tensor(variance).log(), 4000, 0.0)
        for variance in (0.5, 1.0, 2.0)
    }
    assert likeliest(found) == 1.0
    assert likeliest({0.1: 2.0, 0.5: 2.0, 0.9: 3.0}) == 0.5
