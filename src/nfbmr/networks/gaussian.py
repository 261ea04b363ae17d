"""A Gaussian for each position of the grid, and how far from it a picture's features lie.

What is normal depends on the place: a border, a busbar, a corner. PaDiM (Defard et al. 2020) has a
Gaussian of its own for each place; here y is first turned to its main directions over all places,
and each covariance leans on the common one, so that few pictures suffice and a texture, which is
alike everywhere, is not torn apart. The flow bends where the Gaussian cannot, the Gaussian is exact
where the flow only came near: the two err on different pictures.

Shapes: B = images, H W = grid of y, P = H * W positions, C = channels of y, d = directions kept.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nfbmr.networks.shrinkage import COMMON, PICTURES, likeliest, surprise
from nfbmr.networks.sums import Batches, Sums, Together, alone

_LEAST = 1e-6  # variance of a direction, of channels of variance 1: less is rounding
_FLOOR = 1e-2  # of the variance of each direction: what never moved may still move


class PositionGaussians(nn.Module):
    """Means and whitening matrices; ready once `learn` or `load_state_dict` ran."""

    directions: Tensor
    mean: Tensor
    whitening: Tensor
    own: Tensor

    def __init__(self, grid: tuple[int, int], channels: int, rank: int) -> None:
        """Makes room for d = `rank` directions, C at most.

        Args:
            grid: (H, W).
            channels: C.
            rank: d.
        """
        super().__init__()
        rank = min(rank, channels)
        places = grid[0] * grid[1]
        self.register_buffer("directions", torch.zeros(channels, rank))
        self.register_buffer("mean", torch.zeros(places, rank))
        self.register_buffer("whitening", torch.zeros(places, rank, rank))
        self.register_buffer("own", torch.zeros(()))

    def forward(self, y: Tensor) -> Tensor:
        """Maps standardised y (B, H, W, C) to Mahalanobis distances (B, H, W), >= 0."""
        centred = (y.flatten(1, 2) @ self.directions) - self.mean  # (B, P, d)
        white = centred.transpose(0, 1) @ self.whitening  # (P, B, d)
        return white.square().sum(dim=-1).sqrt().T.reshape(y.shape[:-1])

    @torch.no_grad()
    def learn(
        self, batches: Batches, *, together: Together = alone, some: Batches | None = None
    ) -> None:
        """Finds directions, means and covariances in two passes and in bounded memory.

        Args:
            batches: each call gives y of all training images once, (B, H, W, C), standardised; of
                several workers, of this one's share.
            together: joins the sums of all workers.
            some: like `batches`, of all images; the first ones are looked at.
        """
        self._learn_directions(batches, together)
        total = torch.zeros_like(self.mean, dtype=torch.float64)
        scatter = torch.zeros_like(self.whitening, dtype=torch.float64)  # its mean goes later
        images = torch.zeros((), dtype=torch.int64, device=total.device)
        for batch in batches():
            rows = (batch.flatten(1, 2) @ self.directions).transpose(0, 1).double()  # (P, B, d)
            total += rows.sum(dim=1)
            scatter.baddbmm_(rows.transpose(1, 2), rows)
            images += batch.shape[0]
        together(Sums(total=total, scatter=scatter, images=images))
        count = int(images)
        mean = total / count  # (P, d)
        own = scatter / count - mean[:, :, None] * mean[:, None, :]
        # Every direction gets the same say in the floor, whatever its variance.
        spread = own.diagonal(dim1=1, dim2=2).mean(dim=0).clamp_min(_LEAST).sqrt()  # (d,)
        own /= spread[:, None] * spread
        self.mean.copy_(mean)
        common = self._likeliest_weight(some or batches, own, spread, count)
        self._whiten(own, spread, common)
        self.own.fill_((1 - _FLOOR) * (1 - common))

    def _whiten(self, own: Tensor, spread: Tensor, common: float) -> Tensor:
        """Sets the whitening by covariances (P, d, d) in units of `spread` (d,).

        Returns:
            The logarithm of each one's determinant, (P,).
        """
        mixed = common * own.mean(dim=0)
        unit = torch.eye(len(spread), dtype=own.dtype, device=own.device)
        volumes = torch.zeros(len(own), dtype=own.dtype, device=own.device)
        for place in range(len(own)):  # one at a time: a batch would hold three copies in float64
            covariance = (1 - _FLOOR) * ((1 - common) * own[place] + mixed) + _FLOOR * unit
            root = torch.linalg.cholesky(covariance)
            inverse = torch.linalg.solve_triangular(root, unit, upper=False)
            self.whitening[place] = (inverse / spread).T
            volumes[place] = 2 * root.diagonal().log().sum()
        return volumes

    def _likeliest_weight(self, batches: Batches, own: Tensor, spread: Tensor, count: int) -> float:
        """Returns the weight under which images are likeliest that were left out, on average."""
        some: list[Tensor] = []
        for batch in batches():
            some.append(batch)
            if sum(map(len, some)) >= PICTURES:
                break
        sums = {}
        for common in COMMON:
            volumes = self._whiten(own, spread, common)
            squares = torch.cat([self(batch).flatten(1) for batch in some]).double().square()
            sums[common] = surprise(squares, volumes, count, (1 - _FLOOR) * (1 - common))
        return likeliest(sums)

    def _learn_directions(self, batches: Batches, together: Together) -> None:
        """Sets the main directions of y over all places and images."""
        channels, rank = self.directions.shape
        square = torch.zeros(channels, channels, device=self.directions.device)
        for batch in batches():
            rows = batch.reshape(-1, channels)
            square.addmm_(rows.T, rows)
        together(Sums(square=square))
        _, found = torch.linalg.eigh(square.double())  # ascending
        self.directions.copy_(found.flip(1)[:, :rank])
