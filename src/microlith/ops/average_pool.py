"""AveragePool over one or two spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.ops import nodes
from microlith.ops.base import Array, Op, Output, Shape
from microlith.ops.spatial import Spatial, as_rows, parse_spatial
from microlith.ops.unary import always
from microlith.quant.integer_pool import average_pool2d
from microlith.quant.requantize import saturate
from microlith.quant.types import QArray
from microlith.quant.windows import padded, taps


@dataclass(frozen=True)
class AveragePoolAttrs:
    """The windows, and whether padding counts in the divisor."""

    spatial: Spatial
    count_include_pad: bool


def parse(node: ir.Node) -> AveragePoolAttrs:
    """Attributes of an AveragePool node."""
    kernel = nodes.required(node, nodes.integers(node, "kernel_shape"), "kernel_shape")
    return AveragePoolAttrs(parse_spatial(node, kernel), bool(nodes.integer(node, "count_include_pad", 0)))


def infer(attrs: AveragePoolAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """(N, C, OH, OW)."""
    return (attrs.spatial.output_shape(inputs[0], inputs[0][1]),)


def reference(attrs: AveragePoolAttrs, inputs: Sequence[Array | None]) -> Array:
    """Sum of each window divided by its count."""
    x = nodes.f32(inputs)
    geometry = attrs.spatial.geometry(x.shape)
    windows = taps(padded(np.asarray(as_rows(x), np.float32), geometry, 0), geometry)
    result = next(windows)[2].copy()
    for _, _, seen in windows:
        result += seen
    result /= geometry.counts(attrs.count_include_pad).astype(np.float32)
    return result.reshape(infer(attrs, (x.shape,))[0])


def quantized(attrs: AveragePoolAttrs, inputs: Sequence[QArray | None], output: Output) -> Array:
    """See :func:`microlith.quant.integer_pool.average_pool2d`."""
    x = inputs[0]
    assert x is not None, "an operand that is never absent"
    rows = QArray(np.asarray(as_rows(x.values), x.values.dtype), x.qparams)
    geometry = attrs.spatial.geometry(x.values.shape)
    scaled = average_pool2d(rows, geometry, attrs.count_include_pad, output.qparams, output.requantization)
    result = saturate(scaled, output.qparams, output.low, output.high)
    return result.reshape(infer(attrs, (x.values.shape,))[0])


AVERAGE_POOL = Op("AveragePool", parse, infer, reference, quantized, batches=always)
