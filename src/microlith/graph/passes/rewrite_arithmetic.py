"""Writes sums, means, quotients and powers as the sums and products that have an integer form."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from microlith.graph.pass_base import SHAPES_KNOWN, PassResult, Property, tolerance
from microlith.graph.values import (
    Array,
    add_initializer,
    constant,
    constant_scalar,
    input_at,
    insert_node,
    new_value,
    replace_node,
    static_shape,
    unique_name,
)

_POWERS = {0.5: "Sqrt", 1.0: "Identity", -1.0: "Reciprocal"}


class RewriteArithmetic:
    """Sum becomes Adds, Mean Adds and a Mul, Div by a constant Mul; Pow by 2, 1/2, 1 and -1 is written out."""

    name = "RewriteArithmetic"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = tolerance(1e-6, "a product with a reciprocal rounds once more than a quotient")

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: nodes rewritten."""
        changes = 0
        for node in list(model.graph):
            if node.op_type in ("Sum", "Mean"):
                changes += _add_up(model.graph, node)
            elif node.op_type == "Div":
                changes += _multiply(model.graph, node)
            elif node.op_type == "Pow":
                changes += _power(node)
        return PassResult(changes)


def _add_up(graph: ir.Graph, node: ir.Node) -> int:
    """Terms one after another, in the order in which NumPy takes them."""
    terms = [value for value in node.inputs if value is not None]
    output = node.outputs[0]
    total = terms[0]
    mean = node.op_type == "Mean"
    for index, item in enumerate(terms[1:], 1):
        if index == len(terms) - 1 and not mean:
            replace_node(node, "Add", [total, item])
            return 1
        shape = np.broadcast_shapes(static_shape(total), static_shape(item))
        partial_sum = new_value(unique_name(graph, f"{output.name}_sum"), output, shape)
        insert_node(node, "Add", [total, item], partial_sum)
        total = partial_sum
    if mean and len(terms) > 1:
        factor = add_initializer(graph, f"{output.name}_factor", np.asarray(1.0 / len(terms), np.float32))
        replace_node(node, "Mul", [total, factor])
        return 1
    replace_node(node, "Identity", [total])
    return 1


def _multiply(graph: ir.Graph, node: ir.Node) -> int:
    divisor = constant(input_at(node, 1))
    if divisor is None or divisor.dtype != np.float32 or constant(node.inputs[0]) is not None:
        return 0
    factor = _reciprocal(divisor)
    if factor is None:
        return 0
    replace_node(node, "Mul", [node.inputs[0], add_initializer(graph, f"{node.outputs[0].name}_factor", factor)])
    return 1


def _reciprocal(divisor: Array) -> Array | None:
    """1 / divisor, where every element of it is a normal number."""
    with np.errstate(all="ignore"):
        factor = np.asarray(np.float32(1.0) / np.asarray(divisor, np.float32))
    size = np.abs(factor)
    return factor if bool(((size >= np.finfo(np.float32).tiny) & np.isfinite(size)).all()) else None


def _power(node: ir.Node) -> int:
    base, exponent = node.inputs[0], constant_scalar(input_at(node, 1))
    # An exponent of more axes than the base would give the result these axes.
    if base is None or exponent is None or static_shape(base) != static_shape(node.outputs[0]):
        return 0
    if exponent == 2.0:
        replace_node(node, "Mul", [base, base])
        return 1
    if base.dtype == ir.DataType.FLOAT and exponent in _POWERS:
        replace_node(node, _POWERS[exponent], [base])
        return 1
    return 0
