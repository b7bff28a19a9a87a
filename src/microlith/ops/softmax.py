"""Softmax along one axis, or, before opset 13, over all axes from one on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.ops import nodes
from microlith.ops.base import Array, Op, Output, Rule, Shape
from microlith.ops.unary import same_shape
from microlith.quant import integer_softmax
from microlith.quant.requantize import saturate
from microlith.quant.types import QArray

# From this opset on Softmax works along a single axis; before, it flattened its input to a matrix.
_SINGLE_AXIS_OPSET = 13


@dataclass(frozen=True)
class SoftmaxAttrs:
    """Attributes of Softmax.

    Attributes:
        axis: as written, negative ones from the back.
        flattens: whether ``axis`` and all axes after it are one.
    """

    axis: int
    flattens: bool

    def view(self, shape: Shape) -> tuple[Shape, int]:
        """The shape as which the input is looked at, and the axis along which the sums are formed there."""
        axis = nodes.axis_of(self.axis, len(shape), "Softmax")
        if not self.flattens:
            return shape, axis
        return (*shape[:axis], int(np.prod(shape[axis:], dtype=np.int64))), axis


def parse(node: ir.Node) -> SoftmaxAttrs:
    """Attributes of a Softmax node, by the opset in which it is written."""
    flattens = nodes.opset(node) < _SINGLE_AXIS_OPSET
    return SoftmaxAttrs(nodes.integer(node, "axis", 1 if flattens else -1), flattens)


def reference(attrs: SoftmaxAttrs, inputs: Sequence[Array | None]) -> Array:
    """Float32, shifted by the greatest element."""
    x = nodes.f32(inputs)
    shape, axis = attrs.view(x.shape)
    viewed = x.reshape(shape)
    weights = np.exp(viewed - viewed.max(axis=axis, keepdims=True))
    return np.asarray(weights / weights.sum(axis=axis, keepdims=True, dtype=np.float32)).reshape(x.shape)


def quantized(attrs: SoftmaxAttrs, inputs: Sequence[QArray | None], output: Output) -> Array:
    """See :func:`microlith.quant.integer_softmax.softmax`."""
    x = inputs[0]
    assert x is not None, "an operand that is never absent"
    shape, axis = attrs.view(x.values.shape)
    viewed = QArray(x.values.reshape(shape), x.qparams)
    scaled = integer_softmax.softmax(viewed, axis, output.qparams, output.requantization)
    return saturate(scaled, output.qparams, output.low, output.high).reshape(x.values.shape)


def _batches(attrs: SoftmaxAttrs, inputs: Sequence[Shape | None], output: Shape) -> bool:
    return attrs.view(output)[1] != 0


SOFTMAX = Op(
    "Softmax",
    parse,
    same_shape,
    reference,
    quantized,
    batches=_batches,
    rule=Rule("softmax", scale=1 / 256),
    lowering="lower_pool.lower_softmax",
)
