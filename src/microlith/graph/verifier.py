"""The legality of a graph, checked after every pass in tests and after loading always."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError, VerificationError
from microlith.graph.inference import infer_types
from microlith.graph.values import Shape, constant, describe, input_at, integer, known_shape

_ZERO_POINT_TYPES = (
    ir.DataType.INT2,
    ir.DataType.UINT2,
    ir.DataType.INT4,
    ir.DataType.UINT4,
    ir.DataType.INT8,
    ir.DataType.UINT8,
    ir.DataType.INT16,
    ir.DataType.UINT16,
    ir.DataType.INT32,
)


def verify(model: ir.Model) -> None:
    """Check that the model is legal.

    Legal is: one producer a value and unique names (SSA); nodes in topological order; every value that is read is
    produced, an input or a constant; every value has a type and a shape of known sizes, equal to what inference gives;
    constants are what their values say; scales of Q/DQ are positive and finite and zero points of the right type;
    every graph output is produced by a node.

    Raises:
        VerificationError: the first violation found.
    """
    _verify_names(model.graph)
    _verify_order(model.graph)
    _verify_initializers(model.graph)
    _verify_outputs(model.graph)
    _verify_types(model)
    for node in model.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            _verify_quantization(node)
        elif (rule := _OPERAND_SHAPES.get(node.op_type)) is not None:
            _verify_operands(node, rule)


def _verify_names(graph: ir.Graph) -> None:
    names = [value.name for value in graph.inputs] + list(graph.initializers)
    names += [value.name for node in graph for value in node.outputs if value.name != ""]
    if any(not name for name in names):
        raise VerificationError("a value of the graph has no name")
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise VerificationError(f"more than one value is called {repeated[0]!r}")
    nodes = Counter(node.name for node in graph)
    for name, count in nodes.items():
        if count > 1 or not name:
            raise VerificationError(f"{count} node(s) of the graph are called {name!r}, expected unique names")


def _verify_order(graph: ir.Graph) -> None:
    known = set(graph.inputs) | set(graph.initializers.values())
    for node in graph:
        for value in node.inputs:
            if value is not None and value not in known:
                raise VerificationError(f"{value.name!r} is read before it is produced", node=describe(node))
        known.update(node.outputs)


def _verify_initializers(graph: ir.Graph) -> None:
    for name, value in graph.initializers.items():
        if value.const_value is None:
            raise VerificationError(f"the constant {name!r} has no data")
        shape = tuple(int(size) for size in value.const_value.shape.numpy())
        if value.dtype != value.const_value.dtype or known_shape(value) != shape:
            raise VerificationError(
                f"the constant {name!r} is {value.const_value.dtype} {shape}, and says {value.dtype} {value.shape}"
            )
        if value.is_graph_input():
            raise VerificationError(f"{name!r} is a constant and a graph input")


def _verify_outputs(graph: ir.Graph) -> None:
    if not graph.outputs:
        raise VerificationError("the graph has no output")
    if len(set(graph.outputs)) != len(graph.outputs):
        raise VerificationError("a value is listed twice as graph output")
    for value in graph.outputs:
        if value.producer() is None or value.graph is not graph:
            raise VerificationError(f"the graph output {value.name!r} is not produced by a node")


def _verify_types(model: ir.Model) -> None:
    for value in model.graph.inputs:
        if value.dtype is None or known_shape(value) is None:
            raise VerificationError(f"the graph input {value.name!r} has no known type or shape")
    try:
        inferred = infer_types(model)
    except ModelError as error:
        raise VerificationError(error.what) from error
    for node in model.graph:
        for value in node.outputs:
            if value.name == "" or value.name is None:
                continue
            info = inferred.get(value.name)
            if info is None or not info.static:
                raise VerificationError(f"the shape of {value.name!r} cannot be inferred", node=describe(node))
            if value.dtype != info.dtype or known_shape(value) != info.shape:
                raise VerificationError(
                    f"{value.name!r} says {value.dtype} {value.shape}, inference gives {info.dtype} {info.shape}",
                    node=describe(node),
                )


def _conv_shapes(node: ir.Node, data: Shape, weights: Shape) -> tuple[Shape | None, ...]:
    groups = integer(node, "group", 1)
    whole = groups > 0 and weights[0] % groups == 0 and data[1] % groups == 0
    return (None, (weights[0], data[1] // groups, *weights[2:]) if whole else (), (weights[0],))


def _gemm_shapes(node: ir.Node, data: Shape, weights: Shape) -> tuple[Shape | None, ...]:
    rows, depth = data[::-1] if integer(node, "transA", 0) else data
    transposed = integer(node, "transB", 0)
    columns = weights[0 if transposed else 1]
    bias = known_shape(input_at(node, 2))
    fits = bias is None or _broadcasts(bias, (rows, columns))
    return (None, (columns, depth) if transposed else (depth, columns), None if fits else (columns,))


def _broadcasts(shape: Shape, to: Shape) -> bool:
    """Whether a tensor broadcasts to a shape, without changing it."""
    trailing = zip(shape[::-1], to[::-1], strict=False)
    return len(shape) <= len(to) and all(size in (1, wanted) for size, wanted in trailing)


def _norm_shapes(node: ir.Node, data: Shape, weights: Shape) -> tuple[Shape | None, ...]:
    return (None, *((data[1],) for _ in range(4)))


_OPERAND_SHAPES: Mapping[str, Callable[[ir.Node, Shape, Shape], tuple[Shape | None, ...]]] = {
    "Conv": _conv_shapes,
    "Gemm": _gemm_shapes,
    "BatchNormalization": _norm_shapes,
}
"""Shapes that operands must have, None for any: what ONNX inference does not compare."""


def _verify_operands(node: ir.Node, rule: Callable[[ir.Node, Shape, Shape], tuple[Shape | None, ...]]) -> None:
    shapes = [known_shape(value) for value in node.inputs]
    data, weights = shapes[0], shapes[1]
    if data is None or weights is None:
        return
    for value, shape, expected in zip(node.inputs, shapes, rule(node, data, weights), strict=False):
        if value is not None and expected is not None and shape != expected:
            raise VerificationError(
                f"{value.name!r} has shape {shape}, which does not fit an input of shape {data}", node=describe(node)
            )


def _verify_quantization(node: ir.Node) -> None:
    scale = constant(node.inputs[1])
    if scale is None:
        raise VerificationError("the quantization scale is not a constant", node=describe(node))
    if not (np.isfinite(scale).all() and (np.asarray(scale, np.float64) > 0).all()):
        raise VerificationError("a quantization scale is not a positive finite number", node=describe(node))
    zero_point = input_at(node, 2)
    if zero_point is not None:
        array = constant(zero_point)
        if array is None or (array.shape != scale.shape and not array.size == scale.size == 1):
            raise VerificationError("the zero point is not a constant of the scale's shape", node=describe(node))
    integers = node.outputs[0] if node.op_type == "QuantizeLinear" else node.inputs[0]
    dtype = None if integers is None else integers.dtype
    if dtype not in _ZERO_POINT_TYPES:
        raise VerificationError(f"quantized type {dtype} is not supported", node=describe(node))
    if zero_point is not None and zero_point.dtype != dtype:
        raise VerificationError(f"the zero point is {zero_point.dtype} and the integers {dtype}", node=describe(node))
    if integer(node, "precision", 0) not in (0, int(ir.DataType.FLOAT)):
        raise VerificationError("dividing by the scale in another type than float32", node=describe(node))
    if scale.ndim > 1 or integer(node, "block_size", 0):
        raise VerificationError("blocked quantization is not supported", node=describe(node))
    _verify_axis(node, scale)


def _verify_axis(node: ir.Node, scale: np.typing.NDArray[np.generic]) -> None:
    shape = known_shape(node.outputs[0])
    if scale.ndim == 0 or scale.size == 1 or shape is None:
        return
    axis = integer(node, "axis", 1)
    if not -len(shape) <= axis < len(shape) or shape[axis] != scale.size:
        raise VerificationError(f"{scale.size} scales on axis {axis} do not fit the shape {shape}", node=describe(node))
