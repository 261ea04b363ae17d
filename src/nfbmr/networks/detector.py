"""The one graph that is trained, exported and served: uint8 pixels -> raw maps.

Shapes: B = images, C = channels of y and z, H W = grid of y, K = raw maps
(`nfbmr.scoring.maps.MAPS`), C' = channels of y, detail and finest, c k = channels of the detail and
its cells along a cell of y, c* k* = likewise of the finest.

SNN gives y and detail, standardised with statistics of the training images; TNF gives z; BMR maps
both ways; Gaussians of the positions give a distance; those of the detail's positions a finer
one, or the subspace leaves a residual of the detail; the raw maps leave. Fusion, image score and
threshold are numpy, outside.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from nfbmr.networks.flow import TargetFlow, negative_log_likelihood, position_code
from nfbmr.networks.gaussian import PositionGaussians
from nfbmr.networks.local import LocalGaussians
from nfbmr.networks.mapping import BidirectionalMapping, b_pfm, bmr, mapping_errors
from nfbmr.networks.protocol import FeatureSource
from nfbmr.networks.subspace import Subspace
from nfbmr.networks.sums import Sums, Together, alone
from nfbmr.settings.schema import Settings


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

    def of_first(self, y: Tensor) -> Tensor:
        """Maps the first channels of y (..., c), c <= C, to the same shape."""
        count = y.shape[-1]
        return (y - self.mean[:count]) / self.std[:count]

    def learn(self, batches: Iterator[Tensor], together: Together = alone) -> None:
        """Sets the statistics from batches of y (..., C), in float64 and one pass.

        Args:
            batches: of the training images; of several workers, of this one's share.
            together: joins the sums of all workers.
        """
        total = torch.zeros_like(self.mean, dtype=torch.float64)
        squares = torch.zeros_like(total)
        rows_seen = torch.zeros((), dtype=torch.int64, device=total.device)
        for batch in batches:
            rows = batch.reshape(-1, batch.shape[-1]).double()
            total += rows.sum(dim=0)
            squares += rows.square().sum(dim=0)
            rows_seen += len(rows)
        together(Sums(total=total, squares=squares, rows=rows_seen))
        count = int(rows_seen)
        mean = total / count
        variance = (squares / count - mean.square()).clamp_min(0)
        self.mean.copy_(mean)
        # A channel that never moves carries nothing: 1 keeps it at 0 instead of at infinity.
        std = variance.sqrt()
        self.std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))


class Detector(nn.Module):
    """SNN, standardisation, TNF, BMR, Gaussians and subspace in one module, in eval mode."""

    def __init__(
        self, source: FeatureSource, settings: Settings, size: tuple[int, int] | None = None
    ) -> None:
        """Builds what follows a source network, from `settings.seed`.

        Args:
            source: SNN; a network's tensors are part of the detector's.
            settings: of the fit.
            size: (H, W) of the pictures; needed by what knows each position: the Gaussians, and
                the subspace of detail.
        """
        super().__init__()
        self.source: FeatureSource = source
        self.standardisation = Standardisation(source.outputs)
        self.waves = settings.flow.position
        self.flow = TargetFlow(
            source.channels,
            blocks=settings.flow.blocks,
            hidden=settings.flow.hidden,
            kernel=settings.flow.kernel,
            clamp=settings.flow.clamp,
            dropout=settings.flow.dropout,
            where=4 * settings.flow.position,
            seed=settings.seed,
        )
        self.mapping = _mapping(source.channels, settings)
        """None where the flow judges alone."""
        self.gaussians: PositionGaussians | None = None
        """None where the settings ask for none."""
        if settings.gaussian.rank:
            assert size is not None, "Gaussians of the positions need the pictures' size"
            self.gaussians = PositionGaussians(
                source.grid(size), source.channels, settings.gaussian.rank
            )
        self.local: LocalGaussians | None = None
        """None where there is no detail, or the settings ask for none."""
        self.finest: LocalGaussians | None = None
        """Likewise, of the finest."""
        self.subspace: Subspace | None = None
        """Likewise, of the detail."""
        if source.detail_channels:
            assert size is not None, "what knows the detail needs the pictures' size"
            where = source.grid(size), source.detail_channels, source.detail_factor
            if settings.local.rank:
                self.local = LocalGaussians(*where, settings.local.rank)
            if settings.subspace.rank:
                self.subspace = Subspace(*where, settings.subspace.rank)
        if source.finest_channels and settings.local.rank:
            assert size is not None, "what knows the finest needs the pictures' size"
            finest = source.grid(size), source.finest_channels, source.finest_factor
            self.finest = LocalGaussians(*finest, settings.local.rank)
        finer = [part for part in (self.local, self.finest, self.subspace) if part is not None]
        self.factor = max((part.factor for part in finer), default=1)
        """Cells of the raw maps along a cell of y."""
        self.eval()

    def ready(self, device: torch.device) -> Detector:
        """Moves to `device`, takes SNN's quick copy in its place, and returns itself.

        Call it once the tensors are loaded; SNN's have other names then.
        """
        self.to(device)
        self.source = self.source.ready(device)
        return self

    def forward(self, pixels: Tensor) -> Tensor:
        """Maps pixels (B, 3-channel images as uint8 (B, H', W', 3)) to raw maps (B, K, H, W)."""
        return self.maps(self.source(pixels).permute(0, 2, 3, 1))

    def maps(self, y: Tensor) -> Tensor:
        """Maps what SNN gives (B, H, W, C'), channels last, to raw maps (B, K, f * H, f * W).

        Without a mapping there are no mapping errors, without Gaussians there is no distance,
        without detail neither residual nor fine, without a finest no finest: such a map is zero.
        The grid is `factor` = f times as fine as that of y; coarser maps are repeated on it.
        """
        y, detail, finest = self.standardised(y)
        z, log_det = self.flow(y, self.where(y))
        likelihood = negative_log_likelihood(z, log_det)  # (B, H, W)
        norm = z.square().sum(dim=-1) / 2  # (B, H, W)
        source = target = distance = torch.zeros_like(norm)
        if self.gaussians is not None:
            distance = self.gaussians(y)  # (B, H, W)
        if self.mapping is not None:
            y, z = y.permute(0, 3, 1, 2), z.permute(0, 3, 1, 2)  # (B, C, H, W)
            z_mt, y_ms = self.mapping(y, z)
            source, target = mapping_errors(y, z, z_mt, y_ms)  # (B, H, W) each
        of_y = torch.stack([source, target, likelihood, norm, distance], dim=1)  # (B, 5, H, W)
        residual = fine = smallest = torch.zeros_like(norm)
        if self.subspace is not None:
            residual = self.subspace(detail)  # (B, k * H, k * W)
        if self.local is not None:
            fine = self.local(detail)  # (B, k * H, k * W)
        if self.finest is not None:
            smallest = self.finest(finest)  # (B, k* * H, k* * W)
        alone = (part[:, None] for part in (residual, fine, smallest))
        height = self.factor * norm.shape[1]
        return torch.cat([_repeated(part, height) for part in (of_y, *alone)], dim=1)

    def own_weights(self) -> dict[str, float]:
        """Returns, of each map of closed-form Gaussians, how much they are the images' own."""
        found = {}
        if self.gaussians is not None:
            found["distance"] = float(self.gaussians.own)
        if self.local is not None:
            found["fine"] = float(self.local.own)
        if self.finest is not None:
            found["finest"] = float(self.finest.own)
        return found

    def standardised(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Standardises what SNN gives (..., C').

        Returns y (..., C), detail (..., c * k * k) and finest (..., c* * k* * k*).
        """
        source = self.source
        parts = [source.channels, source.detail_channels, source.finest_channels]
        y, detail, finest = self.standardisation(features).split(parts, dim=-1)
        return y, detail, finest

    def standardised_y(self, features: Tensor) -> Tensor:
        """Standardises y alone: of what SNN gives, or of its first channels, to (..., C)."""
        count = self.source.channels
        return self.standardisation.of_first(features[..., :count])

    def where(self, y: Tensor) -> Tensor | None:
        """Says where positions of y (B, H, W, C) lie, (H, W, E); None where TNF is not told."""
        if not self.waves:
            return None
        return position_code((y.shape[1], y.shape[2]), self.waves, y.device)


def _repeated(maps: Tensor, height: int) -> Tensor:
    """Repeats the cells of maps (B, K, h, w) to maps of `height` cells."""
    k = height // maps.shape[2]
    return maps if k == 1 else maps.repeat_interleave(k, dim=2).repeat_interleave(k, dim=3)


def _mapping(channels: int, settings: Settings) -> BidirectionalMapping | None:
    mapping = settings.mapping
    if mapping.kind == "none":
        return None
    seed = settings.seed + 1  # other weights than TNF's
    if mapping.kind == "bmr":
        return bmr(
            channels,
            latent=mapping.latent,
            inner=mapping.inner,
            n=mapping.n,
            seed=seed,
            ends=mapping.ends,
            relu=mapping.relu,
        )
    return b_pfm(channels, channels, latent=mapping.latent, seed=seed)
