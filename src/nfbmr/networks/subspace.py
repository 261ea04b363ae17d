"""The subspace that good pictures span, and what a picture has outside of it: the residual.

All features of a picture, taken as one vector, lie close to a plane of few dimensions when the
picture is like the good ones; what is left after projecting onto it is anomalous, and it says
where. The same idea scores whole pictures in DFM (Ahuja et al. 2019); here each position has its
own share of the residual. A flow judges each position by itself; this looks at all of them at once.

Shapes: B = images, H W = grid of y, k = finer cells along the side of one, c = channels of a finer
cell, D = H * W * c * k * k, all features of a picture, r = directions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nfbmr.networks.sums import Batches, Sums, Together, alone

_OVERSAMPLED = 16  # further directions while searching (Halko, Martinsson and Tropp 2011, 4.2)
_ITERATIONS = 2  # likewise, 4.5: sharpens a spectrum that falls slowly
_NOTHING = 1e-9  # of the largest variance: fewer images than directions


class Subspace(nn.Module):
    """Mean and main directions of good pictures; ready once `learn` or `load_state_dict` ran."""

    mean: Tensor
    basis: Tensor

    def __init__(self, grid: tuple[int, int], channels: int, factor: int, rank: int) -> None:
        """Makes room for r = `rank` directions.

        Args:
            grid: (H, W).
            channels: c * k * k, the channels of a cell of the grid with all its finer cells, in
                the order of torch's `pixel_unshuffle`.
            factor: k.
            rank: at most D.
        """
        super().__init__()
        features = grid[0] * grid[1] * channels
        self.grid = grid
        self.factor = factor
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("basis", torch.zeros(features, min(rank, features)))

    def forward(self, detail: Tensor) -> Tensor:
        """Maps standardised features (B, H, W, c * k * k) to residuals (B, k * H, k * W), >= 0."""
        centred = detail.flatten(1) - self.mean  # (B, D)
        left = centred - (centred @ self.basis) @ self.basis.T
        k, (height, width) = self.factor, self.grid
        squares = left.square().reshape(-1, height, width, detail.shape[-1] // k**2, k, k)
        cells = squares.sum(dim=3).permute(0, 1, 3, 2, 4)  # (B, H, k, W, k)
        return cells.reshape(-1, k * height, k * width).sqrt()

    @torch.no_grad()
    def learn(self, batches: Batches, seed: int, *, together: Together = alone) -> None:
        """Finds mean and main directions by randomised subspace iteration, in bounded memory.

        Args:
            batches: each call gives all training images once, (B, H, W, c * k * k); of several
                workers, this one's share.
            seed: of the directions that the search starts from.
            together: joins the sums of all workers.
        """
        features, rank = self.basis.shape
        total = torch.zeros_like(self.mean, dtype=torch.float64)
        images = torch.zeros((), dtype=torch.int64, device=total.device)
        for batch in batches():
            total += batch.flatten(1).sum(dim=0)
            images += len(batch)
        together(Sums(total=total, images=images))
        self.mean.copy_(total / int(images))
        wanted = min(rank + _OVERSAMPLED, features)
        generator = torch.Generator().manual_seed(seed)
        found = torch.randn(features, wanted, generator=generator).to(self.mean.device)
        for _ in range(_ITERATIONS):
            found = self._covariance_times(torch.linalg.qr(found).Q, batches, together)
        directions = torch.linalg.qr(found).Q  # (D, wanted)
        inner = directions.T @ self._covariance_times(directions, batches, together)
        variances, turn = torch.linalg.eigh(((inner + inner.T) / 2).double())  # ascending
        basis = directions @ turn.flip(1)[:, :rank].float()
        there = variances.flip(0)[:rank] > _NOTHING * variances[-1].clamp_min(1e-30)
        self.basis.copy_(basis * there)

    def _covariance_times(self, directions: Tensor, batches: Batches, together: Together) -> Tensor:
        """Multiplies the images' scatter (D, D) with directions (D, n) without forming it."""
        out = torch.zeros_like(directions)
        for batch in batches():
            centred = batch.flatten(1) - self.mean  # (B, D)
            out += centred.T @ (centred @ directions)
        together(Sums(out=out))
        return out
