"""GatherND: slices named by tuples of indices."""

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
class GatherNDAttrs:
    """How many leading axes data and indices share."""

    batch_dims: int


def parse(node: ir.Node) -> GatherNDAttrs:
    """Attributes of a GatherND node."""
    return GatherNDAttrs(nodes.integer(node, "batch_dims", 0))


def infer(attrs: GatherNDAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """The shape of the indices, the last axis of which becomes the shape of a slice."""
    data, indices = inputs
    batch = attrs.batch_dims
    fits = len(indices) > batch >= 0 and data[:batch] == indices[:batch]
    if not fits or not 1 <= indices[-1] <= len(data) - batch:
        raise ModelError(f"GatherND with {batch} batch axes got data of shape {data} and indices of shape {indices}")
    return ((*indices[:-1], *data[batch + indices[-1] :]),)


def places(indices: Array, shape: Shape) -> tuple[Array, ...]:
    """The index array of each of the leading axes that the tuples count."""
    return tuple(bounded(indices[..., axis], shape[axis]) for axis in range(indices.shape[-1]))


def _move(attrs: GatherNDAttrs, inputs: Sequence[Array], zero: Array) -> Array:
    data, indices = inputs
    (shape,) = infer(attrs, (data.shape, indices.shape))
    batch = attrs.batch_dims
    parts = data.reshape(-1, *data.shape[batch:])
    tuples = indices.reshape(parts.shape[0], -1, indices.shape[-1])
    found = [part[places(which, part.shape)] for part, which in zip(parts, tuples, strict=True)]
    return np.stack(found).reshape(shape)


GATHER_ND = rearrangement(
    "GatherND", parse, infer, _move, data_inputs=(0, 1), lowering="lower_indexing.lower_gather_nd"
)
