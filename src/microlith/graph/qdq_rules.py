"""What quantization does with each ONNX op: which inputs carry data, and how its result gets its scale."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from microlith.graph.values import constant
from microlith.ops import ALL, op_at
from microlith.ops.base import Rule
from microlith.quant.schemes import IntegerType
from microlith.quant.types import LIMITS, QParams

RULES: Mapping[str, Rule] = {op.op_type: op.rule for op in ALL if op.rule is not None}
"""The rules that the ops state, by op."""


def rule_of(node: ir.Node) -> Rule | None:
    """The rule of a node's op; None for an op without an integer form."""
    op = op_at(node.domain, node.op_type)
    return op.rule if op is not None and _moves_activations(node) else None


def _moves_activations(node: ir.Node) -> bool:
    """False for a lookup in constant data, a Scatter that computes, a Resize that computes or puts its own value."""
    if node.op_type in ("Gather", "GatherElements", "GatherND"):
        return constant(node.inputs[0]) is None
    if node.op_type in ("ScatterElements", "ScatterND"):
        return node.attributes.get_string("reduction", "none") == "none"
    if node.op_type != "Resize":
        return True
    crops = node.attributes.get_string("coordinate_transformation_mode", "") == "tf_crop_and_resize"
    return node.attributes.get_string("mode", "nearest") == "nearest" and not crops


def data_inputs(node: ir.Node) -> tuple[ir.Value, ...]:
    """The inputs of a node with a rule that carry activations or constants like them, weights of layers excluded."""
    return tuple(node.inputs[index] for index in data_positions(node))  # type: ignore[misc]


def data_positions(node: ir.Node) -> tuple[int, ...]:
    """Positions of :func:`data_inputs` among the inputs of the node."""
    rule = RULES[node.op_type]
    return tuple(
        index
        for index, value in enumerate(node.inputs[: rule.data])
        if value is not None and value.dtype in (None, ir.DataType.FLOAT)
    )


def fixed_qparams(node: ir.Node, dtype: IntegerType) -> QParams | None:
    """Parameters that the function itself fixes for its result (Softmax, Sigmoid, Tanh ...); None for other ops.

    int16 has its zero point at 0 always; other types have as many steps between the limits as 8 bits have for theirs.

    Source: the TensorFlow Lite 8-bit quantization specification, which fixes those of Softmax, Logistic and Tanh.
    """
    rule = rule_of(node)
    if rule is None or rule.scale is None:
        return None
    low, high = LIMITS[dtype]
    if dtype == "int16":
        return QParams.per_tensor(2.0**-15, 0, dtype)
    scale = rule.scale * 256 / (high - low + 1)
    return QParams.per_tensor(scale, (low + high + 1) // 2 if rule.signed else low, dtype)
