"""How much a place's covariance leans on the one that all places have in common.

The weight is that under which good pictures are likeliest, each by Gaussians that know the others
only: of few pictures a place cannot say much by itself, of many it can.

Shapes: any; those of `squares` and `volumes` broadcast.
"""

from __future__ import annotations

import torch
from torch import Tensor

COMMON = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
"""Weights of the common covariance, beside the place's own, that are tried."""

PICTURES = 64
"""That the weight is chosen by."""

_LEAST_ROOM = 0.01  # `nfbmr.scoring.left_out.LEAST_ROOM`, from which no network imports


def left_out(squares: Tensor, n: int, own: float) -> tuple[Tensor, Tensor]:
    """Takes images out of the Gaussians that learnt from them, as `nfbmr.scoring.left_out` does.

    Args:
        squares: squared distances of images that are among the n, any shape.
        n: images learnt from.
        own: weight of the images' own covariance in what is kept, in [0, 1].

    Returns:
        The squared distances without them, and the share of the determinant that is left.
    """
    others = max(n - 1, 1)
    room = (1 - own / others * squares).clamp_min(_LEAST_ROOM)
    return (n / others) ** 2 * squares / room, room


def surprise(squares: Tensor, volumes: Tensor, n: int, own: float) -> float:
    """Returns twice the negative log-likelihood of left-out images, but for a constant; summed.

    Args:
        squares: as of `left_out`.
        volumes: logarithms of the determinants of their covariances, of a shape that broadcasts.
        n: as of `left_out`.
        own: likewise.
    """
    without, room = left_out(squares, n, own)
    return float((without + room.log() + volumes).sum(dtype=torch.float64))


def likeliest(surprises: dict[float, float]) -> float:
    """Returns the weight with the least surprise; of equals the larger one."""
    return min(surprises, key=lambda common: (surprises[common], -common))
