"""MaxPool over one to three spatial axes, with the indices of the greatest elements where they are used."""

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
from microlith.quant.integer_pool import max_pool2d
from microlith.quant.types import QArray
from microlith.quant.windows import padded, taps

_VOLUME_AXES = 3


@dataclass(frozen=True)
class MaxPoolAttrs:
    """The windows."""

    spatial: Spatial


def parse(node: ir.Node) -> MaxPoolAttrs | PoolNdAttrs:
    """Attributes of a MaxPool node."""
    kernel = pool_nd.kernel_of(node)
    indices = len(node.outputs) > 1 and (node.outputs[1].uses() or node.outputs[1].is_graph_output())
    if indices or len(kernel) == _VOLUME_AXES:
        return pool_nd.parse_max(node)
    return MaxPoolAttrs(parse_spatial(node, kernel))


def infer(attrs: MaxPoolAttrs | PoolNdAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """(N, C, ...), twice for the greatest elements and their indices."""
    if isinstance(attrs, PoolNdAttrs):
        return pool_nd.infer(attrs, inputs)
    shape = attrs.spatial.output_shape(inputs[0], inputs[0][1])
    return shape, shape


def reference(attrs: MaxPoolAttrs | PoolNdAttrs, inputs: Sequence[Array | None]) -> Array:
    """Greatest valid element of each window."""
    if isinstance(attrs, PoolNdAttrs):
        return pool_nd.reference(attrs, inputs)
    x = nodes.f32(inputs)
    geometry = attrs.spatial.geometry(x.shape)
    windows = taps(padded(np.asarray(as_rows(x), np.float32), geometry, -np.inf), geometry)
    result = next(windows)[2].copy()
    for _, _, seen in windows:
        np.maximum(result, seen, out=result)
    return result.reshape(infer(attrs, (x.shape,))[0])


def results(attrs: MaxPoolAttrs | PoolNdAttrs, inputs: Sequence[Array | None]) -> tuple[Array, ...]:
    """The greatest elements and their indices."""
    assert isinstance(attrs, PoolNdAttrs), "a node whose indices are used is parsed as such"
    return pool_nd.results(attrs, inputs)


def quantized(attrs: MaxPoolAttrs | PoolNdAttrs, inputs: Sequence[QArray | None], output: Output) -> Array:
    """See :func:`microlith.quant.integer_pool.max_pool2d`."""
    if isinstance(attrs, PoolNdAttrs):
        raise UnsupportedError(
            "MaxPool over three spatial axes, or with indices, has no integer form", hint="Leave it in float."
        )
    x = inputs[0]
    assert x is not None, "an operand that is never absent"
    rows = QArray(np.asarray(as_rows(x.values), x.values.dtype), x.qparams)
    geometry = attrs.spatial.geometry(x.values.shape)
    result = max_pool2d(rows, geometry, output.qparams, output.low, output.high)
    return result.reshape(infer(attrs, (x.values.shape,))[0])


def _batches(attrs: MaxPoolAttrs | PoolNdAttrs, inputs: Sequence[Shape | None], output: Shape) -> bool:
    # Indices count from the first sample.
    return isinstance(attrs, MaxPoolAttrs)


MAX_POOL = Op(
    "MaxPool",
    parse,
    infer,
    reference,
    quantized,
    batches=_batches,
    results=results,
    rule=Rule("movement"),
    lowering="lower_pool.lower_max_pool",
)
