"""Gemm: ``alpha * A' * B' + beta * C``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError, UnsupportedError
from microlith.ops import nodes
from microlith.ops.base import Array, Op, Output, Rule, Shape
from microlith.quant.integer_linear import fully_connected
from microlith.quant.requantize import saturate
from microlith.quant.types import QArray, QParams


@dataclass(frozen=True)
class GemmAttrs:
    """Attributes of Gemm, as in ONNX."""

    alpha: float
    beta: float
    trans_a: bool
    trans_b: bool


def parse(node: ir.Node) -> GemmAttrs:
    """Attributes of a Gemm node."""
    return GemmAttrs(
        nodes.real(node, "alpha", 1.0),
        nodes.real(node, "beta", 1.0),
        bool(nodes.integer(node, "transA", 0)),
        bool(nodes.integer(node, "transB", 0)),
    )


def _sizes(attrs: GemmAttrs, inputs: Sequence[Shape]) -> tuple[int, int, int]:
    a, b = inputs[:2]
    if len(a) != 2 or len(b) != 2:
        raise ModelError(f"Gemm got operands of shapes {a} and {b}, expected matrices")
    rows, depth = a[::-1] if attrs.trans_a else a
    other_depth, columns = b[::-1] if attrs.trans_b else b
    if depth != other_depth:
        raise ModelError(f"Gemm got operands of shapes {a} and {b}, whose inner sizes differ")
    return rows, depth, columns


def infer(attrs: GemmAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """(M, N)."""
    rows, _, columns = _sizes(attrs, inputs)
    return ((rows, columns),)


def macs(attrs: GemmAttrs, inputs: Sequence[Shape], output: Shape) -> int:
    """M * N * K."""
    rows, depth, columns = _sizes(attrs, inputs)
    return rows * depth * columns


def reference(attrs: GemmAttrs, inputs: Sequence[Array | None]) -> Array:
    """Float32 matrix product."""
    a, b = nodes.f32(inputs, 0), nodes.f32(inputs, 1)
    result = (a.T if attrs.trans_a else a) @ (b.T if attrs.trans_b else b)
    if attrs.alpha != 1.0:
        result = np.float32(attrs.alpha) * result
    if len(inputs) > 2 and inputs[2] is not None:
        c = nodes.f32(inputs, 2)
        result = result + (c if attrs.beta == 1.0 else np.float32(attrs.beta) * c)
    return result


def quantized(attrs: GemmAttrs, inputs: Sequence[QArray | None], output: Output) -> Array:
    """Integer matrix product: see :func:`microlith.quant.integer_linear.fully_connected`."""
    a, b, c = (*inputs, None)[:3]
    assert a is not None and b is not None, "operands that are never absent"
    if attrs.alpha != 1.0 or (c is not None and attrs.beta != 1.0):
        raise UnsupportedError(
            f"Gemm with alpha {attrs.alpha:g} and beta {attrs.beta:g} has no integer form",
            hint="Fold both factors into the weights and the bias before quantizing.",
        )
    x = _transposed(a) if attrs.trans_a else a
    weights = b if attrs.trans_b else _transposed(b)
    scaled = fully_connected(x, weights, c, output.qparams, output.requantization)
    return saturate(scaled, output.qparams, output.low, output.high)


def _transposed(x: QArray) -> QArray:
    axis = x.qparams.axis
    qparams = x.qparams
    if axis is not None:
        qparams = QParams(qparams.scale, qparams.zero_point, qparams.dtype, 1 - axis)
    return QArray(x.values.T, qparams)


def _batches(attrs: GemmAttrs, inputs: Sequence[Shape | None], output: Shape) -> bool:
    return not attrs.trans_a and inputs[0] is not None and inputs[1] is None


GEMM = Op(
    "Gemm",
    parse,
    infer,
    reference,
    quantized,
    macs,
    batches=_batches,
    rule=Rule("layer"),
    lowering="lower_linear.lower_gemm",
)
