"""Folding batch norms changes the arithmetic, not the map."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nfbmr.networks.folding import copied, folded
from nfbmr.networks.source import SourceNetwork

LITE0 = "tf_efficientnet_lite0"
CPU = torch.device("cpu")


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


def norms(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def pixels(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8, generator=generator)


def test_a_copy_has_modules_and_tensors_of_its_own_and_ties_stay() -> None:
    one, norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
    network = nn.Sequential(one, norm, nn.ReLU6(), one)
    stirred(network).eval()
    norm.weight.requires_grad_(False)
    x = torch.rand(2, 3, 5, 5)
    expected = network(x)
    found = copied(network)
    torch.testing.assert_close(found(x), expected, rtol=0, atol=0)
    assert not set(network.modules()) & set(found.modules())
    assert found[0] is found[3], "used twice"
    graded = [parameter.requires_grad for parameter in network.parameters()]
    assert [parameter.requires_grad for parameter in found.parameters()] == graded
    with torch.no_grad():
        for tensor in found.state_dict().values():
            tensor.zero_()
    found.append(nn.ReLU())
    torch.testing.assert_close(network(x), expected, rtol=0, atol=0)


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
    y, quick = network(pixels()), network.ready(CPU)
    assert norms(network)
    assert not norms(quick)
    assert not torch.equal(quick(pixels()), y)
    torch.testing.assert_close(quick(pixels()), y, rtol=1e-4, atol=1e-4)
    assert quick.grid((64, 96)) == network.grid((64, 96))


def test_static_padding_is_folded_too() -> None:
    network = SourceNetwork("tf_efficientnet_b0", (3,), padding="static")
    stirred(network)
    quick = network.ready(CPU)
    assert not norms(quick)
    torch.testing.assert_close(quick(pixels()), network(pixels()), rtol=1e-4, atol=1e-4)


def test_a_copy_that_is_ready_keeps_its_weights_and_takes_no_others() -> None:
    network, other = SourceNetwork(LITE0, (3,)), SourceNetwork(LITE0, (3,))
    stirred(other)
    quick = network.ready(CPU)
    before = quick(pixels())
    network.load_state_dict(other.state_dict())
    torch.testing.assert_close(quick(pixels()), before, rtol=0, atol=0)
    torch.testing.assert_close(network(pixels()), other(pixels()), rtol=0, atol=0)
    ready_anew = network.ready(CPU)(pixels())
    torch.testing.assert_close(ready_anew, other.ready(CPU)(pixels()), rtol=0, atol=0)
    assert not torch.allclose(ready_anew, before)
    with pytest.raises(RuntimeError, match=r"Unexpected key\(s\) in state_dict"):
        quick.load_state_dict(other.state_dict())
    with pytest.raises(AssertionError, match="ask the network that it was made from"):
        quick.fingerprint()


def test_what_is_ready_may_be_made_ready_again() -> None:
    network = SourceNetwork(LITE0, (3,))
    stirred(network)
    quick = network.ready(CPU)
    torch.testing.assert_close(quick.ready(CPU)(pixels()), quick(pixels()), rtol=0, atol=0)


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
    quick = network.ready(CPU)
    assert norms(quick)
    torch.testing.assert_close(quick(pixels()), network(pixels()), rtol=0, atol=0)
