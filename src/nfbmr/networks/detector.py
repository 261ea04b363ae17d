"""The one graph that is trained, exported and served: uint8 pixels -> raw maps.

Shapes: B = images, C = channels of y and z, H W = grid, K = raw maps (`nfbmr.scoring.MAPS`).

SNN gives y; y is standardised with statistics of the training images; TNF gives z; BMR maps
both ways; the four raw maps leave. Fusion, image score and threshold are numpy, outside.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from nfbmr.config import Settings
from nfbmr.networks.backbone import SourceNetwork
from nfbmr.networks.flow import TargetFlow, negative_log_likelihood
from nfbmr.networks.mapping import BidirectionalMapping, b_pfm, bmr, mapping_errors


class Standardisation(nn.Module):
    """Brings every channel of y to mean 0 and standard deviation 1 over the training positions."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    def forward(self, y: Tensor) -> Tensor:
        """Maps y (..., C), channels last, to the same shape."""
        return (y - self.mean) / self.std

    def learn(self, batches: Iterator[Tensor]) -> None:
        """Sets the statistics from batches of y (..., C), in float64 and one pass."""
        total = torch.zeros_like(self.mean, dtype=torch.float64)
        squares = torch.zeros_like(total)
        count = 0
        for batch in batches:
            rows = batch.reshape(-1, batch.shape[-1]).double()
            total += rows.sum(dim=0)
            squares += rows.square().sum(dim=0)
            count += len(rows)
        mean = total / count
        variance = (squares / count - mean.square()).clamp_min(0)
        self.mean.copy_(mean)
        # A channel that never moves carries nothing: 1 keeps it at 0 instead of at infinity.
        std = variance.sqrt()
        self.std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))


class Detector(nn.Module):
    """SNN, standardisation, TNF and BMR in one module; ready after `__init__`, in eval mode."""

    def __init__(self, source: SourceNetwork, settings: Settings) -> None:
        """Builds TNF and the mapping around a source network, from `settings.seed`."""
        super().__init__()
        self.source = source
        self.standardisation = Standardisation(source.channels)
        self.flow = TargetFlow(
            source.channels,
            blocks=settings.flow.blocks,
            hidden=settings.flow.hidden,
            kernel=settings.flow.kernel,
            clamp=settings.flow.clamp,
            dropout=settings.flow.dropout,
            seed=settings.seed,
        )
        self.mapping = _mapping(source.channels, settings)
        """None where the flow judges alone."""
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        """Maps pixels (B, 3-channel images as uint8 (B, H', W', 3)) to raw maps (B, K, H, W)."""
        return self.maps(self.source(pixels).permute(0, 2, 3, 1))

    def maps(self, y: Tensor) -> Tensor:
        """Maps raw source features y (B, H, W, C), channels last, to raw maps (B, K, H, W).

        Without a mapping there are no mapping errors: their maps are zero.
        """
        y = self.standardisation(y)
        z, log_det = self.flow(y)
        likelihood = negative_log_likelihood(z, log_det)  # (B, H, W)
        norm = z.square().sum(dim=-1) / 2  # (B, H, W)
        if self.mapping is None:
            return torch.stack([norm.new_zeros(norm.shape)] * 2 + [likelihood, norm], dim=1)
        y, z = y.permute(0, 3, 1, 2), z.permute(0, 3, 1, 2)  # (B, C, H, W)
        z_mt, y_ms = self.mapping(y, z)
        source, target = mapping_errors(y, z, z_mt, y_ms)  # (B, H, W) each
        return torch.stack([source, target, likelihood, norm], dim=1)


def _mapping(channels: int, settings: Settings) -> BidirectionalMapping | None:
    mapping = settings.mapping
    if mapping.kind == "none":
        return None
    seed = settings.seed + 1  # other weights than TNF's
    if mapping.kind == "bmr":
        return bmr(channels, latent=mapping.latent, inner=mapping.inner, n=mapping.n, seed=seed)
    return b_pfm(channels, channels, latent=mapping.latent, seed=seed)
