"""A Gemm is brought to the form that becomes a layer, or written out.

``Gemm(A, B, C) = alpha * A' B' + beta * C``. With a constant B, and a C that is absent or one constant row, the factors
go into the constants and a transposed A becomes a Transpose: what is left is a layer, ``A B' + C``. In every other case
it is ``Add(Mul(MatMul(A', B'), alpha), Mul(C, beta))``, without the parts that do nothing.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from microlith.graph.pass_base import SHAPES_KNOWN, PassResult, Property, tolerance
from microlith.graph.values import (
    Array,
    add_initializer,
    constant,
    input_at,
    insert_node,
    integer,
    new_value,
    real,
    replace_node,
    static_shape,
    unique_name,
)


class RewriteGemm:
    """Rewrites Gemms that are no plain layers; those whose operands come from DequantizeLinear are left alone."""

    name = "RewriteGemm"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = tolerance(1e-6, "factors are multiplied into constants, or rows added apart from the sums of products")

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: Gemms rewritten."""
        return PassResult(sum(_rewrite(model.graph, node) for node in list(model.graph) if node.op_type == "Gemm"))


def _rewrite(graph: ir.Graph, node: ir.Node) -> bool:
    values = [value for value in node.inputs if value is not None]
    if any(_is_dequantized(value) for value in values) or values[0].dtype != ir.DataType.FLOAT:
        return False
    weights, added = constant(node.inputs[1]), input_at(node, 2)
    row = None if added is None else constant(added)
    columns = static_shape(node.outputs[0])[1]
    if weights is None or (added is not None and (row is None or not _is_row(row, columns))):
        _write_out(graph, node)
        return True
    return _fold(graph, node, weights, row)


def _is_dequantized(value: ir.Value) -> bool:
    producer = value.producer()
    return producer is not None and producer.op_type == "DequantizeLinear"


def _is_row(array: Array, columns: int) -> bool:
    return array.size == 1 or (array.size == columns and array.shape[-1] == columns)


def _fold(graph: ir.Graph, node: ir.Node, weights: Array, row: Array | None) -> bool:
    alpha, beta = real(node, "alpha", 1.0), real(node, "beta", 1.0)
    transposed = integer(node, "transA", 0)
    if alpha == 1.0 and (row is None or beta == 1.0) and not transposed:
        return False
    if alpha != 1.0:
        scaled = np.asarray(weights, np.float32) * np.float32(alpha)
        node.replace_input_with(1, add_initializer(graph, f"{node.inputs[1].name}_scaled", scaled))  # type: ignore[union-attr]
    if row is not None and beta != 1.0:
        scaled = np.asarray(row, np.float32) * np.float32(beta)
        node.replace_input_with(2, add_initializer(graph, f"{node.inputs[2].name}_scaled", scaled))  # type: ignore[union-attr]
    if transposed:
        node.replace_input_with(0, _transposed(graph, node, node.inputs[0]))
    for name, value in (("alpha", 1.0), ("beta", 1.0)):
        if name in node.attributes:
            node.attributes.add(ir.AttrFloat32(name, value))
    if transposed:
        node.attributes.add(ir.AttrInt64("transA", 0))
    return True


def _write_out(graph: ir.Graph, node: ir.Node) -> None:
    alpha, beta = real(node, "alpha", 1.0), real(node, "beta", 1.0)
    operands = [
        _transposed(graph, node, value) if integer(node, name, 0) else value
        for name, value in (("transA", node.inputs[0]), ("transB", node.inputs[1]))
    ]
    added = input_at(node, 2)
    if alpha == 1.0 and added is None:
        replace_node(node, "MatMul", operands)
        return
    product = new_value(unique_name(graph, f"{node.name}_product"), node.outputs[0])
    insert_node(node, "MatMul", operands, product)
    if added is None:
        replace_node(
            node, "Mul", [product, add_initializer(graph, f"{node.name}_alpha", np.asarray(alpha, np.float32))]
        )
        return
    if alpha != 1.0:
        product = _times(graph, node, product, alpha, "alpha")
    if beta != 1.0:
        added = _times(graph, node, added, beta, "beta")
    replace_node(node, "Add", [product, added])


def _times(graph: ir.Graph, node: ir.Node, value: ir.Value, factor: float, name: str) -> ir.Value:
    scaled = new_value(unique_name(graph, f"{node.name}_{name}_scaled"), node.outputs[0], static_shape(value))
    insert_node(
        node, "Mul", [value, add_initializer(graph, f"{node.name}_{name}", np.asarray(factor, np.float32))], scaled
    )
    return scaled


def _transposed(graph: ir.Graph, node: ir.Node, value: ir.Value | None) -> ir.Value:
    assert value is not None, "Gemm has two operands"
    array = constant(value)
    if array is not None:
        return add_initializer(graph, f"{value.name}_transposed", np.ascontiguousarray(array.T))
    result = new_value(unique_name(graph, f"{value.name}_transposed"), node.outputs[0], static_shape(value)[::-1])
    insert_node(node, "Transpose", [value], result, {"perm": ir.AttrInt64s("perm", [1, 0])})
    return result
