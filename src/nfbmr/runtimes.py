"""What computes the graph: torch, ONNX Runtime or OpenVINO, behind one Protocol.

Shapes: N = images, H W = the model's size in pixels, K = raw maps, H' W' = grid of the maps.

Each gives the same raw maps for the same pixels, as far as `nfbmr.exporting` has proved. Starting
this module loads none of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nfbmr.bundle import Bundle, read_bundle
from nfbmr.errors import BundleTamperedError, MissingExtraError, SettingsError
from nfbmr.exports import Export, Precision, Target
from nfbmr.scoring import Maps

RUNTIMES = ("auto", "torch", "onnx", "openvino", "tensorrt")
"""What a user may ask for."""

_INSTALL = {
    "onnxruntime": "pip install onnxruntime",
    "openvino": "pip install 'nfbmr[openvino]'",
    "torch": "pip install 'nfbmr[train]'",
    "timm": "pip install 'nfbmr[train]'",
}


class Runtime(Protocol):
    """Runs the graph. Several threads may do so at once."""

    @property
    def name(self) -> str:
        """Short name for the screen."""
        ...

    def run(self, pixels: NDArray[np.uint8]) -> Maps:
        """Maps uint8 RGB pixels (N, H, W, 3) of the model's size to raw maps (N, K, H', W')."""
        ...


class TorchRuntime:
    """The graph in torch, as it was trained."""

    name = "torch"

    def __init__(self, bundle: Bundle, device: str = "auto", threads: int | None = None) -> None:
        """Builds the network and fills it from the bundle; nothing is downloaded.

        Args:
            bundle: with its tensors.
            device: `auto`, `cpu`, `cuda`, ...
            threads: of the whole process; by default as torch chooses.

        Raises:
            MissingExtraError: torch or timm is not installed.
            BundleTamperedError: the tensors are not those of the network the settings describe.
        """
        try:
            import torch

            from nfbmr.devices import choose_device
            from nfbmr.networks.backbone import SourceNetwork
            from nfbmr.networks.detector import Detector
        except ModuleNotFoundError as error:
            raise _missing(error.name or "torch", "torch inspects this model") from None
        if threads is not None:
            torch.set_num_threads(threads)
        settings = bundle.settings
        detector = Detector(SourceNetwork.of(settings.backbone), settings, bundle.facts.size)
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


class OnnxRuntime:
    """The exported graph in ONNX Runtime."""

    def __init__(
        self,
        graph: Path,
        *,
        provider: str = "CPUExecutionProvider",
        threads: int | None = None,
    ) -> None:
        """Opens a graph.

        Args:
            graph: the file.
            provider: of ONNX Runtime, e.g. `CUDAExecutionProvider`; it alone computes, a graph is
                never moved to the CPU unasked.
            threads: for one picture; by default all cores.

        Raises:
            MissingExtraError: ONNX Runtime, or this provider, is not installed.
            BundleTamperedError: it cannot read the file.
        """
        try:
            import onnxruntime
        except ModuleNotFoundError:
            raise _missing("onnxruntime", "it runs this graph") from None
        available = onnxruntime.get_available_providers()
        if provider not in available:
            raise MissingExtraError(
                f"ONNX Runtime here has no {provider}; it has {', '.join(available)}. Install a "
                "build that has it (onnxruntime-gpu), or choose another runtime"
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            session = onnxruntime.InferenceSession(str(graph), options, providers=[provider])
        except Exception as error:  # its own errors share no other class
            raise _unreadable(graph, error) from None
        if session.get_providers()[0] != provider:
            raise MissingExtraError(
                f"ONNX Runtime could not start {provider} and offers {session.get_providers()}; "
                "check its driver and libraries, or choose another runtime"
            )
        self._session = session
        self.name = f"onnx, {provider.removesuffix('ExecutionProvider')}"

    def run(self, pixels: NDArray[np.uint8]) -> Maps:
        """Maps uint8 RGB pixels (N, H, W, 3) to raw maps (N, K, H', W') float32."""
        (maps,) = self._session.run(None, {"pixels": pixels})
        return np.asarray(maps, dtype=np.float32)


class OpenVinoRuntime:
    """The exported graph in OpenVINO, the fastest on Intel's and AMD's processors."""

    def __init__(
        self, graph: Path, *, precision: Precision = "fp32", threads: int | None = None
    ) -> None:
        """Opens a graph.

        Args:
            graph: the file.
            precision: `bf16` rounds while it computes; with any other, OpenVINO is kept from it.
            threads: for one picture; by default all cores.

        Raises:
            MissingExtraError: OpenVINO is not installed.
            BundleTamperedError: it cannot read the file.
        """
        try:
            import openvino
        except ModuleNotFoundError:
            raise _missing("openvino", "it was asked for") from None
        hints: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        }
        if threads is not None:
            hints["INFERENCE_NUM_THREADS"] = threads
        try:
            self._compiled = openvino.Core().compile_model(graph, "CPU", hints)
        except RuntimeError as error:
            raise _unreadable(graph, error) from None
        self._of_thread = threading.local()
        self.name = "openvino" if precision == "fp32" else f"openvino, {precision}"

    def run(self, pixels: NDArray[np.uint8]) -> Maps:
        """Maps uint8 RGB pixels (N, H, W, 3) to raw maps (N, K, H', W') float32."""
        if not hasattr(self._of_thread, "request"):  # a request serves one picture at a time
            self._of_thread.request = self._compiled.create_infer_request()
        found = self._of_thread.request.infer({0: pixels})
        return np.array(found[0], dtype=np.float32)  # its own memory is written over next time


def open_runtime(
    path: Path, name: str = "auto", *, device: str = "auto", threads: int | None = None
) -> tuple[Bundle, Runtime]:
    """Reads a model directory and opens what computes it.

    Args:
        path: the directory.
        name: one of `RUNTIMES`. `auto`: on a CPU the export that was fastest when it was proved,
            of those whose runtime is installed, else torch; on another device torch.
        device: for torch, and `cuda` for ONNX Runtime's provider of that name.
        threads: for one picture; by default all cores.

    Raises:
        BundleError: there is no sound model.
        SettingsError: no runtime has this name, or the model was not exported for it.
        MissingExtraError: it is not installed, or lacks what was asked for.
    """
    if name not in RUNTIMES:
        raise SettingsError(f"runtime '{name}' is unknown; choose one of {', '.join(RUNTIMES)}")
    if threads is not None and threads < 1:
        raise SettingsError(f"threads {threads}: 1 or more were expected")
    head = read_bundle(path, tensors=False)
    usable = _usable(head.exports, name, on_cpu=device in ("auto", "cpu"))
    if name == "torch" or (name == "auto" and not usable):
        bundle = read_bundle(path)
        return bundle, TorchRuntime(bundle, device, threads)
    if not usable:
        raise _not_exported(path, head.exports, name)
    fastest = min(usable, key=lambda export: export.gate.milliseconds)
    graph = path / fastest.file
    if fastest.target == "openvino":
        return head, OpenVinoRuntime(graph, precision=fastest.precision, threads=threads)
    provider = {"tensorrt": "Tensorrt", "onnx": "CUDA" if device.startswith("cuda") else "CPU"}
    chosen = provider.get(name, "CPU") + "ExecutionProvider"
    return head, OnnxRuntime(graph, provider=chosen, threads=threads)


def open_export(export: Export, graph: Path, threads: int | None = None) -> Runtime:
    """Opens an export's graph on the CPU; errors as of the runtime."""
    opened: dict[Target, Callable[[], Runtime]] = {
        "onnx": lambda: OnnxRuntime(graph, threads=threads),
        "openvino": lambda: OpenVinoRuntime(graph, precision=export.precision, threads=threads),
    }
    return opened[export.target]()


def is_installed(target: str) -> bool:
    """Tells whether a runtime's package is there, without loading it."""
    from importlib.util import find_spec

    package = {"onnx": "onnxruntime", "tensorrt": "onnxruntime"}.get(target, target)
    return find_spec(package) is not None


def _usable(exports: tuple[Export, ...], name: str, *, on_cpu: bool) -> list[Export]:
    if name == "auto":
        return [e for e in exports if on_cpu and is_installed(e.target)]
    target = "onnx" if name == "tensorrt" else name
    return [export for export in exports if export.target == target]


def _not_exported(path: Path, exports: tuple[Export, ...], name: str) -> SettingsError:
    there = ", ".join(export.name for export in exports) or "none"
    target = "openvino" if name == "openvino" else "onnx"
    return SettingsError(
        f"{path} was not exported for {name} (its graphs: {there}); "
        f"run 'nfbmr export {path} --to {target}' where torch is installed"
    )


def _missing(package: str, why: str) -> MissingExtraError:
    hint = _INSTALL.get(package, f"pip install {package}")
    return MissingExtraError(f"{package} is not installed; {why}: {hint}")


def _unreadable(graph: Path, error: Exception) -> BundleTamperedError:
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return BundleTamperedError(f"{graph} cannot be read ({first}); export again")
