"""CumSum along one constant axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Op, Shape
from microlith.ops.movement import operand


@dataclass(frozen=True)
class CumSumAttrs:
    """Attributes of CumSum.

    Attributes:
        axis: as written, negative from the back.
        exclusive: an element is not part of its own sum.
        reverse: sums run from the end.
    """

    axis: int
    exclusive: bool
    reverse: bool


def parse(node: ir.Node) -> CumSumAttrs:
    """Attributes of a CumSum node."""
    axis = nodes.required(node, nodes.constant_integers(node, 1, "its axis"), "its axis")
    if len(axis) != 1:
        raise ModelError(f"its axis is {axis}, expected one integer", node=nodes.where(node))
    return CumSumAttrs(axis[0], bool(nodes.integer(node, "exclusive", 0)), bool(nodes.integer(node, "reverse", 0)))


def infer(attrs: CumSumAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """The shape stays."""
    nodes.axis_of(attrs.axis, len(inputs[0]), "CumSum")
    return (inputs[0],)


def reference(attrs: CumSumAttrs, inputs: Sequence[Array | None]) -> Array:
    """Sums in the type of the input; integers wrap around."""
    x = operand(inputs)
    axis = nodes.axis_of(attrs.axis, x.ndim, "CumSum")
    ordered = np.flip(x, axis) if attrs.reverse else x
    sums = np.cumsum(ordered, axis=axis, dtype=x.dtype)
    if attrs.exclusive:
        before = np.zeros_like(np.take(sums, [0], axis))
        sums = np.concatenate([before, np.delete(sums, -1, axis)], axis)
    return np.ascontiguousarray(np.flip(sums, axis)) if attrs.reverse else sums


def _batches(attrs: CumSumAttrs, inputs: Sequence[Shape | None], output: Shape) -> bool:
    return attrs.axis % len(output) != 0


CUM_SUM = Op(
    "CumSum", parse, infer, reference, data_inputs=(0,), batches=_batches, lowering="lower_indexing.lower_cum_sum"
)
