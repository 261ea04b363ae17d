"""BMR, the bidirectional mapping residual network, and the B-PFM nets that it is compared with.

Shapes: B = images, C = channels of y and z, L = latent channels, H W = grid.
Tensors are (B, C, H, W).
TMNN maps y to z, SMNN maps z to y (section 3.3, Fig. 4). Both classes here are used alike:
`mapping(y, z)` returns the mapped target z_MT and the mapped source y_MS.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Relu = Literal["branch", "after"]
"""Where the third ReLU of a residual block stands."""


class ResidualBlock(nn.Module):
    """1x1, 3x3, 1x1 convolutions, a ReLU after each, and an identity skip (Fig. 4).

    The paper's text names neither the skip nor the place of the third ReLU, and no inner width.
    `branch`: x + ReLU(conv(...)), the ReLU comes after its convolution as the text has it, so the
    block can only add. `after`: ReLU(x + conv(...)), as in ResNet.
    """

    def __init__(self, channels: int, inner: int, relu: Relu = "branch") -> None:
        super().__init__()
        self.relu = relu
        self.body = nn.Sequential(
            nn.Conv2d(channels, inner, 1),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(inner, channels, 1),
            *([nn.ReLU()] if relu == "branch" else []),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps x (B, L, H, W) to the same shape."""
        out: Tensor = x + self.body(x)
        return out if self.relu == "branch" else out.relu()


class _Direction(nn.Module):
    """What TMNN or SMNN has for itself: everything before and after the shared layer."""

    def __init__(self, before: nn.Sequential, after: nn.Sequential) -> None:
        super().__init__()
        self.before = before
        self.after = after


class BidirectionalMapping(nn.Module):
    """TMNN and SMNN around one shared layer: `shared` is one module, so one set of tensors."""

    def __init__(self, tmnn: _Direction, smnn: _Direction, shared: nn.Module) -> None:
        super().__init__()
        self.tmnn = tmnn
        self.smnn = smnn
        self.shared = shared

    def to_target(self, y: Tensor) -> Tensor:
        """TMNN: maps y (B, C, H, W) to z_MT of the same shape (eq. 9)."""
        return self.tmnn.after(self.shared(self.tmnn.before(y)))  # type: ignore[no-any-return]

    def to_source(self, z: Tensor) -> Tensor:
        """SMNN: maps z (B, C, H, W) to y_MS of the same shape (eq. 10)."""
        return self.smnn.after(self.shared(self.smnn.before(z)))  # type: ignore[no-any-return]

    def forward(self, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Returns z_MT and y_MS, each (B, C, H, W)."""
        return self.to_target(y), self.to_source(z)


def bmr(
    channels: int,
    *,
    latent: int,
    inner: int,
    n: int,
    seed: int,
    ends: Literal[1, 3] = 1,
    relu: Relu = "branch",
) -> BidirectionalMapping:
    """Builds BMR: convolution C -> L, n residual blocks, the shared one, n blocks, L -> C.

    Args:
        channels: C, of y and z.
        latent: L.
        inner: width within a residual block.
        n: residual blocks on each side of the shared one.
        seed: of the first weights.
        ends: kernel of the first and the last layer, which the paper calls convolutions; it gives
            none. With 1 only the residual blocks' 3x3 mix positions.
        relu: of the residual blocks.
    """

    def direction() -> _Direction:
        before = [ResidualBlock(latent, inner, relu) for _ in range(n)]
        after = [ResidualBlock(latent, inner, relu) for _ in range(n)]
        padding = ends // 2
        return _Direction(
            nn.Sequential(nn.Conv2d(channels, latent, ends, padding=padding), *before),
            nn.Sequential(*after, nn.Conv2d(latent, channels, ends, padding=padding)),
        )

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return BidirectionalMapping(direction(), direction(), ResidualBlock(latent, inner, relu))


def b_pfm(source: int, target: int, *, latent: int, seed: int) -> BidirectionalMapping:
    """Builds the mapping nets of B-PFM (Wan et al. 2022) with c = `latent`.

    From a domain of C channels to one of D: 1x1 convolutions C -> C/2 + c -> 2c -> c (shared)
    -> 2c -> D/2 + c -> D; batch-norm and ReLU on all but the shared and the last layer. Where TNF
    makes the target, both domains have as many channels.

    Args:
        source: channels of y.
        target: channels of z.
        latent: c.
        seed: of the first weights.
    """

    def layer(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs), nn.ReLU()]

    def direction(inputs: int, outputs: int) -> _Direction:
        first, last = inputs // 2 + latent, outputs // 2 + latent
        return _Direction(
            nn.Sequential(*layer(inputs, first), *layer(first, 2 * latent)),
            nn.Sequential(
                *layer(latent, 2 * latent),
                *layer(2 * latent, last),
                nn.Conv2d(last, outputs, 1),
            ),
        )

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tmnn, smnn = direction(source, target), direction(target, source)
        return BidirectionalMapping(tmnn, smnn, nn.Conv2d(2 * latent, latent, 1))


def mapping_errors(y: Tensor, z: Tensor, z_mt: Tensor, y_ms: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the source and the target error of each position, each (B, H, W): eq. 14's terms.

    Eq. 14 is half their sum; `nfbmr.scoring.maps` takes it.
    """
    return (y - y_ms).square().sum(dim=1), (z - z_mt).square().sum(dim=1)
