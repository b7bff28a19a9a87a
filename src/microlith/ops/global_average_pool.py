"""GlobalAveragePool: the mean over every axis after the channels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Op, Output, Rule, Shape
from microlith.ops.unary import NoAttrs, always, no_attributes
from microlith.quant.integer_pool import reduce_mean
from microlith.quant.requantize import saturate
from microlith.quant.types import QArray


def infer(attrs: NoAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """(N, C, 1, ...)."""
    shape = inputs[0]
    if len(shape) < 3:
        raise ModelError(f"GlobalAveragePool got an input of shape {shape}, expected N, C and spatial axes")
    return ((*shape[:2], *[1] * (len(shape) - 2)),)


def reference(attrs: NoAttrs, inputs: Sequence[Array | None]) -> Array:
    """Float32 mean."""
    x = nodes.f32(inputs)
    return np.asarray(x.mean(axis=tuple(range(2, x.ndim)), keepdims=True, dtype=np.float32))


def quantized(attrs: NoAttrs, inputs: Sequence[QArray | None], output: Output) -> Array:
    """See :func:`microlith.quant.integer_pool.reduce_mean`."""
    x = inputs[0]
    assert x is not None, "an operand that is never absent"
    scaled = reduce_mean(x, tuple(range(2, x.values.ndim)), True, output.qparams, output.requantization)
    return saturate(scaled, output.qparams, output.low, output.high)


GLOBAL_AVERAGE_POOL = Op(
    "GlobalAveragePool",
    no_attributes,
    infer,
    reference,
    quantized,
    batches=always,
    rule=Rule("pool"),
    lowering="lower_pool.lower_global_average_pool",
)
