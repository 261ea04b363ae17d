"""The exported graph in ONNX Runtime, on the CPU or a GPU. Starting this module loads none of it.

Shapes: N = images, H W = the model's size in pixels, K = raw maps, H' W' = grid of the maps.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.errors import MissingExtraError
from nfbmr.runtimes.protocol import graph_bytes, missing, unreadable
from nfbmr.scoring.maps import Maps
from nfbmr.system.cores import MOST_AT_ONCE, at_once, cores

_CPU = "CPUExecutionProvider"
_EXACT = {"CUDAExecutionProvider": {"use_tf32": "0"}}  # TF32 moves scores by far more than the gate


class OnnxRuntime:
    """The exported graph in ONNX Runtime."""

    def __init__(
        self,
        graph: Path,
        *,
        provider: str = _CPU,
        device: int = 0,
        threads: int | None = None,
        output: str = "maps",
        sha256: str | None = None,
    ) -> None:
        """Opens a graph.

        Args:
            graph: the file.
            provider: of ONNX Runtime, e.g. `CUDAExecutionProvider`; it alone computes, a graph is
                never moved to the CPU unasked.
            device: number of the GPU.
            threads: for one picture; by default all cores.
            output: which of the graph's outputs `run` returns.
            sha256: that the file has to have; None: any.

        Raises:
            MissingExtraError: ONNX Runtime, or this provider, is not installed.
            BundleTamperedError: the file is another one, or it cannot read it.
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
        self._graph, self._output = graph, output
        on_cpu = provider == _CPU
        own = {} if on_cpu else {"device_id": str(device), **_EXACT.get(provider, {})}
        self._chosen = (provider, own)
        self._threads = (threads or cores()) if on_cpu else 1
        self._data: bytes | None = graph_bytes(graph, sha256)
        self._lock = threading.Lock()
        self._single: Any = None
        self._pool: ThreadPoolExecutor | None = None
        self._session = self._open(threads)
        if self._session.get_providers()[0] != provider:
            raise MissingExtraError(
                f"ONNX Runtime could not start {provider} and offers "
                f"{self._session.get_providers()}; check its driver and libraries, or choose "
                "another runtime"
            )
        if self._threads == 1:
            self._data = None
        self.name = f"onnx, {provider.removesuffix('ExecutionProvider')}"

    def run(self, pixels: NDArray[np.uint8]) -> Maps:
        """Maps uint8 RGB pixels (N, H, W, 3) to raw maps (N, K, H', W') float32.

        Several small images are computed at once, a thread each.
        """
        if len(pixels) > 1 and at_once((pixels.shape[1], pixels.shape[2]), self._threads) > 1:
            single, pool = self._of_several()
            return np.concatenate(
                list(pool.map(lambda one: self._run(single, one), np.split(pixels, len(pixels))))
            )
        return self._run(self._session, pixels)

    def _run(self, session: Any, pixels: NDArray[np.uint8]) -> Maps:
        (maps,) = session.run([self._output], {"pixels": pixels})
        return np.asarray(maps, dtype=np.float32)

    def _of_several(self) -> tuple[Any, ThreadPoolExecutor]:
        """Returns a session whose images have one thread, and those; opened when first needed."""
        with self._lock:
            if self._pool is None:
                self._single = self._open(threads=1)
                self._data = None
                self._pool = ThreadPoolExecutor(
                    min(self._threads, MOST_AT_ONCE), thread_name_prefix="nfbmr-graph"
                )
            return self._single, self._pool

    def _open(self, threads: int | None) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if self._chosen[0] != _CPU:
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            return onnxruntime.InferenceSession(self._data, options, providers=[self._chosen])
        except Exception as error:  # its own errors share no other class
            raise unreadable(self._graph, error) from None
