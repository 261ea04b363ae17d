"""Folding batch norms changes the arithmetic, not the map."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nfbmr.networks.folding import folded
from nfbmr.networks.source import SourceNetwork

LITE0 = "tf_efficientnet_lite0"


def stirred(network: nn.Module) -> nn.Module:
    """Gives batch norms the statistics of a trained network; a fresh one's fold to nothing."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            for tensor, low, high in (
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.5, 2.0),
                (module.weight.data, 0.5, 1.5),
                (module.bias.data, -0.5, 0.5),
            ):
                tensor.uniform_(low, high, generator=generator)
    return network


def pixels(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_takes_over_the_norm_behind_it(bias: bool) -> None:
    norm = nn.BatchNorm2d(8)
    network = stirred(nn.Sequential(nn.Conv2d(3, 8, 3, bias=bias), norm, nn.ReLU())).eval()
    x = torch.rand(2, 3, 9, 9)
    expected = network(x)
    quick = folded(network)
    torch.testing.assert_close(quick(x), expected)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in quick.modules())
    assert norm in network.modules(), "the original stays"
    torch.testing.assert_close(network(x), expected, rtol=0, atol=0)


def test_a_norm_without_a_convolution_before_it_stays() -> None:
    network = stirred(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1))).eval()
    assert any(isinstance(module, nn.BatchNorm2d) for module in folded(network).modules())


@pytest.mark.parametrize("name", [LITE0, "resnet18", "tf_efficientnet_b0"])
def test_features_are_those_of_the_network_as_it_is(name: str) -> None:
    network = SourceNetwork(name, (4, 3))
    stirred(network)
    y = network(pixels())
    assert network._quick[0] is not network.trunk
    maps = network._maps_of(network.trunk, network._normalised(pixels()))
    plain = maps[network.stages[0]]
    torch.testing.assert_close(y[:, : plain.shape[1]], plain, rtol=1e-4, atol=1e-4)


def test_static_padding_is_folded_too() -> None:
    network = SourceNetwork("tf_efficientnet_b0", (3,), padding="static")
    stirred(network)
    y = network(pixels())
    assert network._quick[0] is not network.trunk
    plain = network._maps_of(network.trunk, network._normalised(pixels()))[network.stages[0]]
    torch.testing.assert_close(y, plain, rtol=1e-4, atol=1e-4)


def test_new_tensors_are_folded_anew() -> None:
    network, other = SourceNetwork(LITE0, (3,)), SourceNetwork(LITE0, (3,))
    stirred(other)
    before = network(pixels())
    network.load_state_dict(other.state_dict())
    after = network(pixels())
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, other(pixels()), rtol=0, atol=0)


def test_moved_tensors_are_folded_anew() -> None:
    network = SourceNetwork(LITE0, (3,))
    network(pixels())
    network.double()
    assert not network._quick


def test_a_network_that_folding_would_change_is_left_alone() -> None:
    class Crossed(nn.Sequential):
        """Runs its batch norm before the convolution that is registered in front of it."""

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self[0](self[1](x))
            return y

    network = SourceNetwork(LITE0, (3,))
    last = network.trunk.get_submodule(network.steps[-1])
    channels = network(pixels()).shape[1]
    crossed = Crossed(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels))
    network.trunk.set_submodule(network.steps[-1], nn.Sequential(last, crossed))
    stirred(network.eval())
    network._quick.clear()
    y = network(pixels())
    assert network._quick[0] is network.trunk
    plain = network._maps_of(network.trunk, network._normalised(pixels()))[network.stages[0]]
    torch.testing.assert_close(y, plain, rtol=0, atol=0)
