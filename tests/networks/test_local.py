"""Gaussians of the detail: against full covariances, and what few directions keep."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from nfbmr.networks.local import LocalGaussians
from nfbmr.networks.sums import alone
from nfbmr.scoring.left_out import left_out
from nfbmr.scoring.maps import MAPS

GRID, FACTOR, C = (2, 3), 2, 5


def pictures(n: int, seed: int = 0) -> Tensor:
    """Detail (n, H, W, c * k * k) whose places differ in mean and spread."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.Generator().manual_seed(9)
    cells = GRID[0] * GRID[1] * FACTOR**2
    mean = torch.randn(cells, C, generator=places)
    turn = torch.randn(cells, C, C, generator=places) / 2 + torch.eye(C)
    x = torch.randn(n, cells, C, generator=generator)
    x = torch.einsum("npc,pcd->npd", x, turn) + mean
    x = x.reshape(n, GRID[0], FACTOR, GRID[1], FACTOR, C).permute(0, 1, 3, 5, 2, 4)
    return x.reshape(n, *GRID, C * FACTOR**2)


def learnt(data: Tensor, rank: int) -> LocalGaussians:
    def batches() -> Iterator[Tensor]:
        yield from torch.split(data, 7)

    found = LocalGaussians(GRID, C * FACTOR**2, FACTOR, rank)
    found.learn(batches, seed=0)
    return found


def reference(data: Tensor, asked: Tensor, own: float) -> Tensor:
    """Mahalanobis distances by float64 and whole covariances."""
    cells = LocalGaussians(GRID, C * FACTOR**2, FACTOR, 1)._cells
    x, q = cells(data).double(), cells(asked).double()
    mean = x.mean(dim=0)
    off = x - mean
    scatter = torch.einsum("npc,npd->pcd", off, off) / len(x)
    common = scatter.mean(dim=0)
    common = 0.99 * common + 0.01 * common.diagonal().mean() * torch.eye(C)
    covariance = own * scatter + (1 - own) * common
    far = q - mean
    squares = torch.einsum("npc,pcd,npd->np", far, torch.linalg.inv(covariance), far)
    height, width = GRID[0] * FACTOR, GRID[1] * FACTOR
    return squares.sqrt().reshape(-1, height, width)


def test_with_all_directions_it_is_the_distance_of_whole_covariances() -> None:
    data, new = pictures(200), pictures(6, seed=1) * 1.5
    found = learnt(data, rank=C)
    assert found(new).shape == (6, 4, 6)
    expected = reference(data, new, float(found.own))
    assert torch.allclose(found(new).double(), expected, rtol=2e-3)


def test_few_directions_come_near_and_many_pictures_trust_their_place_more() -> None:
    data, new = pictures(200), pictures(50, seed=1)
    few = learnt(data, rank=2)
    expected = reference(data, new, float(few.own))
    both = torch.stack([few(new).double().flatten(), expected.flatten()])
    assert torch.corrcoef(both)[0, 1] > 0.9
    assert learnt(pictures(8), rank=C).own < learnt(data, rank=C).own


def test_a_place_that_never_moved_stays_finite() -> None:
    still = pictures(1).repeat(12, 1, 1, 1)
    found = learnt(still, rank=3)
    new = found(pictures(3, seed=4))
    assert torch.isfinite(new).all()
    assert 100 * found(still).max() < new.min()


def test_many_channels_are_brought_to_fewer() -> None:
    found = LocalGaussians((2, 2), 300, 1, 8)
    assert found.whitening.shape == (300, 256)
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(20, 2, 2, 300, generator=generator)
    found.learn(lambda: iter([data]), seed=1)
    assert torch.isfinite(found(data)).all()


def test_the_measured_weight_makes_left_out_images_as_far_as_new_ones() -> None:
    data, new = pictures(60), pictures(400, seed=3)

    def batches() -> Iterator[Tensor]:
        yield from torch.split(data, 7)

    for rank in (1, 3):
        found = learnt(data, rank)
        found.measure_own(batches, seed=0)
        maps = torch.zeros(60, len(MAPS), 4, 6)
        maps[:, MAPS.index("fine")] = found(data)
        known = left_out(maps.numpy(), 60, {"fine": float(found.own)})[:, MAPS.index("fine")]
        inside, outside = float(found(data).mean()), float(found(new).mean())
        assert inside < outside
        assert abs(float(known.mean()) - outside) < 0.5 * (outside - inside)


def test_places_that_never_move_have_directions_that_are_numbers() -> None:
    """Of rounding alone, such as under a mask: some such matrices break LAPACK in float32."""
    noise = torch.zeros(16)
    noise[[1, 3, 5, 7, 8, 9, 10, 12, 14, 15]] = 2.0**-22 * torch.tensor(
        [-1, 2, 2, 1, -2, -0.25, 0.5, 0.125, -0.25, -0.125]
    )
    generator = torch.Generator().manual_seed(0)
    cells = torch.randn(12, 2, 2, 16, generator=generator)
    cells[:, 0] = noise
    local = LocalGaussians((2, 2), 16, 1, 64)
    local.whitening.copy_(torch.eye(16))
    top, rest = local._learn_directions(lambda: iter([cells]), 1, alone)
    assert top.isfinite().all()
    assert local.directions.isfinite().all()
    assert rest.isfinite().all()
    assert (top[:2] == 0).all()
    assert top[2:].max() > 1
