"""Weights: the embedded ones see a cat; files of three spellings fit, and nothing else does."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from nfbmr.errors import MissingExtraError, WeightsError
from nfbmr.networks import weights
from nfbmr.networks.source import SourceNetwork
from nfbmr.networks.weights import (
    EMBEDDED,
    embedded_file,
    load_weights,
    read_tensors,
    to_timm_names,
)

LITE0 = "tf_efficientnet_lite0"
CATS = range(281, 286)  # tabby, tiger, Persian, Siamese, Egyptian


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def depths(model: nn.Module) -> list[int]:
    stages = model.get_submodule("blocks").children()
    return [len(list(stage.children())) for stage in stages]


def efficientnet_pytorch_names(model: nn.Module) -> dict[str, Tensor]:
    """Spells the tensors of timm's EfficientNet as the package efficientnet-pytorch does."""
    plain = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    expanding = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv"}
    expanding |= {"bn2": "_bn1", "conv_pwl": "_project_conv", "bn3": "_bn2"}
    both = {"se.conv_reduce": "_se_reduce", "se.conv_expand": "_se_expand"}
    outside = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head"}
    outside |= {"bn2": "_bn1", "classifier": "_fc"}
    first = np.concatenate([[0], np.cumsum(depths(model))])
    named = {}
    for key, tensor in model.state_dict().items():
        layer, kind = key.rsplit(".", 1)
        if not key.startswith("blocks."):
            named[f"{outside[layer]}.{kind}"] = tensor
            continue
        _, stage, block, layer = layer.split(".", 3)
        rules = both | (plain if stage == "0" else expanding)
        named[f"_blocks.{first[int(stage)] + int(block)}.{rules[layer]}.{kind}"] = tensor
    return named


@pytest.fixture(scope="module")
def filled() -> SourceNetwork:
    """A network none of whose tensors are equal, to notice any mix-up."""
    network = SourceNetwork("efficientnet_b0", (6,))
    randomise(network.trunk)
    return network


def randomise(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(3)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)


# ---- embedded


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_weights_see_a_cat(name: str) -> None:
    model = timm.create_model(name, pretrained=False).eval()
    tensors = read_tensors(embedded_file(name))
    model.load_state_dict(to_timm_names(tensors, depths(model)))
    photo = Path(skimage.__file__).parent / "data" / "chelsea.png"  # in the wheel: no download
    with Image.open(photo) as image:
        cropped = image.convert("RGB").resize((384, 256)).crop((80, 16, 304, 240))
    pixels = torch.from_numpy(np.asarray(cropped).copy()).permute(2, 0, 1)[None]
    with torch.no_grad():
        answer = model((pixels.float() - 127) / 128).softmax(dim=1)[0]
    assert int(answer.argmax()) in CATS
    assert answer[list(CATS)].sum() > 0.5


@pytest.mark.parametrize("name", EMBEDDED)
def test_renaming_embedded_weights_agrees_with_their_order(name: str) -> None:
    model = timm.create_model(name, pretrained=False)
    tensors = read_tensors(embedded_file(name))
    by_name = to_timm_names(tensors, depths(model))
    by_order = dict(zip(model.state_dict(), tensors.values(), strict=True))
    assert by_name.keys() == by_order.keys()
    assert all(by_name[key] is by_order[key] for key in by_order)


def test_load_embedded_sets_every_tensor_and_says_so() -> None:
    network = SourceNetwork(LITE0, (6, 5), neighbours=True)
    said = load_weights(network, "embedded")
    assert re.fullmatch(r"embedded efficientnet-lite0-57934424\.pth \(sha256 [0-9a-f]{12}\)", said)
    raw = read_tensors(embedded_file(LITE0))
    stem = network.trunk.state_dict()["conv_stem.weight"]
    assert torch.equal(stem, raw["_conv_stem.weight"])
    static = SourceNetwork(f"{LITE0}.in1k", (6, 5), neighbours=True, padding="static")
    load_weights(static, "embedded")
    for key, tensor in static.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[key]), key


@pytest.mark.parametrize("source", ["embedded", "random"])
def test_weights_reach_as_far_as_copies_and_detail_need_the_network(source: str) -> None:
    network = SourceNetwork(LITE0, (4,), scales=(0.5,), scale_stages=((6,),), detail=5)
    randomise(network.trunk)
    load_weights(network, source)
    expected = SourceNetwork(LITE0, (6,))
    load_weights(expected, source)
    assert network.state_dict().keys() == expected.state_dict().keys()
    for key, tensor in expected.state_dict().items():
        assert torch.equal(network.state_dict()[key], tensor), key


def test_embedded_needs_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="only for tf_efficientnet_lite0"):
        load_weights(SourceNetwork("resnet18", (2,)), "embedded")
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install -e "\.\[train\]"'):
        embedded_file(LITE0)


# ---- hub and random


def test_hub_weights_are_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    network = SourceNetwork("resnet18.tv_in1k", (2,))
    donor: nn.Module = timm.create_model("resnet18", pretrained=False)
    randomise(donor)
    asked: list[tuple[str, bool]] = []

    def create_model(name: str, pretrained: bool) -> nn.Module:
        asked.append((name, pretrained))
        return donor

    monkeypatch.setattr(timm, "create_model", create_model)
    assert load_weights(network, "hub") == "hub resnet18.tv_in1k"
    assert asked == [("resnet18.tv_in1k", True)]
    conv = network.trunk.state_dict()["conv1.weight"]
    assert torch.equal(conv, donor.state_dict()["conv1.weight"])


def test_unreachable_hub_names_the_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def create_model(name: str, pretrained: bool) -> nn.Module:
        raise OSError("no route to host")

    network = SourceNetwork("resnet18", (2,))
    before = network.fingerprint()
    monkeypatch.setattr(timm, "create_model", create_model)
    with pytest.raises(WeightsError, match="no route to host") as caught:
        load_weights(network, "hub")
    for way in ("tf_efficientnet_lite0", "--weights FILE", "HF_HOME", "only"):
        assert way in str(caught.value)
    assert network.fingerprint() == before


def test_random_weights_are_the_same_every_time_and_marked() -> None:
    network = SourceNetwork(LITE0, (3,), padding="static")
    fresh = network.fingerprint()
    randomise(network.trunk)
    assert load_weights(network, "random") == "random (seed 0): for tests and timing only"
    assert network.fingerprint() == fresh


# ---- files


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
@pytest.mark.parametrize("spelling", ["timm", "efficientnet-pytorch"])
def test_files_of_timm_and_efficientnet_pytorch(
    tmp_path: Path, filled: SourceNetwork, suffix: str, spelling: str
) -> None:
    donor = timm.create_model("efficientnet_b0", pretrained=False)
    donor.load_state_dict(filled.trunk.state_dict(), strict=False)
    ours = spelling == "timm"
    tensors = dict(donor.state_dict()) if ours else efficientnet_pytorch_names(donor)
    path = tmp_path / f"w{suffix}"
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    network = SourceNetwork("efficientnet_b0", (6,))
    assert load_weights(network, str(path)).startswith(f"file w{suffix} (sha256 ")
    assert network.fingerprint() == filled.fingerprint()


@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_b5"])
def test_torchvision_files_give_torchvisions_features(tmp_path: Path, name: str) -> None:
    donor = getattr(torchvision.models, name)().eval()
    for module in donor.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-5  # timm's, in its networks that are not TF's
    generator = torch.Generator().manual_seed(0)
    for key, tensor in donor.state_dict().items():
        if "running" in key or key.endswith("bias"):
            tensor.add_(0.1 * torch.rand(tensor.shape, generator=generator))
    torch.save(donor.state_dict(), tmp_path / "w.pth")
    network = SourceNetwork(name, (6,))
    load_weights(network, tmp_path / "w.pth")
    images = torch.randint(0, 256, (1, 96, 64, 3), dtype=torch.uint8, generator=generator)
    x = (images.permute(0, 3, 1, 2) / 255 - network.mean) / network.std
    with torch.no_grad():
        expected = donor.features[:7](x)
    assert expected.std() > 1e-3
    torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-4)


def test_torchvision_b5_fits_the_papers_network() -> None:
    donor = torchvision.models.efficientnet_b5()
    model = timm.create_model("tf_efficientnet_b5", pretrained=False)
    named = to_timm_names(donor.state_dict(), depths(model))
    assert {k: v.shape for k, v in named.items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }


def test_resnet_files_of_torchvision_are_spelt_as_timms(tmp_path: Path) -> None:
    donor = torchvision.models.resnet18()
    torch.save({"state_dict": donor.state_dict()}, tmp_path / "w.pth")
    network = SourceNetwork("resnet18", (3,))
    load_weights(network, tmp_path / "w.pth")
    trunk = network.trunk.state_dict()
    assert all(torch.equal(donor.state_dict()[key], trunk[key]) for key in trunk)


def test_unwraps_training_checkpoints_and_half_precision(
    tmp_path: Path, filled: SourceNetwork
) -> None:
    state = {f"module.{k}": v.half() for k, v in filled.trunk.state_dict().items()}
    lean = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    torch.save({"model": lean}, tmp_path / "w.pth")
    network = SourceNetwork("efficientnet_b0", (6,))
    load_weights(network, tmp_path / "w.pth")
    stem = network.trunk.state_dict()["conv_stem.weight"]
    assert stem.dtype == torch.float32
    torch.testing.assert_close(
        stem, filled.trunk.state_dict()["conv_stem.weight"], rtol=1e-3, atol=0
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bn1.bias": None, "blocks.2.0.bn1.weight": None}, "2 missing .blocks.2.0.bn1.weight, bn"),
        ({"blocks.2.9.conv_pw.weight": torch.zeros(1)}, "1 unexpected .blocks.2.9.conv_pw"),
        ({"bn1.bias": torch.zeros(7)}, r"1 misshapen .bn1.bias \(7,\) instead of \(32,\)"),
        ({"bn1.bias": torch.full((32,), torch.nan)}, "1 tensor holds NaN.*bn1.bias"),
        ({"bn1.bias": torch.zeros(32, dtype=torch.int32)}, "no decimals"),
    ],
)
def test_misfits_are_refused_and_change_nothing(
    tmp_path: Path, filled: SourceNetwork, change: dict[str, Tensor | None], message: str
) -> None:
    changed = {**filled.trunk.state_dict(), **change}
    path = tmp_path / "w.pth"
    torch.save({key: value for key, value in changed.items() if value is not None}, path)
    network = SourceNetwork("efficientnet_b0", (6,))
    before = network.fingerprint()
    with pytest.raises(WeightsError, match=message):
        load_weights(network, path)
    assert network.fingerprint() == before


def test_what_lies_behind_the_cut_is_ignored(tmp_path: Path, filled: SourceNetwork) -> None:
    extra = {"blocks.6.0.conv_pw.weight": torch.zeros(1), "anything": torch.zeros(2)}
    torch.save({**filled.trunk.state_dict(), **extra}, tmp_path / "w.pth")
    network = SourceNetwork("efficientnet_b0", (6,))
    load_weights(network, tmp_path / "w.pth")
    assert network.fingerprint() == filled.fingerprint()


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"\d+ missing \(.*, \.\.\.\)"):
        load_weights(SourceNetwork(LITE0, (3,)), tmp_path / "w.pth")
    load_weights(SourceNetwork("resnet18", (3,)), tmp_path / "w.pth")


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def test_a_pickle_that_wants_to_run_code_does_not(tmp_path: Path) -> None:
    torch.save({"conv_stem.weight": Malicious(tmp_path / "harm")}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="refused because reading it could run code"):
        load_weights(SourceNetwork(LITE0, (1,)), tmp_path / "w.pth")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"junk" * 100])
def test_damaged_files_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match="damaged"):
        read_tensors(tmp_path / name)


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        read_tensors(tmp_path / "missing.pth")
    (tmp_path / "w.onnx").write_bytes(b"x")
    with pytest.raises(WeightsError, match="ends in"):
        read_tensors(tmp_path / "w.onnx")
    torch.save([torch.zeros(1)], tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="dict of named tensors"):
        read_tensors(tmp_path / "w.pth")
