"""False alarms of a model whose calibration pictures are those that its Gaussians learnt from."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nfbmr.networks.local import LocalGaussians
from nfbmr.scoring.calibrate import Known, calibrate
from nfbmr.scoring.calibration import image_scores
from nfbmr.scoring.left_out import left_out
from nfbmr.scoring.maps import MAPS, Maps
from nfbmr.settings.schema import ScoringSettings

GRID, CHANNELS, N, RATE = (6, 6), 24, 100, 0.05
FINE = ScoringSettings(maps=("fine",), statistics=("max", "top"), fusion="squares")


def drawn(count: int, law: int, generator: torch.Generator) -> Tensor:
    """Pictures (count, H, W, C) whose places each have a Gaussian law of their own."""
    own = torch.Generator().manual_seed(law)
    places = GRID[0] * GRID[1]
    turn = torch.randn(places, CHANNELS, CHANNELS, generator=own) / 5 + torch.eye(CHANNELS)
    vectors = torch.randn(count, places, CHANNELS, generator=generator)
    return torch.einsum("npc,pcd->npd", vectors, turn).reshape(count, *GRID, CHANNELS)


def realised(seed: int, *, without_itself: bool) -> float:
    """The share of 400 new good pictures above the threshold of a model of N others."""
    generator = torch.Generator().manual_seed(seed)
    known, new = drawn(N, 99, generator), drawn(400, 99, generator)
    gaussians = LocalGaussians(GRID, CHANNELS, 1, 8)
    gaussians.learn(lambda: iter([known]), 0)
    gaussians.measure_own(lambda: iter([known]), 0)
    own = {"fine": float(gaussians.own)}

    def maps(pictures: Tensor) -> Maps:
        found = np.zeros((len(pictures), len(MAPS), *GRID), np.float32)
        found[:, MAPS.index("fine")] = gaussians(pictures).numpy()
        return found

    seen = left_out(maps(known), N, own) if without_itself else maps(known)
    learnt = Known(learnt=N, own=own, trained=np.arange(N) < 75)
    calibration = calibrate(seen, FINE, RATE, known=learnt)
    return float((image_scores(maps(new), FINE, calibration) > calibration.threshold).mean())


def test_false_alarms_are_as_asked_though_what_calibrates_was_learnt_from() -> None:
    shares = [realised(seed, without_itself=True) for seed in range(8)]
    assert 0.6 * RATE < np.mean(shares) < 1.5 * RATE


def test_they_would_not_be_if_pictures_were_not_judged_without_themselves() -> None:
    shares = [realised(seed, without_itself=False) for seed in range(2)]
    assert np.mean(shares) > 3 * RATE
