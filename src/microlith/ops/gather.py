"""Gather: slices along one axis, named by indices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.ops import nodes
from microlith.ops.base import Array, Shape
from microlith.ops.indices import bounded
from microlith.ops.movement import rearrangement


@dataclass(frozen=True)
class GatherAttrs:
    """The axis, as written, negative from the back."""

    axis: int


def parse(node: ir.Node) -> GatherAttrs:
    """Attributes of a Gather node."""
    return GatherAttrs(nodes.integer(node, "axis", 0))


def infer(attrs: GatherAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """The shape of the indices in place of the axis."""
    data, indices = inputs
    axis = nodes.axis_of(attrs.axis, len(data), "Gather")
    return ((*data[:axis], *indices, *data[axis + 1 :]),)


def _move(attrs: GatherAttrs, inputs: Sequence[Array], zero: Array) -> Array:
    data, indices = inputs
    axis = nodes.axis_of(attrs.axis, data.ndim, "Gather")
    return np.take(data, bounded(indices, data.shape[axis]), axis=axis)


def _batches(attrs: GatherAttrs, inputs: Sequence[Shape | None], output: Shape) -> bool:
    return inputs[0] is not None and inputs[1] is None and attrs.axis % len(inputs[0]) != 0


GATHER = rearrangement(
    "Gather", parse, infer, _move, data_inputs=(0, 1), batches=_batches, lowering="lower_indexing.lower_gather"
)
