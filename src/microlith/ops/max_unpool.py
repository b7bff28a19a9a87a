"""MaxUnpool: each element goes back to where a MaxPool found it, zeros elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Shape
from microlith.ops.indices import bounded
from microlith.ops.movement import rearrangement


@dataclass(frozen=True)
class MaxUnpoolAttrs:
    """Attributes of MaxUnpool; the window is that of the MaxPool.

    Attributes:
        kernel: extent of the window along each spatial axis.
        strides: likewise.
        pads: elements before each axis, then elements after each.
        shape: of the result, where it is stated; larger than the window gives, zeros follow along each axis.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    shape: tuple[int, ...] | None = None


def parse(node: ir.Node) -> MaxUnpoolAttrs:
    """Attributes of a MaxUnpool node."""
    kernel = nodes.required(node, nodes.integers(node, "kernel_shape"), "its kernel_shape")
    strides = nodes.integers(node, "strides", (1,) * len(kernel))
    pads = nodes.integers(node, "pads", (0,) * 2 * len(kernel))
    assert strides is not None and pads is not None, "both have defaults"
    if len(strides) != len(kernel) or len(pads) != 2 * len(kernel):
        raise ModelError(f"its kernel_shape {kernel}, strides {strides} and pads {pads} differ", node=nodes.where(node))
    return MaxUnpoolAttrs(kernel, strides, pads, nodes.constant_integers(node, 2, "its output_shape"))


def least_shape(attrs: MaxUnpoolAttrs, shape: Shape) -> Shape:
    """The least shape that a MaxPool of this window makes an input of this shape of."""
    count = len(attrs.kernel)
    if len(shape) != count + 2:
        raise ModelError(f"MaxUnpool by a window of {attrs.kernel} got an input of shape {shape}")
    spatial = tuple(
        (size - 1) * stride + extent - before - after
        for size, stride, extent, before, after in zip(
            shape[2:], attrs.strides, attrs.kernel, attrs.pads[:count], attrs.pads[count:], strict=True
        )
    )
    return (*shape[:2], *spatial)


def infer(attrs: MaxUnpoolAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """The least shape, or a larger one that is stated."""
    if inputs[0] != inputs[1]:
        raise ModelError(f"MaxUnpool got an input of shape {inputs[0]} and indices of shape {inputs[1]}")
    least = least_shape(attrs, inputs[0])
    shape = least if attrs.shape is None else attrs.shape
    if len(shape) != len(least) or any(wanted < size for wanted, size in zip(shape, least, strict=True)):
        raise ModelError(f"MaxUnpool to {shape} of what needs at least {least}")
    return (shape,)


def _move(attrs: MaxUnpoolAttrs, inputs: Sequence[Array], zero: Array) -> Array:
    x, indices = inputs
    (shape,) = infer(attrs, (x.shape, indices.shape))
    least = least_shape(attrs, x.shape)
    result = np.full(math.prod(least), zero, x.dtype)
    for place, value in zip(bounded(indices, result.size).reshape(-1), x.reshape(-1), strict=True):
        result[place] = value
    rest = [(0, wanted - size) for wanted, size in zip(shape, least, strict=True)]
    return np.pad(result.reshape(least), rest, constant_values=zero)


MAX_UNPOOL = rearrangement(
    "MaxUnpool", parse, infer, _move, data_inputs=(0, 1), lowering="lower_indexing.lower_max_unpool"
)
