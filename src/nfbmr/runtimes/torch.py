"""The graph in torch, as it was trained. Starting this module does not load torch.

Shapes: N = images, H W = the model's size in pixels, K = raw maps, H' W' = grid of the maps.
"""

from __future__ import annotations

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
        try:
            # Models of older versions do not say how much of their Gaussians is the images' own.
            own = {k: v for k, v in detector.state_dict().items() if k.endswith(".own")}
            detector.load_state_dict(own | tensors)
        except RuntimeError as error:
            raise BundleTamperedError(
                f"the model's tensors do not fit its settings ({str(error).splitlines()[0]}); "
                "restore the model or fit again"
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
