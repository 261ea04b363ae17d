"""Runtimes: the same maps whatever computes them, the fastest is chosen, and clear refusals."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nfbmr.errors import BundleTamperedError, MissingExtraError, SettingsError
from nfbmr.inspection.inspector import load
from nfbmr.inspection.result import Inspection
from nfbmr.model.bundle import Bundle, add_exports, read_bundle
from nfbmr.model.exports import Precision, Target, graph_file
from nfbmr.runtimes.choose import open_runtime
from nfbmr.runtimes.onnx import OnnxRuntime
from nfbmr.runtimes.openvino import OpenVinoRuntime
from nfbmr.runtimes.probe import probe
from nfbmr.runtimes.protocol import Runtime
from nfbmr.runtimes.torch import TorchRuntime
from nfbmr.scoring.calibration import Calibration
from nfbmr.scoring.maps import MAPS

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

TARGETS: tuple[Target, ...] = ("onnx", "openvino")


def pixels(n: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, 64, 64, 3)).astype(np.uint8)


def opened(path: Path, name: str, **options: Any) -> Runtime:
    if name == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is not installed")
    return open_runtime(path, name, **options)[1]


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("n", [1, 2, 9])
def test_maps_are_those_of_torch_for_batches_of_any_size(exported: Path, name: str, n: int) -> None:
    expected = opened(exported, "torch").run(pixels(n))
    found = opened(exported, name).run(pixels(n))
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    largest = np.abs(expected).max(axis=(0, 2, 3))
    assert (np.abs(found - expected).max(axis=(0, 2, 3)) <= 1e-4 * largest).all()
    assert largest.min() > 0


@pytest.mark.parametrize("name", TARGETS)
def test_small_pictures_are_computed_at_once_with_the_bits_of_one_alone(
    exported: Path, name: str
) -> None:
    images = pixels(7)
    alone = opened(exported, name, threads=1)
    expected = np.concatenate([alone.run(images[i : i + 1]) for i in range(7)])
    several = opened(exported, name, threads=3)
    first, again = several.run(images), several.run(images)
    np.testing.assert_array_equal(first, expected)
    np.testing.assert_array_equal(again, expected)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(several.run, [images] * 8):
            np.testing.assert_array_equal(found, expected)


def test_torch_computes_small_pictures_at_once_likewise_and_keeps_its_threads(
    exported: Path,
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    before = torch.get_num_threads()
    runtime, images = opened(exported, "torch"), pixels(5)
    try:
        torch.set_num_threads(1)
        expected = np.concatenate([runtime.run(images[i : i + 1]) for i in range(5)])
        torch.set_num_threads(3)
        np.testing.assert_array_equal(runtime.run(images), expected)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_second_session_is_opened_for_several_small_pictures_alone(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    opens: list[int] = []
    session = onnxruntime.InferenceSession

    def counted(data: bytes, options: Any, **how: Any) -> Any:
        opens.append(options.intra_op_num_threads)
        return session(data, options, **how)

    monkeypatch.setattr(onnxruntime, "InferenceSession", counted)
    runtime = OnnxRuntime(exported / "model.onnx", threads=3)
    runtime.run(pixels(1))
    assert opens == [3]
    runtime.run(pixels(2))
    runtime.run(pixels(5))
    assert opens == [3, 1]
    monkeypatch.setattr("nfbmr.system.cores.SMALL", 64 * 64 - 1)
    OnnxRuntime(exported / "model.onnx", threads=3).run(pixels(2))
    OnnxRuntime(exported / "model.onnx", threads=1).run(pixels(2))
    assert opens == [3, 1, 3, 1]


@pytest.mark.parametrize("name", TARGETS)
def test_threads_share_a_runtime(exported: Path, name: str) -> None:
    runtime = opened(exported, name, threads=1)
    images = [pixels(1, seed) for seed in range(24)]
    expected = [runtime.run(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(runtime.run, images))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)
    assert len({float(maps.sum()) for maps in expected}) == 24


def test_what_a_runtime_gave_is_not_written_over_by_the_next_picture(exported: Path) -> None:
    for name in TARGETS:
        runtime = opened(exported, name)
        first = runtime.run(pixels(1))
        kept = first.copy()
        runtime.run(pixels(1, 1))
        np.testing.assert_array_equal(first, kept)


def with_times(path: Path, **milliseconds: float) -> None:
    """Rewrites how long the graphs took when they were proved."""
    changed = [
        export.model_copy(
            update={
                "gate": export.gate.model_copy(update={"milliseconds": milliseconds[export.target]})
            }
        )
        for export in read_bundle(path, tensors=False).exports
    ]
    add_exports(path, {}, tuple(changed), read_bundle(path, tensors=False).identity)


def test_auto_takes_the_fastest_that_is_installed(
    exported_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    with_times(exported_copy, onnx=3.0, openvino=2.0)
    assert isinstance(opened(exported_copy, "auto"), OpenVinoRuntime)
    with_times(exported_copy, onnx=1.0, openvino=2.0)
    assert isinstance(opened(exported_copy, "auto"), OnnxRuntime)
    monkeypatch.setattr("nfbmr.runtimes.choose.is_installed", lambda target: target == "openvino")
    assert isinstance(opened(exported_copy, "auto"), OpenVinoRuntime)
    monkeypatch.setattr("nfbmr.runtimes.choose.is_installed", lambda _: False)
    assert isinstance(opened(exported_copy, "auto"), TorchRuntime)


def test_auto_passes_over_a_runtime_that_does_not_start(
    exported_copy: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    with_times(exported_copy, onnx=3.0, openvino=2.0)

    def broken(*_: object, **__: object) -> None:
        raise MissingExtraError("openvino is installed but does not start")

    monkeypatch.setattr("nfbmr.runtimes.choose.OpenVinoRuntime", broken)
    assert isinstance(opened(exported_copy, "auto"), OnnxRuntime)
    assert "openvino fp32 is passed over" in caplog.text


def with_coarse(path: Path, target: Target, precision: Precision) -> Calibration:
    """Gives a model a copy of its graph under a coarse name; returns that one's calibration."""
    bundle = read_bundle(path, tensors=False)
    (single, *_) = (export for export in bundle.exports if export.target == "onnx")
    with_maps = opened(path, target if precision != "bf16" else "onnx")
    means = probe(with_maps, bundle.facts.size)
    gate = single.gate.model_copy(update={"milliseconds": 1e-9, "probe": means})
    coarse = single.model_copy(update={"precision": precision, "target": target, "gate": gate})
    own = replace(bundle.calibration, look_rate=0.47)
    add_exports(
        path,
        {coarse.file: path / single.file},
        (coarse,),
        bundle.identity,
        {coarse.calibration: own},
    )
    return own


def test_auto_takes_no_coarser_arithmetic_unasked(exported_copy: Path) -> None:
    own = with_coarse(exported_copy, "openvino", "int8")
    assert "int8" not in opened(exported_copy, "auto").name
    bundle, runtime = open_runtime(exported_copy, "openvino:int8")
    assert runtime.name == "openvino, int8"
    assert bundle.calibration == own
    assert open_runtime(exported_copy, "auto")[0].calibration != own
    with pytest.raises(SettingsError, match="--to onnx --precision int8"):
        open_runtime(exported_copy, "onnx:int8")
    with pytest.raises(SettingsError, match="belongs to one runtime; name it"):
        open_runtime(exported_copy, "auto:int8")
    with pytest.raises(SettingsError, match="not exported for torch"):
        open_runtime(exported_copy, "torch:int8")


def test_a_calibration_is_saved_to_the_graph_that_it_came_from(exported_copy: Path) -> None:
    with_coarse(exported_copy, "onnx", "int8")
    inspector = load(exported_copy, runtime="onnx:int8")
    single = load(exported_copy, runtime="onnx").calibration
    inspector.recalibrated(0.4).save_calibration()
    assert load(exported_copy, runtime="onnx:int8").calibration.false_alarm_rate == 0.4
    assert single.false_alarm_rate != 0.4
    assert load(exported_copy, runtime="onnx").calibration == single


def test_what_was_learnt_for_the_processor_runs_on_no_gpu(exported_copy: Path) -> None:
    with_coarse(exported_copy, "onnx", "int8")
    for name, device in (("tensorrt:int8", "auto"), ("onnx:int8", "cuda")):
        with pytest.raises(SettingsError, match="int8 was learnt for the processor"):
            open_runtime(exported_copy, name, device=device)


def test_a_processor_that_computes_integers_otherwise_is_refused(exported_copy: Path) -> None:
    with_coarse(exported_copy, "onnx", "int8")
    bundle, runtime = open_runtime(exported_copy, "onnx:int8")
    found = probe(runtime, bundle.facts.size)
    assert len(found) == len(MAPS)
    assert len(set(found)) > 1
    (coarse,) = (export for export in bundle.exports if export.precision == "int8")
    for factor, fits in ((1.0001, True), (1.01, False)):
        seen = {"probe": tuple(factor * mean for mean in found)}
        other = coarse.model_copy(update={"gate": coarse.gate.model_copy(update=seen)})
        identity = read_bundle(exported_copy, tensors=False).identity
        add_exports(exported_copy, {}, (other,), identity)
        if fits:
            open_runtime(exported_copy, "onnx:int8")
            continue
        with pytest.raises(MissingExtraError, match="export int8 on this machine, or use fp32"):
            open_runtime(exported_copy, "onnx:int8")


def test_bfloat16_needs_a_processor_that_has_it(
    exported_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    with_coarse(exported_copy, "openvino", "bf16")

    class Old:
        def get_property(self, device: str, name: str) -> list[str]:
            assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
            return ["FP32", "INT8"]

    monkeypatch.setattr(openvino, "Core", Old)
    with pytest.raises(MissingExtraError, match="this processor has no bfloat16 arithmetic"):
        open_runtime(exported_copy, "openvino:bf16")


def test_what_runs_is_what_was_read(exported_copy: Path) -> None:
    for name in TARGETS:
        runtime = opened(exported_copy, name)
        expected = runtime.run(pixels(1))
        kept = (exported_copy / "model.onnx").read_bytes()
        (exported_copy / "model.onnx").write_bytes(b"another model")
        np.testing.assert_allclose(runtime.run(pixels(9))[:1], expected, rtol=1e-3, atol=1e-3)
        (exported_copy / "model.onnx").write_bytes(kept)


@pytest.mark.parametrize("name", TARGETS)
def test_a_graph_that_was_replaced_after_the_check_does_not_run(
    exported_copy: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def read(path: Path, **how: Any) -> Bundle:
        bundle = read_bundle(path, **how)
        with (path / "model.onnx").open("ab") as stream:
            stream.write(b"\x1a\x00")  # an empty name of the producer's domain: still a graph
        return bundle

    monkeypatch.setattr("nfbmr.runtimes.choose.read_bundle", read)
    with pytest.raises(BundleTamperedError, match=r"model\.onnx is not the graph that was proved"):
        opened(exported_copy, name)
    OnnxRuntime(exported_copy / "model.onnx").run(pixels(1))


def test_without_graphs_auto_is_torch(model: Path) -> None:
    bundle, runtime = open_runtime(model)
    assert isinstance(runtime, TorchRuntime)
    assert bundle.tensors


def test_a_graph_needs_no_tensors_and_no_torch_runtime(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("torch is not needed")

    monkeypatch.setattr("nfbmr.runtimes.choose.TorchRuntime", refuse)
    inspector = load(exported, runtime="onnx")
    assert isinstance(inspector.inspect(pixels(1)[0]), Inspection)
    assert inspector.runtime.name == "onnx, CPU"


@pytest.mark.parametrize("name", TARGETS)
def test_a_model_that_was_not_exported_says_how_to(model: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=rf"not exported for {name}.*export .* --to {name}"):
        open_runtime(model, name)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"name": "tflite"}, "choose one of auto, torch"),
        ({"name": "onnx:fp8"}, "precision .fp8. is unknown; choose one of fp32"),
        ({"threads": 0}, "1 or more"),
        ({"name": "openvino", "device": "cuda"}, "OpenVINO runs on the CPU here"),
    ],
)
def test_wrong_wishes_are_refused(exported: Path, options: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        open_runtime(exported, **options)


@pytest.mark.parametrize(
    ("name", "device", "provider"),
    [
        ("tensorrt", "auto", "TensorrtExecutionProvider"),
        ("onnx", "cuda", "CUDAExecutionProvider"),
    ],
)
def test_a_provider_that_is_missing_is_named(
    exported: Path, name: str, device: str, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(MissingExtraError, match=f"no {provider}; it has CPUExecutionProvider"):
        open_runtime(exported, name, device=device)


def test_a_gpu_computes_a_graph_in_float32_and_not_in_tf32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    asked: list[tuple[str, dict[str, str]]] = []

    class Session:
        def __init__(self, *_: object, providers: list[tuple[str, dict[str, str]]]) -> None:
            asked.extend(providers)

        def get_providers(self) -> list[str]:
            return [name for name, _ in asked]

    cuda = "CUDAExecutionProvider"
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [cuda])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    graph = tmp_path / "graph.onnx"
    graph.write_bytes(b"graph")
    assert OnnxRuntime(graph, provider=cuda, device=1).name == "onnx, CUDA"
    assert asked == [(cuda, {"device_id": "1", "use_tf32": "0"})]


@pytest.mark.parametrize(("name", "package"), [("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_a_runtime_that_is_missing_says_how_to_install_it(
    exported: Path, name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is not installed")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=f"{package} is not installed.*pip install"):
        open_runtime(exported, name)


@pytest.mark.parametrize("name", TARGETS)
def test_a_file_that_is_no_graph_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / graph_file("onnx", "fp32")
    path.write_bytes(b"no graph")
    if name == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is not installed")
    with pytest.raises(BundleTamperedError, match=r"cannot be read.*export again"):
        OnnxRuntime(path) if name == "onnx" else OpenVinoRuntime(path)
