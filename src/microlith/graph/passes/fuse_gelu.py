"""The Gaussian error linear unit, written out by exporters to opsets before 20, is one operator again.

``Gelu(x) = x / 2 * (1 + erf(x / sqrt(2)))``, and approximately
``Gelu(x) = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))``.
The factors may stand in any order. As one operator it is one table when quantized.

Source: Hendrycks and Gimpel, Gaussian Error Linear Units, arXiv 1606.08415, section 2.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import onnx_ir as ir

from microlith.graph.pass_base import SHAPES_KNOWN, PassResult, Property, tolerance
from microlith.graph.patterns import RELATIVE, in_both_orders, is_number, made_by, product_of, remove_unused
from microlith.graph.values import known_shape, replace_node, sole_consumer
from microlith.ops import OPS


class FuseGelu:
    """Replaces both forms of Gelu by the operator, where it can be compiled."""

    name = "FuseGelu"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = tolerance(1e-4, "the constants of the formula are written with few digits")

    def __init__(self, supported: Collection[str] = OPS) -> None:
        self._supported = supported

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: products replaced."""
        changes = 0
        for node in list(model.graph) if "Gelu" in self._supported else ():
            if node.graph is None or node.op_type not in ("Mul", "Div"):
                continue
            found = _gelu(node)
            if found is not None:
                source, approximate = found
                producers = [value.producer() for value in node.inputs if value is not None]
                replace_node(node, "Gelu", [source], {"approximate": ir.AttrString("approximate", approximate)})
                for producer in producers:
                    remove_unused(producer)
                changes += 1
        return PassResult(changes)


def _gelu(node: ir.Node) -> tuple[ir.Value, str] | None:
    """The x of a product, and which of the formulas it is."""
    result = node.outputs[0]
    for factor in product_of(result).powers:
        gate = _gate(factor)
        if gate is None or sole_consumer(factor) is None:
            continue
        source, approximate = gate
        if known_shape(source) != known_shape(result):
            continue
        product = product_of(result, stop=(source, factor))
        if product.powers == {source: 1, factor: 1} and math.isclose(product.coefficient, 0.5, rel_tol=RELATIVE):
            return source, approximate
    return None


def _gate(value: ir.Value) -> tuple[ir.Value, str] | None:
    add = made_by(value, "Add")
    if add is None:
        return None
    for function, one in in_both_orders(add):
        node = made_by(function, "Erf", "Tanh")
        argument = None if node is None else node.inputs[0]
        if node is None or argument is None or not is_number(one, 1.0):
            continue
        source = _erf_argument(argument) if node.op_type == "Erf" else _tanh_argument(argument)
        if source is not None:
            return source, "none" if node.op_type == "Erf" else "tanh"
    return None


def _erf_argument(argument: ir.Value) -> ir.Value | None:
    """The x of ``x / sqrt(2)``."""
    node = made_by(argument, "Mul", "Div")
    if node is None:
        return None
    if node.op_type == "Div":
        return node.inputs[0] if is_number(node.inputs[1], math.sqrt(2)) else None
    for source, factor in in_both_orders(node):
        if is_number(factor, math.sqrt(0.5)):
            return source
    return None


def _tanh_argument(argument: ir.Value) -> ir.Value | None:
    """The x of ``sqrt(2 / pi) * (x + 0.044715 x^3)``."""
    outer = product_of(argument)
    if not math.isclose(outer.coefficient, math.sqrt(2 / math.pi), rel_tol=1e-3):
        return None
    if len(outer.powers) == 1:
        add = made_by(next(iter(outer.powers)), "Add")
        for source, cube in in_both_orders(add) if add is not None else ():
            product = product_of(cube, stop=(source,))
            if product.powers == {source: 3} and math.isclose(product.coefficient, 0.044715, rel_tol=1e-3):
                return source
    return None
