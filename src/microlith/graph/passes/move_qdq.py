"""QuantizeLinear and DequantizeLinear go through operators that only move elements, so that integers are moved.

With one scale s and zero point z for the whole tensor, DQ and Q treat every element alike, and an operator M that
copies elements commutes: ``M(DQ(x)) = DQ(M(x))`` and ``Q(M(y)) = M(Q(y))``. DQ moves down and Q moves up, which lets
the operators on either side read and write integers. ``M`` between a DQ and a Q stays: that is an operation on integers
already.

``Q(DQ(x)) = x`` where both have the same scale, zero point and type: ``(x - z) * s / s + z`` is x before it is rounded.
"""

from __future__ import annotations

import onnx_ir as ir

from microlith.graph.pass_base import EXACT, SHAPES_KNOWN, PassResult, Property
from microlith.graph.values import (
    bypass,
    can_bypass,
    constant,
    input_at,
    insert_node,
    known_shape,
    new_value,
    replace_node,
    sole_consumer,
    unique_name,
)

_MOVEMENT = frozenset(("Flatten", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"))
_MOVED_TYPES = (ir.DataType.INT8, ir.DataType.UINT8)


class MoveQdq:
    """Moves DequantizeLinear down and QuantizeLinear up through Reshape, Transpose, Slice ..., and cancels pairs."""

    name = "MoveQdq"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = EXACT

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: nodes moved and pairs cancelled."""
        changes = 0
        for node in list(model.graph):
            if node.graph is None:
                continue
            if node.op_type == "QuantizeLinear":
                changes += _cancel(node) or _move_up(node)
            elif node.op_type in _MOVEMENT:
                changes += _move_down(node)
        return PassResult(changes)


def _producer(value: ir.Value | None, op_type: str) -> ir.Node | None:
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == op_type else None


def _same_parameters(first: ir.Node, second: ir.Node) -> bool:
    """Whether scales, zero points and axes are constants that say the same."""
    for index in (1, 2):
        values = input_at(first, index), input_at(second, index)
        if values[0] is values[1]:
            continue
        arrays = [constant(value) for value in values]
        if arrays[0] is None or arrays[1] is None:
            return False
        if arrays[0].dtype != arrays[1].dtype or arrays[0].shape != arrays[1].shape or (arrays[0] != arrays[1]).any():
            return False
    scale = constant(first.inputs[1])
    axes = [node.attributes.get_int("axis", 1) for node in (first, second)]
    return scale is not None and (scale.size == 1 or axes[0] == axes[1])


def _cancel(quantize: ir.Node) -> int:
    dequantize = _producer(quantize.inputs[0], "DequantizeLinear")
    source = None if dequantize is None else dequantize.inputs[0]
    if dequantize is None or source is None or source.dtype != quantize.outputs[0].dtype:
        return 0
    if not _same_parameters(dequantize, quantize) or not can_bypass(quantize, source):
        return 0
    bypass(quantize, source)
    _remove_if_unused(dequantize)
    return 1


def _is_per_tensor(node: ir.Node) -> bool:
    scale = constant(node.inputs[1])
    return scale is not None and scale.size == 1


def _move_down(node: ir.Node) -> int:
    """``M(DQ(x))`` becomes ``DQ(M(x))``."""
    dequantize = _producer(node.inputs[0], "DequantizeLinear")
    source = None if dequantize is None else dequantize.inputs[0]
    if dequantize is None or source is None or source.dtype not in _MOVED_TYPES or not _is_per_tensor(dequantize):
        return 0
    result = node.outputs[0]
    follower = sole_consumer(result)
    if follower is not None and follower.op_type == "QuantizeLinear":
        return 0
    assert node.graph is not None
    moved = new_value(unique_name(node.graph, f"{result.name}_integers"), source, known_shape(result))
    insert_node(node, node.op_type, [source, *node.inputs[1:]], moved, node.attributes)
    replace_node(node, "DequantizeLinear", [moved, *dequantize.inputs[1:]], dequantize.attributes)
    _remove_if_unused(dequantize)
    return 1


def _move_up(quantize: ir.Node) -> int:
    """``Q(M(y))`` becomes ``M(Q(y))`` where nothing else reads what M returns and y is not dequantized."""
    middle = quantize.inputs[0]
    node = None if middle is None else middle.producer()
    if middle is None or node is None or node.op_type not in _MOVEMENT or sole_consumer(middle) is not quantize:
        return 0
    source, result = node.inputs[0], quantize.outputs[0]
    if source is None or result.dtype not in _MOVED_TYPES or not _is_per_tensor(quantize):
        return 0
    if _producer(source, "DequantizeLinear") is not None or source.is_initializer():
        return 0
    assert node.graph is not None
    integers = new_value(unique_name(node.graph, f"{source.name}_quantized"), result, known_shape(source))
    insert_node(node, "QuantizeLinear", [source, *quantize.inputs[1:]], integers, quantize.attributes)
    replace_node(quantize, node.op_type, [integers, *node.inputs[1:]], node.attributes)
    _remove_if_unused(node)
    return 1


def _remove_if_unused(node: ir.Node) -> None:
    if node.graph is not None and not node.outputs[0].uses() and not node.outputs[0].is_graph_output():
        node.graph.remove(node, safe=True)
