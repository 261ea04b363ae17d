"""Exported graphs in ONNX Runtime and OpenVINO, behind the Protocol that all runtimes have.

Shapes: N = images, H W = the model's size in pixels, K = raw maps, H' W' = grid of the maps.

Starting this module loads none of them.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nfbmr.errors import BundleTamperedError, MissingExtraError
from nfbmr.model.exports import Precision, Target
from nfbmr.scoring.calibration import Maps

_EXACT = {"CUDAExecutionProvider": {"use_tf32": "0"}}  # TF32 moves scores by far more than the gate

_INSTALL = {
    "onnxruntime": "pip install onnxruntime",
    "openvino": "pip install 'nfbmr[openvino]'",
    "torch": "pip install 'nfbmr[train]'",
    "timm": "pip install 'nfbmr[train]'",
}


_TOGETHER = 8  # pictures that OpenVINO computes at once where there are as many


class Runtime(Protocol):
    """Runs the graph. Several threads may do so at once."""

    @property
    def name(self) -> str:
        """Short name for the screen."""
        ...

    def run(self, pixels: NDArray[np.uint8]) -> Maps:
        """Maps uint8 RGB pixels (N, H, W, 3) of the model's size to raw maps (N, K, H', W')."""
        ...


class OnnxRuntime:
    """The exported graph in ONNX Runtime."""

    def __init__(
        self,
        graph: Path,
        *,
        provider: str = "CPUExecutionProvider",
        device: int = 0,
        threads: int | None = None,
        output: str = "maps",
    ) -> None:
        """Opens a graph.

        Args:
            graph: the file.
            provider: of ONNX Runtime, e.g. `CUDAExecutionProvider`; it alone computes, a graph is
                never moved to the CPU unasked.
            device: number of the GPU.
            threads: for one picture; by default all cores.
            output: which of the graph's outputs `run` returns.

        Raises:
            MissingExtraError: ONNX Runtime, or this provider, is not installed.
            BundleTamperedError: it cannot read the file.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise missing(error, "onnxruntime", "it runs this graph") from None
        available = onnxruntime.get_available_providers()
        if provider not in available:
            raise MissingExtraError(
                f"ONNX Runtime here has no {provider}; it has {', '.join(available)}. Install a "
                "build that has it (onnxruntime-gpu), or choose another runtime"
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if provider != "CPUExecutionProvider":
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            chosen = (provider, {"device_id": str(device), **_EXACT.get(provider, {})})
            if provider == "CPUExecutionProvider":
                chosen = (provider, {})
            data = graph.read_bytes()
            session = onnxruntime.InferenceSession(data, options, providers=[chosen])
        except Exception as error:  # its own errors share no other class
            raise _unreadable(graph, error) from None
        if session.get_providers()[0] != provider:
            raise MissingExtraError(
                f"ONNX Runtime could not start {provider} and offers {session.get_providers()}; "
                "check its driver and libraries, or choose another runtime"
            )
        self._session, self._output = session, output
        self.name = f"onnx, {provider.removesuffix('ExecutionProvider')}"

    def run(self, pixels: NDArray[np.uint8]) -> Maps:
        """Maps uint8 RGB pixels (N, H, W, 3) to raw maps (N, K, H', W') float32."""
        (maps,) = self._session.run([self._output], {"pixels": pixels})
        return np.asarray(maps, dtype=np.float32)


class OpenVinoRuntime:
    """The exported graph in OpenVINO, the fastest on Intel's and AMD's processors."""

    def __init__(
        self,
        graph: Path,
        *,
        precision: Precision = "fp32",
        threads: int | None = None,
        output: str = "maps",
    ) -> None:
        """Opens a graph.

        Args:
            graph: the file.
            precision: `bf16` rounds while it computes; with any other, OpenVINO is kept from it.
            threads: for one picture; by default all cores.
            output: which of the graph's outputs `run` returns.

        Raises:
            MissingExtraError: OpenVINO is not installed, or the processor lacks the precision.
            BundleTamperedError: it cannot read the file.
        """
        try:
            import openvino
        except ImportError as error:
            raise missing(error, "openvino", "it was asked for") from None
        self._hints: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        }
        if threads is not None:
            self._hints["INFERENCE_NUM_THREADS"] = threads
        self._core = openvino.Core()
        able = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and "BF16" not in able:
            raise MissingExtraError(
                "this processor has no bfloat16 arithmetic, and in another precision the model "
                "would judge otherwise than it was proved; export for it with int8 or fp32"
            )
        self._output = output
        self._path, self._graph = graph, graph.read_bytes()  # the file may be replaced meanwhile
        self._lock = threading.Lock()
        self._compiled: dict[int, Any] = {}
        self._of_thread = threading.local()
        self.name = "openvino" if precision == "fp32" else f"openvino, {precision}"
        self._compile(1)

    def run(self, pixels: NDArray[np.uint8]) -> Maps:
        """Maps uint8 RGB pixels (N, H, W, 3) to raw maps (N, K, H', W') float32."""
        assert len(pixels), "one picture at least"
        found, start = [], 0
        while start < len(pixels):
            n = _TOGETHER if len(pixels) - start >= _TOGETHER else 1
            answer = self._request(n).infer({0: pixels[start : start + n]})
            found.append(answer[self._output].copy())
            start += n
        return np.concatenate(found).astype(np.float32, copy=False)

    def _request(self, n: int) -> Any:
        """Returns this thread's request for n pictures; it serves one call at a time."""
        requests: dict[int, Any] = self._of_thread.__dict__.setdefault("requests", {})
        if n not in requests:
            requests[n] = self._compile(n).create_infer_request()
        return requests[n]

    def _compile(self, n: int) -> Any:
        """Compiles the graph for n pictures, once: with any number it takes half as long again."""
        with self._lock:
            if n not in self._compiled:
                try:
                    model = self._core.read_model(self._graph)
                    model.reshape({0: [n, *list(model.input(0).partial_shape)[1:]]})
                    self._compiled[n] = self._core.compile_model(model, "CPU", self._hints)
                except RuntimeError as error:
                    raise _unreadable(self._path, error) from None
            return self._compiled[n]


def open_graph(
    target: Target,
    precision: Precision,
    graph: Path,
    threads: int | None = None,
    output: str = "maps",
) -> Runtime:
    """Opens a graph's file on the CPU, for one of its outputs; errors as of the runtime."""
    if target == "onnx":
        return OnnxRuntime(graph, threads=threads, output=output)
    return OpenVinoRuntime(graph, precision=precision, threads=threads, output=output)


def is_installed(target: str) -> bool:
    """Tells whether a runtime's package is there, without loading it."""
    from importlib.util import find_spec

    package = {"onnx": "onnxruntime", "tensorrt": "onnxruntime"}.get(target, target)
    return find_spec(package) is not None


def missing(error: ImportError, package: str, why: str) -> MissingExtraError:
    if isinstance(error, ModuleNotFoundError):
        package = error.name or package
        hint = _INSTALL.get(package, f"pip install {package}")
        return MissingExtraError(f"{package} is not installed; {why}: {hint}")
    return MissingExtraError(f"{package} is installed but does not start ({error}); {why}")


def _unreadable(graph: Path, error: Exception) -> BundleTamperedError:
    last = (str(error).split("\n\n")[0].strip().splitlines() or [type(error).__name__])[-1]
    return BundleTamperedError(
        f"{graph} cannot be read, or not run on this processor ({last}); export again"
    )
