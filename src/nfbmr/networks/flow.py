"""TNF, the target flow: Real-NVP, an invertible map from features y to a standard normal z.

Shapes: B = images, H W = grid, D = features of one position, E = numbers that say where it lies.
Tensors are channels last, (..., D); a flow with a 1x1 kernel takes any leading axes, one with a 3x3
kernel (B, H, W, D).

Section 3.2 of the paper. Its eq. 5 prints y2 on the right, which has no closed inverse; the
coupling here is sequential, as Real-NVP's is (Dinh et al. 2017, eq. 7-8).
"""

from __future__ import annotations

import math
from typing import TypeAlias

import torch
from torch import Tensor, nn

Rows: TypeAlias = tuple[int, int]
"""Where the rows of a part begin in a whole batch, and how many that has."""


class _SubNetwork(nn.Module):
    """s and b of eq. 4-5: one hidden layer, its output split into log-scale and shift.

    Beside the features it may see where they lie: what is normal differs from place to place, and
    the padding of SNN alone makes a border look unlike the middle. The map stays invertible in y.
    """

    def __init__(
        self,
        features: int,
        out: int,
        hidden: int,
        kernel: int,
        dropout: float,
        where: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.kernel = kernel
        self.dropout = dropout
        features += where
        shape1 = (hidden, features) if kernel == 1 else (hidden, features, kernel, kernel)
        shape2 = (2 * out, hidden) if kernel == 1 else (2 * out, hidden, kernel, kernel)
        bound = (features * kernel * kernel) ** -0.5
        weight = torch.empty(shape1).uniform_(-bound, bound, generator=generator)
        self.weight1 = nn.Parameter(weight)
        self.bias1 = nn.Parameter(torch.empty(hidden).uniform_(-bound, bound, generator=generator))
        # Zero: the flow starts as the identity (up to its permutations), log|det| = 0.
        self.weight2 = nn.Parameter(torch.zeros(shape2))
        self.bias2 = nn.Parameter(torch.zeros(2 * out))

    def forward(
        self, x: Tensor, where: Tensor | None, rows: Rows | None = None
    ) -> tuple[Tensor, Tensor]:
        """Maps x (..., features) to log-scale and shift, each (..., out), in x's precision."""
        if where is not None:
            x = torch.cat([x, where.expand(*x.shape[:-1], -1)], dim=-1)
        if self.kernel == 1:
            h = self._drop(nn.functional.linear(x, self.weight1, self.bias1).relu(), rows)
            h = nn.functional.linear(h, self.weight2, self.bias2)
        else:
            h = x.permute(0, 3, 1, 2)
            h = nn.functional.conv2d(h, self.weight1, self.bias1, padding=self.kernel // 2)
            h = self._drop(h.relu(), rows)
            h = nn.functional.conv2d(h, self.weight2, self.bias2, padding=self.kernel // 2)
            h = h.permute(0, 2, 3, 1)
        # Under autocast the matrix products run in bfloat16; the affine part must not.
        log_scale, shift = h.to(x.dtype).chunk(2, dim=-1)
        return log_scale, shift

    def _drop(self, h: Tensor, rows: Rows | None = None) -> Tensor:
        """Leaves out hidden channels in training mode; the others are scaled up in return.

        One drawn byte decides about one channel, eight come with each draw of 64 bits: a tenth of
        the time that a draw for each takes on a CPU. Of a part of a batch the coins of the whole
        are drawn, which is little beside the products of its own rows.
        """
        dropped = round(256 * self.dropout)
        if not (self.training and dropped):
            return h
        first, whole = (0, len(h)) if rows is None else rows
        of_row = h[0].numel()
        draws = torch.empty(-(-whole * of_row // 8), dtype=torch.int64, device=h.device)
        coins = draws.random_(-(2**63), None).view(torch.uint8)
        coins = coins[first * of_row : (first + len(h)) * of_row].view(h.shape)
        return h * (coins >= dropped) * (256 / (256 - dropped))


class AffineCoupling(nn.Module):
    """One block: permute the channels, split them (eq. 3), transform both parts, join (eq. 6).

    z_2 = exp(s1(y_1)) * y_2 + b1(y_1),  z_1 = exp(s2(z_2)) * y_1 + b2(z_2)    (eq. 4, 5)
    An odd number of channels splits into D // 2 and the rest.
    """

    permutation: Tensor
    inverse_permutation: Tensor

    def __init__(
        self,
        features: int,
        hidden: int,
        *,
        kernel: int = 1,
        clamp: float = 3.0,
        dropout: float = 0.0,
        where: int = 0,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.clamp = clamp
        self.parts = [features // 2, features - features // 2]
        permutation = torch.randperm(features, generator=generator)
        self.register_buffer("permutation", permutation)
        self.register_buffer("inverse_permutation", torch.argsort(permutation))
        first, second = self.parts
        self.net1 = _SubNetwork(first, second, hidden, kernel, dropout, where, generator)
        self.net2 = _SubNetwork(second, first, hidden, kernel, dropout, where, generator)

    def _soft_clamp(self, log_scale: Tensor) -> Tensor:
        """Bounds the log-scale to about +-clamp; 0.636 = 2 / pi."""
        return self.clamp * 0.636 * torch.atan(log_scale / self.clamp)

    def forward(
        self, y: Tensor, where: Tensor | None = None, rows: Rows | None = None
    ) -> tuple[Tensor, Tensor]:
        """Maps y (..., D) to z (..., D) and log|det dz/dy| of each position (...)."""
        y1, y2 = torch.split(y.index_select(-1, self.permutation), self.parts, dim=-1)
        s1, b1 = self.net1(y1, where, rows)
        s1 = self._soft_clamp(s1)
        z2 = s1.exp() * y2 + b1
        s2, b2 = self.net2(z2, where, rows)
        s2 = self._soft_clamp(s2)
        z1 = s2.exp() * y1 + b2
        return torch.cat([z1, z2], dim=-1), s1.sum(dim=-1) + s2.sum(dim=-1)

    def inverse(self, z: Tensor, where: Tensor | None = None) -> Tensor:
        """Maps z (..., D) back to y (..., D); exact up to rounding."""
        z1, z2 = torch.split(z, self.parts, dim=-1)
        s2, b2 = self.net2(z2, where)
        y1 = (z1 - b2) * (-self._soft_clamp(s2)).exp()
        s1, b1 = self.net1(y1, where)
        y2 = (z2 - b1) * (-self._soft_clamp(s1)).exp()
        return torch.cat([y1, y2], dim=-1).index_select(-1, self.inverse_permutation)


class TargetFlow(nn.Module):
    """TNF: coupling blocks in a row (eq. 2).

    With a 3x3 kernel |det| is that of the whole grid; its logarithm is still a sum over positions,
    and each position's share is what `forward` gives.
    """

    def __init__(
        self,
        features: int,
        *,
        blocks: int = 4,
        hidden: int = 1024,
        kernel: int = 1,
        clamp: float = 3.0,
        dropout: float = 0.0,
        where: int = 0,
        seed: int = 0,
    ) -> None:
        """Builds the flow for `features` >= 2 channels; permutations and weights from `seed`.

        `dropout` is the share of hidden channels left out in training mode, drawn from torch's
        own generator. `where` is E: how many numbers say where a position lies.
        """
        super().__init__()
        assert features >= 2, "a coupling needs two parts"
        generator = torch.Generator().manual_seed(seed)
        self.blocks = nn.ModuleList(
            AffineCoupling(
                features,
                hidden,
                kernel=kernel,
                clamp=clamp,
                dropout=dropout,
                where=where,
                generator=generator,
            )
            for _ in range(blocks)
        )

    def forward(
        self, y: Tensor, where: Tensor | None = None, rows: Rows | None = None
    ) -> tuple[Tensor, Tensor]:
        """Maps y (..., D), lying at `where` (..., E), to z (..., D) and log|det dz/dy| (...).

        In training mode dropout leaves out of `rows` of a batch what it would of the whole, from
        the same state of torch's generator.
        """
        log_det = y.new_zeros(y.shape[:-1])
        for block in self.blocks:
            y, block_log_det = block(y, where, rows)
            log_det = log_det + block_log_det
        return y, log_det

    def inverse(self, z: Tensor, where: Tensor | None = None) -> Tensor:
        """Maps z (..., D), lying at `where` (..., E), back to y (..., D)."""
        for block in reversed(self.blocks):
            assert isinstance(block, AffineCoupling)
            z = block.inverse(z, where)
        return z


def position_code(grid: tuple[int, int], waves: int, device: torch.device) -> Tensor:
    """Returns where each position of a grid (H, W) lies, (H, W, E), E = 4 * waves, in [-1, 1].

    Sine and cosine of 1 to `waves` half waves along each side: the same place of a product has the
    same code on every grid.
    """
    centres = [(torch.arange(side, device=device) + 0.5) / side for side in grid]
    down, across = torch.meshgrid(*centres, indexing="ij")  # (H, W) each
    order = torch.arange(1, waves + 1, device=device)
    angles = math.pi * torch.stack([down, across], dim=-1)[..., None] * order  # (H, W, 2, waves)
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(2)  # (H, W, E)


def negative_log_likelihood(z: Tensor, log_det: Tensor) -> Tensor:
    """Returns |z|^2 / 2 - log|det dz/dy| of each position (...), eq. 8, in nats.

    The constant D / 2 * log(2 pi) is left out, as the paper leaves it out.
    """
    return z.square().sum(dim=-1) / 2 - log_det
