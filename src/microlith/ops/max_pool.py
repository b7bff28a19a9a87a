"""MaxPool over one or two spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.ops import nodes
from microlith.ops.base import Array, Op, Output, Shape
from microlith.ops.spatial import Spatial, as_rows, parse_spatial
from microlith.ops.unary import always
from microlith.quant.integer_pool import max_pool2d
from microlith.quant.types import QArray
from microlith.quant.windows import padded, taps


@dataclass(frozen=True)
class MaxPoolAttrs:
    """The windows."""

    spatial: Spatial


def parse(node: ir.Node) -> MaxPoolAttrs:
    """Attributes of a MaxPool node."""
    if len(node.outputs) > 1 and (node.outputs[1].uses() or node.outputs[1].is_graph_output()):
        raise nodes.unsupported(node, "the indices of the greatest elements are used; only the elements are computed")
    kernel = nodes.required(node, nodes.integers(node, "kernel_shape"), "kernel_shape")
    return MaxPoolAttrs(parse_spatial(node, kernel))


def infer(attrs: MaxPoolAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """(N, C, OH, OW)."""
    return (attrs.spatial.output_shape(inputs[0], inputs[0][1]),)


def reference(attrs: MaxPoolAttrs, inputs: Sequence[Array | None]) -> Array:
    """Greatest valid element of each window."""
    x = nodes.f32(inputs)
    geometry = attrs.spatial.geometry(x.shape)
    windows = taps(padded(np.asarray(as_rows(x), np.float32), geometry, -np.inf), geometry)
    result = next(windows)[2].copy()
    for _, _, seen in windows:
        np.maximum(result, seen, out=result)
    return result.reshape(infer(attrs, (x.shape,))[0])


def quantized(attrs: MaxPoolAttrs, inputs: Sequence[QArray | None], output: Output) -> Array:
    """See :func:`microlith.quant.integer_pool.max_pool2d`."""
    x = inputs[0]
    assert x is not None, "an operand that is never absent"
    rows = QArray(np.asarray(as_rows(x.values), x.values.dtype), x.qparams)
    geometry = attrs.spatial.geometry(x.values.shape)
    result = max_pool2d(rows, geometry, output.qparams, output.low, output.high)
    return result.reshape(infer(attrs, (x.values.shape,))[0])


MAX_POOL = Op("MaxPool", parse, infer, reference, quantized, batches=always)
