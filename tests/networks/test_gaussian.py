"""The Gaussians against numpy's covariances, and each distance in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from nfbmr.networks.gaussian import PositionGaussians

GRID, C = (3, 4), 6


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pictures(n: int, seed: int = 0) -> Tensor:
    """Features (n, H, W, C) whose mean and covariance differ from place to place."""
    turns = draw(*GRID, C, C, seed=100)
    turned = torch.einsum("bhwc,hwcd->bhwd", draw(n, *GRID, C, seed=seed), turns)
    return turned + 3 * draw(*GRID, C, seed=101)


def batches_of(y: Tensor, size: int = 7) -> Callable[[], Iterator[Tensor]]:
    return lambda: iter(torch.split(y, size))


def learnt(y: Tensor, rank: int = C, batch: int = 7) -> PositionGaussians:
    gaussians = PositionGaussians(GRID, C, rank)
    gaussians.learn(batches_of(y, batch))
    return gaussians


def distances_by_hand(good: Tensor, new: Tensor, rank: int, weight: float) -> NDArray[np.float64]:
    """By numpy in float64: own and common ones by weight, and a hundredth of the unit matrix."""
    rows = good.double().numpy()
    flat = rows.reshape(-1, C)
    directions = np.linalg.eigh(flat.T @ flat)[1][:, ::-1][:, :rank]
    rows, others = rows @ directions, new.double().numpy() @ directions
    mean = rows.mean(axis=0)
    left = rows - mean
    spread = np.sqrt((left**2).mean(axis=(0, 1, 2)))
    left, others = left / spread, (others - mean) / spread
    own = np.einsum("bhwc,bhwd->hwcd", left, left) / len(left)
    covariance = weight * own + (0.99 - weight) * own.mean(axis=(0, 1)) + 0.01 * np.eye(rank)
    inverse = np.linalg.inv(covariance)
    squares = np.einsum("bhwc,hwcd,bhwd->bhw", others, inverse, others)
    return np.asarray(np.sqrt(squares))


@pytest.mark.parametrize("rank", [1, 4, C])
@pytest.mark.parametrize("n", [3, 50])
def test_the_distance_is_mahalanobis_from_the_gaussian_of_the_place(rank: int, n: int) -> None:
    good, new = pictures(n), pictures(5, seed=1)
    gaussians = learnt(good, rank)
    found = gaussians(new)
    assert found.shape == (5, *GRID)
    assert found.dtype == torch.float32
    expected = distances_by_hand(good, new, rank, float(gaussians.own))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-3)


def test_the_more_pictures_the_more_a_place_counts_and_a_texture_leans_on_all_places() -> None:
    few, many = learnt(pictures(8)), learnt(pictures(300))
    assert few.own < many.own
    alike = draw(30, *GRID, C)  # the same everywhere
    assert learnt(alike).own < learnt(pictures(30)).own


def test_good_pictures_lie_where_as_many_directions_let_expect() -> None:
    squares = learnt(pictures(4000))(pictures(1000, seed=1)).square()
    # The mean of chi-square with C degrees of freedom, lowered by what the common one adds.
    assert 0.7 * C < float(squares.mean()) < 1.1 * C


def test_what_is_normal_in_one_place_is_not_in_another() -> None:
    gaussians, good = learnt(pictures(200)), pictures(40, seed=1)
    in_place = gaussians(good)
    moved = gaussians(good.roll(1, dims=2))
    assert moved.median() > 1.5 * in_place.median()


def test_a_changed_position_changes_its_own_distance_alone() -> None:
    gaussians, picture = learnt(pictures(50)), pictures(1, seed=1)
    changed = picture.clone()
    changed[0, 1, 2] += 50
    before, after = gaussians(picture), gaussians(changed)
    assert (before != after).nonzero().tolist() == [[0, 1, 2]]
    assert after[0, 1, 2] > before[0, 1, 2]


def test_no_more_directions_than_channels() -> None:
    gaussians = PositionGaussians(GRID, C, 4096)
    assert gaussians.directions.shape == (C, C)
    assert gaussians.whitening.shape == (12, C, C)


@pytest.mark.parametrize("noise", [1e-8, 1e-7, 1e-6, 1e-5])
def test_pictures_that_are_almost_the_same_give_finite_distances(noise: float) -> None:
    same = pictures(1).repeat(15, 1, 1, 1)
    good = same + noise * draw(15, *GRID, C)
    gaussians = learnt(good)
    assert gaussians(good).isfinite().all()
    assert gaussians.whitening.abs().max() < 1e5


@pytest.mark.parametrize("n", [1, 4])
def test_pictures_that_are_all_the_same_give_finite_distances(n: int) -> None:
    same = pictures(1).repeat(n, 1, 1, 1)
    gaussians = learnt(same)
    assert gaussians(same).isfinite().all()
    assert (gaussians(same + 1) > gaussians(same)).all()
    assert gaussians(same + 1).isfinite().all()


def test_batches_of_any_size_give_the_same_gaussians() -> None:
    good, new = pictures(40), pictures(5, seed=1)
    one, other = learnt(good, 4, batch=7), learnt(good, 4, batch=40)
    torch.testing.assert_close(one(new), other(new), rtol=1e-3, atol=1e-3)


def test_what_is_learnt_is_kept_with_the_tensors() -> None:
    gaussians, again = learnt(pictures(20), 4), PositionGaussians(GRID, C, 4)
    assert set(gaussians.state_dict()) == {"directions", "mean", "own", "whitening"}
    again.load_state_dict(gaussians.state_dict())
    assert torch.equal(again(pictures(2, seed=1)), gaussians(pictures(2, seed=1)))
    assert not list(gaussians.parameters())
