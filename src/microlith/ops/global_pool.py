"""GlobalMaxPool and GlobalLpPool: the greatest element, or the p-norm, over every axis after the channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Op, Output, Rule, Shape
from microlith.ops.pool_nd import parse_p, power_sum_root
from microlith.ops.unary import always
from microlith.quant.integer_move import requantize
from microlith.quant.types import QArray


@dataclass(frozen=True)
class GlobalPoolAttrs:
    """``p`` is the exponent of the norm; None for the greatest element."""

    p: int | None

    def reduced(self, rank: int) -> tuple[int, ...]:
        """All axes after the channels."""
        return tuple(range(2, rank))


def infer(attrs: GlobalPoolAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """(N, C, 1, ...)."""
    shape = inputs[0]
    if len(shape) < 3:
        raise ModelError(f"a global pool got an input of shape {shape}, expected N, C and spatial axes")
    return ((*shape[:2], *[1] * (len(shape) - 2)),)


def reference(attrs: GlobalPoolAttrs, inputs: Sequence[Array | None]) -> Array:
    """Float32."""
    x = nodes.f32(inputs)
    axes = attrs.reduced(x.ndim)
    if attrs.p is None:
        return np.asarray(x.max(axis=axes, keepdims=True))
    powers = np.abs(x) ** np.float32(attrs.p)
    return power_sum_root(np.asarray(powers.sum(axis=axes, keepdims=True, dtype=np.float32)), attrs.p)


def quantized(attrs: GlobalPoolAttrs, inputs: Sequence[QArray | None], output: Output) -> Array:
    """The greatest integer, with the meaning of the output."""
    x = inputs[0]
    assert x is not None, "an operand that is never absent"
    greatest = x.values.max(axis=attrs.reduced(x.values.ndim), keepdims=True)
    return requantize(QArray(np.asarray(greatest), x.qparams), output.qparams, output.low, output.high)


def _parse_max(node: ir.Node) -> GlobalPoolAttrs:
    return GlobalPoolAttrs(None)


def _parse_lp(node: ir.Node) -> GlobalPoolAttrs:
    return GlobalPoolAttrs(parse_p(node))


GLOBAL_MAX_POOL = Op(
    "GlobalMaxPool",
    _parse_max,
    infer,
    reference,
    quantized,
    batches=always,
    rule=Rule("movement"),
    lowering="lower_pool.lower_global_max_pool",
)
GLOBAL_LP_POOL = Op(
    "GlobalLpPool", _parse_lp, infer, reference, batches=always, lowering="lower_pool.lower_global_lp_pool"
)
