"""What exporters to opsets before 14 write for HardSwish is one operator again.

``HardSwish(x) = x * max(0, min(1, x / 6 + 1 / 2))``, and the second factor is HardSigmoid with alpha 1/6 and beta 1/2,
or ``Clip(x + 3, 0, 6) / 6``. As one operator it is one table when quantized, and not a product of rounded factors.

Source: Howard et al., Searching for MobileNetV3, ICCV 2019, section 5.2.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from microlith.graph.pass_base import SHAPES_KNOWN, PassResult, Property, tolerance
from microlith.graph.patterns import remove_unused
from microlith.graph.values import constant_scalar, input_at, real, replace_node, sole_consumer

_RELATIVE = 1e-6


class FuseHardSwish:
    """Replaces ``x * HardSigmoid(x)`` and ``x * (Clip(x + 3, 0, 6) / 6)`` by HardSwish; what is left over is dead."""

    name = "FuseHardSwish"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = tolerance(1e-6, "the factors are rounded at other places")

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: products replaced."""
        changes = 0
        for node in list(model.graph):
            if node.op_type == "Mul" and (source := _swished(node)) is not None:
                gates = [value.producer() for value in node.inputs if value is not None and value is not source]
                replace_node(node, "HardSwish", [source])
                for gate in gates:
                    remove_unused(gate)
                changes += 1
        return PassResult(changes)


def _swished(node: ir.Node) -> ir.Value | None:
    """The x of a product of x and its gate."""
    for source, gate in (node.inputs, reversed(node.inputs)):
        if source is not None and gate is not None and sole_consumer(gate) is node and _is_gate(gate, source):
            return source
    return None


def _is_gate(gate: ir.Value, source: ir.Value) -> bool:
    node = gate.producer()
    if node is None:
        return False
    if node.op_type == "HardSigmoid":
        alpha, beta = real(node, "alpha", 0.2), real(node, "beta", 0.5)
        return node.inputs[0] is source and _near(alpha, 1 / 6) and _near(beta, 0.5)
    clipped = _scaled_by_sixth(node)
    clip = None if clipped is None else clipped.producer()
    if clip is None or clip.op_type != "Clip" or clipped is None or sole_consumer(clipped) is not node:
        return False
    bounds = constant_scalar(input_at(clip, 1)), constant_scalar(input_at(clip, 2))
    return bounds == (0.0, 6.0) and _is_plus_three(clip, source)


def _scaled_by_sixth(node: ir.Node) -> ir.Value | None:
    """What a node divides by 6."""
    if node.op_type == "Div" and constant_scalar(node.inputs[1]) == 6:
        return node.inputs[0]
    if node.op_type == "Mul":
        for value, factor in (node.inputs, reversed(node.inputs)):
            number = constant_scalar(factor)
            if number is not None and _near(number, 1 / 6):
                return value
    return None


def _is_plus_three(clip: ir.Node, source: ir.Value) -> bool:
    shifted = clip.inputs[0]
    add = None if shifted is None else shifted.producer()
    if shifted is None or add is None or add.op_type != "Add" or sole_consumer(shifted) is not clip:
        return False
    return any(
        value is source and constant_scalar(other) == 3 for value, other in (add.inputs, tuple(reversed(add.inputs)))
    )


def _near(number: float, wanted: float) -> bool:
    return math.isclose(number, wanted, rel_tol=_RELATIVE)
