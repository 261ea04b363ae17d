"""A Gaussian of the detail for each fine position, of few numbers: what small defects move.

PaDiM (Defard et al. 2020) keeps a whole covariance for each place, 86 MB for 400 places of 232
channels. Here the covariance that all places have in common whitens the detail first; a place then
differs from it in few directions, those of its largest own variances, and what it keeps of the
rest is one number, as in probabilistic PCA (Tipping and Bishop 1999). Each place leans on the
common covariance as much as makes good pictures likeliest that were left out.

Shapes: B = images, H W = grid of y, k = finer cells along the side of one, c = channels of a finer
cell, P = H * W * k * k fine positions, d = whitened channels, r = own directions of a place.
"""

from __future__ import annotations

from bisect import bisect_left

import torch
from torch import Tensor, nn

from nfbmr.networks.shrinkage import COMMON, PICTURES, left_out, likeliest, surprise
from nfbmr.networks.sums import Batches, Sums, Together, alone

_MOST_CHANNELS = 256
"""d: more channels are first brought to so many, by random orthonormal directions."""
_FLOOR = 1e-2  # of the mean variance: what never moved may still move
_FOLDS, _PLACES, _MEASURED = 4, 64, 512  # of the images, places and images of `measure_own`
_STEPS = 1000  # of the weight
_STILL = 1e-8  # mean variance of a place, where that of all is 1
_AT_ONCE = 64  # places whose directions are searched at once


class LocalGaussians(nn.Module):
    """Whitening, means and own directions; ready once `learn` or `load_state_dict` ran."""

    whitening: Tensor
    mean: Tensor
    directions: Tensor
    rest: Tensor
    own: Tensor

    def __init__(self, grid: tuple[int, int], channels: int, factor: int, rank: int) -> None:
        """Makes room for r = `rank` directions of each place.

        Args:
            grid: (H, W).
            channels: c * k * k, the channels of a cell of the grid with all its finer cells, in
                the order of torch's `pixel_unshuffle`.
            factor: k.
            rank: d at most.
        """
        super().__init__()
        c = channels // factor**2
        d = min(c, _MOST_CHANNELS)
        places = grid[0] * grid[1] * factor**2
        self.grid, self.factor = grid, factor
        self.register_buffer("whitening", torch.zeros(c, d))
        self.register_buffer("mean", torch.zeros(places, d))
        self.register_buffer("directions", torch.zeros(places, d, min(rank, d)))
        self.register_buffer("rest", torch.ones(places))
        self.register_buffer("own", torch.zeros(()))

    def forward(self, detail: Tensor) -> Tensor:
        """Maps standardised detail (B, H, W, c * k * k) to distances (B, k * H, k * W), >= 0."""
        white = self._white(detail)  # (P, B, d)
        known = (white @ self.directions).square().sum(dim=-1)  # (P, B)
        squares = white.square().sum(dim=-1) * self.rest[:, None] - known
        (height, width), k = self.grid, self.factor
        return squares.clamp_min(0).sqrt().T.reshape(-1, k * height, k * width)

    @torch.no_grad()
    def learn(
        self,
        batches: Batches,
        seed: int,
        common: float | None = None,
        *,
        together: Together = alone,
        some: Batches | None = None,
    ) -> None:
        """Finds everything in three passes and in bounded memory.

        Args:
            batches: each call gives all training images once, (B, H, W, c * k * k), standardised;
                of several workers, this one's share.
            seed: of the random directions, where there are more channels than are kept.
            common: weight of the common covariance; by default the likeliest one.
            together: joins the sums of all workers.
            some: like `batches`, of all images; the first ones are looked at.
        """
        count = self._learn_whitening(batches, seed, together)
        variances = self._learn_directions(batches, count, together)
        if common is None:
            common = self._likeliest_weight(some or batches, variances, count)
        top, rest = _mixed(variances, common)
        # Squares less known ones: w^2 / rest - (w u)^2 (1 / rest - 1 / top).
        gain = (1 / rest[:, None] - 1 / top).clamp_min(0).sqrt()
        self.directions.mul_(gain[:, None, :])
        self.rest.copy_(1 / rest)
        self.own.fill_(1 - common)

    @torch.no_grad()
    def measure_own(self, batches: Batches, seed: int) -> None:
        """Sets `own` so that leaving out in closed form gives, on average, what leaving out does.

        The closed form is exact where a covariance holds all directions; of few it needs a smaller
        weight. So some places are learnt again, without a fourth of the images each time.

        Args:
            batches: as of `learn`, whose work is done; of all images, of which the first are read.
            seed: likewise.
        """
        places = torch.linspace(0, len(self.mean) - 1, min(_PLACES, len(self.mean))).long()
        kept: list[Tensor] = []
        for batch in batches():
            kept.append(self._cells(batch)[:, places])
            if sum(map(len, kept)) >= _MEASURED:
                break
        cells = torch.cat(kept)[:, None]  # (n, 1, places, c): a grid of one row
        common = 1 - float(self.own)
        fold = torch.arange(len(cells), device=cells.device) % _FOLDS
        known: list[tuple[Tensor, int]] = []
        new: list[Tensor] = []
        for number in range(_FOLDS):
            others, some = cells[fold != number], cells[fold == number]
            trial = LocalGaussians(
                (1, len(places)), cells.shape[-1], 1, self.directions.shape[2]
            ).to(cells.device)
            trial.learn(lambda others=others: iter(others.split(16)), seed, common)  # type: ignore[misc]
            known.append((trial(others), len(others)))
            new.append(trial(some))
        aim = float(torch.cat(new).mean())

        def too_far(weight: float) -> bool:
            means = [float(left_out(far**2, n, weight)[0].sqrt().mean()) for far, n in known]
            return sum(means) / len(means) > aim

        self.own.fill_(
            bisect_left(range(_STEPS), x=True, key=lambda step: too_far(step / _STEPS)) / _STEPS
        )

    def _cells(self, detail: Tensor) -> Tensor:
        """Maps (B, H, W, c * k * k) to one vector for each fine position, (B, P, c)."""
        k = self.factor
        batch, height, width, channels = detail.shape
        split = detail.reshape(batch, height, width, channels // k**2, k, k)
        return split.permute(0, 1, 4, 2, 5, 3).reshape(batch, -1, channels // k**2)

    def _learn_whitening(self, batches: Batches, seed: int, together: Together) -> int:
        """Sets the means and the whitening by the common covariance; returns how many images."""
        c, d = self.whitening.shape
        device = self.whitening.device
        total = torch.zeros(len(self.mean), c, dtype=torch.float64, device=device)
        square = torch.zeros(c, c, dtype=torch.float64, device=device)
        images = torch.zeros((), dtype=torch.int64, device=device)
        for batch in batches():
            cells = self._cells(batch)
            total += cells.sum(dim=0, dtype=torch.float64)
            rows = cells.reshape(-1, c)
            square += (rows.T @ rows).double()
            images += len(cells)
        together(Sums(total=total, square=square, images=images))
        count = int(images)
        mean = total / count
        covariance = (square / count - mean.T @ mean) / len(mean)
        start = torch.eye(c, dtype=torch.float64, device=device)
        if d < c:
            generator = torch.Generator().manual_seed(seed)
            drawn = torch.randn(c, d, generator=generator, dtype=torch.float64)
            start = torch.linalg.qr(drawn).Q.to(device)
        covariance = start.T @ covariance @ start
        floor = _FLOOR * covariance.diagonal().mean().clamp_min(1e-6)
        covariance = (1 - _FLOOR) * covariance
        covariance += floor * torch.eye(d, dtype=torch.float64, device=device)
        values, vectors = torch.linalg.eigh(covariance)
        self.whitening.copy_(start @ (vectors / values.clamp_min(1e-12).sqrt()))
        self.mean.copy_(mean @ self.whitening.double())
        return count

    def _white(self, batch: Tensor) -> Tensor:
        """Maps standardised detail to whitened, centred vectors (P, B, d)."""
        return (self._cells(batch) @ self.whitening - self.mean).transpose(0, 1)

    def _learn_directions(
        self, batches: Batches, count: int, together: Together
    ) -> tuple[Tensor, Tensor]:
        """Sets each place's directions; returns their variances (P, r) and the mean rest (P,)."""
        places, d, rank = self.directions.shape
        own = torch.zeros(places, d, d, device=self.mean.device)
        for batch in batches():
            white = self._white(batch)
            own.baddbmm_(white.transpose(1, 2), white, alpha=1 / count)
        together(Sums(own=own))
        # What never moves has noise of rounding, of which LAPACK may make directions that are NaN.
        own[own.diagonal(dim1=1, dim2=2).mean(dim=1) < _STILL] = 0
        top = torch.zeros(places, rank, device=own.device)
        for start in range(0, places, _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            values, vectors = torch.linalg.eigh(own[some])  # ascending
            self.directions[some] = vectors.flip(2)[..., :rank]
            top[some] = values.flip(1)[:, :rank].clamp_min(0)
        left = own.diagonal(dim1=1, dim2=2).sum(dim=1) - top.sum(dim=1)
        return top, left.clamp_min(0) / max(d - rank, 1)

    def _likeliest_weight(
        self, batches: Batches, variances: tuple[Tensor, Tensor], count: int
    ) -> float:
        """Returns the weight under which images are likeliest that were left out, on average."""
        d, rank = self.directions.shape[1:]
        sums = dict.fromkeys(COMMON, 0.0)
        seen = 0
        for batch in batches():
            white = self._white(batch)
            known = (white @ self.directions).square()  # (P, B, r)
            left = white.square().sum(dim=-1) - known.sum(dim=-1)
            for common in COMMON:
                top, rest = _mixed(variances, common)
                squares = left / rest[:, None] + (known / top[:, None]).sum(dim=-1)
                spread = top.log().sum(dim=1) + (d - rank) * rest.log()
                sums[common] += surprise(squares, spread[:, None], count, 1 - common)
            seen += len(batch)
            if seen >= PICTURES:
                break
        return likeliest(sums)


def _mixed(variances: tuple[Tensor, Tensor], common: float) -> tuple[Tensor, Tensor]:
    """Mixes a place's variances (P, r) and rest (P,) with the common ones, which are 1."""
    top, rest = variances
    return (1 - common) * top + common, (1 - common) * rest + common
