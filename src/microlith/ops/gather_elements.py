"""GatherElements: each element is read at its own place, but for one axis, where an index says."""

from __future__ import annotations

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
class GatherElementsAttrs:
    """The axis, as written, negative from the back."""

    axis: int


def parse(node: ir.Node) -> GatherElementsAttrs:
    """Attributes of a GatherElements node."""
    return GatherElementsAttrs(nodes.integer(node, "axis", 0))


def infer(attrs: GatherElementsAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """The shape of the indices, which is nowhere larger than that of the data, the axis apart."""
    data, indices = inputs
    axis = nodes.axis_of(attrs.axis, len(data), "GatherElements")
    if len(data) != len(indices) or any(
        index > size for place, (index, size) in enumerate(zip(indices, data, strict=True)) if place != axis
    ):
        raise ModelError(f"GatherElements got data of shape {data} and indices of shape {indices}")
    return (indices,)


def along(indices: Array, axis: int, size: int) -> tuple[Array, ...]:
    """Index arrays of all axes: each element's own place, but for ``axis``."""
    grid: list[Array] = list(np.indices(indices.shape, sparse=True))
    grid[axis] = bounded(indices, size)
    return tuple(grid)


def _move(attrs: GatherElementsAttrs, inputs: Sequence[Array], zero: Array) -> Array:
    data, indices = inputs
    infer(attrs, (data.shape, indices.shape))
    axis = attrs.axis % data.ndim
    return np.asarray(data[along(indices, axis, data.shape[axis])])


GATHER_ELEMENTS = rearrangement(
    "GatherElements", parse, infer, _move, data_inputs=(0, 1), lowering="lower_indexing.lower_gather_elements"
)
