"""DequantizeLinear of 4, 8, 16 and 32 bits, per tensor or channel; blocks are written out. Parameters are constant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from microlith.ops.base import Array, Op
from microlith.ops.movement import operand
from microlith.ops.qparams import LinearAttrs, parse_linear
from microlith.ops.unary import always, same_shape
from microlith.quant.types import QArray, held


def parse(node: ir.Node) -> LinearAttrs:
    """What the integers read stand for."""
    return parse_linear(node, node.inputs[0])


def reference(attrs: LinearAttrs, inputs: Sequence[Array | None]) -> Array:
    """Float32 values of integers."""
    values = operand(inputs)
    return QArray(values.astype(held(attrs.qparams.dtype)), attrs.qparams).dequantize().astype(np.float32)


DEQUANTIZE_LINEAR = Op(
    "DequantizeLinear",
    parse,
    same_shape,
    reference,
    data_inputs=(0,),
    batches=always,
    lowering="lower_elementwise.lower_border",
)
