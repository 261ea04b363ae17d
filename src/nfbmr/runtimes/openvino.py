"""The exported graph in OpenVINO. Starting this module loads none of it.

Shapes: N = images, H W = the model's size in pixels, K = raw maps, H' W' = grid of the maps.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.errors import MissingExtraError
from nfbmr.model.exports import Precision
from nfbmr.runtimes.protocol import graph_bytes, missing, unreadable
from nfbmr.scoring.maps import Maps
from nfbmr.system.cores import at_once, cores

_TOGETHER = 8  # pictures that OpenVINO computes at once where there are as many


class OpenVinoRuntime:
    """The exported graph in OpenVINO, the fastest on Intel's and AMD's processors."""

    def __init__(
        self,
        graph: Path,
        *,
        precision: Precision = "fp32",
        threads: int | None = None,
        output: str = "maps",
        sha256: str | None = None,
    ) -> None:
        """Opens a graph.

        Args:
            graph: the file.
            precision: `bf16` rounds while it computes; with any other, OpenVINO is kept from it.
            threads: for one picture; by default all cores.
            output: which of the graph's outputs `run` returns.
            sha256: that the file has to have; None: any.

        Raises:
            MissingExtraError: OpenVINO is not installed, or the processor lacks the precision.
            BundleTamperedError: the file is another one, or it cannot read it.
        """
        try:
            import openvino
        except ImportError as error:
            raise missing(error, "openvino", "it was asked for") from None
        self._hints: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            # Else the threads of each process are bound to the same first cores.
            "ENABLE_CPU_PINNING": False,
        }
        if threads is not None:
            self._hints["INFERENCE_NUM_THREADS"] = threads
        self._threads = threads or cores()
        self._core = openvino.Core()
        able = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and "BF16" not in able:
            raise MissingExtraError(
                "this processor has no bfloat16 arithmetic, and in another precision the model "
                "would judge otherwise than it was proved; export for it with int8 or fp32"
            )
        self._output = output
        self._path, self._graph = graph, graph_bytes(graph, sha256)
        self._lock = threading.Lock()
        self._compiled: dict[tuple[int, int], Any] = {}  # by pictures at once, and streams
        self._of_thread = threading.local()
        self.name = "openvino" if precision == "fp32" else f"openvino, {precision}"
        self._compile(1)

    def run(self, pixels: NDArray[np.uint8]) -> Maps:
        """Maps uint8 RGB pixels (N, H, W, 3) to raw maps (N, K, H', W') float32.

        Several small images are computed at once, a thread each.
        """
        assert len(pixels), "one picture at least"
        streams = at_once((pixels.shape[1], pixels.shape[2]), self._threads)
        if len(pixels) > 1 and streams > 1:
            return self._at_once(pixels, streams)
        found, start = [], 0
        while start < len(pixels):
            n = _TOGETHER if len(pixels) - start >= _TOGETHER else 1
            answer = self._request(n).infer({0: pixels[start : start + n]})
            found.append(answer[self._output].copy())
            start += n
        return np.concatenate(found).astype(np.float32, copy=False)

    def _at_once(self, pixels: NDArray[np.uint8], streams: int) -> Maps:
        requests = self._requests(streams)
        found = []
        for start in range(0, len(pixels), streams):
            images = np.split(pixels[start : start + streams], min(streams, len(pixels) - start))
            at_work = list(zip(requests, images, strict=False))
            for request, image in at_work:
                request.start_async({0: image})
            for request, _ in at_work:
                request.wait()
            found += [request.results[self._output].copy() for request, _ in at_work]
        return np.concatenate(found).astype(np.float32, copy=False)

    def _requests(self, streams: int) -> list[Any]:
        """Returns this thread's requests for one picture each; they serve one call at a time."""
        kept = self._of_thread.__dict__
        if "several" not in kept:
            compiled = self._compile(1, streams)
            kept["several"] = [compiled.create_infer_request() for _ in range(streams)]
        several: list[Any] = kept["several"]
        return several

    def _request(self, n: int) -> Any:
        """Returns this thread's request for n pictures; it serves one call at a time."""
        requests: dict[int, Any] = self._of_thread.__dict__.setdefault("requests", {})
        if n not in requests:
            requests[n] = self._compile(n).create_infer_request()
        return requests[n]

    def _compile(self, n: int, streams: int = 1) -> Any:
        """Compiles the graph for n pictures, once: with any number it takes half as long again.

        With several streams each picture has a thread, else all threads share it.
        """
        hints = {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": streams} if streams > 1 else {}
        with self._lock:
            if (n, streams) not in self._compiled:
                try:
                    model = self._core.read_model(self._graph)
                    model.reshape({0: [n, *list(model.input(0).partial_shape)[1:]]})
                    self._compiled[n, streams] = self._core.compile_model(
                        model, "CPU", self._hints | hints
                    )
                except RuntimeError as error:
                    raise unreadable(self._path, error) from None
            return self._compiled[n, streams]
