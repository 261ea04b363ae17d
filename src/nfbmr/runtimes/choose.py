"""What computes the graph: torch, ONNX Runtime or OpenVINO, behind one Protocol.

Shapes: N = images, H W = the model's size in pixels, K = raw maps, H' W' = grid of the maps.

Each gives the same raw maps for the same pixels, as far as `nfbmr.deployment` has proved. Starting
this module loads none of them.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.errors import BundleTamperedError, MissingExtraError, SettingsError
from nfbmr.model.bundle import Bundle, for_export, read_bundle
from nfbmr.model.exports import LEARNT_AGAIN, PRECISIONS, Export
from nfbmr.runtimes.graphs import (
    OnnxRuntime,
    OpenVinoRuntime,
    Runtime,
    is_installed,
    missing,
    open_graph,
)
from nfbmr.scoring.calibration import Maps

__all__ = [
    "OnnxRuntime",
    "OpenVinoRuntime",
    "Runtime",
    "TorchRuntime",
    "is_installed",
    "open_export",
    "open_graph",
    "open_runtime",
    "probe",
]

if TYPE_CHECKING:
    from nfbmr.networks.source import SourceNetwork

RUNTIMES = ("auto", "torch", "onnx", "openvino", "tensorrt")
"""What a user may ask for."""

_log = logging.getLogger(__name__)

PROBE_ALLOWED = {"bf16": 5e-2, "int8": 1e-3}
"""How far a map's mean may part on another processor, as a share."""

_BLOCK = 32  # pixels of a drawn picture's blocks


class TorchRuntime:
    """The graph in torch, as it was trained."""

    name = "torch"

    def __init__(
        self,
        bundle: Bundle,
        device: str = "auto",
        threads: int | None = None,
        source: SourceNetwork | None = None,
    ) -> None:
        """Builds the network and fills it from the bundle; nothing is downloaded.

        Args:
            bundle: with its tensors.
            device: `auto`, `cpu`, `cuda`, ...
            threads: of the whole process; by default as torch chooses.
            source: SNN; by default that of the settings.

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
            detector.load_state_dict(tensors)
        except RuntimeError as error:
            raise BundleTamperedError(
                f"the model's tensors do not fit its settings ({str(error).splitlines()[0]}); "
                "restore the model or fit again"
            ) from None
        self.device = choose_device(device)
        self.detector = detector.to(self.device)
        self._torch = torch

    def run(self, pixels: NDArray[np.uint8]) -> Maps:
        """Maps uint8 RGB pixels (N, H, W, 3) to raw maps (N, K, H', W') float32."""
        with self._torch.inference_mode():
            maps = self.detector(self._torch.from_numpy(pixels).to(self.device))
        return np.asarray(maps.cpu().numpy(), dtype=np.float32)


def open_runtime(
    path: Path, name: str = "auto", *, device: str = "auto", threads: int | None = None
) -> tuple[Bundle, Runtime]:
    """Reads a model directory and opens what computes it.

    Args:
        path: the directory.
        name: one of `RUNTIMES`, and if you like a precision, e.g. `openvino:int8`; by default
            `fp32`, whose verdicts are torch's. `auto`: on a CPU the export that was fastest when
            it was proved, of those whose runtime starts, else torch; on another device torch.
        device: for torch; `cuda` or `cuda:1` for ONNX Runtime's providers of that name.
        threads: for one picture; by default all cores.

    Raises:
        BundleError: there is no sound model.
        SettingsError: no runtime has this name, or the model was not exported for it.
        MissingExtraError: it is not installed, or lacks what was asked for.
    """
    name, _, precision = name.partition(":")
    if name not in RUNTIMES or precision not in ("", *PRECISIONS):
        raise SettingsError(
            f"runtime '{name}' is unknown; choose one of {', '.join(RUNTIMES)}, "
            f"with a precision if you like: openvino:int8"
        )
    if threads is not None and threads < 1:
        raise SettingsError(f"threads {threads}: 1 or more were expected")
    if name == "openvino" and device not in ("auto", "cpu"):
        raise SettingsError(f"device {device}: OpenVINO runs on the CPU here; use another runtime")
    head = read_bundle(path, tensors=name == "torch")
    if name == "torch" and precision in ("", "fp32"):
        return head, TorchRuntime(head, device, threads)
    if name == "auto" and precision in LEARNT_AGAIN:
        raise SettingsError(
            f"auto:{precision}: what was learnt again belongs to one runtime; name it, "
            f"e.g. openvino:{precision}"
        )
    usable = [e for e in head.exports if e.precision == (precision or "fp32")]
    if name == "auto":
        return _fastest(path, head, usable if device in ("auto", "cpu") else [], device, threads)
    target = "onnx" if name == "tensorrt" else name
    for export in usable:
        if export.target != target:
            continue
        if target == "openvino" or (name == "onnx" and not device.startswith("cuda")):
            return _opened(path, head, export, threads)
        if export.precision in LEARNT_AGAIN:
            raise SettingsError(
                f"{export.precision} was learnt for the processor; choose fp32 or fp16 on a GPU"
            )
        provider = "Tensorrt" if name == "tensorrt" else "CUDA"
        number = int(device.partition(":")[2] or 0)
        runtime = OnnxRuntime(
            path / export.file, provider=f"{provider}ExecutionProvider", device=number
        )
        return head, runtime
    raise _not_exported(path, head.exports, name, precision)


def _fastest(
    path: Path, head: Bundle, exports: list[Export], device: str, threads: int | None
) -> tuple[Bundle, Runtime]:
    """Opens the fastest export that opens, else torch."""
    for export in sorted(exports, key=lambda one: one.gate.milliseconds):
        if not is_installed(export.target):
            continue
        try:
            return _opened(path, head, export, threads)
        except (MissingExtraError, BundleTamperedError) as error:
            _log.warning("%s is passed over: %s", export.name, error)
    bundle = read_bundle(path)
    return bundle, TorchRuntime(bundle, device, threads)


def open_export(export: Export, graph: Path, threads: int | None = None) -> Runtime:
    """Opens an export's graph on the CPU; errors as of the runtime."""
    return open_graph(export.target, export.precision, graph, threads)


def probe(runtime: Runtime, size: tuple[int, int]) -> tuple[float, ...]:
    """Returns the means of the raw maps of a drawn picture, blocks of noise of (H, W) pixels."""
    height, width = size
    shape = (1, -(-height // _BLOCK), -(-width // _BLOCK), 3)
    blocks = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    pixels = blocks.repeat(_BLOCK, axis=1).repeat(_BLOCK, axis=2)[:, :height, :width]
    maps = runtime.run(np.ascontiguousarray(pixels))
    return tuple(float(mean) for mean in maps.mean(axis=(0, 2, 3), dtype=np.float64))


def _opened(
    path: Path, head: Bundle, export: Export, threads: int | None
) -> tuple[Bundle, Runtime]:
    """Opens an export on the CPU, with the calibration that goes with it.

    Raises:
        MissingExtraError: this processor computes what was learnt again otherwise than it was
            learnt, or the runtime is absent.
        BundleTamperedError: a file is not the one that was proved.
    """
    bundle = for_export(path, head, export)  # before the graph: its hash is checked after reading
    runtime = open_export(export, path / export.file, threads)
    if export.precision in LEARNT_AGAIN:
        found = probe(runtime, head.facts.size)
        if not np.allclose(found, export.gate.probe, PROBE_ALLOWED[export.precision], 1e-6):
            raise MissingExtraError(
                f"this processor computes {export.name} otherwise than the one that it was learnt "
                "on (older ones lack the instructions for exact 8-bit products), so verdicts "
                f"would differ; export {export.precision} on this machine, or use fp32"
            )
    return bundle, runtime


def _not_exported(
    path: Path, exports: tuple[Export, ...], name: str, precision: str
) -> SettingsError:
    there = ", ".join(export.name for export in exports) or "none"
    target = "openvino" if name == "openvino" else "onnx"
    how = f" --precision {precision}" if precision else ""
    if precision in LEARNT_AGAIN:
        how += " --calibrate-on GOOD"
    if precision:
        name = f"{name}:{precision}"
    return SettingsError(
        f"{path} was not exported for {name} (its graphs: {there}); "
        f"run 'nfbmr export {path} --to {target}{how}' where torch is installed"
    )
