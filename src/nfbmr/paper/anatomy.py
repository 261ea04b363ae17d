"""What drawings of the structure say, read from the modules that run.

Shapes: H W = the picture's pixels, C = channels of y and z, H' W' = grid of y.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nfbmr.errors import SettingsError
from nfbmr.networks.detector import Detector
from nfbmr.networks.mapping import BidirectionalMapping
from nfbmr.networks.source import SourceNetwork
from nfbmr.paper.plan import typical_size
from nfbmr.settings.schema import Settings

_REDUCED = {"max": "maximum", "mean": "mean"}


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """A detector without values in its tensors, and the shapes that pass through it."""

    detector: Detector
    mapping: BidirectionalMapping
    """That of the detector."""
    picture: tuple[int, ...]
    """(3, H, W)."""
    y: tuple[int, ...]
    """(C, H', W'), as z, z_MT and y_MS."""
    is_standardised: bool
    """Whether channels of y are brought to mean 0 and deviation 1."""
    z: tuple[int, ...]
    z_mt: tuple[int, ...]
    y_ms: tuple[int, ...]
    map: tuple[int, ...]
    """(H', W')."""
    score: tuple[str, ...]
    """How the map becomes the image score: one statistic or several, in words."""


def anatomy(settings: Settings) -> Anatomy:
    """Builds what the settings describe and passes a picture through it; nothing is computed.

    Raises:
        SettingsError: they are not of NF-BMR, scored by eq. 14; or SNN cannot be built.
    """
    if settings.mapping.kind != "bmr" or settings.scoring.maps != ("asm",):
        raise SettingsError(
            f"the drawing is of NF-BMR: found mapping.kind {settings.mapping.kind} and scoring."
            f"maps {', '.join(settings.scoring.maps)}; expected bmr and asm"
        )
    size = typical_size(settings)
    source = SourceNetwork.of(settings.backbone).to("meta")
    with torch.device("meta"), torch.inference_mode():
        detector = Detector(source, settings, size)
        mapping = detector.mapping
        assert mapping is not None
        pixels = torch.empty(1, *size, 3, dtype=torch.uint8)
        features = source(pixels).permute(0, 2, 3, 1)  # (1, H', W', C')
        y, *_ = detector.standardised(features)  # (1, H', W', C)
        z, _ = detector.flow(y, detector.where(y))
        y, z = y.permute(0, 3, 1, 2), z.permute(0, 3, 1, 2)
        z_mt, y_ms = mapping(y, z)
        maps = detector.maps(features)
    return Anatomy(
        detector=detector,
        mapping=mapping,
        picture=(pixels.shape[3], *size),
        y=_one(y),
        is_standardised=settings.standardise == "channel",
        z=_one(z),
        z_mt=_one(z_mt),
        y_ms=_one(y_ms),
        map=_one(maps)[1:],
        score=tuple(_statistic(name, settings) for name in settings.scoring.statistics),
    )


def _one(tensor: Tensor) -> tuple[int, ...]:
    """Returns the shape of one picture's share of a batch."""
    return tuple(tensor.shape[1:])


def _statistic(name: str, settings: Settings) -> str:
    share = f"mean of highest {100 * settings.scoring.top_share:g} %"
    return _REDUCED.get(name, share)


def times(shape: tuple[int, ...]) -> str:
    """Returns a shape in words: 304 × 24 × 24."""
    return " × ".join(map(str, shape))


def parameters(*modules: nn.Module) -> str:
    """Returns how many parameters modules have together: 17.5 M."""
    count = sum(tensor.numel() for module in modules for tensor in module.parameters())
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return str(count)


def stages(source: SourceNetwork) -> str:
    """Says which stages of SNN make y: stage 6; a path where the network has no block stages."""
    found = [re.fullmatch(r"blocks\.(\d+)", path) for path in source.stages]
    numbers = [int(match[1]) + 1 for match in found if match]
    if len(numbers) < len(found):
        return " and ".join(source.stages)
    return f"stage{'s' if len(numbers) > 1 else ''} {' and '.join(map(str, numbers))}"


def blocks(source: SourceNetwork) -> int:
    """Counts SNN's blocks up to the last one that runs; 0 where the network has none."""
    trunk = dict(source.trunk.named_children()).get("blocks", nn.Sequential())
    return sum(len(list(stage.children())) for stage in trunk.children())


def convolution(layer: nn.Conv2d) -> tuple[str, str]:
    """Returns kernel and channels of a convolution: conv 3 × 3 and 1024 → 304."""
    steps = "" if set(layer.stride) == {1} else f", stride {times(layer.stride)}"
    return f"conv {times(layer.kernel_size)}{steps}", f"{layer.in_channels} → {layer.out_channels}"
