"""The graph in torch, as it was trained. Starting this module does not load torch.

Shapes: N = images, H W = the model's size in pixels, K = raw maps, H' W' = grid of the maps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.errors import BundleTamperedError
from nfbmr.model.bundle import Bundle
from nfbmr.runtimes.protocol import missing
from nfbmr.scoring.maps import Maps
from nfbmr.system.cores import at_once

if TYPE_CHECKING:
    from nfbmr.networks.protocol import FeatureSource


class TorchRuntime:
    """The graph in torch, as it was trained."""

    name = "torch"

    def __init__(
        self,
        bundle: Bundle,
        device: str = "auto",
        threads: int | None = None,
        source: FeatureSource | None = None,
    ) -> None:
        """Builds the network and fills it from the bundle; nothing is downloaded.

        Args:
            bundle: with its tensors.
            device: `auto`, `cpu`, `cuda`, ...
            threads: of the whole process; by default as torch chooses.
            source: SNN; by default that of the settings, whose tensors are among the bundle's.

        Raises:
            MissingExtraError: torch or timm is not installed.
            BundleTamperedError: the tensors are not those of the network the settings describe.
        """
        try:
            import torch

            from nfbmr.networks.detector import Detector
            from nfbmr.networks.source import SourceNetwork
            from nfbmr.system.devices import choose_device
        except ImportError as error:
            raise missing(error, "torch", "torch inspects this model") from None
        if threads is not None:
            torch.set_num_threads(threads)
        settings = bundle.settings
        source = source or SourceNetwork.of(settings.backbone)
        detector = Detector(source, settings, bundle.facts.size)
        tensors: dict[str, Any] = {k: torch.from_numpy(v) for k, v in bundle.tensors.items()}
        # Models of older versions do not say how much of their Gaussians is the images' own.
        own = {k: v for k, v in detector.state_dict().items() if k.endswith(".own")}
        try:
            detector.load_state_dict(own | tensors)
        except RuntimeError as error:
            why = _misfits(own | tensors, detector.state_dict()) or type(error).__name__
            raise BundleTamperedError(
                f"the model's tensors do not fit its settings ({why}); restore the model or fit "
                "again"
            ) from None
        self.device = choose_device(device, small=settings.backbone.small)
        self.detector = detector.ready(self.device)
        self._torch = torch

    def run(self, pixels: NDArray[np.uint8]) -> Maps:
        """Maps uint8 RGB pixels (N, H, W, 3) to raw maps (N, K, H', W') float32.

        On the CPU several small images are computed at once, a thread each.
        """
        from nfbmr.system.threads import alone_on_a_thread

        workers = 1
        if self.device.type == "cpu" and len(pixels) > 1:
            size = pixels.shape[1], pixels.shape[2]
            workers = min(at_once(size, self._torch.get_num_threads()), len(pixels))
        if workers == 1:
            return self._run(pixels)
        with alone_on_a_thread(workers) as pool:
            return np.concatenate(list(pool.map(self._run, np.split(pixels, len(pixels)))))

    def _run(self, pixels: NDArray[np.uint8]) -> Maps:
        with self._torch.inference_mode():
            maps = self.detector(self._torch.from_numpy(pixels).to(self.device))
        return np.asarray(maps.cpu().numpy(), dtype=np.float32)


def _misfits(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Says how tensors differ from those that a network has, by their names and shapes."""
    whys = [f"found no tensor '{name}'" for name in sorted(expected.keys() - found.keys())]
    whys += [
        f"found a tensor '{name}', none of this name was expected"
        for name in sorted(found.keys() - expected.keys())
    ]
    for name in sorted(found.keys() & expected.keys()):
        # A single number is kept as an array of one.
        here, there = (tuple(one[name].shape) or (1,) for one in (found, expected))
        if here != there:
            whys.append(f"found '{name}' of shape {here}, {there} was expected")
    more = f", and {len(whys) - 1} more that differ" if len(whys) > 1 else ""
    return f"{whys[0]}{more}" if whys else ""
