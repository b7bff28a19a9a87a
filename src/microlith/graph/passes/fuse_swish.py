"""A product of x and its sigmoid is one operator where the opset has it.

``Swish(x) = x * Sigmoid(x)``, also called SiLU; with a number alpha, ``x * Sigmoid(alpha * x)``. As one operator it is
one table when quantized, and not a product of rounded factors.

Source: Ramachandran et al., Searching for Activation Functions, arXiv 1710.05941.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from microlith.graph.pass_base import SHAPES_KNOWN, PassResult, Property, tolerance
from microlith.graph.patterns import in_both_orders, made_by, remove_unused
from microlith.graph.values import constant_scalar, replace_node, sole_consumer
from microlith.ops import OPS

_OPSET = 24


class FuseSwish:
    """Replaces ``x * Sigmoid(x)`` and ``x * Sigmoid(alpha * x)`` by Swish, where that exists and can be compiled."""

    name = "FuseSwish"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = tolerance(1e-6, "the product is rounded once")

    def __init__(self, supported: Collection[str] = OPS) -> None:
        self._supported = supported

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: products replaced."""
        changes = 0
        if "Swish" not in self._supported or model.graph.opset_imports[""] < _OPSET:
            return PassResult(0)
        for node in list(model.graph):
            found = _swish(node) if node.op_type == "Mul" else None
            if found is not None:
                source, alpha, gate = found
                replace_node(node, "Swish", [source], {"alpha": ir.AttrFloat32("alpha", alpha)})
                remove_unused(gate)
                changes += 1
        return PassResult(changes)


def _swish(node: ir.Node) -> tuple[ir.Value, float, ir.Node] | None:
    for source, gate in in_both_orders(node):
        sigmoid = made_by(gate, "Sigmoid")
        if sigmoid is None or sole_consumer(gate) is not node:
            continue
        if sigmoid.inputs[0] is source:
            return source, 1.0, sigmoid
        scaled = made_by(sigmoid.inputs[0], "Mul")
        for value, factor in in_both_orders(scaled) if scaled is not None else ():
            alpha = constant_scalar(factor)
            if value is source and alpha is not None:
                return source, alpha, sigmoid
    return None
