"""Scale, zero point and axis of a QuantizeLinear or DequantizeLinear."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.quant.types import LIMITS, QParams


@dataclass(frozen=True, eq=False)
class LinearAttrs:
    """What the integers of a QuantizeLinear or DequantizeLinear stand for."""

    qparams: QParams


def parse_linear(node: ir.Node, stored: ir.Value | None) -> LinearAttrs:
    """Constant parameters of a node; ``stored`` is its integer side, whose type counts where no zero point is given."""
    scale = nodes.required(node, nodes.constant(node, 1, "its scale"), "its scale").astype(np.float32)
    zero = nodes.constant(node, 2, "its zero point")
    if scale.ndim > 1 or nodes.integer(node, "block_size", 0):
        raise nodes.unsupported(node, f"a scale of shape {scale.shape} (blocked quantization) is not supported")
    dtype = _dtype(node, stored)
    if dtype not in LIMITS:
        raise nodes.unsupported(node, f"quantized type {dtype} is not one of {', '.join(LIMITS)}")
    zeros = np.zeros(scale.shape, np.int32) if zero is None else zero.astype(np.int32)
    if zeros.shape != scale.shape and not zeros.size == scale.size == 1:
        raise ModelError(f"its scale has shape {scale.shape} but its zero point {zeros.shape}", node=nodes.where(node))
    if scale.size == 1:
        return LinearAttrs(QParams(scale.reshape(()), zeros.reshape(()), dtype))
    shape = nodes.input_shape(node, 0)
    axis = nodes.axis_of(nodes.integer(node, "axis", 1), len(shape), node.op_type)
    if shape[axis] != scale.size:
        raise ModelError(
            f"it has {scale.size} scales for axis {axis} of a tensor of shape {shape}", node=nodes.where(node)
        )
    return LinearAttrs(QParams(scale, zeros, dtype, axis))


def _dtype(node: ir.Node, stored: ir.Value | None) -> str:
    zero = node.inputs[2] if nodes.has_input(node, 2) else None
    if zero is not None and zero.const_value is not None:
        return zero.const_value.dtype.name.lower()
    if stored is not None and stored.dtype is not None:
        return stored.dtype.name.lower()
    return "uint8"
