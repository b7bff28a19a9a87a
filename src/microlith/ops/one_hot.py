"""OneHot: one value where the index points, another elsewhere."""

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
class OneHotAttrs:
    """Attributes of OneHot.

    Attributes:
        depth: size of the new axis.
        axis: place of the new axis, as written.
    """

    depth: int
    axis: int

    def place(self, rank: int) -> int:
        """The new axis, for indices of this rank."""
        return nodes.axis_of(self.axis, rank + 1, "OneHot")


def parse(node: ir.Node) -> OneHotAttrs:
    """Attributes and constant inputs of a OneHot node."""
    depth = nodes.required(node, nodes.constant(node, 1, "its depth"), "its depth").reshape(-1)
    if depth.size != 1 or int(depth[0]) < 1:
        raise ModelError(f"its depth is {depth}, expected one number of 1 or more", node=nodes.where(node))
    return OneHotAttrs(int(depth[0]), nodes.integer(node, "axis", -1))


def infer(attrs: OneHotAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """The new axis among those of the indices."""
    if len(inputs) > 1 and inputs[1] != (2,):
        raise ModelError(f"OneHot got values of shape {inputs[1]}, expected a pair")
    axis = attrs.place(len(inputs[0]))
    return ((*inputs[0][:axis], attrs.depth, *inputs[0][axis:]),)


def reference(attrs: OneHotAttrs, inputs: Sequence[Array | None]) -> Array:
    """Indices outside [-depth, depth) point nowhere; those that are floats lose their fraction."""
    given, values = operand(inputs), inputs[1]
    assert values is not None, "an operand that is never absent"
    far = np.abs(given) >= 1e9 if given.dtype.kind == "f" else np.zeros(given.shape, bool)
    indices = np.where(far | np.isnan(given), attrs.depth, given).astype(np.int64)
    axis = attrs.place(indices.ndim)
    steps = np.arange(attrs.depth).reshape(-1, *[1] * (indices.ndim - axis))
    lifted = np.expand_dims(indices, axis)
    return np.asarray(np.take(values, ((lifted == steps) | (lifted == steps - attrs.depth)).astype(np.int64)))


ONE_HOT = Op("OneHot", parse, infer, reference, data_inputs=(0, 2), lowering="lower_indexing.lower_one_hot")
