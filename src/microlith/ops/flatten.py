"""Flatten: a matrix of the axes before one and those from it on."""

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
class FlattenAttrs:
    """The first axis of the second part; it may be the rank."""

    axis: int


def parse(node: ir.Node) -> FlattenAttrs:
    """Attributes of a Flatten node."""
    return FlattenAttrs(nodes.integer(node, "axis", 1))


def infer(attrs: FlattenAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """Two axes."""
    shape = inputs[0]
    if not -len(shape) <= attrs.axis <= len(shape):
        raise ModelError(f"Flatten at axis {attrs.axis} got an input of shape {shape}")
    axis = attrs.axis + len(shape) if attrs.axis < 0 else attrs.axis
    return ((int(np.prod(shape[:axis], dtype=np.int64)), int(np.prod(shape[axis:], dtype=np.int64))),)


FLATTEN = reshaped("Flatten", parse, infer, lowering="lower_movement.lower_reshape")
