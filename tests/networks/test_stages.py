"""Stages of any network in the places of those that a preset names: by strides."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from nfbmr.errors import SettingsError
from nfbmr.networks.source import SourceNetwork
from nfbmr.networks.stages import for_network
from nfbmr.settings.presets import preset
from nfbmr.settings.schema import BackboneSettings


def backbone(of: str, name: str) -> BackboneSettings:
    return replace(preset(of).backbone, name=name, weights="random")


@pytest.mark.parametrize(
    ("name", "coarse", "middle", "fine"),
    [
        ("resnet18", "layer4", "layer3", "layer2"),
        ("mobilenetv3_small_050", "blocks.5", "blocks.3", "blocks.1"),
        ("test_convnext", "stages.3", "stages.2", "stages.1"),
        ("test_vit", "blocks.3", "blocks.2", "blocks.1"),
    ],
)
@pytest.mark.parametrize("of", ["fast", "accurate"])
def test_stages_scales_and_detail_are_chosen_by_strides(
    of: str, name: str, coarse: str, middle: str, fine: str
) -> None:
    chosen, said = for_network(backbone(of, name))
    assert chosen.stages == (coarse,)
    assert chosen.scale_stages == ((coarse, middle), (coarse,))
    assert (chosen.detail, chosen.finest) == ((middle, fine), fine)
    assert said.startswith(f"Features of {name}, chosen by its strides: {coarse} (stride ")
    network = SourceNetwork.of(chosen)
    assert network.detail_factor == (1 if name == "test_vit" else 2)
    pixels = torch.zeros(1, 64, 96, 3, dtype=torch.uint8)
    assert network(pixels).shape == (1, network.outputs, *network.grid((64, 96)))


@pytest.mark.parametrize("name", ["resnet18", "test_vit", "tf_efficientnet_lite1"])
def test_the_papers_one_stage_is_the_coarsest(name: str) -> None:
    chosen, _ = for_network(backbone("paper", name))
    ours = name.startswith("tf_")
    assert chosen.padding == ("static" if ours else "native")
    assert (chosen.detail, chosen.scale_stages) == (None, ())
    assert SourceNetwork.of(chosen).stride == (16 if name == "test_vit" else 32)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite2", "mobilenetv3_large_100"])
def test_numbers_hold_for_what_is_built_like_an_efficientnet(name: str) -> None:
    start = backbone("fast", name)
    assert for_network(start) == (start, "")
    assert SourceNetwork.of(start).stride == 32


def test_what_is_given_stays() -> None:
    start = replace(backbone("fast", "resnet18"), stages=("layer3",), detail="layer1")
    chosen, _ = for_network(start, {"stages", "detail"})
    assert (chosen.stages, chosen.detail) == (("layer3",), "layer1")
    assert chosen.scale_stages == (("layer4", "layer3"), ("layer4",))


def test_stages_by_their_path_stay() -> None:
    start = replace(backbone("fast", "resnet18"), stages=("layer2", 7), detail="layer1")
    chosen, _ = for_network(start)
    assert (chosen.stages, chosen.detail) == (("layer2", "layer4"), ("layer1",))


@pytest.mark.parametrize("number", [0, -1, 8])
def test_a_number_that_is_no_stage_is_refused(number: int) -> None:
    start = replace(backbone("fast", "resnet18"), stages=(number,))
    with pytest.raises(SettingsError, match=rf"stage {number} was found, 1 to 7 were expected"):
        for_network(start)


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(SettingsError, match="knows no network 'resnet19'"):
        for_network(backbone("fast", "resnet19"))
