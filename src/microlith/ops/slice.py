"""Slice with constant bounds."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Shape
from microlith.ops.movement import movement


@dataclass(frozen=True)
class SliceAttrs:
    """Bounds as written, one of each for every axis named.

    Attributes:
        starts: first element, negative from the end.
        ends: one past the last, negative from the end.
        axes: negative ones from the back.
        steps: not 0, may be negative.
    """

    starts: tuple[int, ...]
    ends: tuple[int, ...]
    axes: tuple[int, ...]
    steps: tuple[int, ...]

    def ranges(self, shape: Shape) -> tuple[range, ...]:
        """The elements taken along each axis of an input of this shape."""
        taken = [range(size) for size in shape]
        for start, end, axis, step in zip(self.starts, self.ends, self.axes, self.steps, strict=True):
            place = nodes.axis_of(axis, len(shape), "Slice")
            taken[place] = range(*_bounds(start, end, step, shape[place]))
        return tuple(taken)


def _bounds(start: int, end: int, step: int, size: int) -> tuple[int, int, int]:
    first = start + size if start < 0 else start
    last = end + size if end < 0 else end
    if step > 0:
        return min(max(first, 0), size), min(max(last, 0), size), step
    return min(max(first, 0), size - 1), min(max(last, -1), size - 1), step


def parse(node: ir.Node) -> SliceAttrs:
    """Bounds from the attributes (before opset 10) or the constant inputs."""
    starts = nodes.required(node, nodes.attribute_or_input(node, "starts", 1), "its starts")
    ends = nodes.required(node, nodes.attribute_or_input(node, "ends", 2), "its ends")
    axes = nodes.attribute_or_input(node, "axes", 3)
    steps = nodes.constant_integers(node, 4, "its steps")
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    if len({len(starts), len(ends), len(axes), len(steps)}) != 1 or 0 in steps:
        raise ModelError(
            f"its starts {starts}, ends {ends}, axes {axes} and steps {steps} do not go together",
            node=nodes.where(node),
        )
    return SliceAttrs(starts, ends, axes, steps)


def infer(attrs: SliceAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """How many elements are taken along each axis."""
    shape = tuple(len(taken) for taken in attrs.ranges(inputs[0]))
    if 0 in shape:
        raise ModelError(f"Slice of an input of shape {inputs[0]} leaves nothing: {shape}")
    return (shape,)


def _move(attrs: SliceAttrs, x: Array) -> Array:
    infer(attrs, (x.shape,))
    index = []
    for taken in attrs.ranges(x.shape):
        # Going down to the first element, the end would be -1, which means the last one.
        stop = None if taken.step < 0 and taken.stop < 0 else taken.stop
        index.append(builtins.slice(taken.start, stop, taken.step))
    return x[tuple(index)]


def _batches(attrs: SliceAttrs, inputs: Sequence[Shape | None], output: Shape) -> bool:
    return 0 not in {axis % len(output) for axis in attrs.axes}


SLICE = movement("Slice", parse, infer, _move, _batches, lowering="lower_movement.lower_slice")
