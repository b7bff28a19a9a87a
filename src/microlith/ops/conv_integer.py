"""ConvInteger: Conv of 8-bit integers, summed in int32, with zero points that may be computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from microlith.ops import conv
from microlith.ops.base import Array, Op, Shape
from microlith.ops.conv import ConvAttrs
from microlith.ops.conv3d import Conv3dAttrs
from microlith.ops.spatial import as_rows
from microlith.quant import volumes, windows


def parse(node: ir.Node) -> ConvAttrs | Conv3dAttrs:
    """As of Conv."""
    return conv.parse(node)


def reference(attrs: ConvAttrs | Conv3dAttrs, inputs: Sequence[Array | None]) -> Array:
    """Sums of products of differences from the zero points; what lies in the padding adds nothing."""
    x, weights, x_zero, w_zero = (*inputs, None, None)[:4]
    assert x is not None and weights is not None, "operands that are never absent"
    # Sums of integers below 2^53 are exact.
    left, right = x.astype(np.float64), weights.astype(np.float64)
    if x_zero is not None:
        left = left - x_zero.reshape(()).astype(np.float64)
    if w_zero is not None:
        right = right - w_zero.reshape((-1, *(1,) * (right.ndim - 1))).astype(np.float64)
    if isinstance(attrs, Conv3dAttrs):
        sums = volumes.correlate(left, right, attrs.volume.geometry(x.shape), attrs.groups)
    else:
        rows, filters = np.asarray(as_rows(left), np.float64), np.asarray(as_rows(right), np.float64)
        sums = windows.correlate(rows, filters, attrs.spatial.geometry(x.shape), attrs.groups)
        sums = sums.reshape(attrs.spatial.output_shape(x.shape, attrs.filters))
    return sums.astype(np.int64).astype(np.int32)


def _batches(attrs: ConvAttrs | Conv3dAttrs, inputs: Sequence[Shape | None], output: Shape) -> bool:
    x, *others = inputs
    return x is not None and all(item is None for item in others)


CONV_INTEGER = Op(
    "ConvInteger",
    parse,
    conv.infer,
    reference,
    macs=conv.macs,
    batches=_batches,
    lowering="lower_integer.lower_conv_integer",
)
