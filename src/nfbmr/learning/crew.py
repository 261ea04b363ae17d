"""Who does the large parts of a fit: this process by default, or many on other machines.

Both parts leave what they did in files, the feature cache and the work folder, so that what helps
may die at any moment: whoever does the part again goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import torch

from nfbmr.data.ignore import Ignored
from nfbmr.data.images import AS_STORED, ImageInput
from nfbmr.data.pose import Pose
from nfbmr.data.tiles import Tiling
from nfbmr.features.compute import FeatureCache, build_features
from nfbmr.features.store import FeatureStore
from nfbmr.learning.stages import Trained, train
from nfbmr.learning.training_data import TrainingData
from nfbmr.networks.detector import Detector
from nfbmr.networks.protocol import FeatureSource
from nfbmr.settings.schema import DataSettings, Settings
from nfbmr.system.progress import Progress, silent


class Helpers(Protocol):
    """Does the two large parts of a fit."""

    def build_features(
        self,
        pictures: Sequence[tuple[ImageInput, str]],
        network: FeatureSource,
        size: tuple[int, int],
        *,
        cache: FeatureCache,
        tiling: Tiling | None = None,
        how: DataSettings = AS_STORED,
        pose: Pose | None = None,
        ignore: Ignored | None = None,
        progress: Callable[[int, int], None] | None = None,
        device: torch.device | str = "cpu",
    ) -> FeatureStore:
        """Does what `nfbmr.features.compute.build_features` does, to the last bit."""
        ...

    def train(
        self,
        detector: Detector,
        data: TrainingData,
        settings: Settings,
        *,
        work: Path,
        device: torch.device,
        progress: Progress = silent,
        checkpoint_seconds: float = 10.0,
    ) -> Trained:
        """Does what `nfbmr.learning.stages.train` does, within rounding."""
        ...


class Here:
    """Does them in this process."""

    build_features = staticmethod(build_features)
    train = staticmethod(train)


HERE = Here()
