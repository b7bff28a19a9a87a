"""AveragePool over one to three spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import UnsupportedError
from microlith.ops import nodes, pool_nd
from microlith.ops.base import Array, Op, Output, Rule, Shape
from microlith.ops.pool_nd import PoolNdAttrs
from microlith.ops.spatial import Spatial, as_rows, parse_spatial
from microlith.ops.unary import always
from microlith.quant.integer_pool import average_pool2d
from microlith.quant.requantize import saturate
from microlith.quant.types import QArray
from microlith.quant.windows import padded, taps

_VOLUME_AXES = 3


@dataclass(frozen=True)
class AveragePoolAttrs:
    """The windows, and whether padding counts in the divisor."""

    spatial: Spatial
    count_include_pad: bool


def parse(node: ir.Node) -> AveragePoolAttrs | PoolNdAttrs:
    """Attributes of an AveragePool node."""
    kernel = pool_nd.kernel_of(node)
    if len(kernel) == _VOLUME_AXES:
        return pool_nd.parse_average(node)
    return AveragePoolAttrs(parse_spatial(node, kernel), bool(nodes.integer(node, "count_include_pad", 0)))


def infer(attrs: AveragePoolAttrs | PoolNdAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """(N, C, ...)."""
    if isinstance(attrs, PoolNdAttrs):
        return pool_nd.infer(attrs, inputs)
    return (attrs.spatial.output_shape(inputs[0], inputs[0][1]),)


def reference(attrs: AveragePoolAttrs | PoolNdAttrs, inputs: Sequence[Array | None]) -> Array:
    """Sum of each window divided by its count."""
    if isinstance(attrs, PoolNdAttrs):
        return pool_nd.reference(attrs, inputs)
    x = nodes.f32(inputs)
    geometry = attrs.spatial.geometry(x.shape)
    windows = taps(padded(np.asarray(as_rows(x), np.float32), geometry, 0), geometry)
    result = next(windows)[2].copy()
    for _, _, seen in windows:
        result += seen
    result /= geometry.counts(attrs.count_include_pad).astype(np.float32)
    return result.reshape(infer(attrs, (x.shape,))[0])


def quantized(attrs: AveragePoolAttrs | PoolNdAttrs, inputs: Sequence[QArray | None], output: Output) -> Array:
    """See :func:`microlith.quant.integer_pool.average_pool2d`."""
    if isinstance(attrs, PoolNdAttrs):
        raise UnsupportedError("AveragePool over three spatial axes has no integer form", hint="Leave it in float.")
    x = inputs[0]
    assert x is not None, "an operand that is never absent"
    rows = QArray(np.asarray(as_rows(x.values), x.values.dtype), x.qparams)
    geometry = attrs.spatial.geometry(x.values.shape)
    scaled = average_pool2d(rows, geometry, attrs.count_include_pad, output.qparams, output.requantization)
    result = saturate(scaled, output.qparams, output.low, output.high)
    return result.reshape(infer(attrs, (x.values.shape,))[0])


AVERAGE_POOL = Op(
    "AveragePool",
    parse,
    infer,
    reference,
    quantized,
    batches=always,
    rule=Rule("pool"),
    lowering="lower_pool.lower_average_pool",
)
