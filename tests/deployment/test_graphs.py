"""Graph files: what they take and give, and the smaller and coarser forms."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import nfbmr
from nfbmr.deployment import graphs
from nfbmr.deployment.graphs import (
    halve,
    join,
    quantise,
    without_origins,
    write_graph,
    write_rest,
    write_source,
)
from nfbmr.errors import ExportError, MissingExtraError
from nfbmr.model.bundle import read_bundle
from nfbmr.networks.source import SourceNetwork
from nfbmr.runtimes.onnx import OnnxRuntime
from nfbmr.runtimes.torch import TorchRuntime

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")


def pixels(n: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (n, 64, 64, 3)).astype(np.uint8)


def test_a_graph_takes_bytes_and_gives_maps_for_any_number_of_pictures(exported: Path) -> None:
    graph = onnx.load(exported / "model.onnx").graph
    (taken,), (given,) = graph.input, graph.output
    assert (taken.name, given.name) == ("pixels", "maps")
    assert taken.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert given.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    taken_shape, given_shape = taken.type.tensor_type.shape.dim, given.type.tensor_type.shape.dim
    assert [d.dim_value for d in taken_shape[1:]] == [64, 64, 3]
    assert taken_shape[0].dim_param
    assert taken_shape[0].dim_param == given_shape[0].dim_param


def test_batch_norms_are_folded_and_nothing_lies_outside(exported: Path) -> None:
    graph = onnx.load(exported / "model.onnx", load_external_data=False).graph
    assert not [node for node in graph.node if node.op_type == "BatchNormalization"]
    assert [node for node in graph.node if node.op_type == "Conv"]
    assert not [t for t in graph.initializer if t.external_data]


def test_a_graph_says_nothing_of_the_machine_that_exported_it(exported: Path) -> None:
    written = (exported / "model.onnx").read_bytes()
    for place in (sys.prefix, str(Path(torch.__file__).parent), str(Path(nfbmr.__file__).parent)):
        assert place.encode() not in written
    for word in (b"stack_trace", b"pkg.torch", b'.py"', b"site-packages"):
        assert word not in written


def test_origins_are_forgotten_however_deep_and_nothing_else() -> None:
    node = onnx.helper.make_node("Add", ["a", "b"], ["c"], name="sum", doc_string="of a line")
    onnx.helper.set_metadata_props(node, {"pkg.torch.onnx.stack_trace": "/home/me/net.py"})
    branch = onnx.helper.make_graph([node], "branch", [], [], doc_string="/home/me")
    outer = onnx.helper.make_node("If", ["when"], ["d"], then_branch=branch)
    model = onnx.helper.make_model(onnx.helper.make_graph([outer], "outer", [], []))
    model.doc_string = "/home/me/net.py"
    before = [field.name for field, _ in model.ListFields()]
    after = without_origins(model)
    assert b"/home/me" not in after.SerializeToString()
    assert [field.name for field, _ in after.ListFields()] == [
        n for n in before if n != "doc_string"
    ]
    (inner,) = after.graph.node[0].attribute[0].g.node
    assert (inner.name, inner.op_type, list(inner.input)) == ("sum", "Add", ["a", "b"])


def test_half_precision_is_near_and_too_large_a_weight_is_named(
    exported: Path, tmp_path: Path
) -> None:
    single = exported / "model.onnx"
    halve(single, tmp_path / "half.onnx")
    expected, found = OnnxRuntime(single), OnnxRuntime(tmp_path / "half.onnx")
    one, other = expected.run(pixels(2)), found.run(pixels(2))
    assert not np.array_equal(one, other)
    largest = np.abs(one).max(axis=(0, 2, 3))
    assert (np.abs(one - other).max(axis=(0, 2, 3)) < 0.05 * largest).all()
    model = onnx.load(single)
    weight = next(t for t in model.graph.initializer if np.prod(t.dims) >= 1024)
    values = np.full(list(weight.dims), 1e6, np.float32)
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, tmp_path / "large.onnx")
    with pytest.raises(ExportError, match=r"reaches 1e\+06.*export with fp32"):
        halve(tmp_path / "large.onnx", tmp_path / "never.onnx")


def test_integers_compute_the_convolutions(exported: Path, tmp_path: Path) -> None:
    quantise(exported / "model.onnx", tmp_path / "int8.onnx", pixels(4))
    assert str(tmp_path).encode() not in (tmp_path / "int8.onnx").read_bytes()
    kinds = {node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node}
    assert "QuantizeLinear" in kinds
    single = OnnxRuntime(exported / "model.onnx").run(pixels(2))
    found = OnnxRuntime(tmp_path / "int8.onnx").run(pixels(2))
    assert found.shape == single.shape
    assert not np.array_equal(found, single)


class Mixed(torch.nn.Module):
    """The number of images stands in products, in the middle, and in what it makes itself."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps x (N, 4, 6) to (N, 12, 6)."""
        n = x.shape[0]
        turned = x.reshape(4 * n, 6).reshape(4, n, 6).transpose(0, 1)
        code = torch.arange(6.0).expand(n, 4, 6)
        return torch.cat([turned, turned + code, torch.zeros_like(turned) + n], dim=1)


@pytest.mark.exporter
@pytest.mark.parametrize("slowly", [False, True])
def test_any_number_of_images_wherever_the_number_stands(
    slowly: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ExportError("not here")

    monkeypatch.setattr(graphs, "for_any_number" if slowly else "_of_any", fail)
    graphs._write(Mixed().eval(), torch.zeros(1, 4, 6), ("x", "maps"), tmp_path / "mixed.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "mixed.onnx")
    for n in (1, 3):
        x = torch.rand(n, 4, 6, generator=torch.Generator().manual_seed(n))
        (found,) = session.run(None, {"x": x.numpy()})
        np.testing.assert_array_equal(found, Mixed()(x).numpy())


@pytest.mark.exporter
def test_a_vit_is_written_for_any_number_of_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(graphs, "_of_any")  # the slow way
    network = SourceNetwork("test_vit", (4,), scales=(0.7,), detail=(2,))
    size = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    graphs._write(network, size, ("pixels", "y"), tmp_path / "vit.onnx")
    for n in (1, 3):
        found = OnnxRuntime(tmp_path / "vit.onnx", output="y").run(pixels(n))
        expected = network(torch.from_numpy(pixels(n))).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
def test_two_parts_make_the_whole(model: Path, exported: Path, tmp_path: Path) -> None:
    bundle = read_bundle(model)
    detector = TorchRuntime(bundle, "cpu").detector
    source, rest, joined, both = (tmp_path / f"{name}.onnx" for name in "srjb")
    write_source(detector, bundle.facts.size, source)
    write_rest(detector, bundle.facts.size, rest)
    join(source, rest, joined)
    join(source, rest, both, features=True)
    expected = OnnxRuntime(exported / "model.onnx").run(pixels(3))
    largest = np.abs(expected).max(axis=(0, 2, 3), keepdims=True)
    assert (np.abs(OnnxRuntime(joined).run(pixels(3)) - expected) <= 1e-4 * largest).all()
    y = OnnxRuntime(both, output="y").run(pixels(3))
    with torch.inference_mode():
        wanted = detector.source(torch.from_numpy(pixels(3))).numpy()
    np.testing.assert_allclose(y, wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.exporter
def test_an_exporter_that_is_missing_is_named(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = read_bundle(model)
    detector = TorchRuntime(bundle, "cpu").detector
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(
        MissingExtraError, match=r"onnxscript not installed.*pip install -e .\.\[train\]"
    ):
        write_graph(detector, bundle.facts.size, tmp_path / "never.onnx")
    assert not list(tmp_path.iterdir())
