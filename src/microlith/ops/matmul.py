"""MatMul: products of matrices, stacked along leading axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Op, Output, Rule, Shape
from microlith.ops.elementwise import broadcast_shape
from microlith.quant import integer_linear
from microlith.quant.requantize import saturate
from microlith.quant.types import QArray


@dataclass(frozen=True)
class MatMulAttrs:
    """MatMul has no attributes."""


def parse(node: ir.Node) -> MatMulAttrs:
    """Nothing to read."""
    return MatMulAttrs()


def infer(attrs: MatMulAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """(..., M, N); a vector on either side loses its axis."""
    a, b = inputs[:2]
    if not a or not b:
        raise ModelError(f"MatMul got operands of shapes {a} and {b}, expected at least one axis each")
    left = (1, *a) if len(a) == 1 else a
    right = (*b, 1) if len(b) == 1 else b
    if left[-1] != right[-2]:
        raise ModelError(f"MatMul got operands of shapes {a} and {b}, whose inner sizes differ")
    stacked = broadcast_shape("MatMul", left[:-2], right[:-2])
    rows = () if len(a) == 1 else (left[-2],)
    columns = () if len(b) == 1 else (right[-1],)
    return ((*stacked, *rows, *columns),)


def macs(attrs: MatMulAttrs, inputs: Sequence[Shape], output: Shape) -> int:
    """Output elements times the inner size."""
    return int(np.prod(output, dtype=np.int64)) * inputs[0][-1]


def reference(attrs: MatMulAttrs, inputs: Sequence[Array | None]) -> Array:
    """Float32 matrix product."""
    return np.asarray(np.matmul(nodes.f32(inputs, 0), nodes.f32(inputs, 1)))


def quantized(attrs: MatMulAttrs, inputs: Sequence[QArray | None], output: Output) -> Array:
    """Integer matrix product: see :func:`microlith.quant.integer_linear.matmul`."""
    a, b = inputs[:2]
    assert a is not None and b is not None, "operands that are never absent"
    shape = infer(attrs, (a.values.shape, b.values.shape))[0]
    left = QArray(a.values[None], a.qparams) if a.values.ndim == 1 else a
    right = QArray(b.values[:, None], b.qparams) if b.values.ndim == 1 else b
    scaled = integer_linear.matmul(left, right, output.qparams, output.requantization)
    return saturate(scaled, output.qparams, output.low, output.high).reshape(shape)


def _batches(attrs: MatMulAttrs, inputs: Sequence[Shape | None], output: Shape) -> bool:
    a, b = inputs
    if b is None:
        return a is not None and len(a) >= 2
    return len(b) >= 3 and (a is None or len(a) == len(b))


MATMUL = Op(
    "MatMul",
    parse,
    infer,
    reference,
    quantized,
    macs,
    batches=_batches,
    rule=Rule("matmul", data=2),
    lowering="lower_linear.lower_matmul",
)
