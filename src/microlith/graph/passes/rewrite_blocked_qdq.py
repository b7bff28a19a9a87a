"""QuantizeLinear and DequantizeLinear with a scale for each block are written as arithmetic.

``Q(x, s, z) = Q(Round(x / s) + z, 1, 0)`` and ``DQ(x, s, z) = (DQ(x, 1, 0) - z) * s``, with one scale and zero point
for each block of an axis. The axis is split into (blocks, elements of a block) by a Reshape where blocks divide it,
else the parameters are repeated. Of a constant the floats become the constant. Every step is exact or the same float32
rounding for integers of up to 16 bits; int32 with a zero point is left alone.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from microlith.graph.pass_base import EXACT, PassResult, Property
from microlith.graph.values import (
    Array,
    Names,
    add_initializer,
    constant,
    input_at,
    insert_node,
    integer,
    known_shape,
    new_value,
    replace_node,
    static_shape,
)


class RewriteBlockedQdq:
    """Rewrites both ops where scales and zero points are constants."""

    name = "RewriteBlockedQdq"
    requires: tuple[Property, ...] = ()
    ensures: tuple[Property, ...] = ()
    preserves = EXACT

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: nodes rewritten."""
        found = [node for node in model.graph if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
        return PassResult(sum(_rewrite(model.graph, node) for node in found))


def _rewrite(graph: ir.Graph, node: ir.Node) -> bool:
    x, scale, block = node.inputs[0], constant(input_at(node, 1)), integer(node, "block_size", 0)
    given = input_at(node, 2)
    zero = np.zeros(1, np.int8) if given is None else constant(given)
    shape = None if x is None else known_shape(x)
    stored = node.outputs[0] if node.op_type == "QuantizeLinear" else x
    if block < 1 or scale is None or zero is None or shape is None or stored is None or stored.dtype is None:
        return False
    axis = integer(node, "axis", 1)
    if scale.dtype != np.float32 or not -len(shape) <= axis < len(shape):
        return False
    axis %= len(shape)
    blocks = -(-shape[axis] // block)
    wanted = (*shape[:axis], blocks, *shape[axis + 1 :])
    zeros = np.broadcast_to(zero.astype(np.int32), wanted) if given is None else zero.astype(np.int32)
    if scale.shape != wanted or zeros.shape != wanted:
        return False
    if stored.dtype == ir.DataType.INT32 and zeros.any():
        return False
    if node.op_type == "DequantizeLinear" and _fold(graph, node, scale, zeros, block, axis):
        return True
    _write_out(graph, node, _Parameters(shape, axis, block, scale, zeros.astype(np.float32)), stored.dtype)
    return True


def _fold(graph: ir.Graph, node: ir.Node, scale: Array, zeros: Array, block: int, axis: int) -> bool:
    x, output = node.inputs[0], node.outputs[0]
    values = constant(x)
    if values is None or output.is_graph_output():
        return False
    offsets = _repeated(zeros, block, axis, values.shape[axis]).astype(np.int32)
    scales = _repeated(scale, block, axis, values.shape[axis]).astype(np.float32)
    real = (values.astype(np.int32) - offsets).astype(np.float32) * scales
    output.replace_all_uses_with(add_initializer(graph, f"{output.name}_folded", real))
    graph.remove(node, safe=True)
    return True


def _repeated(values: Array, block: int, axis: int, size: int) -> Array:
    return np.take(np.repeat(values, block, axis), range(size), axis)


class _Parameters:
    """Scales and zero points that broadcast against a tensor of :attr:`split`."""

    def __init__(self, shape: tuple[int, ...], axis: int, block: int, scale: Array, zero: Array) -> None:
        self.shape = shape
        self.split = shape
        self.scale, self.zero = scale, zero
        if block > 1 and shape[axis] % block == 0:
            self.split = (*shape[:axis], shape[axis] // block, block, *shape[axis + 1 :])
            self.scale, self.zero = (np.expand_dims(item, axis + 1) for item in (scale, zero))
        elif block > 1:
            self.scale, self.zero = (_repeated(item, block, axis, shape[axis]) for item in (scale, zero))


def _write_out(graph: ir.Graph, node: ir.Node, parameters: _Parameters, stored: ir.DataType) -> None:
    names, source = Names(graph), node.inputs[0]
    assert source is not None
    like = ir.Value(type=ir.TensorType(ir.DataType.FLOAT), shape=source.shape)
    one = names.initializer("one", np.ones((), np.float32))
    none = names.initializer("none", np.zeros((), stored.numpy()))

    def step(op: str, inputs: list[ir.Value], shape: tuple[int, ...]) -> ir.Value:
        result = new_value(names.value(f"{node.name}_{op.lower()}"), like, shape)
        insert_node(node, op, inputs, result)
        return result

    def arranged(value: ir.Value, shape: tuple[int, ...]) -> ir.Value:
        if static_shape(value) == shape:
            return value
        return step("Reshape", [value, names.initializer("sizes", np.array(shape, np.int64))], shape)

    quantizes = node.op_type == "QuantizeLinear"
    value = source if quantizes else step("DequantizeLinear", [source, one, none], parameters.shape)
    value = arranged(value, parameters.split)
    scale, zero = names.initializer("scales", parameters.scale), names.initializer("zeros", parameters.zero)
    if quantizes:
        value = step("Round", [step("Div", [value, scale], parameters.split)], parameters.split)
        value = arranged(step("Add", [value, zero], parameters.split), parameters.shape)
        replace_node(node, "QuantizeLinear", [value, one, none])
        return
    value = step("Sub", [value, zero], parameters.split)
    if parameters.split == parameters.shape:
        replace_node(node, "Mul", [value, scale])
        return
    value = step("Mul", [value, scale], parameters.split)
    replace_node(node, "Reshape", [value, names.initializer("sizes", np.array(parameters.shape, np.int64))])
