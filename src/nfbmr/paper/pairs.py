"""PFM, B-PFM and MB-PFM (Wan et al. 2022), the baseline: two frozen networks, nets between them.

Shapes: B = images, P = positions, c d = channels of a level of source and target, h w = a level's
grid, H W = the finest level's grid.

A level's features are L2-normalised over channels. Its nets map each way (PFM: one way); an error
is the squared difference summed over channels. The levels' errors are brought to the finest level's
grid and averaged. They leave as the detector's raw maps do, source and target errors first, so that
the same lines calibrate, score and evaluate them: the anomaly map is half the sum of both, as in
eq. 14 (PFM: the target error alone).
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from nfbmr.features.store import FeatureStore
from nfbmr.learning.stage import (
    Optimiser,
    Stage,
    batch_of_images,
    computation,
    rng,
    total_steps,
)
from nfbmr.learning.training_data import CHUNK
from nfbmr.networks.mapping import BidirectionalMapping, b_pfm, mapping_errors
from nfbmr.networks.source import SourceNetwork
from nfbmr.networks.weights import load_weights
from nfbmr.paper.systems import Level, PairSettings
from nfbmr.scoring.maps import MAPS, Maps
from nfbmr.settings.schema import StageSettings


@dataclass(frozen=True, kw_only=True)
class LevelData:
    """Features of one level from both networks, of the same pictures in the same order."""

    source: FeatureStore
    """(N, h, w, c)."""
    target: FeatureStore
    """(N, h, w, d)."""


def normalised(features: Tensor) -> Tensor:
    """Scales every position of (B, h, w, c) to length 1; returns (B, c, h, w)."""
    return F.normalize(features, dim=-1).permute(0, 3, 1, 2)


class Pair(nn.Module):
    """Both networks and the nets of every level; ready after `__init__`, in eval mode."""

    def __init__(self, settings: PairSettings, seed: int) -> None:
        """Builds the networks with random weights; `load` sets those of the frozen ones."""
        super().__init__()
        self.settings = settings
        # Coarsest first, as a source network wants its stages.
        levels = settings.levels[::-1]
        self.source = SourceNetwork(settings.source, tuple(level.source for level in levels))
        self.target = SourceNetwork(settings.target, tuple(level.target for level in levels))
        self.mappings = nn.ModuleList(
            b_pfm(c, d, latent=level.latent, seed=seed + 1)
            for level, (c, d) in zip(settings.levels, self._channels(), strict=True)
        )
        self.eval()

    def load(self) -> str:
        """Fills both networks; returns where the weights came from."""
        settings = self.settings
        found = []
        for network, weights in (
            (self.source, settings.source_weights),
            (self.target, settings.target_weights),
        ):
            found.append(load_weights(network, weights))
        return " and ".join(found)

    def networks(self, level: Level) -> tuple[SourceNetwork, SourceNetwork]:
        """Returns both networks cut at one level alone, with the weights that are loaded."""
        return _cut_from(self.source, level.source), _cut_from(self.target, level.target)

    def ready(self, device: torch.device) -> Pair:
        """Returns a copy on `device` whose networks are ready; this one is left as it is."""
        quick = copy.deepcopy(self).to(device)
        quick.source, quick.target = quick.source.ready(device), quick.target.ready(device)
        return quick

    def forward(self, pixels: Tensor) -> Tensor:
        """Maps uint8 pixels (B, H', W', 3) to raw maps (B, K, H, W)."""
        y = [level.permute(0, 2, 3, 1) for level in self.source.levels(pixels)][::-1]
        z = [level.permute(0, 2, 3, 1) for level in self.target.levels(pixels)][::-1]
        return self.maps(list(zip(y, z, strict=True)))

    def maps(self, levels: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Maps features (B, h, w, c) and (B, h, w, d), finest level first, to (B, K, H, W)."""
        grid = levels[0][0].shape[1:3]
        total: Tensor | None = None
        for mapping, (y, z) in zip(self.mappings, levels, strict=True):
            assert isinstance(mapping, BidirectionalMapping)
            y, z = normalised(y), normalised(z)
            if self.settings.one_way:
                target = (z - mapping.to_target(y)).square().sum(dim=1)
                source = torch.zeros_like(target)
            else:
                source, target = mapping_errors(y, z, *mapping(y, z))
            errors = torch.stack([source, target], dim=1)  # (B, 2, h, w)
            errors = F.interpolate(errors, grid, mode="bilinear", align_corners=False)
            total = errors if total is None else total + errors
        assert total is not None, "a pair has a level"
        others = total.new_zeros(len(total), len(MAPS) - 2, *grid)
        return torch.cat([total / len(levels), others], dim=1)

    def _channels(self) -> list[tuple[int, int]]:
        """Returns c and d of every level, the finest first."""
        pixels = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
        levels = [network.levels(pixels)[::-1] for network in (self.source, self.target)]
        return [(y.shape[1], z.shape[1]) for y, z in zip(*levels, strict=True)]


def _cut_from(network: SourceNetwork, stage: int | str) -> SourceNetwork:
    cut = SourceNetwork(network.name, (stage,))
    tensors = network.state_dict()
    cut.load_state_dict({name: tensors[name] for name in cut.state_dict()})
    return cut


class PairRuntime:
    """A pair as a runtime of an `Inspector`."""

    name = "torch"

    def __init__(self, pair: Pair, device: torch.device) -> None:
        """Takes a trained pair."""
        self.pair = pair.ready(device)
        self.device = device

    @torch.inference_mode()
    def run(self, pixels: NDArray[np.uint8]) -> Maps:
        """Maps uint8 RGB pixels (N, H, W, 3) to raw maps (N, K, H', W') float32."""
        maps = self.pair(torch.from_numpy(pixels).to(self.device)).cpu().numpy()
        return np.asarray(maps, dtype=np.float32)


def train_pair(
    pair: Pair, data: list[LevelData], train: NDArray[np.int64], seed: int, optimiser: Optimiser
) -> float:
    """Trains the nets of every level, in place; returns the seconds that it took.

    A level that another pair has trained in the same work folder is taken from there.

    Args:
        pair: its networks are filled.
        data: of each level, the finest first.
        train: indices (n,) that are trained on.
        seed: of the batches.
        optimiser: what trains.

    Raises:
        TrainingError: a loss that is not finite, or no room for a checkpoint.
    """
    seconds = 0.0
    pair.to(optimiser.device)
    for number, level in enumerate(data):
        stage = _stage(pair, number, level, train, seed, optimiser)
        position = optimiser.run(stage, optimiser.restore(stage))
        seconds += position.seconds
    return seconds


def _stage(
    pair: Pair,
    number: int,
    data: LevelData,
    train: NDArray[np.int64],
    seed: int,
    optimiser: Optimiser,
) -> Stage:
    settings, mapping = pair.settings, pair.mappings[number]
    assert isinstance(mapping, BidirectionalMapping)
    level, how = settings.levels[number], settings.stage
    network: nn.Module = mapping
    if settings.one_way:  # what leads back is not trained
        network = nn.ModuleDict({"tmnn": mapping.tmnn, "shared": mapping.shared})
    stores = data.source, data.target
    parts = [asdict(level), asdict(how), settings.one_way, seed, *(s.key for s in stores)]
    parts += [hashlib.sha256(train.tobytes()).hexdigest(), *computation()]

    def batch(step: int) -> tuple[Tensor, Tensor]:
        rows = _draw(stores, train, how, seed, step)
        y, z = (torch.from_numpy(row).to(optimiser.device) for row in rows)
        return normalised(y), normalised(z)

    def loss(y: Tensor, z: Tensor) -> Tensor:
        z_mt = mapping.to_target(y).float()
        error = F.mse_loss(z_mt, z)
        if settings.one_way:
            return error
        return error + F.mse_loss(mapping.to_source(z).float(), y)

    name = "pfm" if settings.one_way else "b-pfm"
    return Stage(
        name=f"{name} at {'.'.join(map(str, stores[0].grid))}",
        key=hashlib.sha256(json.dumps(parts).encode()).hexdigest(),
        how=how,
        setting="pair",
        steps=total_steps(how, len(train), stores[0].grid),
        seed=seed,
        network=network,
        state=network,
        batch=batch,
        loss=loss,
    )


def _draw(
    stores: tuple[FeatureStore, FeatureStore],
    train: NDArray[np.int64],
    how: StageSettings,
    seed: int,
    step: int,
) -> list[NDArray[np.float32]]:
    """Draws the same pictures, (B, h, w, c), or positions, (1, P, 1, c), from both stores."""
    if how.batch_of == "images":
        images = train[batch_of_images(how, len(train), (seed, 3), step)]
        return [store.read(images) for store in stores]
    generator = rng(seed, 3, step)
    images = train[generator.integers(len(train), size=how.batch)]
    height, width = stores[0].grid
    places = generator.integers(height * width, size=how.batch)
    return [store.read_positions(images, places)[None, :, None] for store in stores]


@torch.inference_mode()
def pair_maps(
    pair: Pair, data: list[LevelData], indices: NDArray[np.int64], device: torch.device
) -> Maps:
    """Returns the raw maps (n, K, H, W) of images whose features lie in stores."""

    def batches() -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(indices), CHUNK):
            chosen = indices[start : start + CHUNK]
            levels = [
                (
                    torch.from_numpy(level.source.read(chosen)).to(device),
                    torch.from_numpy(level.target.read(chosen)).to(device),
                )
                for level in data
            ]
            yield pair.maps(levels).cpu().numpy()

    return np.concatenate(list(batches()))
