"""Graphs for any number of images, from graphs that were exported for one great number of them.

torch's exporter takes nearly twice as long where it has to follow an unknown number through a
network. `IMAGES` is a prime, and greater than what else is counted in a network: lengths, and
products and sums of some. So whatever in a graph is a multiple of it is the number of images, or a
multiple of that; no other number can hide.

Shapes: N = images.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nfbmr.errors import ExportError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

IMAGES = 1_000_003
"""For how many images to export. No memory is that of so many: the exporter computes shapes."""

_NAME = "n"  # of the length of inputs and outputs
_ALL, _FIRST, _COUNT = "images.shape", "images.first", "images.count"  # of values in the graph
_MOST_OF_ONE_CONSTANT = 4096  # numbers that are looked at: no network lists more lengths
_ROUNDED = 2**53  # larger values are limits, as the least float is


def for_any_number(model: ModelProto) -> None:
    """Makes an ONNX model that was exported for `IMAGES` images one for any number, in place.

    A constant that holds the number is computed from the input's shape instead, or left open (-1)
    where all that it does is to reshape.

    Args:
        model: of one input (N, ...), and of outputs (N, ...).

    Raises:
        ExportError: the number stands where it cannot be computed.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_value == IMAGES:
                dim.dim_param = _NAME
            elif dim.dim_value and dim.dim_value % IMAGES == 0:
                dim.Clear()
    constants = _constants(graph)
    held = {name: values for name, values in constants.items() if _has_number(values)}
    _drop(graph, set(held))
    computed: list[NodeProto] = []
    for name, values in held.items():
        number = values % IMAGES == 0
        number &= values != 0
        if _only_reshapes(graph, name) and number.sum() == 1 and (values > 0).all():
            left_open = np.where(number, -1, values)
            graph.initializer.append(numpy_helper.from_array(left_open, name))
            continue
        times, plus = np.where(number, values // IMAGES, 0), np.where(number, 0, values)
        graph.initializer.append(numpy_helper.from_array(times, f"{name}.times"))
        graph.initializer.append(numpy_helper.from_array(plus, f"{name}.plus"))
        computed.append(helper.make_node("Mul", [_COUNT, f"{name}.times"], [f"{name}.images"]))
        computed.append(helper.make_node("Add", [f"{name}.images", f"{name}.plus"], [name]))
    if computed:
        graph.initializer.append(numpy_helper.from_array(np.array(0), _FIRST))
        computed.insert(0, helper.make_node("Shape", [graph.input[0].name], [_ALL]))
        computed.insert(1, helper.make_node("Gather", [_ALL, _FIRST], [_COUNT]))
    for place, node in enumerate(computed):
        graph.node.insert(place, node)
    if any(_has_number(values) for values in _numbers(model)):
        raise ExportError("the number of images stands where it cannot be computed")


def _constants(graph: GraphProto) -> dict[str, NDArray[np.int64]]:
    """Returns the int64 constants of a graph by name; not those of graphs within it."""
    from onnx import TensorProto, numpy_helper

    found = {t.name: t for t in graph.initializer if t.data_type == TensorProto.INT64}
    arrays = {name: numpy_helper.to_array(tensor) for name, tensor in found.items()}
    for node in graph.node:
        if node.op_type == "Constant":
            (attribute,) = node.attribute
            values = _values(attribute)
            if values is not None:
                arrays[node.output[0]] = values
    return arrays


def _values(attribute: Any) -> NDArray[np.int64] | None:
    """Returns the integers that a constant's attribute holds; None where it holds others."""
    from onnx import TensorProto, numpy_helper

    if attribute.name == "value_int":
        return np.array(attribute.i)
    if attribute.name == "value_ints":
        return np.array(attribute.ints, np.int64)
    if attribute.name == "value" and attribute.t.data_type == TensorProto.INT64:
        return np.asarray(numpy_helper.to_array(attribute.t))
    return None


def _has_number(values: NDArray[Any]) -> bool:
    whole = values[np.abs(values) < _ROUNDED]
    return bool(((whole % IMAGES == 0) & (whole != 0)).any())


def _drop(graph: GraphProto, names: set[str]) -> None:
    """Takes constants out of a graph."""
    for place in reversed(range(len(graph.initializer))):
        if graph.initializer[place].name in names:
            del graph.initializer[place]
    for place in reversed(range(len(graph.node))):
        node = graph.node[place]
        if node.op_type == "Constant" and node.output[0] in names:
            del graph.node[place]


def _only_reshapes(graph: GraphProto, name: str) -> bool:
    """Tells whether a constant is but the shape that some nodes reshape to."""
    users = [node for node in graph.node if name in node.input]
    inner = any(a.HasField("g") or a.graphs for node in graph.node for a in node.attribute)
    return not inner and all(
        node.op_type == "Reshape" and list(node.input[1:]) == [name] for node in users
    )


def _numbers(message: Any) -> Iterator[NDArray[Any]]:
    """Yields all numbers of a model, or of a part of one, however deep, but those of weights."""
    from onnx import TensorProto, numpy_helper

    if isinstance(message, TensorProto):
        yield np.array(message.dims, np.int64)
        if np.prod(message.dims) <= _MOST_OF_ONE_CONSTANT and message.data_type in (
            TensorProto.INT64,
            TensorProto.INT32,
            TensorProto.DOUBLE,
            TensorProto.FLOAT,
        ):
            yield numpy_helper.to_array(message)
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                yield from _numbers(part)
        elif field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_INT32, field.CPPTYPE_FLOAT):
            yield np.atleast_1d(np.array(value))
