"""What computes the graph: torch, ONNX Runtime or OpenVINO, behind one Protocol.

Shapes: N = images, H W = the model's size in pixels, K = raw maps, H' W' = grid of the maps.

Each gives the same raw maps for the same pixels, as far as `nfbmr.exporting` has proved. Starting
this module loads none of them.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nfbmr.bundle import Bundle, for_export, read_bundle
from nfbmr.errors import BundleTamperedError, MissingExtraError, SettingsError
from nfbmr.exports import LEARNT_AGAIN, PRECISIONS, Export, Precision, Target
from nfbmr.scoring import Maps

if TYPE_CHECKING:
    from nfbmr.networks.backbone import SourceNetwork

_EXACT = {"CUDAExecutionProvider": {"use_tf32": "0"}}  # TF32 moves scores by far more than the gate

RUNTIMES = ("auto", "torch", "onnx", "openvino", "tensorrt")
"""What a user may ask for."""

_log = logging.getLogger(__name__)

_INSTALL = {
    "onnxruntime": "pip install onnxruntime",
    "openvino": "pip install 'nfbmr[openvino]'",
    "torch": "pip install 'nfbmr[train]'",
    "timm": "pip install 'nfbmr[train]'",
}


_BLOCK = 32  # pixels of a drawn picture's blocks
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

            from nfbmr.devices import choose_device
            from nfbmr.networks.backbone import SourceNetwork
            from nfbmr.networks.detector import Detector
        except ImportError as error:
            raise _missing(error, "torch", "torch inspects this model") from None
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
            raise _missing(error, "onnxruntime", "it runs this graph") from None
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
            raise _missing(error, "openvino", "it was asked for") from None
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
    if name == "torch":
        return head, TorchRuntime(head, device, threads)
    usable = [e for e in head.exports if e.precision == (precision or "fp32")]
    if name == "auto":
        return _fastest(path, head, usable if device in ("auto", "cpu") else [], device, threads)
    target = "onnx" if name == "tensorrt" else name
    for export in usable:
        if export.target != target:
            continue
        if target == "openvino" or (name == "onnx" and not device.startswith("cuda")):
            opened = open_export(export, path / export.file, threads)
            _check_probe(export, opened, head.facts.size)
            return for_export(path, head, export), opened
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
            return head, open_export(export, path / export.file, threads)
        except (MissingExtraError, BundleTamperedError) as error:
            _log.warning("%s is passed over: %s", export.name, error)
    bundle = read_bundle(path)
    return bundle, TorchRuntime(bundle, device, threads)


def open_export(export: Export, graph: Path, threads: int | None = None) -> Runtime:
    """Opens an export's graph on the CPU; errors as of the runtime."""
    return open_graph(export.target, export.precision, graph, threads)


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


def probe(runtime: Runtime, size: tuple[int, int]) -> tuple[float, ...]:
    """Returns the means of the raw maps of a drawn picture, blocks of noise of (H, W) pixels."""
    height, width = size
    shape = (1, -(-height // _BLOCK), -(-width // _BLOCK), 3)
    blocks = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    pixels = blocks.repeat(_BLOCK, axis=1).repeat(_BLOCK, axis=2)[:, :height, :width]
    maps = runtime.run(np.ascontiguousarray(pixels))
    return tuple(float(mean) for mean in maps.mean(axis=(0, 2, 3), dtype=np.float64))


def _check_probe(export: Export, runtime: Runtime, size: tuple[int, int]) -> None:
    """Refuses a processor that computes what was learnt again otherwise than it was learnt."""
    gate = export.gate
    if gate.probe and not np.allclose(probe(runtime, size), gate.probe, gate.maps_allowed, 1e-6):
        raise MissingExtraError(
            f"this processor computes {export.name} otherwise than the one that it was learnt on "
            "(older ones lack the instructions for exact 8-bit products), so verdicts would "
            f"differ; export {export.precision} on this machine, or use fp32"
        )


def is_installed(target: str) -> bool:
    """Tells whether a runtime's package is there, without loading it."""
    from importlib.util import find_spec

    package = {"onnx": "onnxruntime", "tensorrt": "onnxruntime"}.get(target, target)
    return find_spec(package) is not None


def _not_exported(
    path: Path, exports: tuple[Export, ...], name: str, precision: str
) -> SettingsError:
    there = ", ".join(export.name for export in exports) or "none"
    target = "openvino" if name == "openvino" else "onnx"
    how = f" --precision {precision}" if precision else ""
    return SettingsError(
        f"{path} was not exported for {name} (its graphs: {there}); "
        f"run 'nfbmr export {path} --to {target}{how}' where torch is installed"
    )


def _missing(error: ImportError, package: str, why: str) -> MissingExtraError:
    if isinstance(error, ModuleNotFoundError):
        package = error.name or package
        hint = _INSTALL.get(package, f"pip install {package}")
        return MissingExtraError(f"{package} is not installed; {why}: {hint}")
    return MissingExtraError(f"{package} is installed but does not start ({error}); {why}")


def _unreadable(graph: Path, error: Exception) -> BundleTamperedError:
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return BundleTamperedError(f"{graph} cannot be read ({first}); export again")
