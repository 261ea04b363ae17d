"""What computes the graph: torch, ONNX Runtime or OpenVINO, behind one Protocol.

Shapes: N = images, H W = the model's size in pixels, K = raw maps, H' W' = grid of the maps.

Each gives the same raw maps for the same pixels, as far as `nfbmr.deployment` has proved. Starting
this module loads none of them.
"""

from __future__ import annotations

import logging
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
