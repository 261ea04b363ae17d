"""BMR and B-PFM: one shared layer, the parameters that the paper's sizes give, eq. 14's errors."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nfbmr.networks.mapping import (
    BidirectionalMapping,
    ResidualBlock,
    b_pfm,
    bmr,
    mapping_errors,
)


def both() -> list[BidirectionalMapping]:
    return [bmr(6, latent=8, inner=4, n=2, seed=0), b_pfm(6, 6, latent=8, seed=0)]


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("mapping", both(), ids=["bmr", "b-pfm"])
def test_the_shared_layer_is_one_set_of_tensors(mapping: BidirectionalMapping) -> None:
    shared = {id(parameter) for parameter in mapping.shared.parameters()}
    own = [id(p) for direction in (mapping.tmnn, mapping.smnn) for p in direction.parameters()]
    assert shared
    assert shared.isdisjoint(own)
    assert len(own) == len(set(own))
    names = set(mapping.state_dict())
    assert {name.split(".")[0] for name in names} == {"tmnn", "smnn", "shared"}
    assert not [name for name in names if "shared" in name.split(".")[1:]]


@pytest.mark.parametrize("mapping", both(), ids=["bmr", "b-pfm"])
def test_changing_the_shared_layer_changes_both_directions(mapping: BidirectionalMapping) -> None:
    mapping.eval()
    x = torch.randn(2, 6, 3, 4)
    before = mapping(x, x)
    for parameter in mapping.shared.parameters():
        parameter.data += 0.5
    after = mapping(x, x)
    assert not torch.allclose(before[0], after[0])
    assert not torch.allclose(before[1], after[1])


def test_each_direction_has_weights_of_its_own() -> None:
    mapping = bmr(6, latent=8, inner=4, n=1, seed=0)
    x = torch.randn(2, 6, 3, 4)
    to_source = mapping.to_source(x)
    assert not torch.allclose(mapping.to_target(x), to_source)
    for parameter in mapping.tmnn.parameters():
        parameter.data += 0.5
    assert torch.equal(mapping.to_source(x), to_source)


@pytest.mark.parametrize(("n", "latent", "inner"), [(1, 8, 4), (2, 8, 4), (3, 5, 6)])
def test_parameters_of_bmr_counted_by_hand(n: int, latent: int, inner: int) -> None:
    block = (latent * inner + inner) + (9 * inner**2 + inner) + (inner * latent + latent)
    ends = (6 * latent + latent) + (latent * 6 + 6)
    expected = (4 * n + 1) * block + 2 * ends
    assert count(bmr(6, latent=latent, inner=inner, n=n, seed=0)) == expected


def test_parameters_of_b_pfm_counted_by_hand() -> None:
    C, c = 6, 8
    wide = C // 2 + c
    layers = [(C, wide), (wide, 2 * c), (c, 2 * c), (2 * c, wide), (wide, C)]
    convolutions = sum(a * b + b for a, b in layers)
    norms = sum(2 * b for _, b in layers[:-1])
    assert count(b_pfm(C, C, latent=c, seed=0)) == 2 * (convolutions + norms) + 2 * c * c + c


@pytest.mark.parametrize(("inner", "millions"), [(1024, 104), (256, 10)])
def test_the_papers_sizes_have_the_parameters_of_the_notes(inner: int, millions: int) -> None:
    with torch.device("meta"):
        mapping = bmr(304, latent=1024, inner=inner, n=2, seed=0)
    blocks = [module for module in mapping.modules() if isinstance(module, ResidualBlock)]
    assert len(blocks) == 4 * 2 + 1
    assert sum(map(count, blocks)) == pytest.approx(millions * 1e6, rel=0.02)


@pytest.mark.parametrize("mapping", both(), ids=["bmr", "b-pfm"])
@pytest.mark.parametrize("shape", [(2, 6, 3, 5), (3, 6, 1, 1)])
def test_shapes_are_kept(mapping: BidirectionalMapping, shape: tuple[int, int, int, int]) -> None:
    mapping.train()
    z_mt, y_ms = mapping(torch.randn(shape), torch.randn(shape))
    assert z_mt.shape == shape
    assert y_ms.shape == shape


def test_a_residual_block_adds_to_what_it_is_given() -> None:
    block = ResidualBlock(5, 4)
    x = torch.randn(2, 5, 4, 4)
    added = block(x) - x
    assert added.max() > 0
    assert added.min() >= -1e-6  # the last ReLU
    kinds = [type(layer) for layer in block.body]
    assert kinds == [nn.Conv2d, nn.ReLU] * 3
    kernels = [layer.kernel_size for layer in block.body if isinstance(layer, nn.Conv2d)]
    assert kernels == [(1, 1), (3, 3), (1, 1)]
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
    assert torch.equal(block(x), x)


def test_errors_are_squares_summed_over_channels() -> None:
    y, y_ms = torch.zeros(1, 2, 1, 2), torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])
    z, z_mt = torch.ones(1, 2, 1, 2), torch.tensor([[[[1.0, 2.0]], [[-1.0, 1.0]]]])
    source, target = mapping_errors(y, z, z_mt, y_ms)
    assert source.tolist() == [[[10.0, 4.0]]]
    assert target.tolist() == [[[4.0, 1.0]]]


@pytest.mark.parametrize("kind", ["bmr", "b-pfm"])
def test_same_seed_same_weights_and_the_global_generator_is_left_alone(kind: str) -> None:
    def build(seed: int) -> dict[str, torch.Tensor]:
        if kind == "bmr":
            return bmr(4, latent=4, inner=2, n=1, seed=seed).state_dict()
        return b_pfm(4, 4, latent=4, seed=seed).state_dict()

    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = build(1), build(1), build(2)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["tmnn.before.0.weight"], other["tmnn.before.0.weight"])
    assert not torch.equal(one["tmnn.before.0.weight"], one["smnn.before.0.weight"])
