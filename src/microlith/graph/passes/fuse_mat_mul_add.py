"""A matrix product with constant weights and a constant row added is a Gemm.

``MatMul(A, W) + b = Gemm(A, W, b)`` for A of rank 2, W of shape (K, N) and b with one row: quantized, the row then is a
bias in the accumulator, and not an addition of its own with a rounding of its own.

A of a higher rank is a stack of such matrices, ``Reshape(Gemm(Reshape(A, (-1, K)), W, b))``; a Relu or Clip behind the
sum goes in front of the second Reshape, so that it stays behind the layer. Samples of a batch then lie along the rows
of one matrix, where they cannot be told apart any more: this form is for lowering, and off by default.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from microlith.graph.pass_base import SHAPES_KNOWN, PassResult, Property, tolerance
from microlith.graph.passes.merge_reshapes import reshape_to
from microlith.graph.patterns import FUSED_NODES
from microlith.graph.values import (
    add_initializer,
    constant,
    insert_node,
    new_value,
    replace_node,
    sole_consumer,
    static_shape,
    unique_name,
)


class FuseMatMulAdd:
    """Replaces MatMul by a constant matrix and the Add of a constant row behind it by a Gemm."""

    name = "FuseMatMulAdd"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = tolerance(1e-6, "the row may be added before or after the products are summed")

    def __init__(self, *, stacks: bool = False) -> None:
        self._stacks = stacks

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: pairs fused."""
        changes = 0
        for node in list(model.graph):
            if node.graph is not None and node.op_type == "Add" and _fuse(node, self._stacks):
                changes += 1
        return PassResult(changes)


def _fuse(node: ir.Node, stacks: bool) -> bool:
    for product, row in (node.inputs, reversed(node.inputs)):
        producer = None if product is None else product.producer()
        if product is None or row is None or producer is None or producer.op_type != "MatMul":
            continue
        data, weights = producer.inputs
        matrix, array = constant(weights), constant(row)
        if data is None or matrix is None or array is None or matrix.ndim != 2:
            continue
        columns, rank = matrix.shape[1], len(static_shape(data))
        if sole_consumer(product) is not node or array.shape[-1:] != (columns,) or array.size != columns:
            continue
        if array.ndim > rank or rank < 2 or (rank > 2 and not stacks):
            continue
        _replace(node, producer, row if array.ndim < 3 else None, array)
        return True
    return False


def _replace(node: ir.Node, product: ir.Node, row: ir.Value | None, array: np.ndarray) -> None:
    graph, (data, weights) = node.graph, product.inputs
    assert graph is not None and data is not None
    if row is None:
        row = add_initializer(graph, f"{node.outputs[0].name}_row", array.reshape(-1))
    shape = static_shape(data)
    if len(shape) == 2:
        replace_node(node, "Gemm", [data, weights, row])
        graph.remove(product, safe=True)
        return
    names = (str(product.name), str(node.name))
    rows = (math.prod(shape[:-1]), shape[-1])
    flat = new_value(unique_name(graph, f"{node.outputs[0].name}_rows"), data, rows)
    size = add_initializer(graph, f"{node.outputs[0].name}_rows_shape", np.array(rows, np.int64))
    insert_node(node, "Reshape", [data, size], flat)
    summed = new_value(unique_name(graph, f"{node.outputs[0].name}_summed"), data, (rows[0], array.shape[-1]))
    insert_node(node, "Gemm", [flat, weights, row], summed).meta[FUSED_NODES] = names
    follower = sole_consumer(node.outputs[0])
    if follower is not None and follower.op_type in ("Relu", "Clip"):
        made = new_value(unique_name(graph, f"{follower.outputs[0].name}_rows"), summed)
        bounds = list(follower.inputs[1:])
        moved = insert_node(follower, follower.op_type, [summed, *bounds], made)
        moved.meta[FUSED_NODES] = (str(follower.name),)
        reshape_to(follower, made)
        graph.remove(node, safe=True)
    else:
        reshape_to(node, summed)
    graph.remove(product, safe=True)
