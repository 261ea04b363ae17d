"""A graph that was exported for one number of images takes any, or says why it cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nfbmr.deployment.numbers import IMAGES, for_any_number
from nfbmr.errors import ExportError

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

CHANNELS = 6


def constant(name: str, values: Any, how: str) -> Any:
    """A node that holds integers, in one of the ways that ONNX has."""
    if how == "value":
        values = onnx.numpy_helper.from_array(np.array(values, np.int64))
    return onnx.helper.make_node("Constant", [], [name], **{how: values})


def model(nodes: list[Any], shape: list[int], held: dict[str, Any] | None = None) -> Any:
    """A model `x` (N, 6) -> `out`, whose tensors are `held`."""
    value = onnx.helper.make_tensor_value_info
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "graph",
        [value("x", kind, [IMAGES, CHANNELS])],
        [value("out", kind, shape)],
        [onnx.numpy_helper.from_array(np.array(v), k) for k, v in (held or {}).items()],
    )
    opset = onnx.helper.make_opsetid("", 18)
    return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10)


def answer(made: Any, x: NDArray[np.float32]) -> NDArray[np.float32]:
    onnx.checker.check_model(made)
    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def lengths(value: Any) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize(
    ("values", "how", "expected"),
    [
        ([IMAGES, 2, 3], "value", lambda x: x.reshape(-1, 2, 3)),
        ([2 * IMAGES, 3], "value_ints", lambda x: x.reshape(-1, 3)),
        ([3, IMAGES, 2], "value", lambda x: x.reshape(3, -1, 2)),
        ([IMAGES, 2, -1], "value", lambda x: x.reshape(len(x), 2, 3)),
    ],
)
def test_shapes_that_hold_the_number_fit_any(
    n: int, values: list[int], how: str, expected: Callable[..., Any]
) -> None:
    nodes = [constant("to", values, how), onnx.helper.make_node("Reshape", ["x", "to"], ["out"])]
    made = model(nodes, [values[0], *values[1:]])
    for_any_number(made)
    x = np.random.default_rng(0).random((n, CHANNELS), np.float32)
    np.testing.assert_array_equal(answer(made, x), expected(x))
    assert lengths(made.graph.input[0]) == ["n", CHANNELS]


@pytest.mark.parametrize("n", [1, 5])
def test_what_is_made_in_that_number_is_made_in_any(n: int) -> None:
    nodes = [
        onnx.helper.make_node("Expand", ["row", "many"], ["rows"]),
        constant("number", IMAGES, "value_int"),
        onnx.helper.make_node("Cast", ["number"], ["as_float"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("Add", ["rows", "as_float"], ["more"]),
        onnx.helper.make_node("Concat", ["x", "more"], ["out"], axis=1),
    ]
    held = {"row": np.arange(2, dtype=np.float32), "many": np.array([IMAGES, 2])}
    made = model(nodes, [IMAGES, CHANNELS + 2], held)
    for_any_number(made)
    x = np.random.default_rng(0).random((n, CHANNELS), np.float32)
    expected = np.concatenate([x, np.tile([n, n + 1], (n, 1))], axis=1)
    np.testing.assert_array_equal(answer(made, x), expected.astype(np.float32))
    assert lengths(made.graph.output[0]) == ["n", CHANNELS + 2]


def test_the_least_float_is_not_taken_for_a_number_of_images() -> None:
    least = np.float32(np.finfo(np.float32).min)
    masked = onnx.helper.make_node("Max", ["x", "least"], ["out"])
    made = model([masked], [IMAGES, CHANNELS], {"least": least})
    for_any_number(made)
    assert len(made.graph.initializer) == 1


def test_a_graph_without_the_number_stays_as_it_is() -> None:
    nodes = [
        constant("to", [-1, 3], "value"),
        onnx.helper.make_node("Reshape", ["x", "to"], ["out"]),
    ]
    made = model(nodes, [2 * IMAGES, 3])
    before = [node.SerializeToString() for node in made.graph.node]
    for_any_number(made)
    assert [node.SerializeToString() for node in made.graph.node] == before
    assert not made.graph.initializer
    assert lengths(made.graph.output[0]) == [0, 3]  # unknown, a multiple of n


def test_a_number_that_cannot_be_computed_is_an_error() -> None:
    split = onnx.helper.make_node("Split", ["x"], ["out"], axis=0, num_outputs=IMAGES)
    with pytest.raises(ExportError, match="stands where it cannot be computed"):
        for_any_number(model([split], [1, CHANNELS]))
    inner = onnx.helper.make_graph([constant("to", [IMAGES, 1], "value")], "inner", [], [])
    outer = onnx.helper.make_node("If", ["when"], ["out"], then_branch=inner, else_branch=inner)
    with pytest.raises(ExportError, match="stands where it cannot be computed"):
        for_any_number(model([outer], [1, CHANNELS]))
    as_float = {"number": np.float32(2 * IMAGES)}
    more = onnx.helper.make_node("Add", ["x", "number"], ["out"])
    with pytest.raises(ExportError, match="stands where it cannot be computed"):
        for_any_number(model([more], [IMAGES, CHANNELS], as_float))
    tensor = np.zeros((IMAGES, 0), np.float32)
    with pytest.raises(ExportError, match="stands where it cannot be computed"):
        for_any_number(model([], [1, CHANNELS], {"rows": tensor}))


def test_the_number_is_a_prime() -> None:
    assert all(IMAGES % divisor for divisor in range(2, int(IMAGES**0.5) + 1))
