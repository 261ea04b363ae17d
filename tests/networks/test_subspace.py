"""The subspace against numpy's singular vectors, and each share of the residual in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from nfbmr.networks.subspace import Subspace

GRID, C, K = (3, 4), 3, 2
FINE = (C, K * GRID[0], K * GRID[1])  # a map of finer cells
D = C * FINE[1] * FINE[2]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def detail_of(fine: Tensor, factor: int = K) -> Tensor:
    """Finer cells (B, c, k * H, k * W) as SNN gives them, (B, H, W, c * k * k)."""
    return F.pixel_unshuffle(fine, factor).permute(0, 2, 3, 1).contiguous()


def fine_pictures(
    n: int, *, spread: tuple[float, ...], noise: float = 0.0, seed: int = 0
) -> Tensor:
    """Pictures (n, c, k * H, k * W): one plane, a direction for each `spread`, and noise."""
    directions = torch.linalg.qr(draw(D, len(spread), seed=100)).Q  # (D, r)
    places = draw(n, len(spread), seed=seed) * torch.tensor(spread)
    rows: Tensor = draw(D, seed=101) + places @ directions.T
    return (rows + noise * draw(n, D, seed=seed + 50)).reshape(n, *FINE)


def batches_of(detail: Tensor, size: int = 7) -> Callable[[], Iterator[Tensor]]:
    return lambda: iter(torch.split(detail, size))


def learnt(detail: Tensor, rank: int, *, seed: int = 0, batch: int = 7) -> Subspace:
    subspace = Subspace(GRID, detail.shape[-1], K, rank)
    subspace.learn(batches_of(detail, batch), seed)
    return subspace


def vectors(detail: Tensor) -> NDArray[np.float64]:
    return detail.flatten(1).double().numpy()


def projector(basis: NDArray[np.float64]) -> NDArray[np.float64]:
    return basis @ basis.T


def top_directions(detail: Tensor, rank: int) -> NDArray[np.float64]:
    """(D, r), by numpy's singular value decomposition in float64."""
    rows = vectors(detail)
    _, _, directions = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    return np.asarray(directions[:rank].T)


FALLING = (9.0, 7.0, 5.0, 4.0, 1.0, 0.7)


@pytest.mark.parametrize("n", [12, 60])
def test_basis_spans_what_the_main_singular_vectors_span(n: int) -> None:
    good = detail_of(fine_pictures(n, spread=FALLING, noise=0.05))
    subspace = learnt(good, 4)
    found = subspace.basis.double().numpy()
    assert found.shape == (D, 4)
    np.testing.assert_allclose(found.T @ found, np.eye(4), atol=1e-5)
    expected = projector(top_directions(good, 4))
    np.testing.assert_allclose(projector(found), expected, atol=1e-4)
    np.testing.assert_allclose(subspace.mean.numpy(), vectors(good).mean(0), atol=1e-5)


def test_directions_come_in_the_order_of_their_variance() -> None:
    good = detail_of(fine_pictures(60, spread=FALLING, noise=0.05))
    found = learnt(good, 4).basis.double().numpy()
    cosines = np.abs((found * top_directions(good, 4)).sum(0))
    np.testing.assert_allclose(cosines, 1, atol=1e-4)


def test_squares_of_the_residual_sum_up_to_what_the_projection_leaves() -> None:
    good = detail_of(fine_pictures(60, spread=FALLING, noise=0.3))
    new = detail_of(fine_pictures(9, spread=FALLING, noise=0.3, seed=1))
    rows = vectors(new) - vectors(good).mean(0)
    basis = top_directions(good, 4)
    expected = (rows**2).sum(1) - ((rows @ basis) ** 2).sum(1)
    residual = learnt(good, 4)(new)
    assert residual.shape == (9, *FINE[1:])
    assert residual.dtype == torch.float32
    assert (residual >= 0).all()
    found = residual.double().square().sum(dim=(1, 2)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_each_finer_cell_has_the_norm_of_its_own_part_of_the_rest() -> None:
    good = detail_of(fine_pictures(60, spread=FALLING, noise=0.3))
    fine = fine_pictures(2, spread=FALLING, noise=0.3, seed=1)
    subspace = learnt(good, 4)
    basis, rows = top_directions(good, 4), vectors(detail_of(fine)) - vectors(good).mean(0)
    left = torch.from_numpy(rows - rows @ projector(basis)).reshape(2, *GRID, C * K * K)
    expected = F.pixel_shuffle(left.permute(0, 3, 1, 2), K).square().sum(dim=1).sqrt()
    found = subspace(detail_of(fine)).double()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_nothing_is_left_of_a_picture_within_the_span() -> None:
    good = detail_of(fine_pictures(30, spread=(3.0, 2.0, 1.0)))
    within = detail_of(fine_pictures(8, spread=(6.0, 4.0, 2.0), seed=1))
    outside = detail_of(fine_pictures(8, spread=(6.0, 4.0, 2.0), noise=0.1, seed=1))
    subspace = learnt(good, 3)
    assert (within - good[:8]).abs().max() > 1
    assert subspace(within).max() < 1e-4
    assert subspace(outside).min() > 1e-2


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_without_directions_the_residual_is_the_distance_of_each_cell_from_the_mean(
    factor: int,
) -> None:
    fine = draw(2, C, factor * GRID[0], factor * GRID[1])
    mean = draw(1, *fine.shape[1:], seed=1)
    subspace = Subspace(GRID, C * factor**2, factor, 5)
    subspace.mean.copy_(detail_of(mean, factor).flatten())
    found = subspace(detail_of(fine, factor))
    assert found.shape == (2, *fine.shape[2:])
    torch.testing.assert_close(found, (fine - mean).square().sum(dim=1).sqrt())


def test_a_changed_cell_is_where_the_residual_is_largest() -> None:
    subspace = learnt(detail_of(fine_pictures(30, spread=(3.0, 2.0, 1.0))), 3)
    (within,) = fine_pictures(1, spread=(3.0, 2.0, 1.0), seed=1)
    height, width = FINE[1:]
    changed = within.repeat(height * width, 1, 1, 1)
    for place, picture in enumerate(changed):
        picture[:, place // width, place % width] += 1
    found = subspace(detail_of(changed)).flatten(1)
    assert found.argmax(dim=1).tolist() == list(range(height * width))
    others = found.clone().fill_diagonal_(0)
    assert (others.amax(dim=1) < 0.5 * found.diagonal()).all()


@pytest.mark.parametrize("n", [2, 5, 17])
def test_fewer_images_than_directions_leave_the_last_ones_at_zero(n: int) -> None:
    good = detail_of(fine_pictures(n, spread=FALLING, noise=0.5))
    subspace = learnt(good, 20)
    norms = subspace.basis.norm(dim=0)
    assert subspace.basis.isfinite().all()
    assert (norms[n - 1 :] == 0).all(), "the mean takes one of them"
    torch.testing.assert_close(norms[: n - 1], torch.ones(n - 1))
    assert subspace(good).max() < 1e-3
    new = detail_of(fine_pictures(3, spread=FALLING, noise=0.5, seed=1))
    assert subspace(new).isfinite().all()
    assert subspace(new).min() > 1e-2


@pytest.mark.parametrize("n", [1, 4])
def test_images_that_are_all_the_same_are_a_mean_without_directions(n: int) -> None:
    good = detail_of(fine_pictures(1, spread=FALLING)).repeat(n, 1, 1, 1)
    subspace = learnt(good, 3)
    assert not subspace.basis.any()
    assert not subspace(good).any()
    changed = subspace(good + 1)
    torch.testing.assert_close(changed, torch.full_like(changed, C**0.5))


def test_no_more_directions_than_features() -> None:
    good = detail_of(fine_pictures(D + 5, spread=FALLING, noise=1.0))
    subspace = learnt(good, 4096)
    assert subspace.basis.shape == (D, D)
    assert subspace(detail_of(draw(3, *FINE, seed=9))).max() < 1e-2


def test_same_seed_same_bits_and_torchs_generator_is_left_alone() -> None:
    good = detail_of(fine_pictures(40, spread=FALLING, noise=0.05))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (learnt(good, 4, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.mean, same.mean)
    assert torch.equal(one.basis, same.basis)
    assert not torch.equal(one.basis, other.basis)
    torch.testing.assert_close(one(good), other(good), rtol=1e-3, atol=1e-3)


def test_batches_of_any_size_give_the_same_subspace() -> None:
    good = detail_of(fine_pictures(40, spread=FALLING, noise=0.3))
    one, other = (learnt(good, 4, batch=size) for size in (1, 40))
    torch.testing.assert_close(one(good), other(good), rtol=1e-3, atol=1e-3)


def test_what_is_learnt_is_kept_with_the_tensors() -> None:
    good = detail_of(fine_pictures(20, spread=FALLING, noise=0.3))
    subspace, again = learnt(good, 4), Subspace(GRID, C * K * K, K, 4)
    assert set(subspace.state_dict()) == {"mean", "basis"}
    again.load_state_dict(subspace.state_dict())
    assert torch.equal(again(good), subspace(good))
    assert not list(subspace.parameters())
