"""SNN against timm's whole networks: the same features, from fewer layers, always frozen."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nfbmr.errors import SettingsError
from nfbmr.networks.padding import _StaticConv2d
from nfbmr.networks.source import SourceNetwork
from nfbmr.settings.schema import BackboneSettings

B5 = "tf_efficientnet_b5"
PADDINGS: tuple[Literal["native"], Literal["static"]] = ("native", "static")
LITE0 = "tf_efficientnet_lite0"


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def pixels(size: tuple[int, int], n: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (n, *size, 3), dtype=torch.uint8, generator=generator)


def whole_network_at(network: SourceNetwork, path: str, images: Tensor) -> Tensor:
    """Runs timm's uncut network with the same weights; returns what leaves the module `path`."""
    model = timm.create_model(network.name, pretrained=False).eval()
    left_out = model.load_state_dict(network.trunk.state_dict(), strict=False)
    assert not left_out.unexpected_keys
    config: Any = model.pretrained_cfg
    x = images.permute(0, 3, 1, 2).float() / 255
    x = (x - torch.tensor(config["mean"]).view(3, 1, 1)) / torch.tensor(config["std"]).view(3, 1, 1)
    found: list[Tensor] = []
    model.get_submodule(path).register_forward_hook(lambda m, i, o: found.append(o.clone()))
    with torch.no_grad():
        model(x)
    return found[0]


@pytest.mark.parametrize(
    ("name", "stage", "path", "size"),
    [
        (LITE0, 6, "blocks.5", (96, 160)),
        (LITE0, "blocks.5", "blocks.5", (75, 101)),
        ("resnet18", "layer3", "layer3", (96, 160)),
        ("resnet18", 2, "layer1", (75, 101)),
        ("mobilenetv3_small_050", 3, "blocks.2", (64, 64)),
        (B5, 6, "blocks.5", (100, 76)),
        (B5, "blocks.2.1", "blocks.2.1", (64, 64)),
    ],
)
def test_cut_network_equals_the_whole_one_there(
    name: str, stage: int | str, path: str, size: tuple[int, int]
) -> None:
    network = SourceNetwork(name, (stage,))
    images = pixels(size, 2)
    y = network(images)
    assert network.stages == (path,)
    assert y.dtype == torch.float32
    assert y.shape == (2, network.channels, *network.grid(size))
    assert y.std() > 0
    # Batch norms are folded: equal up to rounding.
    torch.testing.assert_close(y, whole_network_at(network, path, images), rtol=1e-4, atol=1e-4)


def test_stages_are_pooled_to_the_first_and_joined_with_its_neighbours() -> None:
    network = SourceNetwork(LITE0, (6, 5, 3), neighbours=True)
    alone = [SourceNetwork(LITE0, (stage,)) for stage in (6, 5, 3)]
    assert (network.channels, network.stride) == (192 + 112 + 40 + 192, 32)
    assert [part.stride for part in alone] == [32, 16, 8]
    images = pixels((128, 96))
    six, five, three = (part(images) for part in alone)
    padded = F.pad(six, (1, 1, 1, 1), value=float("nan"))
    around = padded.unfold(2, 3, 1).unfold(3, 3, 1).nanmean(dim=(-2, -1))  # cells outside: nan
    expected = [six, five.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(-2, -1))]
    expected += [three.unfold(2, 4, 4).unfold(3, 4, 4).mean(dim=(-2, -1)), around]
    torch.testing.assert_close(network(images), torch.cat(expected, dim=1), rtol=1e-5, atol=1e-6)


def test_levels_are_the_stages_apart_each_on_its_own_grid() -> None:
    network = SourceNetwork(LITE0, (6, 3, 5), neighbours=True)
    images = pixels((100, 76), 2)
    levels = network.levels(images)
    assert [tuple(level.shape) for level in levels] == [
        (2, 192, 4, 3),
        (2, 40, 13, 10),
        (2, 112, 7, 5),
    ]
    for level, stage in zip(levels, (6, 3, 5), strict=True):
        assert level.dtype == torch.float32
        alone = SourceNetwork(LITE0, (stage,))
        assert torch.equal(level, alone(images))
        assert torch.equal(level, *alone.levels(images))
    assert torch.equal(network(images)[:, :192], levels[0])


def test_grids_that_do_not_divide_are_pooled_too() -> None:
    network = SourceNetwork(LITE0, (6, 3))
    size = (100, 76)  # 13 x 10 cells in stage 3, 4 x 3 in stage 6
    y = network(pixels(size))
    assert y.shape == (1, 232, 4, 3) == (1, network.channels, *network.grid(size))
    three = SourceNetwork(LITE0, (3,))(pixels(size))
    torch.testing.assert_close(y[:, 192:], F.adaptive_avg_pool2d(three, (4, 3)))


def test_a_smaller_copy_of_the_image_joins_y_on_the_grid_of_the_first() -> None:
    images = pixels((128, 192), n=2)
    plain = SourceNetwork(LITE0, (6, 5), neighbours=True)
    scaled = SourceNetwork(LITE0, (6, 5), neighbours=True, scales=(0.7,))
    scaled.load_state_dict(plain.state_dict())
    y = scaled(images)
    assert scaled.channels == y.shape[1] == plain.channels + 192 + 112
    assert y.shape[2:] == plain(images).shape[2:] == scaled.grid((128, 192))
    torch.testing.assert_close(y[:, : plain.channels], plain(images), rtol=0, atol=0)
    # 0.7 of 128 x 192, to the nearest multiple of 32.
    x = (images.permute(0, 3, 1, 2).float() / 255 - plain.mean) / plain.std
    small = F.interpolate(x, (96, 128), mode="bilinear", align_corners=False)
    maps = plain._stage_maps(small)
    first, second = (maps[path] for path in plain.stages)
    assert first.shape[2:] == (3, 4)
    for level, place in ((first, slice(-304, -112)), (second, slice(-112, None))):
        wanted = (
            F.interpolate(level, y.shape[2:], mode="bilinear", align_corners=False)
            if level.shape[2] < y.shape[2]
            else F.adaptive_avg_pool2d(level, y.shape[2:])
        )
        torch.testing.assert_close(y[:, place], wanted, rtol=0, atol=1e-5)


def test_of_each_copy_only_its_own_stages_join() -> None:
    images = pixels((128, 192), n=2)
    plain = SourceNetwork(LITE0, (6, 5))
    network = SourceNetwork(LITE0, (6,), scales=(0.7, 0.5), scale_stages=((6, 5), (6,)))
    assert network.state_dict().keys() == plain.state_dict().keys()
    network.load_state_dict(plain.state_dict())
    assert network.stages == ("blocks.5",)
    assert network.scale_stages == (("blocks.5", "blocks.4"), ("blocks.5",))
    assert (network.channels, network.outputs) == (192 + 192 + 112 + 192,) * 2
    y = network(images)
    x = (images.permute(0, 3, 1, 2).float() / 255 - plain.mean) / plain.std
    expected = [plain(images)[:, :192]]
    for size, paths in (((96, 128), ("blocks.5", "blocks.4")), ((64, 96), ("blocks.5",))):
        small = F.interpolate(x, size, mode="bilinear", align_corners=False)
        maps = plain._stage_maps(small)
        for path in paths:
            level = maps[path]
            expected.append(
                F.interpolate(level, (4, 6), mode="bilinear", align_corners=False)
                if level.shape[2] < 4
                else F.adaptive_avg_pool2d(level, (4, 6))
            )
    torch.testing.assert_close(y, torch.cat(expected, dim=1), rtol=0, atol=1e-5)


def test_a_copy_may_give_a_stage_that_the_picture_does_not() -> None:
    network = SourceNetwork(LITE0, (4,), scales=(0.5,), scale_stages=((3, "blocks.5"),))
    assert network.channels == 80 + 40 + 192
    assert network.steps[-1] == "blocks.5", "the network runs as far as the copy needs"
    y = network(pixels((128, 192)))
    assert y.shape == (1, 312, 8, 12) == (1, network.channels, *network.grid((128, 192)))
    torch.testing.assert_close(y[:, :80], SourceNetwork(LITE0, (4,))(pixels((128, 192))))


def test_copies_give_the_stages_of_the_picture_where_nothing_else_is_asked() -> None:
    images = pixels((64, 96))
    short = SourceNetwork(LITE0, (4, 3), scales=(0.5, 0.7))
    full = SourceNetwork(LITE0, (4, 3), scales=(0.5, 0.7), scale_stages=((4, 3), (4, 3)))
    assert short.scale_stages == full.scale_stages == (("blocks.3", "blocks.2"),) * 2
    assert short.fingerprint() == full.fingerprint()
    assert torch.equal(short(images), full(images))


@pytest.mark.parametrize(
    ("name", "stages", "detail", "factor"),
    [
        (LITE0, (6,), 5, 2),
        (LITE0, (4, 3), 2, 4),
        (LITE0, (4,), 3, 2),  # a stage that runs before the first
        (LITE0, (4,), 5, 1),  # as coarse as the first, and behind it
        (LITE0, (4,), 4, 1),  # the same
        ("resnet18", (3,), "layer1", 2),
    ],
)
def test_behind_y_stands_the_detail_cell_by_cell(
    name: str, stages: tuple[int | str, ...], detail: int | str, factor: int
) -> None:
    images = pixels((64, 96), n=2)
    network = SourceNetwork(name, stages, neighbours=True, scales=(0.5,), detail=detail)
    plain = SourceNetwork(name, stages, neighbours=True, scales=(0.5,))
    alone = SourceNetwork(name, (detail,))(images)
    assert network.detail_factor == factor
    assert network.detail_channels == alone.shape[1] * factor**2
    assert (network.channels, network.stride) == (plain.channels, plain.stride)
    assert network.outputs == network.channels + network.detail_channels
    found = network(images)
    grid = network.grid((64, 96))
    assert grid == plain.grid((64, 96))
    assert found.shape == (2, network.outputs, *grid)
    torch.testing.assert_close(found[:, : network.channels], plain(images), rtol=0, atol=0)
    assert torch.equal(F.pixel_shuffle(found[:, network.channels :], factor), alone)
    levels = network.levels(images)
    assert len(levels) == len(stages), "the detail is no level of y"
    assert torch.equal(levels[0], found[:, : levels[0].shape[1]])


@pytest.mark.parametrize("size", [(64, 96), (100, 76)])
def test_behind_the_detail_stands_the_finest_as_3x3_means_cell_by_cell(
    size: tuple[int, int],
) -> None:
    network = SourceNetwork(LITE0, (4,), detail=3, finest=2)
    plain = SourceNetwork(LITE0, (4,), detail=3)
    assert (network.detail_factor, network.finest_factor) == (2, 4)
    assert (plain.finest_channels, plain.finest_factor) == (0, 1)
    assert network.outputs == plain.outputs + network.finest_channels
    found = network(pixels(size))
    torch.testing.assert_close(found[:, : plain.outputs], plain(pixels(size)), rtol=0, atol=0)
    alone = SourceNetwork(LITE0, (2,))(pixels(size))
    height, width = network.grid(size)
    if size == (100, 76):  # its grid does not fit
        alone = F.interpolate(alone, (4 * height, 4 * width), mode="bilinear", align_corners=False)
    finest = F.pixel_shuffle(found[:, plain.outputs :], 4)
    torch.testing.assert_close(finest[:, :, 1:-1, 1:-1], F.avg_pool2d(alone, 3, stride=1))
    torch.testing.assert_close(finest[:, :, 0, 0], alone[:, :, :2, :2].mean(dim=(2, 3)))
    assert network.fingerprint() != plain.fingerprint()


def test_cells_of_the_finest_divide_those_of_the_detail() -> None:
    with pytest.raises(
        SettingsError, match=r"backbone\.finest blocks\.3 .* stride 16, the detail 4"
    ):
        SourceNetwork(LITE0, (6,), detail=2, finest=4)


def test_the_finest_is_not_coarser_than_the_first_stage() -> None:
    expected = r"finest blocks\.5 .* stride 32, the grid of blocks\.3 has 16: .* not coarser"
    with pytest.raises(SettingsError, match=expected):
        SourceNetwork(LITE0, (4,), finest=6)


@pytest.mark.parametrize("size", [(100, 76), (75, 101)])
def test_detail_whose_grid_does_not_fit_is_brought_to_that_of_y(size: tuple[int, int]) -> None:
    network = SourceNetwork(LITE0, (4,), detail=2)
    alone = SourceNetwork(LITE0, (2,))(pixels(size))
    height, width = network.grid(size)
    fine = 4 * height, 4 * width
    assert tuple(alone.shape[2:]) != fine
    found = F.pixel_shuffle(network(pixels(size))[:, network.channels :], 4)
    expected = F.interpolate(alone, fine, mode="bilinear", align_corners=False)
    torch.testing.assert_close(found, expected)


def test_without_detail_nothing_stands_behind_y() -> None:
    network = SourceNetwork(LITE0, (4,))
    assert network.detail == ()
    assert (network.detail_channels, network.detail_factor) == (0, 1)
    assert network.outputs == network.channels == network(pixels((64, 64))).shape[1]


def test_detail_is_not_coarser_than_the_first_stage() -> None:
    for detail in (6, "blocks.5"):
        with pytest.raises(SettingsError, match=r"detail blocks\.5 .* not coarser"):
            SourceNetwork(LITE0, (4,), detail=detail)
    with pytest.raises(SettingsError, match="each once"):
        SourceNetwork(LITE0, (4,), scales=(0.5,), scale_stages=((3, 3),))
    with pytest.raises(SettingsError, match="has 7 stages"):
        SourceNetwork(LITE0, (4,), detail=8)
    with pytest.raises(SettingsError, match=r"no module 'blocks\.9'"):
        SourceNetwork(LITE0, (4,), scales=(0.5,), scale_stages=(("blocks.9",),))


def test_a_network_is_built_as_its_settings_say() -> None:
    settings = BackboneSettings(
        stages=(4,), scales=(0.5,), scale_stages=((4, 3),), detail=2, neighbours=True
    )
    expected = SourceNetwork(
        LITE0, (4,), neighbours=True, scales=(0.5,), scale_stages=((4, 3),), detail=2
    )
    found = SourceNetwork.of(settings)
    assert found.fingerprint() == expected.fingerprint()
    assert torch.equal(found(pixels((64, 64))), expected(pixels((64, 64))))


def test_a_copy_is_never_smaller_than_a_cell() -> None:
    network = SourceNetwork(LITE0, (4,), scales=(0.01, 0.5))
    assert network(pixels((64, 96))).shape == (1, 3 * 80, 4, 6)


def test_pictures_that_a_network_is_too_deep_for_are_refused() -> None:
    network = SourceNetwork("inception_v3", ("Mixed_7c",), padding="native", neighbours=False)
    assert network.grid((128, 160)) == (2, 3)
    with pytest.raises(SettingsError, match=r"64 x 80 pixels, at scales \[1\], are too few for"):
        network.grid((64, 80))


def test_lite_and_imagenet_networks_normalise_in_their_own_way() -> None:
    lite, b5 = SourceNetwork(LITE0, (1,)), SourceNetwork("resnet18", (1,))
    assert lite.mean.flatten().tolist() == lite.std.flatten().tolist() == [0.5] * 3
    torch.testing.assert_close(b5.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))
    torch.testing.assert_close(b5.std.flatten(), torch.tensor([0.229, 0.224, 0.225]))


def test_b5_is_that_of_the_paper() -> None:
    network = SourceNetwork(B5, (6,), padding="static")
    parameters = sum(p.numel() for p in network.parameters())
    assert 17.45e6 < parameters < 17.55e6
    assert len([p for p in network.steps if p.startswith("blocks.")]) == 6
    assert (
        sum(
            len(list(stage.children()))
            for stage in network.trunk.get_submodule("blocks").children()
        )
        == 36
    )
    assert network(pixels((768, 768))).shape == (1, 304, 24, 24)
    assert network.grid((768, 768)) == (24, 24)
    assert (network.channels, network.stride) == (304, 32)


def test_static_paddings_of_b5_are_those_of_efficientnet_pytorch() -> None:
    network = SourceNetwork(B5, (6,), padding="static")
    sides = [m.sides for m in network.modules() if isinstance(m, _StaticConv2d)]
    assert sides == [(a, b, a, b) for a, b in [(0, 1), (0, 1), (1, 2), (1, 1), (2, 2)]]


def test_static_and_native_padding_agree_at_the_design_size_only() -> None:
    native, static = (SourceNetwork("tf_efficientnet_lite1", (6,), padding=p) for p in PADDINGS)
    assert native.state_dict().keys() == static.state_dict().keys()
    design, other = pixels((240, 240)), pixels((256, 256))  # the last halving: 15 -> 8, 16 -> 8
    torch.testing.assert_close(native(design), static(design))
    assert native.grid((256, 256)) == static.grid((256, 256)) == (8, 8)
    assert not torch.allclose(native(other), static(other))


def test_static_padding_has_a_grid_of_its_own_where_a_side_is_odd() -> None:
    native, static = (SourceNetwork(LITE0, (4,), padding=p) for p in PADDINGS)
    for network, grid in ((native, (13, 13)), (static, (12, 12))):  # 200, 100, 50, 25, then
        assert network.grid((200, 200)) == grid == tuple(network(pixels((200, 200))).shape[2:])


@pytest.mark.parametrize("name", [LITE0, "resnet18"])
def test_no_parameter_behind_the_cut(name: str) -> None:
    network = SourceNetwork(name, (3,))
    keys = network.trunk.state_dict().keys()
    assert keys
    behind = ("blocks.3", "blocks.4", "conv_head", "bn2", "layer3", "layer4", "fc", "classifier")
    assert not [key for key in keys if key.startswith(behind)]


def test_stays_frozen_and_in_evaluation_mode() -> None:
    network = SourceNetwork(B5, (3,))
    before = network(pixels((64, 64)))
    state = {key: value.clone() for key, value in network.state_dict().items()}
    holder = nn.Sequential(network).train()
    assert holder.training
    assert not any(module.training for module in network.modules())
    y = network(pixels((64, 64)))
    assert torch.equal(y, before)
    assert not y.requires_grad
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def test_can_be_rebuilt_from_its_arguments_and_tensors() -> None:
    make = partial(SourceNetwork, LITE0, (4, 3), neighbours=True, padding="static", detail=2)
    network = make(scales=(0.5,), scale_stages=((3,),))
    for tensor in network.state_dict().values():
        tensor.add_(1) if tensor.is_floating_point() else None
    again = make(scales=(0.5,), scale_stages=((3,),))
    assert again.fingerprint() != network.fingerprint()
    again.load_state_dict(network.state_dict())
    assert again.fingerprint() == network.fingerprint()
    assert torch.equal(again(pixels((64, 64))), network(pixels((64, 64))))


def test_fingerprint_names_all_that_features_depend_on() -> None:
    make = partial(SourceNetwork, LITE0)
    networks = [make((4,)), make((3,)), make((4, 3)), make((4,), neighbours=True)]
    networks += [make((4,), scales=(0.5,)), make((4,), scales=(0.7,))]
    networks += [make((4,), scales=(0.5,), scale_stages=((s,),)) for s in (2, 3)]
    networks += [make((4,), detail=detail) for detail in (2, 3, 4)]
    networks += [make((4,), padding="static"), make((4,))]
    with torch.no_grad():
        next(networks[-1].parameters()).view(-1)[0] += 1e-6
    assert len({network.fingerprint() for network in networks}) == len(networks)
    assert make(("blocks.3",)).fingerprint() == networks[0].fingerprint()


def test_building_is_reproducible_and_leaves_the_random_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = SourceNetwork("resnet18", (2,))
    assert torch.equal(torch.rand(3), expected)
    assert SourceNetwork("resnet18", (2,)).fingerprint() == first.fingerprint()


@pytest.mark.parametrize(
    ("name", "stages", "padding", "message"),
    [
        ("nosuchnet", (1,), "native", "knows no network 'nosuchnet'"),
        ("hf-hub:timm/resnet18.a1_in1k", (1,), "native", "knows no network"),
        ("resnet18.nosuchtag", (1,), "native", "cannot build"),
        ("resnet18", (6,), "native", "has 5 stages"),
        ("resnet18", (0,), "native", "has 5 stages"),
        ("resnet18", ("layer9",), "native", "no module 'layer9'"),
        ("resnet18", ("layer1.0.conv1",), "native", "inside 'layer1.0'"),
        ("resnet18", ("layer1.0", "layer1"), "native", "inside 'layer1'"),
        ("resnet18", (), "native", "one or more"),
        ("resnet18", (2, 2), "native", "each once"),
        ("resnet18", (2, 3), "native", "coarsest first"),
        ("resnet18", (2,), "static", "use padding 'native'"),
        ("resnet18", ("fc",), "native", "expected a map"),
        ("mixer_s32_224", (2,), "native", "any size"),
        ("test_vit", ("patch_embed",), "native", "expected a map"),
        ("mobilevit_xxs", ("stages.0",), "native", ""),
        ("hrnet_w18_small", ("stage2.0",), "native", "cannot be cut"),
    ],
)
def test_refuses_what_it_cannot_cut(
    name: str, stages: tuple[int | str, ...], padding: str, message: str
) -> None:
    if not message:  # an unusual network that can be cut
        assert SourceNetwork(name, stages).channels
        return
    with pytest.raises(SettingsError, match=message):
        SourceNetwork(name, stages, padding=padding)  # type: ignore[arg-type]


def test_exports_as_a_graph_with_any_batch() -> None:
    network = SourceNetwork(
        LITE0, (3, 2), neighbours=True, scales=(0.7,), scale_stages=((2, 1),), detail=1
    )
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(
        network, (pixels((64, 96), 2),), dynamic_shapes={"pixels": {0: batch}}
    )
    images = pixels((64, 96), 3)
    torch.testing.assert_close(program.module()(images), network(images))
