"""A matrix product with constant weights and a constant row added is a Gemm.

``MatMul(A, W) + b = Gemm(A, W, b)`` for A of rank 2, W of shape (K, N) and b with one row: quantized, the row then is a
bias in the accumulator, and not an addition of its own with a rounding of its own.
"""

from __future__ import annotations

import onnx_ir as ir

from microlith.graph.pass_base import SHAPES_KNOWN, PassResult, Property, tolerance
from microlith.graph.values import constant, replace_node, sole_consumer, static_shape


class FuseMatMulAdd:
    """Replaces MatMul by a constant matrix and the Add of a constant row behind it by a Gemm."""

    name = "FuseMatMulAdd"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = tolerance(1e-6, "the row may be added before or after the products are summed")

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: pairs fused."""
        changes = 0
        for node in list(model.graph):
            if node.op_type == "Add" and _fuse(node):
                changes += 1
        return PassResult(changes)


def _fuse(node: ir.Node) -> bool:
    for product, row in (node.inputs, reversed(node.inputs)):
        producer = None if product is None else product.producer()
        if product is None or row is None or producer is None or producer.op_type != "MatMul":
            continue
        data, weights = producer.inputs
        matrix, array = constant(weights), constant(row)
        if data is None or matrix is None or array is None or matrix.ndim != 2 or len(static_shape(data)) != 2:
            continue
        columns = matrix.shape[1]
        if sole_consumer(product) is not node or array.shape not in ((columns,), (1, columns)):
            continue
        graph = node.graph
        assert graph is not None
        replace_node(node, "Gemm", [data, weights, row])
        graph.remove(producer, safe=True)
        return True
    return False
