"""MatMulInteger: products of matrices of 8-bit integers, summed in int32, with zero points that may be computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from microlith.ops import matmul
from microlith.ops.base import Array, Op, Shape
from microlith.ops.matmul import MatMulAttrs


def parse(node: ir.Node) -> MatMulAttrs:
    """Nothing to read."""
    return matmul.parse(node)


def infer(attrs: MatMulAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """As of MatMul."""
    return matmul.infer(attrs, inputs[:2])


def reference(attrs: MatMulAttrs, inputs: Sequence[Array | None]) -> Array:
    """Sums of products of differences from the zero points: one, or one for each row of a and each column of b."""
    a, b, a_zero, b_zero = (*inputs, None, None)[:4]
    assert a is not None and b is not None, "operands that are never absent"
    left, right = a.astype(np.int64), b.astype(np.int64)
    if a_zero is not None:
        left = left - (a_zero.astype(np.int64)[..., None] if a_zero.ndim else a_zero.astype(np.int64))
    if b_zero is not None:
        right = right - b_zero.astype(np.int64)
    return np.asarray(np.matmul(left, right)).astype(np.int32)


def _batches(attrs: MatMulAttrs, inputs: Sequence[Shape | None], output: Shape) -> bool:
    a, *others = inputs
    return a is not None and len(a) >= 2 and all(item is None for item in others)


MATMUL_INTEGER = Op(
    "MatMulInteger",
    parse,
    infer,
    reference,
    macs=matmul.macs,
    batches=_batches,
    lowering="lower_integer.lower_matmul_integer",
)
