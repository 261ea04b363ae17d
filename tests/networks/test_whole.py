"""Networks that are no chain of modules: timm's own maps, at any size, and behind them nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from nfbmr.networks.source import SourceNetwork
from nfbmr.networks.weights import load_weights

VIT = "test_vit"


def pixels(size: tuple[int, int]) -> torch.Tensor:
    drawn = torch.randint(0, 256, (2, *size, 3), generator=torch.Generator().manual_seed(1))
    return drawn.to(torch.uint8)


@pytest.mark.parametrize("size", [(160, 160), (96, 128)])
def test_the_maps_of_a_vit_are_those_of_timm(size: tuple[int, int]) -> None:
    network = SourceNetwork(VIT, (4,), detail=(2,))
    whole: Any = timm.create_model(VIT, pretrained=False, dynamic_img_size=True).eval()
    missing, unexpected = whole.load_state_dict(network.trunk.state_dict(), strict=False)
    assert not unexpected
    behind = ("blocks.4", "blocks.5", "norm", "head", "fc_norm")
    assert all(key.startswith(behind) for key in missing)
    x = (pixels(size).permute(0, 3, 1, 2).float() / 255 - network.mean) / network.std
    with torch.no_grad():
        expected = whole.forward_intermediates(x, indices=[1, 3], intermediates_only=True)
    torch.testing.assert_close(network(pixels(size)), torch.cat(expected[::-1], dim=1))
    assert network.grid(size) == (size[0] // 16, size[1] // 16)


def test_sides_that_patches_do_not_fill_are_padded() -> None:
    assert SourceNetwork(VIT, (2,)).grid((100, 76)) == (7, 5)


def test_the_quick_copy_answers_alike() -> None:
    network = SourceNetwork("hrnet_w18_small", ("stage2",))
    quick = network.ready(torch.device("cpu"))
    torch.testing.assert_close(
        quick(pixels((64, 64))), network(pixels((64, 64))), atol=1e-3, rtol=1e-3
    )


def test_weights_from_a_file_fit_a_vit_whose_last_blocks_are_left_out(tmp_path: Path) -> None:
    torch.manual_seed(7)
    trained = timm.create_model(VIT, pretrained=False)
    torch.save(trained.state_dict(), tmp_path / "vit.pth")
    network = SourceNetwork(VIT, (3,))
    load_weights(network, str(tmp_path / "vit.pth"))
    assert torch.equal(network.trunk.state_dict()["pos_embed"], trained.state_dict()["pos_embed"])
    assert "blocks.3.norm1.weight" not in network.trunk.state_dict()


def test_a_vit_exports_as_a_graph() -> None:
    network = SourceNetwork(VIT, (4,), scales=(0.7,), detail=(2,))
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(
        network, (pixels((64, 96)),), dynamic_shapes={"pixels": {0: batch}}
    )
    images = torch.cat([pixels((64, 96)), pixels((64, 96))])[:3]
    torch.testing.assert_close(program.module()(images), network(images))
