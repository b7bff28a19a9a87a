"""What quantization does with each ONNX op: which inputs carry data, and how its result gets its scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from microlith.graph.values import constant
from microlith.quant.schemes import ActivationType
from microlith.quant.types import QParams

Role = Literal["layer", "matmul", "binary", "pool", "table", "softmax", "movement", "concat", "order"]


@dataclass(frozen=True)
class Rule:
    """How one op is quantized.

    Attributes:
        role: ``layer`` (constant weights and bias), ``matmul``, ``binary``, ``pool`` (averages), ``table`` (a function
            of one integer), ``softmax``, ``movement`` (integers are moved, their meaning stays), ``concat`` or
            ``order`` (the result is no float and depends on the order of the integers only).
        data: number of leading inputs among which the data inputs are, those that are floats; None for all inputs.
        scale: of the result, where the range of the function fixes it; its least value is 0, or -1 where ``signed``.
        signed: see ``scale``.
    """

    role: Role
    data: int | None = 1
    scale: float | None = None
    signed: bool = False


_MOVEMENT = Rule("movement")
_TABLE = Rule("table")
_LAYER = Rule("layer")
_POOL = Rule("pool")
_BINARY = Rule("binary", data=2)

_FUNCTIONS = (
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Celu", "Cos", "Cosh", "Elu", "Erf", "Exp"),
    *("Floor", "Gelu", "Log", "Mish", "Neg", "PRelu", "Reciprocal", "Round", "Selu", "Shrink", "Sign", "Sin", "Sinh"),
    *("Softplus", "Softsign", "Sqrt", "Swish", "Tan", "ThresholdedRelu"),
)
"""Functions of one element whose range calibration finds."""

RULES: Mapping[str, Rule] = {
    "Conv": _LAYER,
    "ConvTranspose": _LAYER,
    "Gemm": _LAYER,
    "MatMul": Rule("matmul", data=2),
    "Add": _BINARY,
    "Sub": _BINARY,
    "Mul": _BINARY,
    "AveragePool": _POOL,
    "GlobalAveragePool": _POOL,
    "ReduceMean": _POOL,
    "ReduceSum": _POOL,
    "ReduceMax": _MOVEMENT,
    "ReduceMin": _MOVEMENT,
    "BatchNormalization": _TABLE,
    **dict.fromkeys(_FUNCTIONS, _TABLE),
    "Max": Rule("concat", data=None),
    "Min": Rule("concat", data=None),
    "Where": Rule("concat", data=None),
    "Relu": _TABLE,
    "Clip": _TABLE,
    "LeakyRelu": _TABLE,
    "HardSwish": _TABLE,
    "Sigmoid": Rule("table", scale=1 / 256),
    "HardSigmoid": Rule("table", scale=1 / 256),
    "Tanh": Rule("table", scale=1 / 128, signed=True),
    "Softmax": Rule("softmax", scale=1 / 256),
    "Identity": _MOVEMENT,
    "MaxPool": _MOVEMENT,
    "GlobalMaxPool": _MOVEMENT,
    "Reshape": _MOVEMENT,
    "Flatten": _MOVEMENT,
    "Squeeze": _MOVEMENT,
    "Unsqueeze": _MOVEMENT,
    "Transpose": _MOVEMENT,
    "Slice": _MOVEMENT,
    "Pad": _MOVEMENT,
    "CenterCropPad": _MOVEMENT,
    "DepthToSpace": _MOVEMENT,
    "Expand": _MOVEMENT,
    "Gather": _MOVEMENT,
    "GatherElements": _MOVEMENT,
    "GatherND": _MOVEMENT,
    "MaxUnpool": _MOVEMENT,
    "Resize": _MOVEMENT,
    "ReverseSequence": _MOVEMENT,
    "SpaceToDepth": _MOVEMENT,
    "Tile": _MOVEMENT,
    "TopK": _MOVEMENT,
    "Trilu": _MOVEMENT,
    "ScatterElements": Rule("concat", data=None),
    "ScatterND": Rule("concat", data=None),
    "ArgMax": Rule("order"),
    "ArgMin": Rule("order"),
    "Concat": Rule("concat", data=None),
}


def rule_of(node: ir.Node) -> Rule | None:
    """The rule of a node's op; None for an op without an integer form."""
    if node.domain not in ("", "ai.onnx") or not _moves_activations(node):
        return None
    return RULES.get(node.op_type)


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


def fixed_qparams(node: ir.Node, dtype: ActivationType) -> QParams | None:
    """Parameters that the function itself fixes for its result (Softmax, Sigmoid, Tanh ...); None for other ops.

    Source: the TensorFlow Lite 8-bit quantization specification, which fixes those of Softmax, Logistic and Tanh.
    """
    rule = rule_of(node)
    if rule is None or rule.scale is None:
        return None
    middle = 0 if dtype == "int8" else 128
    return QParams.per_tensor(rule.scale, middle if rule.signed else middle - 128, dtype)
