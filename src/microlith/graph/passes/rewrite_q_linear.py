"""QLinearConv and QLinearMatMul are written as the float op between DequantizeLinear and QuantizeLinear.

``QLinearConv(x, w, b) = Q(Conv(DQ(x), DQ(w), DQ(b)))`` where the bias has the scale ``x_scale * w_scale`` and no zero
point: what both compute on integers is the same sum, scaled by the same factor.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from microlith.graph.pass_base import EXACT, SHAPES_KNOWN, PassResult, Property
from microlith.graph.values import (
    Array,
    add_initializer,
    constant,
    input_at,
    insert_node,
    replace_node,
    static_shape,
    unique_name,
)

_CONV, _MATMUL = "QLinearConv", "QLinearMatMul"


class RewriteQLinear:
    """Rewrites both ops where scales and zero points are constants."""

    name = "RewriteQLinear"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = EXACT

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: ops rewritten."""
        found = [node for node in model.graph if node.op_type in (_CONV, _MATMUL)]
        return PassResult(sum(_rewrite(model.graph, node) for node in found))


def _rewrite(graph: ir.Graph, node: ir.Node) -> bool:
    x, w = node.inputs[0], node.inputs[3]
    parameters = [constant(node.inputs[index]) for index in (1, 2, 4, 5, 6, 7)]
    if x is None or w is None or any(array is None for array in parameters):
        return False
    x_scale, x_zero, w_scale, w_zero, y_scale, y_zero = (np.asarray(array) for array in parameters)
    if any(array.dtype != np.float32 for array in (x_scale, w_scale, y_scale)):
        return False
    is_conv = node.op_type == _CONV
    # Several scales of a first operand, one for each row, or scales of a stack have no DequantizeLinear along one axis.
    if x_scale.size > 1 or y_scale.size > 1 or (w_scale.size > 1 and w_scale.ndim > 1):
        return False
    w_axis = None if w_scale.size == 1 else (0 if is_conv else len(static_shape(w)) - 1)
    operands = [_dequantized(graph, node, x, x_scale, x_zero), _dequantized(graph, node, w, w_scale, w_zero, w_axis)]
    bias = input_at(node, 8) if is_conv else None
    if bias is not None:
        scale = np.asarray(x_scale.reshape(()) * w_scale, np.float32)
        axis = None if scale.size == 1 else 0
        operands.append(_dequantized(graph, node, bias, scale, np.zeros(scale.shape, np.int32), axis))
    real = _float_value(graph, f"{node.name}_real", static_shape(node.outputs[0]))
    insert_node(node, "Conv" if is_conv else "MatMul", operands, real, dict(node.attributes) if is_conv else None)
    replace_node(node, "QuantizeLinear", [real, *_parameters(graph, node, y_scale, y_zero)])
    return True


def _float_value(graph: ir.Graph, name: str, shape: tuple[int, ...]) -> ir.Value:
    return ir.Value(name=unique_name(graph, name), type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(shape))


def _parameters(graph: ir.Graph, node: ir.Node, scale: Array, zero: Array) -> list[ir.Value]:
    shape = () if scale.size == 1 else (scale.size,)
    return [
        add_initializer(graph, f"{node.name}_scale", scale.reshape(shape)),
        add_initializer(
            graph, f"{node.name}_zero_point", np.broadcast_to(zero.reshape(-1), (scale.size,)).reshape(shape)
        ),
    ]


def _dequantized(
    graph: ir.Graph, node: ir.Node, value: ir.Value, scale: Array, zero: Array, axis: int | None = None
) -> ir.Value:
    result = _float_value(graph, f"{value.name}_dequantized", static_shape(value))
    attributes = {} if axis is None else {"axis": ir.AttrInt64("axis", axis)}
    insert_node(node, "DequantizeLinear", [value, *_parameters(graph, node, scale, zero)], result, attributes)
    return result
