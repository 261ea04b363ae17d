"""Features of the good pictures, and what each of them is for: training, calibration, both.

n = images that train
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nfbmr.data.tiles import Tiling
from nfbmr.features.store import FeatureStore

CHUNK = 16
"""Images at a time wherever all of them pass a network once."""


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Features y of the good images, and which of them train."""

    store: FeatureStore
    """(N, H, W, C) float32 of every good image."""
    train: NDArray[np.int64]
    """Indices (n,) that are trained on."""
    held_out: NDArray[np.int64]
    """Indices that are not trained on, and calibrate."""
    everyone: bool = False
    """Whether Gaussians learn from those held out as well, and those trained on calibrate, too."""
    chosen: NDArray[np.int64] | None = None
    """Indices that calibrate, all of them or none learnt from; None: as `everyone` says."""
    most_calibrating: int | None = None
    """Pictures that calibrate at most, drawn evenly; None: all that may."""
    tiling: Tiling | None = None
    """Where entries are tiles, how they were cut; then indices are those of tiles, and all tiles
    of a picture are on one side."""

    @property
    def learnt(self) -> NDArray[np.int64]:
        """Indices that the Gaussians learn from."""
        return np.sort(np.concatenate([self.train, self.held_out])) if self.everyone else self.train

    @property
    def calibrating(self) -> NDArray[np.int64]:
        """Indices that the scales of scores and heatmap come from: the held-out ones, or everyone.

        Or those that were chosen.
        Where none are held out it is those that train. Their order is that of one statistic
        whatever its scale, so an AUROC can be taken; a threshold would mean nothing.
        """
        if self.chosen is not None:
            return self.chosen
        if self.everyone:
            return self._drawn(self.learnt)
        return self._drawn(self.held_out if len(self.held_out) else self.train)

    @property
    def judges_without_itself(self) -> bool:
        """Whether Gaussians learnt from what calibrates: each of it is judged without itself."""
        return self.everyone and bool(np.isin(self.calibrating, self.learnt).all())

    def _drawn(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the indices of at most `most_calibrating` pictures, evenly over all of them."""
        tiles = 1 if self.tiling is None else len(self.tiling.corners)
        pictures = indices.reshape(-1, tiles)
        if self.most_calibrating is None or len(pictures) <= self.most_calibrating:
            return indices
        chosen = np.linspace(0, len(pictures) - 1, self.most_calibrating).round().astype(np.int64)
        return pictures[chosen].reshape(-1)


def chunks_of(indices: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yields indices in their order, `CHUNK` at a time."""
    for start in range(0, len(indices), CHUNK):
        yield indices[start : start + CHUNK]
