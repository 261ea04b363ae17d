"""The exported graph in ONNX Runtime, on the CPU or a GPU. Starting this module loads none of it.

Shapes: N = images, H W = the model's size in pixels, K = raw maps, H' W' = grid of the maps.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nfbmr.errors import MissingExtraError
from nfbmr.runtimes.protocol import graph_bytes, missing, unreadable
from nfbmr.scoring.maps import Maps

_EXACT = {"CUDAExecutionProvider": {"use_tf32": "0"}}  # TF32 moves scores by far more than the gate


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
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if provider != "CPUExecutionProvider":
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        if threads is not None:
            options.intra_op_num_threads = threads
        data = graph_bytes(graph, sha256)
        try:
            chosen = (provider, {"device_id": str(device), **_EXACT.get(provider, {})})
            if provider == "CPUExecutionProvider":
                chosen = (provider, {})
            session = onnxruntime.InferenceSession(data, options, providers=[chosen])
        except Exception as error:  # its own errors share no other class
            raise unreadable(graph, error) from None
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
