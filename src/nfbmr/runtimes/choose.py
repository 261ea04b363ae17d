"""What computes the graph: torch, ONNX Runtime or OpenVINO, behind one Protocol.

Shapes: N = images, H W = the model's size in pixels, K = raw maps, H' W' = grid of the maps.

Each gives the same raw maps for the same pixels, as far as `nfbmr.deployment` has proved. Starting
this module loads none of them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nfbmr.errors import BundleTamperedError, MissingExtraError, SettingsError
from nfbmr.model.bundle import Bundle, for_export, read_bundle
from nfbmr.model.exports import LEARNT_AGAIN, PRECISIONS, Export, Precision, Target
from nfbmr.runtimes.onnx import OnnxRuntime
from nfbmr.runtimes.openvino import OpenVinoRuntime
from nfbmr.runtimes.probe import PROBE_ALLOWED, probe
from nfbmr.runtimes.protocol import Runtime, is_installed
from nfbmr.runtimes.torch import TorchRuntime

RUNTIMES = ("auto", "torch", "onnx", "openvino", "tensorrt")
"""What a user may ask for."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a user asked for."""

    name: str
    """One of `RUNTIMES`."""
    precision: Precision | None
    """None where none was named: then `fp32`."""
    device: str
    threads: int | None

    @classmethod
    def parse(cls, words: str, *, device: str = "auto", threads: int | None = None) -> Choice:
        """Reads a runtime's name, and perhaps a precision behind a colon; see `open_runtime`.

        Raises:
            SettingsError: there is no such runtime or precision, or they do not go together.
        """
        name, _, coarse = words.partition(":")
        precision = next((one for one in PRECISIONS if one == coarse), None)
        if name not in RUNTIMES:
            raise SettingsError(
                f"runtime '{name}' is unknown; choose one of {', '.join(RUNTIMES)}, "
                f"with a precision if you like: openvino:int8"
            )
        if precision is None and words != name:
            raise SettingsError(
                f"runtime {words}: the precision '{coarse}' is unknown; choose one of "
                f"{', '.join(PRECISIONS)}, or leave it and the colon out"
            )
        if threads is not None and threads < 1:
            raise SettingsError(f"threads {threads}: 1 or more were expected")
        if name == "openvino" and device not in ("auto", "cpu"):
            raise SettingsError(
                f"device {device}: OpenVINO runs on the CPU here; use another runtime"
            )
        if name == "auto" and precision in LEARNT_AGAIN:
            raise SettingsError(
                f"auto:{precision}: what was learnt again belongs to one runtime; name it, "
                f"e.g. openvino:{precision}"
            )
        return cls(name=name, precision=precision, device=device, threads=threads)

    def __str__(self) -> str:
        """Returns the words again, e.g. `openvino:int8`."""
        return self.name if self.precision is None else f"{self.name}:{self.precision}"

    @property
    def target(self) -> str:
        """The runtime that an export has to be for; TensorRT takes those for ONNX Runtime."""
        return "onnx" if self.name == "tensorrt" else self.name

    @property
    def provider(self) -> str | None:
        """ONNX Runtime's provider on a GPU; None where nothing of the kind was asked for."""
        if self.name == "tensorrt":
            return "TensorrtExecutionProvider"
        cuda = self.name == "onnx" and self.device.startswith("cuda")
        return "CUDAExecutionProvider" if cuda else None

    def among(self, exports: Iterable[Export]) -> list[Export]:
        """Returns the exports of the precision that was asked for."""
        return [export for export in exports if export.precision == (self.precision or "fp32")]


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
    choice = Choice.parse(name, device=device, threads=threads)
    head = read_bundle(path, tensors=choice.name == "torch", unopened=False)
    if choice.name == "torch" and choice.precision in (None, "fp32"):
        return head, TorchRuntime(head, device, threads)
    if choice.name == "auto":
        return _fastest(path, head, choice)
    export = next((e for e in choice.among(head.exports) if e.target == choice.target), None)
    if export is None:
        raise _not_exported(path, head.exports, choice)
    if choice.provider is None:
        return _opened(path, head, export, threads)
    return head, _on_gpu(path, export, choice.provider, device)


def calibrated_for(path: Path, name: str, *, device: str = "auto") -> Bundle:
    """Reads a model directory with the calibration that goes with a runtime, which is not opened.

    Raises:
        BundleError: there is no sound model.
        SettingsError: no runtime has this name, or the model was not exported for it.
    """
    choice = Choice.parse(name, device=device)
    head = read_bundle(path, tensors=False)
    if choice.name == "auto" or str(choice) in ("torch", "torch:fp32"):
        return head
    export = next((e for e in choice.among(head.exports) if e.target == choice.target), None)
    if export is None:
        raise _not_exported(path, head.exports, choice)
    return for_export(path, head, export)


def _fastest(path: Path, head: Bundle, choice: Choice) -> tuple[Bundle, Runtime]:
    """Opens the fastest export that opens, else torch."""
    usable = choice.among(head.exports) if choice.device in ("auto", "cpu") else []
    for export in sorted(usable, key=lambda one: one.gate.milliseconds):
        if not is_installed(export.target):
            continue
        try:
            return _opened(path, head, export, choice.threads)
        except (MissingExtraError, BundleTamperedError) as error:
            _log.warning("%s is passed over: %s", export.name, error)
    bundle = read_bundle(path, unopened=False)
    return bundle, TorchRuntime(bundle, choice.device, choice.threads)


def _opened(
    path: Path, head: Bundle, export: Export, threads: int | None
) -> tuple[Bundle, Runtime]:
    """Opens an export on the CPU, with the calibration that goes with it.

    Raises:
        MissingExtraError: this processor computes what was learnt again otherwise than it was
            learnt, or the runtime is absent.
        BundleTamperedError: a file is not the one that was proved.
    """
    bundle = for_export(path, head, export)
    runtime = open_graph(
        export.target, export.precision, path / export.file, threads, sha256=export.graph
    )
    if export.precision in LEARNT_AGAIN:
        found = probe(runtime, head.facts.size)
        if not np.allclose(found, export.gate.probe, PROBE_ALLOWED[export.precision], 1e-6):
            raise MissingExtraError(
                f"this processor computes {export.name} otherwise than the one that it was learnt "
                "on (older ones lack the instructions for exact 8-bit products), so verdicts "
                f"would differ; export {export.precision} on this machine, or use fp32"
            )
    return bundle, runtime


def _on_gpu(path: Path, export: Export, provider: str, device: str) -> Runtime:
    """Opens a graph in one of ONNX Runtime's providers for GPUs; errors as of the runtime."""
    if export.precision in LEARNT_AGAIN:
        raise SettingsError(
            f"{export.precision} was learnt for the processor; choose fp32 or fp16 on a GPU"
        )
    number = int(device.partition(":")[2] or 0)
    graph = path / export.file
    return OnnxRuntime(graph, provider=provider, device=number, sha256=export.graph)


def _not_exported(path: Path, exports: tuple[Export, ...], choice: Choice) -> SettingsError:
    there = ", ".join(export.name for export in exports) or "none"
    target = "openvino" if choice.name == "openvino" else "onnx"
    how = f" --precision {choice.precision}" if choice.precision else ""
    if choice.precision in LEARNT_AGAIN:
        how += " --calibrate-on GOOD"
    return SettingsError(
        f"{path} was not exported for {choice} (its graphs: {there}); "
        f"run 'nfbmr export {path} --to {target}{how}' where torch is installed"
    )


def open_graph(
    target: Target,
    precision: Precision,
    graph: Path,
    threads: int | None = None,
    output: str = "maps",
    sha256: str | None = None,
) -> Runtime:
    """Opens a graph's file on the CPU, for one of its outputs; errors as of the runtime.

    Args:
        target: the runtime.
        precision: of the graph.
        graph: the file.
        threads: for one picture; by default all cores.
        output: which of the graph's outputs `run` returns.
        sha256: that the file has to have; None: any.
    """
    if target == "onnx":
        return OnnxRuntime(graph, threads=threads, output=output, sha256=sha256)
    return OpenVinoRuntime(
        graph, precision=precision, threads=threads, output=output, sha256=sha256
    )
