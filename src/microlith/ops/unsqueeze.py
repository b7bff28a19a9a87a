"""Unsqueeze: axes of size 1 come in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from microlith.ops import nodes
from microlith.ops.base import Shape
from microlith.ops.movement import reshaped


@dataclass(frozen=True)
class UnsqueezeAttrs:
    """Axes of the result, as written, negative ones from the back."""

    axes: tuple[int, ...]


def parse(node: ir.Node) -> UnsqueezeAttrs:
    """Axes from the attribute (before opset 13) or the constant input."""
    return UnsqueezeAttrs(nodes.required(node, nodes.attribute_or_input(node, "axes", 1), "its axes"))


def infer(attrs: UnsqueezeAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """The shape with those axes."""
    rank = len(inputs[0]) + len(attrs.axes)
    new = nodes.axes_of(attrs.axes, rank, "Unsqueeze")
    old = iter(inputs[0])
    return (tuple(1 if axis in new else next(old) for axis in range(rank)),)


UNSQUEEZE = reshaped("Unsqueeze", parse, infer, lowering="lower_movement.lower_reshape")
