"""Squeeze: axes of size 1 go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Shape
from microlith.ops.movement import reshaped


@dataclass(frozen=True)
class SqueezeAttrs:
    """Axes as written, negative ones from the back; None for all of size 1."""

    axes: tuple[int, ...] | None


def parse(node: ir.Node) -> SqueezeAttrs:
    """Axes from the attribute (before opset 13) or the constant input."""
    return SqueezeAttrs(nodes.attribute_or_input(node, "axes", 1))


def infer(attrs: SqueezeAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """The shape without those axes."""
    shape = inputs[0]
    ones = tuple(axis for axis, size in enumerate(shape) if size == 1)
    gone = ones if attrs.axes is None else nodes.axes_of(attrs.axes, len(shape), "Squeeze")
    if any(shape[axis] != 1 for axis in gone):
        raise ModelError(f"Squeeze of axes {gone} got an input of shape {shape}, where they are not all 1")
    return (tuple(size for axis, size in enumerate(shape) if axis not in gone),)


SQUEEZE = reshaped("Squeeze", parse, infer, lowering="lower_movement.lower_reshape")
