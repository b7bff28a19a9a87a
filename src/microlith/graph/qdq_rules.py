"""What quantization does with each ONNX op: which inputs carry data, and how its result gets its scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from microlith.quant.schemes import ActivationType
from microlith.quant.types import QParams

Role = Literal["layer", "matmul", "binary", "pool", "table", "softmax", "movement", "concat"]


@dataclass(frozen=True)
class Rule:
    """How one op is quantized.

    Attributes:
        role: ``layer`` (constant weights and bias), ``matmul``, ``binary``, ``pool`` (averages), ``table`` (a function
            of one integer), ``softmax``, ``movement`` (integers are moved, their meaning stays) or ``concat``.
        data: number of leading data inputs; None for all inputs.
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
    "Relu": _TABLE,
    "Clip": _TABLE,
    "LeakyRelu": _TABLE,
    "HardSwish": _TABLE,
    "Sigmoid": Rule("table", scale=1 / 256),
    "HardSigmoid": Rule("table", scale=1 / 256),
    "Tanh": Rule("table", scale=1 / 128, signed=True),
    "Softmax": Rule("softmax", scale=1 / 256),
    "MaxPool": _MOVEMENT,
    "GlobalMaxPool": _MOVEMENT,
    "Reshape": _MOVEMENT,
    "Flatten": _MOVEMENT,
    "Squeeze": _MOVEMENT,
    "Unsqueeze": _MOVEMENT,
    "Transpose": _MOVEMENT,
    "Slice": _MOVEMENT,
    "Pad": _MOVEMENT,
    "Concat": Rule("concat", data=None),
}


def rule_of(node: ir.Node) -> Rule | None:
    """The rule of a node's op; None for an op without an integer form."""
    return RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None


def data_inputs(node: ir.Node) -> tuple[ir.Value, ...]:
    """The inputs of a node with a rule that carry activations or constants like them, weights of layers excluded."""
    rule = RULES[node.op_type]
    return tuple(value for value in node.inputs[: rule.data] if value is not None)


def fixed_qparams(node: ir.Node, dtype: ActivationType) -> QParams | None:
    """Parameters that the function itself fixes for its result (Softmax, Sigmoid, Tanh ...); None for other ops.

    Source: the TensorFlow Lite 8-bit quantization specification, which fixes those of Softmax, Logistic and Tanh.
    """
    rule = rule_of(node)
    if rule is None or rule.scale is None:
        return None
    middle = 0 if dtype == "int8" else 128
    return QParams.per_tensor(rule.scale, middle if rule.signed else middle - 128, dtype)
