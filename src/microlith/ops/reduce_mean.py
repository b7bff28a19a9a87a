"""ReduceMean over constant axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.ops import nodes
from microlith.ops.base import Array, Op, Output, Shape
from microlith.quant import integer_pool
from microlith.quant.requantize import saturate
from microlith.quant.types import QArray


@dataclass(frozen=True)
class ReduceMeanAttrs:
    """Attributes of ReduceMean.

    Attributes:
        axes: as written, negative ones from the back; None for all.
        keepdims: whether reduced axes stay with size 1.
    """

    axes: tuple[int, ...] | None
    keepdims: bool

    def reduced(self, rank: int) -> tuple[int, ...]:
        """Axes counted from the front, ascending."""
        return tuple(range(rank)) if self.axes is None else nodes.axes_of(self.axes, rank, "ReduceMean")


def parse(node: ir.Node) -> ReduceMeanAttrs:
    """Axes from the attribute (before opset 18) or the constant input."""
    axes = nodes.attribute_or_input(node, "axes", 1)
    if not axes:
        axes = () if nodes.integer(node, "noop_with_empty_axes", 0) else None
    return ReduceMeanAttrs(axes, bool(nodes.integer(node, "keepdims", 1)))


def infer(attrs: ReduceMeanAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """Reduced axes are 1 or gone."""
    reduced = attrs.reduced(len(inputs[0]))
    sizes = [1 if axis in reduced else size for axis, size in enumerate(inputs[0])]
    return (tuple(size for axis, size in enumerate(sizes) if attrs.keepdims or axis not in reduced),)


def reference(attrs: ReduceMeanAttrs, inputs: Sequence[Array | None]) -> Array:
    """Float32 mean."""
    x = nodes.f32(inputs)
    return np.asarray(x.mean(axis=attrs.reduced(x.ndim), keepdims=attrs.keepdims, dtype=np.float32))


def quantized(attrs: ReduceMeanAttrs, inputs: Sequence[QArray | None], output: Output) -> Array:
    """See :func:`microlith.quant.integer_pool.reduce_mean`."""
    x = inputs[0]
    assert x is not None, "an operand that is never absent"
    axes = attrs.reduced(x.values.ndim)
    scaled = integer_pool.reduce_mean(x, axes, attrs.keepdims, output.qparams, output.requantization)
    return saturate(scaled, output.qparams, output.low, output.high)


def _batches(attrs: ReduceMeanAttrs, inputs: Sequence[Shape | None], output: Shape) -> bool:
    return inputs[0] is not None and 0 not in attrs.reduced(len(inputs[0]))


REDUCE_MEAN = Op("ReduceMean", parse, infer, reference, quantized, data_inputs=(0,), batches=_batches)
