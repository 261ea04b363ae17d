"""TNF against its mathematics: the inverse, and log|det| as the autograd Jacobian has it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nfbmr.networks.flow import (
    AffineCoupling,
    TargetFlow,
    negative_log_likelihood,
    position_code,
)

CPU = torch.device("cpu")


def random_flow(
    features: int, *, kernel: int = 1, blocks: int = 3, where: int = 0, seed: int = 3
) -> TargetFlow:
    """A flow in float64 whose every parameter is random, the last layers too."""
    flow = TargetFlow(
        features, blocks=blocks, hidden=7, kernel=kernel, where=where, seed=seed
    ).double()
    generator = torch.Generator().manual_seed(seed)
    for parameter in flow.parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.data = 0.4 * noise
    return flow


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("features", [2, 3, 6, 9])
@pytest.mark.parametrize("blocks", [1, 4])
def test_inverse_undoes_forward_and_forward_undoes_inverse(features: int, blocks: int) -> None:
    flow = random_flow(features, blocks=blocks)
    y = draw(16, features)
    z, _ = flow(y)
    assert not torch.allclose(z, y)
    torch.testing.assert_close(flow.inverse(z), y)
    torch.testing.assert_close(flow(flow.inverse(y))[0], y)


@pytest.mark.parametrize("features", [2, 3, 6, 9])
@pytest.mark.parametrize("blocks", [1, 4])
def test_log_det_is_that_of_the_jacobian(features: int, blocks: int) -> None:
    flow = random_flow(features, blocks=blocks)
    y = draw(8, features)
    _, log_det = flow(y)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda v: flow(v[None])[0][0]))(y)
    expected = torch.linalg.slogdet(jacobian).logabsdet
    assert expected.abs().min() > 1e-3
    torch.testing.assert_close(log_det, expected)


def test_pointwise_flow_takes_any_leading_axes_alike() -> None:
    flow = random_flow(5)
    y = draw(2, 3, 4, 5)
    z, log_det = flow(y)
    flat_z, flat_log_det = flow(y.reshape(-1, 5))
    torch.testing.assert_close(z.reshape(-1, 5), flat_z)
    torch.testing.assert_close(log_det.reshape(-1), flat_log_det)


@pytest.mark.parametrize("features", [4, 5])
def test_flow_that_sees_neighbours_inverts_and_has_the_log_det_of_the_grid(features: int) -> None:
    flow = random_flow(features, kernel=3, blocks=2)
    y = draw(1, 2, 3, features)
    z, log_det = flow(y)
    torch.testing.assert_close(flow.inverse(z), y)
    jacobian = torch.func.jacrev(lambda v: flow(v)[0])(y).reshape(y.numel(), y.numel())
    torch.testing.assert_close(log_det.sum(), torch.linalg.slogdet(jacobian).logabsdet)
    outside = jacobian.reshape(6, features, 6, features)[0, :, 5]
    assert outside.abs().max() > 0  # it does see beyond one position


# ---- a flow that is told where a position lies


@pytest.mark.parametrize("features", [2, 3, 6, 9])
@pytest.mark.parametrize("blocks", [1, 4])
def test_told_where_it_inverts_and_has_the_log_det_of_the_jacobian_in_y(
    features: int, blocks: int
) -> None:
    flow = random_flow(features, blocks=blocks, where=8)
    y, where = draw(12, features), position_code((3, 4), 2, CPU).flatten(0, 1).double()
    z, log_det = flow(y, where)
    assert not torch.allclose(z, y)
    torch.testing.assert_close(flow.inverse(z, where), y)
    torch.testing.assert_close(flow(flow.inverse(y, where), where)[0], y)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda v, w: flow(v[None], w[None])[0][0]))(
        y, where
    )
    expected = torch.linalg.slogdet(jacobian).logabsdet
    assert expected.abs().min() > 1e-3
    torch.testing.assert_close(log_det, expected)


@pytest.mark.parametrize("features", [4, 5])
def test_told_where_it_may_see_neighbours_too(features: int) -> None:
    flow = random_flow(features, kernel=3, blocks=2, where=8)
    y, where = draw(1, 2, 3, features), position_code((2, 3), 2, CPU).double()
    z, log_det = flow(y, where)
    torch.testing.assert_close(flow.inverse(z, where), y)
    jacobian = torch.func.jacrev(lambda v: flow(v, where)[0])(y).reshape(y.numel(), y.numel())
    torch.testing.assert_close(log_det.sum(), torch.linalg.slogdet(jacobian).logabsdet)
    assert not torch.allclose(z, flow(y, where.flip(0))[0])


def test_the_same_features_differ_from_place_to_place_only_where_it_is_told() -> None:
    y = draw(5).expand(3, 4, 5)
    where = position_code((3, 4), 2, CPU).double()
    told, log_det = random_flow(5, where=8)(y, where)
    told, log_det = told.flatten(0, 1), log_det.flatten()
    between = torch.cdist(told, told) + torch.eye(12)
    assert between.min() > 1e-3
    assert len(log_det.unique()) == 12
    untold = random_flow(5)(y)[0]
    torch.testing.assert_close(untold, untold[:1, :1].expand_as(untold))


def test_one_grid_tells_all_images_where_and_each_position_its_own() -> None:
    flow = random_flow(5, where=8)
    y, where = draw(2, 3, 4, 5), position_code((3, 4), 2, CPU).double()
    z, log_det = flow(y, where)
    for image in range(2):
        rows, places = y[image].flatten(0, 1), where.flatten(0, 1)
        order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
        own_z, own_log_det = flow(rows[order], places[order])
        torch.testing.assert_close(z[image].flatten(0, 1)[order], own_z)
        torch.testing.assert_close(log_det[image].flatten()[order], own_log_det)


@pytest.mark.parametrize("waves", [1, 6, 32])
@pytest.mark.parametrize("grid", [(15, 6), (1, 1), (2, 9)])
def test_position_code_is_four_numbers_a_wave_between_minus_one_and_one(
    grid: tuple[int, int], waves: int
) -> None:
    code = position_code(grid, waves, CPU)
    assert code.shape == (*grid, 4 * waves)
    assert code.dtype == torch.float32
    assert code.isfinite().all()
    assert code.abs().max() <= 1


def test_position_code_is_sines_and_cosines_of_half_waves() -> None:
    code = position_code((2, 5), 3, CPU).numpy()
    for row, column in ((0, 0), (1, 3)):
        sides = ((row + 0.5) / 2, (column + 0.5) / 5)
        for number, (side, wave) in enumerate((side, wave) for side in sides for wave in (1, 2, 3)):
            axis, order = divmod(number, 3)
            # of each axis: its sines, then its cosines
            at = 6 * axis + order
            angle = math.pi * wave * side
            assert code[row, column, at] == pytest.approx(math.sin(angle), abs=1e-6)
            assert code[row, column, at + 3] == pytest.approx(math.cos(angle), abs=1e-6)


@pytest.mark.parametrize("waves", [1, 6])
def test_no_two_positions_have_the_same_code(waves: int) -> None:
    code = position_code((15, 6), waves, CPU).flatten(0, 1)
    between = torch.cdist(code, code, compute_mode="donot_use_mm_for_euclid_dist")
    assert (between + 10 * torch.eye(90)).min() > 0.1


def test_the_same_place_has_the_same_code_on_every_grid() -> None:
    coarse, fine = position_code((3, 5), 6, CPU), position_code((9, 25), 6, CPU)
    torch.testing.assert_close(fine[1::3, 2::5], coarse)
    assert not torch.allclose(fine[::3, ::5], coarse, atol=0.1)


@pytest.mark.parametrize("kernel", [1, 3])
def test_told_where_it_starts_as_the_same_permutation(kernel: int) -> None:
    flow = TargetFlow(6, blocks=4, hidden=8, kernel=kernel, where=8, seed=0)
    y, code = torch.randn(2, 3, 4, 6), position_code((3, 4), 2, CPU)
    z, log_det = flow(y, code)
    assert (log_det == 0).all()
    assert torch.equal(z.sort(dim=-1).values, y.sort(dim=-1).values)
    assert torch.equal(z, flow(y, torch.zeros_like(code))[0])


# ---- how it starts, and what it keeps


@pytest.mark.parametrize("kernel", [1, 3])
def test_flow_starts_as_a_permutation(kernel: int) -> None:
    flow = TargetFlow(6, blocks=4, hidden=8, kernel=kernel, seed=0)
    y = torch.randn(2, 3, 4, 6)
    z, log_det = flow(y)
    assert (log_det == 0).all()
    order = torch.arange(6)
    for block in flow.blocks:
        assert isinstance(block, AffineCoupling)
        order = order[block.permutation]
    assert torch.equal(z, y[..., order])
    assert not torch.equal(order, torch.arange(6))


def test_clamp_bounds_the_log_scale() -> None:
    flow = TargetFlow(4, blocks=1, hidden=8, clamp=0.5, seed=0)
    for parameter in flow.parameters():
        parameter.data = torch.full_like(parameter, 1e6)
    _, log_det = flow(torch.ones(1, 4))
    assert 4 * 0.49 < log_det.item() <= 4 * 0.5


def test_permutations_are_kept_with_the_weights() -> None:
    one, other = TargetFlow(16, blocks=2, hidden=4, seed=1), TargetFlow(16, blocks=2, hidden=4)
    state = one.state_dict()
    assert {"blocks.0.permutation", "blocks.1.inverse_permutation"} <= set(state)
    assert not torch.equal(state["blocks.0.permutation"], state["blocks.1.permutation"])
    y = torch.randn(3, 16)
    assert not torch.equal(one(y)[0], other(y)[0])
    other.load_state_dict(state)
    assert torch.equal(one(y)[0], other(y)[0])


def test_same_seed_same_flow_and_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (TargetFlow(6, hidden=4, seed=s).state_dict() for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["blocks.0.net1.weight1"], other["blocks.0.net1.weight1"])


def test_negative_log_likelihood_by_hand() -> None:
    z, log_det = torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([1.5, -2.0])
    assert negative_log_likelihood(z, log_det).tolist() == [12.5 - 1.5, 2.0]


def test_learning_reaches_the_likelihood_of_a_gaussian() -> None:
    scale = torch.tensor([0.2, 3.0, 1.0])
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(512, 3, generator=generator) * scale + 2
    flow = TargetFlow(3, blocks=2, hidden=16, seed=0)
    optimiser = torch.optim.Adam(flow.parameters(), lr=0.02)
    losses = []
    for _ in range(150):
        loss = negative_log_likelihood(*flow(y)).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    entropy = 3 / 2 + math.log(0.2 * 3.0 * 1.0)  # of the Gaussian, without D / 2 * log(2 pi)
    assert losses[0] > 8
    assert losses[-1] == pytest.approx(entropy, abs=0.3)


@pytest.mark.parametrize("kernel", [1, 3])
def test_dropout_leaves_out_its_share_in_training_and_nothing_else(kernel: int) -> None:
    flow = TargetFlow(4, blocks=1, hidden=640, kernel=kernel, dropout=0.25, seed=1)
    plain = TargetFlow(4, blocks=1, hidden=640, kernel=kernel, seed=1)
    for one in (flow, plain):
        for parameter in one.parameters():
            parameter.data.fill_(0.5)
    y = draw(1, 20, 30, 4).float()
    assert torch.equal(flow.eval()(y)[0], plain.eval()(y)[0])
    torch.manual_seed(0)
    h = torch.ones(7, 101, 3)  # no multiple of eight
    (block,) = flow.train().blocks
    assert isinstance(block, AffineCoupling)
    kept = block.net1._drop(h)
    assert sorted(set(kept.flatten().tolist())) == [0.0, pytest.approx(4 / 3)]
    assert float((kept == 0).double().mean()) == pytest.approx(0.25, abs=0.03)
    assert not torch.equal(flow(y)[0], flow(y)[0])
    assert torch.equal(plain.train()(y)[0], plain.eval()(y)[0])


@pytest.mark.parametrize("kernel", [1, 3])
def test_dropout_leaves_out_of_a_part_what_it_would_of_the_whole_batch(kernel: int) -> None:
    flow = TargetFlow(5, hidden=13, kernel=kernel, dropout=0.5).double().train()
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(2))
    y, found = draw(7, 3, 2, 5), []
    for part, rows in ((y, None), (y[:3], (0, 7)), (y[3:], (3, 7))):
        torch.manual_seed(4)
        found.append(flow(part, rows=rows)[0])
    torch.testing.assert_close(torch.cat(found[1:]), found[0])


@pytest.mark.parametrize("hidden", [1, 640])
def test_what_is_dropped_is_the_same_for_the_same_state_of_torchs_generator(hidden: int) -> None:
    flow = TargetFlow(5, hidden=hidden, dropout=0.5).train()
    for parameter in flow.parameters():
        torch.nn.init.constant_(parameter, 0.3)
    y = draw(40, 5).float()
    found = []
    for seed in (4, 4, 5):
        torch.manual_seed(seed)
        found.append(flow(y)[0])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
