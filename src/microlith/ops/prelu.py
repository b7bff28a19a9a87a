"""PRelu: ``x`` above 0, ``slope * x`` below, with a constant slope that broadcasts to ``x``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.errors import ModelError, UnsupportedError
from microlith.ops import nodes
from microlith.ops.base import Array, Op, Output, Rule, Shape
from microlith.quant.lut import lookup, unary_table
from microlith.quant.types import QArray, QParams


@dataclass(frozen=True, eq=False)
class PReluAttrs:
    """The slope, of the rank of ``x``."""

    slope: NDArray[Any]


def is_computed(node: ir.Node) -> bool:
    """Whether the slope is no constant."""
    return nodes.has_input(node, 1) and node.inputs[1] is not None and node.inputs[1].const_value is None


def parse(node: ir.Node) -> PReluAttrs:
    """The slope of a PRelu node."""
    slope = nodes.required(node, nodes.constant(node, 1, "its slope"), "its slope")
    rank = len(nodes.input_shape(node, 0))
    if slope.ndim > rank:
        raise ModelError(f"its slope of shape {slope.shape} has more axes than its input", node=nodes.where(node))
    return PReluAttrs(slope.reshape((1,) * (rank - slope.ndim) + slope.shape))


def infer(attrs: PReluAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """The shape of x, to which the slope must broadcast."""
    try:
        fits = np.broadcast_shapes(inputs[0], attrs.slope.shape) == inputs[0]
    except ValueError:
        fits = False
    if not fits:
        raise ModelError(f"a slope of shape {attrs.slope.shape} does not broadcast to {inputs[0]}")
    return (inputs[0],)


def reference(attrs: PReluAttrs, inputs: Sequence[Array | None]) -> Array:
    """Float or integer meaning."""
    x: NDArray[Any] | None = inputs[0]
    assert x is not None, "an operand that is never absent"
    with np.errstate(all="ignore"):
        return np.asarray(np.where(x < 0, x * attrs.slope, x), x.dtype)


def tables(attrs: PReluAttrs, x: QParams, output: Output) -> NDArray[np.integer]:
    """One table, or one a channel where the slope varies along axis 1."""
    slope = attrs.slope
    if slope.size != 1 and (slope.ndim < 2 or slope.size != slope.shape[1]):
        raise UnsupportedError(f"a slope of shape {slope.shape} has no integer form; one a channel has")
    made = [
        unary_table(
            lambda real, s=float(item): np.where(real < 0, s * real, real),  # type: ignore[misc]
            x,
            output.qparams,
            output.low,
            output.high,
        )
        for item in slope.reshape(-1)
    ]
    return np.stack(made)


def quantized(attrs: PReluAttrs, inputs: Sequence[QArray | None], output: Output) -> Array:
    """Integer meaning."""
    x = inputs[0]
    assert x is not None, "an operand that is never absent"
    return lookup(x, tables(attrs, x.qparams, output))


def _batches(attrs: PReluAttrs, inputs: Sequence[Shape | None], output: Shape) -> bool:
    return attrs.slope.shape[:1] == (1,)


PRELU = Op(
    "PRelu", parse, infer, reference, quantized, data_inputs=(0,), tables=tables, batches=_batches,
    written_out=is_computed, rule=Rule("table"), lowering="lower_elementwise.lower_prelu",)  # fmt: skip
