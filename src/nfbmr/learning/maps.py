"""Raw maps of pictures whose features lie in a store."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from nfbmr.features.store import FeatureStore
from nfbmr.learning.training_data import TrainingData, chunks_of
from nfbmr.networks.detector import Detector
from nfbmr.scoring.left_out import left_out


def calibration_maps(
    detector: Detector, data: TrainingData, device: torch.device
) -> NDArray[np.float32]:
    """Returns the raw maps (n, K, H, W) of `data.calibrating`, as wholes where they were cut.

    Those of images that Gaussians learnt from are what Gaussians without them would have given.
    """
    maps = feature_maps(detector, data.store, data.calibrating, device)
    if data.judges_without_itself:
        return left_out(maps, len(data.learnt), detector.own_weights())
    return maps if data.tiling is None else data.tiling.join(maps)


@torch.inference_mode()
def feature_maps(
    detector: Detector, store: FeatureStore, indices: NDArray[np.int64], device: torch.device
) -> NDArray[np.float32]:
    """Returns the raw maps (n, K, H, W) of images whose features y lie in a store."""
    return np.concatenate(
        [
            detector.maps(torch.from_numpy(store.read(i)).to(device)).cpu().numpy()
            for i in chunks_of(indices)
        ]
    )
