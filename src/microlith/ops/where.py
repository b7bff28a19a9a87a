"""Where: elements of one tensor where a condition holds, and of another elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from microlith.ops.base import Array, Op, Output, Rule, Shape
from microlith.ops.elementwise import NO_ATTRS, BinaryAttrs, broadcast_shape, ranks_agree
from microlith.quant.integer_move import requantize
from microlith.quant.types import QArray


def infer(attrs: BinaryAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """The shape to which all three broadcast."""
    return (reduce(lambda a, b: broadcast_shape("Where", a, b), inputs),)


def reference(attrs: BinaryAttrs, inputs: Sequence[Array | None]) -> Array:
    """Meaning for any type."""
    condition, a, b = inputs
    assert condition is not None and a is not None and b is not None, "operands that are never absent"
    return np.where(condition, a, b)


def quantized(attrs: BinaryAttrs, inputs: Sequence[QArray | None], output: Output) -> Array:
    """Integer meaning: the choice between two tensors that have the meaning of the result."""
    condition, a, b = inputs
    assert condition is not None and a is not None and b is not None, "operands that are never absent"
    chosen = (requantize(item, output.qparams, output.low, output.high) for item in (a, b))
    return np.where(condition.values.astype(np.bool_), *chosen)


WHERE = Op(
    "Where",
    NO_ATTRS,
    infer,
    reference,
    quantized,
    batches=ranks_agree,
    rule=Rule("concat", data=None),
    lowering="lower_plain.lower_where",
)
