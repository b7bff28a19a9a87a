"""Reshape to a constant shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Shape
from microlith.ops.movement import reshaped


@dataclass(frozen=True)
class ReshapeAttrs:
    """Attributes of Reshape.

    Attributes:
        shape: as written: 0 keeps a size, -1 takes what is left.
        allow_zero: whether 0 means 0.
    """

    shape: tuple[int, ...]
    allow_zero: bool


def parse(node: ir.Node) -> ReshapeAttrs:
    """The constant shape."""
    shape = nodes.required(node, nodes.attribute_or_input(node, "shape", 1), "its shape")
    if shape.count(-1) > 1 or min(shape, default=0) < -1:
        raise ModelError(f"its shape is {shape}", node=nodes.where(node))
    return ReshapeAttrs(shape, bool(nodes.integer(node, "allowzero", 0)))


def infer(attrs: ReshapeAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """The shape with its placeholders resolved."""
    source = inputs[0]
    if not attrs.allow_zero and any(size == 0 and axis >= len(source) for axis, size in enumerate(attrs.shape)):
        raise ModelError(f"Reshape to {attrs.shape} keeps an axis that an input of shape {source} does not have")
    sizes = [source[axis] if size == 0 and not attrs.allow_zero else size for axis, size in enumerate(attrs.shape)]
    total = int(np.prod(source, dtype=np.int64))
    known = int(np.prod([size for size in sizes if size != -1], dtype=np.int64))
    if -1 in sizes and known > 0:
        sizes[sizes.index(-1)] = total // known
    if int(np.prod(sizes, dtype=np.int64)) != total:
        raise ModelError(f"Reshape to {attrs.shape} got an input of shape {source}, which has {total:,} elements")
    return (tuple(sizes),)


RESHAPE = reshaped("Reshape", parse, infer, lowering="lower_movement.lower_reshape")
