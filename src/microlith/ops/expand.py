"""Expand: broadcast to a constant shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Shape
from microlith.ops.movement import movement


@dataclass(frozen=True)
class ExpandAttrs:
    """The shape to broadcast with, as written; where it says 1 the input's size stays."""

    shape: tuple[int, ...]


def parse(node: ir.Node) -> ExpandAttrs:
    """The shape of an Expand node."""
    shape = nodes.required(node, nodes.constant_integers(node, 1, "its shape"), "its shape")
    if min(shape, default=1) < 1:
        raise nodes.unsupported(node, f"its shape is {shape}, expected sizes of 1 or more")
    return ExpandAttrs(shape)


def infer(attrs: ExpandAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """Both shapes broadcast."""
    try:
        return (np.broadcast_shapes(inputs[0], attrs.shape),)
    except ValueError as error:
        raise ModelError(f"Expand to {attrs.shape} got an input of shape {inputs[0]}") from error


def _batches(attrs: ExpandAttrs, inputs: Sequence[Shape | None], output: Shape) -> bool:
    return inputs[0] is not None and len(inputs[0]) == len(output)


def _move(attrs: ExpandAttrs, x: Array) -> Array:
    return np.array(np.broadcast_to(x, infer(attrs, (x.shape,))[0]))


EXPAND = movement("Expand", parse, infer, _move, _batches, lowering="lower_remap.lower_expand")
